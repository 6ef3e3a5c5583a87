//! Random IP packets of endpoints, sound for the most part.

use crate::hosts::{NUMBERS, SUBNETS, v4, v6};
use crate::random::Random;
use mizar_packet::Address;
use mizar_packet::wire::{Ipv4, Ipv6, icmpv4, icmpv6, ipv4, ipv6, tcp};
use zerocopy::IntoBytes;

/// Some endpoint of one family, which may not exist.
pub(crate) fn endpoint(random: &mut Random, is_v4: bool) -> Address {
    let subnet = random.pick(&SUBNETS);
    let number = random.within(usize::from(*NUMBERS.start()), 11) as u8;
    if is_v4 { Address::v4(v4(subnet, number)) } else { Address::v6(v6(subnet, number)) }
}

/// An address that hardly any endpoint has.
pub(crate) fn odd_address(random: &mut Random, is_v4: bool) -> Address {
    if is_v4 {
        Address::v4(random.pick(&[
            [0, 0, 0, 0],
            [127, 0, 0, 1],
            [169, 254, 169, 254],
            [224, 0, 0, 251],
            [255; 4],
            [10, 0, 1, 255],
            [10, 0, 77, 1],
            [8, 8, 8, 8],
        ]))
    } else {
        let mut octets = [0; 16];
        octets[15] = random.pick(&[0, 1, 9]);
        octets[0] = random.pick(&[0, 0xff, 0xfe, 0x20, 0xfd]);
        octets[1] = random.pick(&[0, 2, 0x80]);
        if random.one_in(4) {
            octets = v4_mapped(v4(1, 2));
        }
        Address::v6(octets)
    }
}

fn v4_mapped(v4: [u8; 4]) -> [u8; 16] {
    Address::v4(v4).octets()
}

/// What stands in an IP packet.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// Protocol or next header.
    pub(crate) protocol: u8,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// What follows the IP header.
    pub(crate) payload: Vec<u8>,
}

/// Random content between endpoints of one family.
pub(crate) fn content(random: &mut Random, is_v4: bool) -> Content {
    let ttl = random.pick(&[64, 64, 64, 255, 255, 2, 1, 0]);
    let icmp = if is_v4 { ipv4::ICMP } else { ipv6::ICMPV6 };
    let (protocol, payload) = match random.below(13) {
        0..=2 => (ipv4::UDP, udp(random)),
        3..=6 => (ipv4::TCP, tcp_segment(random)),
        7 | 8 => (icmp, icmp_message(random, is_v4)),
        9 => (ipv4::UDP, dhcp_ports(random)),
        10 | 11 if !is_v4 => {
            let next = random.pick(&[ipv6::HOP_BY_HOP, ipv6::FRAGMENT, 60, 43]);
            (next, extension(random))
        }
        _ => {
            let len = random.below(64);
            (random.byte(), random.bytes(len))
        }
    };
    Content { protocol, ttl, payload }
}

/// An IP packet around some content, whose header contradicts itself now and then.
pub(crate) fn packet(
    random: &mut Random,
    src: Address,
    dst: Address,
    content: &Content,
) -> Vec<u8> {
    if src.is_v4() && dst.is_v4() {
        return packet_v4(random, src.v4_octets(), dst.v4_octets(), content);
    }
    let mut header = Ipv6::new(
        content.payload.len() as u16,
        content.protocol,
        content.ttl,
        src.octets(),
        dst.octets(),
    );
    header.set_class(tos(random));
    if random.one_in(50) {
        header.payload_len = (random.below(200) as u16).into();
    }
    if random.one_in(80) {
        header.version_class_flow = (random.number() as u32).into();
    }
    [header.as_bytes(), &content.payload].concat()
}

fn packet_v4(random: &mut Random, src: [u8; 4], dst: [u8; 4], content: &Content) -> Vec<u8> {
    let options = if random.one_in(12) { random.within(1, 11) * 4 } else { 0 };
    let options = random.bytes(options);
    let len = (content.payload.len() + options.len()) as u16;
    let mut header = Ipv4::new(len, content.protocol, tos(random), content.ttl, src, dst);
    header.version_ihl += (options.len() / 4) as u8;
    if random.one_in(15) {
        header.fragment = random.pick(&[0x2000, 0x2005, 0x0005, 0x6000]).into();
    }
    if random.one_in(50) {
        header.len = (random.below(200) as u16).into();
    }
    if random.one_in(80) {
        header.version_ihl = random.byte();
    }
    header.checksum = header.sum().into();
    [header.as_bytes(), &options, &content.payload].concat()
}

fn tos(random: &mut Random) -> u8 {
    random.pick(&[0, 0, 1, 2, 3, 0xb8, 0xba])
}

fn payload_len(random: &mut Random) -> usize {
    match random.below(10) {
        0 => random.within(1200, 1500),
        1 => random.within(1500, 3000),
        _ => random.below(100),
    }
}

fn udp(random: &mut Random) -> Vec<u8> {
    let len = payload_len(random);
    let mut bytes = random.bytes(8 + len);
    bytes[4..6].copy_from_slice(&(8 + len as u16).to_be_bytes());
    bytes
}

/// A UDP datagram that may be DHCP, in either direction, without its message.
fn dhcp_ports(random: &mut Random) -> Vec<u8> {
    let mut bytes = udp(random);
    let (src, dst) = random.pick(&[(67u16, 68u16), (68, 67), (67, 67)]);
    bytes[..2].copy_from_slice(&src.to_be_bytes());
    bytes[2..4].copy_from_slice(&dst.to_be_bytes());
    bytes
}

/// A TCP segment, often a SYN with options in any order.
fn tcp_segment(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..random.below(8) {
        options.extend(tcp_option(random));
    }
    options.truncate(40);
    options.resize(options.len().next_multiple_of(4), 0);
    let mut bytes = random.bytes(20);
    let words = 5 + options.len() / 4;
    bytes[12] = if random.one_in(30) { random.byte() } else { (words as u8) << 4 };
    bytes[13] = random.pick(&[tcp::SYN, tcp::SYN, tcp::SYN | 0x10, 0x10, 0x18]);
    bytes.extend(options);
    let len = payload_len(random);
    bytes.extend(random.bytes(len));
    bytes
}

fn tcp_option(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 | 1 => vec![tcp::OPTION_NOP],
        2..=4 => {
            let [high, low] =
                random.pick(&[1460u16, 1240, 536, 8960, 0xffff, 0xff00]).to_be_bytes();
            vec![tcp::OPTION_MSS, 4, high, low]
        }
        5 => vec![3, 3, 7],
        6 => [[8, 10].to_vec(), random.bytes(8)].concat(),
        _ => vec![random.byte(), random.byte()],
    }
}

fn icmp_message(random: &mut Random, is_v4: bool) -> Vec<u8> {
    let len = 8 + payload_len(random);
    let mut bytes = random.bytes(len);
    bytes[0] = if is_v4 {
        random.pick(&[icmpv4::ECHO, icmpv4::ECHO, icmpv4::ECHO_REPLY, icmpv4::UNREACHABLE, 11])
    } else {
        random.pick(&[icmpv6::ECHO, icmpv6::ECHO, icmpv6::ECHO_REPLY, 1, 133, 134, 135, 136, 137])
    };
    bytes[1] = random.pick(&[0, 0, 4]);
    bytes
}

/// IPv6 extension headers, and what stands behind them: often UDP, sometimes for a DHCP client.
fn extension(random: &mut Random) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let len = 8 * random.below(3);
        let mut bytes = random.bytes(8 + len);
        bytes[1] = (len / 8) as u8;
        if random.one_in(2) {
            // As the beginning of a packet in fragments, if it is read as such.
            bytes[2..4].fill(0);
        }
        let last = random.one_in(2);
        let next = [ipv6::FRAGMENT, ipv6::DESTINATION_OPTIONS, ipv6::ROUTING];
        let payloads = [ipv6::ICMPV6, ipv4::TCP, ipv4::UDP, ipv4::UDP];
        bytes[0] = if last { random.pick(&payloads) } else { random.pick(&next) };
        all.extend(bytes);
        if last {
            break;
        }
    }
    let ports = random.pick(&[0x0223_0222_u32, 0x0222_0223, 0x1234_0222]);
    let len = random.below(40);
    [all, ports.to_be_bytes().to_vec(), random.bytes(len)].concat()
}
