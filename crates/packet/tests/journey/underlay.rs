//! What comes from the wire: sound tunnelled frames, unsound ones, and what is not ours.

use crate::common::frames;
use crate::common::oracle::inner;
use crate::common::topology::{BOUNCERS, Guest, UNDERLAY_MTU, index, underlay};
use crate::common::world::{Fate, World};
use mizar_packet::Reason;
use mizar_packet::count::Counter;
use mizar_packet::memory::MemoryFrame;

/// Length of the outer headers.
const OUTER: usize = 50;

/// A frame as it comes to b's host by way of the bouncer.
fn on_the_wire(world: &mut World) -> (Vec<u8>, Guest) {
    let (a, b) = (world.red.a, world.red.b);
    let trip = world.udp(&a, &b);
    (trip.wires[1].clone(), b)
}

/// Writes outer lengths and checksum as the frame's length asks for.
fn fix_outer(wire: &mut [u8]) {
    let len = wire.len() as u16;
    wire[16..18].copy_from_slice(&(len - 14).to_be_bytes());
    wire[38..40].copy_from_slice(&(len - 34).to_be_bytes());
    fix_checksum(wire);
}

fn fix_checksum(wire: &mut [u8]) {
    let sum = etherparse::Ipv4HeaderSlice::from_slice(&wire[14..]).unwrap().to_header();
    wire[24..26].copy_from_slice(&sum.calc_header_checksum().to_be_bytes());
}

/// Puts options before those that are there.
fn with_options(wire: &[u8], options: &[u8]) -> Vec<u8> {
    let mut wire = wire.to_vec();
    wire.splice(OUTER..OUTER, options.iter().copied());
    wire[42] += (options.len() / 4) as u8;
    fix_outer(&mut wire);
    wire
}

#[track_caller]
fn refused(world: &mut World, host: usize, wire: Vec<u8>, reason: Reason) {
    let before = world.counted(host, Counter::Dropped(reason));
    world.arrive(host, wire).dropped(host, reason);
    assert_eq!(world.counted(host, Counter::Dropped(reason)), before + 1);
}

#[test]
fn outer_fragments_and_options_are_dropped() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    let mut first = wire.clone();
    first[20] = 0x20;
    refused(&mut world, b.host, first, Reason::OuterFragment);
    let mut later = wire.clone();
    later[21] = 1;
    assert_eq!(world.arrive(b.host, later).fate, Fate::Passed(b.host));
    let mut options = wire.clone();
    options.splice(34..34, [1, 1, 1, 0]);
    options[14] = 0x46;
    refused(&mut world, b.host, options, Reason::OuterOptions);
}

#[test]
fn outer_lengths_that_contradict_each_other_are_dropped() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    for at in [17, 39] {
        for change in [1u8, 0xff] {
            let mut wrong = wire.clone();
            wrong[at] = wrong[at].wrapping_add(change);
            refused(&mut world, b.host, wrong, Reason::OuterLength);
        }
    }
    let cut = wire[..wire.len() - 1].to_vec();
    refused(&mut world, b.host, cut, Reason::OuterLength);
}

#[test]
fn bytes_beyond_the_udp_length_are_trimmed() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    let expected = world.arrive(b.host, wire.clone()).frame.bytes;
    let mut padded = wire.clone();
    padded.extend([0xee; 13]);
    let trip = world.arrive(b.host, padded.clone());
    assert_eq!(trip.reached(&b, &[]).frame.bytes, expected);
    // A bouncer trims them too.
    let moved = world.move_guest(&b, 2);
    let trip = world.arrive(BOUNCERS[0], {
        padded[30..34].copy_from_slice(&underlay(BOUNCERS[0]));
        fix_checksum(&mut padded);
        padded
    });
    assert_eq!(trip.reached(&moved, &[]).wires[0].len(), wire.len());
}

#[test]
fn only_the_fleet_is_listened_to() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    for source in [[192, 0, 2, 1], [100, 128, 0, 1], [100, 63, 255, 255]] {
        let mut foreign = wire.clone();
        foreign[26..30].copy_from_slice(&source);
        fix_checksum(&mut foreign);
        refused(&mut world, b.host, foreign, Reason::ForeignSource);
    }
}

#[test]
fn another_version_another_protocol_or_a_critical_option_is_dropped() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    for (at, bits, reason) in [
        (42, 0x40, Reason::BadGeneve),
        (42, 0x80, Reason::BadGeneve),
        (43, 0x40, Reason::CriticalOption),
        (44, 0x08, Reason::BadGeneve),
        (52, 0x80, Reason::CriticalOption),
    ] {
        let mut wrong = wire.clone();
        wrong[at] ^= bits;
        refused(&mut world, b.host, wrong, reason);
    }
}

#[test]
fn options_of_others_are_skipped_unread() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    let expected = world.arrive(b.host, wire.clone()).frame.bytes;
    world.hosts[b.host].learned.borrow_mut().clear();
    let others: [&[u8]; 3] = [
        &[0x01, 0x02, 0x03, 0],
        &[0xff, 0x4d, 0x05, 2, 9, 9, 9, 9, 9, 9, 9, 9],
        &[0xff, 0x00, 0x01, 1, 1, 2, 3, 4],
    ];
    for options in [others[0].to_vec(), others[1].to_vec(), others.concat()] {
        world.hosts[b.host].learned.borrow_mut().clear();
        let trip = world.arrive(b.host, with_options(&wire, &options));
        assert_eq!(trip.reached(&b, &[]).frame.bytes, expected);
        assert_eq!(world.hosts[b.host].learned.borrow().len(), 1, "ours was found behind them");
    }
    // All of one frame's room.
    let many = [0xff, 0x00, 0x02, 31].iter().copied().chain([0; 124]).collect::<Vec<_>>();
    world.arrive(b.host, with_options(&wire, &many)).reached(&b, &[]);
}

#[test]
fn an_option_that_runs_over_the_end_is_dropped() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    let mut wrong = wire.clone();
    wrong[53] = 6;
    refused(&mut world, b.host, wrong, Reason::BadOption);
}

#[test]
fn a_vni_that_neither_host_knows_anything_of_is_unknown_to_both() {
    let mut world = World::new();
    let (mut wire, b) = on_the_wire(&mut world);
    wire[46..49].copy_from_slice(&[0, 0, 99]);
    // Given back, once.
    world.arrive(b.host, wire.clone()).dropped(BOUNCERS[0], Reason::UnknownVpc);
    // By a host that it has no row of.
    world.hosts[b.host].hosts.borrow_mut().remove(&index(BOUNCERS[0]));
    refused(&mut world, b.host, wire, Reason::UnknownVpc);
}

#[test]
fn what_is_inside_is_checked_before_it_reaches_a_guest() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    let a = world.red.a;
    let carried = |frame: Vec<u8>| {
        let mut wire = wire[..OUTER + 24].to_vec();
        wire.extend(frame);
        fix_outer(&mut wire);
        wire
    };
    let advertisement = frames::icmp6(&a, (a.v6, b.v6), 255, (134, [0; 4]), &[0; 8]);
    let mut hidden = vec![58, 0, 0, 0, 0, 0, 0, 0];
    hidden.extend([134; 16]);
    let hidden_dhcp = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &[2, 35, 2, 34, 0, 16], &[0; 10]].concat();
    let nobody = Guest { v4: [0; 4], v6: [0; 16], ..a };
    let broadcast = Guest { v4: [255; 4], ..a };
    let link_local = Guest { v4: [169, 254, 0, 1], ..a };
    let mut tagged = frames::udp(&a, b.v4, b"");
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    let dhcp_in_pieces = [&[0, 67, 0, 68, 1, 52, 0, 0][..], &[2; 56]].concat();
    for (frame, reason) in [
        (frames::udp_ports(&a, b.v4, (67, 68), &[2; 300]), Reason::InnerRouterMessage),
        (frames::fragment(&a, b.v4, (0, true), &dhcp_in_pieces), Reason::InnerRouterMessage),
        (frames::udp6_ports(&a, b.v6, (547, 546), &[7; 99]), Reason::InnerRouterMessage),
        (frames::udp_ports(&a, b.v4, (4000, 68), &[2; 300]), Reason::InnerRouterMessage),
        (frames::udp6_ports(&a, b.v6, (4000, 546), &[7; 99]), Reason::InnerRouterMessage),
        (frames::icmp(&a, b.v4, 5, 1, &[0; 28]), Reason::InnerRouterMessage),
        (frames::icmp(&a, b.v4, 9, 0, &[0; 8]), Reason::InnerRouterMessage),
        (advertisement, Reason::InnerRouterMessage),
        (frames::raw6(&a, b.v6, 255, 0, &hidden), Reason::InnerRouterMessage),
        (frames::raw6(&a, b.v6, 64, 60, &hidden_dhcp), Reason::InnerRouterMessage),
        (frames::udp(&nobody, b.v4, b""), Reason::InnerSource),
        (frames::udp(&broadcast, b.v4, b""), Reason::InnerSource),
        (frames::udp(&link_local, b.v4, b""), Reason::InnerSource),
        (frames::udp6(&nobody, b.v6, b""), Reason::InnerSource),
        (tagged, Reason::InnerNotIp),
        (frames::arp(&a, a.v4, b.v4), Reason::InnerNotIp),
        (frames::udp(&a, b.v4, b"")[..40].to_vec(), Reason::BadIp),
        (frames::udp(&a, b.v4, b"")[..20].to_vec(), Reason::Short),
    ] {
        refused(&mut world, b.host, carried(frame), reason);
    }
}

#[test]
fn what_is_not_for_the_tunnel_goes_to_the_host_unchanged() {
    let mut world = World::new();
    let (wire, b) = on_the_wire(&mut world);
    let change = |at: usize, value: u8| {
        let mut other = wire.clone();
        other[at] = value;
        other
    };
    let others = [
        change(12, 0x86),
        change(23, 6),
        change(36, 0),
        change(33, 9),
        change(14, 0x65),
        wire[..OUTER - 1].to_vec(),
        Vec::new(),
        inner(&wire).to_vec(),
    ];
    world.hosts[b.host].written.set(false);
    let counters = world.hosts[b.host].counters.borrow().clone();
    for other in others {
        let trip = world.arrive(b.host, other.clone());
        assert_eq!(trip.fate, Fate::Passed(b.host));
        assert_eq!(trip.frame.bytes, other);
    }
    assert!(!world.hosts[b.host].written.get());
    assert_eq!(counters, *world.hosts[b.host].counters.borrow());
}

#[test]
fn a_bouncer_does_not_send_what_is_too_big_for_the_next_way() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let mtu = |mtu: u16, world: &World| {
        let mut hosts = world.hosts[BOUNCERS[0]].hosts.borrow_mut();
        hosts.get_mut(&index(b.host)).unwrap().mtu = mtu;
    };
    let len = world.udp(&a, &b).wires[0].len() as u16 - 14;
    mtu(len, &world);
    world.udp(&a, &b).reached(&b, &[BOUNCERS[0]]);
    mtu(len - 1, &world);
    world.udp(&a, &b).dropped(BOUNCERS[0], Reason::TooBig);
}

#[test]
fn a_bouncer_judges_a_buffer_of_many_segments_by_its_segments() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let payload = 1000;
    let buffer = || MemoryFrame {
        segment_payload: payload,
        ..MemoryFrame::new(frames::tcp(&a, b.v4, &vec![1; 20_000]))
    };
    // Outer headers with the sender's location, inner Ethernet, IPv4 and TCP.
    let segment = (OUTER - 14 + 24 + 14 + 20 + 20 + payload) as u16;
    for (mtu, fits) in [(segment, true), (segment - 1, false)] {
        let row = index(b.host);
        world.hosts[BOUNCERS[0]].hosts.borrow_mut().get_mut(&row).unwrap().mtu = mtu;
        let trip = world.send_frame(&a, buffer());
        if fits {
            trip.reached(&b, &[BOUNCERS[0]]);
        } else {
            trip.dropped(BOUNCERS[0], Reason::TooBig);
        }
    }
}

#[test]
fn the_option_that_a_returned_packet_gets_counts_for_its_size() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for _ in 0..60 {
        let _ = (world.udp(&a, &b), world.udp(&b, &a));
        world.advance(50);
    }
    let len = world.udp(&a, &b).wires[0].len() as u16 - 14;
    let _ = world.move_guest(&b, 2);
    let mtu = |mtu: u16, world: &World| {
        let mut hosts = world.hosts[b.host].hosts.borrow_mut();
        hosts.get_mut(&index(BOUNCERS[0])).unwrap().mtu = mtu;
    };
    assert!(len + 24 < UNDERLAY_MTU);
    mtu(len + 23, &world);
    world.udp(&a, &b).dropped(b.host, Reason::TooBig);
}
