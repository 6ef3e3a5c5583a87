//! Ethernet II.

use zerocopy::byteorder::network_endian::U16;

wire! {
    /// The header, 14 bytes. A VLAN tag is not part of it: the kernel keeps it beside the frame.
    pub struct Ethernet {
        /// Destination.
        pub dst: [u8; 6],
        /// Source.
        pub src: [u8; 6],
        /// What follows.
        pub ethertype: U16,
    }
}

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// The broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The MAC address of every gateway, and of every endpoint as another one sees it: guests' frames
/// are routed by IP address, so one locally administered address answers for all.
pub const GATEWAY: [u8; 6] = [0x02, b'm', b'i', b'z', b'a', b'r'];

impl Ethernet {
    /// A header.
    #[inline(always)]
    pub const fn new(dst: [u8; 6], src: [u8; 6], ethertype: u16) -> Self {
        Self { dst, src, ethertype: U16::new(ethertype) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn layout() {
        let header = Ethernet::new([1, 2, 3, 4, 5, 6], GATEWAY, IPV6);
        assert_eq!(
            header.as_bytes(),
            [1, 2, 3, 4, 5, 6, 0x02, 0x6d, 0x69, 0x7a, 0x61, 0x72, 0x86, 0xdd]
        );
    }
}
