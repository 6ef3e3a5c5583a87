//! A controller as a process: its store, its engine, and who may reach them.

mod secure;

pub use secure::{Secure, SecureError};

use crate::api::{self, Parts};
use crate::core::CoreError;
use crate::engine;
use crate::restore::STORE;
use crate::stream::Streams;
use axum::Router;
use mizar_identity::Audit;
use mizar_identity::audit::{LogError, Rotation};
use mizar_identity::serve::{self, Acceptor, BindError, Limits};
use mizar_proto::pb::controller_server::ControllerServer;
use mizar_store::{Redb, Store, StoreError};
use secure::Secured;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// How long the audit log may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// What a controller must know from the start; everything else is in its store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of its store.
    pub data: PathBuf,
    /// The local socket, for whoever may use it: they are operators.
    pub socket: PathBuf,
    /// Memory for the store's cache, in bytes.
    pub cache: usize,
    /// Where it listens for others, who prove who they are; `None`: nowhere.
    pub secure: Option<Secure>,
}

/// Why a controller ended other than by being asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its folder.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in its store.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// Its socket.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// Its audit log.
    #[error(transparent)]
    Audit(#[from] LogError),
    /// Its CA, or the port that it listens on.
    #[error(transparent)]
    Secure(#[from] SecureError),
    /// Signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The engine has ended, and nothing goes on without it.
    #[error("the engine has ended: see the log, and start the controller again")]
    Engine,
}

/// Runs a controller until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`]; what was acknowledged is on disk then too.
pub async fn run(options: Options) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let store = open(&options).await?;
    let (audit, auditing) = Audit::open(&options.data.join("audit.log"), Rotation::default())?;
    let secured = match &options.secure {
        Some(secure) => Some(Secured::open(secure, store.clone()).await?),
        None => None,
    };
    let (engine, thread) = engine::start(store)?;
    let listener = serve::bind(&options.socket).await?;
    let office = secured.as_ref().map(|secured| secured.office.clone());
    let parts = Parts { engine, limits: api::Limits::default(), audit: Some(audit), office };
    let service = service(parts);
    info!(socket = %options.socket.display(), "serving");
    let (stop, stopped) = watch::channel(false);
    let local = Acceptor::local(listener, Limits::default());
    let local = serve::serve(local, service.clone(), stop_of(stopped.clone()));
    let remote = async move {
        match secured {
            Some(secured) => secured.serve(service, stop_of(stopped)).await,
            None => drop(service),
        }
    };
    let ended = async {
        while !thread.is_finished() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut serving = Box::pin(async { tokio::join!(local, remote) });
    let result = tokio::select! {
        _ = &mut serving => Ok(()),
        () = ended => Err(RunError::Engine),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    stop.send_replace(true);
    serving.await;
    // What came of the last writes is still to be put on record.
    let recorded = tokio::task::spawn_blocking(move || auditing.join());
    let _ = tokio::time::timeout(GRACE, recorded).await;
    // Whoever comes next is not misled by a socket that nobody answers.
    let _ = std::fs::remove_file(&options.socket);
    info!("controller stops");
    result
}

/// Everything that a controller serves: the API, and the agents' streams.
pub fn service(parts: Parts) -> Router {
    let streams = ControllerServer::new(Streams(parts.engine.clone()));
    let streams = tonic::service::Routes::new(streams).into_axum_router().reset_fallback();
    streams.merge(api::router_of(parts))
}

async fn open(options: &Options) -> Result<Arc<dyn Store>, RunError> {
    let folder = |source| RunError::Folder { path: options.data.clone(), source };
    tokio::fs::create_dir_all(&options.data).await.map_err(folder)?;
    let settings = mizar_store::Options {
        cache: options.cache,
        create: true,
        ..mizar_store::Options::default()
    };
    let store: Arc<dyn Store> = Arc::new(Redb::open(&options.data.join(STORE), &settings)?);
    info!(epoch = store.epoch(), revision = %store.revision(), "store open");
    Ok(store)
}

async fn stop_of(mut stopped: watch::Receiver<bool>) {
    // Without a sender there is nobody who could ask for more time.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
