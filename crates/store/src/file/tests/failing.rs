//! Disks that fail while the store goes on.

use super::crash::{Contents, check, expected, workload};
use super::disk::{Aftermath, Fault, TestDisk};
use crate::{Redb, Store, StoreError, Transaction};

fn put(key: &str, size: usize) -> Transaction {
    Transaction::new().put(key.as_bytes(), vec![7; size])
}

/// A store with something in it.
fn filled() -> (TestDisk, Redb) {
    let disk = TestDisk::with_store();
    let store = disk.open().unwrap();
    for n in 0..5 {
        store.commit(&[put(&format!("{n}"), 1000), put("same", 2000)]).unwrap();
    }
    (disk, store)
}

/// What the disk has, whatever it has forgotten.
fn assert_on_disk(disk: &TestDisk, contents: &Contents) {
    disk.stop();
    for aftermath in Aftermath::ALL {
        let store = disk.after(aftermath).open().unwrap();
        assert_eq!(&Contents::of(&store), contents, "{aftermath:?}");
    }
}

#[test]
fn a_full_disk_is_named_and_works_again_once_there_is_room() {
    let (disk, store) = filled();
    let before = Contents::of(&store);
    let mut watch = store.watch(b"", store.revision()).unwrap();
    disk.set_fault(Some(Fault::Full));
    for size in [10, 100_000, 4_000_000] {
        let error = store.commit(&[put("a", size), put("b", size)]).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("no room"), "{error}");
        assert_eq!(Contents::of(&store), before, "reading goes on");
    }
    disk.set_fault(None);
    let outcome = store.commit(&[put("a", 100_000)]).unwrap().remove(0);
    assert_eq!(outcome, Ok(store.revision()));
    assert_eq!(watch.try_next().unwrap().unwrap().revision, store.revision());
    assert_on_disk(&disk, &Contents::of(&store));
}

#[test]
fn a_disk_that_cannot_be_written_is_tried_again_with_every_call() {
    let (disk, store) = filled();
    let before = Contents::of(&store);
    disk.set_fault(Some(Fault::ReadOnly));
    for _ in 0..3 {
        assert!(store.commit(&[put("a", 10)]).is_err());
    }
    assert!(store.get(b"same").is_err(), "it cannot be opened");
    disk.set_fault(None);
    assert_eq!(Contents::of(&store), before);
    store.commit(&[put("a", 10)]).unwrap();
    assert_on_disk(&disk, &Contents::of(&store));
}

#[test]
fn a_commit_whose_flush_failed_is_taken_back() {
    for fault in [Fault::Flush, Fault::FlushLate] {
        let (disk, store) = filled();
        let before = Contents::of(&store);
        disk.set_fault(Some(fault));
        let error = store.commit(&[put("a", 10), put("b", 20_000)]).unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
        assert_eq!(disk.fault(), None, "the flush has failed");
        assert_eq!(Contents::of(&store), before);
        assert_on_disk(&disk, &before);
    }
}

#[test]
fn what_a_failed_flush_lost_is_not_missed_later() {
    let workload = workload(6);
    let expected = expected(&workload);
    for failing in 0..workload.len() {
        let disk = TestDisk::with_store();
        let store = disk.open().unwrap();
        for (at, call) in workload.iter().enumerate() {
            let Some(transactions) = call else { continue };
            if at == failing {
                disk.set_fault(Some(Fault::Flush));
                assert!(store.commit(transactions).is_err());
            }
            store.commit(transactions).unwrap();
        }
        assert_eq!(&Contents::of(&store), expected.last().unwrap());
        disk.stop();
        for aftermath in Aftermath::ALL {
            let of = format!("flush {failing} failed, {aftermath:?}");
            check(&disk.after(aftermath), workload.len(), &expected, &of);
        }
    }
}

#[test]
fn a_commit_that_cannot_be_taken_back_yet_is_taken_back_before_anything_else() {
    let (disk, store) = filled();
    let before = Contents::of(&store);
    // The flush that fails is followed by writes that fail.
    disk.set_fault(Some(Fault::FlushThenReadOnly));
    let error = store.commit(&[put("a", 10)]).unwrap_err();
    assert!(matches!(error, StoreError::Unsettled { .. }), "{error:?}");
    disk.set_fault(None);
    assert_eq!(Contents::of(&store), before);
    store.commit(&[put("b", 10)]).unwrap();
    assert_on_disk(&disk, &Contents::of(&store));
}

#[test]
fn a_read_that_fails_is_an_error_once() {
    let (disk, store) = filled();
    drop(store);
    let store = disk.open().unwrap();
    for n in 0..50 {
        store.commit(&[put(&format!("{n}"), 60_000)]).unwrap();
    }
    let before = Contents::of(&store);
    for reading in 0..3 {
        disk.set_fault(Some(Fault::Read));
        let failed = (0..50).map(|n| store.get(format!("{n}").as_bytes())).find(Result::is_err);
        let error = failed.expect("the cache is smaller than that").unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{reading}: {error:?}");
        assert_eq!(Contents::of(&store), before, "{reading}");
    }
    disk.set_fault(Some(Fault::Read));
    assert!(store.scan(b"", &mut |_, _, _| ()).is_err());
    store.commit(&[put("a", 1)]).unwrap();
}

#[test]
fn closing_with_a_flush_that_fails_loses_nothing() {
    for spared in 0.. {
        let (disk, store) = filled();
        let before = Contents::of(&store);
        disk.fail_flush_after(spared);
        drop(store);
        if disk.fault().is_some() {
            assert!(spared > 2, "closing flushes several times");
            break;
        }
        // Whoever opens it next must not build on what is shown and lost.
        let store = disk.open().unwrap();
        assert_eq!(Contents::of(&store), before);
        assert_on_disk(&disk, &before);
    }
}
