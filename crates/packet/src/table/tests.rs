//! One thread: what is written is found, up to the last slot, and wherever a writer is stopped.

use super::*;
use crate::Address;
use crate::tables::{Endpoint, Port};
use std::cell::Cell;
use std::vec::Vec;

/// A table without rows.
pub(super) fn empty<W: Word + Default>(rows: u32) -> Vec<Line<W>> {
    memory(Shape::lines(rows))
}

/// So many lines of zeros.
pub(super) fn memory<W: Word + Default>(lines: u32) -> Vec<Line<W>> {
    (0..lines).map(|_| Line::default()).collect()
}

/// The key with a number: of IPv4, of IPv6, of another VPC.
pub(super) fn key(number: u32) -> EndpointKey {
    let [a, b, c, d] = (number / 3).to_be_bytes();
    let v6 = [0xfd, 0, 0, 0, 0, 0, 0, b, 0, 0, 0, 0, a, 0, c, d];
    match number % 3 {
        0 => EndpointKey::new(1, Address::v4([10, b, c, d])),
        1 => EndpointKey::new(1, Address::v6(v6)),
        _ => EndpointKey::new(0xff_ffff, Address::v4([10, b, c, d])),
    }
}

/// A row whose fields all follow from one number.
pub(super) fn row(number: u32) -> Endpoint {
    let [_, b, c, d] = number.to_be_bytes();
    let held = Endpoint {
        generation: u64::from(number) << 20 | 7,
        kind: Endpoint::HELD,
        interface: 0,
        host: number,
        vpc: number & 0xff_ffff,
        mac: [0; 6],
        flags: 0,
    };
    let local = Endpoint { interface: number, host: 0, mac: [2, 0, 0, b, c, d], ..held };
    match number % 4 {
        0 => held,
        1 => Endpoint { kind: Endpoint::MOVED, ..held },
        2 => Endpoint { kind: Endpoint::LOCAL, ..local },
        _ => Endpoint { kind: Endpoint::LOCAL, flags: Port::SENT_OUT, ..local },
    }
}

#[test]
fn a_row_comes_back_as_it_was_written() {
    let lines = empty::<AtomicU64>(8);
    let mut table = Table::open(&lines[..], 5).unwrap();
    for number in (0..8).map(|n| n * 0x1235_6789) {
        table.put(&key(number), &row(number)).unwrap();
        assert_eq!(table.get(&key(number)), Some(row(number)));
        assert_eq!(find(&&lines[..], &key(number)), Some(row(number)));
        assert_eq!(table.remove(&key(number)), Some(row(number)));
        assert_eq!((table.get(&key(number)), table.remove(&key(number))), (None, None));
    }
    assert!(table.is_empty());
}

#[test]
fn every_table_takes_the_rows_that_it_says_and_no_more() {
    for rows in [1, 4, 5, 16, 100, 1000, 20_000] {
        for seed in 0..if rows < 10_000 { 200 } else { 3 } {
            let lines = empty::<AtomicU64>(rows);
            let mut table = Table::open(&lines[..], seed << 40 | seed).unwrap();
            assert!(table.capacity() >= rows);
            for number in 0..table.capacity() {
                table.put(&key(number), &row(number)).unwrap();
            }
            let capacity = table.capacity();
            assert_eq!(table.put(&key(capacity), &row(0)), Err(Full), "{rows} rows, seed {seed}");
            for number in 0..capacity {
                assert_eq!(find(&&lines[..], &key(number)), Some(row(number)));
                // One that is there may change although nothing may come.
                table.put(&key(number), &row(number + 1)).unwrap();
                assert_eq!(find(&&lines[..], &key(number)), Some(row(number + 1)));
            }
            assert_eq!(find(&&lines[..], &key(capacity)), None);
            table.remove(&key(0)).unwrap();
            table.put(&key(capacity), &row(0)).unwrap();
        }
    }
}

/// With these seeds a weaker hash refused hundreds of 65,537 rows, since the two buckets of
/// addresses in a row depended on each other.
#[test]
fn addresses_in_a_row_fill_a_table_whatever_its_seed() {
    for seed in [0xf426_9799_be1b_f66b, 0x8596_eeb1_444e_bbfa, 0, u64::MAX] {
        let lines = empty::<core::sync::atomic::AtomicU64>(65_536);
        let mut table = Table::open(&lines[..], seed).unwrap();
        for number in 0..table.capacity() {
            let key = EndpointKey::new(1, Address::v4(number.to_be_bytes()));
            assert_eq!(table.put(&key, &row(number)), Ok(()), "row {number}, seed {seed:x}");
        }
    }
}

#[test]
fn rows_are_spread_evenly_whichever_bits_their_addresses_differ_in() {
    let shape = Shape { buckets: 1000, seed: 77 };
    for shift in [0, 8, 16, 24, 32, 48, 64, 80, 96, 112] {
        let (mut counts, mut pairs) = (std::vec![0; 1000], std::collections::BTreeSet::new());
        for number in 0..10_000u128 {
            let bytes = (number << shift).to_be_bytes();
            let probe = shape.probe(&EndpointKey::new(1, Address::from_octets(bytes)));
            probe.buckets.iter().for_each(|bucket| counts[*bucket as usize] += 1);
            assert_ne!(probe.buckets[0], probe.buckets[1]);
            pairs.insert(probe.buckets);
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least >= 5 && *most <= 50, "bits {shift}: {least} to {most} of 20");
        assert!(pairs.len() > 9_800, "bits {shift}: {} pairs of 10000", pairs.len());
    }
}

#[test]
fn where_no_slot_can_be_freed_one_row_is_refused_and_none_is_lost() {
    // Two buckets: every row may be in either, so the slots are all that there is.
    let lines = memory::<AtomicU64>(4);
    let mut table = Table { capacity: 9, ..Table::open(&lines[..], 5).unwrap() };
    let taken: Vec<_> = (0..9).filter(|n| table.put(&key(*n), &row(*n)).is_ok()).collect();
    assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
    assert_eq!(table.put(&key(0), &row(0)), Ok(()), "nothing changes");
    assert_eq!(table.put(&key(0), &row(8)), Err(Full), "a change needs a free slot");
    assert!(taken.iter().all(|n| table.get(&key(*n)) == Some(row(*n))));
    assert_eq!((rows(&lines[..]).count(), table.len()), (6, 6));
}

#[test]
fn memory_of_another_size_and_too_little_are_refused() {
    let lines = empty::<AtomicU64>(100);
    assert!(Table::open(&lines[..2], 1).is_none());
    assert!(Table::open(&lines[..30], 1).is_some());
    assert!(Table::open(&lines[..29], 1).is_none());
}

#[test]
fn a_table_that_was_written_is_taken_over_with_its_seed() {
    let lines = empty::<AtomicU64>(100);
    let mut table = Table::open(&lines[..], 1).unwrap();
    (0..50).for_each(|n| table.put(&key(n), &row(n)).unwrap());
    let table = Table::open(&lines[..], 2).unwrap();
    assert_eq!(table.len(), 50);
    assert!((0..50).all(|n| table.get(&key(n)) == Some(row(n))));
}

thread_local! {
    /// Stores until the writer is stopped.
    static STORES: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// A word of a process that may end at any store.
#[derive(Debug, Default)]
struct Mortal(AtomicU64);

impl Word for Mortal {
    fn load(&self) -> u64 {
        Word::load(&self.0)
    }

    fn store(&self, value: u64) {
        let left = STORES.get();
        STORES.set(left.saturating_sub(1));
        if left > 0 {
            Word::store(&self.0, value);
        }
    }

    fn order(_: Ordering) {}
}

/// Runs a step of a writer that is stopped after each number of stores, and takes the table over.
fn at_every_end(step: impl Fn(&mut Table<&[Line<Mortal>]>), check: impl Fn(&[Line<Mortal>], u32)) {
    for stores in 0.. {
        let lines = empty::<Mortal>(40);
        let mut table = Table::open(&lines[..], 3).unwrap();
        (0..40).for_each(|n| table.put(&key(n), &row(n)).unwrap());
        STORES.set(stores);
        step(&mut table);
        let left = STORES.replace(u32::MAX);
        // As the kernel programs see it while nobody takes over, and then.
        check(&lines, 0);
        let table = Table::open(&lines[..], 0).unwrap();
        check(&lines, table.len());
        let mut seen: Vec<_> = rows(&lines[..]).map(|(k, _)| (k.vni, k.address)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), table.len() as usize, "a row is there twice");
        if left > 0 {
            break;
        }
    }
}

#[test]
fn a_writer_that_ends_while_it_changes_a_row_leaves_the_old_or_the_new_one() {
    for changed in 0..40 {
        at_every_end(
            |table| table.put(&key(changed), &row(changed + 100)).unwrap(),
            |lines, _| {
                for number in 0..40 {
                    let found = find(&lines, &key(number)).unwrap();
                    let new = number == changed && found == row(number + 100);
                    assert!(new || found == row(number), "{number}: {found:?}");
                }
            },
        );
    }
}

#[test]
fn a_writer_that_ends_while_it_makes_room_loses_no_row() {
    let replace = |table: &mut Table<&[Line<Mortal>]>| {
        for number in 0..20 {
            table.remove(&key(number));
            let _ = table.put(&key(100 + number), &row(number));
        }
    };
    at_every_end(replace, |lines, _| {
        assert!((20..40).all(|n| find(&lines, &key(n)) == Some(row(n))));
    });
}
