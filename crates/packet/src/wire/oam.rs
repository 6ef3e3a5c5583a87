//! Control messages between hosts: the payload of Geneve frames with the O bit and VNI 0.

use super::geneve::{CONTROL, Geneve, OAM, Outer, OuterSpec};
use crate::Address;
use zerocopy::byteorder::network_endian::{U16, U32, U64};

wire! {
    /// One message, 64 bytes.
    pub struct Message {
        /// Version of this layout: [`VERSION`].
        pub version: u8,
        /// One of the constants below.
        pub kind: u8,
        /// Echo reply: for how long beyond the lease the sender need not be asked again, in ms.
        /// Otherwise zero.
        pub pause: U16,
        /// VNI of the endpoint that it is about, or 0.
        pub vni: U32,
        /// Echo: proof that the reply answers this host's own echo.
        pub cookie: U64,
        /// Echo: the sender's clock, which the reply returns. Otherwise the generation.
        pub stamp: U64,
        /// The endpoint that it is about; zero in an echo.
        pub endpoint: [u8; 16],
        /// The host that the endpoint is on; zero if it is nowhere or not told.
        pub host: [u8; 16],
        /// Keyed tag of the message, its sender and its addressee, as in [`crate::keys`]; zeros
        /// where nothing is signed. An echo's reply returns it.
        pub tag: [u8; 8],
    }
}

/// Version of [`Message`].
pub const VERSION: u8 = 1;
/// Are you there? Answered in the kernel, by an [`ECHO_REPLY`] that returns cookie and stamp.
pub const ECHO: u8 = 1;
/// The answer to an [`ECHO`].
pub const ECHO_REPLY: u8 = 2;
/// `endpoint` is on `host`: sent to one that keeps sending by way of bouncers.
pub const NOTICE: u8 = 3;
/// `endpoint` is no longer on the sending host.
pub const INVALIDATE: u8 = 4;
/// `endpoint` does not exist, as far as its bouncer knows.
pub const UNKNOWN: u8 = 5;

/// `endpoint` exists after all: sent to one that was told [`UNKNOWN`] a moment ago.
pub const KNOWN: u8 = 6;

/// Length of a control frame in bytes.
pub const FRAME_LEN: usize = Outer::LEN + Message::LEN;

wire! {
    /// A whole control frame, 114 bytes.
    pub struct ControlFrame {
        /// Outer headers with VNI 0 and the O bit.
        pub outer: Outer,
        /// The message.
        pub message: Message,
    }
}

impl Message {
    /// Its length in words of eight bytes.
    pub const WORDS: usize = Self::LEN / 8;

    /// Its bytes, read as little-endian words.
    #[inline(always)]
    pub fn words(self) -> [u64; Self::WORDS] {
        let words: [u64; Self::WORDS] = zerocopy::transmute!(self);
        words.map(u64::from_le)
    }

    /// An echo that carries this host's cookie and clock.
    pub const fn echo(cookie: u64, now: u64) -> Self {
        Self::new(ECHO, 0, cookie, now, [0; 16], [0; 16])
    }

    /// A message about an endpoint.
    pub fn about(kind: u8, vni: u32, endpoint: Address, host: Address, generation: u64) -> Self {
        Self::new(kind, vni, 0, generation, endpoint.octets(), host.octets())
    }

    const fn new(
        kind: u8,
        vni: u32,
        cookie: u64,
        stamp: u64,
        endpoint: [u8; 16],
        host: [u8; 16],
    ) -> Self {
        Self {
            version: VERSION,
            kind,
            pause: U16::ZERO,
            vni: U32::new(vni),
            cookie: U64::new(cookie),
            stamp: U64::new(stamp),
            endpoint,
            host,
            tag: [0; 8],
        }
    }
}

/// Whether a message of this kind is signed with the keys of the VPC that it is about, since only
/// hosts of that may say it; the others with the fleet's.
#[inline(always)]
pub const fn is_of_vpc(kind: u8) -> bool {
    matches!(kind, NOTICE | UNKNOWN | KNOWN)
}

impl ControlFrame {
    /// A frame from the host of `src` to that of `dst`: both are (MAC address, underlay address),
    /// the MAC address of `dst` being the next hop's.
    pub fn new(
        src: ([u8; 6], [u8; 4]),
        dst: ([u8; 6], [u8; 4]),
        tos: u8,
        message: Message,
    ) -> Self {
        let mut outer = Outer::new(&OuterSpec {
            src_mac: src.0,
            dst_mac: dst.0,
            src: src.1,
            dst: dst.1,
            tos,
            hash: 0,
            vni: 0,
            options_len: 0,
            payload_len: Message::LEN,
        });
        outer.geneve = Geneve { flags: OAM, protocol: U16::new(CONTROL), ..outer.geneve };
        Self { outer, message }
    }
}

const _: () = assert!(Message::LEN == 64 && ControlFrame::LEN == FRAME_LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn an_echo_on_the_wire() {
        let frame = ControlFrame::new(
            ([2, 0, 0, 0, 0, 1], [100, 64, 0, 1]),
            ([2, 0, 0, 0, 0, 2], [100, 64, 0, 3]),
            0,
            Message::echo(0x0102_0304_0506_0708, 9),
        );
        let bytes = frame.as_bytes();
        assert_eq!(bytes.len(), 114);
        assert_eq!(
            bytes[34..50],
            [0xc0, 0, 0x17, 0xc1, 0, 80, 0, 0, 0, 0x80, 0x88, 0xb5, 0, 0, 0, 0]
        );
        assert_eq!(bytes[50..58], [1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[58..74], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert!(bytes[74..].iter().all(|&byte| byte == 0));
        // As an implementation that knows nothing of ours reads it.
        let sliced = etherparse::SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("{sliced:?}") };
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!() };
        assert_eq!((udp.destination_port(), udp.payload().len()), (6081, 72));
    }

    #[test]
    fn a_notice_names_the_endpoint_its_host_and_its_generation() {
        let (endpoint, host) = (Address::v4([10, 0, 0, 7]), Address::v4([100, 64, 0, 3]));
        let message = Message::about(NOTICE, 0xab_cdef, endpoint, host, 0x0001_0000_0000_0009);
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let expected = [
            &[1, 3, 0, 0, 0, 0xab, 0xcd, 0xef][..],
            &[0; 8],
            &[0, 1, 0, 0, 0, 0, 0, 9],
            &mapped,
            &[10, 0, 0, 7],
            &mapped,
            &[100, 64, 0, 3],
            &[0; 8],
        ];
        assert_eq!(message.as_bytes(), expected.concat());
    }
}
