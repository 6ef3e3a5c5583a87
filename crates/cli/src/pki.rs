//! `mizar pki`: the CA of a cloud, and what it issues.

mod issue;
mod show;

use crate::output;
use anyhow::{Context, Result};
use clap::Subcommand;
use http::Method;
use mizar_controller::api::body::{RevocationBody, RevokeBody};
use mizar_identity::pki::{Authority, Constraints, lifetime};
use mizar_identity::{Identity, clock};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What one can do with a CA.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Make a CA in a folder
    Init {
        /// The folder; whoever can read it is everybody, so keep it on the controller's machine
        #[arg(long, value_name = "FOLDER")]
        pki: PathBuf,
        /// Domain under which its controllers are; repeat it for several. Others are not believed
        #[arg(long = "domain", value_name = "DOMAIN")]
        domains: Vec<String>,
        /// Network in which its controllers are, where they are dialled by address; repeat it
        #[arg(long = "network", value_name = "ADDRESS/LENGTH", value_parser = network)]
        networks: Vec<(IpAddr, u8)>,
    },
    /// Issue a certificate for somebody, with its key
    Issue {
        /// For whom: operator/NAME, tenant/TENANT/NAME, monitor/NAME or host/NAME
        identity: Identity,
        /// The folder of the CA
        #[arg(long, value_name = "FOLDER")]
        pki: PathBuf,
        /// Where to write the key and the certificates; they are replaced if they are there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// For how many days [default: 90 for people and monitors, 7 for hosts]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
    },
    /// Show whose a certificate is, how long, and what it is recognised by
    Show {
        /// A file with certificates: host.pem, ca.crt, …
        file: PathBuf,
        #[command(flatten)]
        output: output::Options,
    },
    /// Have the controller believe no certificate any more that these have now
    Revoke {
        /// Whose: host/NAME, operator/NAME, tenant/TENANT/NAME or monitor/NAME
        #[arg(required = true)]
        identities: Vec<Identity>,
        #[command(flatten)]
        remote: crate::remote::Remote,
    },
    /// Renew the own certificate at the controller, which operators may
    Renew {
        #[command(flatten)]
        remote: crate::remote::Remote,
    },
}

const EXAMPLES: &str = "\
Examples:
  mizar pki init --pki /etc/mizar/pki --domain example
  mizar pki issue operator/alice --pki /etc/mizar/pki --out operator-alice.pem
  mizar pki issue tenant/acme/bob --pki /etc/mizar/pki --out bob.pem --days 30
  mizar pki issue monitor/prometheus --pki /etc/mizar/pki --out monitor.pem
  mizar pki show operator-alice.pem
  mizar pki revoke operator/alice tenant/acme/bob";

pub(crate) async fn run(command: &Command) -> Result<()> {
    match command {
        Command::Init { pki, domains, networks } => init(pki, domains, networks),
        Command::Issue { identity, pki, out, days } => issue::issue(identity, pki, out, *days),
        Command::Show { file, output } => show::show(file, *output),
        Command::Revoke { identities, remote } => revoke(identities, remote).await,
        Command::Renew { remote } => issue::renew(remote).await,
    }
}

fn init(pki: &Path, domains: &[String], networks: &[(IpAddr, u8)]) -> Result<()> {
    let constraints = Constraints { domains: domains.to_vec(), networks: networks.to_vec() };
    let made = Authority::init(pki, &constraints, lifetime::AUTHORITY, SystemTime::now());
    let authority = made.context("no CA was made")?;
    let folder = pki.display();
    output::print(&format!(
        "a CA is in {folder}: {}\n\n\
         Whoever reads {folder}/ca.key can be anybody. {folder}/ca.crt is for everybody.\n\n\
         Next:\n  \
         mizar pki issue operator/NAME --pki {folder} --out operator-NAME.pem\n  \
         mizar controller --listen 0.0.0.0:6443 --pki {folder} --name NAME-OR-ADDRESS",
        authority.fingerprint()
    ))
}

/// Revokes what these have now. What is issued later is believed.
pub(crate) async fn revoke(identities: &[Identity], remote: &crate::remote::Remote) -> Result<()> {
    let client = remote.client()?;
    for identity in identities {
        let body = RevokeBody { identity: identity.clone() };
        let answer: RevocationBody =
            client.ask(Method::POST, "/v1/revocations", Some(&body)).await?;
        let until = UNIX_EPOCH + Duration::from_secs(answer.issued_until);
        output::print(&format!(
            "{identity}: no certificate issued until {} is believed any more",
            time(until)
        ))?;
    }
    Ok(())
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let malformed = || "it must be an address and a length, as in 192.0.2.0/24".to_owned();
    let (address, length) = text.split_once('/').ok_or_else(malformed)?;
    let address: IpAddr = address.parse().map_err(|_| malformed())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse().ok().filter(|length| *length <= most);
    Ok((address, length.ok_or_else(malformed)?))
}

/// A point in time for people.
fn time(at: SystemTime) -> String {
    clock::text(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_others_refused() {
        assert_eq!(network("192.0.2.0/24"), Ok(("192.0.2.0".parse().unwrap(), 24)));
        for text in ["192.0.2.0", "192.0.2.0/33", "a/8", "::/129", "10.0.0.0/-1"] {
            assert!(network(text).unwrap_err().contains("192.0.2.0/24"), "{text}");
        }
    }
}
