//! What becomes of a frame.

/// What the caller has to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is not ours: the host's own stack takes it, unchanged.
    Pass,
    /// Send it out of the NIC.
    Transmit,
    /// Give it to a guest of this host.
    Deliver(Delivery),
    /// Send it back to the guest that it came from.
    Answer,
    /// A rare case, which another program handles.
    Refer(Referral),
    /// It was a message to this host, which has done its work.
    Consumed,
    /// Drop it; it has been counted.
    Drop(Reason),
}

/// Which guest gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Interface index of the host's end of the guest's link.
    pub interface: u32,
    /// VNI of the guest, which whoever delivers checks again.
    pub vni: u32,
    /// The endpoint's flags, as in [`crate::tables::Port::flags`].
    pub flags: u16,
}

/// A rare case and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Case {
    /// A guest's ARP packet.
    Arp = 1,
    /// A guest's neighbour or router solicitation.
    Neighbour = 2,
    /// A guest's DHCP request.
    Dhcp = 3,
    /// A guest pings its gateway.
    GatewayEcho = 4,
    /// A guest's packet is too big for its way; the argument is the MTU.
    TooBig = 5,
    /// A guest's packet has come to the end of its TTL.
    TtlExceeded = 6,
    /// A control message from another host.
    Oam = 7,
    /// The underlay says that a packet of ours was too big.
    UnderlayTooBig = 8,
    /// A packet from another host that goes no usual way: it was sent back already, or its
    /// destination is in no network of this host's.
    Stray = 9,
}

/// A rare case, handed to another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referral {
    /// Which.
    pub case: Case,
    /// What the case needs to know, or 0.
    pub argument: u32,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Arp,
        Self::Neighbour,
        Self::Dhcp,
        Self::GatewayEcho,
        Self::TooBig,
        Self::TtlExceeded,
        Self::Oam,
        Self::UnderlayTooBig,
        Self::Stray,
    ];

    /// A referral without an argument.
    #[inline(always)]
    pub const fn refer(self) -> Verdict {
        self.refer_with(0)
    }

    /// A referral with an argument.
    #[inline(always)]
    pub const fn refer_with(self, argument: u32) -> Verdict {
        Verdict::Refer(Referral { case: self, argument })
    }

    /// The case of a number that went through the kernel.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Arp,
            2 => Self::Neighbour,
            3 => Self::Dhcp,
            4 => Self::GatewayEcho,
            5 => Self::TooBig,
            6 => Self::TtlExceeded,
            7 => Self::Oam,
            8 => Self::UnderlayTooBig,
            9 => Self::Stray,
            _ => return None,
        })
    }
}

/// Defines the closed list of reasons with their names and explanations.
macro_rules! reasons {
    ($($(#[$meta:meta])* $variant:ident = $name:literal, $text:literal;)*) => {
        /// Why a frame was dropped: a closed list, counted per reason and per VPC.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason { $(#[doc = $text] $variant,)* }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, as in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, in a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    Short = "short", "the frame ends before its headers do";
    NoRoom = "no_room", "the kernel could not make or remove room for headers";
    NoPort = "no_port", "the interface is no endpoint's";
    NoProgram = "no_program", "the program that should handle it is not installed";
    GuestVlan = "guest_vlan", "the guest sent an 802.1Q tag";
    SpoofedMac = "spoofed_mac", "the guest sent from a MAC address that is not its own";
    SpoofedAddress = "spoofed_address", "the guest sent from an IP address that is not its own";
    NotIp = "not_ip", "neither IPv4, IPv6 nor ARP";
    BadIp = "bad_ip", "the IP header contradicts itself or the frame";
    BadArp = "bad_arp", "an ARP packet that is no request for an address of the network";
    Unanswered = "unanswered", "a solicitation without an answer, as for the asker itself";
    Multicast = "multicast", "broadcast or multicast, which the network does not carry";
    LinkLocal = "link_local", "a link-local or reserved destination";
    RouterMessage = "router_message", "a guest sent what only routers send";
    HiddenNeighbour = "hidden_neighbour", "extension headers that could hide neighbour discovery";
    DhcpServer = "dhcp_server", "a guest sent what only DHCP servers send";
    GatewayTraffic = "gateway_traffic", "sent to a gateway, which answers echo requests only";
    NoEndpoint = "no_endpoint", "the destination does not exist";
    NoRoute = "no_route", "the destination is in no network of the VPC";
    NoDivider = "no_divider", "the VPC has no divider that this host can reach";
    NoBouncer = "no_bouncer", "the network has no bouncer that this host can reach";
    NoHost = "no_host", "the destination's host has no row in the host table";
    NoNextHop = "no_next_hop", "the next hop towards the host is not resolved";
    TooBig = "too_big", "larger than the path's MTU";
    TtlExceeded = "ttl_exceeded", "the guest's TTL has come to its end";
    Throttled = "throttled", "the endpoint sends too many packets that cannot go direct";
    OuterFragment = "outer_fragment", "the underlay fragmented the tunnel";
    OuterOptions = "outer_options", "the outer IP header has options";
    OuterLength = "outer_length", "the outer lengths contradict each other or the frame";
    ForeignSource = "foreign_source", "the outer source is not of the fleet";
    BadGeneve = "bad_geneve", "not Geneve version 0 with Ethernet inside";
    CriticalOption = "critical_option", "a critical option that nobody here knows";
    BadOption = "bad_option", "an option runs over the end of the options";
    BadOam = "bad_oam", "a control message that is not one of ours";
    BadTag = "bad_tag", "a control message that nobody who has the key has signed";
    InnerNotIp = "inner_not_ip", "what is inside is neither IPv4 nor IPv6";
    InnerSource = "inner_source", "the inner source is an address that no endpoint can have";
    InnerRouterMessage = "inner_router_message", "what is inside only routers and servers send";
    EcnNotCapable = "ecn_not_capable", "congestion experienced, but the guests do not use ECN";
    UnknownVpc = "unknown_vpc", "this host knows nothing of that VNI";
    StaleTwice = "stale_twice", "two hosts in turn no longer have the endpoint";
    HopLimit = "hop_limit", "forwarded too often between hosts";
    TagMismatch = "tag_mismatch", "the guest that XDP found is no longer there";
    ForgedTunnel = "forged_tunnel", "a process of this host sent to the tunnel's port";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_order_and_named_once() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        for (number, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn cases_survive_being_numbers() {
        for case in Case::ALL {
            assert_eq!(Case::from_number(case as u32), Some(case));
        }
        assert_eq!(Case::from_number(0), None);
    }
}
