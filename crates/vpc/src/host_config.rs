//! What a host must know apart from VPCs.

use crate::{Name, TagKeys};
use ipnet::IpNet;
use std::net::IpAddr;

/// What a host is told about itself and its fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Its name.
    pub name: Name,
    /// Its underlay address.
    pub underlay: IpAddr,
    /// The prefixes of the fleet's underlay: no other outer source is accepted.
    pub fleet: Vec<IpNet>,
    /// The keys of what hosts say to each other that is not of one VPC; None: nothing is signed.
    pub keys: Option<TagKeys>,
}
