//! Which row of a table stands for what: hosts, VPCs and networks.
//!
//! Rows of the kernel's tables refer to each other by index. An index stays with its key for as
//! long as anything may refer to it, over restarts too: they are recovered from the pinned tables.

use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Row 0 stands for nobody in every table.
const FIRST: u32 = 1;

/// Indices from 1 to a table's capacity, each for one key.
#[derive(Clone, Debug)]
pub(crate) struct Indices<K> {
    what: &'static str,
    capacity: u32,
    by_key: BTreeMap<K, u32>,
    /// Free ones below `next`.
    free: BTreeSet<u32>,
    next: u32,
}

/// All indices are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no room for one more {what}: there are {capacity}; start the agent with more")]
pub struct Exhausted {
    pub(crate) what: &'static str,
    pub(crate) capacity: u32,
}

impl<K: Ord + Clone> Indices<K> {
    /// The indices that are in use already; `capacity` is the table's, row 0 included.
    pub(crate) fn recovered(
        what: &'static str,
        capacity: u32,
        used: impl IntoIterator<Item = (K, u32)>,
    ) -> Self {
        let mut taken = BTreeSet::new();
        let mut by_key = BTreeMap::new();
        for (key, index) in used {
            if (FIRST..capacity).contains(&index) && taken.insert(index) {
                by_key.insert(key, index);
            }
        }
        let next = taken.last().map_or(FIRST, |last| last + 1);
        let free = (FIRST..next).filter(|index| !taken.contains(index)).collect();
        Self { what, capacity, by_key, free, next }
    }

    /// The index of a key.
    pub(crate) fn get(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The index of a key, which gets the lowest free one if it has none.
    pub(crate) fn allocate(&mut self, key: &K) -> Result<u32, Exhausted> {
        if let Some(index) = self.get(key) {
            return Ok(index);
        }
        let index = match self.free.pop_first() {
            Some(index) => index,
            None if self.next < self.capacity => {
                self.next += 1;
                self.next - 1
            }
            None => {
                return Err(Exhausted {
                    what: self.what,
                    capacity: self.capacity.saturating_sub(1),
                });
            }
        };
        self.by_key.insert(key.clone(), index);
        Ok(index)
    }

    /// Frees the index of a key, to which nothing refers any more.
    pub(crate) fn release(&mut self, key: &K) -> Option<u32> {
        let index = self.by_key.remove(key)?;
        self.free.insert(index);
        Some(index)
    }

    /// More than any index that was ever given.
    pub(crate) fn bound(&self) -> u32 {
        self.next
    }

    /// All keys and their indices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.by_key.iter().map(|(key, index)| (key, *index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_index_stays_with_its_key_and_zero_is_nobody() {
        let mut indices = Indices::recovered("host", 4, []);
        assert_eq!(indices.allocate(&"a"), Ok(1));
        assert_eq!(indices.allocate(&"b"), Ok(2));
        assert_eq!(indices.allocate(&"a"), Ok(1));
        assert_eq!(indices.release(&"a"), Some(1));
        assert_eq!(indices.allocate(&"c"), Ok(1));
        assert_eq!(indices.get(&"b"), Some(2));
    }

    #[test]
    fn a_full_table_is_an_error_that_says_its_size() {
        let mut indices = Indices::recovered("network", 2, []);
        indices.allocate(&1).unwrap();
        let error = indices.allocate(&2).unwrap_err().to_string();
        assert!(error.contains("network") && error.contains('1'), "{error}");
    }

    #[test]
    fn recovery_refuses_indices_that_are_taken_or_outside() {
        let indices = Indices::recovered("VPC", 4, [("a", 3), ("b", 3), ("c", 9), ("d", 0)]);
        assert_eq!(indices.iter().count(), 1);
        assert_eq!(indices.get(&"a"), Some(3));
        let mut indices = indices;
        assert_eq!(indices.allocate(&"b"), Ok(1));
        assert_eq!(indices.allocate(&"c"), Ok(2));
        assert!(indices.allocate(&"d").is_err());
    }

    proptest! {
        #[test]
        fn no_two_keys_share_an_index_and_recovery_keeps_them(
            steps in prop::collection::vec((any::<bool>(), 0u8..40), 0..200)
        ) {
            let mut indices = Indices::recovered("host", 32, []);
            for (take, key) in steps {
                if take {
                    let _ = indices.allocate(&key);
                } else {
                    indices.release(&key);
                }
            }
            let used: Vec<_> = indices.iter().map(|(key, index)| (*key, index)).collect();
            let distinct: BTreeSet<_> = used.iter().map(|(_, index)| *index).collect();
            prop_assert_eq!(distinct.len(), used.len());
            prop_assert!(distinct.iter().all(|index| (1..32).contains(index)));
            let again = Indices::recovered("host", 32, used.clone());
            for (key, index) in used {
                prop_assert_eq!(again.get(&key), Some(index));
            }
        }
    }
}
