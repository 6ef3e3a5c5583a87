//! How resources stand.

use crate::{Generation, Mac, Name, NetworkId, Vni};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Derives what every status has.
macro_rules! statuses {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name { $($body)* }
    )* };
}

/// What keyed tags are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TagsStage {
    /// Nothing is signed, and everything believed.
    #[default]
    Off,
    /// Hosts sign, and believe everything: not all of them sign yet, or will at the next step.
    Signing,
    /// Hosts sign, and believe only what is signed.
    Required,
}

statuses! {
    /// How the fleet stands.
    pub struct FleetStatus {
        /// How many hosts there are.
        pub hosts: u64,
        /// How many of them have a stream to a controller.
        pub connected: u64,
        /// How many VPCs there are.
        pub vpcs: u64,
        /// How many endpoints there are.
        pub endpoints: u64,
        /// Zones in which so many hosts fell silent at once that nothing is reassigned.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub frozen_zones: Vec<String>,
        /// How far keyed tags are.
        pub tags: TagsStatus,
    }

    /// How far keyed tags are.
    pub struct TagsStatus {
        /// Which keys are signed with; each is one later than that before. 0: none yet.
        pub epoch: u64,
        /// What is so.
        pub stage: TagsStage,
        /// Hosts that have yet to take the last step, of which the next one has to wait for those
        /// that are there: the first ten.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub waiting: Vec<Name>,
    }

    /// How a host stands.
    pub struct HostStatus {
        /// Whether its agent has a stream to a controller.
        pub connected: bool,
        /// Whether it was heard of lately enough to be counted on.
        pub alive: bool,
        /// Version of its agent.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub version: String,
        /// How many endpoints live on it.
        pub endpoints: u64,
        /// How many slots it holds, in all networks.
        pub slots: u64,
        /// The VPCs of which it has yet to acknowledge something.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub behind: Vec<String>,
        /// What it could not do, by row.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub errors: BTreeMap<String, String>,
        /// What is so with it for the time being: `Upgrading`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub conditions: Vec<Condition>,
    }

    /// How a tenant stands.
    pub struct TenantStatus {
        /// How many VPCs it owns.
        pub vpcs: u64,
        /// How many endpoints are in them.
        pub endpoints: u64,
    }

    /// How a VPC stands.
    pub struct VpcStatus {
        /// Its number on the wire.
        pub vni: Option<Vni>,
        /// Its dividers, in order.
        pub dividers: Vec<Name>,
        /// How many networks it has.
        pub networks: u64,
        /// How many endpoints are in it.
        pub endpoints: u64,
    }

    /// How a network stands.
    pub struct NetworkStatus {
        /// Its id, unique in its VPC.
        pub id: Option<NetworkId>,
        /// Its IPv4 gateway.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub v4_gateway: Option<Ipv4Addr>,
        /// Its IPv6 gateway.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub v6_gateway: Option<Ipv6Addr>,
        /// Its bouncers.
        pub bouncers: Vec<Name>,
        /// Epoch of its slot map.
        pub epoch: u64,
        /// Whether its slots are where they shall be, and all who send there know it.
        pub settled: bool,
        /// How many endpoints are in it.
        pub endpoints: u64,
    }

    /// How an endpoint stands.
    pub struct EndpointStatus {
        /// All in one word.
        pub phase: Phase,
        /// Orders truths about where it is.
        pub generation: Option<Generation>,
        /// Its IPv4 address.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub v4: Option<Ipv4Addr>,
        /// Its IPv6 address.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub v6: Option<Ipv6Addr>,
        /// Its MAC address.
        pub mac: Option<Mac>,
        /// What is so, what is not, and why.
        pub conditions: Vec<Condition>,
        /// How long each step of making it ready took, while that is remembered.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub timings: Vec<Timing>,
    }

    /// Who holds the slots of a network.
    pub struct SlotMapStatus {
        /// For each holder, how many slots it has that are filling, that senders are told of
        /// (active, leaving or doubtful), and that are draining.
        pub holders: BTreeMap<Name, [u16; 3]>,
        /// Hosts that gave slots up, and still forward what is sent to them.
        pub former: Vec<Name>,
    }
}

impl HostStatus {
    /// The condition of one on which programs of another layout are at work still.
    pub const UPGRADING: &str = "Upgrading";

    /// Whether programs of another layout are at work on it still.
    pub fn is_upgrading(&self) -> bool {
        is_so(&self.conditions, Self::UPGRADING)
    }
}

impl EndpointStatus {
    /// The condition of one that is about to move: its interface is there already.
    pub const PREPARED: &str = "Prepared";
    /// Why it is not known whether it is attached: the host had it, and has said nothing lately.
    pub const SILENT: &str = "Silent";

    /// Whether the host that it is about to move to has its interface.
    pub fn is_prepared(&self) -> bool {
        is_so(&self.conditions, Self::PREPARED)
    }
}

fn is_so(conditions: &[Condition], r#type: &str) -> bool {
    conditions.iter().any(|it| it.r#type == r#type && it.status == ConditionStatus::True)
}

/// All of an endpoint's status in one word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Phase {
    /// Its host or all of its bouncers do not have it yet, or no divider knows its network.
    #[default]
    Pending,
    /// Its host and every active bouncer have it, and the VPC's dividers know its network.
    Ready,
    /// It works, and something that should be there is missing.
    Degraded,
    /// Its host could not attach it, and goes on trying.
    Failed,
}

impl Phase {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Ready => "Ready",
            Self::Degraded => "Degraded",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that is so or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What. Of an endpoint: `Attached` (the host has it), `Bounced` (the bouncers have it),
    /// `Routed` (the dividers know its network), `Prepared` (the host that it is about to move to
    /// has its interface), `Ready`. Of a host: `Upgrading` (programs of another layout are at work
    /// still, until the tables of its agent's are as told).
    pub r#type: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, in one word for programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// Nobody has said since the controller started, or lately.
    Unknown,
}

/// How long one step took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Which step: `interface`, `addresses`, `program`, `rows`, `attached`, `bounced`, `ready`.
    pub step: String,
    /// When it ended, in microseconds since the request was accepted; for the agent's own steps
    /// (`interface`, `addresses`, `program`, `rows`) how long it took.
    pub micros: u64,
}
