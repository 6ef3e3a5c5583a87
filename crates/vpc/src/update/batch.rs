//! Updates in bounded pieces.

use super::{Changes, VpcUpdate};
use crate::Vni;
use std::collections::{BTreeMap, btree_map, btree_set};
use thiserror::Error;

/// One piece of an update. Only with the last one is the update complete, and the host at its
/// generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counts the batches of one update, from 0.
    pub number: u32,
    /// Whether this is the last one.
    pub last: bool,
    /// Its part of the changes; all else is the same in each batch.
    pub update: VpcUpdate,
}

/// Why a batch is refused, and with it what was assembled of its update.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// A batch was lost or repeated.
    #[error("batch {number} of an update of VPC {vni} came where batch {expected} was due")]
    Order {
        /// The VPC.
        vni: Vni,
        /// The batch's number.
        number: u32,
        /// The number that was due.
        expected: u32,
    },
    /// A batch of another update came in between.
    #[error("batch {number} is of another update of VPC {vni} than those before it")]
    Mixed {
        /// The VPC.
        vni: Vni,
        /// The batch's number.
        number: u32,
    },
}

impl VpcUpdate {
    /// The update in batches that change at most `max_rows` rows each; at least one batch.
    ///
    /// Networks come first, so that a port never comes before its network, and removals last.
    pub fn batches(self, max_rows: usize) -> Vec<Batch> {
        let max_rows = max_rows.max(1);
        let count = self.len().div_ceil(max_rows).max(1);
        let frame = Self {
            removed: self.removed,
            dividers: self.dividers,
            quota: self.quota,
            keys: self.keys,
            ..Self::empty(self.vni, self.generation, self.base)
        };
        let (mut networks, mut old_networks) = self.networks.into_iters();
        let (mut ports, mut old_ports) = self.ports.into_iters();
        let (mut held, mut old_held) = self.held.into_iters();
        let batch = |index| {
            let mut room = max_rows;
            let mut update = frame.clone();
            update.networks.upserts = take(&mut networks, &mut room);
            update.ports.upserts = take(&mut ports, &mut room);
            update.held.upserts = take(&mut held, &mut room);
            update.held.removals = take(&mut old_held, &mut room);
            update.ports.removals = take(&mut old_ports, &mut room);
            update.networks.removals = take(&mut old_networks, &mut room);
            Batch { number: index as u32, last: index + 1 == count, update }
        };
        (0..count).map(batch).collect()
    }
}

/// Puts the batches of one stream together again, VPC by VPC. What it holds is bounded by what
/// senders put into one update.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: BTreeMap<Vni, Part>,
}

/// The batches of one update up to now, at least one.
#[derive(Debug)]
struct Part {
    first: VpcUpdate,
    later: Vec<VpcUpdate>,
}

impl Assembly {
    /// Takes a batch; returns the whole update with the last one. A first batch starts anew,
    /// whatever was assembled of an earlier update of its VPC; after an error that VPC needs a
    /// first batch again.
    pub fn push(&mut self, batch: Batch) -> Result<Option<VpcUpdate>, BatchError> {
        let Batch { number, last, update } = batch;
        let vni = update.vni;
        let before = self.parts.remove(&vni).filter(|_| number != 0);
        let expected = before.as_ref().map_or(0, |part| part.later.len() as u32 + 1);
        if number != expected {
            return Err(BatchError::Order { vni, number, expected });
        }
        let part = match before {
            None => Part { first: update, later: Vec::new() },
            Some(mut part) if part.first.is_same_update(&update) => {
                part.later.push(update);
                part
            }
            Some(_) => return Err(BatchError::Mixed { vni, number }),
        };
        if last {
            return Ok(Some(part.whole().complete()));
        }
        self.parts.insert(vni, part);
        Ok(None)
    }
}

impl Part {
    /// The update that these are the batches of.
    fn whole(self) -> VpcUpdate {
        let Self { first: mut whole, later } = self;
        if later.is_empty() {
            return whole;
        }
        let (mut networks, mut ports, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for batch in later {
            networks.push(batch.networks);
            ports.push(batch.ports);
            held.push(batch.held);
        }
        whole.networks = whole.networks.join(networks);
        whole.ports = whole.ports.join(ports);
        whole.held = whole.held.join(held);
        whole
    }
}

impl VpcUpdate {
    fn is_same_update(&self, other: &Self) -> bool {
        let of = |update: &Self| (update.generation, update.base, update.removed, update.quota);
        of(self) == of(other) && self.dividers == other.dividers && self.keys == other.keys
    }

    /// The whole, without what is said in vain: what everything does not name goes anyway.
    fn complete(mut self) -> Self {
        if self.base.is_none() {
            self.networks.removals.clear();
            self.ports.removals.clear();
            self.held.removals.clear();
        }
        self
    }
}

impl<K: Ord, V> Changes<K, V> {
    /// These and later ones; of two changes of one row the later one counts.
    fn join(self, later: Vec<Self>) -> Self {
        let mut changes = Vec::new();
        for Self { upserts, removals } in std::iter::once(self).chain(later) {
            changes.extend(upserts.into_iter().map(|(key, row)| (key, Some(row))));
            changes.extend(removals.into_iter().map(|key| (key, None)));
        }
        // The latest of each key is the last one of its run. Batches are in order, mostly.
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        changes.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for (key, row) in changes {
            match row {
                Some(row) => upserts.push((key, row)),
                None => removals.push(key),
            }
        }
        Self { upserts: upserts.into_iter().collect(), removals: removals.into_iter().collect() }
    }
}

impl<K, V> Changes<K, V> {
    fn into_iters(self) -> (btree_map::IntoIter<K, V>, btree_set::IntoIter<K>) {
        (self.upserts.into_iter(), self.removals.into_iter())
    }
}

/// Takes as many items as there are and there is room for.
fn take<I: ExactSizeIterator, C: FromIterator<I::Item>>(from: &mut I, room: &mut usize) -> C {
    let count = from.len().min(*room);
    *room -= count;
    from.by_ref().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, HeldRow};
    use proptest::prelude::*;
    use std::net::IpAddr;

    proptest! {
        #[test]
        fn batches_are_bounded_and_make_the_whole_again(
            update: VpcUpdate, max_rows in 1..10usize
        ) {
            let batches = update.clone().batches(max_rows);
            prop_assert_eq!(batches.len(), update.len().div_ceil(max_rows).max(1));
            let mut assembly = Assembly::default();
            for (index, batch) in batches.iter().enumerate() {
                prop_assert!(batch.update.len() <= max_rows);
                prop_assert_eq!(batch.last, index + 1 == batches.len());
                let whole = assembly.push(batch.clone()).unwrap();
                prop_assert_eq!(whole.is_some(), batch.last);
                prop_assert!(whole.is_none_or(|whole| whole == update));
            }
        }
    }

    fn batch(number: u32, revision: u64) -> Batch {
        let generation = Generation::new(1, revision).unwrap();
        Batch { number, last: false, update: VpcUpdate::removal(Vni::MIN, generation) }
    }

    #[test]
    fn a_lost_batch_is_noticed_and_the_next_first_one_starts_anew() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(batch(0, 1)), Ok(None));
        let order = |number, expected| Err(BatchError::Order { vni: Vni::MIN, number, expected });
        assert_eq!(assembly.push(batch(2, 1)), order(2, 1));
        assert_eq!(assembly.push(batch(1, 1)), order(1, 0));
        assert_eq!(assembly.push(batch(0, 2)), Ok(None));
        assert_eq!(assembly.push(batch(0, 3)), Ok(None));
        assert_eq!(assembly.push(batch(1, 3)), Ok(None));
    }

    proptest! {
        #[test]
        fn of_two_changes_of_one_row_the_later_one_counts(
            parts in proptest::collection::vec(changes(), 1..5)
        ) {
            let mut wanted = std::collections::BTreeMap::new();
            for part in &parts {
                wanted.extend(part.upserts.iter().map(|(key, row)| (*key, Some(*row))));
                wanted.extend(part.removals.iter().map(|key| (*key, None)));
            }
            let joined = parts[0].clone().join(parts[1..].to_vec());
            let upserts = joined.upserts.into_iter().map(|(key, row)| (key, Some(row)));
            let all = upserts.chain(joined.removals.into_iter().map(|key| (key, None)));
            prop_assert_eq!(all.collect::<std::collections::BTreeMap<_, _>>(), wanted);
        }
    }

    /// Changes of few rows.
    fn changes() -> impl Strategy<Value = Changes<u8, u16>> {
        proptest::collection::btree_map(0..9u8, proptest::option::of(any::<u16>()), 0..9).prop_map(
            |rows| Changes {
                upserts: rows.iter().filter_map(|(key, row)| Some((*key, (*row)?))).collect(),
                removals: rows.iter().filter(|(_, it)| it.is_none()).map(|(key, _)| *key).collect(),
            },
        )
    }

    #[test]
    fn later_batches_of_everything_take_back_what_earlier_ones_named() {
        let (address, generation) = (IpAddr::from([10, 0, 0, 2]), Generation::new(1, 1).unwrap());
        let row = HeldRow { host: IpAddr::from([192, 0, 2, 1]), generation };
        let piece = |number| {
            let mut update = VpcUpdate::change(Vni::MIN, generation, None);
            match number {
                0 => drop(update.held.upserts.insert(address, row)),
                _ => drop(update.held.removals.insert(address)),
            }
            Batch { number, last: number == 1, update }
        };
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(piece(0)), Ok(None));
        let nothing = VpcUpdate::change(Vni::MIN, generation, None);
        assert_eq!(assembly.push(piece(1)), Ok(Some(nothing)));
    }

    #[test]
    fn a_batch_of_another_update_is_refused() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(batch(0, 1)), Ok(None));
        let mixed = BatchError::Mixed { vni: Vni::MIN, number: 1 };
        assert_eq!(assembly.push(batch(1, 2)), Err(mixed));
    }
}
