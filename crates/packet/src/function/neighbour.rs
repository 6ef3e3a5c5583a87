//! Answers neighbour and router solicitations (RFC 4861): every address of a guest's network is at
//! the gateway's MAC address, and the gateway is the router.

use crate::tables::Port;
use crate::wire::icmpv6::{self, Icmpv6, LinkLayer, Neighbour, Prefix, RouterAdvertisement};
use crate::wire::{Ethernet, Ipv6, ethernet, ipv6};
use crate::{Address, Frame, Reason};
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

/// How long a router advertisement is good for, in seconds; it is asked for again before.
const LIFETIME: u32 = 9000;
/// The hop limit that guests are told to use.
const HOP_LIMIT: u32 = 64;
/// Offset of the ICMPv6 message.
const ICMP: usize = Ethernet::LEN + Ipv6::LEN;

/// Turns a solicitation into its advertisement.
///
/// # Errors
/// [`Reason::BadIp`] if it is not one of this link, [`Reason::SpoofedAddress`] if it asks in
/// another's name, [`Reason::Unanswered`] for duplicate address detection and addresses that are
/// not the network's.
#[inline(always)]
pub fn answer<F: Frame>(frame: &mut F, port: &Port) -> Result<(), Reason> {
    let ip: Ipv6 = frame.load(Ethernet::LEN)?;
    let icmp: Icmpv6 = frame.load(ICMP)?;
    if ip.hop_limit != icmpv6::HOP_LIMIT || ip.next_header != ipv6::ICMPV6 || icmp.code != 0 {
        return Err(Reason::BadIp);
    }
    if port.v6.is_none() {
        return Err(Reason::Unanswered);
    }
    let unspecified = ip.src == [0; 16];
    if !unspecified && !ipv6::is_link_local(ip.src) && Address::v6(ip.src) != port.v6 {
        return Err(Reason::SpoofedAddress);
    }
    if icmp.kind == icmpv6::ROUTER_SOLICITATION {
        let dst = if unspecified { ALL_NODES } else { ip.src };
        return advertise_router(frame, port, dst);
    }
    if unspecified {
        return Err(Reason::Unanswered);
    }
    let target: [u8; 16] = frame.load(ICMP + Icmpv6::LEN)?;
    let gateway = target == icmpv6::GATEWAY;
    if !gateway && (Address::v6(target) == port.v6 || !port.contains_v6(&Address::v6(target))) {
        return Err(Reason::Unanswered);
    }
    advertise_neighbour(frame, port, target, ip.src)
}

const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[inline(always)]
fn advertise_neighbour<F: Frame>(
    frame: &mut F,
    port: &Port,
    target: [u8; 16],
    dst: [u8; 16],
) -> Result<(), Reason> {
    let mut message = Neighbour {
        icmp: Icmpv6 {
            kind: icmpv6::NEIGHBOUR_ADVERTISEMENT,
            code: 0,
            checksum: U16::ZERO,
            data: U32::new(icmpv6::ROUTER_SOLICITED_OVERRIDE),
        },
        target,
        option: LinkLayer { kind: icmpv6::TARGET_LINK_LAYER, len: 1, mac: ethernet::GATEWAY },
    };
    message.icmp.checksum = icmpv6::sum(&target, &dst, &message).into();
    put(frame, port, target, dst, &message)
}

#[inline(always)]
fn advertise_router<F: Frame>(frame: &mut F, port: &Port, dst: [u8; 16]) -> Result<(), Reason> {
    let source = LinkLayer { kind: icmpv6::SOURCE_LINK_LAYER, len: 1, mac: ethernet::GATEWAY };
    let mut message = RouterAdvertisement {
        icmp: Icmpv6 {
            kind: icmpv6::ROUTER_ADVERTISEMENT,
            code: 0,
            checksum: U16::ZERO,
            data: U32::new(HOP_LIMIT << 24 | LIFETIME),
        },
        reachable: U32::ZERO,
        retransmit: U32::ZERO,
        source,
        mtu_header: U32::new(0x0501_0000),
        mtu: U32::new(u32::from(port.mtu)),
        prefix: Prefix {
            kind: 3,
            len: 4,
            prefix_len: port.v6_prefix,
            flags: icmpv6::ON_LINK,
            valid: U32::new(u32::MAX),
            preferred: U32::new(u32::MAX),
            reserved: U32::ZERO,
            prefix: port.v6_network.octets(),
        },
    };
    message.icmp.checksum = icmpv6::sum(&icmpv6::GATEWAY, &dst, &message).into();
    put(frame, port, icmpv6::GATEWAY, dst, &message)
}

/// Replaces the frame by a message from the gateway to the guest.
#[inline(always)]
fn put<F: Frame, M: IntoBytes + Immutable>(
    frame: &mut F,
    port: &Port,
    src: [u8; 16],
    dst: [u8; 16],
    message: &M,
) -> Result<(), Reason> {
    let len = size_of::<M>();
    frame.resize(ICMP + len)?;
    frame.store(0, &Ethernet::new(port.mac, ethernet::GATEWAY, ethernet::IPV6))?;
    let ip = Ipv6::new(len as u16, ipv6::ICMPV6, icmpv6::HOP_LIMIT, src, dst);
    frame.store(Ethernet::LEN, &ip)?;
    frame.store(ICMP, message)
}
