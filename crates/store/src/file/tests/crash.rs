//! The power goes at every single operation of a disk.

use super::disk::{Aftermath, TestDisk};
use crate::{Memory, Redb, Revision, Store, Transaction};
use std::collections::BTreeMap;

/// What two crashes in a row leave, each.
const DOUBLE: [Aftermath; 4] =
    [Aftermath::LastTorn, Aftermath::AllLost, Aftermath::FirstLost, Aftermath::Some(1)];

/// What a store has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    revision: Revision,
    values: BTreeMap<Vec<u8>, (Vec<u8>, Revision)>,
}

impl Contents {
    pub(super) fn of(store: &dyn Store) -> Self {
        let mut values = BTreeMap::new();
        let visit = &mut |key: &[u8], value: &[u8], revision| {
            values.insert(key.to_vec(), (value.to_vec(), revision));
        };
        let revision = store.scan(b"", visit).unwrap();
        assert_eq!(store.revision(), revision);
        Self { revision, values }
    }
}

/// One call after the other; none closes the store and opens it again.
type Workload = Vec<Option<Vec<Transaction>>>;

/// Small and large values, written, overwritten and deleted, one by one and in groups.
pub(super) fn workload(rounds: u64) -> Workload {
    let key = |n: u64| format!("key/{:04}", n * 37 % 101).into_bytes();
    let mut calls = Vec::new();
    for round in 0..rounds {
        calls.push(Some(vec![Transaction::new().put(key(round), vec![round as u8; 120])]));
        let group = (0..20).map(|n| {
            let transaction = Transaction::new().put(key(round * 20 + n), vec![n as u8; 300]);
            if n % 7 == 3 { transaction.present(b"missing".as_slice()) } else { transaction }
        });
        calls.push(Some(group.collect()));
        let pair = Transaction::new().delete(key(round * 20)).put(key(round + 50), b"".as_slice());
        calls.push(Some(vec![Transaction::new(), pair]));
        let large = vec![round as u8; if round % 3 == 0 { 300_000 } else { 9_000 }];
        calls.push(Some(vec![Transaction::new().put(b"large".as_slice(), large)]));
        if round % 2 == 1 {
            calls.push(None);
        }
    }
    calls
}

/// What the store has to show after each of the calls, and before the first.
pub(super) fn expected(workload: &Workload) -> Vec<Contents> {
    let memory = Memory::new();
    let mut contents = vec![Contents::of(&memory)];
    for call in workload {
        if let Some(transactions) = call {
            memory.commit(transactions).unwrap();
        }
        contents.push(Contents::of(&memory));
    }
    contents
}

/// Calls until the power goes; returns how many calls were answered.
fn run(disk: &TestDisk, workload: &Workload) -> usize {
    let Ok(store) = disk.open() else { return 0 };
    let mut store = Some(store);
    for (answered, call) in workload.iter().enumerate() {
        let done = match call {
            Some(transactions) => store.as_ref().is_some_and(|s| s.commit(transactions).is_ok()),
            None => {
                drop(store.take());
                store = disk.open().ok();
                store.is_some()
            }
        };
        if !done {
            return answered;
        }
    }
    workload.len()
}

/// What was answered is there, and at most the next call, whole; and it goes on from there.
pub(super) fn check(disk: &TestDisk, answered: usize, expected: &[Contents], of: &str) -> Redb {
    let store = disk.open().unwrap_or_else(|error| panic!("{of}: {error:?}"));
    let found = Contents::of(&store);
    let next = expected.get(answered + 1);
    assert!(
        found == expected[answered] || next.is_some_and(|next| found == *next),
        "{of}: {answered} answered, revision {:?}",
        found.revision
    );
    assert_eq!(store.epoch(), 1);
    let more = Transaction::new().put(b"more".as_slice(), vec![1; 5_000]);
    let outcome = store.commit(&[more]).unwrap().remove(0);
    assert_eq!(outcome, Ok(found.revision.next().unwrap()), "{of}");
    let contents = Contents::of(&store);
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(Contents::of(&store), contents, "{of}");
    store
}

fn crash_everywhere(workload: &Workload, also_while_opening: bool) {
    let expected = expected(workload);
    let new = TestDisk::with_store();
    let fresh = || new.after(Aftermath::Complete);
    let whole = fresh();
    assert_eq!(run(&whole, workload), workload.len());
    let (mut crashes, operations) = (0, whole.operations());
    for operation in 0..operations {
        let disk = fresh();
        disk.stop_at(operation);
        let answered = run(&disk, workload);
        assert!(disk.is_stopped());
        for aftermath in Aftermath::ALL {
            let of = format!("at operation {operation} of {operations}, {aftermath:?}");
            check(&disk.after(aftermath), answered, &expected, &of);
            crashes += 1;
            if also_while_opening && DOUBLE.contains(&aftermath) {
                crashes += crash_while_opening(&disk.after(aftermath), answered, &expected, &of);
            }
        }
    }
    println!("{operations} operations, {crashes} crashes");
}

/// The power goes again, at every operation of the repair.
fn crash_while_opening(disk: &TestDisk, answered: usize, expected: &[Contents], of: &str) -> u64 {
    let mut crashes = 0;
    for operation in 0.. {
        let again = disk.after(Aftermath::Complete);
        again.stop_at(operation);
        if again.open().is_ok() && !again.is_stopped() {
            break;
        }
        for aftermath in DOUBLE {
            let of = format!("{of}, then at {operation}, {aftermath:?}");
            check(&again.after(aftermath), answered, expected, &of);
            crashes += 1;
        }
    }
    crashes
}

#[test]
fn a_crash_at_any_operation_loses_nothing_and_leaves_nothing_half() {
    crash_everywhere(&workload(2), false);
}

#[test]
fn so_do_crashes_in_a_long_life_and_while_recovering_from_crashes() {
    if std::env::var_os("MIZAR_TEST_FULL").is_none() {
        println!("SKIPPED: long; MIZAR_TEST_FULL runs it");
        return;
    }
    crash_everywhere(&workload(12), false);
    crash_everywhere(&workload(2), true);
}
