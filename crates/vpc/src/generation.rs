//! What orders truths.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A point in the history of a VPC: a 16-bit epoch over a 48-bit revision, compared as one number.
///
/// It comes from the store that keeps the VPC, never from a counter of an object, so it outlives
/// the object's deletion; a restored store has a new epoch. Revisions start at 1. An older one
/// never replaces a newer one, on any host. As text: `epoch.revision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Generation(u64);

/// Why a value is no generation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GenerationError {
    /// Revision 0, or one that does not fit.
    #[error(
        "revision {0} of a generation is out of range: it must be from 1 to {max}",
        max = Generation::MAX_REVISION
    )]
    Revision(u64),
    /// Not of the form `epoch.revision`.
    #[error("generation {0:?} is malformed: it must be epoch.revision, as in 1.42")]
    Text(String),
}

impl Generation {
    /// The largest: nothing comes after it.
    pub const MAX: Self = Self(u64::MAX);
    /// Largest revision.
    pub const MAX_REVISION: u64 = (1 << Self::REVISION_BITS) - 1;
    const REVISION_BITS: u32 = 48;

    /// The generation of `revision` in `epoch`.
    pub fn new(epoch: u16, revision: u64) -> Result<Self, GenerationError> {
        if (1..=Self::MAX_REVISION).contains(&revision) {
            Ok(Self(u64::from(epoch) << Self::REVISION_BITS | revision))
        } else {
            Err(GenerationError::Revision(revision))
        }
    }

    /// The one number that is compared.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The store's epoch.
    pub const fn epoch(self) -> u16 {
        (self.0 >> Self::REVISION_BITS) as u16
    }

    /// The revision in that epoch.
    pub const fn revision(self) -> u64 {
        self.0 & Self::MAX_REVISION
    }

    /// The same revision in a later epoch, that of a store which was restored; this one in its own.
    #[must_use]
    pub fn in_epoch(self, epoch: u16) -> Self {
        self.max(Self(u64::from(epoch) << Self::REVISION_BITS | self.revision()))
    }

    /// The next revision of the same epoch.
    pub fn next(self) -> Result<Self, GenerationError> {
        Self::new(self.epoch(), self.revision() + 1)
    }
}

impl TryFrom<u64> for Generation {
    type Error = GenerationError;

    fn try_from(number: u64) -> Result<Self, GenerationError> {
        match number & Self::MAX_REVISION {
            0 => Err(GenerationError::Revision(0)),
            _ => Ok(Self(number)),
        }
    }
}

impl From<Generation> for u64 {
    fn from(generation: Generation) -> Self {
        generation.0
    }
}

impl TryFrom<String> for Generation {
    type Error = GenerationError;

    fn try_from(text: String) -> Result<Self, GenerationError> {
        text.parse()
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> Self {
        generation.to_string()
    }
}

impl FromStr for Generation {
    type Err = GenerationError;

    fn from_str(text: &str) -> Result<Self, GenerationError> {
        let parts = text
            .split_once('.')
            .and_then(|(epoch, revision)| Some((epoch.parse().ok()?, revision.parse().ok()?)));
        let (epoch, revision) = parts.ok_or_else(|| GenerationError::Text(text.to_owned()))?;
        Self::new(epoch, revision)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.epoch(), self.revision()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_later_epoch_it_is_newer_and_in_order_and_in_an_earlier_one_itself() {
        let [old, newer] = [50, 120].map(|revision| Generation::new(1, revision).unwrap());
        assert_eq!(old.in_epoch(2), Generation::new(2, 50).unwrap());
        assert!(old.in_epoch(2) > newer && old.in_epoch(2) < newer.in_epoch(2));
        assert_eq!([old.in_epoch(1), old.in_epoch(0)], [old, old]);
        assert_eq!(Generation::MAX.in_epoch(7), Generation::MAX);
    }

    #[test]
    fn a_new_epoch_is_newer_than_every_revision_of_the_last() {
        let old = Generation::new(1, Generation::MAX_REVISION).unwrap();
        let new = Generation::new(2, 1).unwrap();
        assert!(new > old);
        assert_eq!((new.epoch(), new.revision()), (2, 1));
        assert_eq!(new.get(), 2 << 48 | 1);
    }

    #[test]
    fn revisions_out_of_range_are_refused() {
        assert_eq!(Generation::new(1, 0), Err(GenerationError::Revision(0)));
        assert_eq!(Generation::new(1, 1 << 48), Err(GenerationError::Revision(1 << 48)));
        assert_eq!(Generation::try_from(1 << 48), Err(GenerationError::Revision(0)));
        assert!(Generation::new(1, Generation::MAX_REVISION).unwrap().next().is_err());
    }

    #[test]
    fn text_is_epoch_and_revision() {
        let generation: Generation = "3.17".parse().unwrap();
        assert_eq!(generation, Generation::new(3, 17).unwrap());
        assert_eq!(generation.to_string(), "3.17");
        for text in ["", "3", "3.", ".3", "70000.1", "a.b", "1.2.3"] {
            assert_eq!(text.parse::<Generation>(), Err(GenerationError::Text(text.to_owned())));
        }
    }
}
