//! The table of endpoints, which every packet looks into: a hash table in plain memory, written by
//! the agent and read by the kernel programs at the same time. That of [`learned`] rows, which the
//! kernel programs write, is of the same kind.
//!
//! ```text
//! line 0      buckets │ seed
//! buckets     slot 0: five words │ slot 1: five words │ slot 2: five words │ nothing
//! headers     header │ header │ …    of sixteen buckets
//! ```
//!
//! A line is 128 bytes, two neighbouring lines of the cache, all of it 64-bit words. An address may
//! be in either of two buckets, which its hash names ([`Shape`]). The header says of each slot
//! whether it is used, of what kind its row is, and seven bits of the hash, so that nearly all that
//! is not looked for is told by the header; its other 34 bits count how often it was written.
//!
//! Headers stand together, since they are what every look-up reads, and all that it reads of an
//! address that is not in the table: those of 65,536 rows are 210 KB, and stay in the cache where
//! the buckets do not.
//!
//! **What a reader sees.** Slots are written only while they are free. A row appears, and
//! disappears, by one store of a header; it changes by being written to another slot and taken from
//! the old one, in one store if both are in one bucket, else first there, then here. So every state
//! that a writer may leave behind, wherever it is stopped, is a table with all its rows. A reader
//! believes what it read of a slot only if the header is still the same afterwards, and that there
//! is no row only if both headers are ([`find`]). It is tried [`TRIES`] times: more than one writer
//! can spoil within the few nanoseconds that they take.
//!
//! **When it is full.** A table takes [`Shape::capacity`] rows, five for every two buckets: five
//! of six slots, 54.4 bytes a row. Up to there a free slot is found by moving other rows to their
//! other buckets; if none is, which takes addresses chosen by somebody who knows the seed, that one
//! row is refused ([`Full`]) and nothing else changes.
//!
//! **What it relies on.** One writer at a time. A reader's loads must be done in their order and a
//! writer's stores seen in theirs, which [`Words::order`] and [`Word::order`] have to ensure where
//! the machine does not.

mod find;
pub mod learned;
#[cfg(test)]
mod races;
mod slot;
#[cfg(test)]
mod tests;
mod writer;

pub use find::{TRIES, find, rows};
pub use writer::{Full, Table};

use crate::tables::EndpointKey;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use slot::Header;

/// Slots of a bucket.
const SLOTS: usize = 3;
/// Words of a slot.
const SLOT_WORDS: usize = 5;
/// Words of a line, and headers in one.
pub const LINE_WORDS: usize = 16;
/// Buckets more than rows call for: where there are few, chance spreads rows less evenly.
const SPARE: u32 = 16;
/// The first words of line 0.
const BUCKETS: usize = 0;
const SEED: usize = 1;

const _: () = assert!(SLOTS * SLOT_WORDS <= LINE_WORDS);
const _: () = assert!(size_of::<Line<AtomicU64>>() == 128);

/// A line of the table as a reader sees it.
pub trait Words: Copy {
    /// One word of [`LINE_WORDS`], by one load that is not torn, repeated or left out.
    fn load(self, word: usize) -> u64;
    /// Loads before this are done before those after it.
    fn order(self);
}

/// The lines of a table as a reader sees them.
pub trait Lines {
    /// One line.
    type Line: Words;
    /// A line by its number, if there is one.
    fn line(&self, number: u32) -> Option<Self::Line>;
}

/// One word of a table that is read and written at the same time.
pub trait Word {
    /// Reads it.
    fn load(&self) -> u64;
    /// Writes it.
    fn store(&self, value: u64);
    /// Loads, or stores, before this are done before those after it.
    fn order(ordering: Ordering);
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    #[inline]
    fn order(ordering: Ordering) {
        fence(ordering);
    }
}

/// A line in memory that this process can address.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Line<W = AtomicU64> {
    words: [W; LINE_WORDS],
}

impl<W: Word> Words for &Line<W> {
    #[inline]
    fn load(self, word: usize) -> u64 {
        self.words[word].load()
    }

    #[inline]
    fn order(self) {
        W::order(Ordering::Acquire);
    }
}

impl<W: Word> learned::WriteWords for &Line<W> {
    #[inline]
    fn store(self, word: usize, value: u64) {
        self.words[word].store(value);
    }
}

impl<'a, W: Word> Lines for &'a [Line<W>] {
    type Line = &'a Line<W>;

    #[inline]
    fn line(&self, number: u32) -> Option<&'a Line<W>> {
        self.get(number as usize)
    }
}

/// How many buckets a table has, and how addresses are spread over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    buckets: u32,
    seed: u64,
}

impl Shape {
    /// The lines of a table for so many rows.
    pub const fn lines(rows: u32) -> u32 {
        let buckets = (rows as u64 * 2).div_ceil(5) + SPARE as u64;
        let lines = 1 + buckets + buckets.div_ceil(LINE_WORDS as u64);
        if lines > u32::MAX as u64 { u32::MAX } else { lines as u32 }
    }

    /// The rows that a table of so many lines takes.
    pub const fn capacity(lines: u32) -> u32 {
        let rows = Self::buckets(lines).saturating_sub(SPARE) as u64 * 5 / 2;
        if rows > u32::MAX as u64 { u32::MAX } else { rows as u32 }
    }

    /// The buckets of a table of so many lines: each has one, and a word of another.
    const fn buckets(lines: u32) -> u32 {
        let words = LINE_WORDS as u64;
        (lines.saturating_sub(1) as u64 * words / (words + 1)) as u32
    }

    /// As the first line has it.
    #[inline(always)]
    fn load(line: impl Words) -> Self {
        Self { buckets: line.load(BUCKETS) as u32, seed: line.load(SEED) }
    }

    /// Where a key may be.
    #[inline(always)]
    fn probe(self, key: &EndpointKey) -> Probe {
        let [one, two] = hashes(key, self.seed);
        let first = share(one, self.buckets);
        // Never the first one again.
        let step = 1 + share(two, self.buckets.wrapping_sub(1));
        let second = first.wrapping_add(step);
        let second = if second < self.buckets { second } else { second.wrapping_sub(self.buckets) };
        Probe { buckets: [first, second], mark: Header::mark(one) }
    }

    /// The line of a bucket's slots.
    #[inline(always)]
    const fn slots(self, bucket: u32) -> u32 {
        bucket.wrapping_add(1)
    }

    /// The line of a bucket's header, and which of its words that is.
    #[inline(always)]
    const fn header(self, bucket: u32) -> (u32, usize) {
        const WORDS: u32 = LINE_WORDS as u32;
        let line = self.slots(self.buckets).wrapping_add(bucket / WORDS);
        (line, (bucket % WORDS) as usize)
    }
}

/// The two buckets that a key may be in, and how headers mark it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    buckets: [u32; 2],
    mark: u64,
}

/// The upper half of a hash as a fraction of a whole.
#[inline(always)]
const fn share(hash: u64, whole: u32) -> u32 {
    (((hash >> 32) * whole as u64) >> 32) as u32
}

/// Two hashes of a key whose upper halves are good. Those who choose addresses do not know the
/// seed.
#[inline(always)]
const fn hashes(key: &EndpointKey, seed: u64) -> [u64; 2] {
    let [high, low] = key.address.words();
    let high = high ^ (key.vni as u64) << 17 ^ seed >> 32;
    let low = (low ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let high = high.wrapping_mul(0xd6e8_feb8_6659_fd93);
    // Most addresses differ in bits that the multiplications moved to the upper half.
    let mixed = low ^ low >> 32 ^ high ^ high >> 29;
    // Once more, or with some seeds the two hashes of addresses in a row depend on each other.
    let mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = mixed ^ mixed >> 32;
    [mixed.wrapping_mul(0xa076_1d64_78bd_642f), mixed.wrapping_mul(0xe703_7ed1_a0b4_28db)]
}
