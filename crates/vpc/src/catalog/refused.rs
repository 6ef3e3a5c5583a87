//! Why changes are refused.

use crate::{Generation, Problem, Ref};
use thiserror::Error;

/// Why a change is refused: nothing of it is made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A field is wrong.
    #[error("{reference}: {field}: {problem}")]
    Invalid {
        /// Of which resource.
        reference: Ref,
        /// Path of the field in its manifest.
        field: String,
        /// What is wrong with its value, and what would be right.
        problem: Box<Problem>,
    },
    /// There is no such resource.
    #[error("there is no {0}")]
    NotFound(Ref),
    /// There is such a resource already.
    #[error("{0} exists already: change it, or choose another name")]
    Exists(Ref),
    /// It was written since.
    #[error(
        "{reference} was written at {present} since it was read at {asked}: read it again and \
         repeat the change"
    )]
    Conflict {
        /// Which resource.
        reference: Ref,
        /// When it was last written.
        present: Generation,
        /// When the writer thinks it was.
        asked: Generation,
    },
    /// Others use it.
    #[error(
        "{reference} is used by {by}{others}: delete them first, or with it (cascade)",
        by = list(.by),
        others = others(*.more)
    )]
    InUse {
        /// Which resource.
        reference: Ref,
        /// Some of those that use it.
        by: Vec<Ref>,
        /// How many others do.
        more: u64,
    },
    /// A cascade that would delete too much at once.
    #[error(
        "deleting {reference} would delete {count} others with it, more than {most} at once: \
         delete some of them first"
    )]
    TooMany {
        /// Which resource.
        reference: Ref,
        /// How many others.
        count: u64,
        /// How many may be deleted at once.
        most: u64,
    },
    /// Something that only the planner writes.
    #[error("{0} is written by the planner only: change its network's bouncers instead")]
    ReadOnly(Ref),
}

impl Refused {
    /// A problem of a field of a resource.
    pub(super) fn field(reference: &Ref, field: &str, problem: Problem) -> Self {
        Self::Invalid {
            reference: reference.clone(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }
}

fn list(by: &[Ref]) -> String {
    by.iter().map(Ref::to_string).collect::<Vec<_>>().join(", ")
}

fn others(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" and {more} others") }
}
