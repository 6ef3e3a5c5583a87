//! What is written is found; whatever two writers leave of each other, nobody takes for a row.

use super::super::races::{Raced, all_that_is_found};
use super::super::tests::{key, memory};
use super::super::{Line, Word};
use super::*;
use core::array::from_fn;
use core::sync::atomic::AtomicU64;
use std::collections::BTreeMap;
use std::vec::Vec;

/// A table without rows.
fn empty<W: Word + Default>(rows: u32, seed: u64) -> Vec<Line<W>> {
    let memory = memory(lines(rows));
    open(&&memory[..], memory.len() as u32, seed);
    memory
}

type Write = fn(&[Line<Raced>]);

/// The key with this number has the sets and the mark of that with number 1.
const TWIN: u32 = 174;

/// A row whose fields all follow from one number.
fn row(number: u32) -> Learned {
    let time = u64::from(number) << 33;
    Learned {
        generation: u64::from(number) << 20 | 7,
        used: time | 1,
        teach_until: time | 2,
        notice_at: time | 3,
        host: number.wrapping_mul(0x0101_0101),
        vpc: number & 0xff_ffff,
    }
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let lines = &empty::<AtomicU64>(8, 5)[..];
    for number in (0..8).map(|n| n * 0x1235_6789) {
        assert_eq!(find(&lines, &key(number)), None);
        assert!(put(&lines, &key(number), &row(number)));
        assert_eq!(find(&lines, &key(number)), Some(row(number)));
        assert!(put(&lines, &key(number), &row(number ^ 1)));
        assert_eq!(rows(lines).collect::<Vec<_>>(), [(key(number), row(number ^ 1))]);
        touch(&lines, &key(number), 99);
        let touched = Learned { used: 99, ..row(number ^ 1) };
        assert_eq!(find(&lines, &key(number)), Some(touched));
        assert!(remove(&lines, &key(number)));
        assert!(!remove(&lines, &key(number)));
    }
    assert_eq!(rows(lines).count(), 0);
}

#[test]
fn memory_that_is_no_table_has_no_row_and_takes_none() {
    let lines = &memory::<AtomicU64>(lines(8))[..];
    assert!(!put(&lines, &key(1), &row(1)));
    assert_eq!((find(&lines, &key(1)), rows(lines).count()), (None, 0));
    touch(&lines, &key(1), 1);
    assert!(!remove(&lines, &key(1)));
    clear(&lines);
    open(&lines, 2, 0);
    assert!(!put(&lines, &key(1), &row(1)), "two lines are too few");
}

#[test]
fn every_table_takes_the_rows_that_it_is_made_for() {
    for rows in [1, 5, 24, 1000, 16_384] {
        for seed in 0..if rows < 10_000 { 100 } else { 5 } {
            let lines = &empty::<AtomicU64>(rows, seed << 40 | seed)[..];
            assert!(capacity(lines.len() as u32) >= rows);
            for number in 0..capacity(lines.len() as u32) {
                assert!(put(&lines, &key(number), &row(number)), "{number} of {rows}, seed {seed}");
            }
            for number in 0..rows {
                assert_eq!(find(&lines, &key(number)), Some(row(number)));
            }
        }
    }
}

#[test]
fn a_row_is_refused_where_there_is_no_room_and_none_is_lost() {
    let lines = &empty::<AtomicU64>(1, 5)[..];
    let taken: Vec<_> = (0..1000).filter(|n| put(&lines, &key(*n), &row(*n))).collect();
    assert!((35..=40).contains(&taken.len()), "{} rows in five sets", taken.len());
    assert!(taken.iter().all(|n| find(&lines, &key(*n)) == Some(row(*n))));
    assert_eq!(rows(lines).count(), taken.len());
    assert!(put(&lines, &key(taken[0]), &row(7)), "one that is there may change");
    taken.iter().for_each(|n| assert!(remove(&lines, &key(*n))));
    assert_eq!(rows(lines).count(), 0);
}

#[test]
fn any_history_is_that_of_a_map() {
    let lines = &empty::<AtomicU64>(300, 9)[..];
    let mut map = BTreeMap::new();
    let mut random = 1u32;
    for step in 0..100_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = random >> 8 & 0xff;
        if random >> 20 & 3 == 0 {
            assert_eq!(remove(&lines, &key(number)), map.remove(&number).is_some());
        } else {
            assert!(put(&lines, &key(number), &row(step)));
            map.insert(number, row(step));
        }
        assert_eq!(find(&lines, &key(number)), map.get(&number).copied());
    }
    clear(&lines);
    let left: BTreeMap<_, _> = rows(lines).map(|(k, row)| ((k.vni, k.address), row)).collect();
    let right = map.iter().map(|(n, row)| ((key(*n).vni, key(*n).address), *row));
    assert_eq!(left, right.collect());
}

/// Whether all slots are free.
fn is_free(lines: &[Line]) -> bool {
    let shape = Shape::load(&lines[0]);
    let mut sets = (0..shape.buckets).filter_map(|number| Set::new(&lines, shape, number));
    sets.all(|set| set.header() == 0)
}

/// What must not be mixed.
fn sealed(row: Learned) -> (u64, u32, u32) {
    (row.generation, row.host, row.vpc)
}

/// Two CPUs write one slot at once: of each word, either one's is the last.
#[test]
fn what_two_writers_left_of_each_other_is_no_row() {
    for other in [EndpointKey::new(2, key(0).address), key(0), key(1)] {
        let both = [(key(0), row(5)), (other, row(6))];
        for last in 0..1 << ROW_WORDS {
            let lines = &empty::<AtomicU64>(1, 5)[..];
            assert!(put(&lines, &key(0), &row(1)));
            let place = place(&lines, &key(0)).unwrap();
            let written = both.map(|(key, row)| {
                place.write(&key, &row);
                from_fn::<_, ROW_WORDS, _>(|word| place.load(word))
            });
            (0..ROW_WORDS).for_each(|word| {
                place.line.store(place.at + word, written[last >> word & 1][word]);
            });
            for (key, row) in both {
                let found = find(&lines, &key).map(sealed);
                let right = both.iter().filter(|(of, _)| *of == key).map(|(_, row)| sealed(*row));
                assert!(found.is_none_or(|found| right.clone().any(|it| it == found)), "{found:?}");
                assert!(put(&lines, &key, &row), "and is written anew");
                assert_eq!(find(&lines, &key), Some(row));
                assert!(remove(&lines, &key));
            }
            clear(&lines);
            assert!(is_free(lines), "a slot is nobody's, and not free");
        }
    }
}

#[test]
fn a_row_that_changes_is_the_old_or_the_new_one_or_none() {
    let start = few();
    let write: Write = |lines| {
        put(&lines, &key(1), &row(2));
        put(&lines, &key(1), &row(3));
    };
    let read = |lines: &[Line<Raced>]| find(&lines, &key(1)).map(sealed);
    let found = all_that_is_found(2, &start, write, read);
    assert_eq!(found, [None, Some(1), Some(2), Some(3)].map(|it| it.map(row).map(sealed)).into());
}

#[test]
fn a_slot_that_changes_hands_is_one_rows_or_the_others() {
    let start = few();
    let shape = Shape::load(&start[0]);
    let twin = (2..).find(|n| shape.probe(&key(*n)) == shape.probe(&key(1)));
    assert_eq!(twin, Some(TWIN));
    let write: Write = |lines| {
        remove(&lines, &key(1));
        put(&lines, &key(TWIN), &row(TWIN));
        put(&lines, &key(1), &row(3));
    };
    for (number, known) in [(1, [1, 3]), (TWIN, [TWIN; 2])] {
        let read = move |lines: &[Line<Raced>]| find(&lines, &key(number)).map(sealed);
        let found = all_that_is_found(2, &start, write, read);
        let known = known.map(|number| Some(sealed(row(number))));
        assert_eq!(found, [None].into_iter().chain(known).collect(), "row {number}");
    }
}

/// A table of two sets with a row of key 1.
fn few() -> Vec<Line> {
    let lines = memory(1 + 2 * LINES_OF_SET + 1);
    open(&&lines[..], lines.len() as u32, 5);
    assert!(put(&&lines[..], &key(1), &row(1)));
    lines
}

/// Real threads that write and remove the same rows of a small table.
#[test]
fn threads_that_write_the_same_rows_leave_a_table_that_works() {
    const KEYS: u32 = 60;
    let lines = &empty::<AtomicU64>(KEYS, 9)[..];
    std::thread::scope(|scope| {
        for writer in 0..3u32 {
            scope.spawn(move || {
                for step in 0..40_000u32 {
                    let number = step.wrapping_mul(7 + writer) % KEYS;
                    if step % 5 == writer {
                        remove(&lines, &key(number));
                    } else {
                        put(&lines, &key(number), &row(number + KEYS * (step % 50)));
                    }
                    if let Some(found) = find(&lines, &key(number)) {
                        let written = (found.generation >> 20) as u32;
                        assert_eq!(sealed(found), sealed(row(written)), "torn");
                        assert_eq!(written % KEYS, number, "another's");
                    }
                }
            });
        }
    });
    clear(&lines);
    (0..KEYS).filter(|n| remove(&lines, &key(*n))).count();
    assert!(is_free(lines), "a slot is nobody's, and not free");
    assert!((0..KEYS).all(|n| put(&lines, &key(n), &row(n))));
    assert!((0..KEYS).all(|n| find(&lines, &key(n)) == Some(row(n))));
}
