//! What each host must know: the rows that the planner computes and the agent installs.
//!
//! A host's rows are divided by VPC, since nothing in one VPC depends on another: each VPC is updated,
//! acknowledged and resumed on its own. Rows speak of hosts by their underlay address and of
//! networks by their id; the indices of the kernel's tables are the agent's own affair.

use crate::{Generation, Mac, Name, NetworkId, Vni};
use ipnet::{Ipv4Net, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Everything one host is told.
pub type HostRows = BTreeMap<Vni, VpcRows>;

/// Everything one host is told about one VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpcRows {
    /// Underlay addresses of the dividers, in this host's order of preference.
    pub dividers: Vec<IpAddr>,
    /// Most locations that this host may learn.
    pub quota: u32,
    /// The networks that this host sends to, bounces or divides for.
    pub networks: BTreeMap<NetworkId, NetworkRow>,
    /// The endpoints that live on this host.
    pub ports: BTreeMap<Name, PortRow>,
    /// The endpoints that this host holds as a bouncer.
    pub held: BTreeMap<IpAddr, HeldRow>,
}

/// A network: its prefixes and who holds its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    /// IPv4 prefix.
    pub v4: Option<Ipv4Net>,
    /// IPv6 prefix.
    pub v6: Option<Ipv6Net>,
    /// Gateway inside the IPv4 prefix.
    pub v4_gateway: Option<Ipv4Addr>,
    /// Gateway inside the IPv6 prefix.
    pub v6_gateway: Option<Ipv6Addr>,
    /// For each of the 256 slots, the holders' underlay addresses in order of preference (1 to 4).
    pub holders: SlotHolders,
}

/// The holders of each slot: a table of hosts, and for each slot indices into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHolders {
    /// The distinct holders.
    pub hosts: Vec<IpAddr>,
    /// 256 lists of indices into `hosts`.
    pub slots: Vec<Vec<u16>>,
}

/// An endpoint on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// Its network.
    pub network: NetworkId,
    /// Its MAC address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Orders truths about it.
    pub generation: Generation,
    /// How the guest is attached.
    pub attachment: Attachment,
}

/// How a guest is attached to its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A veth whose guest end is created directly in a network namespace.
    Veth {
        /// Path of the guest's network namespace.
        netns: PathBuf,
        /// Name of the interface there.
        interface: String,
    },
}

/// An endpoint elsewhere that this host bounces for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Underlay address of its host.
    pub host: IpAddr,
    /// Orders truths about it.
    pub generation: Generation,
}
