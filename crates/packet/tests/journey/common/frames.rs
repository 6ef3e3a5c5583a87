//! What guests send, built by an independent implementation of the protocols.

use super::topology::Guest;
use etherparse::{
    Icmpv4Type, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header, PacketBuilder, PacketBuilderStep,
    TcpOptionElement,
};
use mizar_packet::wire::ethernet::GATEWAY;

/// The TTL of guests.
pub(crate) const TTL: u8 = 64;

type Step<T> = PacketBuilderStep<T>;

/// The start of an IPv4 packet.
pub(crate) fn v4(from: &Guest, to: [u8; 4], ttl: u8) -> Step<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(from.mac, GATEWAY).ipv4(from.v4, to, ttl)
}

/// The start of an IPv6 packet.
pub(crate) fn v6(from: &Guest, to: [u8; 16], hop_limit: u8) -> Step<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(from.mac, GATEWAY).ipv6(from.v6, to, hop_limit)
}

/// A UDP packet over IPv4.
pub(crate) fn udp(from: &Guest, to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    udp_ports(from, to, (4000, 5000), payload)
}

/// A UDP packet over IPv4 with these ports.
pub(crate) fn udp_ports(
    from: &Guest,
    to: [u8; 4],
    (src, dst): (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    written(|out| v4(from, to, TTL).udp(src, dst).write(out, payload).unwrap())
}

/// A UDP packet over IPv6.
pub(crate) fn udp6(from: &Guest, to: [u8; 16], payload: &[u8]) -> Vec<u8> {
    udp6_ports(from, to, (4000, 5000), payload)
}

/// A UDP packet over IPv6 with these ports.
pub(crate) fn udp6_ports(
    from: &Guest,
    to: [u8; 16],
    (src, dst): (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    written(|out| v6(from, to, TTL).udp(src, dst).write(out, payload).unwrap())
}

/// A TCP SYN with options.
pub(crate) fn syn(from: &Guest, to: [u8; 4], options: &[TcpOptionElement]) -> Vec<u8> {
    let step = v4(from, to, TTL).tcp(4000, 80, 1, 64000).syn().options(options).unwrap();
    written(|out| step.write(out, &[]).unwrap())
}

/// A TCP SYN over IPv6 with raw options.
pub(crate) fn syn6(from: &Guest, to: [u8; 16], options: &[u8]) -> Vec<u8> {
    let step = v6(from, to, TTL).tcp(4000, 80, 1, 64000).syn().options_raw(options).unwrap();
    written(|out| step.write(out, &[]).unwrap())
}

/// A TCP segment that is no SYN.
pub(crate) fn tcp(from: &Guest, to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    written(|out| v4(from, to, TTL).tcp(4000, 80, 1, 64000).ack(1).write(out, payload).unwrap())
}

/// An echo request.
pub(crate) fn ping(from: &Guest, to: [u8; 4]) -> Vec<u8> {
    written(|out| v4(from, to, TTL).icmpv4_echo_request(3, 4).write(out, b"abcdefg").unwrap())
}

/// An echo request over IPv6.
pub(crate) fn ping6(from: &Guest, to: [u8; 16]) -> Vec<u8> {
    written(|out| v6(from, to, TTL).icmpv6_echo_request(3, 4).write(out, b"abcdefg").unwrap())
}

/// An ICMP message of any type.
pub(crate) fn icmp(from: &Guest, to: [u8; 4], kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: [0; 4] };
    written(|out| v4(from, to, TTL).icmpv4(kind).write(out, body).unwrap())
}

/// An ICMPv6 message of any type, from any address, with any hop limit.
pub(crate) fn icmp6(
    from: &Guest,
    (src, to): ([u8; 16], [u8; 16]),
    hop_limit: u8,
    (kind, data): (u8, [u8; 4]),
    body: &[u8],
) -> Vec<u8> {
    let kind = Icmpv6Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: data };
    let guest = Guest { v6: src, ..*from };
    written(|out| v6(&guest, to, hop_limit).icmpv6(kind).write(out, body).unwrap())
}

/// A fragment at an offset in units of eight bytes.
pub(crate) fn fragment(
    from: &Guest,
    to: [u8; 4],
    (offset, more): (u16, bool),
    payload: &[u8],
) -> Vec<u8> {
    let len = payload.len() as u16;
    let mut ip = Ipv4Header::new(len, TTL, IpNumber::UDP, from.v4, to).unwrap();
    ip.fragment_offset = IpFragOffset::try_new(offset).unwrap();
    ip.more_fragments = more;
    ip.dont_fragment = false;
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = Vec::new();
    bytes.extend(GATEWAY);
    bytes.extend(from.mac);
    bytes.extend([8, 0]);
    ip.write(&mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

/// An IPv6 packet with raw content after the header.
pub(crate) fn raw6(from: &Guest, to: [u8; 16], hop_limit: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(GATEWAY);
    bytes.extend(from.mac);
    bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, hop_limit]);
    bytes.extend(from.v6);
    bytes.extend(to);
    bytes.extend(payload);
    bytes
}

/// An ARP request.
pub(crate) fn arp(from: &Guest, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend(from.mac);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(from.mac);
    bytes.extend(sender);
    bytes.extend([0; 6]);
    bytes.extend(target);
    bytes
}

/// What remains to be written, as bytes.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}
