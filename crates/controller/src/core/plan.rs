//! Steps of the planner: together with the write that calls for them, or by themselves as hosts
//! follow and time passes.

use super::Core;
use super::write::{Draft, MapChange, next_generation};
use crate::marks;
use crate::planner::{self, Due};
use crate::time::Time;
use mizar_vpc::catalog::{NetworkEntry, Record, VpcEntry};
use mizar_vpc::manifest::NetworkSpec;
use mizar_vpc::{
    DividerStep, Guard, Name, NetworkId, SlotMap, Standing, Step, Vni, VpcSlotMaps,
    assign_dividers, assign_network,
};
use std::collections::BTreeSet;
use tracing::{info, warn};

impl Core {
    /// Plans for the networks and VPCs that a write makes, changes or deletes.
    pub(super) fn plan_draft(&mut self, draft: &mut Draft, now: Time) {
        let mut dues = BTreeSet::new();
        let mut gone = Vec::new();
        let mut is_new = false;
        for changed in &draft.changes {
            match (&changed.before, &changed.after) {
                (Some(Record::Network(it)), None) => gone.push(Due::Network(it.vni, it.id)),
                (Some(Record::Vpc(it)), None) => gone.push(Due::Dividers(it.vni)),
                (before, Some(Record::Network(it))) => {
                    let asks = |spec: &NetworkSpec| (spec.replicas, spec.bouncers.clone());
                    let was = match before {
                        Some(Record::Network(it)) => Some(asks(&it.spec)),
                        _ => None,
                    };
                    if was != Some(asks(&it.spec)) {
                        dues.insert(Due::Network(it.vni, it.id));
                        // Dividers have to know a network that is new.
                        let view = self.view();
                        draft.marks.extend(marks::of_network(view, it.vni, it.id));
                    }
                }
                (_, Some(Record::Vpc(it))) => drop(dues.insert(Due::Dividers(it.vni))),
                (None, Some(Record::Fleet(_))) => is_new = true,
                _ => {}
            }
        }
        if is_new {
            self.first_keys(draft, now);
        }
        for due in gone {
            self.drop_plan(due, draft);
        }
        for due in dues {
            // Hosts have no say in what nobody has been told yet.
            self.step(due, draft, Time::default());
        }
    }

    /// Takes one step for everything that has to be looked at; whether any was taken.
    pub fn plan(&mut self, now: Time) -> bool {
        let mut draft = Draft::default();
        for due in self.planner.take_due() {
            self.step(due, &mut draft, now);
        }
        if draft.maps.is_empty() {
            return false;
        }
        let Ok(at) = next_generation(self.generation, &*self.store) else { return false };
        self.store(vec![(at, draft)], now).iter().all(Result::is_ok)
    }

    /// What is not at rest is looked at again, and who was not heard of is declared silent.
    pub fn tick(&mut self, now: Time) {
        self.turn_keys(now);
        self.planner.look_at_moving();
        let mut news = false;
        let mut turned = Vec::new();
        for host in self.catalog.hosts() {
            let name = &host.record().name;
            let standing = self.standing(name, now);
            if Some(standing) != self.planner.standing(name) {
                turned.push((host.record().clone(), standing));
            }
        }
        for (record, standing) in turned {
            let was_alive = self.planner.standing(&record.name).is_some_and(Standing::is_alive);
            news |= self.planner.set_host(&record, standing);
            if standing.is_alive() == was_alive {
                continue;
            }
            info!(host = %record.name, ?standing, "host");
            if !standing.is_alive() {
                let changed = self.loads.forget(&record.name);
                self.look_at_loads(changed);
            }
            // What it has does not count as long as it is silent.
            self.follow_standing(&record.name, now);
            self.tell_host(&record.name, now);
        }
        news |= self.planner.thaws(now);
        if news {
            match &self.planner.guard {
                Guard::Free => self.planner.all_due(&self.catalog),
                frozen => warn!(?frozen, "so many hosts fell silent that nothing is reassigned"),
            }
        }
    }

    fn step(&mut self, due: Due, draft: &mut Draft, now: Time) {
        match due {
            Due::Network(vni, id) => self.step_network(vni, id, draft, now),
            Due::Dividers(vni) => self.step_dividers(vni, draft, now),
        }
    }

    fn step_network(&mut self, vni: Vni, id: NetworkId, draft: &mut Draft, now: Time) {
        let Some(vpc) = self.catalog.vpc(vni) else { return };
        let Some(network) = vpc.network(id) else { return };
        let current = self.view().map(vni, id);
        // A host that is gone for good is no longer relied on, frozen or not.
        let is_sound = |map: &SlotMap| map.hosts().all(|host| self.catalog.host(host).is_some());
        if current.is_some_and(is_sound) && self.planner.guard != Guard::Free {
            return;
        }
        let needs = planner::needs(network, part_of(self.loads.rate(vni), vpc, network));
        let told = self.view().knowing(vni, id);
        let progress = self.planner.progress((vni, id), told, &self.desk, now);
        let (fleet, limits) = (&self.planner.fleet, &self.planner.limits);
        let step = assign_network(&needs, current, fleet, limits, &progress);
        drop(progress);
        let at_rest = current.is_some_and(planner::is_at_rest);
        match step {
            Step::Change(map) => {
                info!(%vni, network = %id, epoch = map.epoch(), "slot map");
                let before = current.cloned();
                self.set_map(vni, id, Some(map));
                let marks = marks::of_slot_map(self.view(), (vni, id), before.as_ref());
                draft.marks.extend(marks);
                draft.maps.push(MapChange::SlotMap((vni, id), before));
            }
            Step::Keep if at_rest => self.planner.rests(due_of(vni, id)),
            Step::Keep => {}
            Step::Stuck(problem) => warn!(%vni, network = %id, %problem, "slots not assigned"),
        }
    }

    fn step_dividers(&mut self, vni: Vni, draft: &mut Draft, now: Time) {
        let Some(vpc) = self.catalog.vpc(vni) else { return };
        let none = VpcSlotMaps::default();
        let current = self.maps.get(&vni).unwrap_or(&none);
        let is_there = |host: &Name| self.catalog.host(host).is_some();
        let is_sound = !current.dividers.is_empty() && current.dividers.iter().all(is_there);
        if is_sound && self.planner.guard != Guard::Free {
            return;
        }
        let asked = planner::bouncers(&vpc.record().spec.dividers);
        let told = self.view().knowing_any(vni);
        let all_told = self.planner.all_told(vni, &told, &self.desk, now);
        let knows = |host: &Name| self.planner.knows(vni, &self.desk, host);
        let key = u64::from(vni.get());
        match assign_dividers(key, &asked, current, &self.planner.fleet, knows, all_told) {
            DividerStep::Change { dividers, spare_dividers } => {
                info!(%vni, ?dividers, "dividers");
                let networks = current.networks.clone();
                let next = VpcSlotMaps { dividers, spare_dividers, networks };
                let before = self.set_dividers(vni, Some(next));
                let was = before.clone().unwrap_or_default();
                draft.marks.extend(marks::of_dividers(self.view(), vni, &was));
                draft.maps.push(MapChange::Dividers(vni, before));
            }
            DividerStep::Keep if planner::dividers_rest(current) => {
                self.planner.rests(Due::Dividers(vni));
            }
            DividerStep::Keep => {}
            DividerStep::Stuck(problem) => warn!(%vni, %problem, "dividers not assigned"),
        }
    }

    /// A network or VPC is gone, and what was planned for it goes with it.
    fn drop_plan(&mut self, due: Due, draft: &mut Draft) {
        match due {
            Due::Network(vni, id) => {
                let Some(before) = self.view().map(vni, id).cloned() else { return };
                draft.marks.extend(marks::of_network(self.view(), vni, id));
                self.set_map(vni, id, None);
                draft.maps.push(MapChange::SlotMap((vni, id), Some(before)));
            }
            Due::Dividers(vni) => {
                let before = self.set_dividers(vni, None);
                draft.maps.push(MapChange::Dividers(vni, before));
            }
        }
    }

    /// A network became larger or smaller: it may need other bouncers.
    pub(super) fn look_at_size(&mut self, vni: Vni, id: NetworkId) {
        let network = self.catalog.vpc(vni).and_then(|vpc| vpc.network(id));
        let Some(rows) = network.map(|network| network.address_count()) else { return };
        // Not at every endpoint: what a holder bears is not that exact.
        let step = (self.planner.limits.rows_per_holder / 64).max(1);
        if rows % step < 2 {
            self.planner.look_at(due_of(vni, id));
        }
    }

    /// Bouncers of VPCs forward more or less than they did: their networks may need others.
    pub(super) fn look_at_loads(&mut self, changed: Vec<(Vni, u64)>) {
        for (vni, was) in changed {
            let Some(vpc) = self.catalog.vpc(vni) else { continue };
            let most = was.max(self.loads.rate(vni));
            for network in vpc.networks() {
                // Only what is near to more than one host's share, or was, matters.
                if part_of(most, vpc, network) * 4 > self.planner.limits.packets_per_holder {
                    self.planner.look_at(due_of(vni, network.record().id));
                }
            }
        }
    }

    /// A host has come: those who had to wait for one are looked at.
    pub(super) fn look_at_unplaced(&mut self) {
        for vpc in self.catalog.vpcs() {
            let vni = vpc.record().vni;
            let maps = self.maps.get(&vni);
            if maps.is_none_or(|maps| maps.dividers.is_empty()) {
                self.planner.look_at(Due::Dividers(vni));
            }
            for network in vpc.networks() {
                let id = network.record().id;
                if maps.is_none_or(|maps| !maps.networks.contains_key(&id)) {
                    self.planner.look_at(due_of(vni, id));
                }
            }
        }
    }
}

fn due_of(vni: Vni, id: NetworkId) -> Due {
    Due::Network(vni, id)
}

/// A network's part of what its VPC's bouncers forward, in packets a second: hosts count by VPC, so
/// it is taken to be in proportion to its addresses.
fn part_of(rate: u64, vpc: &VpcEntry, network: &NetworkEntry) -> u64 {
    let all = vpc.networks().map(NetworkEntry::address_count).sum::<u64>().max(1);
    (u128::from(rate) * u128::from(network.address_count()) / u128::from(all)) as u64
}
