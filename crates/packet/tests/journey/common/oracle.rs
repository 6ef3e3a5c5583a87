//! Judges frames with an independent implementation of the protocols.

use super::topology::{HOSTS, nic_mac, underlay};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use mizar_packet::wire::geneve::{Outer, PORT};

/// The host that a frame on the wire is for.
pub(crate) fn destination(wire: &[u8]) -> Option<usize> {
    (0..HOSTS).find(|&host| wire[30..34] == underlay(host))
}

/// Length of the tunnel's options.
pub(crate) fn options_len(wire: &[u8]) -> usize {
    usize::from(wire[Outer::LEN - 8] & 0x3f) * 4
}

/// The inner frame.
pub(crate) fn inner(wire: &[u8]) -> &[u8] {
    &wire[Outer::LEN + options_len(wire)..]
}

/// Asserts that what a host sends is sound: outer lengths, checksum, addresses, tunnel header.
#[track_caller]
pub(crate) fn assert_on_wire(wire: &[u8], host: usize, segment_payload: usize) {
    if segment_payload != 0 {
        return;
    }
    let sliced = SlicedPacket::from_ethernet(wire).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4: {wire:x?}") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(usize::from(header.total_len), wire.len() - 14, "no trailing bytes");
    assert!(header.dont_fragment && !header.more_fragments);
    assert_eq!((header.source, wire[6..12].to_vec()), (underlay(host), nic_mac(host).to_vec()));
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("not UDP") };
    assert_eq!((udp.destination_port(), udp.checksum()), (PORT, 0));
    assert!(udp.source_port() >= 0xc000);
    assert_eq!(usize::from(udp.length()), wire.len() - 34);
    assert_eq!(wire[42] >> 6, 0, "version");
    assert_eq!(wire[49], 0, "reserved");
    assert_options(&wire[Outer::LEN..Outer::LEN + options_len(wire)]);
}

/// Asserts that options fill their room exactly.
fn assert_options(mut options: &[u8]) {
    while let [_, _, kind, len, ..] = options {
        assert_eq!(kind & 0x80, 0, "critical");
        options = &options[4 + usize::from(len & 0x1f) * 4..];
    }
    assert!(options.is_empty());
}

/// Asserts that a guest's frame is sound: the lengths, and every checksum.
#[track_caller]
pub(crate) fn assert_sound(frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let pseudo = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            if ip.payload().fragmented {
                return;
            }
            header.source.iter().chain(&header.destination).copied().collect::<Vec<_>>()
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().to_header();
            header.source.iter().chain(&header.destination).copied().collect()
        }
        _ => return,
    };
    let is_v4 = pseudo.len() == 8;
    let (message, at, protocol) = match &sliced.transport {
        Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => return assert!(is_v4),
        Some(TransportSlice::Udp(udp)) => (udp.slice(), 6, 17),
        Some(TransportSlice::Tcp(tcp)) => (tcp.slice(), 16, 6),
        Some(TransportSlice::Icmpv4(icmp)) => (icmp.slice(), 2, 1),
        Some(TransportSlice::Icmpv6(icmp)) => (icmp.slice(), 2, 58),
        _ => return,
    };
    let mut sum = etherparse::checksum::Sum16BitWords::new();
    if protocol != 1 {
        let len = message.len() as u16;
        sum = sum.add_slice(&pseudo).add_2bytes([0, protocol]).add_2bytes(len.to_be_bytes());
    }
    sum = sum.add_slice(&message[..at]).add_slice(&message[at + 2..]);
    let full = sum.ones_complement().to_be();
    let found = u16::from_be_bytes([message[at], message[at + 1]]);
    // UDP writes a sum of zero as all ones; both represent it.
    let same = found == full || (found == 0xffff && full == 0) || (found == 0 && full == 0xffff);
    assert!(same, "checksum {found:x}, should be {full:x}: {frame:x?}");
}
