//! A cloud in which things happen, with its planner, and hosts that follow as they may.

use crate::assign::{
    Bouncers, DividerStep, Limits, Needs, Progress, Step, assign_dividers, assign_network,
};
use crate::catalog::{Mode, Record};
use crate::example::{at, endpoint, fleet, host, name, network, vpc};
use crate::manifest::{EndpointSpec, Migration, RoleSpec};
use crate::rows::{View, VpcRows};
use crate::{
    Candidate, Catalog, Fleet, IndexedRows, Kind, Manifest, Name, NetworkId, Ref, SlotMaps,
    Standing, Vni, VpcUpdate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A VPC comes, or goes with all that is in it.
    Vpc(usize, bool),
    /// An endpoint comes, or moves: VPC, network, number, host.
    Put(usize, usize, u8, u8),
    Delete(usize, u8),
    /// An endpoint is about to move to a host, or stays after all: VPC, number, host.
    Migrate(usize, u8, Option<u8>),
    /// One that is about to move moves.
    Switch(usize, u8),
    /// A network comes, with these families, or goes with all its endpoints.
    Network(usize, usize, Option<(bool, bool)>),
    /// A network's bouncers are others; how many hold each slot.
    Bouncers(usize, usize, Option<Vec<u8>>, u8),
    Dividers(usize, Option<Vec<u8>>),
    Cordon(u8, bool),
    Join,
    Leave(u8),
    /// A host has all that it should at this moment.
    Follow(u8),
    /// The planner takes a step everywhere.
    Step,
}

/// What happens to slots.
pub(super) fn movement() -> impl Strategy<Value = Event> {
    let hosts = || proptest::option::of(vec(any::<u8>(), 1..3));
    prop_oneof![
        5 => (0..2usize, 0..2usize, hosts(), prop_oneof![Just(1), 1..=3u8])
            .prop_map(|(vpc, network, hosts, n)| Event::Bouncers(vpc, network, hosts, n)),
        2 => (0..2usize, hosts()).prop_map(|(vpc, hosts)| Event::Dividers(vpc, hosts)),
        2 => any::<(u8, bool)>().prop_map(|(host, cordoned)| Event::Cordon(host, cordoned)),
        1 => Just(Event::Join),
        12 => any::<u8>().prop_map(Event::Follow),
        6 => Just(Event::Step),
    ]
}

/// What happens to anything.
pub(super) fn event() -> impl Strategy<Value = Event> {
    let families = || prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
    prop_oneof![
        10 => (0..2usize, 0..2usize, 0..6u8, any::<u8>())
            .prop_map(|(vpc, network, number, host)| Event::Put(vpc, network, number, host)),
        3 => (0..2usize, 0..6u8).prop_map(|(vpc, number)| Event::Delete(vpc, number)),
        5 => (0..2usize, 0..6u8, proptest::option::weighted(0.8, any::<u8>()))
            .prop_map(|(vpc, number, host)| Event::Migrate(vpc, number, host)),
        3 => (0..2usize, 0..6u8).prop_map(|(vpc, number)| Event::Switch(vpc, number)),
        2 => (0..2usize, 0..2usize, proptest::option::weighted(0.8, families()))
            .prop_map(|(vpc, network, families)| Event::Network(vpc, network, families)),
        2 => (0..2usize, any::<bool>()).prop_map(|(vpc, comes)| Event::Vpc(vpc, comes)),
        1 => any::<u8>().prop_map(Event::Leave),
        20 => movement(),
    ]
}

/// The VPCs, with the same addresses, and the names of their networks.
const VPCS: [&str; 2] = ["blue", "red"];
const NETWORKS: [&str; 2] = ["web", "db"];

pub(super) struct World {
    pub(super) catalog: Catalog,
    pub(super) maps: SlotMaps,
    /// Every host that there is.
    pub(super) hosts: BTreeMap<Name, Host>,
    fleet: Fleet,
    joined: u8,
    /// Counts what happens.
    now: u64,
    /// When each epoch of each network's map began.
    epochs: BTreeMap<(Vni, NetworkId), Vec<u64>>,
    /// When the present dividers of a VPC were assigned.
    divided: BTreeMap<Vni, u64>,
    /// When each VPC was made.
    made: BTreeMap<Vni, u64>,
}

/// A host: its rows, and when it was told them.
#[derive(Default)]
pub(super) struct Host {
    pub(super) rows: BTreeMap<Vni, IndexedRows>,
    /// Of which VPC the rows are that it was told under a VNI: when that was made.
    pub(super) of: BTreeMap<Vni, u64>,
    followed: u64,
}

impl World {
    /// Two VPCs without networks.
    pub(super) fn new(hosts: u8) -> Self {
        let mut world = Self {
            catalog: Catalog::default(),
            maps: SlotMaps::new(),
            hosts: BTreeMap::new(),
            fleet: Fleet::default(),
            joined: 0,
            now: 1,
            epochs: BTreeMap::new(),
            divided: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        assert!(world.apply(&fleet()));
        (0..hosts).for_each(|_| world.happen(&Event::Join));
        (0..VPCS.len()).for_each(|vpc| world.happen(&Event::Vpc(vpc, true)));
        world
    }

    pub(super) fn view(&self) -> View<'_> {
        View { catalog: &self.catalog, maps: &self.maps }
    }

    /// Lets something happen; what is refused changes nothing.
    pub(super) fn happen(&mut self, event: &Event) {
        self.now += 1;
        let path = |vpc: usize, name: &str| format!("{}/{name}", VPCS[vpc]);
        match event {
            Event::Vpc(vpc, true) => self.make_vpc(VPCS[*vpc]),
            Event::Vpc(vpc, false) => self.delete(Kind::Vpc, None, VPCS[*vpc]),
            Event::Put(vpc, network, number, host) => {
                let path = path(*vpc, &format!("e{number}"));
                let host = self.pick(*host);
                self.apply(&endpoint(&path, host.as_str(), |spec| {
                    spec.network = name(NETWORKS[*network]);
                }));
            }
            Event::Delete(vpc, number) => {
                self.delete(Kind::Endpoint, Some(VPCS[*vpc]), &format!("e{number}"));
            }
            Event::Migrate(vpc, number, host) => {
                let host = host.map(|host| self.pick(host));
                self.change_endpoint(*vpc, *number, |spec| prepare(spec, host));
            }
            Event::Switch(vpc, number) => self.change_endpoint(*vpc, *number, switch),
            Event::Network(vpc, number, Some(families)) => {
                let path = path(*vpc, NETWORKS[*number]);
                self.apply(&network(&path, |spec| {
                    let v4 = format!("10.{number}.0.0/16").parse().ok();
                    let v6 = format!("fd00:{number}::/64").parse().ok();
                    (spec.v4, spec.v6) = (v4.filter(|_| families.0), v6.filter(|_| families.1));
                }));
            }
            Event::Network(vpc, number, None) => {
                self.delete(Kind::Network, Some(VPCS[*vpc]), NETWORKS[*number]);
            }
            Event::Bouncers(vpc, number, hosts, replicas) => {
                let reference =
                    Ref::in_vpc(Kind::Network, name(VPCS[*vpc]), name(NETWORKS[*number]));
                let role = self.role(hosts.as_ref());
                self.change(&reference, |manifest| {
                    if let Manifest::Network(it) = manifest {
                        it.spec.bouncers = role;
                        it.spec.replicas = (*replicas).try_into().unwrap();
                    }
                });
            }
            Event::Dividers(number, hosts) => {
                let role = self.role(hosts.as_ref());
                self.change(&Ref::global(Kind::Vpc, name(VPCS[*number])), |manifest| {
                    if let Manifest::Vpc(it) = manifest {
                        it.spec.dividers = role;
                    }
                });
            }
            Event::Cordon(host, cordoned) => self.cordon(*host, *cordoned),
            Event::Join if self.joined < 12 => {
                self.joined += 1;
                assert!(self.apply(&host(self.joined, |_| ())));
            }
            Event::Join => {}
            Event::Leave(host) if self.hosts.len() > 1 => {
                let host = self.pick(*host);
                self.delete(Kind::Host, None, host.as_str());
            }
            Event::Leave(_) => {}
            Event::Follow(host) => self.follow(&self.pick(*host)),
            Event::Step => _ = self.step(false),
        }
        self.note_hosts();
    }

    /// Lets everybody follow and the planner take its steps until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            self.now += 1;
            let hosts: Vec<_> = self.hosts.keys().cloned().collect();
            hosts.iter().for_each(|host| self.follow(host));
            if !self.step(true) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// One step for every network and VPC; whether anything was assigned anew.
    fn step(&mut self, waited: bool) -> bool {
        self.now += 1;
        let mut news = false;
        let vnis: Vec<_> = self.catalog.vpcs().map(|vpc| vpc.record().vni).collect();
        for vni in vnis {
            news |= self.divide(vni);
            let networks = self.catalog.vpc(vni).unwrap().networks();
            let records: Vec<_> = networks.map(|network| network.record().clone()).collect();
            for record in records {
                let needs = Needs {
                    key: u64::from(vni.get()) << 32 | u64::from(record.id.get()),
                    replicas: record.spec.replicas,
                    bouncers: bouncers(&record.spec.bouncers),
                    rows: 0,
                    packets_per_second: 0,
                };
                let map = self.maps.get(&vni).and_then(|maps| maps.networks.get(&record.id));
                let limits = Limits::default();
                let progress = Followers { world: self, of: (vni, record.id), waited };
                let step = assign_network(&needs, map, &self.fleet, &limits, &progress);
                if let Step::Change(map) = step {
                    self.epochs.entry((vni, record.id)).or_default().push(self.now);
                    self.maps.entry(vni).or_default().networks.insert(record.id, map);
                    news = true;
                }
            }
        }
        news
    }

    fn divide(&mut self, vni: Vni) -> bool {
        let role = bouncers(&self.catalog.vpc(vni).unwrap().record().spec.dividers);
        let current = self.maps.get(&vni).cloned().unwrap_or_default();
        let since = self.divided.get(&vni).copied().unwrap_or_default();
        let told = self.view().knowing_any(vni);
        let knows = |host: &Name| self.hosts.get(host).is_some_and(|it| it.followed >= since);
        let all_told = told.iter().all(|host| knows(host));
        let key = u64::from(vni.get());
        match assign_dividers(key, &role, &current, &self.fleet, knows, all_told) {
            DividerStep::Change { dividers, spare_dividers } => {
                let maps = self.maps.entry(vni).or_default();
                (maps.dividers, maps.spare_dividers) = (dividers, spare_dividers);
                self.divided.insert(vni, self.now);
                true
            }
            DividerStep::Keep | DividerStep::Stuck(_) => false,
        }
    }

    /// A host is told everything, and takes it; what it is told must be what it accepts.
    fn follow(&mut self, name: &Name) {
        let view = View { catalog: &self.catalog, maps: &self.maps };
        let host = self.hosts.get_mut(name).unwrap();
        let vnis = self.catalog.vpcs().map(|vpc| vpc.record().vni);
        let vnis: BTreeSet<_> = vnis.chain(host.rows.keys().copied()).collect();
        for vni in vnis {
            let new = view.vpc_rows(vni, name);
            let rows = host.rows.entry(vni).or_default();
            let (from, to) = (at(host.followed.max(1)), at(self.now));
            let update = VpcUpdate::diff(vni, (from, rows.rows()), (to, &new));
            rows.apply(update).unwrap();
            assert_eq!(*rows.rows(), new);
        }
        host.rows.retain(|_, rows| *rows.rows() != VpcRows::default());
        host.of = host.rows.keys().map(|vni| (*vni, self.made[vni])).collect();
        host.followed = self.now;
    }

    fn apply(&mut self, manifest: &Manifest) -> bool {
        self.catalog.apply(manifest, Mode::Apply, at(self.now)).is_ok()
    }

    fn delete(&mut self, kind: Kind, vpc: Option<&str>, text: &str) {
        let reference = Ref { kind, vpc: vpc.map(name), name: name(text) };
        let gone = self.catalog.delete(&reference, true, None).unwrap_or_default();
        for changed in gone {
            match changed.before {
                Some(Record::Network(it)) => {
                    // Another network may get its number, and begins anew.
                    self.maps.entry(it.vni).or_default().networks.remove(&it.id);
                    self.epochs.remove(&(it.vni, it.id));
                }
                Some(Record::Vpc(it)) => {
                    self.maps.remove(&it.vni);
                    self.divided.remove(&it.vni);
                }
                _ => {}
            }
        }
    }

    fn make_vpc(&mut self, path: &str) {
        if self.catalog.vpc_named(&name(path)).is_none() {
            assert!(self.apply(&vpc(path, |_| ())));
            let vni = self.catalog.vpc_named(&name(path)).unwrap().record().vni;
            self.made.insert(vni, self.now);
        }
    }

    fn cordon(&mut self, host: u8, cordoned: bool) {
        let host = self.pick(host);
        self.change(&Ref::global(Kind::Host, host), |manifest| {
            if let Manifest::Host(it) = manifest {
                it.spec.cordoned = cordoned;
            }
        });
    }

    fn change_endpoint(&mut self, vpc: usize, number: u8, change: impl FnOnce(&mut EndpointSpec)) {
        let name_ = name(format!("e{number}"));
        self.change(&Ref::in_vpc(Kind::Endpoint, name(VPCS[vpc]), name_), |manifest| {
            if let Manifest::Endpoint(it) = manifest {
                change(&mut it.spec);
            }
        });
    }

    fn change(&mut self, reference: &Ref, change: impl FnOnce(&mut Manifest)) {
        let Some(record) = self.catalog.record(reference) else { return };
        let mut manifest = self.catalog.manifest(&record).unwrap();
        change(&mut manifest);
        self.apply(&manifest);
    }

    /// Takes over which hosts there are. The planner looks at once at what a host has left.
    fn note_hosts(&mut self) {
        let records: Vec<_> = self.catalog.hosts().map(|host| host.record().clone()).collect();
        self.hosts.retain(|host, _| records.iter().any(|record| record.name == *host));
        let has_left = self.fleet.hosts().count() > records.len();
        self.fleet = records
            .iter()
            .map(|record| Candidate {
                name: record.name.clone(),
                zone: record.spec.zone.clone(),
                weight: record.spec.weight,
                standing: Standing::Alive,
                cordoned: record.spec.cordoned,
            })
            .collect();
        for record in records {
            self.hosts.entry(record.name).or_default();
        }
        if has_left {
            self.step(false);
        }
    }

    fn pick(&self, number: u8) -> Name {
        let hosts: Vec<_> = self.catalog.hosts().map(|host| &host.record().name).collect();
        hosts[usize::from(number) % hosts.len()].clone()
    }

    fn role(&self, hosts: Option<&Vec<u8>>) -> RoleSpec {
        let Some(hosts) = hosts else { return RoleSpec::Auto };
        let hosts: BTreeSet<_> = hosts.iter().map(|host| self.pick(*host)).collect();
        RoleSpec::Hosts(hosts.into_iter().collect())
    }
}

fn prepare(spec: &mut EndpointSpec, host: Option<Name>) {
    let attachment = spec.attachment.clone();
    spec.migration = host.map(|host| Box::new(Migration { host, attachment }));
}

fn switch(spec: &mut EndpointSpec) {
    if let Some(migration) = spec.migration.take() {
        (spec.host, spec.attachment) = (migration.host, migration.attachment);
    }
}

fn bouncers(role: &RoleSpec) -> Bouncers {
    match role {
        RoleSpec::Auto => Bouncers::Auto,
        RoleSpec::Count(count) => Bouncers::Count(*count),
        RoleSpec::Hosts(hosts) => Bouncers::Hosts(hosts.clone()),
    }
}

/// The hosts that follow one slot map.
struct Followers<'a> {
    world: &'a World,
    of: (Vni, NetworkId),
    waited: bool,
}

impl Progress for Followers<'_> {
    fn synced(&self, host: &Name) -> u64 {
        let Some(host) = self.world.hosts.get(host) else { return 0 };
        let began = self.world.epochs.get(&self.of).into_iter().flatten();
        began.filter(|began| **began <= host.followed).count() as u64
    }

    fn told(&self) -> u64 {
        let told = self.world.view().knowing(self.of.0, self.of.1);
        told.into_iter().map(|host| self.synced(host)).min().unwrap_or(u64::MAX)
    }

    fn waited(&self) -> bool {
        self.waited
    }
}
