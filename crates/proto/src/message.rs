//! What controllers and agents say to each other.

use mizar_vpc::{Batch, Generation, HostConfig, Name, RowKey, Vni};
use std::collections::BTreeMap;

/// Version of the protocol between controllers and agents.
pub const PROTOCOL: u32 = 1;

/// From an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// The first message of a stream.
    Hello(Hello),
    /// The answer to the last batch of an update, or to a batch that was refused.
    Ack(Ack),
}

/// Who connects, and what it has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name of the host.
    pub host: Name,
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// Where it stands in each VPC that it has rows of.
    pub positions: BTreeMap<Vni, Generation>,
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The VPC.
    pub vni: Vni,
    /// Generation of the update.
    pub generation: Generation,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied, but for the rows named here, which are tried again.
    Applied(Vec<RowError>),
    /// It was refused whole, for this reason, and nothing changed.
    Refused(String),
}

/// A row that could not be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Which row.
    pub row: RowKey,
    /// Why.
    pub reason: String,
}

/// To an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerMessage {
    /// About itself and its fleet, before any update.
    Config(HostConfig),
    /// A batch of an update of one VPC.
    Update(Batch),
}
