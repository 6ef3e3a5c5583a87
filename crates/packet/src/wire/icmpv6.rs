//! ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861).

use super::checksum;
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

wire! {
    /// The header, 8 bytes.
    pub struct Icmpv6 {
        /// Type.
        pub kind: u8,
        /// Code.
        pub code: u8,
        /// Checksum of the message and a pseudo header.
        pub checksum: U16,
        /// Depends on the type; packet too big: the MTU.
        pub data: U32,
    }

    /// A neighbour solicitation or advertisement with a link-layer address option, 32 bytes.
    pub struct Neighbour {
        /// Type, code 0, checksum and, for an advertisement, flags.
        pub icmp: Icmpv6,
        /// Who is asked for.
        pub target: [u8; 16],
        /// The option.
        pub option: LinkLayer,
    }

    /// A source or target link-layer address option, 8 bytes.
    pub struct LinkLayer {
        /// [`SOURCE_LINK_LAYER`] or [`TARGET_LINK_LAYER`].
        pub kind: u8,
        /// 1: eight bytes.
        pub len: u8,
        /// The MAC address.
        pub mac: [u8; 6],
    }

    /// A router advertisement with our three options, 64 bytes.
    pub struct RouterAdvertisement {
        /// Type 134, code 0, checksum; hop limit, flags and router lifetime.
        pub icmp: Icmpv6,
        /// Reachable time in ms; 0: not said.
        pub reachable: U32,
        /// Retransmission time in ms; 0: not said.
        pub retransmit: U32,
        /// The router's MAC address.
        pub source: LinkLayer,
        /// MTU option (type 5, length 1, 2 bytes zero).
        pub mtu_header: U32,
        /// The guest's MTU in bytes.
        pub mtu: U32,
        /// Prefix option.
        pub prefix: Prefix,
    }

    /// A prefix information option, 32 bytes.
    pub struct Prefix {
        /// 3.
        pub kind: u8,
        /// 4: thirty-two bytes.
        pub len: u8,
        /// Length of the prefix in bits.
        pub prefix_len: u8,
        /// [`ON_LINK`].
        pub flags: u8,
        /// Valid lifetime in seconds.
        pub valid: U32,
        /// Preferred lifetime in seconds.
        pub preferred: U32,
        /// Zero.
        pub reserved: U32,
        /// The prefix.
        pub prefix: [u8; 16],
    }
}

/// Type: packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Type: echo request.
pub const ECHO: u8 = 128;
/// Type: echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type: router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type: router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type: neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Type: neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Type: redirect.
pub const REDIRECT: u8 = 137;
/// Option: link-layer address of the sender.
pub const SOURCE_LINK_LAYER: u8 = 1;
/// Option: link-layer address of the target.
pub const TARGET_LINK_LAYER: u8 = 2;
/// Advertisement's flags: from a router, solicited, overrides.
pub const ROUTER_SOLICITED_OVERRIDE: u32 = 0xe000_0000;
/// Prefix flag: on link. Addresses are assigned, so hosts do not make their own.
pub const ON_LINK: u8 = 0x80;
/// The hop limit of neighbour discovery, which proves that a message is from the same link.
pub const HOP_LIMIT: u8 = 255;
/// The link-local address of every gateway.
pub const GATEWAY: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Whether a type belongs to neighbour discovery.
#[inline(always)]
pub const fn is_neighbour_discovery(kind: u8) -> bool {
    kind >= ROUTER_SOLICITATION && kind <= REDIRECT
}

/// The pseudo header's part of the checksum (RFC 8200, 8.1): to be added to the message's.
#[inline(always)]
pub fn pseudo_header(src: &[u8; 16], dst: &[u8; 16], len: u32) -> u32 {
    let sum = checksum::add(checksum::add(0, src), dst);
    sum + (len >> 16) + (len & 0xffff) + u32::from(super::ipv6::ICMPV6)
}

/// The checksum of a message of fixed layout whose own checksum field is zero.
#[inline(always)]
pub fn sum<T: IntoBytes + zerocopy::Immutable>(src: &[u8; 16], dst: &[u8; 16], message: &T) -> u16 {
    let pseudo = pseudo_header(src, dst, size_of::<T>() as u32);
    checksum::finish(checksum::add(pseudo, message.as_bytes()))
}

const _: () = assert!(Neighbour::LEN == 32 && RouterAdvertisement::LEN == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    #[test]
    fn layout() {
        let bytes = [2, 0, 0xab, 0xcd, 0, 0, 0x05, 0x92];
        let icmp = Icmpv6::read_from_bytes(&bytes).unwrap();
        assert_eq!((icmp.kind, icmp.code), (PACKET_TOO_BIG, 0));
        assert_eq!((icmp.checksum.get(), icmp.data.get()), (0xabcd, 1426));
    }

    #[test]
    fn a_router_advertisement_has_its_three_options() {
        let prefix = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let message = RouterAdvertisement {
            icmp: Icmpv6 {
                kind: ROUTER_ADVERTISEMENT,
                code: 0,
                checksum: U16::new(0xabcd),
                data: U32::new(64 << 24 | 9000),
            },
            reachable: U32::ZERO,
            retransmit: U32::ZERO,
            source: LinkLayer { kind: SOURCE_LINK_LAYER, len: 1, mac: [2, 0, 0, 0, 0, 1] },
            mtu_header: U32::new(0x0501_0000),
            mtu: U32::new(1426),
            prefix: Prefix {
                kind: 3,
                len: 4,
                prefix_len: 64,
                flags: ON_LINK,
                valid: U32::new(7200),
                preferred: U32::new(u32::MAX),
                reserved: U32::ZERO,
                prefix,
            },
        };
        let bytes = message.as_bytes();
        assert_eq!(bytes[..16], [134, 0, 0xab, 0xcd, 64, 0, 0x23, 0x28, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..32], [1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 0x92]);
        assert_eq!(
            bytes[32..48],
            [3, 4, 64, 0x80, 0, 0, 0x1c, 0x20, 255, 255, 255, 255, 0, 0, 0, 0]
        );
        assert_eq!(bytes[48..], prefix);
    }

    #[test]
    fn a_neighbour_advertisement_has_the_checksum_that_an_independent_encoder_gives() {
        let (src, dst) = (GATEWAY, [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        let message = Neighbour {
            icmp: Icmpv6 {
                kind: NEIGHBOUR_ADVERTISEMENT,
                code: 0,
                checksum: U16::ZERO,
                data: U32::new(ROUTER_SOLICITED_OVERRIDE),
            },
            target: src,
            option: LinkLayer { kind: TARGET_LINK_LAYER, len: 1, mac: [2, 0, 0, 0, 0, 1] },
        };
        let bytes = message.as_bytes();
        let kind = etherparse::Icmpv6Type::Unknown {
            type_u8: 136,
            code_u8: 0,
            bytes5to8: bytes[4..8].try_into().unwrap(),
        };
        let oracle = kind.calc_checksum(src, dst, &bytes[8..]).unwrap();
        assert_eq!(sum(&src, &dst, &message), oracle);
    }
}
