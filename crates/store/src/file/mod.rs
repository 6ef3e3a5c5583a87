//! The store in one file, kept by redb.
//!
//! **What a commit costs.** redb is told to commit in one phase: it writes the new pages and its
//! header, then flushes the disk once. After a crash it verifies checksums, and takes the commit
//! before if the last one is incomplete. That reads the whole file once, at the next start only;
//! the alternative, "quick repair", would flush twice and write the allocator's state with every
//! commit.
//!
//! **What a failed commit costs.** Whether redb's failed commit is there cannot be told from redb:
//! after a failed flush the operating system may show what the disk does not have. So the file is
//! lent to redb through a `Guard`, which remembers header and length as they were last flushed.
//! After a failure the database is closed, those are written and flushed again, and the database is
//! opened anew: the commit before is whole, because redb never writes over it, and the failed one
//! is unreachable, wherever its pages are.
//!
//! **What is in the file.** Table `rows`: under each key, six bytes of revision and the value.
//! Table `meta`: `format`, `epoch` and `revision`. History is in memory: after a restart it begins
//! at the present revision, and a watch from an earlier one is refused as compacted.

mod copy;
mod database;
mod disk;
mod guard;
mod rows;
#[cfg(test)]
mod tests;

pub use copy::{BackupFile, restore};
pub(crate) use disk::failed_io;

use crate::apply::Applied;
use crate::history::{History, HistoryLimits};
use crate::{Conflict, Entry, Page, Revision, Store, StoreError, Transaction, Visit, Watch};
use database::{Database, Failed, Meta, Snapshot};
use disk::Disk;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// How a [`Redb`] is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for pages of the file, in bytes.
    pub cache: usize,
    /// How much of the past is remembered.
    pub history: HistoryLimits,
    /// Whether a new store is made if there is none. Without it, a disk that is not mounted is an
    /// error rather than an empty store.
    pub create: bool,
}

impl Default for Options {
    /// 64 MiB of cache, the default history, and a new store if there is none.
    fn default() -> Self {
        Self { cache: 64 << 20, history: HistoryLimits::default(), create: true }
    }
}

/// A store in one file. It has the file to itself until it is dropped.
#[derive(Debug)]
pub struct Redb {
    disk: Disk,
    cache: usize,
    epoch: u16,
    state: RwLock<State>,
    /// Held by who commits, or opens the database anew: one at a time.
    writer: Mutex<()>,
    history: History,
}

#[derive(Debug)]
struct State {
    /// None after a failure, until it can be opened again.
    database: Option<Database>,
    /// Counts how often it was opened, to tell one failure from the next.
    opened: u64,
    /// The commit that failed and is not settled.
    pending: Option<Applied>,
}

/// How a commit that failed has ended.
enum Settled {
    /// It was flushed before the failure.
    Holds(Vec<Result<Revision, Conflict>>),
    /// It is as if it had never been.
    TakenBack,
}

impl Redb {
    /// Opens the store in this file.
    ///
    /// # Errors
    ///
    /// When somebody has it open already, when a newer version wrote it, or when it is no store.
    pub fn open(path: &Path, options: &Options) -> Result<Self, StoreError> {
        if options.create && !path.exists() {
            match copy::create(path, options.cache) {
                // Somebody was faster: it is theirs, or free to be opened.
                Ok(()) | Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Self::on(Disk::open(path)?, options)
    }

    fn on(disk: Disk, options: &Options) -> Result<Self, StoreError> {
        let (database, meta) = Database::open(&disk, options.cache)?;
        let history = History::new(options.history, meta.revision);
        let state = RwLock::new(State { database: Some(database), opened: 0, pending: None });
        let cache = options.cache;
        Ok(Self { disk, cache, epoch: meta.epoch, state, writer: Mutex::new(()), history })
    }

    /// Reads from one point in time, which is history by then.
    fn read<T>(
        &self,
        body: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (snapshot, opened) = self.snapshot()?;
        if snapshot.meta().revision > self.history.revision() {
            // The commit is durable, and its author about to publish it.
            drop(self.lock_writer());
        }
        body(&snapshot).inspect_err(|error| {
            if database::is_broken(error) {
                // The next call tries again; this one has an error to report already.
                let _ = self.mend(&self.lock_writer(), opened);
            }
        })
    }

    fn snapshot(&self) -> Result<(Snapshot<'_>, u64), StoreError> {
        let (taken, opened) = self.try_snapshot();
        match taken {
            Some(Ok(snapshot)) => Ok((snapshot, opened)),
            Some(Err(error)) if !database::is_broken(&error) => Err(error),
            Some(Err(_)) | None => {
                self.mend(&self.lock_writer(), opened)?;
                let (taken, opened) = self.try_snapshot();
                Ok((taken.unwrap_or_else(|| Err(self.disk.closed()))?, opened))
            }
        }
    }

    fn try_snapshot(&self) -> (Option<Result<Snapshot<'_>, StoreError>>, u64) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        (state.database.as_ref().map(|database| database.snapshot(&self.disk)), state.opened)
    }

    fn lock_writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits to the database as it is; remembers what it was about if that fails.
    fn attempt(&self, transactions: &[Transaction]) -> Result<Applied, (StoreError, u64)> {
        let failed = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let result = match &state.database {
                Some(database) => database.commit(&self.disk, transactions, self.revision()),
                None => Err(Failed { error: self.disk.closed(), applied: None }),
            };
            match result {
                Ok(applied) => return Ok(applied),
                Err(failed) => (failed, state.opened),
            }
        };
        let (Failed { error, applied }, opened) = failed;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // What is pending from before is decided with the header that is taken back.
        state.pending = state.pending.take().or(applied);
        Err((error, opened))
    }

    /// Opens the database anew after a failure, unless that was done since, with everything taken
    /// back that was not flushed.
    fn mend(&self, _writer: &MutexGuard<'_, ()>, opened: u64) -> Result<Settled, StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.database.is_some() && state.opened != opened {
            return Ok(Settled::TakenBack);
        }
        // Closed first: two databases on one file would overwrite each other.
        drop(state.database.take());
        self.disk
            .guard()
            .take_back()
            .map_err(|e| self.disk.failed("repair", redb::Error::Io(e)))?;
        let (database, meta) = Database::open(&self.disk, self.cache)?;
        let settled = match state.pending.take() {
            _ if meta.epoch != self.epoch => return Err(self.changed(&meta)),
            _ if meta.revision == self.revision() => Settled::TakenBack,
            Some(applied) if meta.revision == applied.revision => {
                Settled::Holds(self.history.publish(applied))
            }
            _ => return Err(self.changed(&meta)),
        };
        state.database = Some(database);
        state.opened += 1;
        Ok(settled)
    }

    fn changed(&self, meta: &Meta) -> StoreError {
        let Meta { epoch, revision } = meta;
        let (own_epoch, own) = (self.epoch, self.revision());
        self.disk.damaged(format!(
            "somebody else wrote it: it is at {epoch}.{revision}, and this process left it at \
             {own_epoch}.{own}"
        ))
    }
}

impl Store for Redb {
    fn epoch(&self) -> u16 {
        self.epoch
    }

    fn revision(&self) -> Revision {
        self.history.revision()
    }

    fn commit(
        &self,
        transactions: &[Transaction],
    ) -> Result<Vec<Result<Revision, Conflict>>, StoreError> {
        if transactions.is_empty() {
            return Ok(Vec::new());
        }
        let writer = self.lock_writer();
        let mut tried = false;
        loop {
            let (error, opened) = match self.attempt(transactions) {
                Ok(applied) => return Ok(self.history.publish(applied)),
                Err((StoreError::Exhausted, _)) => return Err(StoreError::Exhausted),
                Err(failed) => failed,
            };
            // If only an earlier failure stood in the way, it is gone now.
            let again = !tried && database::is_stale(&error);
            tried = true;
            match self.mend(&writer, opened) {
                Ok(Settled::Holds(outcomes)) => return Ok(outcomes),
                Ok(Settled::TakenBack) if again => {}
                Ok(Settled::TakenBack) => return Err(error),
                Err(_) if self.disk.guard().is_touched() => return Err(self.disk.unsettled(error)),
                // That it was closed says nothing; why it cannot be opened does.
                Err(why) if again => return Err(why),
                Err(_) => return Err(error),
            }
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.read(|snapshot| snapshot.get(key))
    }

    fn range(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        self.read(|snapshot| {
            let mut entries = Vec::new();
            let mut more = false;
            snapshot.visit(prefix, after, &mut |key, value, revision| {
                more = entries.len() == limit;
                if !more {
                    entries.push(Entry { key: key.into(), value: value.into(), revision });
                }
                !more
            })?;
            Ok(Page { entries, revision: snapshot.meta().revision, more })
        })
    }

    fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<Revision, StoreError> {
        self.read(|snapshot| {
            snapshot.visit(prefix, None, &mut |key, value, revision| {
                visit(key, value, revision);
                true
            })?;
            Ok(snapshot.meta().revision)
        })
    }

    fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        // A revision that was read is history, or about to be: reading waits for it.
        self.history.watch(prefix, from)
    }

    fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.history.compact(before);
        Ok(())
    }
}
