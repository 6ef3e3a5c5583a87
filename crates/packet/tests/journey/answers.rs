//! What the network answers by itself: ARP, neighbour and router solicitations, gateway pings.

use crate::common::frames;
use crate::common::oracle::assert_sound;
use crate::common::topology::{GUEST_MTU, Guest, v6};
use crate::common::world::{Fate, World};
use mizar_packet::Reason;
use mizar_packet::count::{Counter, Path};
use mizar_packet::wire::ethernet::GATEWAY;
use mizar_packet::wire::icmpv6;

const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

/// The frame that answers one of a guest's.
#[track_caller]
fn answer(world: &mut World, guest: &Guest, frame: Vec<u8>) -> Vec<u8> {
    let trip = world.send(guest, frame);
    assert_eq!(trip.fate, Fate::Answered, "{trip:x?}");
    let bytes = trip.frame.bytes;
    assert_eq!(bytes[..12], [guest.mac, GATEWAY].concat());
    assert_sound(&bytes);
    bytes
}

/// A neighbour solicitation for an address, from an address.
fn solicit(guest: &Guest, from: [u8; 16], target: [u8; 16]) -> Vec<u8> {
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&target[13..]);
    let mut body = target.to_vec();
    if from != [0; 16] {
        body.extend([1, 1]);
        body.extend(guest.mac);
    }
    let kind = icmpv6::NEIGHBOUR_SOLICITATION;
    frames::icmp6(guest, (from, group), 255, (kind, [0; 4]), &body)
}

#[test]
fn every_address_of_the_network_is_at_the_gateways_mac_address() {
    let mut world = World::new();
    let a = world.red.a;
    for target in [a.v4_gateway(), world.red.b.v4, [10, 0, 1, 250]] {
        let reply = answer(&mut world, &a, frames::arp(&a, a.v4, target));
        assert_eq!(reply[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(reply[22..28], GATEWAY);
        assert_eq!(reply[28..32], target);
        assert_eq!(reply[32..42], [&a.mac[..], &a.v4].concat());
    }
    assert_eq!(world.counted(a.host, Counter::Path(Path::Answered)), 3);
}

#[test]
fn duplicate_address_detection_finds_no_duplicate() {
    let mut world = World::new();
    let a = world.red.a;
    for sender in [[0; 4], a.v4] {
        let trip = world.send(&a, frames::arp(&a, sender, a.v4));
        trip.dropped(a.host, Reason::Unanswered);
    }
    for from in [[0; 16], LINK_LOCAL, a.v6] {
        world.send(&a, solicit(&a, from, a.v6)).dropped(a.host, Reason::Unanswered);
    }
    // For its link-local address nobody is asked either.
    let trip = world.send(&a, solicit(&a, [0; 16], LINK_LOCAL));
    trip.dropped(a.host, Reason::Unanswered);
}

#[test]
fn a_probe_for_an_address_that_is_not_the_guests_is_answered() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let reply = answer(&mut world, &a, frames::arp(&a, [0; 4], b.v4));
    assert_eq!(reply[38..42], [0; 4]);
}

#[test]
fn arp_in_anothers_name_is_not_answered() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let trip = world.send(&a, frames::arp(&a, b.v4, a.v4_gateway()));
    trip.dropped(a.host, Reason::SpoofedAddress);
    let mut frame = frames::arp(&a, a.v4, a.v4_gateway());
    frame[22] ^= 1;
    world.send(&a, frame).dropped(a.host, Reason::SpoofedAddress);
}

#[test]
fn arp_that_is_no_request_of_the_network_is_dropped() {
    let mut world = World::new();
    let a = world.red.a;
    let trip = world.send(&a, frames::arp(&a, a.v4, [10, 0, 2, 1]));
    trip.dropped(a.host, Reason::BadArp);
    for (at, value) in [(15, 6), (17, 1), (18, 8), (19, 6), (21, 2), (21, 0)] {
        let mut frame = frames::arp(&a, a.v4, a.v4_gateway());
        frame[at] = value;
        world.send(&a, frame).dropped(a.host, Reason::BadArp);
    }
    let short = frames::arp(&a, a.v4, a.v4_gateway())[..41].to_vec();
    world.send(&a, short).dropped(a.host, Reason::Short);
}

#[test]
fn a_padded_arp_request_is_answered() {
    let mut world = World::new();
    let a = world.red.a;
    let mut frame = frames::arp(&a, a.v4, a.v4_gateway());
    frame.resize(60, 0);
    let reply = answer(&mut world, &a, frame);
    assert_eq!(reply[20..22], [0, 2]);
}

#[test]
fn neighbour_solicitations_are_answered_for_the_network_and_the_gateway() {
    let mut world = World::new();
    let a = world.red.a;
    for target in [a.v6_gateway(), world.red.b.v6, v6(1, 99), icmpv6::GATEWAY] {
        for from in [a.v6, LINK_LOCAL] {
            let reply = answer(&mut world, &a, solicit(&a, from, target));
            assert_eq!((reply[20], reply[21]), (58, 255));
            assert_eq!(reply[22..38], target);
            assert_eq!(reply[38..54], from);
            assert_eq!((reply[54], reply[55]), (136, 0));
            assert_eq!(reply[58], 0xe0);
            assert_eq!(reply[62..78], target);
            assert_eq!(reply[78..86], [&[2, 1][..], &GATEWAY].concat());
            assert_eq!(reply.len(), 86);
        }
    }
}

#[test]
fn neighbour_solicitations_beyond_the_network_are_not_answered() {
    let mut world = World::new();
    let a = world.red.a;
    for target in [v6(2, 1), LINK_LOCAL, [0; 16]] {
        world.send(&a, solicit(&a, a.v6, target)).dropped(a.host, Reason::Unanswered);
    }
    let trip = world.send(&a, solicit(&a, world.red.b.v6, a.v6_gateway()));
    trip.dropped(a.host, Reason::SpoofedAddress);
}

#[test]
fn a_solicitation_from_beyond_the_link_is_not_answered() {
    let mut world = World::new();
    let a = world.red.a;
    let mut frame = solicit(&a, a.v6, a.v6_gateway());
    frame[21] = 254;
    world.send(&a, frame).dropped(a.host, Reason::BadIp);
    let mut frame = solicit(&a, a.v6, a.v6_gateway());
    frame[55] = 1;
    world.send(&a, frame).dropped(a.host, Reason::BadIp);
}

#[test]
fn router_solicitations_get_the_prefix_the_mtu_and_the_router() {
    let mut world = World::new();
    let a = world.red.a;
    for (from, to) in [(LINK_LOCAL, LINK_LOCAL), ([0; 16], ALL_NODES)] {
        let frame = frames::icmp6(&a, (from, ALL_ROUTERS), 255, (133, [0; 4]), &[]);
        let reply = answer(&mut world, &a, frame);
        assert_eq!(reply[22..38], icmpv6::GATEWAY);
        assert_eq!(reply[38..54], to);
        assert_eq!((reply[21], reply[54], reply[58]), (255, 134, 64));
        // Neither managed nor other: addresses are not asked for by DHCPv6.
        assert_eq!(reply[59], 0);
        let options = &reply[70..];
        assert_eq!(options[..8], [&[1, 1][..], &GATEWAY].concat());
        let mtu = u32::from(GUEST_MTU).to_be_bytes();
        assert_eq!(options[8..16], [&[5, 1, 0, 0][..], &mtu].concat());
        // On link, not for autoconfiguration.
        assert_eq!(options[16..20], [3, 4, 64, 0x80]);
        assert_eq!(options[32..48], v6(1, 0));
        assert_eq!(options.len(), 48);
    }
}

#[test]
fn a_guest_without_an_address_family_is_not_answered_in_it() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let port = world.hosts[a.host].ports.get_mut(&a.interface).unwrap();
    (port.v4, port.v6) = ([0; 4], mizar_packet::Address::NONE);
    world.send(&a, frames::arp(&a, a.v4, a.v4_gateway())).dropped(a.host, Reason::BadArp);
    let trip = world.send(&a, solicit(&a, LINK_LOCAL, a.v6_gateway()));
    trip.dropped(a.host, Reason::Unanswered);
    world.udp(&a, &b).dropped(a.host, Reason::SpoofedAddress);
    world.udp6(&a, &b).dropped(a.host, Reason::SpoofedAddress);
    let nobody = Guest { v4: [0; 4], v6: [0; 16], ..a };
    world.udp(&nobody, &b).dropped(a.host, Reason::SpoofedAddress);
    world.udp6(&nobody, &b).dropped(a.host, Reason::SpoofedAddress);
}

#[test]
fn the_gateway_answers_pings() {
    let mut world = World::new();
    let a = world.red.a;
    let ping = frames::ping(&a, a.v4_gateway());
    let reply = answer(&mut world, &a, ping.clone());
    assert_eq!((reply[34], reply[35]), (0, 0));
    assert_eq!(reply[26..34], [a.v4_gateway(), a.v4].concat());
    assert_eq!(reply[38..], ping[38..]);
    let ping = frames::ping6(&a, a.v6_gateway());
    let reply = answer(&mut world, &a, ping.clone());
    assert_eq!((reply[54], reply[55]), (129, 0));
    assert_eq!(reply[22..54], [a.v6_gateway(), a.v6].concat());
    assert_eq!(reply[58..], ping[58..]);
}

#[test]
fn a_ping_of_the_gateway_with_ip_options_is_answered() {
    let mut world = World::new();
    let a = world.red.a;
    let mut ping = frames::ping(&a, a.v4_gateway());
    // Four bytes of padding options: version and length, total length, checksum.
    ping.splice(34..34, [1, 1, 1, 0]);
    ping[14] = 0x46;
    ping[17] += 4;
    let sum = etherparse::Ipv4Header::from_slice(&ping[14..]).unwrap().0.calc_header_checksum();
    ping[24..26].copy_from_slice(&sum.to_be_bytes());
    let reply = answer(&mut world, &a, ping);
    assert_eq!(reply[38], 0);
}

#[test]
fn nothing_else_has_business_with_a_gateway() {
    let mut world = World::new();
    let a = world.red.a;
    for frame in [
        frames::udp(&a, a.v4_gateway(), b""),
        frames::udp6(&a, a.v6_gateway(), b""),
        frames::tcp(&a, a.v4_gateway(), b""),
        frames::icmp(&a, a.v4_gateway(), 13, 0, &[0; 12]),
        frames::fragment(&a, a.v4_gateway(), (0, true), &[8; 64]),
    ] {
        world.send(&a, frame).dropped(a.host, Reason::GatewayTraffic);
    }
}
