//! Writes on record: who asked for what, from where, and what came of it.
//!
//! Before a write is made, that it is asked for is on disk: if it cannot be, the write is refused
//! with 503, and nothing was changed. What came of it is a second entry, for which nobody waits. If
//! that one is lost, by a crash or a full disk between the two, the first one stays without an
//! answer: the log may know less than happened to a write, but of every write.

use super::Api;
use super::admit::Asker;
use super::problem::{Problem, ProblemKind};
use crate::engine::{Change, Effect, Write, Written};
use mizar_identity::Audit;
use mizar_identity::audit::{Entry, Object, Outcome, Who};
use std::time::SystemTime;
use tracing::Instrument;

/// Most objects that the outcome of one write names; a cascade may have any number.
const MOST_OBJECTS: usize = 1000;

/// A write that is on record as asked for.
#[derive(Debug)]
pub(super) struct Recorded {
    audit: Option<Audit>,
    entry: Entry,
}

/// What came of a write.
pub(super) struct Done<T> {
    pub(super) answer: T,
    /// The store's revision with it; none if nothing was stored.
    pub(super) revision: Option<String>,
    /// What was written, if that is not what was asked for.
    pub(super) objects: Option<Vec<Object>>,
}

impl Api {
    /// Makes changes of resources, on record.
    pub(super) async fn write(
        &self,
        asker: &Asker,
        verb: &str,
        write: Write,
    ) -> Result<Written, Problem> {
        let who = asker.known()?.clone();
        let engine = self.engine.clone();
        if write.dry_run {
            return Ok(engine.write(&who, write).await?);
        }
        let objects = write.changes.iter().map(object_of).collect();
        self.on_record(asker, Who::Identity(who.clone()), verb, objects, async move {
            let written = engine.write(&who, write).await?;
            let revision = Some(written.resource_version.to_string());
            let objects = Some(objects_of(&written));
            Ok(Done { answer: written, revision, objects })
        })
        .await
    }

    /// Does something once it is on record, and puts on record what came of it. It is done to the
    /// end even if whoever asked goes away meanwhile.
    pub(super) async fn on_record<T: Send + 'static>(
        &self,
        asker: &Asker,
        who: Who,
        verb: &str,
        objects: Vec<Object>,
        doing: impl Future<Output = Result<Done<T>, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let entry = Entry {
            time: SystemTime::now(),
            revision: None,
            who,
            from: asker.from.clone(),
            verb: verb.to_owned(),
            objects,
            outcome: Outcome::Asked,
            request: asker.request.clone(),
        };
        let recorded = Recorded::begin(self.audit.clone(), entry).await?;
        let done = async move {
            let result = doing.await;
            recorded.with_outcome(&result).end().await;
            result.map(|done| done.answer)
        };
        let done = tokio::spawn(done.in_current_span()).await;
        done.unwrap_or_else(|_| Err(Problem::new(ProblemKind::Unavailable, "it was interrupted")))
    }
}

impl Recorded {
    async fn begin(audit: Option<Audit>, entry: Entry) -> Result<Self, Problem> {
        if let Some(audit) = &audit {
            let recorded = audit.record(&entry).await;
            recorded.map_err(|error| {
                let detail = format!("nothing was changed: {}", chain(&error));
                Problem::new(ProblemKind::Unavailable, detail)
            })?;
        }
        Ok(Self { audit, entry })
    }

    fn with_outcome<T>(mut self, result: &Result<Done<T>, Problem>) -> Self {
        self.entry.time = SystemTime::now();
        match result {
            Ok(done) => {
                self.entry.outcome = Outcome::Done;
                self.entry.revision.clone_from(&done.revision);
                if let Some(objects) = &done.objects {
                    self.entry.objects.clone_from(objects);
                }
            }
            Err(problem) => self.entry.outcome = Outcome::Refused(problem.detail.clone()),
        }
        self
    }

    async fn end(self) {
        let Self { audit: Some(audit), entry } = self else { return };
        if let Err(error) = audit.note(&entry).await {
            // The entry that asks is on disk; this is all that is known of its end.
            let reason = chain(&error);
            tracing::error!(reason, ?entry, "the outcome of a write is not in the audit log");
        }
    }
}

fn object_of(change: &Change) -> Object {
    match change {
        Change::Create(manifest) | Change::Replace(manifest) | Change::Apply(manifest) => {
            object(&manifest.reference())
        }
        Change::Delete { reference, .. } => object(reference),
    }
}

fn objects_of(written: &Written) -> Vec<Object> {
    let changed = || written.outcomes.iter().filter(|it| it.effect != Effect::Unchanged);
    let mut objects: Vec<_> =
        changed().take(MOST_OBJECTS).map(|it| object(&it.reference)).collect();
    let more = changed().count() - objects.len();
    if more > 0 {
        objects.push(Object { kind: "and more".to_owned(), name: more.to_string() });
    }
    objects
}

/// A resource as the log has it.
fn object(reference: &mizar_vpc::Ref) -> Object {
    let name = match &reference.vpc {
        Some(vpc) => format!("{vpc}/{}", reference.name),
        None => reference.name.to_string(),
    };
    Object { kind: reference.kind.singular().to_owned(), name }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
