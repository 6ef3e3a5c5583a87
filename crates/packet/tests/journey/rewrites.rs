//! What is rewritten on the way: TCP's MSS, congestion marks, TTLs; and their checksums.

use crate::common::frames;
use crate::common::oracle::assert_sound;
use crate::common::topology::GUEST_MTU;
use crate::common::world::{Fate, World};
use etherparse::TcpOptionElement::{
    MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale,
};
use mizar_packet::Reason;
use mizar_packet::count::{Counter, Path};
use mizar_packet::memory::MemoryFrame;

const MSS4: u16 = GUEST_MTU - 40;
const MSS6: u16 = GUEST_MTU - 60;

/// The maximum segment size that a delivered SYN has.
fn mss(frame: &[u8]) -> Option<u16> {
    let sliced = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
    tcp.options_iterator().find_map(|option| match option {
        Ok(MaximumSegmentSize(mss)) => Some(mss),
        _ => None,
    })
}

#[test]
fn the_mss_of_a_syn_is_lowered_to_what_fits() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for (sent, got) in [(1460, MSS4), (8960, MSS4), (MSS4 + 1, MSS4), (MSS4, MSS4), (500, 500)] {
        let syn = frames::syn(&a, b.v4, &[MaximumSegmentSize(sent), WindowScale(7)]);
        let trip = world.send(&a, syn);
        assert_eq!(trip.fate, Fate::Delivered(b.host, b.interface));
        assert_eq!(mss(&trip.frame.bytes), Some(got));
        assert_sound(&trip.frame.bytes);
    }
    assert_eq!(world.counted(a.host, Counter::Path(Path::ClampedMss)), 3);
}

#[test]
fn the_mss_is_found_at_any_place_among_the_options_even_at_odd_ones() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let options = [
        vec![MaximumSegmentSize(1460)],
        vec![Noop, MaximumSegmentSize(1460)],
        vec![Noop, Noop, MaximumSegmentSize(0x1234)],
        vec![WindowScale(9), MaximumSegmentSize(1460)],
        vec![SelectiveAcknowledgementPermitted, WindowScale(7), MaximumSegmentSize(65535)],
        vec![Timestamp(1, 2), Noop, SelectiveAcknowledgementPermitted, MaximumSegmentSize(1461)],
    ];
    for options in options {
        let trip = world.send(&a, frames::syn(&a, b.v4, &options));
        let sent = options.iter().find_map(|option| match option {
            MaximumSegmentSize(mss) => Some(*mss),
            _ => None,
        });
        assert_eq!(mss(&trip.frame.bytes), sent.map(|mss| mss.min(MSS4)), "{options:?}");
        assert_sound(&trip.frame.bytes);
    }
}

#[test]
fn the_mss_is_lowered_over_ipv6_by_its_larger_header() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for options in [&[2, 4, 5, 0xb4][..], &[1, 2, 4, 5, 0xa0, 0, 0, 0]] {
        let trip = world.send(&a, frames::syn6(&a, b.v6, options));
        assert_eq!(mss(&trip.frame.bytes), Some(MSS6));
        assert_sound(&trip.frame.bytes);
    }
}

#[test]
fn an_unfinished_checksum_stays_as_it_is() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for options in [vec![MaximumSegmentSize(1460)], vec![Noop, MaximumSegmentSize(1460)]] {
        let bytes = frames::syn(&a, b.v4, &options);
        let before = bytes[50..52].to_vec();
        let frame = MemoryFrame { partial_checksum: true, ..MemoryFrame::new(bytes) };
        let trip = world.send_frame(&a, frame);
        assert_eq!(mss(&trip.frame.bytes), Some(MSS4));
        assert_eq!(trip.frame.bytes[50..52], before);
    }
}

#[test]
fn only_syns_are_looked_into_and_malformed_options_are_left_alone() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let segment = frames::tcp(&a, b.v4, &[2, 4, 5, 0xb4]);
    let trip = world.send(&a, segment.clone());
    assert_eq!(trip.frame.bytes[14..], segment[14..]);
    for options in [[2, 0, 0, 0], [2, 1, 0, 0], [3, 0, 2, 4], [0, 2, 4, 0xff], [5, 60, 2, 4]] {
        let syn = frames::syn6(&a, b.v6, &options);
        let trip = world.send(&a, syn.clone());
        assert_eq!(trip.frame.bytes[14..], syn[14..], "{options:?}");
    }
}

#[test]
fn a_syn_whose_header_is_cut_off_is_dropped() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let mut syn = frames::syn(&a, b.v4, &[]);
    syn[46] = 0xf0;
    world.send(&a, syn).dropped(a.host, Reason::Short);
}

/// RFC 6040, figure 4: what becomes of inner and outer congestion marks; `None` is a drop.
const NOT: u8 = 0;
const ECT1: u8 = 1;
const ECT0: u8 = 2;
const CE: u8 = 3;
const TABLE: [(u8, [Option<u8>; 4]); 4] = [
    // Outer: not-ECT, ECT(1), ECT(0), CE.
    (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
    (ECT1, [Some(ECT1), Some(ECT1), Some(ECT1), Some(CE)]),
    (ECT0, [Some(ECT0), Some(ECT1), Some(ECT0), Some(CE)]),
    (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
];

#[test]
fn congestion_marks_follow_rfc_6040_at_both_ends_of_the_tunnel() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for (inner, outcomes) in TABLE {
        for (outer, outcome) in outcomes.into_iter().enumerate() {
            let dscp = 0xb8;
            let mut v4 = frames::udp(&a, b.v4, b"payload");
            v4[15] = dscp | inner;
            let sum = etherparse::Ipv4Header::from_slice(&v4[14..]).unwrap().0;
            v4[24..26].copy_from_slice(&sum.calc_header_checksum().to_be_bytes());
            let mut v6 = frames::udp6(&a, b.v6, b"payload");
            v6[14] |= dscp >> 4;
            v6[15] |= dscp << 4 | inner << 4;
            for sent in [v4, v6] {
                let trip = world.send(&a, sent);
                let mut wire = trip.wires.last().unwrap().clone();
                // On the way in the mark is copied; the operator's DSCP stands beside it.
                assert_eq!(wire[15], inner);
                wire[15] = outer as u8;
                let trip = world.arrive(b.host, wire);
                let Some(expected) = outcome else {
                    trip.dropped(b.host, Reason::EcnNotCapable);
                    continue;
                };
                let got = &trip.reached(&b, &[]).frame.bytes;
                let class = if got[14] >> 4 == 4 { got[15] } else { got[14] << 4 | got[15] >> 4 };
                assert_eq!(class, dscp | expected, "inner {inner}, outer {outer}");
                assert_sound(got);
            }
        }
    }
}

#[test]
fn the_outer_dscp_is_the_operators() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.hosts[a.host].config.tos = 0x28;
    let mut frame = frames::udp6(&a, b.v6, b"");
    frame[15] |= 0x10;
    let trip = world.send(&a, frame);
    assert!(trip.reached(&b, &[3]).wires.iter().all(|wire| wire[15] == 0x29));
}
