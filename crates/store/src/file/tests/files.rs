//! Files: whose they are, what is in them, and what becomes of copies.

use super::crash::Contents;
use crate::{Options, Redb, Revision, Store, StoreError, Transaction, bump_epoch, restore};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    (folder, path)
}

fn open(path: &Path) -> Result<Redb, StoreError> {
    Redb::open(path, &Options::default())
}

fn filled(path: &Path) -> Redb {
    let store = open(path).unwrap();
    let group: Vec<_> = (0..500_u32)
        .map(|n| Transaction::new().put(n.to_be_bytes(), vec![n as u8; n as usize]))
        .collect();
    store.commit(&group).unwrap();
    store
}

fn put(key: &str) -> Transaction {
    Transaction::new().put(key.as_bytes(), key.as_bytes())
}

/// A redb database with this number in its table of numbers.
fn write_number(path: &Path, key: &str, number: u64) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(table).unwrap().insert(key, number).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_store_has_one_owner_at_a_time() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let in_use = |error| matches!(error, StoreError::InUse { .. });
    assert!(in_use(open(&path).unwrap_err()));
    assert!(in_use(bump_epoch(&path, 0).unwrap_err()));
    assert!(in_use(restore(&path, &path.with_extension("new"), 0).unwrap_err()));
    // Nor may other programs that use redb.
    assert!(redb::Database::open(&path).is_err());
    drop(store);
    open(&path).unwrap();
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let (_folder, path) = folder();
    drop(filled(&path));
    write_number(&path, "format", 2);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("format 2"), "{error}");
    write_number(&path, "format", 1);
    assert_eq!(open(&path).unwrap().revision(), Revision::new(500).unwrap());
}

#[test]
fn what_is_no_store_is_refused() {
    let (_folder, path) = folder();
    for bytes in [b"".as_slice(), b"something else", &[0; 8192]] {
        fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left alone");
    }
    fs::remove_file(&path).unwrap();
    write_number(&path, "something", 1);
    assert!(matches!(open(&path).unwrap_err(), StoreError::Damaged { .. }));
    assert!(matches!(open(_folder.path()).unwrap_err(), StoreError::Failed { .. }));
}

#[test]
fn a_store_that_should_be_there_is_not_made() {
    let (_folder, path) = folder();
    let options = Options { create: false, ..Options::default() };
    assert!(matches!(Redb::open(&path, &options).unwrap_err(), StoreError::Missing { .. }));
    assert!(matches!(bump_epoch(&path, 0).unwrap_err(), StoreError::Missing { .. }));
    assert!(!path.exists());
    drop(open(&path).unwrap());
    Redb::open(&path, &options).unwrap();
    assert!(open(&path.join("below")).is_err());
    assert!(open(&path.with_file_name("no").join("folder")).is_err());
}

#[test]
fn a_new_store_is_private_and_alone_in_its_folder() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    assert_eq!((store.epoch(), store.revision()), (1, Revision::ZERO));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_backup_is_of_one_point_in_time_and_restored_in_a_new_epoch() {
    let (folder, path) = folder();
    let store = filled(&path);
    let at_backup = Contents::of(&store);
    let backup = folder.path().join("backup");
    assert_eq!(store.backup(&backup).unwrap(), store.revision());
    store.commit(&[put("later")]).unwrap();
    assert!(matches!(store.backup(&backup).unwrap_err(), StoreError::Exists { .. }));
    drop(store);

    assert!(matches!(restore(&backup, &path, 0).unwrap_err(), StoreError::Exists { .. }));
    fs::remove_file(&path).unwrap();
    assert_eq!(restore(&backup, &path, 0).unwrap(), 2);
    let store = open(&path).unwrap();
    assert_eq!(store.epoch(), 2);
    assert_eq!(Contents::of(&store), at_backup);
    store.commit(&[put("anew")]).unwrap();
    assert_eq!(open(&backup).unwrap().epoch(), 1, "the backup is as it was");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_backup_that_fails_disturbs_nobody() {
    let (folder, path) = folder();
    let store = filled(&path);
    let nowhere = folder.path().join("no/folder/backup");
    let mut count = 0;
    let visit = &mut |_: &[u8], _: &[u8], _| {
        if count == 0 {
            assert!(store.backup(&nowhere).is_err());
        }
        count += 1;
    };
    store.scan(b"", visit).unwrap();
    assert_eq!(count, 500);
}

#[test]
fn a_restored_store_is_newer_than_whatever_was_seen() {
    let (folder, path) = folder();
    drop(filled(&path));
    assert_eq!(bump_epoch(&path, 0).unwrap(), 2);
    assert_eq!(bump_epoch(&path, 1).unwrap(), 3);
    assert_eq!(bump_epoch(&path, 7).unwrap(), 8);
    assert_eq!(open(&path).unwrap().epoch(), 8);
    let restored = folder.path().join("restored");
    assert_eq!(restore(&path, &restored, 100).unwrap(), 101);
    assert_eq!(bump_epoch(&path, u16::MAX - 1).unwrap(), u16::MAX);
    let error = bump_epoch(&path, 0).unwrap_err();
    assert!(matches!(error, StoreError::LastEpoch { epoch: u16::MAX }), "{error}");
    let store = open(&path).unwrap();
    assert_eq!((store.epoch(), store.revision().get()), (u16::MAX, 500));
}

#[test]
fn a_copy_of_a_file_in_use_is_what_a_crash_would_leave() {
    let (folder, path) = folder();
    let store = filled(&path);
    for round in 0..5 {
        store.commit(&[put(&format!("{round}"))]).unwrap();
        let copy = folder.path().join(format!("{round}"));
        fs::copy(&path, &copy).unwrap();
        let copy = open(&copy).unwrap();
        assert_eq!(Contents::of(&copy), Contents::of(&store));
        copy.commit(&[put("more")]).unwrap();
    }
}
