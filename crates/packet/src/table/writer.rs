//! Writing rows while others read them.

use super::slot::{Header, Packed, word_of};
use super::{BUCKETS, Line, Probe, SEED, SLOTS, Shape, Word, Words, rows};
use crate::tables::{Endpoint, EndpointKey};
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::Ordering;

/// Buckets that are looked at for a row that could make room.
const SEARCHED: usize = 256;

/// There is no room for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the table is full")
    }
}

impl core::error::Error for Full {}

/// A table and the right to write to it.
#[derive(Debug)]
pub struct Table<L> {
    pub(super) lines: L,
    pub(super) shape: Shape,
    pub(super) rows: u32,
    pub(super) capacity: u32,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    bucket: u32,
    slot: usize,
}

impl<W: Word, L: Deref<Target = [Line<W>]>> Table<L> {
    /// Takes over a table, or makes an empty one of memory that is all zeros, with that seed.
    ///
    /// None if there are less than four lines, or it was made of another number of buckets.
    pub fn open(lines: L, seed: u64) -> Option<Self> {
        let count = u32::try_from(lines.len()).ok()?;
        let buckets = Some(Shape::buckets(count)).filter(|&buckets| buckets >= 2)?;
        let first = &lines[0];
        if first.load(BUCKETS) == 0 {
            first.words[SEED].store(seed);
            W::order(Ordering::Release);
            first.words[BUCKETS].store(u64::from(buckets));
        }
        let shape = Shape::load(first);
        if shape.buckets != buckets {
            return None;
        }
        let capacity = Shape::capacity(count);
        let mut table = Self { lines, shape, rows: 0, capacity };
        table.settle();
        Some(table)
    }

    /// How many rows there are.
    pub fn len(&self) -> u32 {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many rows there is room for.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The row of `key`.
    pub fn get(&self, key: &EndpointKey) -> Option<Endpoint> {
        let place = self.place(key, &self.shape.probe(key))?;
        Some(self.packed(place).row())
    }

    /// Writes a row.
    ///
    /// # Errors
    /// There is no room for it: the table is as it was.
    pub fn put(&mut self, key: &EndpointKey, row: &Endpoint) -> Result<(), Full> {
        let probe = self.shape.probe(key);
        let packed = Packed::new(key, row);
        let old = self.place(key, &probe);
        if old.is_some_and(|old| self.packed(old) == packed) {
            return Ok(());
        }
        if old.is_none() && self.rows >= self.capacity {
            return Err(Full);
        }
        // A row that changes had better stay in its bucket, where that takes one store.
        let order = match old {
            Some(old) if old.bucket == probe.buckets[1] => [probe.buckets[1], probe.buckets[0]],
            _ => probe.buckets,
        };
        let free = order.into_iter().find_map(|bucket| self.free(bucket));
        // No old row is moved for that: both of its buckets are looked at already.
        let free = free.or_else(|| self.make_room(probe.buckets)).ok_or(Full)?;
        self.fill(free, &packed);
        let with = self.header(free.bucket).with(free.slot, probe.mark, packed.kind);
        match old {
            Some(old) if old.bucket == free.bucket => {
                self.publish(old.bucket, with.without(old.slot));
            }
            Some(old) => {
                self.publish(free.bucket, with);
                self.publish(old.bucket, self.header(old.bucket).without(old.slot));
            }
            None => {
                self.publish(free.bucket, with);
                self.rows += 1;
            }
        }
        Ok(())
    }

    /// Removes a row and returns it.
    pub fn remove(&mut self, key: &EndpointKey) -> Option<Endpoint> {
        let place = self.place(key, &self.shape.probe(key))?;
        let row = self.packed(place).row();
        self.publish(place.bucket, self.header(place.bucket).without(place.slot));
        self.rows -= 1;
        Some(row)
    }

    /// A writer that was stopped between two stores leaves a row twice: the newer one stays.
    fn settle(&mut self) {
        for bucket in 0..self.shape.buckets {
            for slot in self.header(bucket).used() {
                let here = Place { bucket, slot };
                let Some(twin) = self.twin(here) else { continue };
                let [here_since, since] = [here, twin].map(|at| self.packed(at).row().generation);
                let older = if here_since > since { twin } else { here };
                self.publish(older.bucket, self.header(older.bucket).without(older.slot));
            }
        }
        self.rows = rows(&self.lines[..]).count() as u32;
    }

    /// Another row of the same key, in its other bucket.
    fn twin(&self, place: Place) -> Option<Place> {
        let key = self.packed(place).key();
        let probe = self.shape.probe(&key);
        self.place(&key, &Probe { buckets: [self.other(place); 2], ..probe })
    }

    fn place(&self, key: &EndpointKey, probe: &Probe) -> Option<Place> {
        probe.buckets.into_iter().find_map(|bucket| {
            let marked = self.header(bucket).marked(probe.mark);
            marked.map(|slot| Place { bucket, slot }).find(|place| self.packed(*place).is_of(key))
        })
    }

    fn free(&self, bucket: u32) -> Option<Place> {
        self.header(bucket).marked(0).map(|slot| Place { bucket, slot }).next()
    }

    /// Moves rows to their other buckets until one of those has a free slot, which is returned.
    ///
    /// Buckets are looked at in the order of how many rows would have to move, none twice.
    fn make_room(&mut self, buckets: [u32; 2]) -> Option<Place> {
        let mut found = [Step { bucket: 0, from: None }; SEARCHED];
        for (step, bucket) in found.iter_mut().zip(buckets) {
            step.bucket = bucket;
        }
        let mut count = buckets.len();
        let mut at = 0;
        while at < count {
            for slot in 0..SLOTS {
                let bucket = self.other(Place { bucket: found[at].bucket, slot });
                if found[..count].iter().any(|step| step.bucket == bucket) {
                    continue;
                }
                let step = Step { bucket, from: Some((at, slot)) };
                if let Some(free) = self.free(bucket) {
                    return Some(self.shift(&found, step, free));
                }
                if count < SEARCHED {
                    found[count] = step;
                    count += 1;
                }
            }
            at += 1;
        }
        None
    }

    /// Moves the rows of a way, the last one first; the slot that is free then.
    fn shift(&mut self, found: &[Step], last: Step, mut free: Place) -> Place {
        let mut from = last.from;
        while let Some((at, slot)) = from {
            let place = Place { bucket: found[at].bucket, slot };
            let header = self.header(place.bucket);
            let packed = self.packed(place);
            self.fill(free, &packed);
            let (mark, kind) = (header.mark_of(slot), header.kind_of(slot));
            self.publish(free.bucket, self.header(free.bucket).with(free.slot, mark, kind));
            self.publish(place.bucket, header.without(slot));
            (free, from) = (place, found[at].from);
        }
        free
    }

    /// The other bucket that the row in a used slot may be in.
    fn other(&self, place: Place) -> u32 {
        let [first, second] = self.shape.probe(&self.packed(place).key()).buckets;
        if place.bucket == first { second } else { first }
    }

    fn header(&self, bucket: u32) -> Header {
        let (line, word) = self.shape.header(bucket);
        Header(self.line(line).load(word))
    }

    fn packed(&self, Place { bucket, slot }: Place) -> Packed {
        Packed::load(self.line(self.shape.slots(bucket)), slot, self.header(bucket))
    }

    /// Writes the words of a slot that no header names.
    fn fill(&self, Place { bucket, slot }: Place, packed: &Packed) {
        // Whoever sees one of these words sees the header that freed the slot.
        W::order(Ordering::Release);
        let line = self.line(self.shape.slots(bucket));
        for (word, value) in packed.words.into_iter().enumerate() {
            line.words[word_of(slot, word)].store(value);
        }
    }

    /// Writes a header.
    fn publish(&self, bucket: u32, Header(value): Header) {
        // Whoever sees it sees what was written before, here and in other lines.
        W::order(Ordering::Release);
        let (line, word) = self.shape.header(bucket);
        self.line(line).words[word].store(value);
    }

    fn line(&self, line: u32) -> &Line<W> {
        &self.lines[line as usize]
    }
}

/// A bucket that a row could go to, and the slot of the earlier bucket that it would leave.
#[derive(Clone, Copy, Debug)]
struct Step {
    bucket: u32,
    from: Option<(usize, usize)>,
}
