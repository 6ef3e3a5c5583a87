//! Why a message is refused.

use ipnet::IpNet;
use mizar_vpc::{
    AttachmentError, GenerationError, MacError, NameError, NetworkIdError, SlotMapError, VniError,
};
use std::fmt::Display;
use std::net::IpAddr;
use thiserror::Error;

/// A field that makes a message impossible: nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: {problem}")]
pub struct FieldError {
    /// The path of the field, as in `update.ports[3].mac`.
    pub path: String,
    /// What is wrong with its value, and what would be right.
    pub problem: FieldProblem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// It is not there, or empty.
    #[error("it is missing: it must be set")]
    Missing,
    /// The bytes of an address are too few or too many.
    #[error("an address of {actual} bytes: it must have {expected}")]
    AddressLength {
        /// How many bytes there are.
        actual: usize,
        /// How many there must be.
        expected: &'static str,
    },
    /// An IPv4 address in 16 bytes.
    #[error("{0} is an IPv4 address in 16 bytes: send its 4 bytes")]
    Mapped(IpAddr),
    /// The address of nobody in particular.
    #[error("{0} is no unicast address: it must be one host's")]
    NotUnicast(IpAddr),
    /// A host outside of its own fleet.
    #[error("{0} is in no prefix of the fleet: it must be in one")]
    OutsideFleet(IpAddr),
    /// The bytes of a MAC address are too few or too many.
    #[error("a MAC address of {0} bytes: it must have 6")]
    MacLength(usize),
    /// The bytes of a key are too few or too many, or all zeros.
    #[error("no key: it must have 16 bytes, not all of them zero")]
    Key,
    /// The length of a prefix is longer than its address.
    #[error("a prefix length of {length}: it must be from 0 to {longest}")]
    PrefixLength {
        /// The length.
        length: u32,
        /// The longest.
        longest: u8,
    },
    /// A prefix with bits behind its length.
    #[error("{0} has bits set behind its length: it must be {right}", right = .0.trunc())]
    HostBits(IpNet),
    /// A gateway that is in no prefix of its network.
    #[error("{0} is not in the network's prefix: it must be inside")]
    Gateway(IpAddr),
    /// A number that does not fit.
    #[error("{value} is too large: it must be at most {most}")]
    TooLarge {
        /// The number.
        value: u64,
        /// The largest.
        most: u64,
    },
    /// A list that is too short or too long.
    #[error("{count} entries: there must be from {least} to {most}")]
    Count {
        /// How many there are.
        count: usize,
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// A text that is too long.
    #[error("a text of {length} bytes: it must have at most {most}")]
    TextLength {
        /// How many bytes it has.
        length: usize,
        /// The most.
        most: usize,
    },
    /// Something that must differ does not.
    #[error("{0} is there twice: it must be there once")]
    Twice(String),
    /// A value of an enumeration that has no meaning.
    #[error("{value} is no {of}: it must be one that the protocol names")]
    Enumeration {
        /// The number.
        value: i32,
        /// The enumeration.
        of: &'static str,
    },
    /// Rows in an update that removes all of them.
    #[error("an update that removes the VPC has rows or a base: it must have neither")]
    RemovedWithRows,
    /// Removals in the first batch of an update that replaces everything.
    #[error("the first batch of a full update has removals: it must have none, or a base")]
    FullWithRemovals,
    /// No VNI.
    #[error(transparent)]
    Vni(#[from] VniError),
    /// No network id.
    #[error(transparent)]
    NetworkId(#[from] NetworkIdError),
    /// No name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No MAC address of an interface.
    #[error(transparent)]
    Mac(#[from] MacError),
    /// No generation.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// No holders of slots.
    #[error(transparent)]
    Slots(#[from] SlotMapError),
    /// No attachment of an endpoint.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
}

/// Says at which field something went wrong, from the inside out.
pub(crate) trait At<T> {
    /// The field's name, as in `mac` or `ports[3]`; it is written out only if something is wrong.
    fn at(self, field: impl Display) -> Result<T, FieldError>;
}

impl<T, E: Into<FieldProblem>> At<T> for Result<T, E> {
    fn at(self, field: impl Display) -> Result<T, FieldError> {
        self.map_err(|problem| FieldError { path: field.to_string(), problem: problem.into() })
    }
}

/// Puts a field of a message behind the field that holds the message.
pub(crate) trait Within<T> {
    /// The name of the outer field.
    fn within(self, field: impl Display) -> Result<T, FieldError>;
}

impl<T> Within<T> for Result<T, FieldError> {
    fn within(self, field: impl Display) -> Result<T, FieldError> {
        self.map_err(|FieldError { path, problem }| FieldError {
            path: format!("{field}.{path}"),
            problem,
        })
    }
}
