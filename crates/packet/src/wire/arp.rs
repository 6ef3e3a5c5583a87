//! ARP (RFC 826) for IPv4 over Ethernet.

use zerocopy::byteorder::network_endian::U16;

wire! {
    /// A request or reply, 28 bytes.
    pub struct Arp {
        /// 1: Ethernet.
        pub hardware: U16,
        /// 0x0800: IPv4.
        pub protocol: U16,
        /// 6.
        pub hardware_len: u8,
        /// 4.
        pub protocol_len: u8,
        /// Request or reply.
        pub operation: U16,
        /// Sender's MAC address.
        pub sender_mac: [u8; 6],
        /// Sender's IPv4 address; zero in a probe (RFC 5227).
        pub sender: [u8; 4],
        /// Target's MAC address.
        pub target_mac: [u8; 6],
        /// Target's IPv4 address.
        pub target: [u8; 4],
    }
}

/// Operation: who has `target`?
pub const REQUEST: u16 = 1;
/// Operation: `sender` is at `sender_mac`.
pub const REPLY: u16 = 2;

impl Arp {
    /// Whether this is a request for IPv4 over Ethernet.
    #[inline(always)]
    pub fn is_request(&self) -> bool {
        self.hardware.get() == 1
            && self.protocol.get() == super::ethernet::IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
            && self.operation.get() == REQUEST
    }

    /// The reply to this request: `mac` has what was asked for.
    #[inline(always)]
    pub fn reply(&self, mac: [u8; 6]) -> Self {
        Self {
            operation: U16::new(REPLY),
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    #[test]
    fn a_request_and_its_reply() {
        let request =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
        let reply =
            [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1];
        let arp = Arp::read_from_bytes(&request).unwrap();
        assert!(arp.is_request());
        assert_eq!(arp.reply([2, 0, 0, 0, 0, 9]).as_bytes(), reply);
        assert!(!arp.reply([0; 6]).is_request());
    }
}
