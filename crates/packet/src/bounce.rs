//! A bouncer knows where the destination is: re-address the outer header and send on.

use crate::count::Path;
use crate::tables::{Config, Endpoint, Event, Host, HostIndex};
use crate::wire::checksum;
use crate::wire::geneve::{FORWARD_COST, Location, OptionHeader, Outer, STALE};
use crate::wire::{Ethernet, ethernet};
use crate::wire_in::{Incoming, transmit};
use crate::{Address, Frame, Reason, Tables, Verdict, choose};

/// Sends a packet on to the host that has its destination.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn bounce<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    endpoint: &Endpoint,
) -> Result<Verdict, Reason> {
    let host = remote(tables, config, endpoint.host)?;
    if incoming.marks() & STALE != 0 && host.address == incoming.sender() {
        return Err(Reason::StaleTwice);
    }
    if incoming.location.is_none() {
        invalidate(tables, incoming, endpoint.generation);
    }
    forward(frame, config, incoming, &host, 0)?;
    Ok(transmit(tables, endpoint.vpc, Path::Bounced))
}

/// The endpoint has left this host: sends the packet back to a bouncer, marked, and the sender
/// word.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn give_back<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    endpoint: &Endpoint,
) -> Result<Verdict, Reason> {
    invalidate(tables, incoming, endpoint.generation);
    if incoming.marks() & STALE != 0 {
        return Err(Reason::StaleTwice);
    }
    let index = if endpoint.host == 0 {
        let dst = &incoming.flow.dst;
        let route = tables.route(incoming.vni, dst).ok_or(Reason::NoRoute)?;
        choose::bouncer(tables, config, route.network, dst.slot(), tables.now())?.host
    } else {
        endpoint.host
    };
    let host = remote(tables, config, index)?;
    forward(frame, config, incoming, &host, STALE)?;
    Ok(transmit(tables, endpoint.vpc, Path::Returned))
}

/// Tells the sender that the destination is not here.
#[inline(always)]
pub fn invalidate<T: Tables>(tables: &T, incoming: &Incoming, generation: u64) {
    tables.tell(&Event {
        kind: Event::INVALIDATE,
        vni: incoming.vni,
        underlay: incoming.sender(),
        remote: incoming.flow.dst,
        generation,
        ..Event::NOTHING
    });
}

/// A host other than this one, with a resolved next hop.
#[inline(always)]
pub fn remote<T: Tables>(tables: &T, config: &Config, index: HostIndex) -> Result<Host, Reason> {
    if index == config.own_host {
        return Err(Reason::NoEndpoint);
    }
    let host = tables.host(index).ok_or(Reason::NoHost)?;
    if !host.is_resolved() {
        return Err(Reason::NoNextHop);
    }
    Ok(host)
}

/// Re-addresses the outer headers from this host to another one, adding marks to the location
/// option.
///
/// # Errors
/// [`Reason::HopLimit`], [`Reason::TooBig`], [`Reason::NoRoom`].
#[inline(always)]
pub fn forward<F: Frame>(
    frame: &mut F,
    config: &Config,
    incoming: &Incoming,
    host: &Host,
    marks: u8,
) -> Result<(), Reason> {
    let mut outer = incoming.outer;
    if outer.ip.ttl <= FORWARD_COST {
        return Err(Reason::HopLimit);
    }
    let added = if incoming.location.is_none() && marks != 0 { Location::LEN } else { 0 };
    let len = match frame.segment_payload() {
        0 => usize::from(outer.ip.len.get()),
        payload => incoming.flow.segment_len(frame, payload)?,
    };
    if len + added > usize::from(host.mtu) {
        return Err(Reason::TooBig);
    }
    readdress(&mut outer, config, host);
    match &incoming.location {
        Some(_) if marks == 0 => {}
        Some(located) => {
            let OptionHeader { kind, len, .. } = located.option.header;
            frame.store(located.at + 2, &[kind | marks, len])?;
        }
        None if marks == 0 => {}
        None => return insert_marked(frame, incoming, outer, marks),
    }
    frame.store(0, &Addressed { eth: outer.eth, ip: outer.ip })
}

wire! {
    /// What a forwarder writes, in one store.
    pub struct Addressed {
        /// New addresses.
        pub eth: Ethernet,
        /// New addresses, TTL and checksum.
        pub ip: crate::wire::Ipv4,
    }
}

#[inline(always)]
fn readdress(outer: &mut Outer, config: &Config, host: &Host) {
    let ip = &mut outer.ip;
    let old = (ip.src, ip.dst, ip.ttl);
    ip.src = config.underlay.v4_octets();
    ip.dst = host.address.v4_octets();
    ip.ttl -= FORWARD_COST;
    let sum = checksum::replace4(ip.checksum.get(), old.0, ip.src);
    let sum = checksum::replace4(sum, old.1, ip.dst);
    let words = |ttl: u8| u16::from_be_bytes([ttl, ip.protocol]);
    ip.checksum = checksum::replace(sum, words(old.2), words(ip.ttl)).into();
    outer.eth = Ethernet::new(host.next_hop, config.nic_mac, ethernet::IPV4);
}

/// A packet that came direct has no location option to mark: it gets one that teaches nothing.
#[inline(always)]
fn insert_marked<F: Frame>(
    frame: &mut F,
    incoming: &Incoming,
    mut outer: Outer,
    marks: u8,
) -> Result<(), Reason> {
    const ADDED: u16 = Location::LEN as u16;
    if incoming.outer.geneve.options_len() + Location::LEN > 252 {
        return Err(Reason::BadOption);
    }
    // Read again: the kernel programs' stack is too short to keep what is seldom needed.
    let Outer { udp, geneve, .. } = frame.load(0)?;
    (outer.udp, outer.geneve) = (udp, geneve);
    let mut location = Location::new(incoming.outer.ip.src, 0);
    location.header.kind |= marks;
    frame.extend(Location::LEN)?;
    let old = outer.ip.len.get();
    let new = old.wrapping_add(ADDED);
    outer.ip.len.set(new);
    outer.ip.checksum = checksum::replace(outer.ip.checksum.get(), old, new).into();
    outer.udp.len.set(outer.udp.len.get().wrapping_add(ADDED));
    outer.geneve.version_len += (Location::LEN / 4) as u8;
    frame.store(0, &Inserted { outer, location })
}

wire! {
    /// Outer headers and the option that was inserted after them.
    pub struct Inserted {
        /// Outer headers.
        pub outer: Outer,
        /// The first option.
        pub location: Location,
    }
}

/// Whom a location option names.
#[inline(always)]
pub fn teacher(location: &Location) -> Address {
    Address::v4(location.host)
}
