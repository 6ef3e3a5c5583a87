//! The interface indices of guests, and with them their rows in the table of ports.
//!
//! A port's row is the interface's index modulo the number of rows. The kernel gives indices one
//! after the other, so that after some coming and going two guests would have the same row; the
//! agent chooses them instead.

use crate::indices::Exhausted;
use std::collections::BTreeMap;

/// Far from those that the kernel gives.
const FIRST: u32 = 1 << 16;
/// The kernel takes no larger ones.
const LAST: u32 = i32::MAX as u32;

/// Who has which row.
#[derive(Debug)]
pub(crate) struct Places {
    /// A power of two.
    rows: u32,
    /// The index of the interface that has a row.
    taken: BTreeMap<u32, u32>,
    /// An index is not given again soon after its interface is gone.
    next: u32,
}

impl Places {
    /// As many as the table has rows, a power of two; all are free.
    pub(crate) fn new(rows: u32) -> Self {
        Self { rows, taken: BTreeMap::new(), next: FIRST }
    }

    /// Gives an interface that is there the row of its index; whether it was free.
    pub(crate) fn take(&mut self, index: u32) -> bool {
        self.next = self.next.max(index.saturating_add(1));
        *self.taken.entry(self.row(index)).or_insert(index) == index
    }

    /// Whether an interface has the row of its index.
    pub(crate) fn has(&self, index: u32) -> bool {
        self.taken.get(&self.row(index)) == Some(&index)
    }

    /// An index whose row is free.
    pub(crate) fn allocate(&mut self) -> Result<u32, Exhausted> {
        if self.next > LAST - self.rows {
            self.next = FIRST;
        }
        let mut candidates = self.next..self.next + self.rows;
        let index = candidates.find(|index| !self.taken.contains_key(&self.row(*index)));
        let index = index.ok_or(Exhausted { what: "port", capacity: self.rows })?;
        self.take(index);
        Ok(index)
    }

    /// Frees the row of an interface that is gone, or was not made.
    pub(crate) fn release(&mut self, index: u32) {
        if self.has(index) {
            self.taken.remove(&self.row(index));
        }
    }

    fn row(&self, index: u32) -> u32 {
        index & (self.rows - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_interface_whose_row_is_taken_has_none() {
        let mut places = Places::new(4);
        assert!(places.take(5) && places.take(6) && places.take(5));
        assert!(!places.take(9), "the row of 5");
        assert!(places.has(5) && !places.has(9));
        places.release(9);
        assert!(places.has(5), "another's row is not freed");
        places.release(5);
        assert!(places.take(9));
    }

    #[test]
    fn as_many_have_rows_as_there_are() {
        let mut places = Places::new(4);
        let indices: Vec<_> = (0..4).map(|_| places.allocate().unwrap()).collect();
        let error = places.allocate().unwrap_err().to_string();
        assert!(error.contains("port") && error.contains('4'), "{error}");
        places.release(indices[2]);
        let index = places.allocate().unwrap();
        assert!(index > indices[3] && index % 4 == indices[2] % 4);
    }

    #[test]
    fn indices_stay_within_what_the_kernel_takes() {
        let mut places = Places::new(4);
        assert!(places.take(LAST - 1));
        assert!((FIRST..LAST).contains(&places.allocate().unwrap()));
    }

    proptest! {
        #[test]
        fn no_two_interfaces_have_a_row(steps in prop::collection::vec(0u32..40, 0..300)) {
            let mut places = Places::new(16);
            let mut there = Vec::new();
            for step in steps {
                if step < 20 {
                    if let Ok(index) = places.allocate() {
                        there.push(index);
                    }
                } else if !there.is_empty() {
                    places.release(there.swap_remove(step as usize % there.len()));
                }
                prop_assert!(there.len() <= 16);
                let rows: std::collections::BTreeSet<_> = there.iter().map(|i| i % 16).collect();
                prop_assert_eq!(rows.len(), there.len());
                prop_assert!(there.iter().all(|index| places.has(*index)));
            }
        }
    }
}
