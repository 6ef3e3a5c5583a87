//! What the journey needs to know of an inner packet: parsed once, by value.

use crate::wire::ipv6::Extension;
use crate::wire::tcp::Tcp;
use crate::wire::{Ethernet, Ipv4, Ipv6, Udp, dhcp, ethernet, icmpv4, icmpv6, ipv4, ipv6};
use crate::{Address, Frame, Reason};
use zerocopy::byteorder::network_endian::U32;

/// Most IPv6 extension headers that are looked behind: hop-by-hop, destination, routing, fragment,
/// destination.
const EXTENSIONS: usize = 5;

/// What stands behind extension headers.
enum Behind {
    /// The header of this protocol, at this offset.
    Header(u8, usize),
    /// The rest of a packet, whose headers were in its first fragment.
    LaterFragment,
    /// They do not end within the frame, or within as many as are looked behind.
    Unknown,
}

/// Whether UDP's header at an offset names this destination port, if there is one.
#[inline(always)]
fn is_to<F: Frame>(frame: &F, at: usize, port: u16) -> Result<bool, Reason> {
    frame.load::<Udp>(at).map(|udp| udp.dst.get() == port)
}

/// An inner IP packet's addresses and what its way depends on.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// EtherType: IPv4 or IPv6.
    pub ethertype: u16,
    /// Offset of the IP header in the frame.
    pub l3: usize,
    /// Offset of what follows the IP header.
    pub l4: usize,
    /// Protocol number or next header.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Whether it is a fragment or has IPv6 extension headers, so that `l4` is not the L4 header.
    pub opaque: bool,
}

impl Flow {
    /// Parses the IP header at `l3`.
    ///
    /// # Errors
    /// [`Reason::Short`], [`Reason::BadIp`] if it contradicts itself or the frame,
    /// [`Reason::NotIp`] for any other EtherType.
    #[inline(always)]
    pub fn parse<F: Frame>(frame: &F, l3: usize, ethertype: u16) -> Result<Self, Reason> {
        match ethertype {
            ethernet::IPV4 => Self::parse_v4(frame, l3),
            ethernet::IPV6 => Self::parse_v6(frame, l3),
            _ => Err(Reason::NotIp),
        }
    }

    #[inline(always)]
    fn parse_v4<F: Frame>(frame: &F, l3: usize) -> Result<Self, Reason> {
        let ip: Ipv4 = frame.load(l3)?;
        let header = ip.header_len();
        if ip.version_ihl >> 4 != 4 || header < Ipv4::LEN {
            return Err(Reason::BadIp);
        }
        let len = usize::from(ip.len.get());
        if frame.segment_payload() == 0 && (len < header || !frame.has(l3 + len)) {
            return Err(Reason::BadIp);
        }
        Ok(Self {
            src: Address::v4(ip.src),
            dst: Address::v4(ip.dst),
            ethertype: ethernet::IPV4,
            l3,
            l4: l3 + header,
            protocol: ip.protocol,
            ttl: ip.ttl,
            tos: ip.tos,
            opaque: ip.is_fragment(),
        })
    }

    #[inline(always)]
    fn parse_v6<F: Frame>(frame: &F, l3: usize) -> Result<Self, Reason> {
        let ip: Ipv6 = frame.load(l3)?;
        let len = usize::from(ip.payload_len.get());
        let overruns = !frame.has(l3 + Ipv6::LEN + len);
        if ip.version() != 6 || (frame.segment_payload() == 0 && overruns) {
            return Err(Reason::BadIp);
        }
        Ok(Self {
            src: Address::v6(ip.src),
            dst: Address::v6(ip.dst),
            ethertype: ethernet::IPV6,
            l3,
            l4: l3 + Ipv6::LEN,
            protocol: ip.next_header,
            ttl: ip.hop_limit,
            tos: ip.class(),
            opaque: ip.has_extensions(),
        })
    }

    /// Whether it is IPv4.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.ethertype == ethernet::IPV4
    }

    /// The two ports of TCP or UDP, or of anything that can be told apart by them; zero otherwise.
    #[inline(always)]
    pub fn ports<F: Frame>(&self, frame: &F) -> u32 {
        if self.opaque || !matches!(self.protocol, ipv4::TCP | ipv4::UDP) {
            return 0;
        }
        frame.load::<U32>(self.l4).map_or(0, U32::get)
    }

    /// A hash of the 5-tuple, or of the 3-tuple of fragments: 14 bits, for the outer source port.
    #[inline(always)]
    pub fn hash<F: Frame>(&self, frame: &F) -> u16 {
        let [src_high, src_low] = self.src.words();
        let [dst_high, dst_low] = self.dst.words();
        let tail = u64::from(self.ports(frame)) << 8 | u64::from(self.protocol);
        let mixed = (src_high ^ src_low)
            .wrapping_add((dst_high ^ dst_low).rotate_left(23))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 31) ^ tail).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 50) as u16
    }

    /// Length of the outermost IP packet of the largest segment that a buffer will be cut into, if
    /// segments have so many bytes of payload.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before its L4 header does.
    #[inline(always)]
    pub fn segment_len<F: Frame>(&self, frame: &F, payload: usize) -> Result<usize, Reason> {
        let l4 = if self.protocol == ipv4::TCP {
            frame.load::<Tcp>(self.l4)?.header_len()
        } else {
            Udp::LEN
        };
        Ok(self.l4 - Ethernet::LEN + l4 + payload)
    }

    /// The type of an ICMPv6 message that stands directly after the IPv6 header.
    #[inline(always)]
    pub fn icmpv6_kind<F: Frame>(&self, frame: &F) -> Option<u8> {
        if self.is_v4() || self.protocol != ipv6::ICMPV6 {
            return None;
        }
        frame.load::<[u8; 2]>(self.l4).ok().map(|[kind, _]| kind)
    }

    /// Whether `l4` is the L4 header: of a whole packet or of the first fragment of an IPv4 packet.
    #[inline(always)]
    fn has_l4<F: Frame>(&self, frame: &F) -> bool {
        if !self.opaque {
            return true;
        }
        self.is_v4() && frame.load::<Ipv4>(self.l3).is_ok_and(|ip| !ip.is_later_fragment())
    }

    /// Whether this is for a DHCP client, over IPv4 or IPv6, as only servers send. Clients look at
    /// their own port and not at the one that a message comes from, so neither does this. The first
    /// fragment says so, and without it the others come to nothing. Behind more IPv6 extension
    /// headers than anybody sends it could be anything, and so it counts as such.
    #[inline(always)]
    pub fn is_for_dhcp_client<F: Frame>(&self, frame: &F) -> bool {
        if self.opaque && !self.is_v4() {
            return match self.behind_extensions(frame) {
                Behind::Header(ipv4::UDP, at) => {
                    is_to(frame, at, dhcp::V6_CLIENT_PORT).unwrap_or(true)
                }
                Behind::Header(..) | Behind::LaterFragment => false,
                Behind::Unknown => true,
            };
        }
        if self.protocol != ipv4::UDP || !self.has_l4(frame) {
            return false;
        }
        let client = if self.is_v4() { dhcp::CLIENT_PORT } else { dhcp::V6_CLIENT_PORT };
        is_to(frame, self.l4, client).unwrap_or(false)
    }

    /// What stands behind the extension headers of an IPv6 packet.
    #[inline(always)]
    fn behind_extensions<F: Frame>(&self, frame: &F) -> Behind {
        let (mut next, mut at) = (self.protocol, self.l4);
        for _ in 0..EXTENSIONS {
            if !ipv6::is_extension(next) {
                return Behind::Header(next, at);
            }
            let Ok(extension) = frame.load::<Extension>(at) else { return Behind::Unknown };
            if extension.is_later_fragment(next) {
                return Behind::LaterFragment;
            }
            at += extension.header_len(next);
            next = extension.next_header;
        }
        if ipv6::is_extension(next) { Behind::Unknown } else { Behind::Header(next, at) }
    }

    /// Whether this is an ICMP message for IPv4 that only routers send: redirect, advertisement.
    #[inline(always)]
    pub fn is_icmpv4_of_router<F: Frame>(&self, frame: &F) -> bool {
        if !self.is_v4() || self.protocol != ipv4::ICMP || !self.has_l4(frame) {
            return false;
        }
        let kind = frame.load::<[u8; 2]>(self.l4).map(|[kind, _]| kind);
        matches!(kind, Ok(icmpv4::REDIRECT | icmpv4::ROUTER_ADVERTISEMENT))
    }

    /// Whether this is neighbour discovery, which only a link's own hosts may send.
    #[inline(always)]
    pub fn is_neighbour_discovery<F: Frame>(&self, frame: &F) -> bool {
        self.icmpv6_kind(frame).is_some_and(icmpv6::is_neighbour_discovery)
    }
}
