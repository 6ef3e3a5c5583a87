//! Resources as they stand in an [`Intent`](crate::Intent): checked together, and complete.

use crate::{Attachment, Generation, Mac, Name, NetworkId, Replicas, Vni};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A machine of the underlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name, unique in the fleet.
    pub name: Name,
    /// Its underlay address, unique in the fleet.
    pub underlay: IpAddr,
}

/// A tenant's isolated address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// Its name, unique in the fleet.
    pub name: Name,
    /// Its number on the wire, unique in the fleet.
    pub vni: Vni,
    /// Most locations that one host may learn in it.
    pub quota: u32,
    /// The hosts that divide its traffic between its networks, 1 to 8.
    pub dividers: Vec<Name>,
}

impl Vpc {
    /// Locations that one host may learn in a VPC that does not say.
    pub const DEFAULT_QUOTA: u32 = 16_384;
}

/// A subnet inside a VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its VPC.
    pub vpc: Name,
    /// Its name, unique in the VPC.
    pub name: Name,
    /// Its id, unique in the VPC.
    pub id: NetworkId,
    /// IPv4 prefix.
    pub v4: Option<Ipv4Net>,
    /// IPv6 prefix.
    pub v6: Option<Ipv6Net>,
    /// Gateway inside the IPv4 prefix.
    pub v4_gateway: Option<Ipv4Addr>,
    /// Gateway inside the IPv6 prefix.
    pub v6_gateway: Option<Ipv6Addr>,
    /// How many bouncers hold each slot.
    pub replicas: Replicas,
    /// The hosts that may hold its slots.
    pub bouncers: Vec<Name>,
}

/// One interface in one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its VPC.
    pub vpc: Name,
    /// Its network.
    pub network: Name,
    /// Its name, unique in the VPC.
    pub name: Name,
    /// The host that it lives on.
    pub host: Name,
    /// IPv4 address, if its network has an IPv4 prefix.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address, if its network has an IPv6 prefix.
    pub v6: Option<Ipv6Addr>,
    /// MAC address, unique in the VPC.
    pub mac: Mac,
    /// Orders truths about it.
    pub generation: Generation,
    /// How the guest is attached.
    pub attachment: Attachment,
}

impl Endpoint {
    /// Its addresses of both families.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }
}
