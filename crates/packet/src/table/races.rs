//! One writer and one reader at the same time: all interleavings of short histories, and long
//! histories of real threads.

use super::tests::{empty, key, memory, row};
use super::*;
use core::array::from_fn;
use core::cell::Cell;
use loom::sync::atomic::AtomicU64 as LoomU64;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

/// A word whose readers see whatever the memory model allows.
///
/// Its writer sees what it wrote, without asking the model: that takes a load and a store of one
/// thread to be no race with what another one loaded before.
#[derive(Debug)]
pub(super) struct Raced {
    shared: LoomU64,
    own: AtomicU64,
}

loom::thread_local! {
    static IS_WRITER: Cell<bool> = Cell::new(false);
}

impl Raced {
    fn new(value: u64) -> Self {
        Self { shared: LoomU64::new(value), own: AtomicU64::new(value) }
    }
}

impl Word for Raced {
    fn load(&self) -> u64 {
        if IS_WRITER.with(Cell::get) {
            Word::load(&self.own)
        } else {
            self.shared.load(Ordering::Relaxed)
        }
    }

    fn store(&self, value: u64) {
        Word::store(&self.own, value);
        self.shared.store(value, Ordering::Relaxed);
    }

    fn order(ordering: Ordering) {
        loom::sync::atomic::fence(ordering);
    }
}

/// A table that refuses a row only if no slot can be freed.
fn unlimited(lines: &[Line]) -> Table<&[Line]> {
    Table { capacity: u32::MAX, ..Table::open(lines, 5).unwrap() }
}

/// A table of four buckets with ten keys from one on, each with the row of its number.
fn ten(from: u32) -> Vec<Line> {
    let lines = memory(6);
    let mut table = unlimited(&lines);
    (from..from + 10).for_each(|number| table.put(&key(number), &row(number)).unwrap());
    lines
}

/// Runs a writer against a reader that looks for one row, in every order that the memory model
/// allows with so many switches from one to the other; what was found.
fn in_all_orders(
    switches: usize,
    lines: &[Line],
    write: impl Fn(&mut Table<&[Line<Raced>]>) + Copy + Send + Sync + 'static,
    read: EndpointKey,
) -> BTreeSet<Option<u64>> {
    let rows = rows(lines).count() as u32;
    let write = move |lines: &[Line<Raced>]| {
        let shape = Shape::load(&lines[0]);
        write(&mut Table { lines, shape, rows, capacity: u32::MAX });
    };
    all_that_is_found(switches, lines, write, move |lines| {
        let seen = find(&lines, &read)?;
        let number = (seen.generation >> 20) as u32;
        assert_eq!(seen, row(number), "torn");
        Some(seen.generation >> 20)
    })
}

/// Runs a writer against a reader in every order, as above; all that the reader found.
pub(super) fn all_that_is_found<T: Ord + Clone + Send + 'static>(
    switches: usize,
    lines: &[Line],
    write: impl Fn(&[Line<Raced>]) + Copy + Send + Sync + 'static,
    read: impl Fn(&[Line<Raced>]) -> T + Send + Sync + 'static,
) -> BTreeSet<T> {
    let words = |line: &Line| -> Vec<u64> { line.words.iter().map(Word::load).collect() };
    let lines: Vec<Vec<u64>> = lines.iter().map(words).collect();
    let found = Arc::new(Mutex::new(BTreeSet::new()));
    let all = Arc::clone(&found);
    let mut model = loom::model::Builder::new();
    model.max_branches = 100_000;
    model.preemption_bound = Some(switches);
    model.check(move || {
        let line = |words: &Vec<u64>| Line { words: from_fn(|at| Raced::new(words[at])) };
        let lines: Arc<Vec<_>> = Arc::new(lines.iter().map(line).collect());
        let written = Arc::clone(&lines);
        let writer = loom::thread::spawn(move || {
            IS_WRITER.with(|it| it.set(true));
            write(&written);
        });
        let seen = read(&lines);
        found.lock().unwrap().insert(seen);
        writer.join().unwrap();
    });
    let all = all.lock().unwrap();
    all.clone()
}

#[test]
fn a_row_that_changes_is_the_old_or_the_new_one() {
    let lines = memory(4);
    unlimited(&lines).put(&key(0), &row(1)).unwrap();
    let write = |table: &mut Table<&[Line<Raced>]>| {
        table.put(&key(0), &row(2)).unwrap();
        table.put(&key(0), &row(3)).unwrap();
    };
    let found = in_all_orders(3, &lines, write, key(0));
    assert_eq!(found, [Some(1), Some(2), Some(3)].into());
}

#[test]
fn a_slot_that_another_row_gets_is_not_taken_for_the_first_one() {
    let lines = memory(4);
    unlimited(&lines).put(&key(0), &row(1)).unwrap();
    let shape = Shape { buckets: 2, seed: 5 };
    let twin = (1..).find(|n| shape.probe(&key(*n)) == shape.probe(&key(0))).unwrap();
    let write = move |table: &mut Table<&[Line<Raced>]>| {
        table.remove(&key(0)).unwrap();
        table.put(&key(twin), &row(2)).unwrap();
        table.put(&key(0), &row(3)).unwrap();
    };
    assert_eq!(in_all_orders(2, &lines, write, key(0)), [Some(1), None, Some(3)].into());
    assert_eq!(in_all_orders(2, &lines, write, key(twin)), [None, Some(2)].into());
}

/// What moves a row from its first bucket to its second, or back: the first of ten keys, one to
/// remove, one to add, and the one that moves.
fn move_of_a_row(from: usize) -> [u32; 4] {
    let bucket_of = |lines: &[Line], number: u32| {
        let shape = Shape::load(&lines[0]);
        let has = |bucket: &u32| {
            let rows = find::bucket(&lines, shape, *bucket).unwrap();
            rows.into_iter().flatten().any(|packed| packed.is_of(&key(number)))
        };
        (0..shape.buckets).find(has).unwrap()
    };
    for start in 0..100 {
        for (removed, added) in (0..10).flat_map(|n| (10..60).map(move |m| (start + n, start + m)))
        {
            let (before, after) = (ten(start), ten(start));
            let mut table = unlimited(&after);
            table.remove(&key(removed)).unwrap();
            if table.put(&key(added), &row(added)).is_err() {
                continue;
            }
            for moved in (start..start + 10).filter(|number| *number != removed) {
                let bucket = bucket_of(&before, moved);
                let first = table.shape.probe(&key(moved)).buckets[from];
                if bucket == first && bucket_of(&after, moved) != first {
                    return [start, removed, added, moved];
                }
            }
        }
    }
    panic!("no row moves from bucket {from}")
}

#[test]
fn a_row_that_moves_is_always_found() {
    for from in [0, 1] {
        let [start, removed, added, moved] = move_of_a_row(from);
        let write = move |table: &mut Table<&[Line<Raced>]>| {
            table.remove(&key(removed)).unwrap();
            table.put(&key(added), &row(added)).unwrap();
        };
        let found = in_all_orders(3, &ten(start), write, key(moved));
        assert_eq!(found, [Some(u64::from(moved))].into(), "from bucket {from}");
    }
}

/// Real threads over a table that is nearly full: rows that stay are always found, rows that change
/// are whole, rows that come and go are never another's.
#[test]
fn threads_find_every_row_whole_while_all_are_rewritten() {
    const STAY: u32 = 300;
    const ALL: u32 = 1000;
    let lines = empty::<AtomicU64>(ALL);
    let mut table = Table::open(&lines[..], 9).unwrap();
    (0..ALL).for_each(|n| table.put(&key(n), &row(n)).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (lines, done) = (&lines, &done);
            scope.spawn(move || {
                let mut number = reader;
                while !done.load(Ordering::Relaxed) {
                    number = (number + 7) % ALL;
                    let found = find(&&lines[..], &key(number));
                    assert!(found.is_some() || number >= STAY, "{number} is missing");
                    if let Some(found) = found {
                        let written = (found.generation >> 20) as u32;
                        assert_eq!(found, row(written), "torn");
                        assert_eq!(written % ALL, number, "another's");
                    }
                }
            });
        }
        for round in 1..400 {
            for number in 0..ALL {
                if number >= STAY && (number + round) % 3 == 0 {
                    table.remove(&key(number));
                } else {
                    table.put(&key(number), &row(round * ALL + number)).unwrap();
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
