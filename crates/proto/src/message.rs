//! What controllers and agents say to each other.

use mizar_vpc::{Batch, Digest, Generation, HostConfig, Name, RowKey, Vni};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Version of the protocol between controllers and agents.
pub const PROTOCOL: u32 = 2;
/// Version of the keyed tags that agents sign and check.
pub const TAGS: u32 = 1;

/// From an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// The first message of a stream.
    Hello(Hello),
    /// The answer to the last batch of an update, or to a batch that was refused.
    Ack(Ack),
    /// A sign of life.
    Beat(Beat),
    /// The answer to a question.
    Answer(Answer),
}

/// Who connects, and what it has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name of the host.
    pub host: Name,
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// Version of the agent; empty from one of protocol 1.
    pub version: String,
    /// Its underlay address; None from an agent of protocol 1.
    pub underlay: Option<IpAddr>,
    /// The [`TAGS`] that it knows; 0: none.
    pub tags: u32,
    /// Where it stands in each VPC that it has rows of.
    pub positions: BTreeMap<Vni, Position>,
}

/// Where a host stands in a VPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Of the last update that was applied.
    pub generation: Generation,
    /// Of all rows that it has; None if it does not know, and must be sent everything.
    pub digest: Option<Digest>,
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
    /// It was applied.
    Applied(Applied),
    /// It was refused whole, for this reason, and nothing changed.
    Refused(String),
}

/// What became of an update that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The VPC's rows that are not as they should be, of this update and of earlier ones. They are
    /// tried again.
    pub errors: Vec<RowError>,
    /// The ports that were attached.
    pub ports: Vec<PortReport>,
    /// How long writing held rows took, to the microsecond.
    pub held: Duration,
    /// How long everything took since the last batch had come, to the microsecond.
    pub total: Duration,
    /// The rows are in tables that are not at work yet: the answer comes again when they are.
    pub prepared: bool,
}

/// How a port was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReport {
    /// Its name.
    pub name: Name,
    /// How long each step took.
    pub steps: Steps,
    /// How long it took since the last batch had come, waiting for other ports included, to the
    /// microsecond.
    pub total: Duration,
}

/// How long the steps of attaching a port took, to the microsecond.
pub type Steps = BTreeMap<Step, Duration>;

/// A step of attaching a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Its link, from looking for it to setting it up.
    Interface,
    /// The guest's addresses, routes and offloads.
    Addresses,
    /// The program at the host's end.
    Program,
    /// Its rows in the kernel's tables.
    Rows,
}

impl Step {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Interface, Self::Addresses, Self::Program, Self::Rows];

    /// Its name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Addresses => "addresses",
            Self::Program => "program",
            Self::Rows => "rows",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A row that could not be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Which row.
    pub row: RowKey,
    /// Why.
    pub reason: String,
}

/// How much of its tables a host uses, and how much it forwards for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Addresses that live here or that the host bounces for. Exact once a minute.
    pub endpoints: Usage,
    /// Learned locations.
    pub learned: Usage,
    /// Guests' interfaces.
    pub ports: Usage,
    /// Other hosts.
    pub hosts: Usage,
    /// What it forwarded, by VPC: at most [`Beat::VPCS`], those with the most.
    pub vpcs: BTreeMap<Vni, Load>,
    /// What it waits for while programs of another layout are at work, for people, in at most
    /// [`Beat::WAITS_FOR`] bytes; None: its own are.
    pub waits_for: Option<String>,
}

impl Beat {
    /// Most VPCs in a beat.
    pub const VPCS: usize = 256;
    /// Most bytes of what a host says that it waits for.
    pub const WAITS_FOR: usize = 512;
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rows.
    pub used: u32,
    /// Most rows.
    pub capacity: u32,
}

/// Packets of one VPC that a host forwarded since its kernel maps were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// As a bouncer.
    pub bounced: u64,
    /// As a divider.
    pub divided: u64,
}

/// To an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerMessage {
    /// About itself and its fleet, before any update.
    Config(HostConfig),
    /// A batch of an update of one VPC.
    Update(Batch),
    /// All that it had to be told when its stream began has been said.
    Complete,
    /// Somebody wants to know something of the host.
    Question(Question),
}

/// A question, which may be left unanswered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Tells the answer from others.
    pub number: u64,
    /// Which rows are asked for.
    pub look: Look,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// That of the question.
    pub number: u64,
    /// The rows, or why there are none.
    pub outcome: Result<Looked, String>,
}

/// Asks a host for the rows that decide what becomes of packets between addresses of a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The VPC.
    pub vni: Vni,
    /// The addresses, 1 to [`Look::ADDRESSES`].
    pub addresses: Vec<IpAddr>,
    /// Underlay addresses of hosts whose rows are wanted too, at most [`Look::HOSTS`].
    pub hosts: Vec<IpAddr>,
}

impl Look {
    /// Most addresses.
    pub const ADDRESSES: usize = 4;
    /// Most hosts.
    pub const HOSTS: usize = 32;
}

/// Rows of a host, without secrets: the rows say that nothing is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Version of the layout of the rows.
    pub layout: u32,
    /// When they were read, in jiffies of that host.
    pub now: u64,
    /// Those of each table, by its name: at most [`Looked::ROWS`] in all.
    pub tables: BTreeMap<String, RawRows>,
    /// Underlay addresses of all hosts that are in them.
    pub hosts: Vec<IpAddr>,
}

/// Rows of a table as the kernel has them: the bytes of keys and rows.
pub type RawRows = Vec<(Vec<u8>, Vec<u8>)>;

impl Looked {
    /// Most tables.
    pub const TABLES: usize = 16;
    /// Most rows of all tables.
    pub const ROWS: usize = 1024;
    /// Most bytes of a key, and of a row.
    pub const ROW_BYTES: usize = 512;
}
