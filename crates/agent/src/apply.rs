//! Makes this host what the controller says: hosts, networks, VPCs, routes, guests, held endpoints.
//!
//! The kernel's tables are the state; an agent that starts reads them back, and its first full
//! update becomes a difference like any other. Rows are written in an order in which nothing refers
//! to what is not there, and removed in the reverse one. A row that cannot be written is reported
//! and retried, and keeps no other from being written.
//!
//! An update costs what it changes, however many rows there are. Its guests are attached many at a
//! time, and each has its rows as soon as its interface stands; held endpoints are written
//! meanwhile. Rows that take the place of others do so once frames can be sent to the hosts that
//! they name. The updates of one VPC are applied one after another, in their order; those of
//! several VPCs do not wait for each other.

use crate::control::Control;
use crate::hosts::Hosts;
use crate::indices::Indices;
use crate::install;
use crate::kernel::{Maps, TableError};
use crate::ports::Ports;
use crate::usage::Used;
use mizar_packet::Address;
use mizar_packet::tables::{Endpoint, RouteKey, SLOTS};
use mizar_proto::PortReport;
use mizar_vpc::tables::VpcTables;
use mizar_vpc::{
    Changes, Generation, HeldRow, IndexedRows, Name, RowKey, UpdateError, Vni, VpcRows, VpcUpdate,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod digest;
mod reconcile;
mod scope;
mod work;

pub(crate) use digest::held_digests;
use reconcile::forget_moved;
use scope::Scope;
use work::Work;

/// Why rows are not as they should be.
pub(crate) type Errors = BTreeMap<RowKey, String>;

/// An update that is done with, or a retry.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) vni: Vni,
    /// Where the update led to; None for a retry.
    pub(crate) generation: Option<Generation>,
    /// How many rows it had.
    pub(crate) rows: usize,
    /// How long it took since it had come.
    pub(crate) took: Duration,
    /// What came of it. Refused, it has changed nothing: it does not continue from where the VPC
    /// stands, is older than what was found in the tables, or malformed.
    pub(crate) result: Result<Outcome, UpdateError>,
}

/// What came of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The VPC's rows that are not as they should be, each with its reason. They are retried.
    pub(crate) errors: Errors,
    /// The guests that were attached.
    pub(crate) ports: Vec<PortReport>,
    /// How long writing held endpoints took.
    pub(crate) held: Duration,
    /// The guests of which anything may be another than before.
    pub(crate) touched: BTreeSet<Name>,
    /// Whether there is anything to tell about a retry.
    pub(crate) news: bool,
}

/// Applies updates.
#[derive(Debug)]
pub(crate) struct Applier {
    maps: Arc<Maps>,
    hosts: Arc<Hosts>,
    ports: Ports,
    used: Arc<Used>,
    control: Arc<Control>,
    guest_mtu: u16,
    vpcs: Indices<u32>,
    networks: Indices<RouteKey>,
    /// What is in the kernel, held endpoints apart.
    installed: BTreeMap<u32, VpcTables>,
    known: BTreeMap<Vni, Known>,
    /// VPCs of which something was found at the start and nothing was told since, with the newest
    /// generation that their rows had.
    found: BTreeMap<u32, u64>,
    /// What is being applied.
    work: BTreeMap<Vni, Work>,
    /// What waits for earlier updates of its VPC.
    queued: BTreeMap<Vni, VecDeque<Queued>>,
    finished: VecDeque<Finished>,
}

/// An update, and when it came.
#[derive(Debug)]
struct Queued {
    update: VpcUpdate,
    since: Instant,
}

/// What the controller said of a VPC.
#[derive(Debug, Default)]
struct Known {
    /// None while the first update is being applied.
    generation: Option<Generation>,
    /// Without held endpoints, which live in the kernel's table only.
    rows: IndexedRows,
    /// Held endpoints that could not be written.
    unwritten: BTreeMap<IpAddr, HeldRow>,
    errors: Errors,
    /// Guests whose interfaces are gone, with the indices that these had.
    lost: BTreeMap<u32, Name>,
}

impl Applier {
    /// Takes over what is in the tables.
    pub(crate) fn recover(
        (maps, hosts, used): (Arc<Maps>, Arc<Hosts>, Arc<Used>),
        ports: Ports,
        control: Arc<Control>,
        guest_mtu: u16,
    ) -> Result<Self, TableError> {
        let installed = install::recover(&maps)?;
        let with_ports = ports.vnis();
        let vnis = installed.keys().copied().chain(with_ports.into_iter().map(Vni::get));
        let mut found: BTreeMap<u32, u64> = vnis.map(|vni| (vni, 0)).collect();
        used.set_endpoints(maps.endpoints.rows().count());
        for (key, row) in maps.endpoints.rows() {
            let newest = found.entry(key.vni).or_default();
            *newest = (*newest).max(row.generation);
            if row.kind == Endpoint::MOVED {
                forget_moved(&maps, key, row);
            }
        }
        let vpcs = installed.iter().filter_map(|(vni, tables)| Some((*vni, tables.vpc?.index)));
        let vpcs = Indices::recovered("VPC", maps.learned_count.capacity(), vpcs);
        // As `tables::network_key` has it: by the IPv4 prefix of those that have one.
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
        let (known, work, queued, finished) = Default::default();
        Ok(Self {
            maps,
            hosts,
            ports,
            used,
            control,
            guest_mtu,
            vpcs,
            networks,
            installed,
            known,
            found,
            work,
            queued,
            finished,
        })
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

    /// Where a VPC stands of which something was told.
    pub(crate) fn position(&self, vni: Vni) -> Option<Generation> {
        self.known.get(&vni)?.generation
    }

    /// A VPC's rows that are not as they should be.
    pub(crate) fn errors(&self, vni: Vni) -> Option<&Errors> {
        Some(&self.known.get(&vni)?.errors)
    }

    /// The guests' interfaces.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The same, to be changed.
    pub(crate) fn ports_mut(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// Whether nothing is being applied, waits to be, or has yet to be told of.
    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.queued.is_empty() && self.finished.is_empty()
    }

    /// The rows of a VPC, held endpoints apart.
    pub(crate) fn rows(&self, vni: Vni) -> Option<&VpcRows> {
        Some(self.known.get(&vni)?.rows.rows())
    }

    /// Row of a VPC among the counters.
    pub(crate) fn vpc_index(&self, vni: Vni) -> Option<u32> {
        self.vpcs.get(&vni.get())
    }

    /// Each VPC that has a row among the counters, with this row.
    pub(crate) fn vpc_indices(&self) -> impl Iterator<Item = (Vni, u32)> {
        self.vpcs.iter().filter_map(|(vni, index)| Some((Vni::try_from(*vni).ok()?, index)))
    }

    /// Updates that wait for others of their VPC.
    pub(crate) fn backlog(&self) -> usize {
        self.queued.values().map(VecDeque::len).sum()
    }

    /// Forgets the updates that wait: whoever sent them is no longer there, and learns where this
    /// host stands when it is again.
    pub(crate) fn forget_backlog(&mut self) {
        self.queued.clear();
    }

    /// Takes an update, which is applied once earlier ones of its VPC are. [`Applier::next`] says
    /// what came of it.
    pub(crate) fn submit(&mut self, update: VpcUpdate) {
        let vni = update.vni;
        let queued = Queued { update, since: Instant::now() };
        self.queued.entry(vni).or_default().push_back(queued);
        self.begin_next(vni);
    }

    /// The next update or retry that is done with; for ever, if there is none. Cancelling the wait
    /// loses nothing.
    pub(crate) async fn next(&mut self) -> Finished {
        loop {
            if let Some(finished) = self.finished.pop_front() {
                return finished;
            }
            let (hosts, is_late) =
                (Arc::clone(&self.hosts), self.work.values().any(|work| work.late.is_some()));
            tokio::select! {
                done = self.ports.next() => self.proceed(done),
                () = hosts.settled(), if is_late => self.write_late(),
            }
        }
    }

    /// Tries again what failed in a VPC, unless something of it is being applied.
    pub(crate) fn retry(&mut self, vni: Vni) {
        if self.work.contains_key(&vni) {
            return;
        }
        let Some(known) = self.known.get_mut(&vni) else { return };
        let scope = Scope::of_failed(known.errors.keys(), std::mem::take(&mut known.lost));
        let held = Changes::from(std::mem::take(&mut known.unwritten));
        let work = Work::new(vni, None, Instant::now(), scope);
        self.start(work, held);
    }

    /// VPCs with rows to be tried again.
    pub(crate) fn failed(&self) -> Vec<Vni> {
        let failed = self.known.iter();
        let failed = failed.filter(|(_, it)| !it.errors.is_empty() || !it.lost.is_empty());
        failed.map(|(vni, _)| *vni).collect()
    }

    /// An interface is gone; the VPC to be tried again, if it was that of a guest.
    pub(crate) fn interface_gone(&mut self, interface: u32) -> Option<Vni> {
        let (vni, name) = self.ports.gone(interface)?;
        let known = self.known.get_mut(&vni)?;
        if !known.rows.rows().ports.contains_key(&name) {
            return None;
        }
        known.lost.insert(interface, name);
        Some(vni)
    }

    /// Begins with the next update of a VPC that waits, unless one is being applied.
    fn begin_next(&mut self, vni: Vni) {
        while !self.work.contains_key(&vni) {
            let Some(queue) = self.queued.get_mut(&vni) else { return };
            let Some(Queued { update, since }) = queue.pop_front() else {
                self.queued.remove(&vni);
                return;
            };
            let (generation, rows) = (Some(update.generation), update.len());
            match self.admit(update, since) {
                Ok((work, held)) => self.start(work, held),
                Err(error) => {
                    let (took, result) = (since.elapsed(), Err(error));
                    self.finished.push_back(Finished { vni, generation, rows, took, result });
                }
            }
        }
    }

    /// Takes an update into the rows; what is to be done for it.
    fn admit(
        &mut self,
        update: VpcUpdate,
        since: Instant,
    ) -> Result<(Work, Changes<IpAddr, HeldRow>), UpdateError> {
        let (vni, generation, full) = (update.vni, update.generation, update.base.is_none());
        update.check_position(self.position(vni))?;
        if let Some(found) = self.found.get(&vni.get()).filter(|found| **found > generation.get())
            && let Ok(current) = Generation::try_from(*found)
        {
            return Err(UpdateError::Stale { vni, generation, current });
        }
        let known = self.known.entry(vni).or_default();
        let index = |key: &RouteKey| self.networks.get(key);
        let mut scope = Scope::of(&update, &known.rows, known.errors.keys(), index);
        let rows = update.len();
        let held = known.rows.apply_but_held(update)?;
        scope.follow(known.rows.rows());
        let removed =
            scope.ports.iter().filter(|name| !known.rows.rows().ports.contains_key(*name));
        let interfaces = removed.filter_map(|name| Some(self.ports.get(vni, name)?.interface));
        scope.gone.ports.extend(interfaces);
        let held =
            if full { self.replaced_held(vni, held) } else { self.with_unwritten(vni, held) };
        let mut work = Work::new(vni, Some(generation), since, scope);
        work.rows = rows;
        Ok((work, held))
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
    fn replaced_held(
        &mut self,
        vni: Vni,
        held: Changes<IpAddr, HeldRow>,
    ) -> Changes<IpAddr, HeldRow> {
        let rows = self.maps.endpoints.rows();
        let removals = rows
            .filter(|(key, row)| key.vni == vni.get() && row.kind == Endpoint::HELD)
            .map(|(key, _)| IpAddr::from(key.address))
            .filter(|address| !held.upserts.contains_key(address))
            .collect();
        if let Some(known) = self.known.get_mut(&vni) {
            known.unwritten.clear();
        }
        Changes { upserts: held.upserts, removals }
    }
}

fn is_v4(key: &RouteKey) -> bool {
    // The 32 bits of the VNI and the 96 that map IPv4.
    key.length >= 128 && Address::v6(key.address).is_v4()
}
