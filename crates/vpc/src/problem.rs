//! What is wrong with a field of a resource.

use crate::{AttachmentError, Name};
use ipnet::IpNet;
use std::net::IpAddr;
use thiserror::Error;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Something that must differ does not.
    #[error("{value} is already used by {by}: choose another")]
    Taken {
        /// The value.
        value: String,
        /// The path of the resource that has it.
        by: String,
    },
    /// A name that no resource has.
    #[error("there is no {kind} {name}: name one that exists")]
    Unknown {
        /// What kind of resource.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A list that is too short or too long.
    #[error("the list has {count} entries: it must have from {least} to {most}")]
    Count {
        /// How many there are.
        count: usize,
        /// The fewest.
        least: usize,
        /// The most.
        most: usize,
    },
    /// No address of one interface.
    #[error("{0} is no unicast address of a host: choose one that is")]
    NotUnicast(IpAddr),
    /// A host outside of the fleet.
    #[error("{0} is in no prefix of the fleet: choose one that is, or add its prefix to the fleet")]
    OutsideFleet(IpAddr),
    /// A network without prefixes.
    #[error("there is no prefix: give an IPv4 prefix (v4), an IPv6 prefix (v6), or both")]
    NoPrefix,
    /// An address with a length where a prefix is meant.
    #[error("{prefix} has bits set behind its length: write {right}", right = prefix.trunc())]
    HostBits {
        /// The prefix.
        prefix: IpNet,
    },
    /// A prefix that is too short, or leaves no room for endpoints.
    #[error("{prefix} has a length out of range: it must be from /{shortest} to /{longest}")]
    PrefixLength {
        /// The prefix.
        prefix: IpNet,
        /// The shortest length.
        shortest: u8,
        /// The longest length.
        longest: u8,
    },
    /// A prefix of addresses that no guest may have.
    #[error("{prefix} overlaps {reserved}, which is not for guests: choose another")]
    ReservedPrefix {
        /// The prefix.
        prefix: IpNet,
        /// What it overlaps.
        reserved: IpNet,
    },
    /// Two prefixes of one VPC that share addresses.
    #[error("{prefix} overlaps {other} of {by}: prefixes of one VPC must not overlap")]
    Overlap {
        /// The prefix.
        prefix: IpNet,
        /// The other prefix.
        other: IpNet,
        /// The path of the network that has it.
        by: String,
    },
    /// An address or prefix of a family that the network lacks.
    #[error("{value} is {family}, and the network has no {family} prefix: leave it out")]
    NoFamily {
        /// The address or prefix.
        value: String,
        /// Its family.
        family: &'static str,
    },
    /// An address outside of its network.
    #[error("{address} is outside of {prefix}: choose one inside, or leave it out")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The network's prefix.
        prefix: IpNet,
    },
    /// An address that has another use in its network.
    #[error("{address} is the {role} of {prefix}: choose another, or leave it out")]
    ReservedAddress {
        /// The address.
        address: IpAddr,
        /// What it is for.
        role: &'static str,
        /// The network's prefix.
        prefix: IpNet,
    },
    /// No address is left.
    #[error("no address of {prefix} is free: remove an endpoint, or use another network")]
    Exhausted {
        /// The network's prefix.
        prefix: IpNet,
    },
    /// No IPv6 address is left in the slot of the IPv4 address.
    #[error(
        "no address of {prefix} is free in the slot of {v4}: use a prefix of /96 or shorter, or \
         choose an address"
    )]
    SlotExhausted {
        /// The network's prefix.
        prefix: IpNet,
        /// The IPv4 address.
        v4: IpAddr,
    },
    /// No number is left.
    #[error("all {0} are in use: remove a resource that has one")]
    NoneLeft(&'static str),
    /// A field that cannot become another.
    #[error("{wanted} is another than {was}, and this cannot change: delete it and create it anew")]
    Fixed {
        /// Its value.
        was: String,
        /// The value that was asked for.
        wanted: String,
    },
    /// A name of a VPC where none belongs, or none where one does.
    #[error(
        "resources of kind {kind} are {}",
        if *.is_in_vpc { "in a VPC: name it" } else { "in no VPC: leave it out" }
    )]
    Scope {
        /// The kind.
        kind: &'static str,
        /// Whether such resources are in a VPC.
        is_in_vpc: bool,
    },
    /// Nothing can be in the fleet before it has prefixes.
    #[error("the fleet has no prefixes yet: create the Fleet named fleet first")]
    NoFleet,
    /// A host that would fall out of the fleet.
    #[error("{address} of {by} would be in no prefix of the fleet: keep its prefix")]
    Excluded {
        /// The host's address.
        address: IpAddr,
        /// The host.
        by: String,
    },
    /// A migration to where the endpoint is.
    #[error("the endpoint lives on host {0}: name another, or leave the migration out")]
    LivesThere(Name),
    /// A migration of a host.
    #[error("an endpoint that is a host itself cannot move: leave the migration out")]
    HostMoves,
    /// A host that takes no endpoints.
    #[error("host {0} is cordoned: choose another, or uncordon it")]
    Cordoned(Name),
    /// A host that the tenant may not use.
    #[error("host {host} is not granted to tenant {tenant}, who may use hosts with {selector}")]
    NotGranted {
        /// The host.
        host: Name,
        /// The tenant.
        tenant: Name,
        /// The labels of hosts that it may use.
        selector: String,
    },
    /// As many endpoints as the tenant may have.
    #[error("tenant {tenant} has all of the {most} endpoints that it may have: delete one")]
    Quota {
        /// The tenant.
        tenant: Name,
        /// Most endpoints.
        most: u64,
    },
    /// A route that would replace the host's own.
    #[error("{0} is a default route, and a host keeps its own: name prefixes of the VPC")]
    DefaultRoute(IpNet),
    /// A route to what a host reaches without it.
    #[error(
        "{prefix} is in {own}, the endpoint's own network, which it reaches anyway: leave it out"
    )]
    OwnNetwork {
        /// The prefix.
        prefix: IpNet,
        /// The network's prefix.
        own: IpNet,
    },
    /// A prefix that would take the underlay away from a host.
    #[error(
        "{prefix} overlaps {fleet} of the fleet, from which the host would be cut off: {remedy}"
    )]
    CutOff {
        /// The prefix.
        prefix: IpNet,
        /// The prefix of the underlay.
        fleet: IpNet,
        /// What would be right.
        remedy: &'static str,
    },
    /// An interface of the host for a tenant who may not have any.
    #[error(
        "interfaces of hosts are not granted to tenant {0}: attach a guest (veth), or set \
         hostEndpoints in the tenant's grant"
    )]
    NoHostEndpoints(Name),
    /// An endpoint that cannot be attached like that.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
}

impl Problem {
    /// Refuses a list that has fewer than `least` or more than `most` entries.
    pub(crate) fn check_count(count: usize, least: usize, most: usize) -> Result<(), Self> {
        if (least..=most).contains(&count) {
            Ok(())
        } else {
            Err(Self::Count { count, least, most })
        }
    }
}
