//! Attaching endpoints to guests, and detaching them.
//!
//! The guest's end of a veth is created directly in the guest's namespace, which is this one if the
//! guest is the host itself: creating it here and moving it takes twenty times as long. It cannot
//! be up from the start (the kernel sets the peer up before the two are connected, and refuses), so
//! both ends are set up afterwards, the host's end first and only once its program is there: no
//! frame of a guest ever reaches the host's own stack by that end.

use super::endpoint::{
    Attached, EndpointSpec, FoundEndpoint, GuestEnd, Outcome, Step, Steps, alias, found,
    host_interface, label,
};
use super::error::{Error, Result, unless};
use super::filter::{Earlier, Hook};
use super::link::{self, Link};
use super::namespace::Namespace;
use super::socket::Socket;
use super::wire::{Request, link_header};
use super::{Worker, ethtool, filter, guest, route};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The group of every interface that Mizar makes, given at its creation: an interface that an agent
/// killed half way has left behind is recognised by it.
const GROUP: u32 = u32::from_be_bytes(*b"\0\0mz");
/// `IFLA_INET6_ADDR_GEN_MODE` and its value for "none".
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
/// `VETH_INFO_PEER`.
const VETH_INFO_PEER: u16 = 1;

/// The guest's end receives in NAPI, without which a native XDP redirect to it is dropped; and it
/// segments what the guest's own tunnels send, since a tunnel's buffer cannot be wrapped again.
const GUEST_FEATURES: [(&str, bool); 8] = [
    ("rx-gro", true),
    ("tx-udp_tnl-segmentation", false),
    ("tx-udp_tnl-csum-segmentation", false),
    ("tx-gre-segmentation", false),
    ("tx-gre-csum-segmentation", false),
    ("tx-ipxip4-segmentation", false),
    ("tx-ipxip6-segmentation", false),
    ("tx-sit-segmentation", false),
];

/// Both ends of an endpoint's link: the index of the host's, and the guest's.
struct Pair {
    host: u32,
    guest: Link,
    /// Whether it was made just now, and so has neither addresses nor routes of ours.
    is_new: bool,
}

/// What is there under the name of an endpoint's link.
enum Present {
    Nothing,
    Right(Pair),
    /// Ours, but its other end is not what and where it should be.
    Wrong(Link),
}

/// The namespace of the guest's end while an endpoint is attached.
struct Guest {
    namespace: Namespace,
    socket: Socket,
}

/// Attaches an endpoint, or keeps, completes or remakes what is there.
pub(super) fn attach(
    worker: &mut Worker,
    spec: &EndpointSpec,
    program: (BorrowedFd<'_>, Earlier),
) -> Result<Attached> {
    let mut steps = Steps::of(spec.label());
    let steps_of = &mut steps;
    steps_of.take(Step::Check, || spec.check(&worker.instance))?;
    let mut guest = steps_of.take(Step::Namespace, || open_guest(worker, spec))?;
    let (pair, outcome) = match steps_of.take(Step::LookUp, || look_up(worker, &mut guest, spec))? {
        Present::Right(pair) => (pair, Outcome::Kept),
        Present::Nothing => {
            let pair = steps_of.take(Step::Create, || create(worker, &mut guest, spec))?;
            (pair, Outcome::Created)
        }
        Present::Wrong(link) => {
            steps_of.take(Step::Remove, || link::remove(&mut worker.host, link.index))?;
            let pair = steps_of.take(Step::Create, || create(worker, &mut guest, spec))?;
            (pair, Outcome::Remade)
        }
    };
    let result = complete(worker, &mut guest, spec, program, &pair, steps_of);
    if result.is_err() && outcome != Outcome::Kept {
        undo(worker, spec);
    }
    result?;
    Ok(Attached { interface: pair.host, outcome, steps: steps.into_times() })
}

/// Detaches an endpoint; whether it was attached.
pub(super) fn detach(worker: &mut Worker, vni: u32, name: &str) -> Result<bool> {
    let mut steps = Steps::of(label(vni, name));
    let interface = host_interface(vni, name);
    let present = steps.take(Step::LookUp, || link::find(&mut worker.host, &interface))?;
    let alias = alias(&worker.instance, vni, name);
    let Some(link) = present.filter(|link| is_ours(link, &alias)) else { return Ok(false) };
    steps.take(Step::Remove, || link::remove(&mut worker.host, link.index))
}

/// The endpoints of this instance, in the host's namespace.
pub(super) fn list(worker: &mut Worker) -> Result<Vec<FoundEndpoint>> {
    let links = link::list_veths(&mut worker.host)?;
    Ok(links.iter().filter_map(|link| found(&worker.instance, link)).collect())
}

fn open_guest(worker: &Worker, spec: &EndpointSpec) -> Result<Guest> {
    let namespace = match &spec.end {
        GuestEnd::Host { .. } => worker.home.duplicate()?,
        GuestEnd::Namespace(path) => {
            let namespace = Namespace::open(path)?;
            if namespace.is(&worker.home)? {
                return Err(Error::OwnNamespace { path: path.clone() });
            }
            namespace
        }
    };
    let socket = namespace.socket(&worker.home)?;
    Ok(Guest { namespace, socket })
}

fn look_up(worker: &mut Worker, guest: &mut Guest, spec: &EndpointSpec) -> Result<Present> {
    let present = look_up_pair(worker, guest, spec)?;
    if let GuestEnd::Host { routes } = &spec.end {
        let own = match &present {
            Present::Right(pair) => Some(pair.guest.index),
            Present::Wrong(host) => host.peer.filter(|_| host.peer_namespace.is_none()),
            Present::Nothing => None,
        };
        let networks = spec.addresses.iter().map(|guest| guest.address.trunc());
        let wanted: Vec<_> = networks.chain(routes.iter().copied()).collect();
        route::check_free(&mut worker.host, own, &wanted)?;
    }
    Ok(present)
}

fn look_up_pair(worker: &mut Worker, guest: &mut Guest, spec: &EndpointSpec) -> Result<Present> {
    let name = host_interface(spec.vni, &spec.name);
    let Some(host) = link::find(&mut worker.host, &name)? else { return Ok(Present::Nothing) };
    if !is_ours(&host, &alias(&worker.instance, spec.vni, &spec.name)) {
        return Err(Error::Taken { name, place: "of the host", found: host.describe() });
    }
    let is_there = match &spec.end {
        GuestEnd::Host { .. } => host.peer_namespace.is_none(),
        GuestEnd::Namespace(_) => {
            let there = link::namespace_number(&mut worker.host, &guest.namespace)?;
            there.is_some() && host.peer_namespace == there
        }
    };
    let Some(peer) = host.peer.filter(|_| is_there) else { return Ok(Present::Wrong(host)) };
    Ok(match link::find_index(&mut guest.socket, peer)? {
        Some(guest)
            if guest.name == spec.interface
                && guest.peer == Some(host.index)
                && (spec.index == 0 || spec.index == host.index) =>
        {
            Present::Right(Pair { host: host.index, guest, is_new: false })
        }
        _ => Present::Wrong(host),
    })
}

/// Whether an interface was made for the endpoint with this alias, even if it is not finished.
fn is_ours(link: &Link, alias: &str) -> bool {
    let finished_or_not = link.alias.as_ref().is_none_or(|found| found == alias);
    link.kind.as_deref() == Some("veth") && link.group == GROUP && finished_or_not
}

fn create(worker: &mut Worker, guest: &mut Guest, spec: &EndpointSpec) -> Result<Pair> {
    let name = host_interface(spec.vni, &spec.name);
    number(worker, guest, spec)?;
    if let Err(error) = worker.host.execute(creation(guest, spec, &name)) {
        return Err(explain(worker, error, guest, spec));
    }
    let host = match spec.index {
        0 => link::find(&mut worker.host, &name)?.ok_or_else(|| link::missing(&name))?.index,
        index => index,
    };
    match link::find(&mut guest.socket, &spec.interface) {
        Ok(Some(guest)) if guest.peer == Some(host) => Ok(Pair { host, guest, is_new: true }),
        result => {
            undo(worker, spec);
            Err(result.err().unwrap_or_else(|| link::missing(&spec.interface)))
        }
    }
}

/// Has the guest's namespace be the first one that the kernel comes to.
///
/// Whatever is said or asked about the host's end names the namespace of the other one, by a number
/// for which the kernel goes through all namespaces that have one, in the order of their numbers:
/// 25 µs at a thousand, a dozen times for each endpoint. The kernel gives numbers from 0 up, so
/// that a new one is the last. The agent gives them from the top down, as it gives indices from the
/// bottom up.
fn number(worker: &mut Worker, guest: &Guest, spec: &EndpointSpec) -> Result<()> {
    match &spec.end {
        GuestEnd::Namespace(_) if spec.index != 0 => {
            let number = i32::MAX.saturating_sub_unsigned(spec.index);
            link::number_namespace(&mut worker.host, &guest.namespace, number)
        }
        _ => Ok(()),
    }
}

/// The host's end takes whatever a guest sends that has raised its own MTU: the kernel programs
/// answer packets that are too big by ICMP, where the link would drop them without a word.
const HOST_END_MTU: u32 = 65_535;

/// One queue each way, on both ends: by default a veth is made with one for each processor that the
/// machine could have, of which the kernel then takes back all but the first, and waits for a grace
/// period with that.
const QUEUES: u32 = 1;

fn creation(guest: &Guest, spec: &EndpointSpec, name: &str) -> Request {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let header = link_header(spec.index, libc::IFF_NOARP, libc::IFF_NOARP);
    Request::new("create the veth", libc::RTM_NEWLINK, flags, &header)
        .text(libc::IFLA_IFNAME, name)
        .number(libc::IFLA_MTU, HOST_END_MTU)
        .number(libc::IFLA_GROUP, GROUP)
        .number(libc::IFLA_NUM_TX_QUEUES, QUEUES)
        .number(libc::IFLA_NUM_RX_QUEUES, QUEUES)
        .nested(libc::IFLA_LINKINFO, &[], |info| {
            info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, &[], |data| {
                data.nested(VETH_INFO_PEER, &link_header(0, 0, 0), |peer| {
                    peer.text(libc::IFLA_IFNAME, &spec.interface)
                        .bytes(libc::IFLA_ADDRESS, &spec.mac)
                        .number(libc::IFLA_MTU, spec.mtu)
                        .number(libc::IFLA_NUM_TX_QUEUES, QUEUES)
                        .number(libc::IFLA_NUM_RX_QUEUES, QUEUES)
                        .number(libc::IFLA_NET_NS_FD, fd(&guest.namespace))
                })
            })
        })
}

/// The kernel's EEXIST does not say whether the index or which of the two names is taken.
fn explain(worker: &mut Worker, error: Error, guest: &mut Guest, spec: &EndpointSpec) -> Error {
    if !error.is(libc::EEXIST) {
        return error;
    }
    if spec.index != 0 && matches!(link::find_index(&mut worker.host, spec.index), Ok(Some(_))) {
        return Error::IndexTaken { index: spec.index };
    }
    match link::find(&mut guest.socket, &spec.interface) {
        Ok(Some(link)) => Error::Taken {
            name: spec.interface.clone(),
            place: match &spec.end {
                GuestEnd::Namespace(_) => "in the guest's namespace",
                GuestEnd::Host { .. } => "of the host",
            },
            found: link.describe(),
        },
        _ => error,
    }
}

fn complete(
    worker: &mut Worker,
    guest: &mut Guest,
    spec: &EndpointSpec,
    program: (BorrowedFd<'_>, Earlier),
    pair: &Pair,
    steps: &mut Steps,
) -> Result<()> {
    let (host, index) = (pair.host, pair.guest.index);
    steps.take(Step::HostEnd, || set_host_end(worker, spec, host))?;
    steps.take(Step::Filter, || filter::attach(worker, host, Hook::Guest, program))?;
    steps.take(Step::GuestEnd, || set_guest_end(guest, spec, &pair.guest))?;
    steps.take(Step::Up, || {
        link::set_up(&mut worker.host, host)?;
        link::set_up(&mut guest.socket, index)
    })?;
    let (socket, is_new) = (&mut guest.socket, pair.is_new);
    steps.take(Step::Addresses, || {
        let present = if is_new { vec![] } else { guest::list_addresses(socket, index)? };
        guest::set_addresses(socket, index, &spec.addresses, &present)
    })?;
    steps.take(Step::Routes, || {
        let present = if is_new { vec![] } else { route::list_ours(socket, index)? };
        route::set(socket, index, &spec.routes(), &present)
    })
}

/// The host's stack neither has an address here nor asks for any.
fn set_host_end(worker: &mut Worker, spec: &EndpointSpec, index: u32) -> Result<()> {
    let alias = alias(&worker.instance, spec.vni, &spec.name);
    let named = || {
        link::change("name the host's end", index, libc::IFF_NOARP, libc::IFF_NOARP)
            .text(libc::IFLA_IFALIAS, &alias)
            .number(libc::IFLA_MTU, HOST_END_MTU)
    };
    if unless(worker.host.execute(silent_v6(named())), &[libc::EAFNOSUPPORT])? {
        return Ok(());
    }
    worker.host.execute(named())
}

/// Of a request that changes an interface: it has no link-local address of its own, and so does not
/// ask for routers. Refused with EAFNOSUPPORT, before anything is changed, where there is no IPv6,
/// in the kernel or at this MTU, and nothing to keep off.
fn silent_v6(change: Request) -> Request {
    change.nested(libc::IFLA_AF_SPEC, &[], |families| {
        families.nested(libc::AF_INET6 as u16, &[], |v6| {
            v6.bytes(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE])
        })
    })
}

fn set_guest_end(guest: &mut Guest, spec: &EndpointSpec, link: &Link) -> Result<()> {
    if link.mac != Some(spec.mac) || link.mtu != spec.mtu {
        let request = link::change("set the guest's MAC address and MTU", link.index, 0, 0)
            .bytes(libc::IFLA_ADDRESS, &spec.mac)
            .number(libc::IFLA_MTU, spec.mtu);
        guest.socket.execute(request)?;
    }
    if let GuestEnd::Host { .. } = spec.end {
        // The answer would be a default route.
        let silent = link::change("keep the host from asking for routers", link.index, 0, 0);
        unless(guest.socket.execute(silent_v6(silent)), &[libc::EAFNOSUPPORT])?;
    }
    ethtool::set_features(&guest.socket, &link.name, &GUEST_FEATURES)
}

/// Removes the link that was made by an attachment that failed. That error is what is reported; a
/// link that cannot be removed either is recognised by the next attempt.
fn undo(worker: &mut Worker, spec: &EndpointSpec) {
    let name = host_interface(spec.vni, &spec.name);
    let removed = match link::find(&mut worker.host, &name) {
        Ok(Some(link)) => link::remove(&mut worker.host, link.index),
        result => result.map(|_| false),
    };
    if let Err(error) = removed {
        tracing::warn!(interface = name, %error, "cannot undo a failed attachment");
    }
}

fn fd(of: &impl AsFd) -> u32 {
    of.as_fd().as_raw_fd().cast_unsigned()
}
