//! What guests send: packets that say what they are, built by an independent implementation.

use etherparse::PacketBuilder;
use mizar_packet::Address;
use mizar_packet::keys::Tag;
use mizar_packet::wire::ethernet::GATEWAY;
use mizar_packet::wire::geneve::{self, Location, Outer};
use mizar_packet::wire::oam::FRAME_LEN;
use std::net::IpAddr;

/// What a guest's packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The VPC of the sender.
    pub(crate) vni: u32,
    /// Which flow it belongs to.
    pub(crate) flow: u32,
    /// Its number in the flow.
    pub(crate) number: u32,
    /// It answers the packet with that number.
    pub(crate) answer: bool,
}

/// A packet as a guest receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Destination MAC address.
    pub(crate) mac: [u8; 6],
    pub(crate) src: Address,
    pub(crate) dst: Address,
    pub(crate) payload: Payload,
}

/// A UDP packet from a guest to an address, by way of its gateway. None: of two families.
pub(crate) fn udp(mac: [u8; 6], src: IpAddr, dst: IpAddr, payload: &Payload) -> Option<Vec<u8>> {
    const TTL: u8 = 64;
    let ethernet = PacketBuilder::ethernet2(mac, GATEWAY);
    let ip = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), TTL),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), TTL),
        _ => return None,
    };
    // Each flow takes a way of its own.
    let step = ip.udp(4000 + payload.flow as u16, 5000);
    let mut bytes = Vec::with_capacity(80);
    step.write(&mut bytes, &payload.bytes()).ok()?;
    Some(bytes)
}

/// Reads what a guest was given. None: it is not as [`udp`] made it.
pub(crate) fn read(frame: &[u8]) -> Option<Received> {
    let mac = frame.first_chunk::<6>().copied()?;
    let ethertype = frame.get(12..14)?;
    let (src, dst, payload) = if ethertype == [8, 0] {
        let [src, dst] = [26, 30].map(|at| frame.get(at..)?.first_chunk::<4>().copied());
        (Address::v4(src?), Address::v4(dst?), frame.get(42..)?)
    } else {
        let [src, dst] = [22, 38].map(|at| frame.get(at..)?.first_chunk::<16>().copied());
        (Address::v6(src?), Address::v6(dst?), frame.get(62..)?)
    };
    Some(Received { mac, src, dst, payload: Payload::read(payload)? })
}

/// The flow of packets that no guest has sent.
pub(crate) const FORGED: u32 = 50_000;

/// The kind of a control message; None of any other frame.
pub(crate) fn control_kind(wire: &[u8]) -> Option<u8> {
    let is_control = wire.get(Outer::LEN - 7)? & geneve::OAM != 0;
    wire.get(Outer::LEN + 1).copied().filter(|_| is_control)
}

/// What stands for the bytes of a frame on the wire, but for its tag: keys are nothing that a seed
/// decides.
pub(crate) fn digest(wire: &[u8]) -> u64 {
    let end = match control_kind(wire) {
        Some(_) => FRAME_LEN,
        None => Outer::LEN + Location::LEN,
    };
    let has_options = wire.get(Outer::LEN - 8).is_some_and(|it| it & 0x3f != 0);
    let has_tag = has_options || control_kind(wire).is_some();
    let tag = if has_tag { end - size_of::<Tag>()..end } else { 0..0 };
    let parts = [wire.get(..tag.start), wire.get(tag.end..)].map(Option::unwrap_or_default);
    let words = parts.into_iter().flat_map(|part| part.chunks(8));
    words.fold(0, |state: u64, word| {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        let word = u64::from_le_bytes(bytes);
        (state.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

impl Payload {
    const LEN: usize = 16;

    fn bytes(&self) -> [u8; Self::LEN] {
        let words = [self.vni, self.flow, self.number, u32::from(self.answer)];
        let mut bytes = [0; Self::LEN];
        for (at, word) in bytes.chunks_exact_mut(4).zip(words) {
            at.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Self { vni: word(0), flow: word(4), number: word(8), answer: word(12) != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_can_be_read() {
        let payload = Payload { vni: 7, flow: 3, number: 70_000, answer: true };
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let [src, dst]: [IpAddr; 2] = [src, dst].map(|text| text.parse().unwrap());
            let frame = udp([2; 6], src, dst, &payload).unwrap();
            let received = read(&frame).unwrap();
            assert_eq!(received.payload, payload);
            assert_eq!((received.src, received.dst), (src.into(), dst.into()));
            assert_eq!(received.mac, GATEWAY);
        }
    }
}
