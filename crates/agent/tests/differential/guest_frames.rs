//! Random frames that a guest sends.

use crate::hosts::{GUEST_MAC, v4, v6};
use crate::packets::{self, Content, content, endpoint, odd_address, packet};
use crate::random::Random;
use mizar_packet::Address;
use mizar_packet::tables::Port;
use mizar_packet::wire::arp::{self, Arp};
use mizar_packet::wire::dhcp::{self, Head};
use mizar_packet::wire::icmpv6::{self, Icmpv6};
use mizar_packet::wire::{Ethernet, Udp, ethernet, icmpv4, ipv4, ipv6};
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

/// A frame from the guest behind `port`, or from one that has none.
pub(crate) fn frame(random: &mut Random, port: Option<&Port>) -> Vec<u8> {
    let own = |is_v4: bool| match port {
        Some(port) if is_v4 && port.v4 != [0; 4] => Address::v4(port.v4),
        Some(port) if !is_v4 && !port.v6.is_none() => port.v6,
        _ if is_v4 => Address::v4(v4(1, 2)),
        _ => Address::v6(v6(1, 2)),
    };
    let (ethertype, body) = match random.below(16) {
        0 | 1 => (ethernet::ARP, arp_packet(random)),
        2 | 3 => (ethernet::IPV6, solicitation(random, own(false))),
        4 | 5 => (ethernet::IPV4, dhcp_request(random)),
        6 => gateway_echo(random, own(true), own(false)),
        7 => (random.pick(&[0x8100, 0x88cc, 0x0806, 0x0801]), random.bytes(60)),
        _ => {
            let is_v4 = random.one_in(2);
            (if is_v4 { ethernet::IPV4 } else { ethernet::IPV6 }, traffic(random, own(is_v4)))
        }
    };
    let src = if random.one_in(30) { [2, 0, 0, 0, 9, 9] } else { GUEST_MAC };
    let dst = random.pick(&[ethernet::GATEWAY, ethernet::BROADCAST]);
    [Ethernet::new(dst, src, ethertype).as_bytes(), &body].concat()
}

/// An IP packet to anywhere.
fn traffic(random: &mut Random, own: Address) -> Vec<u8> {
    let is_v4 = own.is_v4();
    let src = if random.one_in(20) { odd_address(random, is_v4) } else { own };
    let dst = match random.below(8) {
        0 => odd_address(random, is_v4),
        _ => endpoint(random, is_v4),
    };
    let content = content(random, is_v4);
    packet(random, src, dst, &content)
}

fn gateway_echo(random: &mut Random, v4_own: Address, v6_own: Address) -> (u16, Vec<u8>) {
    let is_v4 = random.one_in(2);
    let (src, dst) =
        if is_v4 { (v4_own, Address::v4(v4(1, 1))) } else { (v6_own, Address::v6(v6(1, 1))) };
    let mut content = content(random, is_v4);
    if !random.one_in(5) {
        let mut payload = random.bytes(16);
        payload[0] = if is_v4 { icmpv4::ECHO } else { icmpv6::ECHO };
        let protocol = if is_v4 { ipv4::ICMP } else { ipv6::ICMPV6 };
        content = Content { protocol, ttl: 64, payload };
    }
    let ethertype = if is_v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    (ethertype, packet(random, src, dst, &content))
}

fn arp_packet(random: &mut Random) -> Vec<u8> {
    let stranger = v4(1, 7);
    let mut arp = Arp {
        hardware: U16::new(1),
        protocol: U16::new(ethernet::IPV4),
        hardware_len: 6,
        protocol_len: 4,
        operation: U16::new(arp::REQUEST),
        sender_mac: GUEST_MAC,
        sender: random.pick(&[v4(1, 2), v4(1, 2), v4(1, 2), [0; 4], stranger]),
        target_mac: [0; 6],
        target: random.pick(&[v4(1, 1), v4(1, 5), v4(1, 2), v4(2, 5), [10, 9, 9, 9]]),
    };
    match random.below(12) {
        0 => arp.operation = U16::new(arp::REPLY),
        1 => arp.hardware = U16::new(6),
        2 => arp.sender_mac = [2, 0, 0, 0, 9, 9],
        _ => {}
    }
    let mut bytes = arp.as_bytes().to_vec();
    match random.below(12) {
        0 => bytes.truncate(random.below(28)),
        1..=6 => bytes.resize(46, 0),
        _ => {}
    }
    bytes
}

/// A neighbour or router solicitation, or something like it.
fn solicitation(random: &mut Random, own: Address) -> Vec<u8> {
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let src = random.pick(&[own.octets(), own.octets(), link_local, [0; 16], v6(1, 8)]);
    let kind = random.pick(&[133, 135, 135, 135, 134, 136]);
    let icmp = Icmpv6 {
        kind,
        code: u8::from(random.one_in(20)),
        checksum: U16::new(random.number() as u16),
        data: U32::ZERO,
    };
    let target =
        random.pick(&[v6(1, 1), v6(1, 5), own.octets(), v6(2, 5), icmpv6::GATEWAY, [0x20; 16]]);
    let mut payload = icmp.as_bytes().to_vec();
    if kind != 133 {
        payload.extend(target);
    }
    if random.one_in(2) {
        payload.extend([1, 1]);
        payload.extend(GUEST_MAC);
    }
    if random.one_in(20) {
        payload.truncate(random.below(payload.len()));
    }
    let ttl = if random.one_in(15) { 64 } else { icmpv6::HOP_LIMIT };
    let dst = random.pick(&[[0xff; 16], target]);
    let content = Content { protocol: ipv6::ICMPV6, ttl, payload };
    packet(random, Address::v6(src), Address::v6(dst), &content)
}

/// A DHCP request, complete for the most part.
fn dhcp_request(random: &mut Random) -> Vec<u8> {
    let mut head = Head::new_zeroed();
    head.operation = if random.one_in(15) { 2 } else { 1 };
    (head.hardware, head.hardware_len) = (1, 6);
    head.transaction = U32::new(random.number() as u32);
    head.flags = U16::new(random.pick(&[0, 0x8000]));
    head.client = random.pick(&[[0; 4], [0; 4], v4(1, 2), v4(1, 9)]);
    head.mac = if random.one_in(20) { [2, 0, 0, 0, 9, 9] } else { GUEST_MAC };
    let mut message = head.as_bytes().to_vec();
    message.extend([0; dhcp::NAMES_LEN]);
    message.extend(dhcp::MAGIC);
    for _ in 0..random.below(4) {
        message.extend(dhcp_option(random));
    }
    message.extend([dhcp::MESSAGE_TYPE, 1, random.pick(&[1, 3, 3, 8, 4, 7])]);
    for _ in 0..random.below(4) {
        message.extend(dhcp_option(random));
    }
    if !random.one_in(8) {
        message.push(dhcp::END);
    }
    if random.one_in(3) {
        message.resize(message.len().max(300), 0);
    }
    if random.one_in(15) {
        message.truncate(random.below(message.len()));
    }
    let udp = Udp::new(dhcp::CLIENT_PORT, dhcp::SERVER_PORT, message.len() as u16);
    let content =
        Content { protocol: ipv4::UDP, ttl: 64, payload: [udp.as_bytes(), &message].concat() };
    let src = if random.one_in(3) { v4(1, 2) } else { [0; 4] };
    let dst = random.pick(&[[255; 4], [255; 4], v4(1, 1)]);
    packets::packet(random, Address::v4(src), Address::v4(dst), &content)
}

fn dhcp_option(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => vec![dhcp::PAD],
        1 => {
            [vec![dhcp::REQUESTED_ADDRESS, 4], random.pick(&[v4(1, 2), v4(1, 9)]).to_vec()].concat()
        }
        2 => vec![dhcp::REQUESTED_ADDRESS, 2, 1, 2],
        3 => {
            let len = random.below(20);
            [vec![55, len as u8], random.bytes(len)].concat()
        }
        _ => vec![random.byte(), random.byte()],
    }
}
