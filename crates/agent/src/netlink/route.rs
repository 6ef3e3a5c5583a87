//! The routes of an endpoint's interface, and those of the host that they must leave alone.

use super::error::{Error, Result, unless};
use super::guest::PROTOCOL;
use super::link;
use super::socket::Socket;
use super::wire::{Attributes, Request, array, family};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// The metric of IPv6 routes: better than those from a router advertisement (1024).
const V6_METRIC: u32 = 512;
/// Bytes of `struct rtmsg`.
const HEADER: usize = 12;
/// `RTA_VIA`: a gateway of the other address family.
const RTA_VIA: u16 = 18;
/// `RTA_MULTIPATH`: several ways.
const RTA_MULTIPATH: u16 = 9;

/// Where a guest sends what it reaches by way of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// What is reached.
    pub(super) destination: IpNet,
    /// By way of whom.
    pub(super) gateway: IpAddr,
}

/// A route as the kernel lists it.
struct Listed {
    destination: IpNet,
    /// Its interface, if it has one only.
    interface: Option<u32>,
    /// Who it is by way of; what is on the link is by way of nobody.
    gateway: Option<IpAddr>,
    on_link: bool,
    protocol: u8,
}

impl Route {
    /// The default route by way of a gateway.
    pub(super) fn default_by(gateway: IpAddr) -> Self {
        Self { destination: any(gateway), gateway }
    }
}

/// The routes by an interface that [`set`] has set.
///
/// # Errors
/// [`Error::Refused`].
pub(super) fn list_ours(socket: &mut Socket, index: u32) -> Result<Vec<Route>> {
    let mut present = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        present.extend(list(socket, family as u8, PROTOCOL)?);
    }
    let ours = present
        .into_iter()
        .filter(|it| it.protocol == PROTOCOL && it.interface == Some(index))
        .filter_map(|Listed { destination, gateway, .. }| {
            Some(Route { destination, gateway: gateway? })
        });
    Ok(ours.collect())
}

/// Gives the guest these routes by its interface beside those that are `present` of ours, of which
/// it takes away the former ones. A guest that has a default route by another interface keeps that
/// one.
///
/// # Errors
/// [`Error::Refused`]: also a route to the same destination by another interface, if it is no
/// default route.
pub(super) fn set(
    socket: &mut Socket,
    index: u32,
    wanted: &[Route],
    present: &[Route],
) -> Result<()> {
    for stale in present.iter().filter(|route| !wanted.contains(route)) {
        let what = "remove a former route";
        let request = request(what, libc::RTM_DELROUTE, 0, index, stale);
        unless(socket.execute(request), &[libc::ESRCH])?;
    }
    for route in wanted.iter().filter(|route| !present.contains(route)) {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = request("add a route", libc::RTM_NEWROUTE, flags, index, route);
        let kept: &[i32] = if route.destination.prefix_len() == 0 { &[libc::EEXIST] } else { &[] };
        unless(socket.execute(request), kept)?;
    }
    Ok(())
}

/// Refuses to have prefixes reached by an interface, which has this index if it is there, that the
/// host reaches otherwise: the same ones, and what is on the links of its other interfaces. What it
/// reaches by way of gateways may become less.
///
/// # Errors
/// [`Error::RouteTaken`], [`Error::Refused`].
pub(super) fn check_free(socket: &mut Socket, own: Option<u32>, wanted: &[IpNet]) -> Result<()> {
    let mut present = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        present.extend(list(socket, family as u8, libc::RTPROT_UNSPEC)?);
    }
    let is_own = |it: &Listed| own.is_some() && it.interface == own;
    for &wanted in wanted {
        if present.iter().any(|it| is_own(it) && it.destination == wanted) {
            continue;
        }
        let overlaps = |it: &Listed| {
            let destination = it.destination;
            let other = destination.contains(&wanted) || wanted.contains(&destination);
            destination == wanted || it.on_link && other
        };
        if let Some(taken) = present.iter().find(|it| !is_own(it) && overlaps(it)) {
            return Err(Error::RouteTaken {
                wanted,
                present: taken.destination,
                by: name(socket, taken.interface)?,
            });
        }
    }
    Ok(())
}

fn name(socket: &mut Socket, interface: Option<u32>) -> Result<String> {
    let Some(index) = interface else { return Ok("several interfaces".to_owned()) };
    let link = link::find_index(socket, index)?;
    Ok(link.map_or_else(|| index.to_string(), |link| link.name))
}

/// The unicast routes of the main table; `protocol` 0: whoever has set them.
fn list(socket: &mut Socket, family: u8, protocol: u8) -> Result<Vec<Listed>> {
    let mut header = [0; HEADER];
    (header[0], header[4], header[5]) = (family, libc::RT_TABLE_MAIN, protocol);
    header[7] = libc::RTN_UNICAST;
    let request = || Request::new("list routes", libc::RTM_GETROUTE, libc::NLM_F_DUMP, &header);
    match socket.dump(request, read) {
        // There is no table yet for this family.
        Err(error) if error.is(libc::ENOENT) => Ok(Vec::new()),
        result => result,
    }
}

fn read(payload: &[u8]) -> Option<Listed> {
    let [family, length] = array(payload, 0)?;
    let attributes = Attributes::after(payload, HEADER);
    let unspecified = if i32::from(family) == libc::AF_INET {
        IpNet::from(Ipv4Net::default())
    } else {
        IpNet::from(Ipv6Net::default())
    };
    // The default route carries no destination.
    let address = attributes.address(libc::RTA_DST).unwrap_or(unspecified.addr());
    let gateway = attributes.address(libc::RTA_GATEWAY);
    let has = |kind| attributes.get(kind).is_some();
    Some(Listed {
        destination: IpNet::new(address, length).ok()?,
        interface: attributes.number(libc::RTA_OIF),
        gateway,
        on_link: gateway.is_none() && !has(RTA_VIA) && !has(RTA_MULTIPATH) && length != 0,
        protocol: *payload.get(5)?,
    })
}

fn request(what: &'static str, kind: u16, flags: i32, index: u32, route: &Route) -> Request {
    let Route { destination, gateway } = *route;
    let mut header = [0; HEADER];
    (header[0], header[1]) = (family(gateway), destination.prefix_len());
    (header[4], header[5]) = (libc::RT_TABLE_MAIN, PROTOCOL);
    header[7] = libc::RTN_UNICAST;
    let request = Request::new(what, kind, flags, &header).number(libc::RTA_OIF, index);
    let request = request.address(libc::RTA_GATEWAY, gateway);
    let request = match destination.prefix_len() {
        0 => request,
        _ => request.address(libc::RTA_DST, destination.addr()),
    };
    match gateway {
        IpAddr::V4(_) => request,
        IpAddr::V6(_) => request.number(libc::RTA_PRIORITY, V6_METRIC),
    }
}

/// All addresses of a family.
fn any(of: IpAddr) -> IpNet {
    match of {
        IpAddr::V4(_) => Ipv4Net::default().into(),
        IpAddr::V6(_) => Ipv6Net::default().into(),
    }
}
