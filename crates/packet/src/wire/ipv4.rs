//! IPv4 (RFC 791).

use super::checksum;
use zerocopy::IntoBytes;
use zerocopy::byteorder::network_endian::U16;

wire! {
    /// The header without options, 20 bytes.
    pub struct Ipv4 {
        /// Version 4 and the header's length in words of four bytes.
        pub version_ihl: u8,
        /// DSCP and ECN.
        pub tos: u8,
        /// Length of the packet in bytes.
        pub len: U16,
        /// Identification.
        pub id: U16,
        /// Flags and fragment offset.
        pub fragment: U16,
        /// Time to live.
        pub ttl: u8,
        /// What follows.
        pub protocol: u8,
        /// Checksum of the header.
        pub checksum: U16,
        /// Source.
        pub src: [u8; 4],
        /// Destination.
        pub dst: [u8; 4],
    }
}

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Version 4 with a header of 20 bytes.
pub const NO_OPTIONS: u8 = 0x45;
/// "Don't fragment".
pub const DF: u16 = 0x4000;
/// Set if the packet is a fragment: "more fragments" or an offset.
pub const FRAGMENT_MASK: u16 = 0x3fff;
/// The fragment offset, in units of eight bytes.
pub const OFFSET_MASK: u16 = 0x1fff;
/// The ECN bits of `tos` (RFC 3168).
pub const ECN_MASK: u8 = 3;

impl Ipv4 {
    /// A header without options, with its checksum: `payload` bytes from `src` to `dst`.
    #[inline(always)]
    pub fn new(payload: u16, protocol: u8, tos: u8, ttl: u8, src: [u8; 4], dst: [u8; 4]) -> Self {
        let mut header = Self {
            version_ihl: NO_OPTIONS,
            tos,
            len: U16::new(payload.wrapping_add(Self::LEN as u16)),
            id: U16::ZERO,
            fragment: U16::new(DF),
            ttl,
            protocol,
            checksum: U16::ZERO,
            src,
            dst,
        };
        header.checksum = U16::new(header.sum());
        header
    }

    /// The checksum that the header should carry.
    #[inline(always)]
    pub fn sum(&self) -> u16 {
        let header = Self { checksum: U16::ZERO, ..*self };
        checksum::finish(checksum::add(0, header.as_bytes()))
    }

    /// Length of the header with its options, in bytes.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether this is a fragment, the first one included.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & FRAGMENT_MASK != 0
    }

    /// Whether this is a fragment other than the first one.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.get() & OFFSET_MASK != 0
    }
}

/// The mask of a prefix of `len` bits, as a number; at most all 32 count.
#[inline(always)]
pub const fn mask(len: u8) -> u32 {
    match u32::MAX.checked_shl(32u32.saturating_sub(len as u32)) {
        Some(mask) => mask,
        None => 0,
    }
}

/// Whether an address can be a destination of unicast between endpoints.
#[inline(always)]
pub const fn is_unicast(address: [u8; 4]) -> bool {
    address[0] != 0 && address[0] != 127 && address[0] < 224
}

/// Whether an address is link-local (RFC 3927).
#[inline(always)]
pub const fn is_link_local(address: [u8; 4]) -> bool {
    address[0] == 169 && address[1] == 254
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_and_checksum() {
        // From a real ping: 192.168.0.1 → 192.168.0.199, UDP, 115 bytes.
        let bytes = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        let header = Ipv4::new(95, UDP, 0, 64, [192, 168, 0, 1], [192, 168, 0, 199]);
        assert_eq!(header.as_bytes(), bytes);
        assert!(!header.is_fragment());
        assert_eq!(header.header_len(), 20);
    }

    #[test]
    fn masks_of_prefixes() {
        for (len, expected) in [(0, 0), (1, 0x8000_0000), (24, 0xffff_ff00), (32, !0), (33, !0)] {
            assert_eq!(mask(len), expected);
        }
        assert_eq!(mask(u8::MAX), !0);
    }

    #[test]
    fn what_is_unicast() {
        for address in [[10, 0, 0, 1], [1, 1, 1, 1], [223, 255, 255, 255]] {
            assert!(is_unicast(address));
        }
        for address in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
            assert!(!is_unicast(address));
        }
    }
}
