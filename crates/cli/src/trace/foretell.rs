//! Which way the packets after the first one take, once both ends have learned.
//!
//! The same functions run again on copies of the tables: there, back, and what the agents do in
//! between. Nothing of it happens on the hosts.

use super::fleet::{Fleet, Host};
use super::packet::Packet;
use super::walk::{End, Walk, walk};
use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{Event, Host as HostRow, Port};

/// Rounds until nothing changes any more: the answer teaches, the echo proves, the third uses it.
const ROUNDS: usize = 3;

/// The way of a later packet; None if an answer does not come back.
///
/// # Errors
/// The underlay address of a host that has to be looked into, too.
pub(super) fn later(
    fleet: &Fleet,
    start: &Host,
    interface: u32,
    packet: &Packet,
) -> Result<Option<Walk>, Address> {
    let mut fleet = fleet.clone();
    let mut last = None;
    for _ in 0..ROUNDS {
        pass_time(&mut fleet);
        let Some(start) = fleet.at(start.underlay) else { return Ok(None) };
        let Some(port) = port(start, interface) else { return Ok(None) };
        let there = walk(&fleet, start, interface, packet.frame(&port));
        let back = back(&fleet, &there, packet);
        let ways = [Some(&there), back.as_ref()];
        if let Some(host) = ways.into_iter().flatten().find_map(Walk::beyond) {
            return Err(host);
        }
        if !back.is_some_and(|back| matches!(back.end, End::Delivered { .. })) {
            return Ok(None);
        }
        last = Some(there);
        let underlays: Vec<Address> = fleet.hosts.iter().map(|host| host.underlay).collect();
        for host in fleet.hosts.iter_mut().filter(|host| host.agent_is_down.is_none()) {
            if let Ok(tables) = &mut host.tables {
                act(tables, &underlays);
            }
        }
    }
    Ok(last)
}

/// The way of the answer, from the guest that got the packet.
pub(super) fn back(fleet: &Fleet, there: &Walk, packet: &Packet) -> Option<Walk> {
    let End::Delivered { host, delivery } = &there.end else { return None };
    let host = fleet.at(*host)?;
    let port = port(host, delivery.interface)?;
    Some(walk(fleet, host, delivery.interface, packet.answer().frame(&port)))
}

fn port(host: &Host, interface: u32) -> Option<Port> {
    host.tables.as_ref().ok()?.ports.get(&interface).copied()
}

/// Lets every stamp become old enough to be written again.
fn pass_time(fleet: &mut Fleet) {
    for tables in fleet.hosts.iter_mut().filter_map(|host| host.tables.as_mut().ok()) {
        tables.now += u64::from(tables.config.stamp) + 1;
    }
}

/// What an agent does about the events of a round: it makes rows of hosts, and proves those that
/// are used to be alive.
fn act(tables: &mut MemoryTables, underlays: &[Address]) {
    let hosts = tables.hosts.get_mut();
    for event in tables.events.get_mut().drain(..) {
        let is_known = hosts.values().any(|row| row.address == event.underlay);
        if event.kind != Event::NEW_HOST || is_known || !underlays.contains(&event.underlay) {
            continue;
        }
        // What its next hop will be does not matter here, as long as there is one.
        let resolved = hosts.values().find(|row| row.is_resolved()).copied();
        let (Some(row), Some(last)) = (resolved, hosts.keys().next_back()) else { continue };
        let row = HostRow { address: event.underlay, used: tables.now, ..row };
        hosts.insert(last + 1, row);
    }
    let lasting = tables.now + u64::from(tables.config.lease) + u64::from(tables.config.hz);
    for row in hosts.values_mut().filter(|row| row.used >= tables.now && row.is_resolved()) {
        row.alive_until = row.alive_until.max(lasting);
    }
}
