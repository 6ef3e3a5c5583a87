//! The bodies of requests and answers, beside the manifests.

use super::problem::Problem;
use crate::engine::{Change, Effect, Event, EventType, Outcome, Page, Version, Written};
use mizar_identity::Identity;
use mizar_vpc::{Generation, Manifest, Name, Ref};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod look;
pub use look::{AtBody, LookBody, LookedBody, LookedHostBody, RowsBody, RowsError};

/// Most manifests or changes of one request.
pub const MOST_CHANGES: usize = 1000;

/// Manifests that are applied together or not at all.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyBody {
    /// In order: later ones may refer to earlier ones. At most 1,000.
    #[schemars(length(max = 1000))]
    pub manifests: Vec<Manifest>,
}

/// Changes that are made together or not at all.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// In order: later ones see earlier ones. At most 1,000.
    #[schemars(length(max = 1000))]
    pub changes: Vec<ChangeBody>,
}

/// One change.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeBody {
    /// A resource that does not exist yet.
    Create(Manifest),
    /// A resource that exists.
    Replace(Manifest),
    /// Either.
    Apply(Manifest),
    /// A resource goes.
    Delete(DeleteBody),
}

/// A resource that goes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeleteBody {
    /// Which one.
    pub reference: Ref,
    /// With all that uses it; otherwise it is refused while something does.
    #[serde(default)]
    pub cascade: bool,
    /// If given, it must be the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<Generation>,
}

/// Asks for a join token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenOrderBody {
    /// Which host may join: its name, or the beginning of names and `*`.
    pub host: String,
    /// How many hosts may.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 10_000))]
    pub uses: u32,
    /// For how long, in seconds.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub valid_seconds: u64,
    /// Where the host finds the controller, if not at the first of its own names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
}

/// What is known of a join token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenBody {
    /// Its number.
    pub id: Name,
    /// Which host may join with it: its name, or the beginning of names and `*`.
    pub host: String,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// How many hosts still may.
    pub uses_left: u32,
}

/// A new join token.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct TokenMadeBody {
    /// All of it, secret included: it is told this once.
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub record: TokenBody,
}

/// All join tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenListBody {
    /// In the order of their numbers.
    pub items: Vec<TokenBody>,
}

/// Asks that somebody's certificates are not believed any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// Whose: `host/NAME`, `operator/NAME`, `tenant/TENANT/NAME` or `monitor/NAME`.
    #[schemars(with = "String")]
    pub identity: Identity,
}

/// Certificates that are not believed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationBody {
    /// Whose.
    #[schemars(with = "String")]
    pub identity: Identity,
    /// Those that were issued until then, in seconds since 1970.
    pub issued_until: u64,
}

/// All revocations.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevocationListBody {
    /// By identity.
    pub items: Vec<RevocationBody>,
}

const fn once() -> u32 {
    1
}

const fn an_hour() -> u64 {
    3600
}

/// A page of resources.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListBody {
    /// The last event before: a watch from there sees all that follows.
    pub resource_version: Version,
    /// Where the next page begins, for `after`; none: this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The resources, by VPC and name.
    pub items: Vec<Manifest>,
}

/// What became of changes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WrittenBody {
    /// What the changed resources were written at; for a dry run that of the last write.
    pub resource_version: Generation,
    /// Whether nothing was changed because that was asked for.
    #[serde(default)]
    pub dry_run: bool,
    /// One for each change, in order, and for each resource that a cascade deleted.
    pub outcomes: Vec<OutcomeBody>,
}

/// What became of one change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeBody {
    /// Of which resource.
    pub reference: Ref,
    /// In one word.
    pub effect: EffectBody,
    /// The resource before, if it existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Manifest>,
    /// The resource after, if it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Manifest>,
}

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EffectBody {
    /// It is new.
    Created,
    /// It is another one than before.
    Changed,
    /// It was like that already, and has not been written.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// One line of a watch.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum EventBody {
    /// The resource is new, or the watcher sees it for the first time.
    Added {
        /// From there a watch continues.
        resource_version: Version,
        /// The resource.
        object: Manifest,
    },
    /// The resource or its status is another one.
    Modified {
        /// From there a watch continues.
        resource_version: Version,
        /// The resource.
        object: Manifest,
    },
    /// The resource is gone.
    Deleted {
        /// From there a watch continues.
        resource_version: Version,
        /// The resource as it was.
        object: Manifest,
    },
    /// Nothing happened for a while.
    Bookmark {
        /// From there a watch continues, though no event was for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource_version: Option<Version>,
    },
    /// The watch has ended: this is its last line.
    Error {
        /// Why, and what to do.
        problem: Problem,
    },
}

impl From<ChangeBody> for Change {
    fn from(body: ChangeBody) -> Self {
        match body {
            ChangeBody::Create(manifest) => Self::Create(manifest),
            ChangeBody::Replace(manifest) => Self::Replace(manifest),
            ChangeBody::Apply(manifest) => Self::Apply(manifest),
            ChangeBody::Delete(DeleteBody { reference, cascade, resource_version }) => {
                Self::Delete { reference, cascade, resource_version }
            }
        }
    }
}

impl From<Page> for ListBody {
    fn from(page: Page) -> Self {
        let Page { items, resource_version, next } = page;
        Self { resource_version, next, items }
    }
}

impl WrittenBody {
    pub(super) fn new(written: Written, dry_run: bool) -> Self {
        let Written { resource_version, outcomes } = written;
        let outcomes = outcomes.into_iter().map(OutcomeBody::from).collect();
        Self { resource_version, dry_run, outcomes }
    }
}

impl From<Outcome> for OutcomeBody {
    fn from(outcome: Outcome) -> Self {
        let Outcome { reference, effect, before, after } = outcome;
        Self { reference, effect: effect.into(), before, after }
    }
}

impl From<Effect> for EffectBody {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Created => Self::Created,
            Effect::Changed => Self::Changed,
            Effect::Unchanged => Self::Unchanged,
            Effect::Deleted => Self::Deleted,
        }
    }
}

impl EffectBody {
    /// In one word, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

impl From<&Event> for EventBody {
    fn from(event: &Event) -> Self {
        let (object, resource_version) = (event.object.clone(), event.resource_version);
        match event.r#type {
            EventType::Added => Self::Added { resource_version, object },
            EventType::Modified => Self::Modified { resource_version, object },
            EventType::Deleted => Self::Deleted { resource_version, object },
        }
    }
}
