//! The last changes, remembered for watchers.
//!
//! One ring for all: a watcher is a place in it and costs nothing when nothing happens, and what a
//! slow one costs is bounded by the ring, which forgets its oldest changes whoever wants them.

use crate::apply::Applied;
use crate::{Change, Revision, StoreError, Watch};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// How much of the past is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// At most so many changes. A single commit of more ends every watch.
    pub changes: usize,
    /// At most so many bytes of keys and values, with what keeping them takes.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    /// 65,536 changes, 64 MiB.
    fn default() -> Self {
        Self { changes: 1 << 16, bytes: 64 << 20 }
    }
}

/// What a remembered change takes beside its key and value: its counter, its fields and its place.
const OVERHEAD: usize = 96;

/// The writing end.
#[derive(Debug)]
pub(crate) struct History {
    limits: HistoryLimits,
    ring: Arc<RwLock<Ring>>,
    /// Wakes watchers. Dropping it tells them that the store is gone.
    news: watch::Sender<()>,
}

#[derive(Debug)]
pub(crate) struct Ring {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// How many changes were forgotten: the place of the first one that is remembered.
    first: u64,
    /// All changes after this revision are remembered.
    oldest: Revision,
    /// The last commit, whether it changed anything or not.
    last: Revision,
}

impl History {
    /// One that begins at `revision`, and knows nothing of before.
    pub(crate) fn new(limits: HistoryLimits, revision: Revision) -> Self {
        let ring =
            Ring { changes: VecDeque::new(), bytes: 0, first: 0, oldest: revision, last: revision };
        Self { limits, ring: Arc::new(RwLock::new(ring)), news: watch::Sender::new(()) }
    }

    /// The last commit.
    pub(crate) fn revision(&self) -> Revision {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Remembers what was committed; returns the transactions' outcomes.
    pub(crate) fn publish(&self, applied: Applied) -> Vec<Result<Revision, crate::Conflict>> {
        {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            ring.last = applied.revision;
            ring.bytes += applied.changes.iter().map(|change| size(change)).sum::<usize>();
            ring.changes.extend(applied.changes);
            while ring.changes.len() > self.limits.changes || ring.bytes > self.limits.bytes {
                ring.forget_first();
            }
        }
        self.news.send_replace(());
        applied.outcomes
    }

    /// Forgets what was before. Nobody needs to be woken: who waits has read everything.
    pub(crate) fn compact(&self, before: Revision) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        while ring.changes.front().is_some_and(|change| change.revision < before) {
            ring.forget_first();
        }
        ring.oldest = ring.oldest.max(before.previous().min(ring.last));
    }

    pub(crate) fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        let news = self.news.subscribe();
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if from > ring.last {
            return Err(StoreError::Ahead { from, last: ring.last });
        }
        if from < ring.oldest {
            return Err(StoreError::Compacted { oldest: ring.oldest });
        }
        let skipped = ring.changes.partition_point(|change| change.revision <= from);
        let place = ring.first + skipped as u64;
        Ok(Watch::new(prefix, Arc::clone(&self.ring), news, place, from))
    }
}

impl Ring {
    fn forget_first(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.bytes -= size(&change);
            self.first += 1;
            self.oldest = self.oldest.max(change.revision);
        }
    }

    /// Earliest revision that can be watched from.
    pub(crate) fn oldest(&self) -> Revision {
        self.oldest
    }

    /// At most `limit` changes from a place on; none if some of them are forgotten.
    pub(crate) fn from(
        &self,
        place: u64,
        limit: usize,
    ) -> Option<impl ExactSizeIterator<Item = &Arc<Change>>> {
        let skipped = usize::try_from(place.checked_sub(self.first)?).ok()?;
        let end = self.changes.len().min(skipped.saturating_add(limit));
        Some(self.changes.range(skipped.min(end)..end))
    }

    /// Who stands at this place has read everything up to this revision.
    pub(crate) fn revision_before(&self, place: u64) -> Revision {
        let at = usize::try_from(place.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.changes.get(at).map_or(self.last, |next| next.revision.previous())
    }
}

fn size(change: &Change) -> usize {
    OVERHEAD + change.key.len() + change.value.as_ref().map_or(0, |value| value.len())
}
