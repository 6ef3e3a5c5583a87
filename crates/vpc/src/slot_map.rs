//! Who holds which slot: a stored decision of the planner.

use crate::{Name, NetworkId, Slot, SlotHolders, Vni};
use mizar_packet::tables::REPLICAS;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use thiserror::Error;

/// The slot maps of all VPCs.
pub type SlotMaps = BTreeMap<Vni, VpcSlotMaps>;

/// The slot maps of one VPC's networks, and its dividers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcSlotMaps {
    /// The hosts that divide its traffic between its networks, in order.
    pub dividers: Vec<Name>,
    /// Who holds the slots of each network.
    pub networks: BTreeMap<NetworkId, SlotMap>,
}

/// Which hosts hold each slot of one network, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct SlotMap {
    epoch: u64,
    hosts: Vec<Name>,
    slots: Vec<Vec<u16>>,
}

/// Why holders of slots make no slot map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SlotMapError {
    /// Not one list for each slot.
    #[error("{0} slots: there must be {count}", count = Slot::COUNT)]
    Slots(usize),
    /// A slot that nobody or too many hold.
    #[error("slot {slot} has {holders} holders: it must have from 1 to {REPLICAS}")]
    Holders {
        /// The slot.
        slot: usize,
        /// How many hold it.
        holders: usize,
    },
    /// A slot held by a host that is not in the list of hosts.
    #[error("slot {slot} is held by host number {host}: there are {hosts}, counted from 0")]
    UnknownHost {
        /// The slot.
        slot: usize,
        /// The index of the host.
        host: u16,
        /// How many hosts there are.
        hosts: usize,
    },
    /// A host that holds the same slot twice.
    #[error("slot {slot} is held twice by host number {host}: holders must differ")]
    Twice {
        /// The slot.
        slot: usize,
        /// The index of the host.
        host: u16,
    },
    /// A host that is listed twice, or holds nothing.
    #[error("host number {0} is listed twice or holds no slot: each must differ and hold one")]
    Host(usize),
}

impl SlotMap {
    /// The map in which `holders` says who holds each slot, in order of preference.
    pub fn new(epoch: u64, holders: &[Vec<&Name>]) -> Result<Self, SlotMapError> {
        let map = Self::of(epoch, holders);
        check_slots(&map.hosts, &map.slots)?;
        Ok(map)
    }

    /// Like [`new`](Self::new), of holders that are known to be legal.
    pub(crate) fn of(epoch: u64, holders: &[Vec<&Name>]) -> Self {
        let distinct: BTreeSet<_> = holders.iter().flatten().copied().collect();
        let hosts: Vec<_> = distinct.into_iter().cloned().collect();
        let index = |host: &&Name| hosts.partition_point(|other| other < *host) as u16;
        let slots = holders.iter().map(|slot| slot.iter().map(index).collect()).collect();
        Self { epoch, hosts, slots }
    }

    /// The same map at another epoch.
    pub(crate) fn with_epoch(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// Counts the changes of this map, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The hosts that hold any slot.
    pub fn hosts(&self) -> &[Name] {
        &self.hosts
    }

    /// The hosts that hold `slot`, in order of preference.
    pub fn holders(&self, slot: Slot) -> impl Iterator<Item = &Name> {
        self.slots[slot.index()].iter().map(|&host| &self.hosts[usize::from(host)])
    }

    /// Whether the other map has the same holders, whatever its epoch.
    pub(crate) fn has_same_holders(&self, other: &Self) -> bool {
        (&self.hosts, &self.slots) == (&other.hosts, &other.slots)
    }

    /// The same map by underlay address: `underlay` has one for each of [`hosts`](Self::hosts).
    pub(crate) fn by_address(&self, underlay: Vec<IpAddr>) -> SlotHolders {
        SlotHolders { hosts: underlay, slots: self.slots.clone() }
    }
}

/// Checks that `slots` is one list of 1 to 4 distinct indices into `hosts` for each slot.
pub(crate) fn check_slots<H: Ord>(hosts: &[H], slots: &[Vec<u16>]) -> Result<(), SlotMapError> {
    if slots.len() != Slot::COUNT {
        return Err(SlotMapError::Slots(slots.len()));
    }
    let mut used = vec![false; hosts.len()];
    for (slot, holders) in slots.iter().enumerate() {
        if !(1..=REPLICAS).contains(&holders.len()) {
            return Err(SlotMapError::Holders { slot, holders: holders.len() });
        }
        for (position, &host) in holders.iter().enumerate() {
            let entry = used.get_mut(usize::from(host));
            let unknown = SlotMapError::UnknownHost { slot, host, hosts: hosts.len() };
            *entry.ok_or(unknown)? = true;
            if holders[..position].contains(&host) {
                return Err(SlotMapError::Twice { slot, host });
            }
        }
    }
    let mut seen = BTreeSet::new();
    let bad = (0..hosts.len()).find(|&index| !used[index] || !seen.insert(&hosts[index]));
    bad.map_or(Ok(()), |index| Err(SlotMapError::Host(index)))
}

/// The map as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    epoch: u64,
    hosts: Vec<Name>,
    slots: Vec<Vec<u16>>,
}

impl TryFrom<Stored> for SlotMap {
    type Error = SlotMapError;

    fn try_from(stored: Stored) -> Result<Self, SlotMapError> {
        let Stored { epoch, hosts, slots } = stored;
        check_slots(&hosts, &slots)?;
        Ok(Self { epoch, hosts, slots })
    }
}

impl From<SlotMap> for Stored {
    fn from(map: SlotMap) -> Self {
        Self { epoch: map.epoch, hosts: map.hosts, slots: map.slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_keep_their_order_and_survive_being_stored() {
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        let map = SlotMap::new(3, &vec![vec![&b, &a]; 256]).unwrap();
        assert_eq!(map.hosts(), [a.clone(), b.clone()]);
        assert_eq!(map.holders(Slot::from(7)).collect::<Vec<_>>(), [&b, &a]);
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(serde_json::from_str::<SlotMap>(&text).unwrap(), map);
    }

    #[test]
    fn malformed_maps_are_refused() {
        let slots = |holders: &[u16]| vec![holders.to_vec(); 256];
        let check = |slots: &[Vec<u16>]| check_slots(&["a", "b"], slots).unwrap_err();
        assert_eq!(check(&slots(&[0])[1..]), SlotMapError::Slots(255));
        assert_eq!(check(&slots(&[])), SlotMapError::Holders { slot: 0, holders: 0 });
        assert_eq!(check(&slots(&[0, 1, 0, 1, 0])), SlotMapError::Holders { slot: 0, holders: 5 });
        assert_eq!(check(&slots(&[2])), SlotMapError::UnknownHost { slot: 0, host: 2, hosts: 2 });
        assert_eq!(check(&slots(&[1, 1])), SlotMapError::Twice { slot: 0, host: 1 });
        assert_eq!(check(&slots(&[0])), SlotMapError::Host(1));
        assert_eq!(check_slots(&["a", "a"], &slots(&[0, 1])), Err(SlotMapError::Host(1)));
    }
}
