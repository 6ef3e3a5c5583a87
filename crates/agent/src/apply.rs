//! Makes this host what the controller says: hosts, networks, VPCs, routes, guests, held endpoints.
//!
//! The kernel's tables are the state; an agent that starts reads them back, and its first full
//! update becomes a difference like any other. Rows are written in an order in which nothing refers
//! to what is not there, and removed in the reverse one. A row that cannot be written is reported
//! and retried, and keeps no other from being written.

use crate::hosts::Hosts;
use crate::indices::Indices;
use crate::install;
use crate::kernel::{Maps, RouteKey, TableError};
use crate::plan::VpcTables;
use crate::ports::Ports;
use mizar_packet::Address;
use mizar_packet::tables::{Endpoint, SLOTS};
use mizar_vpc::{Changes, Generation, HeldRow, RowKey, UpdateError, Vni, VpcRows, VpcUpdate};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

mod reconcile;
use reconcile::forget_moved;

/// What came of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The rows that are not as they should be, each with its reason. They are retried.
    pub(crate) errors: BTreeMap<RowKey, String>,
}

/// Applies updates.
#[derive(Debug)]
pub(crate) struct Applier {
    maps: Arc<Maps>,
    hosts: Arc<Hosts>,
    ports: Ports,
    guest_mtu: u16,
    vpcs: Indices<u32>,
    networks: Indices<RouteKey>,
    /// What is in the kernel, held endpoints apart.
    installed: BTreeMap<u32, VpcTables>,
    known: BTreeMap<Vni, Known>,
    /// VPCs of which something was found at the start and nothing was told since, with the newest
    /// generation that their rows had.
    found: BTreeMap<u32, u64>,
}

/// What the controller said of a VPC.
#[derive(Debug, Default)]
struct Known {
    /// None while the first update is being applied.
    generation: Option<Generation>,
    /// Without held endpoints, which live in the kernel's table only.
    rows: VpcRows,
    /// Held endpoints that could not be written.
    unwritten: BTreeMap<IpAddr, HeldRow>,
    errors: BTreeMap<RowKey, String>,
}

impl Applier {
    /// Takes over what is in the tables.
    pub(crate) fn recover(
        maps: Arc<Maps>,
        hosts: Arc<Hosts>,
        ports: Ports,
        guest_mtu: u16,
    ) -> Result<Self, TableError> {
        let installed = install::recover(&maps)?;
        let with_ports = ports.vnis();
        let vnis = installed.keys().copied().chain(with_ports.into_iter().map(Vni::get));
        let mut found: BTreeMap<u32, u64> = vnis.map(|vni| (vni, 0)).collect();
        for (key, row) in maps.endpoints.rows() {
            let newest = found.entry(key.vni).or_default();
            *newest = (*newest).max(row.generation);
            if row.kind == Endpoint::MOVED {
                forget_moved(&maps, key, row);
            }
        }
        let vpcs = installed.iter().filter_map(|(vni, tables)| Some((*vni, tables.vpc?.index)));
        let vpcs = Indices::recovered("VPC", maps.learned_count.capacity(), vpcs);
        // As `plan::network_key` has it: by the IPv4 prefix of those that have one.
        let mut keys: BTreeMap<u32, RouteKey> = BTreeMap::new();
        for (key, route) in installed.values().flat_map(|tables| &tables.routes) {
            let known = keys.entry(route.network).or_insert(*key);
            if is_v4(key) && !is_v4(known) {
                *known = *key;
            }
        }
        let networks = keys.into_iter().map(|(index, key)| (key, index));
        let capacity = maps.holders.capacity() / SLOTS as u32;
        let networks = Indices::recovered("network", capacity, networks);
        let known = BTreeMap::new();
        Ok(Self { maps, hosts, ports, guest_mtu, vpcs, networks, installed, known, found })
    }

    /// Where each VPC stands. One of which there were rows at the start, and nothing was told
    /// since, stands at the first generation of all: it gets everything, or is removed.
    pub(crate) fn positions(&self) -> BTreeMap<Vni, Generation> {
        let first = Generation::new(0, 1).ok();
        let found = self.found.keys().filter_map(|vni| Vni::try_from(*vni).ok());
        let mut positions: BTreeMap<_, _> = found.filter_map(|vni| Some((vni, first?))).collect();
        let known = self.known.iter();
        positions.extend(known.filter_map(|(vni, known)| Some((*vni, known.generation?))));
        positions
    }

    /// Each VPC's rows that are not as they should be.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Vni, &BTreeMap<RowKey, String>)> {
        self.known.iter().map(|(vni, known)| (*vni, &known.errors))
    }

    /// The guests' interfaces.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The rows of each VPC, held endpoints apart.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Vni, &VpcRows)> {
        self.known.iter().map(|(vni, known)| (*vni, &known.rows))
    }

    /// Row of a VPC among the counters.
    pub(crate) fn vpc_index(&self, vni: Vni) -> Option<u32> {
        self.vpcs.get(&vni.get())
    }

    /// Applies an update.
    ///
    /// # Errors
    /// It is refused whole: it does not continue from where the VPC stands, is older than what was
    /// found in the tables, or malformed. Nothing has changed then.
    pub(crate) async fn apply(&mut self, mut update: VpcUpdate) -> Result<Outcome, UpdateError> {
        let (vni, generation) = (update.vni, update.generation);
        let current = self.known.get(&vni).and_then(|known| known.generation);
        update.check_position(current)?;
        if let Some(found) = self.found.get(&vni.get()).filter(|found| **found > generation.get())
            && let Ok(current) = Generation::try_from(*found)
        {
            return Err(UpdateError::Stale { vni, generation, current });
        }
        let full = update.base.is_none();
        let held = std::mem::take(&mut update.held);
        self.known.entry(vni).or_default().rows.apply(update)?;
        let held =
            if full { self.replaced_held(vni, held) } else { self.with_unwritten(vni, held) };
        let errors = self.reconcile(vni, held).await;
        self.found.remove(&vni.get());
        let known = self.known.entry(vni).or_default();
        known.generation = Some(generation);
        known.errors.clone_from(&errors);
        Ok(Outcome { errors })
    }

    /// Tries again what failed in a VPC; the outcome if it is another one than before.
    pub(crate) async fn retry(&mut self, vni: Vni) -> Option<Outcome> {
        let known = self.known.get_mut(&vni)?;
        let unwritten = std::mem::take(&mut known.unwritten);
        let errors = self.reconcile(vni, unwritten.into()).await;
        let known = self.known.get_mut(&vni)?;
        let news = known.errors != errors;
        known.errors.clone_from(&errors);
        news.then_some(Outcome { errors })
    }

    /// VPCs with rows to be tried again.
    pub(crate) fn failed(&self) -> Vec<Vni> {
        let failed = self.known.iter().filter(|(_, known)| !known.errors.is_empty());
        failed.map(|(vni, _)| *vni).collect()
    }

    /// An interface of a guest is gone; the VPC to be tried again, if it was one of ours.
    pub(crate) fn interface_gone(&mut self, interface: u32) -> Option<Vni> {
        self.ports.gone(interface)
    }

    /// Those changes, and what could not be written before.
    fn with_unwritten(
        &mut self,
        vni: Vni,
        mut held: Changes<IpAddr, HeldRow>,
    ) -> Changes<IpAddr, HeldRow> {
        let unwritten = self.known.get_mut(&vni).map(|known| std::mem::take(&mut known.unwritten));
        for (address, row) in unwritten.unwrap_or_default() {
            if !held.removals.contains(&address) {
                held.upserts.entry(address).or_insert(row);
            }
        }
        held
    }

    /// Changes that make the held endpoints of a VPC exactly those.
    fn replaced_held(&self, vni: Vni, held: Changes<IpAddr, HeldRow>) -> Changes<IpAddr, HeldRow> {
        let rows = self.maps.endpoints.rows();
        let removals = rows
            .filter(|(key, row)| key.vni == vni.get() && row.kind == Endpoint::HELD)
            .map(|(key, _)| IpAddr::from(key.address))
            .filter(|address| !held.upserts.contains_key(address))
            .collect();
        Changes { upserts: held.upserts, removals }
    }
}

fn is_v4(key: &RouteKey) -> bool {
    // The 32 bits of the VNI and the 96 that map IPv4.
    key.length >= 128 && Address::v6(key.address).is_v4()
}
