//! What becomes of packets for an endpoint whose host has left its VPC, and cannot say so.

use crate::common::oracle::options_len;
use crate::common::topology::{BOUNCERS, DIVIDING, Guest, RED, STAMP, TEACH, index, underlay};
use crate::common::world::World;
use mizar_packet::count::{Counter, Path};
use mizar_packet::wire::geneve::{MISSED, STALE};
use mizar_packet::wire::oam;
use mizar_packet::{Address, Reason};

const BOUNCER: usize = BOUNCERS[0];

/// Two guests talk until both know where the other is, and no longer teach it.
fn talk(world: &mut World, a: &Guest, b: &Guest) {
    for _ in 0..60 {
        let _ = (world.udp(a, b), world.udp(b, a));
        world.advance(STAMP / 2);
    }
}

/// A world in which `a` has learned where `b` is and no longer teaches it; then `b` moves, and its
/// host has no part in the VPC any more, and no agent. `b` as it was, and as it is.
fn left() -> (World, Guest, Guest, Guest) {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    talk(&mut world, &a, &b);
    let moved = world.move_guest(&b, 2);
    let tables = &mut world.hosts[b.host];
    tables.vpcs.remove(&RED);
    tables.routes.retain(|(vni, ..), _| *vni != RED);
    tables.endpoints.retain(|(vni, _), _| *vni != RED);
    tables.ports.retain(|_, port| port.vni != RED);
    world.agentless.insert(b.host);
    world.told.clear();
    (world, a, b, moved)
}

#[test]
fn a_host_that_has_left_the_vpc_gives_packets_back_to_whoever_sent_them() {
    let (mut world, a, b, moved) = left();
    let trip = world.udp(&a, &b);
    trip.reached(&moved, &[b.host, a.host, BOUNCER]);
    let marks = trip.wires.iter().map(|wire| options_len(wire) != 0 && wire[52] & STALE != 0);
    assert_eq!(marks.collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!(world.counted(b.host, Counter::Path(Path::Returned)), 1);
    assert!(!world.told.iter().any(|(_, _, kind)| *kind == oam::INVALIDATE));
}

#[test]
fn one_way_traffic_is_direct_again_without_a_word_of_the_host_that_has_left() {
    let (mut world, a, b, moved) = left();
    for _ in 0..20 {
        let trip = world.udp(&a, &b);
        assert_eq!(trip.hosts.last(), Some(&moved.host), "nothing is lost: {trip:?}");
        world.advance(STAMP / 2);
    }
    world.udp(&a, &b).reached(&moved, &[]);
    assert_eq!(world.told.iter().filter(|told| **told == (2, a.host, oam::NOTICE)).count(), 1);
}

/// The sender's host knows its own network only, so the packet takes a divider.
#[test]
fn a_packet_for_another_network_is_given_back_too_and_divided() {
    let mut world = World::new();
    let (a, c) = (world.red.a, world.red.c);
    talk(&mut world, &a, &c);
    let moved = world.move_guest(&c, 1);
    world.forget(c.host, &c);
    world.agentless.insert(c.host);
    // It has a part in another network of the VPC still.
    for host in [a.host, c.host] {
        let network = Address::v4([10, 0, 2, 0]);
        world.hosts[host].routes.retain(|(_, of, _), _| *of != network);
    }
    let trip = world.udp(&a, &c);
    trip.reached(&moved, &[c.host, a.host, DIVIDING[0], BOUNCER]);
    // Who asks a divider is not mistaken for one that believes.
    world.hosts[a.host].learned.borrow_mut().clear();
    for divider in DIVIDING {
        world.hosts[divider].routes.retain(|(_, of, _), _| *of != Address::v4([10, 0, 2, 0]));
    }
    world.udp(&a, &c).dropped(DIVIDING[0], Reason::NoRoute);
}

/// The sender's host has not heard that a divider is none any more.
#[test]
fn a_former_divider_passes_on_what_it_is_asked_once() {
    let mut world = World::new();
    let (a, c) = (world.red.a, world.red.c);
    let [former, divider] = DIVIDING;
    let leave = |world: &mut World, host: usize, now: usize| {
        let tables = &mut world.hosts[host];
        tables.routes.retain(|(_, of, _), _| *of != Address::v4([10, 0, 2, 0]));
        let vpc = tables.vpcs.get_mut(&RED).unwrap();
        vpc.dividers.fill(0);
        vpc.dividers[0] = index(now);
    };
    leave(&mut world, former, divider);
    let trip = world.udp(&a, &c);
    trip.reached(&c, &[former, divider, BOUNCER]);
    let marks = trip.wires.iter().map(|wire| wire[52] & MISSED != 0);
    assert_eq!(marks.collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!(world.counted(former, Counter::Path(Path::Missed)), 1);

    leave(&mut world, divider, former);
    world.hosts[a.host].learned.borrow_mut().clear();
    world.udp(&a, &c).dropped(divider, Reason::NoRoute);
}

#[test]
fn a_packet_that_neither_host_knows_the_vpc_of_is_given_back_once() {
    let (mut world, a, b, _) = left();
    let wire = world.udp(&a, &b).wires[0].clone();
    world.hosts[a.host].vpcs.remove(&RED);
    world.hosts[a.host].routes.retain(|(vni, ..), _| *vni != RED);
    let trip = world.arrive(b.host, wire);
    trip.dropped(a.host, Reason::UnknownVpc);
    assert_eq!(trip.wires.len(), 1);
}

#[test]
fn a_forged_return_makes_a_sender_teach_and_forget_nothing() {
    let (mut world, a, b, _) = left();
    let returned = world.udp(&a, &b).wires[1].clone();
    let row = |world: &World| world.learned(a.host, RED, Address::v4(b.v4)).unwrap();
    world.advance(2 * TEACH);
    let before = row(&world);
    assert_eq!(before.host, index(b.host));
    // From a host that was never learned to have it.
    let mut forged = returned.clone();
    forged[26..30].copy_from_slice(&underlay(2));
    let ip = etherparse::Ipv4HeaderSlice::from_slice(&forged[14..]).unwrap().to_header();
    forged[24..26].copy_from_slice(&ip.calc_header_checksum().to_be_bytes());
    let _ = world.arrive(a.host, forged);
    assert_eq!(row(&world), before);
    let _ = world.arrive(a.host, returned);
    let after = row(&world);
    assert_eq!((after.host, after.generation), (before.host, before.generation));
    assert_eq!(after.teach_until, world.hosts[a.host].now + TEACH);
}
