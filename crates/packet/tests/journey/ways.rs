//! Which ways packets take while nothing goes wrong.

use crate::common::frames;
use crate::common::oracle::{assert_sound, inner};
use crate::common::topology::{BOUNCERS, DIVIDING};
use crate::common::world::{Fate, World};
use mizar_packet::Reason;
use mizar_packet::count::{Counter, Path};
use mizar_packet::wire::ethernet::GATEWAY;

const BOUNCER: usize = BOUNCERS[0];
const DIVIDER: usize = DIVIDING[0];

#[test]
fn the_first_packet_goes_through_the_bouncer_and_then_both_ways_are_direct() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    world.udp(&b, &a).reached(&a, &[]);
    world.udp(&a, &b).reached(&b, &[]);
    assert_eq!(world.counted(a.host, Counter::Path(Path::SentToBouncer)), 1);
    assert_eq!(world.counted(a.host, Counter::Path(Path::SentDirect)), 1);
    assert_eq!(world.counted(b.host, Counter::Path(Path::SentToBouncer)), 0);
    assert_eq!(world.counted(BOUNCER, Counter::Path(Path::Bounced)), 1);
}

#[test]
fn ipv6_is_direct_after_one_round_trip_too() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.udp6(&a, &b).reached(&b, &[BOUNCER]);
    world.udp6(&b, &a).reached(&a, &[]);
    world.udp6(&a, &b).reached(&b, &[]);
}

#[test]
fn across_networks_the_first_packet_goes_through_divider_and_bouncer() {
    let mut world = World::new();
    let (a, c) = (world.red.a, world.red.c);
    world.udp(&a, &c).reached(&c, &[DIVIDER, BOUNCER]);
    world.udp(&c, &a).reached(&a, &[]);
    world.udp(&a, &c).reached(&c, &[]);
    world.udp6(&a, &c).reached(&c, &[DIVIDER, BOUNCER]);
    world.udp6(&c, &a).reached(&a, &[]);
    world.udp6(&a, &c).reached(&c, &[]);
}

#[test]
fn a_packet_arrives_as_it_was_sent_but_for_its_mac_addresses() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for (sent, trip) in [
        (frames::udp(&a, b.v4, b"hello"), world.udp(&a, &b)),
        (frames::udp6(&a, b.v6, b"hello"), world.udp6(&a, &b)),
    ] {
        let mut expected = sent[..sent.len() - 5].to_vec();
        expected[..6].copy_from_slice(&b.mac);
        expected[6..12].copy_from_slice(&GATEWAY);
        let got = &trip.reached(&b, &[BOUNCER]).frame.bytes;
        // The payload differs in length: compare what does not depend on it.
        assert_eq!(got[..14], expected[..14]);
        assert_sound(got);
    }
    let sent = frames::udp(&a, b.v4, b"payload");
    let trip = world.udp(&a, &b);
    assert_eq!(trip.frame.bytes[14..], sent[14..]);
    assert_eq!(inner(&trip.wires[0])[14..], sent[14..]);
}

#[test]
fn the_ttl_is_decremented_once_across_networks_and_not_within_one() {
    let mut world = World::new();
    let (a, b, c, d, e) = {
        let red = world.red;
        (red.a, red.b, red.c, red.d, red.e)
    };
    for round in 0..2 {
        for (to, ttl) in [(b, 64), (d, 64), (c, 63), (e, 63)] {
            let v4 = world.udp(&a, &to);
            assert_eq!(v4.frame.bytes[14 + 8], ttl, "{to:?} in round {round}");
            assert_sound(&v4.frame.bytes);
            let v6 = world.udp6(&a, &to);
            assert_eq!(v6.frame.bytes[14 + 7], ttl, "{to:?} in round {round}");
            assert_sound(&v6.frame.bytes);
            let _ = (world.udp(&to, &a), world.udp6(&to, &a));
        }
    }
}

#[test]
fn guests_of_one_host_talk_without_the_wire() {
    let mut world = World::new();
    let (a, d, e) = (world.red.a, world.red.d, world.red.e);
    for to in [d, e] {
        for trip in [world.udp(&a, &to), world.udp6(&a, &to)] {
            assert!(trip.reached(&to, &[]).wires.is_empty());
            assert_eq!(trip.frame.bytes[..12], [to.mac, GATEWAY].concat());
        }
    }
    assert_eq!(world.counted(a.host, Counter::Path(Path::SentLocal)), 4);
}

#[test]
fn vpcs_with_the_same_addresses_stay_apart() {
    let mut world = World::new();
    let (red, blue) = (world.red, world.blue);
    for _ in 0..3 {
        for (from, to) in [(red.a, red.b), (blue.a, blue.b), (red.a, red.c), (blue.a, blue.c)] {
            assert_eq!(world.udp(&from, &to).fate, Fate::Delivered(to.host, to.interface));
            assert_eq!(world.udp6(&to, &from).fate, Fate::Delivered(from.host, from.interface));
        }
    }
    let moved = world.move_guest(&blue.b, 2);
    assert_eq!(world.udp(&red.a, &red.b).fate, Fate::Delivered(1, red.b.interface));
    assert_eq!(world.udp(&blue.a, &moved).fate, Fate::Delivered(2, blue.b.interface));
}

#[test]
fn an_address_that_nobody_has_is_no_endpoint_and_one_of_no_network_has_no_route() {
    let mut world = World::new();
    let a = world.red.a;
    let trip = world.send(&a, frames::udp(&a, [10, 0, 1, 99], b""));
    trip.dropped(BOUNCERS[1], Reason::NoEndpoint);
    let trip = world.send(&a, frames::udp(&a, [10, 9, 9, 9], b""));
    trip.dropped(DIVIDER, Reason::NoRoute);
    world.hosts[a.host].vpcs.clear();
    let trip = world.send(&a, frames::udp(&a, [10, 9, 9, 9], b""));
    trip.dropped(a.host, Reason::UnknownVpc);
}

#[test]
fn a_guest_on_a_bouncer_or_divider_is_reached_with_one_way_less() {
    let mut world = World::new();
    let on_bouncer = crate::common::topology::Guest::new(world.red.a.vni, BOUNCER, 1, 50);
    let on_divider = crate::common::topology::Guest::new(world.red.a.vni, DIVIDER, 2, 51);
    world.attach(&on_bouncer);
    world.attach(&on_divider);
    // Their own host knows them for certain.
    on_bouncer.attach(&mut world.hosts[BOUNCER]);
    let (b, c) = (world.red.b, world.red.c);
    world.udp(&on_bouncer, &b).reached(&b, &[]);
    world.udp(&b, &on_bouncer).reached(&on_bouncer, &[]);
    world.udp(&on_divider, &b).reached(&b, &[BOUNCER]);
    world.udp(&on_bouncer, &c).reached(&c, &[]);
    world.udp(&b, &on_divider).reached(&on_divider, &[]);
}

#[test]
fn fragments_travel_like_whole_packets_and_all_by_one_port() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let pieces = [(0, true, 64), (8, true, 64), (16, false, 13)];
    let ports = pieces.map(|(offset, more, len)| {
        let trip = world.send(&a, frames::fragment(&a, b.v4, (offset, more), &vec![7; len]));
        trip.reached(&b, &[BOUNCER]);
        [trip.wires[0][34], trip.wires[0][35]]
    });
    assert_eq!(ports[0], ports[1]);
    assert_eq!(ports[0], ports[2]);
}

#[test]
fn fragments_of_ipv6_travel_by_one_port_too() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let ports = [(0u16, true), (8, true), (16, false)].map(|(offset, more)| {
        let mut payload = vec![17, 0];
        payload.extend((offset << 3 | u16::from(more)).to_be_bytes());
        payload.extend([0, 0, 0, 7]);
        // Where the ports of a whole packet stand, the pieces have different bytes.
        payload.extend([offset as u8; 64]);
        let sent = frames::raw6(&a, b.v6, 64, 44, &payload);
        let trip = world.send(&a, sent.clone());
        trip.reached(&b, &[BOUNCER]);
        assert_eq!(trip.frame.bytes[14..], sent[14..]);
        [trip.wires[0][34], trip.wires[0][35]]
    });
    assert_eq!(ports[0], ports[1]);
    assert_eq!(ports[0], ports[2]);
}

#[test]
fn flows_spread_over_source_ports_and_each_keeps_its_own() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let mut port_of = |src: u16| {
        let trip = world.send(&a, frames::udp_ports(&a, b.v4, (src, 53), b""));
        u16::from_be_bytes([trip.wires[0][34], trip.wires[0][35]])
    };
    let first: Vec<u16> = (0..200).map(|i| port_of(1024 + i)).collect();
    let again: Vec<u16> = (0..200).map(|i| port_of(1024 + i)).collect();
    assert_eq!(first, again);
    let distinct: std::collections::BTreeSet<_> = first.iter().collect();
    assert!(distinct.len() > 190, "{}", distinct.len());
    assert!(first.iter().all(|&port| port >= 0xc000));
}
