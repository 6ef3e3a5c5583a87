//! What orders commits.

use std::fmt;
use thiserror::Error;

/// Counts a store's commits, from 1; 48 bits. Every transaction that commits gets one of its own.
///
/// [`Revision::ZERO`] is before the first: the revision of an empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

/// A number that is no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("revision {0} is out of range: it must be at most {max}", max = Revision::MAX.0)]
pub struct RevisionError(pub u64);

impl Revision {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);
    /// The last that there is.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// The revision of this number.
    pub const fn new(number: u64) -> Result<Self, RevisionError> {
        if number <= Self::MAX.0 { Ok(Self(number)) } else { Err(RevisionError(number)) }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after it, unless it is the last.
    pub const fn next(self) -> Result<Self, RevisionError> {
        Self::new(self.0 + 1)
    }

    /// The one before it; [`Revision::ZERO`] has itself.
    pub(crate) const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// As it is stored: the six bytes that are in use, most significant first.
    pub(crate) const fn to_bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    pub(crate) const fn from_bytes(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_have_48_bits() {
        assert_eq!(Revision::new(1 << 48), Err(RevisionError(1 << 48)));
        assert_eq!(Revision::MAX.next(), Err(RevisionError(1 << 48)));
        assert_eq!(Revision::new(7).unwrap().next(), Revision::new(8));
        assert_eq!(Revision::ZERO.previous(), Revision::ZERO);
    }

    #[test]
    fn six_bytes_carry_every_revision() {
        assert_eq!(Revision(0x0102_0304_0506).to_bytes(), [1, 2, 3, 4, 5, 6]);
        for revision in [Revision::ZERO, Revision(1), Revision::MAX] {
            assert_eq!(Revision::from_bytes(revision.to_bytes()), revision);
        }
    }
}
