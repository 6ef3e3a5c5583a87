//! Certificates: the first one from the CA's folder, the next ones from a controller.

use super::{DAY, time};
use crate::{output, remote};
use anyhow::{Context, Result, bail};
use mizar_identity::pki::{Authority, Subject, lifetime};
use mizar_identity::tls::Protocol;
use mizar_identity::{Credentials, Identity, Renewer, enrol};
use std::path::Path;
use std::time::SystemTime;

/// Issues a certificate.
///
/// # Errors
/// It is for a controller, the CA is unusable, or the file cannot be written.
pub(super) fn issue(who: &Identity, pki: &Path, out: &Path, days: Option<u32>) -> Result<()> {
    if *who == Identity::Controller {
        bail!(
            "a controller has its certificate from `mizar controller --listen ADDRESS:PORT --pki \
             {}`, which keeps it up to date",
            pki.display()
        );
    }
    let lifetime = days.map_or_else(|| lifetime::of(who), |days| DAY * days);
    let authority = Authority::load(pki).context("cannot use the CA")?;
    let issued = authority.issue(&Subject::new(who.clone()), lifetime, SystemTime::now())?;
    Credentials::write(out, &issued)?;
    let until = time(issued.certificate.not_after());
    let (pki, out) = (pki.display(), out.display());
    let next = match who {
        Identity::Host(host) => format!(
            "mizar agent --host {host} --nic NIC --controller https://HOST:PORT \\\n      \
             --credentials {out} --ca {pki}/ca.crt"
        ),
        Identity::Monitor(_) => format!(
            "tls_config: {{ca_file: {pki}/ca.crt, cert_file: {out}, key_file: {out}}}   \
             # of Prometheus: see docs/metrics.md"
        ),
        Identity::Operator(_) | Identity::Tenant { .. } | Identity::Controller => format!(
            "mizar config set-context NAME --controller https://HOST:PORT \\\n      \
             --ca {pki}/ca.crt --credentials {out}"
        ),
    };
    output::print(&format!(
        "{out} is the key and certificate of {who}, until {until}: keep it secret\n\n\
         Next, where it is used (with copies of {out} and {pki}/ca.crt):\n  {next}"
    ))
}

/// Renews the own certificate.
///
/// # Errors
/// The controller refuses, or there is none.
pub(super) async fn renew(remote: &remote::Remote) -> Result<()> {
    let (address, credentials, trust) = remote.own()?;
    let connector = remote::connector(&address, &credentials, &trust, Protocol::Http1)?;
    let mut ask = |request| {
        let connector = connector.clone();
        async move { enrol::renew(&connector, request).await.map(|signed| signed.chain) }
    };
    let renewed = Renewer::new(credentials.clone(), trust).once(&mut ask).await;
    renewed.context("the certificate is as it was")?;
    let certificate = credentials.certificate();
    output::print(&format!(
        "{} is the key and certificate of {}, until {}",
        credentials.path().display(),
        certificate.identity(),
        time(certificate.not_after())
    ))
}
