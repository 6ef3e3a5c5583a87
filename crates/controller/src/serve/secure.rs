//! The port that others reach a controller by: TLS, and certificates on both sides.

use crate::office::Office;
use axum::Router;
use mizar_identity::credentials::CredentialsError;
use mizar_identity::pki::{Authority, Lifetimes, PkiError, Subject};
use mizar_identity::serve::{Acceptor, Limits, serve};
use mizar_identity::tls::{self, TlsError};
use mizar_identity::trust::TrustError;
use mizar_identity::{Address, AddressError, Credentials, Renewer, Trust};
use mizar_store::{Store, StoreError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;

/// How a controller listens for those who prove who they are.
#[derive(Clone, Debug)]
pub struct Secure {
    /// Where.
    pub listen: SocketAddr,
    /// The folder of the CA, whose `controller.pem` is kept up to date.
    pub pki: PathBuf,
    /// DNS names and IP addresses by which it is dialled, the first by hosts that join; if there
    /// are none, the address where it listens.
    pub names: Vec<String>,
    /// How long the certificates last that it gives.
    pub lifetimes: Lifetimes,
}

/// Why a controller cannot listen for others.
#[derive(Debug, Error)]
pub enum SecureError {
    /// Nobody would know by which name to dial it.
    #[error(
        "the controller listens on {0}, which is no address to dial: say by which name or address \
         it is dialled, with --name NAME"
    )]
    Nameless(SocketAddr),
    /// One of its names.
    #[error(transparent)]
    Name(#[from] AddressError),
    /// Its CA.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificates that it believes.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Its own certificate.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store that says which certificates are revoked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port.
    #[error("cannot listen on {at}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// A port that is open, and what is to be said there.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) office: Office,
    acceptor: Acceptor<TcpListener>,
    credentials: Arc<Credentials>,
    subject: Subject,
}

impl Secured {
    /// Opens the CA, has it issue the controller's certificate, and listens.
    pub(super) async fn open(secure: &Secure, store: Arc<dyn Store>) -> Result<Self, SecureError> {
        let Secure { listen, pki, names, lifetimes } = secure;
        let names = match names.as_slice() {
            [] if listen.ip().is_unspecified() => return Err(SecureError::Nameless(*listen)),
            [] => vec![listen.ip().to_string()],
            names => names.to_vec(),
        };
        let subject = Subject::controller(&names)?;
        let authority = Authority::load(pki)?;
        // Also certificates of a CA that this one takes over from, which stand behind it.
        let trust = Trust::load(&pki.join("ca.crt"))?;
        // Issued anew at each start: names may have changed, and the last one may have expired.
        let own = authority.issue_file(&subject, lifetimes.controller, SystemTime::now())?;
        let credentials = Arc::new(Credentials::load(&own)?);
        let config = tls::server_config(credentials.clone(), &trust)?;
        let failed = |source| SecureError::Listen { at: *listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        let address = address(&names[0], at.port())?;
        info!(%at, %address, ca = %authority.fingerprint(), "serving over TLS");
        let office = Office::new(authority, address, store, *lifetimes)?;
        let acceptor = Acceptor::tls(listener, config, Limits::default())
            .believing_none_of(office.revocations());
        Ok(Self { office, acceptor, credentials, subject })
    }

    /// Serves until it is told to stop, and keeps its certificate fresh meanwhile.
    pub(super) async fn serve(self, service: Router, stop: impl Future<Output = ()>) {
        let Self { office, acceptor, credentials, subject } = self;
        let renewing = Renewer::new(credentials, office.trust()).run(move |request| {
            let signed = office.sign(&request, &subject);
            async move { signed }
        });
        tokio::select! {
            () = serve(acceptor, service, stop) => {}
            never = renewing => match never {},
        }
    }
}

fn address(name: &str, port: u16) -> Result<Address, AddressError> {
    let is_six = name.parse::<std::net::Ipv6Addr>().is_ok();
    let host = if is_six { format!("[{name}]") } else { name.to_owned() };
    format!("https://{host}:{port}").parse()
}
