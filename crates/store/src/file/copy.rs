//! Whole files: new ones, backups, and what becomes of them.

use super::database::{Database, Meta};
use super::disk::{Disk, failed_io};
use crate::apply::Rows;
use crate::{Backup, StoreError};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// For what happens once.
const CACHE: usize = 64 << 20;

/// Makes what is in the file `backup` the store at `path`, in a new epoch, which it returns. That
/// is larger than the backup's and than `above`: say there the largest epoch that anybody has seen,
/// such as that of the store that was lost.
///
/// The file may also be a store, as a copy of a disk has it. If there is a store at `path`, it is
/// replaced if `keep` says what it is called then, and at no time there is none.
///
/// # Errors
///
/// [`StoreError::NoBackup`]; [`StoreError::Exists`] if there is a file at `path` and no `keep`, or
/// one at `keep`; also when `backup` is a store that is in use.
pub fn restore(
    backup: &Path,
    path: &Path,
    above: u16,
    keep: Option<&Path>,
) -> Result<u16, StoreError> {
    let unreadable = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => {
            let (path, reason) = (backup.to_owned(), "there is no such file".to_owned());
            StoreError::NoBackup { path, reason }
        }
        _ => failed_io(backup, "read", e),
    };
    let mut file = File::open(backup).map_err(unreadable)?;
    let new = New::beside(path)?;
    let epoch = if Backup::is_other(&mut file).map_err(unreadable)? {
        // Held until it is copied, so that nobody writes it meanwhile.
        let _from = Disk::open(backup)?;
        fs::copy(backup, new.0.path()).map_err(|e| failed_io(path, "write", e))?;
        raise_epoch(&new.disk(path)?, above).map_err(|error| no_backup(error, backup))?
    } else {
        fill(&new.disk(path)?, &mut file, backup, above)?
    };
    match keep {
        Some(keep) => new.replace(path, keep)?,
        None => new.keep_as(path)?,
    }
    Ok(epoch)
}

/// That a copy is no store says that what it was copied from is none.
fn no_backup(error: StoreError, backup: &Path) -> StoreError {
    let why = match error {
        StoreError::Damaged { reason, .. } => reason,
        StoreError::Failed { action: "open", source, .. } => source.to_string(),
        error => return error,
    };
    let reason = format!("it is neither a backup nor a store ({why})");
    StoreError::NoBackup { path: backup.to_owned(), reason }
}

fn raise_epoch(disk: &Disk, above: u16) -> Result<u16, StoreError> {
    let (database, meta) = Database::open(disk, CACHE)?;
    let epoch = next_epoch(meta.epoch, above)?;
    database.set_epoch(disk, epoch)?;
    Ok(epoch)
}

/// Makes a new store of a backup.
fn fill(disk: &Disk, file: &mut File, backup: &Path, above: u16) -> Result<u16, StoreError> {
    let database = Database::create(disk, CACHE, Meta::NEW)?;
    let mut epoch = 0;
    database.fill(disk, |rows| {
        let put = &mut |key: &[u8], value: &[u8], revision| rows.put(key, value, revision);
        let of = Backup::read(file, backup, put)?;
        epoch = next_epoch(of.epoch, above)?;
        Ok(Meta { epoch, revision: of.revision })
    })?;
    Ok(epoch)
}

fn next_epoch(epoch: u16, above: u16) -> Result<u16, StoreError> {
    let last = epoch.max(above);
    last.checked_add(1).ok_or(StoreError::LastEpoch { epoch: last })
}

/// A backup on its way to a file, which has its name only once it is whole.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    new: New,
}

impl BackupFile {
    /// In the folder where it is to be, readable for its owner only.
    ///
    /// # Errors
    ///
    /// There is a file of that name already, or the folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), new: New::beside(path)? })
    }

    /// Some more of it.
    ///
    /// # Errors
    ///
    /// Also when the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.new.0.write_all(bytes).map_err(|e| failed_io(&self.path, "write", e))
    }

    /// Reads it once more, and gives it its name when it is on disk: what it is of.
    ///
    /// # Errors
    ///
    /// It is not a whole backup.
    pub fn keep(self) -> Result<Backup, StoreError> {
        let Self { path, new } = self;
        let mut written = new.0.reopen().map_err(|e| failed_io(&path, "read", e))?;
        let of = Backup::read(&mut written, &path, &mut |_, _, _| Ok(()))?;
        new.keep_as(&path)?;
        Ok(of)
    }
}

/// Makes an empty store.
pub(super) fn create(path: &Path, cache: usize) -> Result<(), StoreError> {
    let new = New::beside(path)?;
    drop(Database::create(&new.disk(path)?, cache, Meta::NEW)?);
    new.keep_as(path)
}

/// A file that is complete when it gets its name, and is gone if it does not.
#[derive(Debug)]
struct New(NamedTempFile);

impl New {
    /// In the folder where it is to be.
    fn beside(path: &Path) -> Result<Self, StoreError> {
        let file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(folder_of(path))
            .map_err(|e| failed_io(path, "create", e))?;
        Ok(Self(file))
    }

    /// Errors name it as it is to be named.
    fn disk(&self, path: &Path) -> Result<Disk, StoreError> {
        let file = self.0.reopen().map_err(|e| failed_io(path, "create", e))?;
        Disk::of(path, file)
    }

    fn keep_as(self, path: &Path) -> Result<(), StoreError> {
        let kept = self.0.as_file().sync_all().and_then(|()| {
            self.0.persist_noclobber(path).map_err(|e| e.error)?;
            sync_folder(path)
        });
        kept.map_err(|e| in_the_way(path, e))
    }

    /// In place of the file that is there, which is called `old` from then on. Whoever stops in
    /// between leaves one or the other.
    fn replace(self, path: &Path, old: &Path) -> Result<(), StoreError> {
        self.0.as_file().sync_all().map_err(|e| failed_io(path, "create", e))?;
        fs::hard_link(path, old).map_err(|e| in_the_way(old, e))?;
        let replaced = self.0.persist(path).map_err(|e| e.error);
        replaced.and_then(|_| sync_folder(path)).map_err(|e| failed_io(path, "create", e))
    }
}

fn in_the_way(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists { path: path.to_owned() },
        _ => failed_io(path, "create", error),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
