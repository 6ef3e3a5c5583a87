//! What to look at when a packet is dropped.

use mizar_packet::Reason;

/// A hint for whoever wonders why.
pub(super) fn hint(reason: Reason) -> &'static str {
    match reason {
        Reason::NoEndpoint => {
            "is there such an endpoint in this VPC, and is it ready? See `mizar get endpoints`"
        }
        Reason::NoRoute => {
            "is the address in a network of the sender's own VPC? VPCs never reach each other"
        }
        Reason::NoDivider | Reason::NoBouncer | Reason::UnknownVpc => NOT_TOLD,
        Reason::NoHost | Reason::NoProgram | Reason::NoRoom | Reason::ForgedTunnel => AGENT,
        Reason::NoNextHop => {
            "can the hosts reach each other? Ping the other's underlay address from this host"
        }
        Reason::NoPort | Reason::TagMismatch => {
            "is the endpoint ready? See `mizar describe endpoint`"
        }
        Reason::TooBig => {
            "have all hosts the same MTU? See `mizar agent status`, and `ip link` in the guest"
        }
        Reason::Throttled => {
            "the endpoint sends to very many addresses that nobody has learned, as a scan does"
        }
        Reason::TtlExceeded => "packets that cross networks need a TTL of at least 2",
        Reason::StaleTwice | Reason::HopLimit => NOT_AGREED,
        Reason::ForeignSource => {
            "is every host's underlay address in the fleet's prefixes? See `mizar agent status`"
        }
        Reason::BadTag => "have all hosts the same keys? See `mizar get fleet -o wide`",
        Reason::GatewayTraffic => "gateways answer pings, ARP, DHCP and solicitations only",
        Reason::SpoofedMac | Reason::SpoofedAddress | Reason::InnerSource => ADDRESSES,
        Reason::Multicast | Reason::LinkLocal | Reason::NotIp | Reason::InnerNotIp => UNICAST,
        Reason::GuestVlan
        | Reason::RouterMessage
        | Reason::HiddenNeighbour
        | Reason::DhcpServer
        | Reason::InnerRouterMessage
        | Reason::Unanswered
        | Reason::BadArp => "the network itself is the router and DHCP server of its guests",
        Reason::Short
        | Reason::BadIp
        | Reason::OuterFragment
        | Reason::OuterOptions
        | Reason::OuterLength
        | Reason::BadGeneve
        | Reason::CriticalOption
        | Reason::BadOption
        | Reason::BadOam
        | Reason::EcnNotCapable => MALFORMED,
    }
}

const NOT_TOLD: &str =
    "has the host been told of the VPC, and of who divides for it? See `mizar describe vpc`";
const NOT_AGREED: &str =
    "have all hosts acknowledged where the endpoint is now? See `mizar describe endpoint`";
const AGENT: &str = "what does the log of the host's agent say?";
const ADDRESSES: &str =
    "guests send from the addresses that they were given: see `mizar describe endpoint`";
const UNICAST: &str = "a VPC carries IPv4 and IPv6 unicast between its endpoints' addresses";
const MALFORMED: &str =
    "the packet itself is at fault: capture it on that host by `tcpdump -ni NIC`";
