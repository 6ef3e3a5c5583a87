//! Who holds which slot: a stored decision of the planner.

use crate::{Name, NetworkId, Slot, SlotHolders, Vni};
use mizar_packet::tables::REPLICAS;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

mod bytes;
mod check;
#[cfg(test)]
mod tests;

pub use bytes::SlotMapBytesError;
pub use check::SlotMapError;
pub(crate) use check::check_slots;

/// The slot maps of all VPCs.
pub type SlotMaps = BTreeMap<Vni, VpcSlotMaps>;

/// The slot maps of one VPC's networks, and its dividers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcSlotMaps {
    /// The hosts that divide its traffic between its networks, in order.
    pub dividers: Vec<Name>,
    /// The hosts that know its networks too, though senders are not told of them: those that shall
    /// divide, until they have acknowledged the networks; those that did, until all senders know.
    #[serde(default)]
    pub spare_dividers: Vec<Name>,
    /// Who holds the slots of each network.
    pub networks: BTreeMap<NetworkId, SlotMap>,
}

/// Which hosts hold each slot of one network, in order of preference, and how far each is with
/// taking it over or giving it up.
///
/// A host that holds no slot any more stays on as a *former* holder: it knows the network but none
/// of its endpoints, and forwards the packets of senders that have an older map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct SlotMap {
    epoch: u64,
    size: u16,
    hosts: Vec<Known>,
    slots: Vec<Vec<Keeper>>,
}

/// How far a host is with holding a slot.
///
/// ```text
///             acknowledged          to be replaced        replaced           senders told
/// Filling ─────────────────► Active ──────────────► Leaving ───────► Draining ───────────► gone
///    ▲                          │ lease expired; another one is told
///    └──────────────────────────┘        (if there is none: Doubtful, until there is)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HolderState {
    /// It has the slot's rows, and senders are told of it.
    Active,
    /// It is given the slot's rows, and becomes active once it has acknowledged them.
    Filling,
    /// Like active, until another host has taken its place.
    Leaving,
    /// It keeps the rows for senders that have not heard that it is no longer to be asked.
    Draining,
    /// It may lack rows, and senders are told of it for want of anybody better.
    Doubtful,
}

/// A host that has, or is given, the rows of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keeper {
    /// Its index in the list of hosts.
    pub(crate) host: u16,
    pub(crate) state: HolderState,
}

/// A host that the map speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) name: Name,
    /// The epoch at which it last began to fill or drain a slot, or held the last one.
    pub(crate) since: u64,
}

impl HolderState {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Active, Self::Filling, Self::Leaving, Self::Draining, Self::Doubtful];

    /// Whether senders are told of a holder in this state.
    pub const fn is_told(self) -> bool {
        matches!(self, Self::Active | Self::Leaving | Self::Doubtful)
    }

    /// Whether a holder in this state shall hold the slot for good.
    pub const fn is_wanted(self) -> bool {
        matches!(self, Self::Active | Self::Filling | Self::Doubtful)
    }
}

impl SlotMap {
    /// The most hosts that have rows of one slot: those who are told, as many that are being
    /// filled to replace them, as many that may come back, and as many that drain.
    pub const MOST_KEEPERS: usize = 4 * REPLICAS;

    /// The map in which `holders`, all of them active, hold each slot in order of preference.
    ///
    /// # Errors
    /// Unless it is one list of 1 to 4 distinct hosts for each slot.
    pub fn new(epoch: u64, holders: &[Vec<&Name>]) -> Result<Self, SlotMapError> {
        let distinct: BTreeSet<_> = holders.iter().flatten().copied().collect();
        let hosts: Vec<_> =
            distinct.into_iter().map(|name| Known { name: name.clone(), since: epoch }).collect();
        let keeper = |name: &&Name| {
            let host = hosts.partition_point(|known| &known.name < *name) as u16;
            Keeper { host, state: HolderState::Active }
        };
        let slots = holders.iter().map(|slot| slot.iter().map(keeper).collect()).collect();
        let map = Self { epoch, size: hosts.len() as u16, hosts, slots };
        map.check()?;
        Ok(map)
    }

    /// The map of these keepers, which are known to be legal. Hosts that keep nothing are former
    /// ones.
    pub(crate) fn of(epoch: u64, size: u16, hosts: Vec<Known>, slots: Vec<Vec<Keeper>>) -> Self {
        let map = Self { epoch, size, hosts, slots };
        debug_assert_eq!(map.check(), Ok(()));
        map
    }

    /// Counts the changes of this map, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many hosts the planner meant to divide the slots among. While it replaces some, more
    /// have slots; while it finds no others, fewer.
    pub fn size(&self) -> usize {
        self.size.into()
    }

    /// The hosts that senders are told of, in order of preference.
    pub fn holders(&self, slot: Slot) -> impl Iterator<Item = &Name> {
        let told = self.slots[slot.index()].iter().filter(|keeper| keeper.state.is_told());
        told.map(|keeper| self.name_of(keeper))
    }

    /// All hosts that must have the slot's rows: those who are told, and those who fill or drain.
    pub fn keepers(&self, slot: Slot) -> impl Iterator<Item = &Name> {
        self.states(slot).map(|(host, _)| host)
    }

    /// The keepers of a slot, and how far each is.
    pub fn states(&self, slot: Slot) -> impl Iterator<Item = (&Name, HolderState)> {
        self.slots[slot.index()].iter().map(|keeper| (self.name_of(keeper), keeper.state))
    }

    /// The hosts that keep any slot, by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Name> {
        let keeps = self.uses(|_| true);
        self.hosts.iter().zip(keeps).filter(|(_, keeps)| *keeps).map(|(known, _)| &known.name)
    }

    /// The hosts that keep no slot but still know the network, by name.
    pub fn former(&self) -> impl Iterator<Item = &Name> {
        let keeps = self.uses(|_| true);
        self.hosts.iter().zip(keeps).filter(|(_, keeps)| !*keeps).map(|(known, _)| &known.name)
    }

    /// How many slots each host keeps in each state, in the order of [`HolderState::ALL`]; former
    /// holders keep none.
    pub fn tally(&self) -> BTreeMap<&Name, [usize; HolderState::ALL.len()]> {
        let mut tally = vec![[0; HolderState::ALL.len()]; self.hosts.len()];
        for keeper in self.slots.iter().flatten() {
            tally[usize::from(keeper.host)][keeper.state as usize] += 1;
        }
        self.hosts.iter().map(|known| &known.name).zip(tally).collect()
    }

    /// The holders that senders are told of, by underlay address.
    pub(crate) fn by_address<E>(
        &self,
        underlay: impl Fn(&Name) -> Result<IpAddr, E>,
    ) -> Result<SlotHolders, E> {
        let mut hosts = Vec::new();
        let mut numbers = vec![0; self.hosts.len()];
        for (index, is_told) in self.uses(HolderState::is_told).into_iter().enumerate() {
            if is_told {
                numbers[index] = hosts.len() as u16;
                hosts.push(underlay(&self.hosts[index].name)?);
            }
        }
        let told = |slot: &Vec<Keeper>| {
            let told = slot.iter().filter(|keeper| keeper.state.is_told());
            told.map(|keeper| numbers[usize::from(keeper.host)]).collect()
        };
        Ok(SlotHolders { slots: self.slots.iter().map(told).collect(), hosts })
    }

    /// Whether the other map says the same, whatever its epoch.
    pub(crate) fn has_same_keepers(&self, other: &Self) -> bool {
        (&self.hosts, &self.slots) == (&other.hosts, &other.slots)
    }

    /// The hosts it speaks of, by name.
    pub(crate) fn known(&self) -> &[Known] {
        &self.hosts
    }

    /// The keepers of each slot.
    pub(crate) fn slots(&self) -> &[Vec<Keeper>] {
        &self.slots
    }

    /// For each host, whether it keeps a slot in such a state.
    fn uses(&self, is_such: impl Fn(HolderState) -> bool) -> Vec<bool> {
        let mut uses = vec![false; self.hosts.len()];
        for keeper in self.slots.iter().flatten().filter(|keeper| is_such(keeper.state)) {
            uses[usize::from(keeper.host)] = true;
        }
        uses
    }

    fn name_of(&self, keeper: &Keeper) -> &Name {
        &self.hosts[usize::from(keeper.host)].name
    }
}

/// The map as it is written down as text: a keeper is eight times the number of its host, plus that
/// of its state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    epoch: u64,
    size: u16,
    hosts: Vec<Known>,
    slots: Vec<Vec<u32>>,
}

impl TryFrom<Stored> for SlotMap {
    type Error = SlotMapError;

    fn try_from(stored: Stored) -> Result<Self, SlotMapError> {
        let Stored { epoch, size, hosts, slots } = stored;
        let keeper = |slot, number: u32| {
            let unknown =
                || SlotMapError::UnknownHost { slot, host: number >> 3, hosts: hosts.len() };
            let host = u16::try_from(number >> 3).map_err(|_| unknown())?;
            let state = HolderState::ALL.get((number & 7) as usize).copied();
            let state = state.ok_or(SlotMapError::State { slot, state: (number & 7) as u8 })?;
            Ok(Keeper { host, state })
        };
        let keepers = |(slot, numbers): (usize, Vec<u32>)| {
            numbers.into_iter().map(|number| keeper(slot, number)).collect()
        };
        let slots = slots.into_iter().enumerate().map(keepers).collect::<Result<_, _>>()?;
        let map = Self { epoch, size, hosts, slots };
        map.check()?;
        Ok(map)
    }
}

impl From<SlotMap> for Stored {
    fn from(map: SlotMap) -> Self {
        let number = |keeper: &Keeper| u32::from(keeper.host) << 3 | keeper.state as u32;
        let slots = map.slots.iter().map(|slot| slot.iter().map(number).collect()).collect();
        Self { epoch: map.epoch, size: map.size, hosts: map.hosts, slots }
    }
}
