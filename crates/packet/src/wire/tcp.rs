//! TCP (RFC 9293), as far as a network looks into it.

use zerocopy::byteorder::network_endian::{U16, U32};

wire! {
    /// The header without options, 20 bytes.
    pub struct Tcp {
        /// Source port.
        pub src: U16,
        /// Destination port.
        pub dst: U16,
        /// Sequence number.
        pub sequence: U32,
        /// Acknowledgement number.
        pub acknowledgement: U32,
        /// Upper four bits: length of the header in words of four bytes.
        pub offset: u8,
        /// Flags.
        pub flags: u8,
        /// Window.
        pub window: U16,
        /// Checksum.
        pub checksum: U16,
        /// Urgent pointer.
        pub urgent: U16,
    }
}

/// The SYN flag.
pub const SYN: u8 = 2;
/// Offset of the checksum in the header.
pub const CHECKSUM: usize = 16;
/// Option: end of the list.
pub const OPTION_END: u8 = 0;
/// Option: padding.
pub const OPTION_NOP: u8 = 1;
/// Option: maximum segment size, of length 4.
pub const OPTION_MSS: u8 = 2;

impl Tcp {
    /// Length of the header with its options, in bytes.
    #[inline(always)]
    pub const fn header_len(&self) -> usize {
        (self.offset >> 4) as usize * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    #[test]
    fn layout() {
        let bytes = [
            0x04, 0xd2, 0x00, 0x50, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0, SYN, 0xfa, 0xf0, 0x12, 0x34, 0, 0,
        ];
        let tcp = Tcp::read_from_bytes(&bytes).unwrap();
        assert_eq!((tcp.src.get(), tcp.dst.get(), tcp.header_len()), (1234, 80, 40));
        assert_eq!(tcp.checksum.get(), 0x1234);
        assert_eq!(tcp.flags & SYN, SYN);
    }
}
