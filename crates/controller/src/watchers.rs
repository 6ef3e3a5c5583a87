//! Those who watch resources, and the last events, for those who come back.

use crate::engine::{
    Event, EventType, Filter, Refusal, RefusalKind, Subscription, Version, WATCH_QUEUE,
};
use crate::time::Time;
use mizar_identity::Identity;
use mizar_vpc::Generation;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How many events are remembered.
const REMEMBERED: usize = 16_384;
/// How long after a list somebody is expected to watch from there, before it has to be listed anew.
const INTEREST: Duration = Duration::from_secs(60);

/// Those who watch.
#[derive(Debug)]
pub(crate) struct Watchers {
    watchers: Vec<Watcher>,
    events: VecDeque<Arc<Event>>,
    /// Events up to this one are forgotten.
    forgotten: Version,
    /// When somebody listed last.
    listed: Cell<Option<Time>>,
    /// The last event.
    latest: watch::Sender<Version>,
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
        let forgotten = Version::from(forgotten);
        let latest = watch::Sender::new(forgotten);
        let (watchers, events, listed) = Default::default();
        Self { watchers, events, forgotten, listed, latest }
    }

    /// The last event; whoever knows how things stand now watches from there.
    pub(crate) fn latest(&self) -> Version {
        *self.latest.borrow()
    }

    /// A write has told all of its events, if it had any.
    pub(crate) fn written(&mut self, at: Generation) {
        self.latest.send_replace(at.into());
    }

    /// Whether anybody watches.
    pub(crate) fn is_anybody_there(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// Somebody has listed, and may watch from there.
    pub(crate) fn listed(&self, now: Time) {
        self.listed.set(Some(now));
    }

    /// Whether anybody may want to know what happens.
    pub(crate) fn is_anybody_interested(&self, now: Time) -> bool {
        let listed = self.listed.get();
        self.is_anybody_there() || listed.is_some_and(|at| now.since(at) < INTEREST)
    }

    /// Something happens of which nobody is told: nobody goes on from before.
    pub(crate) fn skip(&mut self) {
        self.forgotten = self.latest().next();
        self.latest.send_replace(self.forgotten);
        self.events.clear();
    }

    /// How many watch.
    pub(crate) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Tells an event to those whom it concerns. Who does not keep up is left behind.
    pub(crate) fn tell(
        &mut self,
        event: Event,
        concerns: impl Fn(&Identity, &Filter, &Event) -> Option<EventType>,
    ) {
        let event = Arc::new(event);
        self.watchers.retain(|watcher| {
            !watcher.events.is_closed()
                && concerns(&watcher.who, &watcher.filter, &event)
                    .is_none_or(|r#type| watcher.events.try_send(seen_as(r#type, &event)).is_ok())
        });
        self.latest.send_replace(event.resource_version);
        self.events.push_back(event);
        if self.events.len() > REMEMBERED
            && let Some(oldest) = self.events.pop_front()
        {
            self.forgotten = oldest.resource_version;
        }
    }

    /// The events after one.
    ///
    /// # Errors
    /// They are forgotten, or yet to come.
    pub(crate) fn since(
        &self,
        from: Version,
        concerns: impl Fn(&Event) -> Option<EventType>,
    ) -> Result<VecDeque<Arc<Event>>, Refusal> {
        if from < self.forgotten {
            let detail = format!(
                "events after {from} are forgotten, those after {} are not: list again, and watch \
                 from the version that the list says",
                self.forgotten
            );
            return Err(Refusal::new(RefusalKind::Gone, detail));
        }
        if from > self.latest() {
            let detail = format!(
                "version {from} is yet to come, the last is {}: it is of another controller, or of \
                 a store that was restored; list again, and watch from the version that the list \
                 says",
                self.latest()
            );
            return Err(Refusal::new(RefusalKind::Gone, detail));
        }
        let events = self.events.iter().filter(|event| event.resource_version > from);
        let seen = |event: &Arc<Event>| concerns(event).map(|r#type| seen_as(r#type, event));
        Ok(events.filter_map(seen).collect())
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
        Subscription { past, coming, latest: self.latest.subscribe() }
    }
}

/// The same event for a watcher to whom something else has happened.
fn seen_as(r#type: EventType, event: &Arc<Event>) -> Arc<Event> {
    if r#type == event.r#type {
        return Arc::clone(event);
    }
    let (object, resource_version) = (event.object.clone(), event.resource_version);
    Arc::new(Event { r#type, object, resource_version, before: None })
}
