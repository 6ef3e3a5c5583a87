//! A network, its hosts, and what they have acknowledged.

use crate::assign::*;
use crate::{Candidate, Fleet, HolderState, Name, Slot, SlotMap, Standing};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct World {
    pub(super) needs: Needs,
    pub(super) fleet: Fleet,
    /// All maps there were, by epoch from 1.
    pub(super) maps: Vec<SlotMap>,
    /// The epoch that each host has acknowledged last.
    pub(super) acked: BTreeMap<Name, u64>,
    pub(super) waited: bool,
    /// How many hosts there ever were: a host that comes back from the dead is another one.
    pub(super) hosts: usize,
}

pub(super) fn name(text: impl AsRef<str>) -> Name {
    text.as_ref().parse().unwrap()
}

pub(super) fn host(number: usize, zones: usize) -> Candidate {
    Candidate {
        name: name(format!("h{number:02}")),
        zone: (zones > 1).then(|| name(format!("z{}", number % zones))),
        weight: 1,
        standing: Standing::Alive,
        cordoned: false,
    }
}

pub(super) fn needs(replicas: u8, bouncers: Bouncers) -> Needs {
    let replicas = replicas.try_into().unwrap();
    Needs { key: 7, replicas, bouncers, rows: 0, packets_per_second: 0 }
}

impl World {
    /// A network on these hosts that has a map, acknowledged by all of them.
    pub(super) fn new(hosts: impl IntoIterator<Item = Candidate>, needs: Needs) -> Self {
        let fleet: Fleet = hosts.into_iter().collect();
        let acked: BTreeMap<_, _> = fleet.hosts().map(|host| (host.name.clone(), 1)).collect();
        let hosts = acked.len();
        let mut world = Self { needs, fleet, maps: Vec::new(), acked, waited: false, hosts };
        assert!(world.step(), "a network with hosts gets a map at once");
        world
    }

    pub(super) fn map(&self) -> &SlotMap {
        self.maps.last().unwrap()
    }

    /// Takes one step; whether it changed the map.
    pub(super) fn step(&mut self) -> bool {
        let limits = Limits { rows_per_holder: 100, packets_per_holder: 1_000 };
        match assign_network(&self.needs, self.maps.last(), &self.fleet, &limits, self) {
            Step::Keep | Step::Stuck(_) => false,
            Step::Change(map) => {
                assert_eq!(map.epoch(), self.maps.len() as u64 + 1);
                self.maps.push(map);
                self.waited = false;
                self.check();
                true
            }
        }
    }

    /// Steps, with everybody doing as told and those who cannot be reached waited for, until
    /// nothing changes; the number of steps.
    pub(super) fn settle(&mut self) -> usize {
        for steps in 0..20 {
            self.ack_all();
            self.waited = true;
            if !self.step() {
                return steps;
            }
        }
        panic!("no rest after 20 steps:\n{:?}", self.map().tally());
    }

    pub(super) fn change(&mut self, name: &Name, change: impl FnOnce(&mut Candidate)) {
        let mut host = self.fleet.get(name).unwrap().clone();
        change(&mut host);
        self.fleet.insert(host);
    }

    pub(super) fn join(&mut self, host: Candidate) {
        self.hosts += 1;
        self.acked.insert(host.name.clone(), 0);
        self.fleet.insert(host);
    }

    pub(super) fn remove(&mut self, name: &Name) {
        self.acked.remove(name);
        self.fleet.remove(name);
    }

    pub(super) fn ack(&mut self, name: &Name) {
        if self.is_alive(name) {
            self.acked.insert(name.clone(), self.maps.len() as u64);
        }
    }

    pub(super) fn ack_all(&mut self) {
        let names: Vec<_> = self.fleet.hosts().map(|host| host.name.clone()).collect();
        names.iter().for_each(|name| self.ack(name));
    }

    pub(super) fn is_alive(&self, name: &Name) -> bool {
        self.fleet.get(name).is_some_and(Candidate::is_alive)
    }

    /// The map that a host goes by.
    fn map_of(&self, host: &Name) -> Option<&SlotMap> {
        self.maps.get((*self.acked.get(host)? as usize).checked_sub(1)?)
    }

    /// Whether a host has a slot's rows, by what it has acknowledged.
    pub(super) fn has_rows(&self, host: &Name, slot: Slot) -> bool {
        self.map_of(host).is_some_and(|map| map.keepers(slot).any(|keeper| keeper == host))
    }

    /// What holds at any time.
    fn check(&self) {
        let map = self.map();
        for slot in Slot::all() {
            let sound = |(host, state)| {
                matches!(state, HolderState::Active | HolderState::Leaving) && self.is_alive(host)
            };
            let has_sound = map.states(slot).any(sound);
            assert!(map.holders(slot).next().is_some());
            for (host, state) in map.states(slot).filter(|(_, state)| state.is_told()) {
                assert!(self.fleet.get(host).is_some(), "{host} is gone");
                let fine = if has_sound { self.has_rows(host, slot) } else { !is_sure(state) };
                assert!(fine, "senders are told of {host}, {state:?}, for slot {slot}");
                assert!(!has_sound || self.is_alive(host), "{host} is silent");
            }
        }
    }

    /// Checks that senders with maps of up to two epochs ago reach a host that has the rows within
    /// two forwards, if every host that forwards is as current as that. Nobody has an older map
    /// than the one that all who are heard have acknowledged.
    pub(super) fn check_forwarding(&self) {
        let oldest = (self.maps.len() as u64).saturating_sub(2).max(self.told()).max(1);
        for sender in &self.maps[oldest as usize - 1..] {
            for slot in Slot::all() {
                let sent = sender.holders(slot).find(|host| self.is_alive(host));
                if let Some(first) = sent {
                    self.follow(first, slot, oldest);
                }
            }
        }
    }

    fn follow(&self, first: &Name, slot: Slot, oldest: u64) {
        let has_rows = |host: &Candidate| host.is_alive() && self.has_rows(&host.name, slot);
        // Where no one who is heard has the rows, there is nothing to reach.
        if self.has_rows(first, slot) || !self.fleet.hosts().any(has_rows) {
            return;
        }
        let mut at = first;
        let mut way = vec![at];
        while !self.has_rows(at, slot) {
            let is_current = self.acked.get(at).is_some_and(|&epoch| epoch >= oldest);
            let doubtful =
                |map: &SlotMap| map.states(slot).any(|(_, state)| state == HolderState::Doubtful);
            if !is_current || self.maps[oldest as usize - 1..].iter().any(doubtful) {
                return;
            }
            let map = self.map_of(at).unwrap();
            let knows = map.hosts().chain(map.former()).any(|host| host == at);
            assert!(knows, "{at} does not know the network at epoch {}: {way:?}", map.epoch());
            let next = map.holders(slot).find(|host| *host != at && self.is_alive(host));
            let Some(next) = next else { return };
            way.push(next);
            assert!(way.len() <= 3, "slot {slot}: more than two forwards: {way:?}");
            at = next;
        }
    }

    /// The hosts that hold slots.
    pub(super) fn holders(&self) -> BTreeSet<&Name> {
        Slot::all().flat_map(|slot| self.map().holders(slot)).collect()
    }

    /// How many slots have a holder, of those whom senders are told of, that they had not before.
    pub(super) fn moved_since(&self, before: &SlotMap) -> usize {
        let new = |slot| {
            let old: BTreeSet<_> = before.holders(slot).collect();
            self.map().holders(slot).filter(|host| !old.contains(host)).count()
        };
        Slot::all().map(new).sum()
    }
}

const fn is_sure(state: HolderState) -> bool {
    matches!(state, HolderState::Active | HolderState::Leaving)
}

impl Progress for World {
    fn synced(&self, host: &Name) -> u64 {
        self.acked.get(host).copied().unwrap_or(0)
    }

    fn told(&self) -> u64 {
        let reachable =
            self.acked.iter().filter(|(host, epoch)| **epoch > 0 && self.is_alive(host));
        reachable.map(|(_, epoch)| *epoch).min().unwrap_or(0)
    }

    fn has_unreachable(&self) -> bool {
        self.fleet.hosts().any(|host| !host.is_alive())
    }

    fn waited(&self) -> bool {
        self.waited
    }
}

/// Hosts that do at once as they are told.
pub(super) struct AtOnce;

impl Progress for AtOnce {
    fn synced(&self, _: &Name) -> u64 {
        u64::MAX
    }

    fn told(&self) -> u64 {
        u64::MAX
    }

    fn waited(&self) -> bool {
        true
    }
}
