//! The hosts of a lab: asked one by one, and looked into also when their agents are down.

use super::ends::{Destination, Ends, Guest};
use super::fleet::{Fleet, Host, Named};
use super::tables;
use crate::client::Client;
use anyhow::{Context, Result, bail};
use futures::future::join_all;
use mizar_agent::kernel::{self, Maps};
use mizar_lab::{GuestStatus, HostStatus, Status};
use mizar_packet::Address;
use mizar_proto::{Look, Looked};
use std::net::IpAddr;

/// Finds the ends. `to` is a guest's name or an address.
///
/// # Errors
/// There is no such guest, several have the name, or they have no addresses of the same family.
pub(super) fn ends(status: &Status, from: &str, to: &str, ipv6: bool) -> Result<Ends> {
    let from = guest(status, from, None)?;
    let to = match to.parse::<IpAddr>() {
        Ok(address) => Destination::Address(address.to_canonical()),
        Err(_) => {
            let named = guest(status, to, Some(&from.vpc));
            let named =
                named.with_context(|| format!("{to} is neither an IP address nor a guest"))?;
            Destination::Guest(guest_of(named))
        }
    };
    Ends::new(guest_of(from), to, ipv6)
}

/// The underlay address of a host.
///
/// # Errors
/// The lab has no such host.
pub(super) fn underlay(status: &Status, host: &str) -> Result<Address> {
    let found = status.hosts.iter().find(|it| it.name == host);
    let found = found.with_context(|| format!("lab {} has no host {host}", status.lab))?;
    Ok(found.underlay.into())
}

/// The rows of those of the hosts that the lab has. Changes nothing there.
pub(super) async fn look(status: &Status, look: &Look) -> Fleet {
    let wanted = |host: &&HostStatus| look.hosts.contains(&host.underlay);
    let hosts = join_all(status.hosts.iter().filter(wanted).map(|it| host(it, look))).await;
    let name = |host: &HostStatus| (Address::from(host.underlay), host.name.clone());
    let endpoints = status.guests.iter().flat_map(|guest| {
        let guest = guest_of(guest);
        let (vni, name, host) = (guest.vni.get(), guest.full_name(), guest.host.clone());
        let addresses: Vec<_> = guest.addresses().collect();
        addresses
            .into_iter()
            .map(move |it| ((vni, it), Named { name: name.clone(), host: host.clone() }))
    });
    Fleet { hosts, names: status.hosts.iter().map(name).collect(), endpoints: endpoints.collect() }
}

async fn host(status: &HostStatus, look: &Look) -> Host {
    let asked = async { Client::connect(&status.socket).await?.look(look).await };
    let (agent_is_down, looked) = match asked.await {
        Ok(looked) => (None, looked.map_err(anyhow::Error::msg)),
        // Pins outlive the agent, and so does the traffic that they carry.
        Err(error) => (Some(format!("{error:#}")), pinned(status, look)),
    };
    let tables = looked.and_then(|looked| tables::from_looked(&looked));
    Host {
        name: status.name.clone(),
        underlay: status.underlay.into(),
        agent_is_down,
        tables: tables.map_err(|error| format!("{error:#}")),
    }
}

fn pinned(status: &HostStatus, look: &Look) -> Result<Looked> {
    let maps = Maps::open(&*status.pins)?;
    let now = kernel::jiffies().context("cannot read the kernel's clock")?;
    Ok(maps.look(look, now)?)
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
        let names = guests.iter().map(|guest| format!("{}/{}", guest.vpc, guest.name));
        names.collect::<Vec<_>>().join(", ")
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

fn guest_of(status: &GuestStatus) -> Guest {
    Guest {
        vpc: status.vpc.clone(),
        name: status.name.clone(),
        host: status.host.clone(),
        vni: status.vni,
        v4: status.v4,
        v6: status.v6,
    }
}
