//! A controller's folder from a backup.

use mizar_store::{Options, Redb, Revision, Store, StoreError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file of the store in a controller's folder.
pub(crate) const STORE: &str = "store.redb";

/// What is restored, and where to.
#[derive(Clone, Debug)]
pub struct Restore {
    /// A backup; or a file of a store that was copied by other means, or stays where it is.
    pub backup: PathBuf,
    /// The controller's folder, made if there is none.
    pub data: PathBuf,
    /// The largest epoch that hosts have seen, as far as it is known: neither the backup's nor that
    /// of the store which is there have to be said.
    pub above: u16,
    /// Whether a store that is there is replaced.
    pub replace: bool,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The store.
    pub store: PathBuf,
    /// Its epoch; no host has seen it.
    pub epoch: u16,
    /// Its last commit.
    pub revision: Revision,
    /// Where the store is that was there.
    pub kept: Option<Kept>,
}

/// A store that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its file.
    pub path: PathBuf,
    /// Its epoch; `None`: it is damaged and does not say.
    pub epoch: Option<u16>,
}

/// Why nothing was restored; what is there is as it was.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The folder.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// There is a store.
    #[error(
        "{} is there: restore into another folder, or say --replace, which keeps it under another \
         name", path.display()
    )]
    Exists {
        /// The store.
        path: PathBuf,
    },
    /// The backup, or the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes what is in a backup the store of a controller that does not run, in an epoch that no host
/// has seen: so whatever hosts were told since the backup is older than what they are told next.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(what: &Restore) -> Result<Restored, RestoreError> {
    let Restore { backup, data, above, replace } = what;
    let folder = |source| RestoreError::Folder { path: data.clone(), source };
    fs::create_dir_all(data).map_err(folder)?;
    let path = data.join(STORE);
    // Kept open: who has it cannot be started meanwhile.
    let old = match path.exists().then(|| open(&path)) {
        Some(Err(error @ StoreError::InUse { .. })) => return Err(error.into()),
        Some(_) if !replace => return Err(RestoreError::Exists { path }),
        Some(old) => Some(old.ok()),
        None => None,
    };
    let kept = old.as_ref().map(|old| {
        let epoch = old.as_ref().map(Redb::epoch);
        let version = old.as_ref().map(|it| format!("{}.{}", it.epoch(), it.revision()));
        let name = format!("{STORE}.{}", version.as_deref().unwrap_or("damaged"));
        Kept { path: data.join(name), epoch }
    });
    let above = kept.as_ref().and_then(|kept| kept.epoch).unwrap_or(0).max(*above);
    // In its own place a store gets another epoch: it is its own backup.
    let old = old.filter(|_| !is_same(backup, &path));
    let keep = kept.as_ref().map(|kept| kept.path.as_path());
    let epoch = mizar_store::restore(backup, &path, above, keep)?;
    drop(old);
    let revision = open(&path)?.revision();
    Ok(Restored { store: path, epoch, revision, kept })
}

fn open(path: &Path) -> Result<Redb, StoreError> {
    Redb::open(path, &Options { create: false, ..Options::default() })
}

fn is_same(one: &Path, other: &Path) -> bool {
    fs::canonicalize(one).ok().zip(fs::canonicalize(other).ok()).is_some_and(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_store::{Backup, BackupFile, Transaction};
    use tempfile::TempDir;

    fn commit(store: &Redb, key: &str) {
        store.commit(&[Transaction::new().put(key.as_bytes(), *b"value")]).unwrap();
    }

    /// A folder with a store, and a backup of it; since then one more was written.
    fn world() -> (TempDir, Restore) {
        let folder = tempfile::tempdir().unwrap();
        let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
        fs::create_dir(&data).unwrap();
        let store = Redb::open(&data.join(STORE), &Options::default()).unwrap();
        commit(&store, "a");
        let (mut bytes, mut file) = (Vec::new(), BackupFile::create(&backup).unwrap());
        Backup::write(&store, &mut bytes).unwrap();
        file.write(&bytes).unwrap();
        file.keep().unwrap();
        commit(&store, "b");
        (folder, Restore { backup, data, above: 0, replace: false })
    }

    #[test]
    fn a_store_that_is_there_is_replaced_only_if_asked_and_then_kept() {
        let (_folder, mut what) = world();
        let path = what.data.join(STORE);
        let before = fs::read(&path).unwrap();
        let error = restore(&what).unwrap_err();
        assert!(matches!(error, RestoreError::Exists { .. }), "{error}");
        what.replace = true;
        let running = open(&path).unwrap();
        let error = restore(&what).unwrap_err();
        assert!(matches!(error, RestoreError::Store(StoreError::InUse { .. })), "{error}");
        drop(running);
        assert_eq!(fs::read(&path).unwrap().len(), before.len());
        let done = restore(&what).unwrap();
        assert_eq!((done.epoch, done.revision.get()), (2, 1));
        let kept = done.kept.unwrap();
        assert_eq!(
            (kept.path.as_path(), kept.epoch),
            (&*what.data.join("store.redb.1.2"), Some(1))
        );
        assert!(open(&kept.path).unwrap().get(b"b").unwrap().is_some());
        assert!(open(&path).unwrap().get(b"b").unwrap().is_none());
        // The same backup once more: what hosts have seen of it was of epoch 2.
        commit(&open(&path).unwrap(), "c");
        assert_eq!(restore(&what).unwrap().epoch, 3);
        assert_eq!(restore(&Restore { above: 9, ..what }).unwrap().epoch, 10);
    }

    #[test]
    fn a_store_that_was_put_back_gets_another_epoch_where_it_is() {
        let (_folder, mut what) = world();
        (what.replace, what.above) = (true, 4);
        what.backup = what.data.join(STORE);
        let done = restore(&what).unwrap();
        assert_eq!((done.epoch, done.revision.get()), (5, 2));
        let store = open(&done.store).unwrap();
        assert_eq!(store.epoch(), 5);
        assert!(store.get(b"b").unwrap().is_some());
    }

    #[test]
    fn what_is_no_backup_changes_nothing_and_a_damaged_store_can_be_replaced() {
        let (folder, mut what) = world();
        what.replace = true;
        let path = what.data.join(STORE);
        let whole = fs::read(&what.backup).unwrap();
        let cut = folder.path().join("cut");
        fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
        let error = restore(&Restore { backup: cut, ..what.clone() }).unwrap_err().to_string();
        assert!(error.contains("it is cut off"), "{error}");
        assert_eq!(open(&path).unwrap().revision().get(), 2);
        assert_eq!(fs::read_dir(&what.data).unwrap().count(), 1);
        fs::write(&path, "no store").unwrap();
        let done = restore(&what).unwrap();
        let kept = done.kept.unwrap();
        assert_eq!((kept.path, kept.epoch), (what.data.join("store.redb.damaged"), None));
        assert_eq!((done.epoch, open(&path).unwrap().revision().get()), (2, 1));
    }
}
