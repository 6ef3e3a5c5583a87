//! The tables, and what is done to them.

use super::disk::Disk;
use super::rows::{self, RedbRows};
use crate::apply::{Applied, apply};
use crate::{Entry, Revision, StoreError, Transaction};
use redb::{Builder, ReadableDatabase, StorageBackend, TableDefinition, TableError, TableHandle};

pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The newest format that this version knows: of the tables, not of redb's pages.
const FORMAT: u64 = 1;
/// Of a new store.
const FIRST_EPOCH: u16 = 1;

/// An open database.
#[derive(Debug)]
pub(super) struct Database(redb::Database);

/// What a store says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) epoch: u16,
    pub(super) revision: Revision,
}

/// A commit that failed.
pub(super) struct Failed {
    pub(super) error: StoreError,
    /// What it was about, if it came so far that it may be on the disk.
    pub(super) applied: Option<Applied>,
}

/// Is told of an entry, and says whether of more.
type VisitUntil<'a> = dyn FnMut(&[u8], &[u8], Revision) -> bool + 'a;

/// One point in time.
pub(super) struct Snapshot<'a> {
    disk: &'a Disk,
    rows: redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
    meta: Meta,
}

impl Meta {
    /// Of a store to which nothing has happened.
    pub(super) const NEW: Self = Self { epoch: FIRST_EPOCH, revision: Revision::ZERO };
}

impl Database {
    /// Opens an existing store, and repairs it after a crash.
    pub(super) fn open(disk: &Disk, cache: usize) -> Result<(Self, Meta), StoreError> {
        // redb would make it a database.
        if disk.guard().len().map_err(|e| disk.failed("open", redb::Error::Io(e)))? == 0 {
            return Err(disk.damaged("it is empty"));
        }
        let database = Builder::new()
            .set_cache_size(cache)
            .create_with_backend(disk.guard().clone())
            .map_err(|e| disk.failed("open", e))?;
        let database = Self(database);
        let meta = database.snapshot(disk)?.meta();
        Ok((database, meta))
    }

    /// Makes an empty store on an empty disk.
    pub(super) fn create(disk: &Disk, cache: usize, meta: Meta) -> Result<Self, StoreError> {
        let database = Builder::new()
            .set_cache_size(cache)
            .create_with_backend(disk.guard().clone())
            .map_err(|e| disk.failed("create", e))?;
        let database = Self(database);
        database.write(disk, "create", |transaction| {
            transaction.open_table(ROWS).map_err(|e| disk.failed("create", e))?;
            write_meta(disk, transaction, "format", FORMAT)?;
            write_meta(disk, transaction, "epoch", meta.epoch.into())?;
            write_meta(disk, transaction, "revision", meta.revision.get())
        })?;
        Ok(database)
    }

    /// Commits, with one flush.
    pub(super) fn commit(
        &self,
        disk: &Disk,
        transactions: &[Transaction],
        revision: Revision,
    ) -> Result<Applied, Failed> {
        let before = |error| Failed { error, applied: None };
        disk.guard().begin();
        let commit =
            self.0.begin_write().map_err(|e| before(disk.failed("begin a commit to", e)))?;
        let applied = {
            let table = commit.open_table(ROWS).map_err(|e| before(disk.failed("write to", e)))?;
            apply(&mut RedbRows::new(disk, table), transactions, revision).map_err(before)?
        };
        if applied.revision == revision {
            commit.abort().map_err(|e| before(disk.failed("write to", e)))?;
            return Ok(applied);
        }
        write_meta(disk, &commit, "revision", applied.revision.get()).map_err(before)?;
        match commit.commit() {
            Ok(()) => Ok(applied),
            Err(e) => Err(Failed { error: disk.failed("commit to", e), applied: Some(applied) }),
        }
    }

    /// Fills a new store with rows, and has it say of itself what these say at their end.
    pub(super) fn fill(
        &self,
        disk: &Disk,
        rows: impl FnOnce(&mut RedbRows<'_, '_>) -> Result<Meta, StoreError>,
    ) -> Result<(), StoreError> {
        self.write(disk, "write to", |commit| {
            let meta = {
                let table = commit.open_table(ROWS).map_err(|e| disk.failed("write to", e))?;
                rows(&mut RedbRows::new(disk, table))?
            };
            write_meta(disk, commit, "epoch", meta.epoch.into())?;
            write_meta(disk, commit, "revision", meta.revision.get())
        })
    }

    /// Gives the store another epoch.
    pub(super) fn set_epoch(&self, disk: &Disk, epoch: u16) -> Result<(), StoreError> {
        self.write(disk, "write to", |commit| write_meta(disk, commit, "epoch", epoch.into()))
    }

    pub(super) fn snapshot<'a>(&self, disk: &'a Disk) -> Result<Snapshot<'a>, StoreError> {
        let transaction = self.0.begin_read().map_err(|e| disk.failed("read", e))?;
        let foreign = |error| match error {
            TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. } => {
                disk.damaged(format!("a redb database without table {:?}", META.name()))
            }
            error => disk.failed("read", error),
        };
        let meta = transaction.open_table(META).map_err(foreign)?;
        let read = |key| match meta.get(key) {
            Ok(Some(value)) => Ok(value.value()),
            Ok(None) => Err(disk.damaged(format!("it does not say its {key}"))),
            Err(error) => Err(disk.failed("read", error)),
        };
        let format = read("format")?;
        if format > FORMAT {
            return Err(disk.newer(format, FORMAT));
        }
        let (epoch, revision) = (read("epoch")?, read("revision")?);
        let (Ok(epoch), Ok(revision)) = (u16::try_from(epoch), Revision::new(revision)) else {
            return Err(disk.damaged(format!("{epoch}.{revision} is out of range")));
        };
        let rows = transaction.open_table(ROWS).map_err(foreign)?;
        Ok(Snapshot { disk, rows, meta: Meta { epoch, revision } })
    }

    fn write(
        &self,
        disk: &Disk,
        action: &'static str,
        body: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.0.begin_write().map_err(|e| disk.failed(action, e))?;
        body(&transaction)?;
        transaction.commit().map_err(|e| disk.failed(action, e))
    }
}

impl Snapshot<'_> {
    pub(super) fn meta(&self) -> Meta {
        self.meta
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let Some(row) = self.rows.get(key).map_err(|e| self.disk.failed("read", e))? else {
            return Ok(None);
        };
        let (revision, value) = rows::split(self.disk, row.value())?;
        Ok(Some(Entry { key: key.into(), value: value.into(), revision }))
    }

    /// Visits what begins with `prefix` and is after `after`, until `visit` says no.
    pub(super) fn visit(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut VisitUntil<'_>,
    ) -> Result<(), StoreError> {
        let after = after.filter(|after| *after >= prefix);
        let found =
            self.rows.range(after.unwrap_or(prefix)..).map_err(|e| self.disk.failed("read", e))?;
        for row in found {
            let (key, row) = row.map_err(|e| self.disk.failed("read", e))?;
            let key = key.value();
            if after == Some(key) {
                continue;
            }
            let (revision, value) = rows::split(self.disk, row.value())?;
            if !key.starts_with(prefix) || !visit(key, value, revision) {
                break;
            }
        }
        Ok(())
    }
}

fn write_meta(
    disk: &Disk,
    commit: &redb::WriteTransaction,
    key: &str,
    value: u64,
) -> Result<(), StoreError> {
    let mut meta = commit.open_table(META).map_err(|e| disk.failed("write to", e))?;
    meta.insert(key, value).map_err(|e| disk.failed("write to", e))?;
    Ok(())
}

/// Whether redb refuses everything after this error.
pub(super) fn is_broken(error: &StoreError) -> bool {
    matches!(error, StoreError::Full { .. })
        || is_stale(error)
        || cause(error).is_some_and(|e| matches!(e, redb::Error::Io(_) | redb::Error::Backend(_)))
}

/// Whether this error is the consequence of an earlier one.
pub(super) fn is_stale(error: &StoreError) -> bool {
    cause(error).is_some_and(|e| matches!(e, redb::Error::PreviousIo | redb::Error::DatabaseClosed))
}

fn cause(error: &StoreError) -> Option<&redb::Error> {
    match error {
        StoreError::Failed { source, .. } => source.downcast_ref(),
        _ => None,
    }
}
