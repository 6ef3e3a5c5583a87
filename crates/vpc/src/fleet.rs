//! The fleet as the planner sees it.

use crate::Name;
use crate::rendezvous::hash;
use std::collections::BTreeMap;

/// A host that may hold slots or divide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: Name,
    /// What it shares a fate with. Hosts that do not say are one zone together.
    pub zone: Option<Name>,
    /// How much it takes compared to others; nothing if 0.
    pub weight: u32,
    /// Whether it is heard.
    pub standing: Standing,
    /// It takes nothing new and gives up what it has, but serves until others have taken it over.
    pub cordoned: bool,
}

/// Whether a host is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Its lease runs.
    Alive,
    /// Its lease runs, but it should have been heard lately: if others fall silent now, it may have
    /// done so with them.
    Late,
    /// Its lease has expired.
    Silent,
}

impl Standing {
    /// Whether the host is counted on.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Alive | Self::Late)
    }
}

/// All hosts, by name. A host that is in no fleet is gone for good, with all that it had.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    hosts: BTreeMap<Name, (Candidate, u64)>,
    /// The hosts of each zone, and those of them that take something new.
    zones: BTreeMap<Option<Name>, ZoneCount>,
}

/// How many hosts of a zone there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZoneCount {
    pub(crate) all: usize,
    pub(crate) silent: usize,
    pub(crate) late: usize,
    takes_slots: usize,
}

impl Candidate {
    /// Whether it may be given something new.
    pub fn takes_slots(&self) -> bool {
        self.is_alive() && self.may_hold()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.standing.is_alive()
    }

    /// Whether it may hold something for good, once it is heard.
    pub(crate) fn may_hold(&self) -> bool {
        !self.cordoned && self.weight > 0
    }
}

impl Fleet {
    /// Adds a host, or replaces what was known of it.
    pub fn insert(&mut self, host: Candidate) {
        self.remove(&host.name);
        self.count(&host, |number| *number += 1);
        let hash = hash(&host.name);
        self.hosts.insert(host.name.clone(), (host, hash));
    }

    /// Removes a host.
    pub fn remove(&mut self, name: &Name) {
        if let Some((host, _)) = self.hosts.remove(name) {
            self.count(&host, |number| *number -= 1);
            self.zones.retain(|_, count| count.all > 0);
        }
    }

    /// One host.
    pub fn get(&self, name: &Name) -> Option<&Candidate> {
        self.hosts.get(name).map(|(host, _)| host)
    }

    /// The hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Candidate> {
        self.hosts.values().map(|(host, _)| host)
    }

    /// The hosts by name, with the hashes of their names.
    pub(crate) fn hashed(&self) -> impl Iterator<Item = (&Candidate, u64)> {
        self.hosts.values().map(|(host, hash)| (host, *hash))
    }

    pub(crate) fn zones(&self) -> impl Iterator<Item = (&Option<Name>, ZoneCount)> {
        self.zones.iter().map(|(zone, count)| (zone, *count))
    }

    /// In how many zones hosts take something new.
    pub(crate) fn open_zones(&self) -> usize {
        self.zones.values().filter(|count| count.takes_slots > 0).count()
    }

    fn count(&mut self, host: &Candidate, change: impl Fn(&mut usize)) {
        let count = self.zones.entry(host.zone.clone()).or_default();
        change(&mut count.all);
        match host.standing {
            Standing::Alive => {}
            Standing::Late => change(&mut count.late),
            Standing::Silent => change(&mut count.silent),
        }
        if host.takes_slots() {
            change(&mut count.takes_slots);
        }
    }
}

impl FromIterator<Candidate> for Fleet {
    fn from_iter<I: IntoIterator<Item = Candidate>>(hosts: I) -> Self {
        let mut fleet = Self::default();
        for host in hosts {
            fleet.insert(host);
        }
        fleet
    }
}
