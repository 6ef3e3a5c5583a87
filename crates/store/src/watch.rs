//! Changes as they come.

use crate::Revision;
use crate::history::Ring;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use tokio::sync::watch;

/// How many changes are looked at before others get their turn with the ring.
const BATCH: usize = 256;

/// What a transaction did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Box<[u8]>,
    /// Its value; none if it was deleted.
    pub value: Option<Box<[u8]>>,
    /// The transaction's revision.
    pub revision: Revision,
}

/// Why a watch ended. It says so again if asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WatchEnd {
    /// It was not read in time.
    #[error(
        "the watch fell behind, and changes up to revision {oldest} are forgotten: read what is \
         there, then watch from the revision that reading returned"
    )]
    Lagged {
        /// The earliest revision that can be watched from.
        oldest: Revision,
    },
    /// The store is gone.
    #[error("the store was closed: open it again, then watch from the last revision seen")]
    Closed,
}

/// Changes below a prefix, in order, without gaps.
///
/// It takes no room of its own, and no time of those who commit. Whoever stops reading it falls
/// behind; when the store forgets what was not read yet, the watch ends.
pub struct Watch {
    prefix: Box<[u8]>,
    ring: Arc<RwLock<Ring>>,
    news: watch::Receiver<()>,
    /// Place in the ring of the first change that was not looked at.
    place: u64,
    /// What was looked at and is to be returned.
    ready: VecDeque<Arc<Change>>,
    /// Everything up to here was returned or is ready.
    seen: Revision,
    ended: Option<WatchEnd>,
}

impl Watch {
    pub(crate) fn new(
        prefix: &[u8],
        ring: Arc<RwLock<Ring>>,
        news: watch::Receiver<()>,
        place: u64,
        seen: Revision,
    ) -> Self {
        let ready = VecDeque::new();
        Self { prefix: prefix.into(), ring, news, place, ready, seen, ended: None }
    }

    /// Waits for the next change. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// When the watch has ended. Of a store that is gone, everything is returned before.
    pub async fn next(&mut self) -> Result<Arc<Change>, WatchEnd> {
        loop {
            self.news.mark_unchanged();
            if let Some(change) = self.try_next()? {
                return Ok(change);
            }
            if self.news.changed().await.is_err() {
                return self.try_next()?.ok_or(WatchEnd::Closed);
            }
        }
    }

    /// The next change, if there is one.
    ///
    /// # Errors
    ///
    /// When the watch fell behind.
    pub fn try_next(&mut self) -> Result<Option<Arc<Change>>, WatchEnd> {
        while self.ready.is_empty() {
            if !self.look()? {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Every change up to this revision has been returned.
    ///
    /// Transactions are whole up to here: whoever wants to act on all changes of one together acts
    /// when this reaches its revision. It is the revision to watch from next time.
    pub fn seen(&self) -> Revision {
        self.ready.front().map_or(self.seen, |next| self.seen.min(next.revision.previous()))
    }

    /// Looks at what has come; says whether there was anything.
    fn look(&mut self) -> Result<bool, WatchEnd> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(changes) = ring.from(self.place, BATCH) else {
            let ended = WatchEnd::Lagged { oldest: ring.oldest() };
            self.ended = Some(ended);
            return Err(ended);
        };
        let count = changes.len();
        self.ready.extend(changes.filter(|c| c.key.starts_with(&self.prefix)).cloned());
        self.place += count as u64;
        self.seen = ring.revision_before(self.place);
        Ok(count > 0)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("prefix", &crate::text(&self.prefix))
            .field("seen", &self.seen())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
