//! The file: found, locked, and named in errors.

use super::guard::Guard;
use crate::StoreError;
use crate::error::Source;
use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Where a store is kept.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    guard: Guard,
    /// Shares its lock with the guard's: it is held until both are gone.
    _locked: Option<File>,
}

impl Disk {
    /// Opens and locks an existing file.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
                _ => failed(path, "open", redb::Error::Io(e)),
            })?;
        Self::of(path, file)
    }

    /// Locks a file.
    pub(super) fn of(path: &Path, file: File) -> Result<Self, StoreError> {
        let open = |e| failed(path, "open", redb::Error::Io(e));
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(failed(path, "lock", redb::Error::Io(error)));
            }
        }
        let lent = FileBackend::new(file.try_clone().map_err(open)?)
            .map_err(|e| failed(path, "open", e))?;
        Ok(Self { _locked: Some(file), ..Self::lent(path, Box::new(lent)) })
    }

    /// What behaves like a file.
    pub(super) fn lent(path: &Path, backend: Box<dyn StorageBackend>) -> Self {
        Self { path: path.to_owned(), guard: Guard::new(backend), _locked: None }
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(super) fn failed(&self, action: &'static str, error: impl Into<redb::Error>) -> StoreError {
        failed(&self.path, action, error)
    }

    /// After a failure, before it was opened again.
    pub(super) fn closed(&self) -> StoreError {
        self.failed("use", redb::Error::DatabaseClosed)
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason: reason.into() }
    }

    pub(super) fn newer(&self, found: u64, known: u64) -> StoreError {
        StoreError::Newer { path: self.path.clone(), found, known }
    }

    pub(super) fn unsettled(&self, error: StoreError) -> StoreError {
        StoreError::Unsettled { path: self.path.clone(), source: Source::from(error) }
    }
}

/// An error of redb, or of the operating system, by what is to be done about it.
pub(super) fn failed(
    path: &Path,
    action: &'static str,
    error: impl Into<redb::Error>,
) -> StoreError {
    let path = path.to_owned();
    match error.into() {
        redb::Error::Io(source) if is_full(&source) => StoreError::Full { path, source },
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Damaged { path, reason: source.to_string() }
        }
        redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason },
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        error => StoreError::Failed { action, path, source: Source::from(error) },
    }
}

/// As [`failed`].
pub(crate) fn failed_io(path: &Path, action: &'static str, error: io::Error) -> StoreError {
    failed(path, action, redb::Error::Io(error))
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
