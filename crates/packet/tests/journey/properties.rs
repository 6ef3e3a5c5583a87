//! What holds for every packet.

use crate::common::oracle::assert_sound;
use crate::common::topology::{GUEST_MTU, Guest};
use crate::common::world::{Fate, World};
use crate::common::{cases, frames};
use crate::fuzz::targets;
use mizar_packet::function::from_wire;
use mizar_packet::memory::MemoryFrame;
use proptest::collection::vec;
use proptest::prelude::*;

/// What a guest may send another one, as it likes.
#[derive(Clone, Debug)]
struct Packet {
    is_v6: bool,
    tos: u8,
    ttl: u8,
    protocol: u8,
    ports: (u16, u16),
    payload: Vec<u8>,
}

fn packet() -> impl Strategy<Value = Packet> {
    let protocol = prop_oneof![Just(1u8), Just(6), Just(17), Just(58), 100u8..140];
    let ports = (1024u16.., 1024u16..);
    let payload = vec(any::<u8>(), 0..usize::from(GUEST_MTU) - 60);
    (any::<bool>(), any::<u8>(), 2u8.., protocol, ports, payload).prop_map(
        |(is_v6, tos, ttl, protocol, ports, payload)| Packet {
            is_v6,
            tos,
            ttl,
            protocol,
            ports,
            payload,
        },
    )
}

impl Packet {
    /// The packet as a frame from one guest to another.
    fn frame(&self, from: &Guest, to: &Guest) -> Vec<u8> {
        let step = if self.is_v6 {
            frames::v6(from, to.v6, self.ttl)
        } else {
            frames::v4(from, to.v4, self.ttl)
        };
        let mut out = Vec::new();
        let (payload, (src, dst)) = (&self.payload[..], self.ports);
        match (self.protocol, self.is_v6) {
            (6, _) => step.tcp(src, dst, 1, 2).ack(3).write(&mut out, payload).unwrap(),
            (17, _) => step.udp(src, dst).write(&mut out, payload).unwrap(),
            (1, _) => step.icmpv4_echo_request(src, dst).write(&mut out, payload).unwrap(),
            (58, true) => step.icmpv6_echo_request(src, dst).write(&mut out, payload).unwrap(),
            (other, _) => step.write(&mut out, other.into(), payload).unwrap(),
        }
        set_class(&mut out, self.tos);
        out
    }
}

/// Sets DSCP and ECN, with the checksum made anew.
fn set_class(frame: &mut [u8], class: u8) {
    if frame[14] >> 4 == 6 {
        frame[14] = 0x60 | class >> 4;
        frame[15] = class << 4 | frame[15] & 0x0f;
    } else {
        frame[15] = class;
        finish_v4(frame);
    }
}

/// Makes the IPv4 header's checksum anew.
fn finish_v4(frame: &mut [u8]) {
    let header = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    frame[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
}

/// Has the IP header tell the frame's length, or the largest that it can.
fn tell_length(frame: &mut [u8]) {
    let len = |headers: usize| u16::try_from(frame.len() - headers).unwrap_or(u16::MAX);
    if frame[14] >> 4 == 6 {
        let told = len(54).to_be_bytes();
        frame[18..20].copy_from_slice(&told);
    } else {
        let told = len(14).to_be_bytes();
        frame[16..18].copy_from_slice(&told);
        finish_v4(frame);
    }
}

/// The frame as it should be after it has crossed networks.
fn one_hop_on(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame[14] >> 4 == 6 {
        frame[21] -= 1;
    } else {
        frame[22] -= 1;
        finish_v4(&mut frame);
    }
    frame
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_packet_comes_out_of_the_tunnel_as_it_went_in(packet in packet()) {
        let mut world = World::new();
        let (a, b) = (world.red.a, world.red.b);
        let sent = packet.frame(&a, &b);
        // By way of a bouncer, then direct with an option, then without one.
        for round in 0..3 {
            let trip = world.send(&a, sent.clone());
            prop_assert_eq!(trip.fate, Fate::Delivered(b.host, b.interface));
            prop_assert_eq!(&trip.frame.bytes[14..], &sent[14..]);
            let _ = world.udp(&b, &a);
            let _ = world.udp6(&b, &a);
            world.advance(if round == 1 { 2000 } else { 1 });
            if round == 1 {
                let _ = (world.udp(&a, &b), world.udp6(&a, &b));
            }
        }
    }

    #[test]
    fn across_networks_only_the_ttl_and_its_checksum_change(packet in packet()) {
        let mut world = World::new();
        let (a, c, e) = (world.red.a, world.red.c, world.red.e);
        for to in [c, e] {
            let sent = packet.frame(&a, &to);
            let trip = world.send(&a, sent.clone());
            prop_assert_eq!(trip.fate, Fate::Delivered(to.host, to.interface));
            prop_assert_eq!(&trip.frame.bytes[14..], &one_hop_on(&sent)[14..]);
            if packet.protocol != 58 || packet.is_v6 {
                assert_sound(&trip.frame.bytes);
            }
        }
    }

    #[test]
    fn checksums_stay_right_whatever_options_a_syn_has(
        is_v6: bool,
        options in vec(prop_oneof![Just(1u8), Just(2), Just(4), any::<u8>()], 0..=40),
        payload in vec(any::<u8>(), 0..3),
    ) {
        let mut world = World::new();
        let (a, b) = (world.red.a, world.red.b);
        let mut sent = Vec::new();
        let step = if is_v6 { frames::v6(&a, b.v6, 9) } else { frames::v4(&a, b.v4, 9) };
        let step = step.tcp(1, 2, 3, 4).syn().options_raw(&options).unwrap();
        step.write(&mut sent, &payload).unwrap();
        let trip = world.send(&a, sent.clone());
        prop_assert_eq!(trip.fate, Fate::Delivered(b.host, b.interface));
        prop_assert_eq!(trip.frame.bytes.len(), sent.len());
        assert_sound(&trip.frame.bytes);
    }

    #[test]
    fn congestion_on_the_way_changes_nothing_else(packet in packet(), mark in 0u8..4) {
        let mut world = World::new();
        let (a, b) = (world.red.a, world.red.b);
        let sent = packet.frame(&a, &b);
        let trip = world.send(&a, sent.clone());
        let mut wire = trip.wires[1].clone();
        wire[15] = mark;
        let trip = world.arrive(b.host, wire);
        if packet.tos & 3 == 0 && mark == 3 {
            prop_assert!(matches!(trip.fate, Fate::Dropped(..)));
            return Ok(());
        }
        let mut expected = sent;
        let outcome = match (mark, packet.tos & 3) {
            (3, _) => 3,
            (1, 2) => 1,
            (_, inner) => inner,
        };
        set_class(&mut expected, packet.tos & 0xfc | outcome);
        prop_assert_eq!(&trip.frame.bytes[14..], &expected[14..]);
    }

    #[test]
    fn no_bytes_at_all_break_anything(bytes in vec(any::<u8>(), 0..400)) {
        targets::guest_frame(&bytes);
        targets::wire_frame(&bytes);
        targets::control_frame(&bytes);
        targets::dhcp(&bytes);
    }

    #[test]
    fn a_damaged_frame_breaks_nothing(
        packet in packet(),
        damage in vec((0usize..160, any::<u8>()), 1..6),
        len in 0usize..2000,
        on_the_wire: bool,
        beside: u8,
    ) {
        let mut world = World::new();
        let (a, b) = (world.red.a, world.red.b);
        let mut bytes = packet.frame(&a, &b);
        if on_the_wire {
            let trip = world.send(&a, bytes);
            bytes = trip.wires[1].clone();
        }
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(len);
        if on_the_wire {
            // A damaged outer header stays damaged where it is forwarded: nobody judges it here.
            let _ = from_wire(&mut MemoryFrame::new(bytes), &world.hosts[b.host]);
        } else {
            let segment_payload = if beside < 128 { 0 } else { usize::from(beside) * 10 };
            let frame = MemoryFrame { segment_payload, ..MemoryFrame::new(bytes) };
            let _ = world.send_frame(&a, frame);
        }
    }

    #[test]
    fn no_length_breaks_anything(
        packet in packet(),
        len in 0usize..70_000,
        segment_payload in prop_oneof![Just(0usize), 0usize..70_000],
        told: bool,
        on_the_wire: bool,
    ) {
        let mut world = World::new();
        let (a, b) = (world.red.a, world.red.b);
        let mut bytes = packet.frame(&a, &b);
        if on_the_wire {
            bytes = world.send(&a, bytes).wires[1].clone();
        }
        bytes.resize(len, 0);
        if told && !on_the_wire && len > 60 {
            tell_length(&mut bytes);
        }
        let frame = MemoryFrame { segment_payload, ..MemoryFrame::new(bytes) };
        if on_the_wire {
            let _ = from_wire(&mut { frame }, &world.hosts[b.host]);
        } else {
            let _ = world.send_frame(&a, frame);
        }
    }

    #[test]
    fn whatever_tables_say_a_frame_stays_in_its_vpc_and_is_forwarded_a_few_times(
        tables in vec(any::<u8>(), 1500..2500),
        frame in vec(any::<u8>(), 0..200),
    ) {
        targets::journey(&[tables, frame].concat());
    }
}
