//! Looking up a row while somebody may be writing.

use super::slot::{Header, Packed};
use super::{Lines, SLOTS, Shape, Words};
use crate::tables::{Endpoint, EndpointKey};

/// How often a look-up is tried while rows are written under it.
pub const TRIES: usize = 3;

/// The row of `key`.
#[inline(always)]
pub fn find<L: Lines>(lines: &L, key: &EndpointKey) -> Option<Endpoint> {
    for _ in 0..TRIES {
        match attempt(lines, key)? {
            Seen::Row(row) => return Some(row),
            Seen::Nothing => return None,
            Seen::Change => {}
        }
    }
    None
}

enum Seen {
    Row(Endpoint),
    Nothing,
    /// Somebody wrote meanwhile.
    Change,
}

/// Both headers are read before anything that depends on them: the processor need not wait for one
/// to ask for the other. If neither changes, what they say was true of both at one time.
#[inline(always)]
fn attempt<L: Lines>(lines: &L, key: &EndpointKey) -> Option<Seen> {
    let shape = Shape::load(lines.line(0)?);
    let probe = shape.probe(key);
    let first = Bucket::new(lines, shape, probe.buckets[0])?;
    let second = Bucket::new(lines, shape, probe.buckets[1])?;
    let headers = [first.header(), second.header()];
    first.slots.order();
    if let Some(seen) = look(first, headers[0], probe.mark, key) {
        return Some(seen);
    }
    if let Some(seen) = look(second, headers[1], probe.mark, key) {
        return Some(seen);
    }
    first.slots.order();
    let same = [first.header(), second.header()] == headers;
    Some(if same { Seen::Nothing } else { Seen::Change })
}

/// Looks for a key in a bucket.
#[inline(always)]
fn look<W: Words>(bucket: Bucket<W>, header: Header, mark: u64, key: &EndpointKey) -> Option<Seen> {
    for slot in 0..SLOTS {
        if header.mark_of(slot) != mark {
            continue;
        }
        let packed = Packed::load(bucket.slots, slot, header);
        if packed.is_of(key) {
            bucket.slots.order();
            let same = bucket.header() == header;
            return Some(if same { Seen::Row(packed.row()) } else { Seen::Change });
        }
    }
    None
}

/// A bucket as a reader sees it.
#[derive(Clone, Copy)]
struct Bucket<W> {
    /// The line of its header, and which word that is.
    headers: W,
    word: usize,
    /// The line of its slots.
    slots: W,
}

impl<W: Words> Bucket<W> {
    #[inline(always)]
    fn new<L: Lines<Line = W>>(lines: &L, shape: Shape, bucket: u32) -> Option<Self> {
        let (line, word) = shape.header(bucket);
        let slots = lines.line(shape.slots(bucket))?;
        Some(Self { headers: lines.line(line)?, word, slots })
    }

    #[inline(always)]
    fn header(&self) -> Header {
        Header(self.headers.load(self.word))
    }
}

/// All rows. One that changes meanwhile may be missed, or be there twice.
pub fn rows<L: Lines>(lines: L) -> impl Iterator<Item = (EndpointKey, Endpoint)> {
    let shape = lines.line(0).map_or(Shape { buckets: 0, seed: 0 }, Shape::load);
    let found = (0..shape.buckets).filter_map(move |number| bucket(&lines, shape, number));
    found.flatten().flatten().map(|packed| (packed.key(), packed.row()))
}

/// The rows of a bucket.
pub(super) fn bucket(
    lines: &impl Lines,
    shape: Shape,
    number: u32,
) -> Option<[Option<Packed>; SLOTS]> {
    let bucket = Bucket::new(lines, shape, number)?;
    for _ in 0..TRIES {
        let header = bucket.header();
        bucket.slots.order();
        let mut found = [None; SLOTS];
        for slot in header.used() {
            found[slot] = Some(Packed::load(bucket.slots, slot, header));
        }
        bucket.slots.order();
        if bucket.header() == header {
            return Some(found);
        }
    }
    None
}
