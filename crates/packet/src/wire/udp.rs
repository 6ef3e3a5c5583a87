//! UDP (RFC 768).

use zerocopy::byteorder::network_endian::U16;

wire! {
    /// The header, 8 bytes.
    pub struct Udp {
        /// Source port.
        pub src: U16,
        /// Destination port.
        pub dst: U16,
        /// Length with this header, in bytes.
        pub len: U16,
        /// Checksum; 0 for none.
        pub checksum: U16,
    }
}

impl Udp {
    /// A header without a checksum before `payload` bytes.
    #[inline(always)]
    pub const fn new(src: u16, dst: u16, payload: u16) -> Self {
        Self {
            src: U16::new(src),
            dst: U16::new(dst),
            len: U16::new(payload.wrapping_add(Self::LEN as u16)),
            checksum: U16::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn layout() {
        assert_eq!(Udp::new(0xc001, 6081, 4).as_bytes(), [0xc0, 1, 0x17, 0xc1, 0, 12, 0, 0]);
    }
}
