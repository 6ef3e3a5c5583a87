//! ICMP errors to guests, about packets that cannot go on.

use crate::common::frames;
use crate::common::oracle::assert_sound;
use crate::common::topology::{GUEST_MTU, Guest, UNDERLAY_MTU, index};
use crate::common::world::{Fate, Trip, World};
use mizar_packet::Reason;
use mizar_packet::memory::MemoryFrame;

/// Headers of a UDP packet over IPv4 and over IPv6.
const V4: usize = 28;
const V6: usize = 48;

/// Asserts that a trip ended with an error from the gateway to the guest that quotes what it sent;
/// gives type, code and the four bytes after them.
#[track_caller]
fn error(trip: &Trip, guest: &Guest, sent: &[u8]) -> (u8, u8, u32) {
    assert_eq!(trip.fate, Fate::Answered, "{trip:x?}");
    let bytes = &trip.frame.bytes;
    assert_sound(bytes);
    assert_eq!(bytes[..6], guest.mac);
    let (icmp, quote) = if bytes[12..14] == [8, 0] {
        assert_eq!((bytes[23], bytes.len()), (1, 70));
        assert_eq!(bytes[26..34], [guest.v4_gateway(), guest.v4].concat());
        (34, 28)
    } else {
        assert_eq!((bytes[20], bytes.len()), (58, 110));
        assert_eq!(bytes[22..54], [guest.v6_gateway(), guest.v6].concat());
        (54, 48)
    };
    assert_eq!(bytes[icmp + 8..icmp + 8 + quote], sent[14..14 + quote]);
    let data = bytes[icmp + 4..icmp + 8].try_into().unwrap();
    (bytes[icmp], bytes[icmp + 1], u32::from_be_bytes(data))
}

#[test]
fn a_packet_larger_than_the_guests_mtu_gets_an_error_with_the_mtu() {
    let mut world = World::new();
    let a = world.red.a;
    for to in [world.red.b, world.red.c, world.red.d] {
        let fits = frames::udp(&a, to.v4, &vec![1; usize::from(GUEST_MTU) - V4]);
        assert!(matches!(world.send(&a, fits).fate, Fate::Delivered(..)));
        let sent = frames::udp(&a, to.v4, &vec![1; usize::from(GUEST_MTU) - V4 + 1]);
        let trip = world.send(&a, sent.clone());
        assert_eq!(error(&trip, &a, &sent), (3, 4, u32::from(GUEST_MTU)));

        let fits = frames::udp6(&a, to.v6, &vec![1; usize::from(GUEST_MTU) - V6]);
        assert!(matches!(world.send(&a, fits).fate, Fate::Delivered(..)));
        let sent = frames::udp6(&a, to.v6, &vec![1; usize::from(GUEST_MTU) - V6 + 1]);
        let trip = world.send(&a, sent.clone());
        assert_eq!(error(&trip, &a, &sent), (2, 0, u32::from(GUEST_MTU)));
    }
}

#[test]
fn a_packet_larger_than_the_path_gets_an_error_with_the_paths_mtu() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let _ = (world.udp(&a, &b), world.udp(&b, &a), world.udp(&a, &b));
    let lowered = UNDERLAY_MTU - 100;
    world.hosts[a.host].hosts.borrow_mut().get_mut(&index(b.host)).unwrap().mtu = lowered;
    let room = usize::from(GUEST_MTU) - 100;
    world.send(&a, frames::udp(&a, b.v4, &vec![1; room - V4])).reached(&b, &[]);
    let sent = frames::udp(&a, b.v4, &vec![1; room - V4 + 1]);
    let trip = world.send(&a, sent.clone());
    assert_eq!(error(&trip, &a, &sent), (3, 4, room as u32));
}

#[test]
fn a_buffer_of_many_segments_is_judged_by_its_segments() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let segment = usize::from(GUEST_MTU) - 40;
    let buffer = |payload: usize, segment_payload: usize| MemoryFrame {
        segment_payload,
        ..MemoryFrame::new(frames::tcp(&a, b.v4, &vec![1; payload]))
    };
    world.send_frame(&a, buffer(20_000, segment)).reached(&b, &[3]);
    let trip = world.send_frame(&a, buffer(20_000, segment + 1));
    let sent = frames::tcp(&a, b.v4, &vec![1; 20_000]);
    assert_eq!(error(&trip, &a, &sent), (3, 4, u32::from(GUEST_MTU)));
}

#[test]
fn the_end_of_the_ttl_is_told_across_networks_only() {
    let mut world = World::new();
    let a = world.red.a;
    let written = |step: etherparse::PacketBuilderStep<etherparse::IpHeaders>| {
        let mut out = Vec::new();
        step.udp(1, 2).write(&mut out, b"traceroute").unwrap();
        out
    };
    for ttl in [0, 1] {
        for to in [world.red.c, world.red.e] {
            let sent = written(frames::v4(&a, to.v4, ttl));
            assert_eq!(error(&world.send(&a, sent.clone()), &a, &sent), (11, 0, 0));
            let sent = written(frames::v6(&a, to.v6, ttl));
            assert_eq!(error(&world.send(&a, sent.clone()), &a, &sent), (3, 0, 0));
        }
        for to in [world.red.b, world.red.d] {
            let trip = world.send(&a, written(frames::v4(&a, to.v4, ttl)));
            assert!(matches!(trip.fate, Fate::Delivered(..)));
            let trip = world.send(&a, written(frames::v6(&a, to.v6, ttl)));
            assert!(matches!(trip.fate, Fate::Delivered(..)));
        }
    }
    let c = world.red.c;
    let trip = world.send(&a, written(frames::v4(&a, c.v4, 2)));
    assert_eq!(trip.frame.bytes[14 + 8], 1);
    trip.reached(&c, &[5, 3]);
}

#[test]
fn errors_and_later_fragments_get_no_error() {
    let mut world = World::new();
    let (a, c) = (world.red.a, world.red.c);
    let body = vec![0; usize::from(GUEST_MTU)];
    for kind in [3, 5, 11, 12] {
        if kind == 5 {
            continue;
        }
        let trip = world.send(&a, frames::icmp(&a, c.v4, kind, 0, &body));
        trip.dropped(a.host, Reason::Unanswered);
    }
    for kind in [1, 2, 3, 4] {
        let frame = frames::icmp6(&a, (a.v6, c.v6), 64, (kind, [0; 4]), &body);
        world.send(&a, frame).dropped(a.host, Reason::Unanswered);
    }
    let trip = world.send(&a, frames::fragment(&a, c.v4, (8, false), &body));
    trip.dropped(a.host, Reason::Unanswered);
    // The first fragment and an echo request do.
    let first = frames::fragment(&a, c.v4, (0, true), &body);
    assert_eq!(error(&world.send(&a, first.clone()), &a, &first).0, 3);
    let mut echo = Vec::new();
    frames::v4(&a, c.v4, 64).icmpv4_echo_request(1, 2).write(&mut echo, &body).unwrap();
    assert_eq!(error(&world.send(&a, echo.clone()), &a, &echo).0, 3);
}
