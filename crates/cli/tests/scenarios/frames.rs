//! Frames as a guest would never send them unless it means harm, byte by byte.

use mizar_packet::wire::ethernet::GATEWAY;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Is in every frame made here, so that it can be told wherever it comes out.
pub(crate) const MARK: &[u8] = b"this frame must not arrive";

/// An Ethernet frame to the gateway.
pub(crate) fn ethernet(from: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&GATEWAY[..], &from, &ethertype.to_be_bytes(), payload].concat()
}

/// The same with an 802.1Q tag.
pub(crate) fn tagged(from: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let tag = [0, 5];
    ethernet(from, 0x8100, &[&tag[..], &ethertype.to_be_bytes(), payload].concat())
}

/// An IP packet with all checksums right.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ipv4(src, dst, protocol, ttl, payload),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ipv6(src, dst, protocol, ttl, payload),
        _ => panic!("{src} and {dst} are of two families"),
    }
}

fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let protocol = protocol.into();
    let (src, dst) = (src.octets(), dst.octets());
    let mut header =
        etherparse::Ipv4Header::new(payload.len() as u16, ttl, protocol, src, dst).unwrap();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], payload].concat()
}

fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let header = etherparse::Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: next_header.into(),
        hop_limit,
        source: src.octets(),
        destination: dst.octets(),
        ..etherparse::Ipv6Header::default()
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A UDP datagram without a checksum.
pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() + 8) as u16;
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// An ICMPv6 message with its checksum.
pub(crate) fn icmpv6(src: Ipv6Addr, dst: Ipv6Addr, kind: u8) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 64, 0, 0, 0][..], &[0; 8], MARK].concat();
    let kind =
        etherparse::Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: [64, 0, 0, 0] };
    let checksum = kind.calc_checksum(src.octets(), dst.octets(), &message[8..]).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// An ARP packet over IPv4.
pub(crate) fn arp(operation: u16, sender: ([u8; 6], Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let start = [0, 1, 8, 0, 6, 4];
    let (mac, address) = (sender.0, sender.1.octets());
    let target = target.octets();
    let operation = operation.to_be_bytes();
    [&start[..], &operation, &mac, &address, &[0; 6], &target, MARK].concat()
}

/// Geneve around a frame.
pub(crate) fn geneve(vni: u32, inner: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    [&[0, 0, 0x65, 0x58, a, b, c, 0][..], inner].concat()
}
