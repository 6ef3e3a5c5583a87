//! Where a lab keeps what: the names that everything of one lab is found by.

use crate::netns::Namespace;
use std::io;
use std::path::PathBuf;

/// Holds what all programs of this project keep while the machine runs.
pub(crate) const RUN_FOLDER: &str = "/run/mizar";
/// Holds one folder per lab.
pub(crate) const STATE_FOLDER: &str = "/run/mizar/lab";
/// Where the pins of all labs are, on the BPF file system.
pub(crate) const PIN_FOLDER: &str = "/sys/fs/bpf/mizar";

/// The names of one lab. Two labs never share one: no lab's name has the dot that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    lab: String,
}

impl Layout {
    /// The layout of a lab. Its name must be a DNS label, as checked by [`crate::plan`].
    pub(crate) fn new(lab: &str) -> Self {
        Self { lab: lab.to_owned() }
    }

    /// The lab's name.
    pub(crate) fn lab(&self) -> &str {
        &self.lab
    }

    /// The lab's folder.
    pub(crate) fn state(&self) -> PathBuf {
        PathBuf::from(STATE_FOLDER).join(&self.lab)
    }

    /// The socket of the lab's controller, for agents and everybody else.
    pub(crate) fn controller_socket(&self) -> PathBuf {
        self.state().join("controller.sock")
    }

    /// The folder of the controller's store.
    pub(crate) fn controller_data(&self) -> PathBuf {
        self.state().join("controller")
    }

    /// The controller's log.
    pub(crate) fn controller_log(&self) -> PathBuf {
        self.state().join("controller.log")
    }

    /// The controller's process.
    pub(crate) fn controller_record(&self) -> PathBuf {
        self.state().join("controller.process")
    }

    /// What the lab was built from, or changed to last.
    pub(crate) fn topology(&self) -> PathBuf {
        self.state().join("topology.json")
    }

    /// The folder of all hosts' folders.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.state().join("hosts")
    }

    /// A host's folder.
    pub(crate) fn host(&self, host: &str) -> PathBuf {
        self.hosts().join(host)
    }

    /// The local socket of a host's agent.
    pub(crate) fn agent_socket(&self, host: &str) -> PathBuf {
        self.host(host).join("agent.sock")
    }

    /// The log of a host's agent.
    pub(crate) fn agent_log(&self, host: &str) -> PathBuf {
        self.host(host).join("agent.log")
    }

    /// The process of a host's agent.
    pub(crate) fn agent_record(&self, host: &str) -> PathBuf {
        self.host(host).join("agent.process")
    }

    /// Where the lab's agents pin.
    pub(crate) fn all_pins(&self) -> PathBuf {
        PathBuf::from(PIN_FOLDER).join(&self.lab)
    }

    /// Where a host's agent pins.
    pub(crate) fn pins(&self, host: &str) -> PathBuf {
        self.all_pins().join(host)
    }

    /// The namespace that joins the hosts.
    pub(crate) fn fabric_namespace(&self) -> Namespace {
        Namespace::new(format!("mz-{}.fabric", self.lab))
    }

    /// A host's namespace.
    pub(crate) fn host_namespace(&self, host: &str) -> Namespace {
        Namespace::new(format!("mz-{}.host.{host}", self.lab))
    }

    /// A guest's namespace.
    pub(crate) fn guest_namespace(&self, vpc: &str, endpoint: &str) -> Namespace {
        Namespace::new(format!("mz-{}.guest.{vpc}.{endpoint}", self.lab))
    }

    /// What a namespace is to the user: `host` or `vpc/endpoint`; nothing if it is neither.
    pub(crate) fn place(&self, namespace: &Namespace) -> Option<String> {
        let rest = namespace.name().strip_prefix(&format!("mz-{}.", self.lab))?;
        let (kind, rest) = rest.split_once('.')?;
        match kind {
            "host" => Some(rest.to_owned()),
            "guest" => rest.split_once('.').map(|(vpc, endpoint)| format!("{vpc}/{endpoint}")),
            _ => None,
        }
    }

    /// All namespaces of the lab that exist.
    pub(crate) fn namespaces(&self) -> io::Result<Vec<Namespace>> {
        Namespace::with_prefix(&format!("mz-{}.", self.lab))
    }
}
