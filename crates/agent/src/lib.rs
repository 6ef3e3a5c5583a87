//! The host's daemon: it loads the kernel programs, keeps their tables as the controller says, and
//! does for them what they cannot do themselves.
//!
//! ```text
//!  controller ◄──stream──► driver ──► apply ──► tables, guests' interfaces
//!                                                 ▲
//!  kernel programs ──events──► events             │ next hops, leases, sweeps
//!                 ◄──echoes, notices── probe, control, next_hops, sweep
//! ```
//!
//! Traffic never waits for the agent. What it sets up is pinned and outlives it: an agent that
//! stops, crashes or is replaced by another build leaves packets flowing, and the next one takes
//! everything over. It refuses to know how the network is planned: it makes its host what it is
//! told.

mod apply;
mod clock;
mod config;
mod control;
mod driver;
mod events;
mod hosts;
mod indices;
mod install;
pub mod kernel;
mod link;
mod local;
mod metrics;
pub mod netlink;
mod next_hops;
mod node;
mod options;
mod packet_socket;
mod places;
mod ports;
mod probe;
mod scrape;
mod standing;
mod stream;
mod sweep;
mod usage;

pub use hosts::HostError;
pub use indices::Exhausted;
pub use link::LinkError;
pub use node::StartError;
pub use options::{ModeChoice, Options};
pub use scrape::ScrapeError;

use driver::Driver;
use kernel::Pins;
use link::Link;
use local::Local;
use metrics::Metrics;
use mizar_vpc::{Name, NameError};
use netlink::{Changes, Namespace, Netlink};
use node::Node;
use scrape::Scrape;
use standing::Standing;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// How often the controller gets a sign of life.
const BEAT: Duration = Duration::from_secs(5);
/// How long an earlier agent may take to be gone, and how often it is looked whether it is.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_GLANCE: Duration = Duration::from_millis(20);

/// Why an agent ended other than by being asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its host's name is none.
    #[error(transparent)]
    Host(#[from] NameError),
    /// The way to the controller.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It could not start, or something that it needs has ended.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port of the metrics.
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
    /// The local socket.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Another agent has the same socket, and with it the same tables.
    #[error("another agent runs already: it holds {}", path.display())]
    Running {
        /// The lock.
        path: PathBuf,
    },
    /// The local service.
    #[error("the local service has failed")]
    Service(#[source] tonic::transport::Error),
    /// Signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Runs an agent until SIGTERM or SIGINT. What it has set up stays, and works on.
///
/// # Errors
/// [`RunError`]; what is set up stays then too.
pub async fn run(options: Options) -> Result<(), RunError> {
    let since = SystemTime::now();
    let host: Name = options.host.parse()?;
    let link = Link::open(&options, &host)?;
    let scrape = options.metrics.map(|at| Scrape::new(at, link.proof.as_ref())).transpose()?;
    let (controller, renewing) = link.split();
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let _lock = lock(&options.socket).await?;
    let scrape = match scrape {
        Some(scrape) => Some(scrape.listen().await?),
        None => None,
    };
    let node = Node::start(&options).await?;
    let changes = node.netlink.events(Changes::LinksGone).await.map_err(StartError::from)?;
    let metrics = Arc::new(Metrics::new());
    let standing = Standing::new(node.attached, node.others);
    let parts = driver::Parts {
        host: host.clone(),
        underlay: node.underlay,
        clock: node.clock,
        maps: node.maps.clone(),
        hosts: node.hosts.clone(),
        used: node.used.clone(),
        metrics: metrics.clone(),
        applier: node.applier,
        beat: BEAT,
        takeover: node.takeover,
    };
    let (driver, standing) = Driver::new(parts, standing);
    let local = Local {
        host,
        nic: node.nic.name,
        since,
        clock: node.clock,
        maps: node.maps,
        hosts: node.hosts,
        used: node.used,
        metrics,
        pins: Pins::of_layout(&options.pins, options.layout),
        standing,
    };
    // Of loading the programs and reading the tables.
    kernel::release_memory();
    let path = &options.socket;
    let listener = local::listen(path);
    let listener = listener.map_err(|source| RunError::Socket { path: path.clone(), source })?;
    let scraped = scrape.map(|scrape| (scrape, local.clone()));
    let scraping = async move {
        match scraped {
            Some((scrape, local)) => scrape.serve(move || local.text()).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = node.tasks.run() => ended.map_err(RunError::from),
        ended = driver.run(stream::dial(controller), changes) => ended.map_err(RunError::from),
        ended = local.serve(listener) => ended.map_err(RunError::Service),
        never = renewing => match never {},
        never = scraping => match never {},
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // An agent that is told to stop leaves no socket that nobody answers.
    let _ = std::fs::remove_file(path);
    info!("agent stops; what it has set up stays");
    ended
}

/// Removes everything that agents with these pins and this instance's name have set up in the
/// calling thread's network namespace: guests' interfaces, then what hangs on the NIC, what
/// delivers to guests last, then the pins. Goes on after errors.
///
/// # Errors
/// All that could not be removed, each as text with its causes.
pub async fn remove(pins: &Path, instance: &str) -> Result<(), Vec<String>> {
    let netlink = match Namespace::current() {
        Ok(namespace) => Netlink::open(namespace, instance).await,
        Err(error) => Err(error),
    };
    let netlink = netlink.map_err(|error| vec![error_chain(&error)])?;
    let mut errors = Vec::new();
    if let Err(error) = remove_guests(&netlink, &mut errors).await {
        errors.push(error_chain(&error));
    }
    let left = kernel::detach(&netlink, pins).await;
    errors.extend(left.iter().map(|error| error_chain(error)));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Two agents on the same tables would undo each other's work. One that was killed holds its lock
/// until the last of its threads is gone, so a lock that is held is waited for. The folder is made
/// if it is not there, as after a boot.
async fn lock(socket: &Path) -> Result<File, RunError> {
    let path = socket.with_added_extension("lock");
    let folder = socket.parent().map_or(Ok(()), std::fs::create_dir_all);
    let file = folder.and_then(|()| File::create(&path));
    let file = file.map_err(|source| RunError::Socket { path: path.clone(), source })?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(LOCK_GLANCE).await;
            }
            Err(TryLockError::WouldBlock) => return Err(RunError::Running { path }),
            Err(TryLockError::Error(source)) => return Err(RunError::Socket { path, source }),
        }
    }
}

async fn remove_guests(netlink: &Netlink, errors: &mut Vec<String>) -> netlink::Result<()> {
    for found in netlink.list_endpoints().await? {
        let detached = netlink.detach_endpoint(found.vni, &found.name).await;
        errors.extend(detached.err().map(|error| error_chain(&error)));
    }
    Ok(())
}

/// An error with all its causes, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_of_the_socket_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/mizar/agent.sock");
        let _held = lock(&socket).await.unwrap();
        assert!(local::listen(&socket).is_ok());
    }
}
