//! What makes a slot map.

use super::SlotMap;
use crate::Slot;
use mizar_packet::tables::REPLICAS;
use std::collections::BTreeSet;
use thiserror::Error;

/// Why holders of slots make no slot map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SlotMapError {
    /// Not one list for each slot.
    #[error("{0} slots: there must be {count}", count = Slot::COUNT)]
    Slots(usize),
    /// A slot of which senders are told nobody or too many.
    #[error("slot {slot} has {holders} holders: it must have from 1 to {REPLICAS}")]
    Holders {
        /// The slot.
        slot: usize,
        /// How many hold it.
        holders: usize,
    },
    /// A slot that too many fill, hold and drain.
    #[error("slot {slot} has {keepers} keepers: at most {most}", most = SlotMap::MOST_KEEPERS)]
    Keepers {
        /// The slot.
        slot: usize,
        /// How many keep it.
        keepers: usize,
    },
    /// A slot held by a host that is not in the list of hosts.
    #[error("slot {slot} is held by host number {host}: there are {hosts}, counted from 0")]
    UnknownHost {
        /// The slot.
        slot: usize,
        /// The index of the host.
        host: u32,
        /// How many hosts there are.
        hosts: usize,
    },
    /// A holder in no state that there is.
    #[error("slot {slot} has a holder in state {state}: it must be from 0 to 4")]
    State {
        /// The slot.
        slot: usize,
        /// The number of the state.
        state: u8,
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
    /// Hosts that are not in the order of their names.
    #[error("host number {0} is not in order: hosts must be sorted by name, and differ")]
    Order(usize),
    /// A host that changed in the future.
    #[error("host number {host} changed at epoch {since}: it must be at most the map's, {epoch}")]
    Since {
        /// The index of the host.
        host: usize,
        /// When it changed.
        since: u64,
        /// The map's epoch.
        epoch: u64,
    },
}

impl SlotMap {
    pub(super) fn check(&self) -> Result<(), SlotMapError> {
        if self.slots.len() != Slot::COUNT {
            return Err(SlotMapError::Slots(self.slots.len()));
        }
        let pairs = self.hosts.windows(2);
        if let Some(at) = pairs.into_iter().position(|pair| pair[0].name >= pair[1].name) {
            return Err(SlotMapError::Order(at + 1));
        }
        let epoch = self.epoch;
        if let Some(host) = self.hosts.iter().position(|known| known.since > epoch) {
            return Err(SlotMapError::Since { host, since: self.hosts[host].since, epoch });
        }
        for (slot, keepers) in self.slots.iter().enumerate() {
            let told = keepers.iter().filter(|keeper| keeper.state.is_told()).count();
            if !(1..=REPLICAS).contains(&told) {
                return Err(SlotMapError::Holders { slot, holders: told });
            }
            if keepers.len() > Self::MOST_KEEPERS {
                return Err(SlotMapError::Keepers { slot, keepers: keepers.len() });
            }
            let hosts = keepers.iter().map(|keeper| keeper.host).collect::<Vec<_>>();
            check_slot(slot, &hosts, self.hosts.len())?;
        }
        Ok(())
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
        check_slot(slot, holders, hosts.len())?;
        for &host in holders {
            used[usize::from(host)] = true;
        }
    }
    let mut seen = BTreeSet::new();
    let bad = (0..hosts.len()).find(|&index| !used[index] || !seen.insert(&hosts[index]));
    bad.map_or(Ok(()), |index| Err(SlotMapError::Host(index)))
}

/// Checks that the holders of one slot differ and exist.
fn check_slot(slot: usize, holders: &[u16], hosts: usize) -> Result<(), SlotMapError> {
    for (position, &host) in holders.iter().enumerate() {
        if usize::from(host) >= hosts {
            return Err(SlotMapError::UnknownHost { slot, host: host.into(), hosts });
        }
        if holders[..position].contains(&host) {
            return Err(SlotMapError::Twice { slot, host });
        }
    }
    Ok(())
}
