//! What an agent says about itself.

use crate::Steps;
use mizar_vpc::{Generation, HostConfig, Mac, Name, Vni};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

/// How an agent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Name of the host.
    pub host: Name,
    /// Version of the agent.
    pub version: String,
    /// Version of the layout of its kernel maps.
    pub layout: u32,
    /// Name of the NIC.
    pub nic: String,
    /// How its programs hang at the NIC.
    pub nic_mode: NicMode,
    /// Why they hang like that.
    pub nic_mode_reason: String,
    /// What it waits for while the programs of another layout are still at work.
    pub waits_for: Option<String>,
    /// When it started, to the millisecond.
    pub since: SystemTime,
    /// What the controller told it about itself.
    pub config: Option<HostConfig>,
    /// Whether it has a stream to a controller.
    pub connected: bool,
    /// Where it stands in each VPC.
    pub positions: BTreeMap<Vni, Generation>,
    /// The endpoints on this host.
    pub ports: Vec<PortStatus>,
    /// The other hosts that it knows.
    pub hosts: Vec<HostStatus>,
}

/// How programs hang at the NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NicMode {
    /// XDP in the driver.
    Native,
    /// XDP in the kernel's generic path.
    Generic,
    /// Traffic control only.
    Tc,
}

/// An endpoint on an agent's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// Its VPC.
    pub vni: Vni,
    /// Its name.
    pub name: Name,
    /// Name of the host's end of its link; None while there is none.
    pub interface: Option<String>,
    /// Its MAC address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Its generation.
    pub generation: Generation,
    /// How it stands.
    pub state: PortState,
    /// How long each step of attaching it took; none if an earlier agent attached it.
    pub steps: Steps,
}

/// How an endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortState {
    /// Being attached.
    Attaching,
    /// Attached.
    Ready,
    /// It could not be attached, for this reason, and is tried again.
    Failed(String),
}

/// Another host, as an agent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// Its underlay address.
    pub underlay: IpAddr,
    /// MAC address of the next hop; None while unresolved.
    pub next_hop: Option<Mac>,
    /// Whether it is known to be alive.
    pub alive: bool,
    /// Largest outer IP packet that reaches it, in bytes.
    pub mtu: u16,
}

/// What an agent's host counted since its kernel maps were created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By VPC.
    pub vpcs: BTreeMap<Vni, VpcCounters>,
    /// Of packets whose VPC is not known.
    pub unknown: VpcCounters,
}

/// Packets by name of the counter.
pub type VpcCounters = BTreeMap<String, u64>;

impl fmt::Display for NicMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        })
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attaching => f.pad("attaching"),
            Self::Ready => f.pad("ready"),
            Self::Failed(reason) => f.pad(&format!("failed: {reason}")),
        }
    }
}
