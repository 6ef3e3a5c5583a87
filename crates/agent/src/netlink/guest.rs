//! The guest's end of an endpoint: its addresses and its default routes.
//!
//! What is set here carries [`PROTOCOL`], so that a later call can tell what it may remove from
//! what the guest has set for itself.

use super::error::{Result, unless};
use super::socket::Socket;
use super::wire::{Attributes, Request, address, array, family};
use ipnet::IpNet;
use std::net::IpAddr;

/// Who set an address or a route: Mizar, among the numbers of `rtnetlink(7)` that nobody else uses.
const PROTOCOL: u8 = 77;
/// The metric of the IPv6 default route: better than one from a router advertisement (1024).
const V6_METRIC: u32 = 512;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
/// Bytes of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// `IFA_PROTO`.
const IFA_PROTO: u16 = 11;

/// An address of a guest's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAddress {
    /// The address with its network's prefix length, which makes the network on-link.
    pub address: IpNet,
    /// The network's gateway: the default route goes by way of it.
    pub gateway: Option<IpAddr>,
}

/// An address as the kernel lists it.
pub(super) struct Listed {
    pub(super) index: u32,
    pub(super) address: IpNet,
    protocol: u8,
}

/// Gives the interface these addresses, and takes away what an earlier call gave and is not wanted.
/// IPv6 addresses skip duplicate address detection: they are assigned, not chosen.
///
/// # Errors
/// [`Error::Refused`](super::Error::Refused).
pub(super) fn set_addresses(
    socket: &mut Socket,
    index: u32,
    wanted: &[GuestAddress],
) -> Result<()> {
    let present = list_addresses(socket, index)?;
    let is_wanted = |listed: &Listed| wanted.iter().any(|guest| guest.address == listed.address);
    for stale in present.iter().filter(|listed| listed.protocol == PROTOCOL && !is_wanted(listed)) {
        let what = "remove a former address";
        let request = address_request(what, libc::RTM_DELADDR, 0, index, stale.address);
        unless(socket.execute(request), &[libc::EADDRNOTAVAIL])?;
    }
    for guest in wanted {
        if present.iter().any(|listed| listed.address == guest.address) {
            continue;
        }
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let request =
            address_request("add an address", libc::RTM_NEWADDR, flags, index, guest.address);
        socket.execute(request.bytes(IFA_PROTO, &[PROTOCOL]))?;
    }
    Ok(())
}

/// Gives the guest default routes by way of the gateways, and takes away former ones. A guest that
/// has a default route by another interface keeps that one.
///
/// # Errors
/// [`Error::Refused`](super::Error::Refused).
pub(super) fn set_routes(socket: &mut Socket, index: u32, wanted: &[GuestAddress]) -> Result<()> {
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        for gateway in list_gateways(socket, index, family)? {
            if !wanted.iter().any(|guest| guest.gateway == Some(gateway)) {
                let what = "remove a former default route";
                let request = route_request(what, libc::RTM_DELROUTE, 0, index, gateway);
                unless(socket.execute(request), &[libc::ESRCH])?;
            }
        }
    }
    for gateway in wanted.iter().filter_map(|guest| guest.gateway) {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let what = "add the default route";
        let request = route_request(what, libc::RTM_NEWROUTE, flags, index, gateway);
        unless(socket.execute(request), &[libc::EEXIST])?;
    }
    Ok(())
}

/// The addresses of an interface.
///
/// # Errors
/// [`Error::Refused`](super::Error::Refused).
pub(super) fn list_addresses(socket: &mut Socket, index: u32) -> Result<Vec<Listed>> {
    let mut header = [0; ADDRESS_HEADER];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    let request = || Request::new("list addresses", libc::RTM_GETADDR, libc::NLM_F_DUMP, &header);
    let listed = match socket.dump(request, read_address) {
        // The interface has no IPv4 or no IPv6 side, or is gone.
        Err(error) if error.is(libc::ENODEV) => Vec::new(),
        result => result?,
    };
    Ok(listed.into_iter().filter(|listed| listed.index == index).collect())
}

fn read_address(payload: &[u8]) -> Option<Listed> {
    let attributes = Attributes::after(payload, ADDRESS_HEADER);
    // IFA_ADDRESS is the far end on point-to-point interfaces, IFA_LOCAL is missing for IPv6.
    let local = attributes.address(libc::IFA_LOCAL);
    Some(Listed {
        index: u32::from_ne_bytes(array(payload, 4)?),
        address: IpNet::new(local.or(attributes.address(libc::IFA_ADDRESS))?, payload[1]).ok()?,
        protocol: attributes.byte(IFA_PROTO).unwrap_or(0),
    })
}

fn address_request(
    what: &'static str,
    kind: u16,
    flags: i32,
    index: u32,
    address: IpNet,
) -> Request {
    let mut header = [0; ADDRESS_HEADER];
    header[0] = family(address.addr());
    header[1] = address.prefix_len();
    header[2] = libc::IFA_F_NODAD as u8;
    header[4..].copy_from_slice(&index.to_ne_bytes());
    Request::new(what, kind, flags, &header)
        .address(libc::IFA_LOCAL, address.addr())
        .address(libc::IFA_ADDRESS, address.addr())
}

/// The gateways of the default routes that were set here by way of the interface.
fn list_gateways(socket: &mut Socket, index: u32, family: u8) -> Result<Vec<IpAddr>> {
    let mut header = [0; ROUTE_HEADER];
    (header[0], header[4], header[5]) = (family, libc::RT_TABLE_MAIN, PROTOCOL);
    let request = || {
        Request::new("list routes", libc::RTM_GETROUTE, libc::NLM_F_DUMP, &header)
            .number(libc::RTA_OIF, index)
    };
    let read = |payload: &[u8]| {
        let attributes = Attributes::after(payload, ROUTE_HEADER);
        let is_default = payload.get(1) == Some(&0);
        let ours =
            payload.get(5) == Some(&PROTOCOL) && attributes.number(libc::RTA_OIF) == Some(index);
        attributes.get(libc::RTA_GATEWAY).filter(|_| is_default && ours).and_then(address)
    };
    match socket.dump(request, read) {
        // There is no table yet for this family.
        Err(error) if error.is(libc::ENOENT) => Ok(Vec::new()),
        result => result,
    }
}

fn route_request(
    what: &'static str,
    kind: u16,
    flags: i32,
    index: u32,
    gateway: IpAddr,
) -> Request {
    let mut header = [0; ROUTE_HEADER];
    (header[0], header[4], header[5]) = (family(gateway), libc::RT_TABLE_MAIN, PROTOCOL);
    header[7] = libc::RTN_UNICAST;
    let request = Request::new(what, kind, flags, &header)
        .number(libc::RTA_OIF, index)
        .address(libc::RTA_GATEWAY, gateway);
    match gateway {
        IpAddr::V4(_) => request,
        IpAddr::V6(_) => request.number(libc::RTA_PRIORITY, V6_METRIC),
    }
}
