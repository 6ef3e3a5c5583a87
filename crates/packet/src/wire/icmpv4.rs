//! ICMP for IPv4 (RFC 792).

use zerocopy::byteorder::network_endian::U16;

wire! {
    /// The header, 8 bytes.
    pub struct Icmpv4 {
        /// Type.
        pub kind: u8,
        /// Code.
        pub code: u8,
        /// Checksum of the whole message.
        pub checksum: U16,
        /// Echo: identifier. Otherwise zero.
        pub high: U16,
        /// Echo: sequence number. Fragmentation needed: the next hop's MTU (RFC 1191).
        pub low: U16,
    }
}

/// Type: echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type: destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Code of [`UNREACHABLE`]: fragmentation needed and DF set.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Type: redirect.
pub const REDIRECT: u8 = 5;
/// Type: router advertisement (RFC 1256).
pub const ROUTER_ADVERTISEMENT: u8 = 9;
/// Type: echo request.
pub const ECHO: u8 = 8;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    #[test]
    fn layout() {
        let icmp = Icmpv4::read_from_bytes(&[3, 4, 0xab, 0xcd, 0, 0, 0x05, 0x92]).unwrap();
        assert_eq!((icmp.kind, icmp.code), (UNREACHABLE, FRAGMENTATION_NEEDED));
        assert_eq!((icmp.checksum.get(), icmp.low.get()), (0xabcd, 1426));
    }
}
