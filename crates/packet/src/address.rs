//! The addresses that the tables are keyed by.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv4 or IPv6 address, 16 bytes in network order; IPv4 as `::ffff:a.b.c.d` (RFC 4291,
/// 2.5.5.2).
///
/// Two words instead of bytes, so that the kernel programs copy and compare words.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct Address {
    high: u64,
    low: u64,
}

impl Address {
    /// No address: `::`.
    pub const NONE: Self = Self { high: 0, low: 0 };

    /// An IPv4 address from its four bytes.
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        let [a, b, c, d] = bytes;
        Self { high: 0, low: u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d]) }
    }

    /// An IPv6 address from its sixteen bytes.
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self::from_octets(bytes)
    }

    /// From sixteen bytes, whichever family they are of.
    #[inline(always)]
    pub const fn from_octets(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            high: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            low: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// The sixteen bytes in network order.
    #[inline(always)]
    pub fn octets(self) -> [u8; 16] {
        zerocopy::transmute!(self)
    }

    /// The four bytes of an IPv4 address; the last four of any other.
    #[inline(always)]
    pub const fn v4_octets(self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = self.low.to_ne_bytes();
        [a, b, c, d]
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        let prefix = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        let mask = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        self.high == 0 && self.low & mask == prefix
    }

    /// Whether this is `::`, which stands for "none".
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.high == 0 && self.low == 0
    }

    /// The slot, 0–255, of this address in its network's endpoint table. The same on every host of
    /// the fleet, whatever its byte order.
    #[inline(always)]
    pub const fn slot(self) -> u8 {
        let mixed = (u64::from_be(self.high) ^ u64::from_be(self.low).rotate_left(29))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 56) as u8
    }

    /// Whether the first `len` bits are those of `other`; at most all 128 count.
    #[inline(always)]
    pub const fn shares_prefix(self, other: &Self, len: u8) -> bool {
        let high = u64::from_be(self.high ^ other.high);
        let low = u64::from_be(self.low ^ other.low);
        if len < 64 {
            len == 0 || high >> (64 - len) == 0
        } else {
            high == 0 && (len == 64 || low >> (128 - if len < 128 { len } else { 128 }) == 0)
        }
    }

    /// The two words, the first half of the address first.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// From its two words.
    #[inline(always)]
    pub const fn from_words([high, low]: [u64; 2]) -> Self {
        Self { high, low }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::v6(address.octets())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() {
            Ipv4Addr::from(address.v4_octets()).into()
        } else {
            Ipv6Addr::from(address.octets()).into()
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_kept_as_mapped_ipv6() {
        let address = Address::from(Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(address.octets(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3]);
        assert_eq!(address.v4_octets(), [10, 1, 2, 3]);
        assert!(address.is_v4());
        assert!(!Address::from(Ipv6Addr::LOCALHOST).is_v4());
    }

    #[test]
    fn slots_are_fixed_and_even() {
        // These values are part of the protocol between hosts: they never change.
        assert_eq!(Address::v4([10, 0, 0, 1]).slot(), SLOT_OF_10_0_0_1);
        let mut counts = [0u32; 256];
        for i in 0..65_536u32 {
            let [_, _, c, d] = i.to_be_bytes();
            counts[usize::from(Address::v4([10, 0, c, d]).slot())] += 1;
        }
        assert!(counts.iter().all(|&n| (150..400).contains(&n)), "{counts:?}");
    }

    #[test]
    fn prefixes_are_compared_bit_by_bit() {
        let address = |text: &str| Address::from(text.parse::<Ipv6Addr>().unwrap());
        let a = address("fd00:1:2:3:4:5:6:7");
        for (other, shared) in [
            ("fd00:1:2:3:4:5:6:6", 127),
            ("fd00:1:2:3:8000::", 64),
            ("fd00:1:2:2::", 63),
            ("::", 0),
        ] {
            for len in 0..=128 {
                assert_eq!(a.shares_prefix(&address(other), len), len <= shared, "{other} {len}");
            }
        }
        assert!(a.shares_prefix(&a, 128));
    }

    const SLOT_OF_10_0_0_1: u8 = 0;
}
