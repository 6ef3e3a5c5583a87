//! One change at a time: a lab's folder is its lock.

use crate::layout::Layout;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why a lab cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process changes it.
    #[error("lab {0} is being changed by another process: try again when that has ended")]
    Busy(String),
    /// A new lab's name is taken.
    #[error("lab {0} exists already: `mizar lab down {0}` removes it")]
    Exists(String),
    /// The lab's folder cannot be used.
    #[error("cannot use {path}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The right to change a lab, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock {
    /// Creates the folder of a new lab, open to root only, and locks it.
    pub(crate) fn create(layout: &Layout) -> Result<Self, Error> {
        let path = layout.state();
        let failed = |source| Error::Io { path: path.clone(), source };
        match create_folder(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Whoever builds or removes it right now is worth a different word.
                Self::existing(layout)?;
                return Err(Error::Exists(layout.lab().to_owned()));
            }
            Err(error) => return Err(failed(error)),
        }
        Self::existing(layout)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Locks the folder of a lab; nothing if there is none.
    pub(crate) fn existing(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.state();
        let failed = |source| Error::Io { path: path.clone(), source };
        let folder = match File::open(&path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(layout.lab().to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The folder may have been removed, and made anew, between opening and locking it.
        let locked = folder.metadata().map_err(failed)?.ino();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.ino() == locked => Ok(Some(Self(folder))),
            _ => Err(Error::Busy(layout.lab().to_owned())),
        }
    }
}

/// Creates a folder and what is missing above it.
fn create_folder(path: &Path) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            // Whoever removed the last other lab also removed the folder of all labs.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 10 => attempts += 1,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cleanup, is_root};

    #[test]
    fn a_lab_is_changed_by_one_at_a_time() {
        if !is_root() {
            return;
        }
        let layout = Layout::new(&format!("lock-{}", std::process::id()));
        let _cleanup = Cleanup::of(&layout);
        assert!(Lock::existing(&layout).unwrap().is_none());
        let lock = Lock::create(&layout).unwrap();
        assert!(matches!(Lock::existing(&layout), Err(Error::Busy(_))));
        assert!(matches!(Lock::create(&layout), Err(Error::Busy(_))));
        drop(lock);
        assert!(matches!(Lock::create(&layout), Err(Error::Exists(_))));
        assert!(Lock::existing(&layout).unwrap().is_some());
    }
}
