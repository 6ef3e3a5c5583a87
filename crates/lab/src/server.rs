//! The lab's server: does for one lab what a controller does for a fleet.

mod desk;
mod session;
pub(crate) mod store;

use crate::control::{self, Answer, Request};
use crate::layout::Layout;
use crate::plan::{self, Plan};
use desk::Desk;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is no lab's.
    #[error("{0} is no lab's folder: it must be the one that `mizar lab up` made")]
    Folder(PathBuf),
    /// The lab's store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The lab's store does not fit together.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// A socket cannot be used.
    #[error("cannot listen on {path}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The agents' server failed.
    #[error("cannot serve the agents")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the agents and the commands of one lab until the process is asked to end.
///
/// `state` is the lab's folder. Everything else is in the lab's store, so that a server that was
/// killed continues where it was when it is started again.
///
/// # Errors
///
/// When the store is unusable, or a socket cannot be listened on.
pub async fn serve(state: &Path) -> Result<(), Error> {
    let layout = state
        .file_name()
        .and_then(|name| name.to_str())
        .map(Layout::new)
        .filter(|layout| layout.state() == state)
        .ok_or_else(|| Error::Folder(state.to_owned()))?;
    let shared = Shared::new(Plan::of(store::load(&layout)?)?);
    let commands = listen(&layout.control_socket())?;
    let agents = listen(&layout.controller_socket())?;
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|source| Error::Listen { path: state.to_owned(), source })?;
    tracing::info!(lab = layout.lab(), "serving");
    tokio::select! {
        result = session::serve_agents(agents, shared.clone()) => Ok(result?),
        () = serve_commands(&layout, commands, &shared) => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// What all streams share.
#[derive(Clone, Debug)]
struct Shared {
    desk: Arc<Mutex<Desk>>,
    /// Told whenever there may be something new to send.
    changed: watch::Sender<()>,
}

impl Shared {
    fn new(plan: Plan) -> Self {
        Self { desk: Arc::new(Mutex::new(Desk::new(plan))), changed: watch::Sender::new(()) }
    }

    /// The desk. No lock is held while anything is waited for.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, layout: &Layout, request: Request) -> Answer {
        let mut desk = self.desk();
        if let Request::Apply(topology) = request {
            let plan = Plan::new(&topology, Some(desk.plan())).map_err(|e| crate::chain(&e))?;
            store::save(layout, &plan.store).map_err(|e| crate::chain(&e))?;
            tracing::info!(generation = %plan.store.generation, "applied");
            desk.replace_plan(plan);
            self.changed.send_replace(());
        }
        Ok(desk.view())
    }
}

async fn serve_commands(layout: &Layout, listener: UnixListener, shared: &Shared) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a command");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (layout, shared) = (layout.clone(), shared.clone());
        tokio::spawn(async move {
            let handle = async |request| shared.handle(&layout, request);
            if let Err(error) = control::answer(stream, handle).await {
                tracing::debug!(%error, "a command went away");
            }
        });
    }
}

/// Listens on a socket that only root may use. One that a killed server has left is replaced.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let bind = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|source| Error::Listen { path: path.to_owned(), source })
}
