//! The hosts that a packet may visit, with their tables and the names of what is on them.

use super::tables;
use crate::client::Client;
use anyhow::{Context, Result};
use futures::future::join_all;
use mizar_agent::kernel::{self, DUMPED, Maps};
use mizar_lab::{HostStatus, Status};
use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::LAYOUT;
use mizar_proto::MapDump;
use std::collections::BTreeMap;
use std::path::Path;

/// All hosts.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    pub(super) hosts: Vec<Host>,
    /// Names of endpoints, as `vpc/name`, by VNI and address.
    pub(super) endpoints: BTreeMap<(u32, Address), String>,
}

/// One host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) underlay: Address,
    /// Why its agent does not answer, if it does not.
    pub(super) agent_is_down: Option<String>,
    /// A copy of what its kernel programs look up, or why there is none.
    pub(super) tables: Result<MemoryTables, String>,
}

impl Fleet {
    /// Reads the tables of all hosts of a lab, and changes nothing there.
    pub(super) async fn of_lab(status: &Status) -> Self {
        let hosts = join_all(status.hosts.iter().map(host)).await;
        let named = status.guests.iter().flat_map(|guest| {
            let addresses = [guest.v4.map(Address::from), guest.v6.map(Address::from)];
            let name = format!("{}/{}", guest.vpc, guest.name);
            let vni = guest.vni.get();
            addresses.into_iter().flatten().map(move |it| ((vni, it), name.clone()))
        });
        Self { hosts, endpoints: named.collect() }
    }

    /// The host with an underlay address.
    pub(super) fn at(&self, underlay: Address) -> Option<&Host> {
        self.hosts.iter().find(|host| host.underlay == underlay)
    }

    /// The host of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// How a host is called: by its name, or its underlay address if it is no host of the lab.
    pub(super) fn host_name(&self, underlay: Address) -> String {
        self.at(underlay).map_or_else(|| underlay.to_string(), |host| host.name.clone())
    }

    /// How an endpoint is called.
    pub(super) fn endpoint_name(&self, vni: u32, address: Address) -> Option<&str> {
        self.endpoints.get(&(vni, address)).map(String::as_str)
    }
}

async fn host(status: &HostStatus) -> Host {
    let (agent_is_down, tables) = match dumped(&status.socket).await {
        Ok(maps) => (None, tables::from_dump(&maps)),
        // Pins outlive the agent, and so does the traffic that they carry.
        Err(error) => {
            let maps = pinned(&status.pins);
            (Some(format!("{error:#}")), maps.and_then(|maps| tables::from_dump(&maps)))
        }
    };
    Host {
        name: status.name.clone(),
        underlay: status.underlay.into(),
        agent_is_down,
        tables: tables.map_err(|error| format!("{error:#}")),
    }
}

/// The tables as the host's agent reads them.
async fn dumped(socket: &Path) -> Result<Vec<MapDump>> {
    Client::connect(socket).await?.dump().await
}

/// The tables as they are pinned.
fn pinned(pins: &Path) -> Result<Vec<MapDump>> {
    let maps = Maps::open(pins)?;
    let now = kernel::jiffies().context("cannot read the kernel's clock")?;
    let raw = DUMPED.iter().filter_map(|&name| Some((name, maps.raw(name)?)));
    let dump = raw.map(|(name, rows)| {
        let rows = rows?;
        let entries = rows.iter().map(|(key, row)| (key.to_vec(), row.to_vec()));
        // Most rows of an array stand for nobody.
        let entries = entries.filter(|(_, row)| row.iter().any(|byte| *byte != 0)).collect();
        Ok(MapDump { map: name.to_owned(), layout: LAYOUT, now, entries })
    });
    dump.collect()
}
