//! How the controller is dialled, and as whom.

use crate::options::Options;
use mizar_identity::connect::ConnectError;
use mizar_identity::credentials::CredentialsError;
use mizar_identity::tls::Protocol;
use mizar_identity::trust::TrustError;
use mizar_identity::{
    Address, AddressError, Connector, Credentials, Identity, Renewer, Trust, enrol,
};
use mizar_vpc::Name;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// The way to the controller.
#[derive(Debug)]
pub(crate) struct Link {
    /// For the stream.
    pub(crate) connector: Connector,
    /// What proves who this host is, where that is asked; it renews by itself.
    pub(crate) proof: Option<Proof>,
    renewal: Option<Renewal>,
}

/// A host's key and certificate, and whose signatures it believes.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) trust: Trust,
}

/// What keeps the host's certificate fresh.
#[derive(Debug)]
struct Renewal {
    renewer: Renewer,
    connector: Connector,
}

/// Why the controller cannot be dialled at all.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Where it is.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No certificate, or no CA.
    #[error("controller {address} takes {option} FILE: `mizar host join` writes such a file")]
    Missing {
        /// Where the controller is.
        address: Address,
        /// What is missing.
        option: &'static str,
    },
    /// The CA.
    #[error("cannot read the CA's certificates")]
    Trust(#[from] TrustError),
    /// The host's key and certificate.
    #[error("cannot use the host's key and certificate")]
    Credentials(#[from] CredentialsError),
    /// Somebody else's.
    #[error("{} is the certificate of {found}: it must be that of {expected}", .path.display())]
    OtherIdentity {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: Identity,
        /// Whose it must be.
        expected: Identity,
    },
    /// TLS.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Link {
    /// As the options say, for a host.
    ///
    /// # Errors
    /// The address is none, or what proves who the host is is missing or unusable. An expired
    /// certificate is no error here: what is in the kernel works on without a controller.
    pub(crate) fn open(options: &Options, host: &Name) -> Result<Self, LinkError> {
        let address: Address = options.controller.parse()?;
        if let Address::Unix(socket) = &address {
            let connector = Connector::local(socket);
            return Ok(Self { connector, proof: None, renewal: None });
        }
        let missing = |option| LinkError::Missing { address: address.clone(), option };
        let ca = options.ca.as_ref().ok_or_else(|| missing("--ca"))?;
        let path = options.credentials.as_ref().ok_or_else(|| missing("--credentials"))?;
        let trust = Trust::load(ca)?;
        let credentials = Arc::new(Credentials::load(path)?);
        let (found, expected) =
            (credentials.certificate().identity().clone(), Identity::Host(host.clone()));
        if found != expected {
            return Err(LinkError::OtherIdentity { path: path.clone(), found, expected });
        }
        let own = || Some(credentials.clone());
        let connector = Connector::new(&address, own(), &trust, Protocol::Http2)?;
        let asking = Connector::new(&address, own(), &trust, Protocol::Http1)?;
        let renewer = Renewer::new(credentials.clone(), trust.clone());
        let renewal = Some(Renewal { renewer, connector: asking });
        Ok(Self { connector, proof: Some(Proof { credentials, trust }), renewal })
    }

    /// The connector, and what keeps the certificate fresh for as long as it runs.
    pub(crate) fn split(self) -> (Connector, impl Future<Output = Infallible>) {
        let Self { connector, renewal, .. } = self;
        let renewing = async move {
            let Some(Renewal { renewer, connector }) = renewal else {
                return std::future::pending().await;
            };
            let ask = move |request| {
                let connector = connector.clone();
                async move { enrol::renew(&connector, request).await.map(|signed| signed.chain) }
            };
            renewer.run(ask).await
        };
        (connector, renewing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ModeChoice;
    use mizar_identity::pki::{Authority, Constraints, Subject};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn options(controller: &str, folder: &Path, file: Option<&str>) -> Options {
        Options {
            host: "h1".to_owned(),
            nic: "nic0".to_owned(),
            underlay: None,
            controller: controller.to_owned(),
            credentials: file.map(|name| folder.join(name)),
            ca: Some(folder.join("ca.crt")),
            socket: "/s".into(),
            metrics: None,
            pins: "/p".into(),
            mode: ModeChoice::Auto,
            instance: "h1".to_owned(),
            sizes: crate::kernel::Sizes::default(),
            layout: mizar_packet::tables::LAYOUT,
        }
    }

    fn refusal(controller: &str, folder: &Path, file: Option<&str>) -> String {
        let options = options(controller, folder, file);
        Link::open(&options, &"h1".parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_host_dials_with_its_own_certificate_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (path, hour) = (folder.path(), Duration::from_secs(3600));
        let now = SystemTime::now();
        let ca = Authority::init(path, &Constraints::default(), 24 * hour, now).unwrap();
        for who in ["host/h1", "host/h2"] {
            ca.issue_file(&Subject::new(who.parse().unwrap()), hour, now).unwrap();
        }
        let https = "https://c.test:6443";
        let own = options(https, path, Some("host-h1.pem"));
        assert!(Link::open(&own, &"h1".parse().unwrap()).unwrap().renewal.is_some());
        let local = options("unix:/run/c.sock", path, None);
        assert!(Link::open(&local, &"h1".parse().unwrap()).unwrap().renewal.is_none());

        let other = refusal(https, path, Some("host-h2.pem"));
        assert!(other.contains("host-h2.pem is the certificate of host/h2"), "{other}");
        assert!(refusal(https, path, None).contains("takes --credentials FILE"));
        assert!(refusal("unix:c.sock", path, None).contains("\"unix:c.sock\""));
        assert!(refusal("http://c:1", path, None).contains("is not encrypted"));
    }
}
