//! The frames that are measured: small UDP packets, one for each flow.

use super::world::{self, DEPART, UNWRAP};
use mizar_packet::count::Path;
use mizar_packet::wire::geneve::{Location, Outer, OuterSpec};
use mizar_packet::wire::{Ethernet, Ipv4, Udp, ethernet, ipv4};
use zerocopy::IntoBytes;

/// A way through the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the wire to another host, by the endpoint's row.
    Bounce,
    /// From the wire to a bouncer, by the longest prefix.
    Divide,
    /// From the wire to a guest: unwrapped and tagged.
    Unwrap,
    /// From a guest straight to the host that was learned.
    Depart,
    /// From the wire to the host itself.
    NotOurs,
}

impl Way {
    /// What is counted for each packet that takes it.
    pub(super) fn path(self) -> Option<Path> {
        match self {
            Self::Bounce => Some(Path::Bounced),
            Self::Divide => Some(Path::Divided),
            Self::Unwrap => Some(Path::Arrived),
            Self::Depart => Some(Path::SentDirect),
            Self::NotOurs => None,
        }
    }

    /// The VPC whose rows it meets.
    pub(super) fn vni(self) -> u32 {
        match self {
            Self::Bounce => world::BOUNCE,
            Self::Divide => world::DIVIDE,
            Self::Unwrap => UNWRAP,
            Self::Depart | Self::NotOurs => DEPART,
        }
    }

    /// Where the inner destination address stands, whose last two bytes are the flow. No program
    /// that forwards a packet looks at the checksum of the header that it is in.
    pub(super) fn destination(self) -> Option<usize> {
        const DST: usize = Ethernet::LEN + 16;
        match self {
            Self::Bounce | Self::Divide => Some(Outer::LEN + Location::LEN + DST),
            Self::Unwrap => Some(Outer::LEN + DST),
            Self::Depart => Some(DST),
            Self::NotOurs => None,
        }
    }

    /// What programs return for it.
    pub(super) fn code(self) -> u32 {
        const XDP_PASS: u32 = 2;
        const XDP_TX: u32 = 3;
        const TC_REDIRECT: u32 = 7;
        match self {
            Self::Bounce | Self::Divide => XDP_TX,
            Self::Unwrap | Self::NotOurs => XDP_PASS,
            Self::Depart => TC_REDIRECT,
        }
    }
}

/// The frame of a flow. All frames of one way have the same length, of at least 128 bytes.
pub(super) fn frame(way: Way, flow: u32) -> Vec<u8> {
    let dst = world::endpoint(flow);
    match way {
        Way::Depart => inner(world::GUEST, dst, flow),
        Way::NotOurs => inner([192, 0, 2, 1], world::underlay(world::OWN_HOST), flow),
        // Steady state: the sender has learned where the destination is, and need not teach.
        Way::Unwrap => tunnelled(way.vni(), &[], &inner(world::REMOTE, dst, flow)),
        Way::Bounce | Way::Divide => {
            let location = Location::new(world::underlay(world::SENDER), 1);
            tunnelled(way.vni(), location.as_bytes(), &inner(world::REMOTE, dst, flow))
        }
    }
}

/// A frame from another host, with options and what is wrapped.
pub(crate) fn tunnelled(vni: u32, options: &[u8], inner: &[u8]) -> Vec<u8> {
    let outer = Outer::new(&OuterSpec {
        src_mac: [2, 0, 0, 0, 0xff, 2],
        dst_mac: world::NIC_MAC,
        src: world::underlay(world::SENDER),
        dst: world::underlay(world::OWN_HOST),
        tos: 0,
        hash: 1,
        vni,
        options_len: options.len(),
        payload_len: inner.len(),
    });
    [outer.as_bytes(), options, inner].concat()
}

/// A guest's frame.
pub(crate) fn inner(src: [u8; 4], dst: [u8; 4], flow: u32) -> Vec<u8> {
    const PAYLOAD: usize = 100;
    let eth = Ethernet::new(ethernet::GATEWAY, world::GUEST_MAC, ethernet::IPV4);
    let ip = Ipv4::new((Udp::LEN + PAYLOAD) as u16, ipv4::UDP, 0, 64, src, dst);
    let udp = Udp::new(flow as u16, 9, PAYLOAD as u16);
    [eth.as_bytes(), ip.as_bytes(), udp.as_bytes(), &[0; PAYLOAD]].concat()
}
