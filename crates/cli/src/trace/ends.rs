//! Who sends the packet, and whom it is for.

use super::packet::{Packet, Protocol};
use anyhow::{Context, Result, anyhow, bail};
use mizar_lab::{GuestStatus, Status};
use mizar_packet::Address;
use std::net::IpAddr;

/// Sender and destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'a> {
    pub(super) from: &'a GuestStatus,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// The guest that was named as destination.
    pub(super) named: Option<&'a GuestStatus>,
}

/// Finds the ends in a lab. `to` is a guest's name or an address; of a guest with two addresses,
/// `ipv6` takes the IPv6 one.
///
/// # Errors
/// There is no such guest, several have the name, or sender and destination have no address of the
/// same family.
pub(super) fn find<'a>(status: &'a Status, from: &str, to: &str, ipv6: bool) -> Result<Ends<'a>> {
    let from = guest(status, from, None)?;
    let (dst, named) = match to.parse::<IpAddr>() {
        Ok(address) => (address, None),
        Err(_) => {
            let guest = guest(status, to, Some(&from.vpc))
                .with_context(|| format!("{to} is neither an IP address nor a guest"))?;
            (address_of(guest, ipv6)?, Some(guest))
        }
    };
    let src = if dst.is_ipv4() { from.v4.map(IpAddr::from) } else { from.v6.map(IpAddr::from) };
    let family = if dst.is_ipv4() { "IPv4" } else { "IPv6" };
    let src = src.ok_or_else(|| {
        anyhow!("{} has no {family} address to send to {dst} from", full_name(from))
    })?;
    Ok(Ends { from, src, dst, named })
}

impl Ends<'_> {
    /// The packet from one to the other.
    pub(super) fn packet(&self, protocol: Protocol, port: u16, size: u16) -> Packet {
        let (src, dst) = (Address::from(self.src), Address::from(self.dst));
        Packet { protocol, src, dst, port, size, is_answer: false }
    }

    /// What one should know before believing what comes.
    pub(super) fn notes(&self) -> Vec<String> {
        let other = self.named.filter(|guest| guest.vpc != self.from.vpc);
        let note = |guest: &GuestStatus| {
            format!(
                "{} is in another VPC: what {} sends to {} stays in VPC {}",
                full_name(guest),
                full_name(self.from),
                self.dst,
                self.from.vpc
            )
        };
        other.map(note).into_iter().collect()
    }
}

/// The guest's name with its VPC's.
pub(super) fn full_name(guest: &GuestStatus) -> String {
    format!("{}/{}", guest.vpc, guest.name)
}

fn address_of(guest: &GuestStatus, ipv6: bool) -> Result<IpAddr> {
    let (v4, v6) = (guest.v4.map(IpAddr::from), guest.v6.map(IpAddr::from));
    if ipv6 {
        return v6.ok_or_else(|| anyhow!("{} has no IPv6 address", full_name(guest)));
    }
    v4.or(v6).ok_or_else(|| anyhow!("{} has no address yet", full_name(guest)))
}

/// A guest as `vpc/name`, or as its name alone: in a VPC if one of that name is there, otherwise
/// where it is the only one.
fn guest<'a>(status: &'a Status, name: &str, vpc: Option<&str>) -> Result<&'a GuestStatus> {
    let matching: Vec<_> = match name.split_once('/') {
        Some((vpc, name)) => {
            status.guests.iter().filter(|guest| guest.vpc == vpc && guest.name == name).collect()
        }
        None => status.guests.iter().filter(|guest| guest.name == name).collect(),
    };
    if let Some(own) = matching.iter().find(|guest| Some(guest.vpc.as_str()) == vpc) {
        return Ok(own);
    }
    let names = |guests: &[&GuestStatus]| {
        guests.iter().map(|guest| full_name(guest)).collect::<Vec<_>>().join(", ")
    };
    match matching.as_slice() {
        [guest] => Ok(guest),
        [] => {
            let known = names(&status.guests.iter().collect::<Vec<_>>());
            bail!("lab {} has no guest {name}: it has {known}", status.lab)
        }
        several => bail!("{name} may be any of {}: say which one", names(several)),
    }
}
