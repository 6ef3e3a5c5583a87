//! IPv6 (RFC 8200).

use zerocopy::byteorder::network_endian::{U16, U32};

wire! {
    /// The fixed header, 40 bytes.
    pub struct Ipv6 {
        /// Version 6, traffic class, flow label.
        pub version_class_flow: U32,
        /// Bytes after this header.
        pub payload_len: U16,
        /// What follows.
        pub next_header: u8,
        /// Hop limit.
        pub hop_limit: u8,
        /// Source.
        pub src: [u8; 16],
        /// Destination.
        pub dst: [u8; 16],
    }
}

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next header: destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

impl Ipv6 {
    /// A header of `payload` bytes from `src` to `dst`.
    #[inline(always)]
    pub fn new(payload: u16, next: u8, hop_limit: u8, src: [u8; 16], dst: [u8; 16]) -> Self {
        Self {
            version_class_flow: U32::new(6 << 28),
            payload_len: U16::new(payload),
            next_header: next,
            hop_limit,
            src,
            dst,
        }
    }

    /// The version, which should be 6.
    #[inline(always)]
    pub fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// The traffic class: DSCP and ECN.
    #[inline(always)]
    pub fn class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Replaces the traffic class.
    #[inline(always)]
    pub fn set_class(&mut self, class: u8) {
        let rest = self.version_class_flow.get() & !(0xff << 20);
        self.version_class_flow = U32::new(rest | u32::from(class) << 20);
    }

    /// Whether other headers come before the payload proper.
    #[inline(always)]
    pub const fn has_extensions(&self) -> bool {
        is_extension(self.next_header)
    }
}

wire! {
    /// The beginning of any extension header, 8 bytes, which is all of a fragment header.
    pub struct Extension {
        /// What follows.
        pub next_header: u8,
        /// Length in units of 8 bytes beyond the first 8; nothing in a fragment header.
        pub len: u8,
        /// Of a fragment header: offset in units of 8 bytes, in the upper 13 bits.
        pub fragment: U16,
        /// Anything.
        pub rest: U32,
    }
}

impl Extension {
    /// Length in bytes of a header of this kind.
    #[inline(always)]
    pub const fn header_len(&self, kind: u8) -> usize {
        if kind == FRAGMENT { Self::LEN } else { Self::LEN + self.len as usize * 8 }
    }

    /// Whether a header of this kind says that the packet's headers were in an earlier fragment.
    #[inline(always)]
    pub fn is_later_fragment(&self, kind: u8) -> bool {
        kind == FRAGMENT && self.fragment.get() >> 3 != 0
    }
}

/// Whether a next header is an extension header.
#[inline(always)]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// Whether an address is a multicast group.
#[inline(always)]
pub const fn is_multicast(address: [u8; 16]) -> bool {
    address[0] == 0xff
}

/// Whether an address is link-local.
#[inline(always)]
pub const fn is_link_local(address: [u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// Whether an address is `::` or `::1` or IPv4-mapped, none of which is an endpoint's.
#[inline(always)]
pub fn is_reserved(address: [u8; 16]) -> bool {
    let [high, low]: [u64; 2] = zerocopy::transmute!(address);
    high == 0 && u64::from_be(low) < 0x0001_0000_0000_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use zerocopy::{FromBytes, IntoBytes};

    #[test]
    fn layout() {
        let header = Ipv6::new(8, ICMPV6, 255, Ipv6Addr::LOCALHOST.octets(), [0xff; 16]);
        assert_eq!(header.as_bytes()[..8], [0x60, 0, 0, 0, 0, 8, 58, 255]);
        assert_eq!(Ipv6::LEN, 40);
    }

    #[test]
    fn extension_headers_say_how_long_they_are() {
        let read = |bytes: &[u8]| Extension::read_from_bytes(bytes).unwrap();
        let options = read(&[17, 1, 1, 12, 0, 0, 0, 0]);
        assert_eq!((options.next_header, options.header_len(HOP_BY_HOP)), (17, 16));
        assert!(!options.is_later_fragment(HOP_BY_HOP));
        // Offset 0 and more to come; then offset 8 and none.
        let first = read(&[17, 9, 0, 1, 0, 0, 0, 7]);
        let later = read(&[17, 9, 0, 8, 0, 0, 0, 7]);
        assert_eq!((first.header_len(FRAGMENT), later.header_len(FRAGMENT)), (8, 8));
        assert!(!first.is_later_fragment(FRAGMENT) && later.is_later_fragment(FRAGMENT));
    }

    #[test]
    fn the_traffic_class_lies_across_bytes() {
        let mut header = Ipv6::new(0, 0, 0, [0; 16], [0; 16]);
        header.set_class(0xab);
        assert_eq!(header.as_bytes()[..4], [0x6a, 0xb0, 0, 0]);
        assert_eq!((header.version(), header.class()), (6, 0xab));
    }

    #[test]
    fn what_is_reserved() {
        let is = |text: &str| is_reserved(text.parse::<Ipv6Addr>().unwrap().octets());
        assert!(is("::") && is("::1") && is("::ffff:10.0.0.1"));
        assert!(!is("fd00::1") && !is("2001:db8::1") && !is("1::"));
    }
}
