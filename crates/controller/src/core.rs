//! The controller's state, and what becomes of it: all that decides something, and none of the
//! threads and sockets that bring it about. Time is an argument; only how long the store takes is
//! measured here.

use crate::cursor::Cursor;
use crate::desk::{Desk, HostState};
use crate::digests::Digests;
use crate::gate::{Gate, Place};
use crate::load::Loads;
use crate::marks::Mark;
use crate::metrics::{Metrics, Snapshot};
use crate::planner::Planner;
use crate::records::{self, RecordError, Stored};
use crate::roles::Roles;
use crate::timings::Timings;
use crate::watchers::Watchers;
use mizar_store::{Store, StoreError, Transaction};
use mizar_vpc::View;
use mizar_vpc::catalog::{EndpointRecord, Record};
use mizar_vpc::{Catalog, Generation, GenerationError, Guard, Name, SlotMaps, Standing, Vni};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tracing::warn;

pub use crate::desk::SessionId;
pub use crate::time::Time;

mod keys;
mod look;
mod outgoing;
mod outlet;
mod plan;
mod read;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod write;
mod young;

use keys::Keys;
use look::Questions;
use outgoing::{BATCH_ROWS, Sending};
pub use outlet::Messages;
use outlet::Outlet;
pub use session::Opened;
pub use write::Request;
use young::YoungVpcs;

/// How long a host that says nothing is counted on.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// How long a host says nothing before it is late: more than a beat, and long enough before the end
/// of its lease that hosts which fall silent together are all late when the first is missed.
const LATE: Duration = Duration::from_millis(7_500);

/// Why a controller cannot start or go on.
#[derive(Debug, Error)]
pub enum CoreError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in it.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No thread can be had.
    #[error("cannot start the engine's thread")]
    Thread(#[source] std::io::Error),
    /// Its revisions have come to their end.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

/// The controller's state.
#[derive(Debug)]
pub struct Core {
    store: Arc<dyn Store>,
    catalog: Catalog,
    maps: SlotMaps,
    roles: Roles,
    desk: Desk,
    digests: Digests,
    planner: Planner,
    keys: Keys,
    timings: Timings,
    loads: Loads,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) watchers: Watchers,
    /// Where messages to hosts go, while they have streams.
    outgoing: BTreeMap<Name, Outlet>,
    /// What hosts have to be told, once everything at hand is done.
    unsent: BTreeSet<Place>,
    /// The same, whose turn it is.
    sends: BTreeSet<Place>,
    questions: Questions,
    /// Who is let in to be sent everything.
    gate: Gate,
    /// Updates of which not all batches are sent.
    sendings: BTreeMap<Place, Sending>,
    /// Those of them that may go on: changes, and updates of everything.
    changes: VecDeque<Place>,
    resyncs: VecDeque<Place>,
    /// Rows that have come to hosts, of which watchers have to hear.
    follows: BTreeMap<Place, Cursor>,
    /// VPCs with networks that not all dividers know, as far as was heard.
    young: YoungVpcs,
    /// Those of them of whose endpoints watchers have to hear, and after which one to go on.
    routes: BTreeMap<Vni, Option<Name>>,
    /// Most rows in one message.
    batch_rows: usize,
    /// The last write.
    generation: Generation,
    started: Time,
}

impl Core {
    /// Reads everything that is stored.
    ///
    /// # Errors
    /// The store cannot be read, or holds what this build does not understand.
    pub fn load(store: Arc<dyn Store>, now: Time) -> Result<Self, CoreError> {
        let (mut catalog, mut maps) = (Catalog::default(), SlotMaps::new());
        for prefix in records::PREFIXES {
            let mut result = Ok(());
            store.scan(prefix, &mut |key, value, _| {
                if result.is_ok() {
                    result = records::read(key, value)
                        .map(|stored| admit(&mut catalog, &mut maps, stored, store.epoch()));
                }
            })?;
            result?;
        }
        let generation = begin(&*store)?;
        let ring = store.get(records::KEYRING)?;
        let ring = ring.map(|entry| records::read_keyring(&entry.value)).transpose()?;
        let digests = Digests::of(&catalog);
        let planner = Planner::new(&catalog, &maps, generation, now);
        let young = young::at_start(&catalog, generation);
        Ok(Self {
            store,
            catalog,
            roles: Roles::of(&maps),
            maps,
            desk: Desk::default(),
            digests,
            planner,
            keys: Keys::new(ring, generation, now),
            timings: Timings::default(),
            loads: Loads::default(),
            metrics: Arc::new(Metrics::new()),
            watchers: Watchers::new(generation),
            outgoing: BTreeMap::new(),
            unsent: BTreeSet::new(),
            sends: BTreeSet::new(),
            questions: Questions::default(),
            gate: Gate::new(now),
            sendings: BTreeMap::new(),
            changes: VecDeque::new(),
            resyncs: VecDeque::new(),
            follows: BTreeMap::new(),
            young,
            routes: BTreeMap::new(),
            batch_rows: BATCH_ROWS,
            generation,
            started: now,
        })
    }

    /// What hosts must know.
    pub fn view(&self) -> View<'_> {
        View { catalog: &self.catalog, maps: &self.maps }
    }

    /// How things stand, for whoever monitors.
    pub(crate) fn snapshot(&self, now: Time) -> Snapshot {
        let hosts = || self.desk.hosts();
        let lags = |state: &HostState| state.vpcs.values().any(|it| !it.is_settled());
        let upgrades = |state: &HostState| state.waits.is_some();
        let (resyncing, resyncs_waiting) = self.gate.len();
        let networks = self.catalog.vpcs().map(|vpc| vpc.networks().count() as u64);
        Snapshot {
            hosts: self.catalog.hosts().count() as u64,
            connected: self.outgoing.len() as u64,
            alive: hosts().filter(|(host, _)| self.is_alive(host, now)).count() as u64,
            vpcs: self.catalog.vpcs().count() as u64,
            networks: networks.sum(),
            endpoints: self.catalog.endpoint_count(),
            waiting: self.timings.waiting() as u64,
            unsettled: hosts().filter(|(_, state)| lags(state)).count() as u64,
            upgrading: hosts().filter(|(_, state)| upgrades(state)).count() as u64,
            resyncing: resyncing as u64,
            resyncs_waiting: resyncs_waiting as u64,
            watchers: self.watchers.len() as u64,
            frozen: self.planner.guard != Guard::Free,
            keys: self.tags_status(),
            revision: self.generation.revision(),
            epoch: self.generation.epoch().into(),
        }
    }

    /// Notes what hosts have to be told.
    fn mark(&mut self, marks: Vec<Mark>) {
        for mark in marks {
            match mark.key {
                Some(key) if mark.amends => self.desk.amend(&mark.host, mark.vni, key),
                Some(key) => self.desk.mark(&mark.host, mark.vni, key),
                None => self.desk.mark_frame(&mark.host, mark.vni),
            }
            if self.outgoing.contains_key(&mark.host) {
                self.unsent.insert((mark.host, mark.vni));
            }
        }
    }

    /// Whether a host can be counted on.
    fn is_alive(&self, host: &Name, now: Time) -> bool {
        self.standing(host, now).is_alive()
    }

    /// How a host stands.
    fn standing(&self, host: &Name, now: Time) -> Standing {
        let Some(state) = self.desk.host(host) else {
            // Nobody was heard of yet by a controller that has just started.
            let is_new = now.since(self.started) < 2 * LEASE;
            return if is_new { Standing::Alive } else { Standing::Silent };
        };
        match now.since(state.heard) {
            silence if silence >= LEASE => Standing::Silent,
            silence if silence >= LATE => Standing::Late,
            _ => Standing::Alive,
        }
    }
}

/// Begins a generation: whatever this controller tells comes after all that earlier ones told,
/// though they may have told more than they wrote.
fn begin(store: &dyn Store) -> Result<Generation, CoreError> {
    if let Err(problem) = store.commit(&[Transaction::new()]) {
        // Hosts are told what there is, even if nothing can be changed.
        warn!(%problem, "the store takes no writes");
    }
    // A store in which nothing was ever written stands before its first revision.
    Ok(Generation::new(store.epoch(), store.revision().get().max(1))?)
}

fn admit(catalog: &mut Catalog, maps: &mut SlotMaps, stored: Stored, epoch: u16) {
    match stored {
        Stored::Record(Record::Endpoint(it)) => {
            // In a store that was restored it is newer than whatever hosts have learned of it, or
            // of others with its address, in what was lost.
            let generation = it.generation.in_epoch(epoch);
            catalog.load(EndpointRecord { generation, ..it }.into());
        }
        Stored::Record(record) => catalog.load(record),
        Stored::LastVni(vni) => catalog.resume_vnis(vni),
        Stored::Chosen(vni, id, chosen, at) => {
            catalog.resume_addresses(vni, id, chosen, at.in_epoch(epoch));
        }
        Stored::SlotMap(vni, id, map) => {
            maps.entry(vni).or_default().networks.insert(id, map);
        }
        Stored::Dividers(vni, dividers) => {
            let networks = maps.remove(&vni).map(|maps| maps.networks).unwrap_or_default();
            maps.insert(vni, mizar_vpc::VpcSlotMaps { networks, ..dividers });
        }
    }
}
