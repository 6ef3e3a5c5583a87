//! A cloud in a box: hosts as network namespaces on one machine, for trying, testing and measuring.
//!
//! ```text
//!            guest   guest            guest          mz-<lab>.guest.<vpc>.<endpoint>
//!              │       │                │
//!            ┌─┴───────┴─┐        ┌─────┴─────┐
//!            │  host h1  │        │  host h2  │      mz-<lab>.host.<host>: one real agent each
//!            └─── nic0 ──┘        └─── nic0 ──┘
//!                   │ /31               │ /31
//!            ┌──────┴───────────────────┴──────┐
//!            │              fabric             │     mz-<lab>.fabric: routes, joins no L2
//!            └─────────────────────────────────┘
//! ```
//!
//! - A [`Topology`] says what the lab consists of. [`check`] refuses a wrong one, by field.
//! - [`up`] builds it and waits until it works; [`apply`] changes it; [`status`] shows it;
//!   [`command`] runs programs inside its hosts and guests; [`down`] removes it.
//! - An endpoint may also be a host itself (`attach: host`): an interface beside `nic0`.
//! - What is in the VPCs is said to a real controller, one process for each lab, in manifests and
//!   over its API; it alone feeds the agents. Whoever may use the lab's socket can ask it too.
//!
//! Everything a lab creates is found by its name alone, so that `down` removes also
//! what a killed `up` has left. Nothing is kept in memory between two commands.
//!
//! This crate refuses to touch anything outside of a lab's namespaces, its pins and its folder: no
//! address, route, rule or sysctl of the machine itself.

mod agents;
mod bpffs;
mod change;
mod controller;
mod down;
mod exec;
mod fabric;
mod layout;
mod lock;
mod log;
mod netns;
mod parts;
mod plan;
mod process;
mod record;
mod status;
mod sys;
#[cfg(test)]
mod testing;
mod topology;
mod up;

pub use down::{Remnant, Removed, down};
pub use exec::{Error as ExecError, command};
pub use fabric::{Error as FabricError, NIC};
pub use lock::Error as LockError;
pub use netns::Error as NamespaceError;
pub use parts::{start_agent, start_controller, stop_agent};
pub use plan::{Error as PlanError, GUEST_INTERFACE, check};
pub use process::{Error as ProcessError, LAB_VARIABLE};
pub use record::Error as RecordError;
pub use status::{
    ControllerStatus, GuestState, GuestStatus, HostStatus, HostVpcStatus, Status, choose, labs,
    status,
};
pub use topology::{
    Attach, Endpoint, Error as TopologyError, Hosts, Mode, Network, Offloads, Topology, Underlay,
    Vpc,
};
pub use up::{Options, Progress, add_guest, apply, up};

use mizar_controller::client::ClientError;
use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Why something cannot be done with a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces and BPF are root's.
    #[error("a lab needs root, since it creates network namespaces and BPF programs: try sudo")]
    NotRoot,
    /// There is no such lab.
    #[error("no lab named {0} is up: `mizar lab up FILE` starts one")]
    NoLab(String),
    /// No lab was named, and there is not exactly one.
    #[error("{}", one_of(labs))]
    WhichLab {
        /// The labs that there are.
        labs: Vec<String>,
    },
    /// The labs cannot be listed.
    #[error("cannot list the labs")]
    List(#[source] io::Error),
    /// There is no such host or guest.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Ctrl-C.
    #[error("interrupted; what was built is removed")]
    Interrupted,
    /// The topology is wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The lab exists, or is being changed.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The underlay cannot be built.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// A namespace fails.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A process does not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Something that should be started runs.
    #[error("{what} runs already, as process {pid}")]
    Running {
        /// The controller, or the agent of a host.
        what: String,
        /// Its process id.
        pid: i32,
    },
    /// What the lab was built from cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The BPF file system cannot be mounted.
    #[error("cannot mount the BPF file system on /sys/fs/bpf")]
    BpfFs(#[source] io::Error),
    /// A folder of the lab cannot be created.
    #[error("cannot create {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The controller does not start, or has ended.
    #[error("the lab's controller does not answer; the last it said is: {said}")]
    Controller {
        /// The end of its log.
        said: String,
        /// Why it cannot be asked.
        source: Box<ClientError>,
    },
    /// Hosts or guests did not become ready in time.
    #[error("lab {lab} is not ready:\n{}", list(missing))]
    NotReady {
        /// The lab.
        lab: String,
        /// A sentence for each of them.
        missing: Vec<String>,
    },
    /// Something could not be removed.
    #[error(
        "lab {lab} could not be removed whole:\n{}",
        list(&remnants.iter().map(chain).collect::<Vec<_>>())
    )]
    Down {
        /// The lab.
        lab: String,
        /// What is still there, and why.
        remnants: Vec<Remnant>,
    },
}

/// Whether this process may make namespaces and kernel programs at all.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn check_root() -> Result<(), Error> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root { Ok(()) } else { Err(Error::NotRoot) }
}

fn one_of(labs: &[String]) -> String {
    match labs {
        [] => "no lab is up: `mizar lab up FILE` starts one".to_owned(),
        several => format!("several labs are up: say which one of {}", several.join(", ")),
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
}

/// An error with all its sources in one line.
fn chain(error: &impl std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(line, ": {error}");
        source = error.source();
    }
    line
}
