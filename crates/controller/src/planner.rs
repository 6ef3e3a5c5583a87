//! Drives the planner: which networks and VPCs have to be looked at, and how far hosts are with
//! what was decided.

use crate::core::LEASE;
use crate::desk::Desk;
use crate::time::Time;
use mizar_vpc::catalog::{HostRecord, NetworkEntry};
use mizar_vpc::manifest::RoleSpec;
use mizar_vpc::{
    Bouncers, Candidate, Catalog, Fleet, Generation, Guard, HolderState, Limits, Name, Needs,
    NetworkId, Progress, RowKey, SlotMap, SlotMaps, Standing, Vni, VpcSlotMaps,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long hosts that cannot be reached are waited for before a former holder forgets a network.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A VPC's dividers.
    Dividers(Vni),
    /// A network's slot map.
    Network(Vni, NetworkId),
}

/// What the planner knows beside resources and slot maps.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) fleet: Fleet,
    pub(crate) guard: Guard,
    /// Since when no more are silent than is borne, while reassignment is frozen still.
    borne: Option<Time>,
    pub(crate) limits: Limits,
    due: BTreeSet<Due>,
    /// Slot maps and dividers that are not at rest: hosts have to follow.
    moving: BTreeSet<Due>,
    /// Since when the latest states of what is not at rest stand.
    since: BTreeMap<Due, Vec<Since>>,
}

/// Since when a state stands.
#[derive(Clone, Copy, Debug)]
struct Since {
    epoch: u64,
    generation: Generation,
    time: Time,
}

impl Planner {
    /// Nobody is heard yet, and everything has to be looked at.
    pub(crate) fn new(
        catalog: &Catalog,
        maps: &SlotMaps,
        generation: Generation,
        now: Time,
    ) -> Self {
        let mut planner = Self {
            fleet: Fleet::default(),
            guard: Guard::Free,
            borne: None,
            limits: Limits::default(),
            due: BTreeSet::new(),
            moving: BTreeSet::new(),
            since: BTreeMap::new(),
        };
        for host in catalog.hosts() {
            // Until the leases of the last controller's hosts have run out for certain, all live.
            planner.fleet.insert(candidate(host.record(), Standing::Alive));
        }
        planner.all_due(catalog);
        for (vni, maps) in maps {
            for (id, map) in &maps.networks {
                planner.changed(Due::Network(*vni, *id), map.epoch(), generation, now);
            }
            planner.changed(Due::Dividers(*vni), 0, generation, now);
        }
        planner
    }

    /// Everything has to be looked at.
    pub(crate) fn all_due(&mut self, catalog: &Catalog) {
        for vpc in catalog.vpcs() {
            let vni = vpc.record().vni;
            self.due.insert(Due::Dividers(vni));
            self.due.extend(vpc.networks().map(|it| Due::Network(vni, it.record().id)));
        }
    }

    /// This has to be looked at.
    pub(crate) fn look_at(&mut self, due: Due) {
        self.due.insert(due);
    }

    /// What is not at rest has to be looked at, since hosts have followed or time has passed.
    pub(crate) fn look_at_moving(&mut self) {
        self.due.extend(&self.moving);
    }

    /// What of a VPC is not at rest has to be looked at.
    pub(crate) fn look_at_moving_of(&mut self, vni: Vni) {
        let first = Due::Network(vni, NetworkId::MIN);
        let networks = self
            .moving
            .range(first..)
            .take_while(|it| matches!(it, Due::Network(of, _) if *of == vni));
        self.due.extend(networks);
        self.due.extend(self.moving.get(&Due::Dividers(vni)));
    }

    /// What has to be looked at.
    pub(crate) fn take_due(&mut self) -> BTreeSet<Due> {
        std::mem::take(&mut self.due)
    }

    /// Something was decided, of this epoch and generation.
    pub(crate) fn changed(&mut self, what: Due, epoch: u64, generation: Generation, time: Time) {
        self.moving.insert(what);
        let since = self.since.entry(what).or_default();
        since.push(Since { epoch, generation, time });
        // Older epochs are of no interest: whoever follows them has yet to follow the latest.
        if since.len() > 8 {
            since.remove(0);
        }
    }

    /// Something has come to rest.
    pub(crate) fn rests(&mut self, what: Due) {
        self.moving.remove(&what);
    }

    /// Something is gone.
    pub(crate) fn gone(&mut self, what: Due) {
        self.moving.remove(&what);
        self.due.remove(&what);
        self.since.remove(&what);
    }

    /// How far hosts are with a network's slot map.
    pub(crate) fn progress<'a>(
        &'a self,
        (vni, id): (Vni, NetworkId),
        told: BTreeSet<&'a Name>,
        desk: &'a Desk,
        now: Time,
    ) -> impl Progress + use<'a> {
        let since = self.since.get(&Due::Network(vni, id)).map_or(&[][..], Vec::as_slice);
        Followers { vni, told, desk, since, now }
    }

    /// Whether a host has what a VPC's present dividers call for.
    pub(crate) fn knows(&self, vni: Vni, desk: &Desk, host: &Name) -> bool {
        let since = self.since.get(&Due::Dividers(vni)).and_then(|since| since.last());
        since.is_none_or(|since| desk.position(host, vni).is_some_and(|at| at >= since.generation))
    }

    /// Whether all who send to a VPC's dividers know the present ones, or were waited for.
    pub(crate) fn all_told(
        &self,
        vni: Vni,
        told: &BTreeSet<&Name>,
        desk: &Desk,
        now: Time,
    ) -> bool {
        let since = self.since.get(&Due::Dividers(vni)).and_then(|since| since.last());
        since.is_none_or(|since| now.since(since.time) >= PATIENCE)
            || told.iter().all(|host| self.knows(vni, desk, host))
    }

    /// A host joins, changes, or is heard or not heard any more; whether that matters.
    pub(crate) fn set_host(&mut self, record: &HostRecord, standing: Standing) -> bool {
        let candidate = candidate(record, standing);
        let before = self.fleet.get(&record.name).cloned();
        if before.as_ref() == Some(&candidate) {
            return false;
        }
        // One that is only late is counted on as before.
        let as_alive = |it: &Candidate| match it.standing {
            Standing::Late => Candidate { standing: Standing::Alive, ..it.clone() },
            Standing::Alive | Standing::Silent => it.clone(),
        };
        let is_other = before.is_none_or(|before| as_alive(&before) != as_alive(&candidate));
        self.fleet.insert(candidate);
        self.judge();
        is_other
    }

    /// Whether reassignment is frozen no longer: for as long as a host is waited for, no more were
    /// silent than is borne. Hosts return one after another, and the last of them, which may be few
    /// enough, are not dead.
    pub(crate) fn thaws(&mut self, now: Time) -> bool {
        if self.guard == Guard::Free || Guard::judge(&self.fleet) != Guard::Free {
            self.borne = None;
            return false;
        }
        if now.since(*self.borne.get_or_insert(now)) < LEASE {
            return false;
        }
        (self.guard, self.borne) = (Guard::Free, None);
        true
    }

    fn judge(&mut self) {
        let judged = Guard::judge(&self.fleet);
        if judged != Guard::Free {
            self.guard = judged;
        }
    }

    /// How a host of the fleet stands.
    pub(crate) fn standing(&self, host: &Name) -> Option<Standing> {
        self.fleet.get(host).map(|host| host.standing)
    }

    /// A host is gone.
    pub(crate) fn remove_host(&mut self, host: &Name) {
        self.fleet.remove(host);
        self.judge();
    }
}

/// What a network asks of its bouncers.
pub(crate) fn needs(network: &NetworkEntry, rate: u64) -> Needs {
    let record = network.record();
    Needs {
        key: u64::from(record.vni.get()) << 32 | u64::from(record.id.get()),
        replicas: record.spec.replicas,
        bouncers: bouncers(&record.spec.bouncers),
        rows: network.address_count(),
        packets_per_second: rate,
    }
}

/// A role as the planner has it.
pub(crate) fn bouncers(role: &RoleSpec) -> Bouncers {
    match role {
        RoleSpec::Auto => Bouncers::Auto,
        RoleSpec::Count(count) => Bouncers::Count(*count),
        RoleSpec::Hosts(hosts) => Bouncers::Hosts(hosts.clone()),
    }
}

/// Whether nothing of a slot map has yet to happen.
pub(crate) fn is_at_rest(map: &SlotMap) -> bool {
    let settled = |tally: [usize; HolderState::ALL.len()]| {
        HolderState::ALL
            .into_iter()
            .zip(tally)
            .all(|(state, n)| n == 0 || state == HolderState::Active)
    };
    map.former().next().is_none() && map.tally().into_values().all(settled)
}

/// Whether nothing of a VPC's dividers has yet to happen.
pub(crate) fn dividers_rest(maps: &VpcSlotMaps) -> bool {
    maps.spare_dividers.is_empty()
}

fn candidate(record: &HostRecord, standing: Standing) -> Candidate {
    Candidate {
        name: record.name.clone(),
        zone: record.spec.zone.clone(),
        weight: record.spec.weight,
        standing,
        cordoned: record.spec.cordoned,
    }
}

/// The hosts that follow one slot map.
struct Followers<'a> {
    vni: Vni,
    told: BTreeSet<&'a Name>,
    desk: &'a Desk,
    since: &'a [Since],
    now: Time,
}

impl Followers<'_> {
    /// The epoch that a host has followed.
    fn epoch_of(&self, host: &Name) -> u64 {
        let Some(at) = self.desk.position(host, self.vni) else { return 0 };
        let followed = self.since.iter().rev().find(|since| at >= since.generation);
        followed.map_or(0, |since| since.epoch)
    }

    fn is_reachable(&self, host: &Name) -> bool {
        self.desk.host(host).is_some_and(|state| state.session.is_some())
    }
}

impl Progress for Followers<'_> {
    fn synced(&self, host: &Name) -> u64 {
        let failed = self.desk.host(host).and_then(|state| state.vpcs.get(&self.vni));
        let failed = failed.is_some_and(|progress| {
            progress.errors.keys().any(|key| matches!(key, RowKey::Held(_)))
        });
        if failed { 0 } else { self.epoch_of(host) }
    }

    fn told(&self) -> u64 {
        let reachable = self.told.iter().filter(|host| self.is_reachable(host));
        let latest = self.since.last().map_or(0, |since| since.epoch);
        reachable.map(|host| self.epoch_of(host)).min().unwrap_or(latest)
    }

    fn has_unreachable(&self) -> bool {
        self.told.iter().any(|host| !self.is_reachable(host))
    }

    fn waited(&self) -> bool {
        self.since.last().is_none_or(|since| self.now.since(since.time) >= PATIENCE)
    }
}
