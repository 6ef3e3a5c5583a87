//! The way to an underlay address: route, next hop, and the next hop's MAC address.

use super::error::{Error, Result, unless};
use super::link;
use super::socket::Socket;
use super::wire::{Attributes, Request, address, array, family};
use std::net::IpAddr;

/// Bytes of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// Bytes of `struct ndmsg`.
const NEIGHBOUR_HEADER: usize = 12;
/// `RTA_VIA`: a gateway of the other address family.
const RTA_VIA: u16 = 18;
/// `RTAX_MTU`, inside `RTA_METRICS`.
const RTAX_MTU: u16 = 2;
/// `NDA_FLAGS_EXT`, and `NTF_EXT_MANAGED` in it: the kernel itself keeps the entry resolved.
const NDA_FLAGS_EXT: u16 = 15;
const NTF_EXT_MANAGED: u32 = 1;
/// The states in which an entry's MAC address may be used.
const VALID: u16 = libc::NUD_PERMANENT
    | libc::NUD_NOARP
    | libc::NUD_REACHABLE
    | libc::NUD_PROBE
    | libc::NUD_STALE
    | libc::NUD_DELAY;

/// How packets to an underlay address leave this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Index of the interface that they leave by.
    pub interface: u32,
    /// Whom they are handed to: a gateway, or the destination itself.
    pub next_hop: IpAddr,
    /// Largest IP packet that reaches the destination, in bytes: the interface's MTU, or less where
    /// the route or a packet-too-big message says so.
    pub mtu: u32,
    /// The source address that this host uses.
    pub source: Option<IpAddr>,
}

/// An entry of the neighbour table (ARP, neighbour discovery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of its interface.
    pub interface: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, while it is known and not disproved.
    pub mac: Option<[u8; 6]>,
}

impl Neighbour {
    /// Reads an `RTM_NEWNEIGH` or `RTM_DELNEIGH`; none for bridges' forwarding entries.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let family = i32::from(*payload.first()?);
        if family != libc::AF_INET && family != libc::AF_INET6 {
            return None;
        }
        let state = u16::from_ne_bytes(array(payload, 8)?);
        let attributes = Attributes::after(payload, NEIGHBOUR_HEADER);
        Some(Self {
            interface: u32::from_ne_bytes(array(payload, 4)?),
            address: attributes.address(libc::NDA_DST)?,
            mac: attributes.mac(libc::NDA_LLADDR).filter(|_| state & VALID != 0),
        })
    }
}

/// The way to an address.
pub(super) fn way(socket: &mut Socket, destination: IpAddr) -> Result<Way> {
    let unreachable = |reason| Error::Unreachable { destination, reason };
    let mut header = [0; ROUTE_HEADER];
    header[0] = family(destination);
    header[1] = if destination.is_ipv4() { 32 } else { 128 };
    let request = Request::new("look up the route", libc::RTM_GETROUTE, 0, &header)
        .address(libc::RTA_DST, destination);
    let found = socket.get(request, |payload| {
        let kind = *payload.get(7)?;
        let attributes = Attributes::after(payload, ROUTE_HEADER);
        let metrics = attributes.inside(libc::RTA_METRICS);
        let way = Way {
            interface: attributes.number(libc::RTA_OIF).unwrap_or(0),
            next_hop: gateway(attributes).unwrap_or(destination),
            mtu: metrics.and_then(|metrics| metrics.number(RTAX_MTU)).unwrap_or(0),
            source: attributes.address(libc::RTA_PREFSRC),
        };
        Some((kind, way))
    });
    // What an unreachable, a prohibit and a blackhole route make of a look-up.
    let forbidden = [libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL];
    let (kind, mut way) = match found {
        Ok(found) => found,
        Err(error) if error.is(libc::ENETUNREACH) => return Err(unreachable("there is no route")),
        Err(error) if forbidden.iter().any(|&number| error.is(number)) => {
            return Err(unreachable("the route forbids it"));
        }
        Err(error) => return Err(error),
    };
    match kind {
        libc::RTN_UNICAST => {}
        libc::RTN_LOCAL => return Err(unreachable("it is this host's own address")),
        _ => return Err(unreachable("it is no unicast address, or the route forbids it")),
    }
    let link = link::find_index(socket, way.interface)?;
    let link = link.ok_or_else(|| link::missing(&way.interface))?;
    way.mtu = if way.mtu == 0 { link.mtu } else { way.mtu.min(link.mtu) };
    Ok(way)
}

/// The neighbour's entry, if there is one.
pub(super) fn find(
    socket: &mut Socket,
    interface: u32,
    address: IpAddr,
) -> Result<Option<Neighbour>> {
    let request = request("look up the neighbour", libc::RTM_GETNEIGH, 0, interface, address, 0);
    match socket.get(request, Neighbour::read) {
        Ok(neighbour) => Ok(Some(neighbour)),
        Err(error) if error.is(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the kernel resolve a neighbour, and keep it resolved without traffic (Linux 5.16).
pub(super) fn resolve(socket: &mut Socket, interface: u32, address: IpAddr) -> Result<()> {
    let (kind, flags) = (libc::RTM_NEWNEIGH, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    let use_it = libc::NTF_USE;
    let request = request("resolve the neighbour", kind, flags, interface, address, use_it);
    socket.execute(request.number(NDA_FLAGS_EXT, NTF_EXT_MANAGED))
}

/// Lets go of a neighbour that [`resolve`] keeps resolved; whether there was one.
pub(super) fn release(socket: &mut Socket, interface: u32, address: IpAddr) -> Result<bool> {
    let request = request("release the neighbour", libc::RTM_DELNEIGH, 0, interface, address, 0);
    unless(socket.execute(request), &[libc::ENOENT, libc::ENODEV])
}

fn request(
    what: &'static str,
    kind: u16,
    flags: i32,
    interface: u32,
    address: IpAddr,
    neighbour_flags: u8,
) -> Request {
    let mut header = [0; NEIGHBOUR_HEADER];
    header[0] = family(address);
    header[4..8].copy_from_slice(&interface.to_ne_bytes());
    header[10] = neighbour_flags;
    Request::new(what, kind, flags, &header).address(libc::NDA_DST, address)
}

fn gateway(attributes: Attributes<'_>) -> Option<IpAddr> {
    // RTA_VIA begins with its address family.
    let via = || attributes.get(RTA_VIA).and_then(|via| via.get(2..)).and_then(address);
    attributes.address(libc::RTA_GATEWAY).or_else(via)
}
