//! Resources as they are asked for: what may be left open is an `Option` or has a default.

use crate::{Attachment, Generation, Mac, Name, NetworkId, Replicas, Vni, resource::Host};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Everything that is asked of a fleet, to be checked by [`Intent::build`](crate::Intent::build).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// The underlay prefixes that hold all hosts, at most 8.
    pub fleet: Vec<IpNet>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The VPCs.
    pub vpcs: Vec<VpcSpec>,
    /// The networks of all VPCs.
    pub networks: Vec<NetworkSpec>,
    /// The endpoints of all VPCs.
    pub endpoints: Vec<EndpointSpec>,
}

/// A VPC as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcSpec {
    /// Its name, unique in the fleet.
    pub name: Name,
    /// Its VNI, unique in the fleet; by default the lowest free one.
    #[serde(default)]
    pub vni: Option<Vni>,
    /// Most locations that one host may learn in it; by default [`Vpc::DEFAULT_QUOTA`].
    ///
    /// [`Vpc::DEFAULT_QUOTA`]: crate::Vpc::DEFAULT_QUOTA
    #[serde(default)]
    pub quota: Option<u32>,
    /// The hosts that divide its traffic between its networks, 1 to 8.
    pub dividers: Vec<Name>,
}

/// A network as it is asked for. It has at least one of both prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its VPC.
    pub vpc: Name,
    /// Its name, unique in the VPC.
    pub name: Name,
    /// Its id, unique in the VPC; by default the lowest free one.
    #[serde(default)]
    pub id: Option<NetworkId>,
    /// IPv4 prefix, /8 to /30.
    #[serde(default)]
    pub v4: Option<Ipv4Net>,
    /// IPv6 prefix, /16 to /126.
    #[serde(default)]
    pub v6: Option<Ipv6Net>,
    /// IPv4 gateway; by default the first address.
    #[serde(default)]
    pub v4_gateway: Option<Ipv4Addr>,
    /// IPv6 gateway; by default the first address.
    #[serde(default)]
    pub v6_gateway: Option<Ipv6Addr>,
    /// How many bouncers hold each slot.
    #[serde(default)]
    pub replicas: Replicas,
    /// The hosts that may hold its slots, at least one.
    pub bouncers: Vec<Name>,
}

/// An endpoint as it is asked for. It has an address of each family that its network has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Its VPC.
    pub vpc: Name,
    /// Its network.
    pub network: Name,
    /// Its name, unique in the VPC.
    pub name: Name,
    /// The host that it lives on.
    pub host: Name,
    /// IPv4 address; by default the lowest free one.
    #[serde(default)]
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address; by default one in the slot of its IPv4 address.
    #[serde(default)]
    pub v6: Option<Ipv6Addr>,
    /// MAC address, unique in the VPC; by default derived from VNI and address.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Orders truths about it; by default the generation that the resources are built at.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// How the guest is attached.
    pub attachment: Attachment,
}
