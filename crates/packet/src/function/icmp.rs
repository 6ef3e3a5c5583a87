//! Answers of the gateway by ICMP: echo replies, and errors about packets that cannot go on.

use crate::tables::Port;
use crate::wire::icmpv4::{self, Icmpv4};
use crate::wire::icmpv6::{self, Icmpv6};
use crate::wire::{Ethernet, Ipv4, Ipv6, checksum, ethernet, ipv4, ipv6};
use crate::{Flow, Frame, Reason};
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is larger than this MTU, in bytes.
    TooBig(u32),
    /// Its TTL or hop limit has come to its end.
    TtlExceeded,
}

/// The TTL of what the gateway sends.
const TTL: u8 = 64;

/// Turns an echo request into its reply.
///
/// # Errors
/// [`Reason::NotIp`], [`Reason::BadIp`], [`Reason::Short`].
#[inline(always)]
pub fn echo<F: Frame>(frame: &mut F, port: &Port) -> Result<(), Reason> {
    let eth: Ethernet = frame.load(0)?;
    let ethertype = eth.ethertype.get();
    let l4 = match ethertype {
        ethernet::IPV4 => {
            let ip: Ipv4 = frame.load(Ethernet::LEN)?;
            let header = ip.header_len();
            let mut reply = Ipv4 { src: ip.dst, dst: ip.src, ttl: TTL, ..ip };
            let words = |ttl: u8| u16::from_be_bytes([ttl, ip.protocol]);
            reply.checksum = checksum::replace(ip.checksum.get(), words(ip.ttl), words(TTL)).into();
            frame.store(Ethernet::LEN, &reply)?;
            Ethernet::LEN + header
        }
        ethernet::IPV6 => {
            let ip: Ipv6 = frame.load(Ethernet::LEN)?;
            let reply = Ipv6 { src: ip.dst, dst: ip.src, hop_limit: TTL, ..ip };
            frame.store(Ethernet::LEN, &reply)?;
            Ethernet::LEN + Ipv6::LEN
        }
        _ => return Err(Reason::NotIp),
    };
    let [kind, code]: [u8; 2] = frame.load(l4)?;
    let reply = if kind == icmpv4::ECHO { icmpv4::ECHO_REPLY } else { icmpv6::ECHO_REPLY };
    let word = |kind: u8| u16::from_be_bytes([kind, code]);
    frame.replace_l4(l4 + 2, l4, word(kind), word(reply))?;
    frame.store(0, &Ethernet::new(port.mac, ethernet::GATEWAY, ethertype))
}

/// Turns a packet into an error about it, from the gateway to the guest.
///
/// # Errors
/// [`Reason::Unanswered`] if the packet is such an error itself or a later fragment (RFC 1122,
/// 3.2.2).
#[inline(always)]
pub fn error<F: Frame>(frame: &mut F, port: &Port, error: Error) -> Result<(), Reason> {
    let eth: Ethernet = frame.load(0)?;
    match eth.ethertype.get() {
        ethernet::IPV4 => error_v4(frame, port, error),
        ethernet::IPV6 => error_v6(frame, port, error),
        _ => Err(Reason::NotIp),
    }
}

wire! {
    /// An ICMP error over IPv4, 70 bytes: it quotes the IP header and eight bytes more.
    pub struct ErrorV4 {
        /// To the guest.
        pub eth: Ethernet,
        /// From the gateway.
        pub ip: Ipv4,
        /// The error.
        pub icmp: Icmpv4,
        /// The start of the packet.
        pub quote: [u8; 28],
    }

    /// An ICMPv6 error, 110 bytes: it quotes the IPv6 header and eight bytes more.
    pub struct ErrorV6 {
        /// To the guest.
        pub eth: Ethernet,
        /// From the gateway.
        pub ip: Ipv6,
        /// The error.
        pub icmp: Icmpv6,
        /// The start of the packet.
        pub quote: [u8; 48],
    }
}

#[inline(always)]
fn error_v4<F: Frame>(frame: &mut F, port: &Port, error: Error) -> Result<(), Reason> {
    let ip: Ipv4 = frame.load(Ethernet::LEN)?;
    let quote: [u8; 28] = frame.load(Ethernet::LEN)?;
    let about_error = ip.protocol == ipv4::ICMP && {
        let [kind, _]: [u8; 2] = frame.load(Ethernet::LEN + ip.header_len())?;
        kind != icmpv4::ECHO && kind != icmpv4::ECHO_REPLY
    };
    if ip.is_later_fragment() || about_error {
        return Err(Reason::Unanswered);
    }
    let (kind, code, mtu) = match error {
        Error::TooBig(mtu) => (icmpv4::UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED, mtu as u16),
        Error::TtlExceeded => (icmpv4::TIME_EXCEEDED, 0, 0),
    };
    let mut icmp = Icmpv4 { kind, code, checksum: U16::ZERO, high: U16::ZERO, low: U16::new(mtu) };
    let sum = checksum::add(checksum::add(0, icmp.as_bytes()), &quote);
    icmp.checksum = checksum::finish(sum).into();
    let payload = (Icmpv4::LEN + quote.len()) as u16;
    let ip = Ipv4::new(payload, ipv4::ICMP, 0, TTL, port.v4_gateway, ip.src);
    let eth = Ethernet::new(port.mac, ethernet::GATEWAY, ethernet::IPV4);
    frame.resize(ErrorV4::LEN)?;
    frame.store(0, &ErrorV4 { eth, ip, icmp, quote })
}

#[inline(always)]
fn error_v6<F: Frame>(frame: &mut F, port: &Port, error: Error) -> Result<(), Reason> {
    let flow = Flow::parse(frame, Ethernet::LEN, ethernet::IPV6);
    let kind = flow.ok().and_then(|flow| flow.icmpv6_kind(frame));
    if kind.is_some_and(|kind| kind < icmpv6::ECHO) {
        return Err(Reason::Unanswered);
    }
    let ip: Ipv6 = frame.load(Ethernet::LEN)?;
    let quote: [u8; 48] = frame.load(Ethernet::LEN)?;
    let (kind, data) = match error {
        Error::TooBig(mtu) => (icmpv6::PACKET_TOO_BIG, mtu),
        Error::TtlExceeded => (icmpv6::TIME_EXCEEDED, 0),
    };
    let mut icmp = Icmpv6 { kind, code: 0, checksum: U16::ZERO, data: U32::new(data) };
    let src = port.v6_gateway.octets();
    let payload = (Icmpv6::LEN + quote.len()) as u16;
    let pseudo = icmpv6::pseudo_header(&src, &ip.src, u32::from(payload));
    let sum = checksum::add(checksum::add(pseudo, icmp.as_bytes()), &quote);
    icmp.checksum = checksum::finish(sum).into();
    let ip = Ipv6::new(payload, ipv6::ICMPV6, TTL, src, ip.src);
    let eth = Ethernet::new(port.mac, ethernet::GATEWAY, ethernet::IPV6);
    frame.resize(ErrorV6::LEN)?;
    frame.store(0, &ErrorV6 { eth, ip, icmp, quote })
}
