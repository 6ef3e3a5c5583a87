//! What can go wrong between the agent and the kernel's network stack.

use super::endpoint::Step;
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// The result of everything in this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request to the kernel's network stack failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a request.
    #[error("the kernel refused to {request}{}", explained(.reason))]
    Refused {
        /// What was asked for.
        request: &'static str,
        /// The kernel's own explanation (extended acknowledgement).
        reason: Option<String>,
        /// The error number.
        source: io::Error,
    },
    /// A netlink socket failed.
    #[error("netlink socket: cannot {action}")]
    Socket {
        /// What was to be done with it.
        action: &'static str,
        /// What the system call said.
        source: io::Error,
    },
    /// The kernel's answer cannot be read.
    #[error("the kernel's answer to \"{request}\" {problem}")]
    Malformed {
        /// What was asked for.
        request: &'static str,
        /// What is wrong with the answer.
        problem: &'static str,
    },
    /// A network namespace cannot be used.
    #[error("network namespace {path}: cannot {action} it")]
    Namespace {
        /// Where it was looked for.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// What the system call said.
        source: io::Error,
    },
    /// A guest would live in the host's own namespace, where its routes would replace the host's.
    #[error(
        "network namespace {path} is the host's own: a guest needs one of its own, and the host \
         itself is attached as host"
    )]
    OwnNamespace {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The name of an endpoint's interface is taken by an interface that is not its own.
    #[error("interface {name} {place} already exists and is not this endpoint's: it is {found}")]
    Taken {
        /// The name.
        name: String,
        /// Where.
        place: &'static str,
        /// What has the name.
        found: String,
    },
    /// A route of an endpoint would change where the host itself sends to.
    #[error(
        "the host reaches {present} by {by}, and a route to {wanted} by the endpoint's interface \
         would change that: it must not overlap the networks of other interfaces"
    )]
    RouteTaken {
        /// Where the endpoint's route would lead.
        wanted: IpNet,
        /// Where the host's route leads.
        present: IpNet,
        /// The interface that the host's route is by.
        by: String,
    },
    /// The interface index that an endpoint's interface was to have is another interface's.
    #[error("interface index {index} is taken by another interface")]
    IndexTaken {
        /// The index.
        index: u32,
    },
    /// A step of attaching or detaching an endpoint failed.
    #[error("endpoint {endpoint}: {step} failed")]
    Endpoint {
        /// `<VNI>/<name>`.
        endpoint: String,
        /// Which step.
        step: Step,
        /// Why.
        source: Box<Error>,
    },
    /// There is no such interface.
    #[error("there is no interface {interface}")]
    NoInterface {
        /// Its name, or its index.
        interface: String,
    },
    /// An ethtool request failed.
    #[error("interface {interface}: cannot {action}")]
    Ethtool {
        /// The interface's name.
        interface: String,
        /// What was asked for.
        action: &'static str,
        /// What the system call said.
        source: io::Error,
    },
    /// An interface cannot do what is needed.
    #[error("interface {interface} does not support {features}")]
    Unsupported {
        /// The interface's name.
        interface: String,
        /// Names of the features, as ethtool calls them.
        features: String,
    },
    /// An underlay address cannot be sent to.
    #[error("{destination} cannot be sent to: {reason}")]
    Unreachable {
        /// The address.
        destination: IpAddr,
        /// What the routing table says.
        reason: &'static str,
    },
    /// A field has a value that cannot work.
    #[error("{field} is {value:?}, but must be {expected}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The thread that talks to the kernel has ended.
    #[error("the netlink thread has ended")]
    Stopped,
    /// The thread that talks to the kernel cannot be started.
    #[error("cannot start the netlink thread")]
    Start(#[source] io::Error),
}

impl Error {
    /// Whether an endpoint was not attached because its interface's index is taken.
    pub fn is_index_taken(&self) -> bool {
        match self {
            Self::Endpoint { source, .. } => source.is_index_taken(),
            other => matches!(other, Self::IndexTaken { .. }),
        }
    }

    /// Whether there is no such interface.
    pub(crate) fn is_no_device(&self) -> bool {
        self.is(libc::ENODEV)
    }

    /// Whether the kernel refused with this error number (`libc::E*`).
    pub(super) fn is(&self, number: i32) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(number))
    }
}

/// Turns a refusal with one of these error numbers into `false`: what was asked for is so already.
pub(super) fn unless(result: Result<()>, numbers: &[i32]) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if numbers.iter().any(|&number| error.is(number)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn explained(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}
