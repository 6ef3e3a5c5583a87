//! Those who watch resources, and the last events, for those who come back.

use crate::engine::{Event, Filter, Refusal, RefusalKind, Subscription, WATCH_QUEUE};
use mizar_identity::Identity;
use mizar_vpc::Generation;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many events are remembered.
const REMEMBERED: usize = 16_384;
/// How many resources a watch may begin with.
pub(crate) const MOST_PRESENT: usize = 10_000;

/// Those who watch.
#[derive(Debug)]
pub(crate) struct Watchers {
    watchers: Vec<Watcher>,
    events: VecDeque<Arc<Event>>,
    /// Events at or before this one may be forgotten.
    forgotten: Generation,
}

#[derive(Debug)]
struct Watcher {
    who: Identity,
    filter: Filter,
    events: mpsc::Sender<Arc<Event>>,
}

impl Watchers {
    /// Nobody watches, and nothing is remembered that happened before.
    pub(crate) fn new(forgotten: Generation) -> Self {
        Self { watchers: Vec::new(), events: VecDeque::new(), forgotten }
    }

    /// Whether anybody watches.
    pub(crate) fn is_anybody_there(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// How many watch.
    pub(crate) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Tells an event to those whom it concerns. Who does not keep up is left behind.
    pub(crate) fn tell(
        &mut self,
        event: &Arc<Event>,
        concerns: impl Fn(&Identity, &Filter) -> bool,
    ) {
        self.watchers.retain(|watcher| {
            !watcher.events.is_closed()
                && (!concerns(&watcher.who, &watcher.filter)
                    || watcher.events.try_send(Arc::clone(event)).is_ok())
        });
        self.events.push_back(Arc::clone(event));
        if self.events.len() > REMEMBERED
            && let Some(oldest) = self.events.pop_front()
        {
            self.forgotten = oldest.resource_version;
        }
    }

    /// The events after a write.
    ///
    /// # Errors
    /// They are forgotten.
    pub(crate) fn since(
        &self,
        from: Generation,
        concerns: impl Fn(&Event) -> bool,
    ) -> Result<VecDeque<Arc<Event>>, Refusal> {
        if from < self.forgotten {
            let detail = format!(
                "events after {from} are forgotten, those after {} are not: list again, and watch \
                 from the version that the list says",
                self.forgotten
            );
            return Err(Refusal::new(RefusalKind::Gone, detail));
        }
        let events = self.events.iter().filter(|event| event.resource_version > from);
        Ok(events.filter(|event| concerns(event)).cloned().collect())
    }

    /// Somebody watches from now on.
    pub(crate) fn subscribe(
        &mut self,
        who: Identity,
        filter: Filter,
        past: VecDeque<Arc<Event>>,
    ) -> Subscription {
        let (events, coming) = mpsc::channel(WATCH_QUEUE);
        self.watchers.push(Watcher { who, filter, events });
        Subscription { past, coming }
    }
}
