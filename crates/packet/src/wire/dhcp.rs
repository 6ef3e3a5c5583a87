//! DHCP (RFC 2131) with the options (RFC 2132) that tell a guest its address.

use zerocopy::byteorder::network_endian::{U16, U32};

wire! {
    /// The start of a message, 44 bytes. Two names, [`NAMES_LEN`] bytes, and the cookie follow.
    pub struct Head {
        /// 1: request; 2: reply.
        pub operation: u8,
        /// 1: Ethernet.
        pub hardware: u8,
        /// 6.
        pub hardware_len: u8,
        /// Relays passed.
        pub hops: u8,
        /// The client's number for this exchange.
        pub transaction: U32,
        /// Seconds since the client began.
        pub seconds: U16,
        /// Whether to answer by broadcast.
        pub flags: U16,
        /// The client's address, if it has one already.
        pub client: [u8; 4],
        /// The address that the client gets.
        pub yours: [u8; 4],
        /// The next server to boot from.
        pub server: [u8; 4],
        /// The relay.
        pub relay: [u8; 4],
        /// The client's MAC address and padding.
        pub mac: [u8; 6],
        /// Rest of the client's hardware address.
        pub mac_padding: [u8; 10],
    }

    /// The options of every reply, 64 bytes; after [`Options::server`] a refusal ends.
    pub struct Options {
        /// The magic cookie before all options.
        pub cookie: [u8; 4],
        /// Message type.
        pub kind: [u8; 3],
        /// Who answers: the gateway.
        pub server: [u8; 2],
        /// Its address.
        pub server_address: [u8; 4],
        /// Subnet mask.
        pub mask: [u8; 2],
        /// The mask.
        pub mask_value: U32,
        /// Router.
        pub router: [u8; 2],
        /// Its address.
        pub router_address: [u8; 4],
        /// Interface MTU.
        pub mtu: [u8; 2],
        /// In bytes.
        pub mtu_value: U16,
        /// Lease time.
        pub lease: [u8; 2],
        /// In seconds.
        pub lease_value: U32,
        /// End, and padding up to the smallest message that old clients take (300 bytes).
        pub end: [u8; 29],
    }
}

/// The port of servers.
pub const SERVER_PORT: u16 = 67;
/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
/// The port of clients over IPv6 (RFC 8415).
pub const V6_CLIENT_PORT: u16 = 546;
/// Length of the server's and the boot file's names.
pub const NAMES_LEN: usize = 64 + 128;
/// Offset of the options' cookie in a message.
pub const COOKIE: usize = Head::LEN + NAMES_LEN;
/// The magic cookie.
pub const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Option: padding.
pub const PAD: u8 = 0;
/// Option: the address that the client wants.
pub const REQUESTED_ADDRESS: u8 = 50;
/// Option: the server that is meant, or that answers.
pub const SERVER: u8 = 54;
/// Option: message type.
pub const MESSAGE_TYPE: u8 = 53;
/// Option: end.
pub const END: u8 = 255;
/// Message: is there a server?
pub const DISCOVER: u8 = 1;
/// Message: here is an address.
pub const OFFER: u8 = 2;
/// Message: I take it, or want to keep it.
pub const REQUEST: u8 = 3;
/// Message: it is yours.
pub const ACK: u8 = 5;
/// Message: it is not yours.
pub const NAK: u8 = 6;
/// Message: I have an address, tell me the rest.
pub const INFORM: u8 = 8;

/// How long a lease is, in seconds: an endpoint's address does not change while it exists.
const LEASE: u32 = 86_400;

impl Head {
    /// Whether this is a request over Ethernet that came by no relay.
    #[inline(always)]
    pub fn is_request(&self) -> bool {
        self.operation == 1 && self.hardware == 1 && self.hardware_len == 6 && self.relay == [0; 4]
    }

    /// The head of the reply that gives the client `yours`.
    #[inline(always)]
    pub fn reply(&self, yours: [u8; 4], server: [u8; 4]) -> Self {
        Self { operation: 2, hops: 0, seconds: U16::ZERO, yours, server, ..*self }
    }
}

impl Options {
    /// The options of a reply to a client in the gateway's network with this prefix length and MTU;
    /// whether it gives an address.
    #[inline(always)]
    pub fn new(kind: u8, leased: bool, gateway: [u8; 4], prefix: u8, mtu: u16) -> Self {
        let mut end = [0; 29];
        end[0] = END;
        Self {
            cookie: MAGIC,
            kind: [MESSAGE_TYPE, 1, kind],
            server: [SERVER, 4],
            server_address: gateway,
            // A refusal says nothing more (RFC 2131, table 3).
            mask: if kind == NAK { [END, PAD] } else { [1, 4] },
            mask_value: U32::new(super::ipv4::mask(prefix)),
            router: [3, 4],
            router_address: gateway,
            mtu: [26, 2],
            mtu_value: U16::new(mtu),
            lease: if leased { [51, 4] } else { [END, PAD] },
            lease_value: U32::new(LEASE),
            end,
        }
    }
}

const _: () = assert!(Head::LEN == 44 && Options::LEN == 64 && COOKIE + Options::LEN == 300);

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    #[test]
    fn a_request_and_the_head_of_its_reply() {
        let request = [
            1, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe, 0, 3, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let reply = [
            2, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe, 0, 0, 0x80, 0, 0, 0, 0, 0, 10, 0, 0, 7, 10, 0, 0,
            1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let head = Head::read_from_bytes(&request).unwrap();
        assert!(head.is_request());
        assert_eq!((head.transaction.get(), head.mac), (0xcafe_babe, [2, 0, 0, 0, 0, 9]));
        assert_eq!(head.reply([10, 0, 0, 7], [10, 0, 0, 1]).as_bytes(), reply);
        assert!(!head.reply([0; 4], [0; 4]).is_request());
        assert!(!Head { relay: [10, 0, 0, 3], ..head }.is_request());
    }

    #[test]
    fn options_of_an_offer() {
        let options = Options::new(OFFER, true, [10, 0, 0, 1], 24, 1426);
        assert_eq!(
            options.as_bytes()[..36],
            [
                99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0,
                0, 1, 26, 2, 5, 146, 51, 4, 0, 1, 81, 128, 255
            ]
        );
        let refusal = Options::new(NAK, false, [10, 0, 0, 1], 24, 1426);
        assert_eq!(refusal.as_bytes()[13], END);
    }
}
