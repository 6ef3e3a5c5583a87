//! The addresses of an endpoint's interface.
//!
//! What is set here, and routes (`route.rs`), carries [`PROTOCOL`], so that a later call can tell
//! what it may remove from what the guest has set for itself.

use super::error::{Result, unless};
use super::socket::Socket;
use super::wire::{Attributes, Request, array, family};
use ipnet::IpNet;
use std::net::IpAddr;

/// Who set an address or a route: Mizar, among the numbers of `rtnetlink(7)` that nobody else uses.
pub(super) const PROTOCOL: u8 = 77;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
/// `IFA_PROTO`.
const IFA_PROTO: u16 = 11;

/// An address of a guest's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAddress {
    /// The address with its network's prefix length, which makes the network on-link.
    pub address: IpNet,
    /// The network's gateway, by way of which routes go.
    pub gateway: Option<IpAddr>,
}

/// An address as the kernel lists it.
pub(super) struct Listed {
    pub(super) index: u32,
    pub(super) address: IpNet,
    protocol: u8,
}

/// Gives the interface these addresses beside those that are `present`, of which it takes away what
/// an earlier call gave and is not wanted.
/// IPv6 addresses skip duplicate address detection: they are assigned, not chosen.
///
/// # Errors
/// [`Error::Refused`](super::Error::Refused).
pub(super) fn set_addresses(
    socket: &mut Socket,
    index: u32,
    wanted: &[GuestAddress],
    present: &[Listed],
) -> Result<()> {
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
