//! Which prefixes networks may have, and which addresses interfaces may have.

use crate::Problem;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};

/// Lengths that leave room for a gateway and an endpoint.
const V4_LENGTHS: (u8, u8) = (8, 30);
const V6_LENGTHS: (u8, u8) = (16, 126);
/// Length of one address.
const V4_ADDRESS: u8 = 32;
const V6_ADDRESS: u8 = 128;

/// Whether a host of the underlay may have an address: it is that of one interface, on any link.
pub fn is_underlay(address: IpAddr) -> bool {
    let is_special = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some() || v6.is_unicast_link_local(),
    };
    !(is_special || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

/// Refuses a prefix that no network may have.
pub(crate) fn check_prefix(prefix: IpNet) -> Result<(), Problem> {
    check(prefix, if prefix.addr().is_ipv4() { V4_LENGTHS } else { V6_LENGTHS })
}

/// Refuses a prefix that a host may not reach by way of a network: a default route, in one piece
/// or in a few, and what is in no network. Networks' prefixes may be summed up, down to the
/// shortest that a network may have, or be parts.
pub(crate) fn check_route(prefix: IpNet) -> Result<(), Problem> {
    if prefix.prefix_len() == 0 {
        return Err(Problem::DefaultRoute(prefix));
    }
    let lengths = match prefix {
        IpNet::V4(_) => (V4_LENGTHS.0, V4_ADDRESS),
        IpNet::V6(_) => (V6_LENGTHS.0, V6_ADDRESS),
    };
    check(prefix, lengths)
}

fn check(prefix: IpNet, (shortest, longest): (u8, u8)) -> Result<(), Problem> {
    if prefix != prefix.trunc() {
        return Err(Problem::HostBits { prefix });
    }
    if !(shortest..=longest).contains(&prefix.prefix_len()) {
        return Err(Problem::PrefixLength { prefix, shortest, longest });
    }
    match reserved().into_iter().find(|other| overlap(*other, prefix)) {
        Some(reserved) => Err(Problem::ReservedPrefix { prefix, reserved }),
        None => Ok(()),
    }
}

/// Refuses an address that is outside of a prefix, or its network or broadcast address.
pub(crate) fn check_usable(address: IpAddr, prefix: IpNet) -> Result<(), Problem> {
    if !prefix.contains(&address) {
        return Err(Problem::Outside { address, prefix });
    }
    match end_of(prefix, address) {
        Some(role) => Err(Problem::ReservedAddress { address, role, prefix }),
        None => Ok(()),
    }
}

/// What an address at either end of a prefix is for.
pub(crate) fn end_of(prefix: IpNet, address: IpAddr) -> Option<&'static str> {
    match prefix {
        _ if address == prefix.network() => Some("network address"),
        IpNet::V4(_) if address == prefix.broadcast() => Some("broadcast address"),
        _ => None,
    }
}

/// Whether two prefixes have addresses in common.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// What no guest's packet may carry as its source (RFC 6890), and IPv4-mapped IPv6 addresses,
/// which the tables use for IPv4.
fn reserved() -> [IpNet; 7] {
    let v4 = |octets: [u8; 4], length| IpNet::V4(Ipv4Net::new_assert(octets.into(), length));
    let v6 = |first, length| {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length))
    };
    [
        v4([0, 0, 0, 0], 8),
        v4([127, 0, 0, 0], 8),
        v4([169, 254, 0, 0], 16),
        v4([224, 0, 0, 0], 3),
        v6(0, 8),
        v6(0xfe80, 10),
        v6(0xff00, 8),
    ]
}
