//! What is asked of a store: requirements and writes, together or not at all.

use crate::Revision;
use thiserror::Error;

/// What must be so of a key for a transaction to commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The key has no value.
    Absent(Box<[u8]>),
    /// The key has a value.
    Present(Box<[u8]>),
    /// The key has a value that was last written at this revision.
    At(Box<[u8]>, Revision),
}

impl Requirement {
    /// The key it is about.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::At(key, _) => key,
        }
    }

    /// Whether a key whose value was written at this revision, or which has none, satisfies it.
    pub fn holds(&self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::Present(_) => found.is_some(),
            Self::At(_, revision) => found == Some(*revision),
        }
    }
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Gives it this value, whatever it had.
    Put {
        /// Of what.
        key: Box<[u8]>,
        /// Its value.
        value: Box<[u8]>,
    },
    /// Takes its value away, if it has one.
    Delete {
        /// Of what.
        key: Box<[u8]>,
    },
}

impl Write {
    /// The key it changes.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Writes that happen if all requirements hold, all at one revision.
///
/// The requirements are about what was before the transaction, so their order does not matter. Of
/// several writes of one key, the last counts. A transaction without writes, or one that deletes
/// what is not there, has a revision too, and changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// What must be so.
    pub requires: Vec<Requirement>,
    /// What is done then.
    pub writes: Vec<Write>,
}

impl Transaction {
    /// One that requires and writes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: the key has no value.
    #[must_use]
    pub fn absent(mut self, key: impl Into<Box<[u8]>>) -> Self {
        self.requires.push(Requirement::Absent(key.into()));
        self
    }

    /// Adds: the key has a value.
    #[must_use]
    pub fn present(mut self, key: impl Into<Box<[u8]>>) -> Self {
        self.requires.push(Requirement::Present(key.into()));
        self
    }

    /// Adds: the key's value is of this revision.
    #[must_use]
    pub fn at(mut self, key: impl Into<Box<[u8]>>, revision: Revision) -> Self {
        self.requires.push(Requirement::At(key.into(), revision));
        self
    }

    /// Adds a value to be written.
    #[must_use]
    pub fn put(mut self, key: impl Into<Box<[u8]>>, value: impl Into<Box<[u8]>>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds a key to be deleted.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Box<[u8]>>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }
}

/// Why a transaction changed nothing: the first of its requirements that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{} is {}, but {}: read it, decide again, and try again",
    crate::text(required.key()),
    written(*found),
    wanted(required)
)]
pub struct Conflict {
    /// What was to be so.
    pub required: Requirement,
    /// The revision at which the key's value was last written; none if it has no value.
    pub found: Option<Revision>,
}

fn written(found: Option<Revision>) -> String {
    found.map_or("absent".to_owned(), |revision| format!("of revision {revision}"))
}

fn wanted(required: &Requirement) -> String {
    match required {
        Requirement::Absent(_) => "must be absent".to_owned(),
        Requirement::Present(_) => "must be present".to_owned(),
        Requirement::At(_, revision) => format!("must be of revision {revision}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_says_what_was_to_be_and_what_is() {
        let required = Requirement::At(b"vpc/\xff".as_slice().into(), Revision::new(3).unwrap());
        let conflict = Conflict { required, found: Revision::new(5).ok() };
        assert_eq!(
            conflict.to_string(),
            "key \"vpc/\\xff\" is of revision 5, but must be of revision 3: \
             read it, decide again, and try again"
        );
    }
}
