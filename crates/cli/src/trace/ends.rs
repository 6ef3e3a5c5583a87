//! Who sends the packet, and whom it is for.

use super::packet::{Packet, Protocol};
use anyhow::{Context, Result, anyhow};
use mizar_packet::Address;
use mizar_vpc::Vni;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An endpoint.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) vpc: String,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) vni: Vni,
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) v6: Option<Ipv6Addr>,
}

/// Sender and destination.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) from: Guest,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// The endpoint that was named as destination.
    pub(super) named: Option<Guest>,
}

/// Whom a packet is for.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Address(IpAddr),
    Guest(Guest),
}

impl Ends {
    /// Both, of which a destination with two addresses has the IPv6 one if `ipv6`.
    ///
    /// # Errors
    /// They have no addresses of the same family.
    pub(super) fn new(from: Guest, to: Destination, ipv6: bool) -> Result<Self> {
        let (dst, named) = match to {
            Destination::Address(address) => (address, None),
            Destination::Guest(guest) => (guest.address(ipv6)?, Some(guest)),
        };
        let src = if dst.is_ipv4() { from.v4.map(IpAddr::from) } else { from.v6.map(IpAddr::from) };
        let family = if dst.is_ipv4() { "IPv4" } else { "IPv6" };
        let src = src.with_context(|| {
            format!("{} has no {family} address to send to {dst} from", from.full_name())
        })?;
        Ok(Self { from, src, dst, named })
    }

    /// The packet from one to the other.
    pub(super) fn packet(&self, protocol: Protocol, port: u16, size: u16) -> Packet {
        let (src, dst) = (Address::from(self.src), Address::from(self.dst));
        Packet { protocol, src, dst, port, size, is_answer: false }
    }

    /// What one should know before believing what comes.
    pub(super) fn notes(&self) -> Vec<String> {
        let other = self.named.as_ref().filter(|guest| guest.vpc != self.from.vpc);
        let note = |guest: &Guest| {
            format!(
                "{} is in another VPC: what {} sends to {} stays in VPC {}",
                guest.full_name(),
                self.from.full_name(),
                self.dst,
                self.from.vpc
            )
        };
        other.map(note).into_iter().collect()
    }
}

impl Guest {
    /// Its name with its VPC's.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.vpc, self.name)
    }

    /// The addresses that it has.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Address> {
        [self.v4.map(Address::from), self.v6.map(Address::from)].into_iter().flatten()
    }

    fn address(&self, ipv6: bool) -> Result<IpAddr> {
        let (v4, v6) = (self.v4.map(IpAddr::from), self.v6.map(IpAddr::from));
        if ipv6 {
            return v6.ok_or_else(|| anyhow!("{} has no IPv6 address", self.full_name()));
        }
        v4.or(v6).ok_or_else(|| anyhow!("{} has no address yet", self.full_name()))
    }
}
