//! The packet that is traced: real bytes, as a guest sends them.

use clap::ValueEnum;
use mizar_packet::Address;
use mizar_packet::memory::MemoryFrame;
use mizar_packet::tables::Port;
use mizar_packet::wire::icmpv4::{self, Icmpv4};
use mizar_packet::wire::icmpv6::{self, Icmpv6};
use mizar_packet::wire::tcp::{self, Tcp};
use mizar_packet::wire::{Ethernet, Ipv4, Ipv6, Udp, checksum, ethernet, ipv4, ipv6};
use std::fmt;
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

/// What the packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// An echo request, as ping sends it.
    #[default]
    Icmp,
    /// A connection request.
    Tcp,
    /// A datagram.
    Udp,
}

/// A packet and what makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) protocol: Protocol,
    pub(super) src: Address,
    pub(super) dst: Address,
    /// TCP and UDP: the port of whoever answers.
    pub(super) port: u16,
    /// Length of the IP packet in bytes; at least what the headers take.
    pub(super) size: u16,
    /// Whether it is the answer to such a packet.
    pub(super) is_answer: bool,
}

/// The port of whoever asks: any of the dynamic ones.
const CLIENT_PORT: u16 = 49_152;
/// The TTL that most systems begin with.
const TTL: u8 = 64;
/// TCP's flag that an acknowledgement number is there.
const ACK: u8 = 0x10;

impl Packet {
    /// The packet that answers this one.
    pub(super) fn answer(&self) -> Self {
        Self { src: self.dst, dst: self.src, is_answer: !self.is_answer, ..*self }
    }

    /// The frame that the guest behind a port sends.
    pub(super) fn frame(&self, port: &Port) -> MemoryFrame {
        let is_v4 = self.src.is_v4();
        let ip_len = if is_v4 { Ipv4::LEN } else { Ipv6::LEN };
        let l4 = self.l4(usize::from(self.size).saturating_sub(ip_len));
        let ethertype = if is_v4 { ethernet::IPV4 } else { ethernet::IPV6 };
        let mut bytes = Vec::with_capacity(Ethernet::LEN + ip_len + l4.len());
        // Guests' neighbours and gateways all have the same MAC address.
        bytes.extend(Ethernet::new(ethernet::GATEWAY, port.mac, ethertype).as_bytes());
        let len = l4.len() as u16;
        if is_v4 {
            let (src, dst) = (self.src.v4_octets(), self.dst.v4_octets());
            bytes.extend(Ipv4::new(len, self.number(), 0, TTL, src, dst).as_bytes());
        } else {
            let (src, dst) = (self.src.octets(), self.dst.octets());
            bytes.extend(Ipv6::new(len, self.number(), TTL, src, dst).as_bytes());
        }
        bytes.extend(l4);
        MemoryFrame::new(bytes)
    }

    /// The header after the IP header, and zeros up to `len` bytes.
    fn l4(&self, len: usize) -> Vec<u8> {
        let (src, dst) =
            if self.is_answer { (self.port, CLIENT_PORT) } else { (CLIENT_PORT, self.port) };
        let (mut bytes, checksum_at) = match self.protocol {
            Protocol::Icmp => (self.echo(), 2),
            Protocol::Tcp => {
                let flags = if self.is_answer { tcp::SYN | ACK } else { tcp::SYN };
                let header = Tcp {
                    src: U16::new(src),
                    dst: U16::new(dst),
                    sequence: U32::new(1),
                    acknowledgement: U32::new(u32::from(self.is_answer)),
                    offset: ((Tcp::LEN / 4) as u8) << 4,
                    flags,
                    window: U16::new(u16::MAX),
                    checksum: U16::ZERO,
                    urgent: U16::ZERO,
                };
                (header.as_bytes().to_vec(), tcp::CHECKSUM)
            }
            Protocol::Udp => {
                let payload = len.saturating_sub(Udp::LEN) as u16;
                (Udp::new(src, dst, payload).as_bytes().to_vec(), 6)
            }
        };
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        let sum = self.checksum(&bytes);
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn echo(&self) -> Vec<u8> {
        if self.src.is_v4() {
            let kind = if self.is_answer { icmpv4::ECHO_REPLY } else { icmpv4::ECHO };
            let (high, low) = (U16::ZERO, U16::new(1));
            Icmpv4 { kind, code: 0, checksum: U16::ZERO, high, low }.as_bytes().to_vec()
        } else {
            let kind = if self.is_answer { icmpv6::ECHO_REPLY } else { icmpv6::ECHO };
            let data = U32::new(1);
            Icmpv6 { kind, code: 0, checksum: U16::ZERO, data }.as_bytes().to_vec()
        }
    }

    /// The checksum of the message and, but for ICMP over IPv4, its pseudo header.
    fn checksum(&self, message: &[u8]) -> u16 {
        let mut sum = checksum::add(0, message);
        if self.src.is_v4() && self.protocol != Protocol::Icmp {
            sum = checksum::add(sum, &self.src.v4_octets());
            sum = checksum::add(sum, &self.dst.v4_octets());
            sum += u32::from(self.number()) + message.len() as u32;
        } else if !self.src.is_v4() {
            sum = checksum::add(sum, &self.src.octets());
            sum = checksum::add(sum, &self.dst.octets());
            sum += u32::from(self.number()) + message.len() as u32;
        }
        checksum::finish(sum)
    }

    fn number(&self) -> u8 {
        match self.protocol {
            Protocol::Icmp if self.src.is_v4() => ipv4::ICMP,
            Protocol::Icmp => ipv6::ICMPV6,
            Protocol::Tcp => ipv4::TCP,
            Protocol::Udp => ipv4::UDP,
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.protocol, self.is_answer) {
            (Protocol::Icmp, false) => f.write_str("ICMP echo request")?,
            (Protocol::Icmp, true) => f.write_str("ICMP echo reply")?,
            (Protocol::Tcp, false) => write!(f, "TCP SYN to port {}", self.port)?,
            (Protocol::Tcp, true) => write!(f, "TCP SYN-ACK from port {}", self.port)?,
            (Protocol::Udp, false) => write!(f, "UDP to port {}", self.port)?,
            (Protocol::Udp, true) => write!(f, "UDP from port {}", self.port)?,
        }
        write!(f, ", {} bytes", self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use zerocopy::FromZeros;

    fn packet(protocol: Protocol, is_v4: bool, size: u16) -> Packet {
        let address = |last| match is_v4 {
            true => Address::v4([10, 0, 1, last]),
            false => Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
        };
        let (src, dst) = (address(2), address(3));
        Packet { protocol, src, dst, port: 80, size, is_answer: false }
    }

    /// The checksum that an independent implementation finds, and the one that is there.
    fn checksums(bytes: &[u8]) -> (u16, u16) {
        let sliced = SlicedPacket::from_ethernet(bytes).unwrap();
        let (v4, v6) = match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => (Some(ip.header().to_header()), None),
            NetSlice::Ipv6(ip) => (None, Some(ip.header().to_header())),
            other => panic!("{other:?}"),
        };
        if let Some(ip) = &v4 {
            assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
        }
        match (sliced.transport.unwrap(), v4, v6) {
            (TransportSlice::Icmpv4(icmp), _, _) => {
                let header = icmp.header();
                (header.icmp_type.calc_checksum(icmp.payload()), header.checksum)
            }
            (TransportSlice::Icmpv6(icmp), _, Some(ip)) => {
                let header = icmp.header();
                let kind = header.icmp_type;
                let sum = kind.calc_checksum(ip.source, ip.destination, icmp.payload()).unwrap();
                (sum, header.checksum)
            }
            (TransportSlice::Tcp(tcp), Some(ip), _) => {
                (tcp.to_header().calc_checksum_ipv4(&ip, tcp.payload()).unwrap(), tcp.checksum())
            }
            (TransportSlice::Tcp(tcp), _, Some(ip)) => {
                (tcp.to_header().calc_checksum_ipv6(&ip, tcp.payload()).unwrap(), tcp.checksum())
            }
            (TransportSlice::Udp(udp), Some(ip), _) => {
                (udp.to_header().calc_checksum_ipv4(&ip, udp.payload()).unwrap(), udp.checksum())
            }
            (TransportSlice::Udp(udp), _, Some(ip)) => {
                (udp.to_header().calc_checksum_ipv6(&ip, udp.payload()).unwrap(), udp.checksum())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_independent_decoder_accepts_every_packet_and_its_answer() {
        let port = Port { mac: [2, 0, 0, 0, 0, 9], ..Port::new_zeroed() };
        for protocol in [Protocol::Icmp, Protocol::Tcp, Protocol::Udp] {
            for is_v4 in [true, false] {
                for size in [60, 84, 1426] {
                    let packet = packet(protocol, is_v4, size);
                    for packet in [packet, packet.answer()] {
                        let bytes = packet.frame(&port).bytes;
                        let (right, found) = checksums(&bytes);
                        assert_eq!(right, found, "{packet:?}");
                        assert_eq!(bytes.len(), Ethernet::LEN + usize::from(size), "{packet:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_answer_goes_back_to_the_port_that_asked() {
        let asked = packet(Protocol::Tcp, true, 60);
        let answer = asked.answer();
        assert_eq!((answer.src, answer.dst, answer.answer()), (asked.dst, asked.src, asked));
        assert_eq!(answer.l4(20)[..4], [0, 80, 0xc0, 0]);
        assert_eq!(answer.to_string(), "TCP SYN-ACK from port 80, 60 bytes");
    }
}
