//! Files: whose they are, what is in them, and what becomes of copies.

use super::crash::Contents;
use crate::{
    Backup, BackupFile, Memory, Options, Redb, Revision, Store, StoreError, Transaction, restore,
};
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
    assert!(in_use(restore(&path, &path.with_extension("new"), 0, None).unwrap_err()));
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

/// Backs a store up into a file.
fn back_up(store: &dyn Store, path: &Path) -> Result<Backup, StoreError> {
    let mut file = BackupFile::create(path)?;
    let mut bytes = Vec::new();
    Backup::write(store, &mut bytes).unwrap();
    bytes.chunks(1000).try_for_each(|some| file.write(some))?;
    file.keep()
}

#[test]
fn a_backup_is_of_one_point_in_time_and_restored_in_a_new_epoch() {
    let (folder, path) = folder();
    let store = filled(&path);
    let at_backup = Contents::of(&store);
    let backup = folder.path().join("backup");
    let of = Backup { epoch: 1, revision: store.revision(), rows: 500 };
    assert_eq!(back_up(&store, &backup).unwrap(), of);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    store.commit(&[put("later")]).unwrap();
    assert!(matches!(back_up(&store, &backup).unwrap_err(), StoreError::Exists { .. }));
    drop(store);

    assert!(matches!(restore(&backup, &path, 0, None).unwrap_err(), StoreError::Exists { .. }));
    fs::remove_file(&path).unwrap();
    assert_eq!(restore(&backup, &path, 0, None).unwrap(), 2);
    let store = open(&path).unwrap();
    assert_eq!(store.epoch(), 2);
    assert_eq!(Contents::of(&store), at_backup);
    store.commit(&[put("anew")]).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_is_committed_meanwhile_is_not_in_a_backup() {
    struct Busy<'a>(&'a Redb, Vec<u8>);
    impl std::io::Write for Busy<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.commit(&[put("meanwhile"), Transaction::new().delete([0; 4])]).unwrap();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    store.commit(&(0..9_u32).map(|n| put(&n.to_string())).collect::<Vec<_>>()).unwrap();
    let at_backup = Contents::of(&store);
    let mut file = std::io::BufWriter::with_capacity(100, Busy(&store, Vec::new()));
    // The first of it is written on before the point in time is chosen: nothing is.
    let of = Backup::write(&store, &mut file).unwrap();
    assert!(store.revision() > of.revision);
    let (backup, restored) = (folder.path().join("backup"), folder.path().join("restored"));
    fs::write(&backup, &file.get_ref().1).unwrap();
    restore(&backup, &restored, 0, None).unwrap();
    assert_eq!(Contents::of(&open(&restored).unwrap()), at_backup);
}

#[test]
fn what_is_cut_off_or_was_changed_is_no_backup() {
    let (folder, path) = folder();
    let store = Memory::new();
    store.commit(&[put("a"), put("bc"), Transaction::new().put(*b"", vec![7; 40])]).unwrap();
    let mut whole = Vec::new();
    Backup::write(&store, &mut whole).unwrap();
    let backup = folder.path().join("backup");
    let refusal = |bytes: &[u8]| {
        fs::write(&backup, bytes).unwrap();
        let error = restore(&backup, &path, 0, None).unwrap_err();
        assert!(matches!(error, StoreError::NoBackup { .. }), "{error}");
        assert!(!path.exists());
        error.to_string()
    };
    for length in 0..whole.len() {
        let error = refusal(&whole[..length]);
        assert!(length < 15 || error.contains("it is cut off"), "{error}");
        let mut file = BackupFile::create(&path).unwrap();
        file.write(&whole[..length]).unwrap();
        assert!(matches!(file.keep().unwrap_err(), StoreError::NoBackup { .. }));
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x80;
        refusal(&changed);
    }
    refusal(&[whole.as_slice(), b"more"].concat());
    fs::remove_file(&backup).unwrap();
    let error = restore(&backup, &path, 0, None).unwrap_err().to_string();
    assert!(error.contains("no such file"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing half is left");
}

#[test]
fn a_store_that_is_copied_by_other_means_is_restored_as_a_backup_is() {
    let (folder, path) = folder();
    drop(filled(&path));
    let contents = Contents::of(&open(&path).unwrap());
    let restored = folder.path().join("restored");
    assert_eq!(restore(&path, &restored, 0, None).unwrap(), 2);
    let store = open(&restored).unwrap();
    assert_eq!((store.epoch(), Contents::of(&store)), (2, contents));
    assert_eq!(open(&path).unwrap().epoch(), 1, "what it was copied from is as it was");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 9, 100, 4096, whole.len() / 2, whole.len() - 1] {
        let (cut, to) = (folder.path().join("cut"), folder.path().join("to"));
        fs::write(&cut, &whole[..length]).unwrap();
        let error = restore(&cut, &to, 0, None).unwrap_err();
        assert!(matches!(error, StoreError::NoBackup { .. }), "{length}: {error}");
        assert!(error.to_string().contains("neither a backup nor a store"), "{error}");
        assert!(!to.exists());
    }
}

#[test]
fn a_store_that_is_replaced_is_kept_and_there_is_one_at_all_times() {
    let (folder, path) = folder();
    let (backup, kept) = (folder.path().join("backup"), folder.path().join("kept"));
    let store = filled(&path);
    back_up(&store, &backup).unwrap();
    store.commit(&[put("later")]).unwrap();
    let later = Contents::of(&store);
    drop(store);
    assert_eq!(restore(&backup, &path, 6, Some(&kept)).unwrap(), 7);
    assert_eq!(Contents::of(&open(&kept).unwrap()), later);
    assert_eq!(open(&path).unwrap().epoch(), 7);
    // What was kept once is not lost to the next.
    let error = restore(&backup, &path, 7, Some(&kept)).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    assert_eq!(open(&path).unwrap().epoch(), 7);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_restored_store_is_newer_than_whatever_was_seen() {
    let (folder, path) = folder();
    let store = filled(&path);
    let backup = folder.path().join("backup");
    back_up(&store, &backup).unwrap();
    drop(store);
    for (from, above, epoch) in
        [(&backup, 0, 2), (&backup, 1, 2), (&path, 7, 8), (&backup, 99, 100)]
    {
        let restored = folder.path().join(format!("restored-{above}"));
        assert_eq!(restore(from, &restored, above, None).unwrap(), epoch);
        let store = open(&restored).unwrap();
        assert_eq!((store.epoch(), store.revision().get()), (epoch, 500));
    }
    let last = folder.path().join("last");
    assert_eq!(restore(&backup, &last, u16::MAX - 1, None).unwrap(), u16::MAX);
    let error = restore(&last, &folder.path().join("more"), 0, None).unwrap_err();
    assert!(matches!(error, StoreError::LastEpoch { epoch: u16::MAX }), "{error}");
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
