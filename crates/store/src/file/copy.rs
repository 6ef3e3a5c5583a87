//! Whole files: new ones, backups, and what becomes of them.

use super::database::{Database, Meta, Snapshot};
use super::disk::{Disk, failed};
use crate::{Revision, StoreError};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

/// For what happens once.
const SMALL_CACHE: usize = 16 << 20;

/// Makes the store in the file `backup` the store at `path`, in a new epoch.
///
/// The epoch is larger than the backup's, and larger than `above`: say there the largest epoch that
/// anybody has seen, such as that of the store that was lost. Returns it.
///
/// # Errors
///
/// Also when there is a file at `path` already, or when `backup` is in use.
pub fn restore(backup: &Path, path: &Path, above: u16) -> Result<u16, StoreError> {
    // Held until the end, so that nobody writes what is being copied.
    let _from = Disk::open(backup)?;
    let new = New::beside(path)?;
    fs::copy(backup, new.0.path()).map_err(|e| failed(path, "write", redb::Error::Io(e)))?;
    let epoch = raise_epoch(&new.disk(path)?, above)?;
    new.keep_as(path)?;
    Ok(epoch)
}

/// Gives the store at `path` a new epoch, larger than its own and than `above`, and returns it: for
/// a file that was restored by other means.
///
/// # Errors
///
/// Also when it is in use.
pub fn bump_epoch(path: &Path, above: u16) -> Result<u16, StoreError> {
    raise_epoch(&Disk::open(path)?, above)
}

fn raise_epoch(disk: &Disk, above: u16) -> Result<u16, StoreError> {
    let (database, meta) = Database::open(disk, SMALL_CACHE)?;
    let last = meta.epoch.max(above);
    let epoch = last.checked_add(1).ok_or(StoreError::LastEpoch { epoch: last })?;
    database.set_epoch(disk, epoch)?;
    Ok(epoch)
}

/// Makes an empty store.
pub(super) fn create(path: &Path, cache: usize) -> Result<(), StoreError> {
    let new = New::beside(path)?;
    drop(Database::create(&new.disk(path)?, cache, Meta::NEW)?);
    new.keep_as(path)
}

/// Writes a snapshot to a new file.
pub(super) fn write(
    from: &Snapshot<'_>,
    path: &Path,
    cache: usize,
) -> Result<Revision, StoreError> {
    let new = New::beside(path)?;
    {
        let disk = new.disk(path)?;
        Database::create(&disk, cache, from.meta())?.copy_from(&disk, from)?;
    }
    new.keep_as(path)?;
    Ok(from.meta().revision)
}

/// A file that is complete when it gets its name, and is gone if it does not.
struct New(NamedTempFile);

impl New {
    /// In the folder where it is to be.
    fn beside(path: &Path) -> Result<Self, StoreError> {
        let file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(folder_of(path))
            .map_err(|e| failed(path, "create", redb::Error::Io(e)))?;
        Ok(Self(file))
    }

    /// Errors name it as it is to be named.
    fn disk(&self, path: &Path) -> Result<Disk, StoreError> {
        let file = self.0.reopen().map_err(|e| failed(path, "create", redb::Error::Io(e)))?;
        Disk::of(path, file)
    }

    fn keep_as(self, path: &Path) -> Result<(), StoreError> {
        let kept = self.0.as_file().sync_all().and_then(|()| {
            self.0.persist_noclobber(path).map_err(|e| e.error)?;
            File::open(folder_of(path))?.sync_all()
        });
        kept.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists { path: path.to_owned() },
            _ => failed(path, "create", redb::Error::Io(e)),
        })
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
