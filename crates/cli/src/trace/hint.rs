//! What to look at when a packet is dropped.

use mizar_packet::Reason;

/// A hint for whoever wonders why.
pub(super) fn hint(reason: Reason) -> &'static str {
    match reason {
        Reason::NoEndpoint => {
            "is there an endpoint of this VPC with that address, and is it attached? See \
             `mizar lab status`"
        }
        Reason::NoRoute => {
            "does the address lie in a network of the sender's own VPC? VPCs never reach each other"
        }
        Reason::NoDivider | Reason::UnknownVpc => {
            "has the VPC dividers, and has the host acknowledged the VPC? See `mizar lab status`"
        }
        Reason::NoBouncer => {
            "has the network bouncers, and has the host acknowledged the VPC? See `mizar lab status`"
        }
        Reason::NoHost => {
            "the agent makes rows of hosts: does it run, and what does its log say? See \
             `mizar lab status -o json` for where the log is"
        }
        Reason::NoNextHop => {
            "can the hosts reach each other? Try `mizar lab exec HOST -- ping ADDRESS` with their \
             underlay addresses"
        }
        Reason::NoPort | Reason::TagMismatch => {
            "is the endpoint attached? See `mizar lab status`, and the log of its host's agent"
        }
        Reason::NoProgram | Reason::NoRoom | Reason::ForgedTunnel => {
            "see the log of the host's agent; restarting the agent loads the programs again"
        }
        Reason::TooBig => {
            "is the underlay's MTU the same on all hosts, and the guest's as it was told? See \
             `mizar agent status` for the hosts' and `ip link` in the guest for its own"
        }
        Reason::Throttled => {
            "the endpoint sends to very many addresses that nobody has learned, such as a scan does"
        }
        Reason::TtlExceeded => "packets that cross networks need a TTL of at least 2",
        Reason::StaleTwice | Reason::HopLimit => {
            "two hosts disagree on where the endpoint is: have all of them acknowledged the latest \
             generation? See `mizar lab status`"
        }
        Reason::ForeignSource => {
            "is the underlay address of every host in the fleet's prefixes? See `mizar agent status`"
        }
        Reason::GatewayTraffic => "gateways answer pings, ARP, DHCP and solicitations only",
        Reason::SpoofedMac | Reason::SpoofedAddress | Reason::InnerSource => {
            "guests send from the addresses that they were given: see `mizar lab status`"
        }
        Reason::Multicast | Reason::LinkLocal | Reason::NotIp | Reason::InnerNotIp => {
            "a VPC carries IPv4 and IPv6 unicast between its endpoints' addresses"
        }
        Reason::GuestVlan
        | Reason::RouterMessage
        | Reason::HiddenNeighbour
        | Reason::DhcpServer
        | Reason::InnerRouterMessage
        | Reason::Unanswered
        | Reason::BadArp => "the network itself is router and DHCP server of its guests",
        Reason::Short
        | Reason::BadIp
        | Reason::OuterFragment
        | Reason::OuterOptions
        | Reason::OuterLength
        | Reason::BadGeneve
        | Reason::CriticalOption
        | Reason::BadOption
        | Reason::BadOam
        | Reason::EcnNotCapable => {
            "the packet itself is at fault: capture it with `mizar lab exec HOST -- tcpdump -ni nic0`"
        }
    }
}
