//! What is asked of the engine, and what it answers.

use super::version::Version;
use mizar_proto::Looked;
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Generation, Kind, Manifest, Name, Ref, Selector, Vni};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use tokio::sync::oneshot;

/// Changes that are made together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// The changes, in order: later ones see earlier ones.
    pub changes: Vec<Change>,
    /// Checks them and says what would change, but changes nothing.
    pub dry_run: bool,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// A resource that does not exist yet.
    Create(Manifest),
    /// A resource that exists. If the manifest has a resource version, it must be the present one.
    Replace(Manifest),
    /// Either.
    Apply(Manifest),
    /// A resource goes.
    Delete {
        /// Which one.
        reference: Ref,
        /// With all that uses it; otherwise it is refused while something does.
        cascade: bool,
        /// If given, it must be the present one.
        resource_version: Option<Generation>,
    },
}

/// What became of changes.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the changed resources were written at; for a dry run that of the last write.
    pub resource_version: Generation,
    /// One for each change, and for each resource that a cascade deleted.
    pub outcomes: Vec<Outcome>,
}

/// What became of one change.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of which resource.
    pub reference: Ref,
    /// In one word.
    pub effect: Effect,
    /// The resource before, if it existed.
    pub before: Option<Manifest>,
    /// The resource after, if it exists.
    pub after: Option<Manifest>,
}

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is new.
    Created,
    /// It is another one than before.
    Changed,
    /// It was like that already, and has not been written.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// Why something is refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// In one word.
    pub kind: RefusalKind,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// The fields that are wrong, where it is about fields.
    pub fields: Vec<FieldError>,
}

/// A kind of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A field is wrong (422).
    Invalid,
    /// There is no such resource (404).
    NotFound,
    /// There is such a resource already (409).
    Exists,
    /// It was written since (409).
    Conflict,
    /// Others use it (409).
    InUse,
    /// Whoever asks may not (403).
    Forbidden,
    /// Events from then on are forgotten: list again (410).
    Gone,
    /// The store cannot be written (503).
    Unavailable,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Position of the change in the request, from 0.
    pub change: usize,
    /// Of which resource.
    pub reference: Ref,
    /// Path of the field in its manifest, as in `spec.v4`.
    pub field: String,
    /// Its value, what is wrong with it, and what would be right.
    pub problem: String,
}

/// Asks hosts which of their rows decide what becomes of packets.
#[derive(Clone, Debug)]
pub struct LookAt {
    /// In which VPC.
    pub vpc: Name,
    /// Between which addresses.
    pub addresses: Vec<IpAddr>,
    /// The underlay addresses of the hosts.
    pub hosts: Vec<IpAddr>,
}

/// What is known at once, and the hosts that were asked.
#[derive(Debug)]
pub struct Asked {
    /// VNI of the VPC.
    pub vni: Vni,
    /// The endpoints that have the addresses, with their hosts.
    pub endpoints: BTreeMap<IpAddr, (Name, Name)>,
    /// The hosts. Addresses that no host has are left out.
    pub hosts: Vec<AskedHost>,
}

/// A host that was asked.
#[derive(Debug)]
pub struct AskedHost {
    /// Its name.
    pub name: Name,
    /// Its underlay address.
    pub underlay: IpAddr,
    /// Where its answer comes, or why none will.
    pub said: Result<oneshot::Receiver<Said>, &'static str>,
}

/// What a host has answered.
#[derive(Debug)]
pub struct Said {
    /// Its rows, or why there are none.
    pub outcome: Result<Looked, String>,
    /// The hosts that are in them, by underlay address.
    pub names: BTreeMap<IpAddr, Name>,
}

/// Which resources.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of which kind.
    pub kind: Kind,
    /// In which VPC; None: in all.
    pub vpc: Option<Name>,
    /// With which labels.
    pub selector: Selector,
    /// Endpoints on this host only.
    pub host: Option<Name>,
    /// Endpoints of this network only.
    pub network: Option<Name>,
    /// Endpoints in this phase only.
    pub phase: Option<Phase>,
}

/// Asks for a page of resources.
#[derive(Clone, Debug)]
pub struct List {
    /// Which.
    pub filter: Filter,
    /// How many at most.
    pub limit: usize,
    /// After that one, as a page's `next` said it.
    pub after: Option<String>,
}

/// A page of resources, by VPC and name.
#[derive(Clone, Debug)]
pub struct Page {
    /// The resources. There may be fewer than asked for, and still more to come.
    pub items: Vec<Manifest>,
    /// The last event before; a watch from there sees all that follows.
    pub resource_version: Version,
    /// Where the next page begins; None: there is none.
    pub next: Option<String>,
}

/// Asks for changes of resources.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Of which.
    pub filter: Filter,
    /// After that event; None: from now on, after the present resources as `Added`.
    pub from: Option<Version>,
}

/// A change of a resource or of its status.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub r#type: EventType,
    /// The resource after it; before it if it was deleted.
    pub object: Manifest,
    /// Its own: from there a watch continues.
    pub resource_version: Version,
    /// The resource as it was, if other filters selected it then.
    pub(crate) before: Option<Box<Manifest>>,
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It is new, or the watcher sees it for the first time.
    Added,
    /// It or its status is another one.
    Modified,
    /// It is gone.
    Deleted,
}

impl Filter {
    /// All resources of a kind.
    pub fn all(kind: Kind) -> Self {
        let (vpc, host, network, phase) = Default::default();
        Self { kind, vpc, selector: Selector::default(), host, network, phase }
    }
}

impl Refusal {
    /// A refusal that is not about fields.
    pub fn new(kind: RefusalKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), fields: Vec::new() }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        })
    }
}
