//! Changes that somebody asks for: checked against everything else before anything changes.

use super::{Catalog, Changed, Record, Refused};
use crate::manifest::Metadata;
use crate::{Generation, Labels, Manifest, Name, Problem, Ref};
use std::fmt::Display;

/// What the resource of a manifest must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It must not exist.
    Create,
    /// It must exist.
    Replace,
    /// Either.
    Apply,
}

/// What is asked for apart from the spec.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reference: Ref,
    pub(super) labels: Labels,
    /// When the change is made.
    pub(super) at: Generation,
}

impl Asked {
    /// What all records have.
    pub(super) fn common(&self) -> (Name, Labels, Generation) {
        (self.reference.name.clone(), self.labels.clone(), self.at)
    }
}

impl Catalog {
    /// Makes a resource what a manifest asks for. None: it is like that already.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed then.
    pub fn apply(
        &mut self,
        manifest: &Manifest,
        mode: Mode,
        at: Generation,
    ) -> Result<Option<Changed>, Refused> {
        let reference = manifest.reference();
        let before = self.check_scope(&reference)?.then(|| self.record(&reference)).flatten();
        match (&before, mode) {
            (Some(_), Mode::Create) => return Err(Refused::Exists(reference)),
            (None, Mode::Replace) => return Err(Refused::NotFound(reference)),
            _ => {}
        }
        check_version(&reference, before.as_ref(), manifest.metadata().resource_version)?;
        let Metadata { labels, .. } = manifest.metadata();
        let asked = Asked { reference, labels: labels.clone(), at };
        let after = self.admit(&asked, manifest)?;
        if before.as_ref().is_some_and(|before| is_same(before, &after)) {
            return Ok(None);
        }
        let last_choice = self.last_choice(&after);
        self.put(after.clone());
        match &before {
            None => self.note_choice(&after),
            // A network without endpoints is put anew, and goes on nevertheless.
            Some(_) => self.undo_choice(last_choice),
        }
        let (reference, after) = (asked.reference, Some(after));
        Ok(Some(Changed { reference, before, after, last_choice }))
    }

    fn admit(&self, asked: &Asked, manifest: &Manifest) -> Result<Record, Refused> {
        let vpc = || {
            let vpc = asked.reference.vpc.as_ref().and_then(|vpc| self.vpc_named(vpc));
            vpc.ok_or_else(|| Refused::NotFound(asked.reference.clone()))
        };
        match manifest {
            Manifest::Fleet(it) => self.admit_fleet(asked, &it.spec),
            Manifest::Host(it) => self.admit_host(asked, &it.spec),
            Manifest::Tenant(it) => Ok(self.admit_tenant(asked, &it.spec)),
            Manifest::Vpc(it) => self.admit_vpc(asked, &it.spec),
            Manifest::Network(it) => self.admit_network(asked, vpc()?, &it.spec),
            Manifest::Endpoint(it) => self.admit_endpoint(asked, vpc()?, &it.spec),
            Manifest::SlotMap(_) => Err(Refused::ReadOnly(asked.reference.clone())),
        }
    }

    /// Refuses a resource in a VPC that does not exist, or where no VPC belongs.
    fn check_scope(&self, reference: &Ref) -> Result<bool, Refused> {
        let Ref { kind, vpc, .. } = reference;
        let at = |problem| Err(Refused::field(reference, "metadata.vpc", problem));
        if vpc.is_some() != kind.is_in_vpc() {
            let (kind, is_in_vpc) = (kind.as_str(), kind.is_in_vpc());
            return at(Problem::Scope { kind, is_in_vpc });
        }
        match vpc {
            Some(vpc) if self.vpc_named(vpc).is_none() => {
                at(Problem::Unknown { kind: "VPC", name: vpc.to_string() })
            }
            _ => Ok(true),
        }
    }
}

/// Refuses a write by somebody who has seen another version.
pub(super) fn check_version(
    reference: &Ref,
    before: Option<&Record>,
    asked: Option<Generation>,
) -> Result<(), Refused> {
    let (Some(before), Some(asked)) = (before, asked) else { return Ok(()) };
    let present = before.revision();
    if present == asked {
        return Ok(());
    }
    Err(Refused::Conflict { reference: reference.clone(), present, asked })
}

/// Refuses another value, or none, of a field that cannot change. Without `was` there is no such
/// resource yet.
pub(super) fn check_fixed<T: PartialEq + Display>(
    asked: &Asked,
    field: &str,
    was: Option<Option<&T>>,
    wanted: Option<&T>,
) -> Result<(), Refused> {
    let text = |value: Option<&T>| value.map_or_else(|| "none".to_owned(), T::to_string);
    match was {
        Some(was) if was != wanted => {
            let (was, wanted) = (text(was), text(wanted));
            Err(Refused::field(&asked.reference, field, Problem::Fixed { was, wanted }))
        }
        _ => Ok(()),
    }
}

/// Whether two records differ in nothing but the time of their writing.
fn is_same(before: &Record, after: &Record) -> bool {
    let mut after = after.clone();
    match &mut after {
        Record::Fleet(it) => it.revision = before.revision(),
        Record::Host(it) => it.revision = before.revision(),
        Record::Tenant(it) => it.revision = before.revision(),
        Record::Vpc(it) => it.revision = before.revision(),
        Record::Network(it) => it.revision = before.revision(),
        Record::Endpoint(it) => it.revision = before.revision(),
    }
    *before == after
}
