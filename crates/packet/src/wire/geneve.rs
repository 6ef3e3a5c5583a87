//! Geneve (RFC 8926) and Mizar's options, and the outer headers over IPv4.

use super::{Ethernet, Ipv4, Udp, ethernet, ipv4};
use crate::keys::Tag;
use zerocopy::byteorder::network_endian::{U16, U64};

wire! {
    /// The header without options, 8 bytes.
    pub struct Geneve {
        /// Version (2 bits, 0) and length of the options in words of four bytes (6 bits).
        pub version_len: u8,
        /// [`OAM`] and [`CRITICAL`].
        pub flags: u8,
        /// What follows: an EtherType.
        pub protocol: U16,
        /// Virtual network identifier: the VPC.
        pub vni: [u8; 3],
        /// Zero.
        pub reserved: u8,
    }

    /// Everything before the options, 50 bytes.
    pub struct Outer {
        /// Of the underlay.
        pub eth: Ethernet,
        /// Of the underlay, without options.
        pub ip: Ipv4,
        /// To port [`PORT`].
        pub udp: Udp,
        /// The tunnel.
        pub geneve: Geneve,
    }

    /// The header of an option, 4 bytes.
    pub struct OptionHeader {
        /// Who defined it.
        pub class: U16,
        /// Its type; the highest bit says that it is critical.
        pub kind: u8,
        /// Length of what follows in words of four bytes (lower 5 bits).
        pub len: u8,
    }

    /// The location option, 24 bytes: where the sender of the inner packet is.
    pub struct Location {
        /// Class [`CLASS`], kind [`LOCATION`] and marks, length 5.
        pub header: OptionHeader,
        /// The sender's host.
        pub host: [u8; 4],
        /// The sending endpoint's generation; 0 teaches nothing.
        pub generation: U64,
        /// Keyed tag, as in [`crate::keys`]; zeros where nothing is signed.
        pub tag: Tag,
    }
}

/// The UDP port.
pub const PORT: u16 = 6081;
/// Flag: a control packet.
pub const OAM: u8 = 0x80;
/// Flag: critical options are present.
pub const CRITICAL: u8 = 0x40;
/// Protocol: Ethernet (transparent Ethernet bridging).
pub const ETHERNET: u16 = 0x6558;
/// Protocol of control packets: local experimental EtherType 1 (IEEE 802).
pub const CONTROL: u16 = 0x88b5;
/// Option class, from the experimental range 0xff00–0xffff.
pub const CLASS: u16 = 0xff4d;
/// Option kind, lower four bits: location.
pub const LOCATION: u8 = 0x01;
/// Which bits of the kind name the option; the others are marks.
pub const KIND_MASK: u8 = 0x8f;
/// Mark: a bouncer had no row and sent the packet to another replica.
pub const MISSED: u8 = 0x10;
/// Mark: a host that no longer has the endpoint sent the packet back.
pub const STALE: u8 = 0x20;
/// Mark: the sender has learned nothing of where the destination is. Whoever has it teaches it,
/// even if the packet came straight to it, as to a bouncer or divider that it is too.
pub const ASKS: u8 = 0x40;
/// All marks.
pub const MARKS: u8 = MISSED | STALE | ASKS;
/// Bytes that every guest's MTU leaves for options.
pub const OPTION_ROOM: usize = Location::LEN;
/// What a guest's MTU is below its underlay's: outer headers, inner Ethernet header, options. The
/// outer Ethernet header does not count; the inner one, of the same length, stands for it here.
pub const OVERHEAD: usize = Outer::LEN + OPTION_ROOM;
/// The outer TTL at departure.
pub const TTL: u8 = 255;
/// What each bounce or divide takes off the outer TTL, so that a frame is forwarded at most seven
/// times whatever the tables say, and routers of the underlay have 31 hops between two hosts.
pub const FORWARD_COST: u8 = 32;

impl Geneve {
    /// Length of the options in bytes, 0–252.
    #[inline(always)]
    pub const fn options_len(&self) -> usize {
        (self.version_len & 0x3f) as usize * 4
    }

    /// The VNI as a number.
    #[inline(always)]
    pub const fn vni(&self) -> u32 {
        let [a, b, c] = self.vni;
        u32::from_be_bytes([0, a, b, c])
    }
}

impl Location {
    /// An option without marks and tag.
    #[inline(always)]
    pub const fn new(host: [u8; 4], generation: u64) -> Self {
        let header = OptionHeader {
            class: U16::new(CLASS),
            kind: LOCATION,
            len: ((Self::LEN - OptionHeader::LEN) / 4) as u8,
        };
        Self { header, host, generation: U64::new(generation), tag: [0; 8] }
    }
}

impl OptionHeader {
    /// Whether this is a location option.
    #[inline(always)]
    pub fn is_location(&self) -> bool {
        self.class.get() == CLASS
            && self.kind & KIND_MASK == LOCATION
            && self.len & 0x1f == ((Location::LEN - Self::LEN) / 4) as u8
    }

    /// Length of the whole option in bytes, 4–128.
    #[inline(always)]
    pub const fn option_len(&self) -> usize {
        Self::LEN + (self.len & 0x1f) as usize * 4
    }
}

/// What the outer headers are made of, beyond constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterSpec {
    /// This host's NIC.
    pub src_mac: [u8; 6],
    /// The next hop.
    pub dst_mac: [u8; 6],
    /// This host.
    pub src: [u8; 4],
    /// The host that it goes to.
    pub dst: [u8; 4],
    /// Outer DSCP and ECN.
    pub tos: u8,
    /// Hash of the inner flow, for the source port.
    pub hash: u16,
    /// VNI.
    pub vni: u32,
    /// Length of the options in bytes.
    pub options_len: usize,
    /// Length of what follows the options, in bytes.
    pub payload_len: usize,
}

impl Outer {
    /// The headers of a tunnelled Ethernet frame.
    ///
    /// The lengths of a buffer that will be segmented wrap; whoever segments it writes them again.
    #[inline(always)]
    pub fn new(spec: &OuterSpec) -> Self {
        let udp_payload = (Geneve::LEN + spec.options_len + spec.payload_len) as u16;
        let [_, a, b, c] = spec.vni.to_be_bytes();
        Self {
            eth: Ethernet::new(spec.dst_mac, spec.src_mac, ethernet::IPV4),
            ip: Ipv4::new(
                udp_payload.wrapping_add(Udp::LEN as u16),
                ipv4::UDP,
                spec.tos,
                TTL,
                spec.src,
                spec.dst,
            ),
            udp: Udp::new(0xc000 | spec.hash, PORT, udp_payload),
            geneve: Geneve {
                version_len: (spec.options_len / 4) as u8,
                flags: 0,
                protocol: U16::new(ETHERNET),
                vni: [a, b, c],
                reserved: 0,
            },
        }
    }
}

const _: () = assert!(Outer::LEN == 50 && Location::LEN == 24 && OVERHEAD == 74);

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    const SPEC: OuterSpec = OuterSpec {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        src: [100, 64, 0, 1],
        dst: [100, 64, 0, 3],
        tos: 0,
        hash: 0x0123,
        vni: 0xabcdef,
        options_len: Location::LEN,
        payload_len: 100,
    };

    #[test]
    fn outer_headers() {
        let outer = Outer::new(&SPEC);
        let bytes = outer.as_bytes();
        assert_eq!(bytes[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(bytes[14..24], [0x45, 0, 0, 160, 0, 0, 0x40, 0, 255, 17]);
        assert_eq!(bytes[26..34], [100, 64, 0, 1, 100, 64, 0, 3]);
        assert_eq!(bytes[34..42], [0xc1, 0x23, 0x17, 0xc1, 0, 140, 0, 0]);
        assert_eq!(bytes[42..], [6, 0, 0x65, 0x58, 0xab, 0xcd, 0xef, 0]);
        assert_eq!(outer.geneve.vni(), 0xabcdef);
        assert_eq!(outer.geneve.options_len(), 24);
    }

    #[test]
    fn location_option() {
        let option = Location::new([100, 64, 0, 1], 0x0001_0000_0000_0007);
        assert_eq!(
            option.as_bytes(),
            [0xff, 0x4d, 1, 5, 100, 64, 0, 1, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert!(option.header.is_location());
        let mut marked = option.header;
        marked.kind |= MISSED | STALE;
        assert!(marked.is_location());
        marked.kind |= 0x80;
        assert!(!marked.is_location(), "a critical option is somebody else's");
    }

    #[test]
    fn an_independent_decoder_agrees() {
        let outer = Outer::new(&SPEC);
        let mut frame = outer.as_bytes().to_vec();
        frame.extend([0; 124]);
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("{sliced:?}") };
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        assert!(ip.header().dont_fragment());
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!() };
        assert_eq!((udp.destination_port(), udp.payload().len()), (6081, 132));
    }
}
