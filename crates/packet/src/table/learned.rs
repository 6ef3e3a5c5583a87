//! The table of learned rows, which the kernel programs write while they, on all CPUs, and the
//! agent read it.
//!
//! ```text
//! line 0      sets │ seed
//! rows        row │ row    eight words each; four lines are a set
//! headers     header │ header │ …    of sixteen sets: eight marks of eight bits
//! ```
//!
//! An address may be in either of two sets; a mark says that a slot is used, with seven bits of its
//! address's hash. Headers stay in the cache, so that a look-up waits for one line of memory.
//!
//! **Who writes takes no lock, and may be overtaken at any word.** A learned row is a hint:
//! without it packets go by way of a bouncer, and bring it back. So a row carries a seal, a sum
//! over what must not be mixed with another row's: its key, where that is, and since when. What
//! two writers left of each other's words is no row, and neither is one that is being written.
//! Times are not summed up: each is a word of its own, and right by itself. Where two writers of
//! one header lose a mark, a slot is free whose row is forgotten. The agent frees the slots of
//! rows that are not whole ([`clear`]); what two CPUs learned twice at once is removed together.
//!
//! **When it is full.** A table has eight slots for every five rows that it is made for, 104 bytes
//! a row. A row is refused if both of its sets are full, which as good as never comes before that.
//! More rows are taken while they find room: quotas bound them.

#[cfg(test)]
mod tests;

use super::{LINE_WORDS, Lines, Shape, Words};
use crate::Address;
use crate::tables::{EndpointKey, Learned};

/// Slots of a set, each of which has a byte of the set's header.
const WAYS: u32 = 8;
/// Words of a row.
const ROW_WORDS: usize = 8;
const ROWS_OF_LINE: u32 = (LINE_WORDS / ROW_WORDS) as u32;
const LINES_OF_SET: u32 = WAYS / ROWS_OF_LINE;
const HEADERS_OF_LINE: u32 = LINE_WORDS as u32;
/// Rows of a set that a table is made for.
const FILL: u32 = 5;
/// Sets more than that: where there are few, chance spreads rows less evenly.
const SPARE: u32 = 4;
/// Most rows of a set that have one mark.
const ALIKE: usize = 2;
/// Each byte's lowest bit, and its highest.
const LOWEST: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = LOWEST << 7;

const LOW: usize = 0;
const HIGH: usize = 1;
/// VPC, low byte: 8 │ VNI: 24 │ host: 32
const PLACE: usize = 2;
const GENERATION: usize = 3;
/// VPC, high bytes: 16 │ seal: 48
const SEAL: usize = 4;
const USED: usize = 5;
const TEACH_UNTIL: usize = 6;
const NOTICE_AT: usize = 7;

/// A line that is written, too.
pub trait WriteWords: Words {
    /// Writes one word of [`LINE_WORDS`], by one store.
    fn store(self, word: usize, value: u64);
}

/// The lines of a table for so many rows.
pub const fn lines(rows: u32) -> u32 {
    let sets = rows.div_ceil(FILL) as u64 + SPARE as u64;
    let lines = 1 + sets * LINES_OF_SET as u64 + sets.div_ceil(HEADERS_OF_LINE as u64);
    if lines > u32::MAX as u64 { u32::MAX } else { lines as u32 }
}

/// The rows that a table of so many lines is made for.
pub const fn capacity(lines: u32) -> u32 {
    sets(lines).saturating_sub(SPARE).saturating_mul(FILL)
}

const fn sets(lines: u32) -> u32 {
    let per_set = (LINES_OF_SET * HEADERS_OF_LINE + 1) as u64;
    (lines.saturating_sub(1) as u64 * HEADERS_OF_LINE as u64 / per_set) as u32
}

/// Makes a table of so many lines that are all zeros, with that seed, unless it is one already.
///
/// Until then it has no row and takes none.
pub fn open<L: Lines<Line: WriteWords>>(lines: &L, count: u32, seed: u64) {
    let sets = sets(count);
    if let Some(line) = lines.line(0)
        && sets >= 2
        && Shape::load(line).buckets != sets
    {
        line.store(super::SEED, seed);
        line.store(super::BUCKETS, u64::from(sets));
    }
}

/// What was learned of an address.
#[inline(always)]
pub fn find<L: Lines>(lines: &L, key: &EndpointKey) -> Option<Learned> {
    place(lines, key)?.read(key)
}

/// Writes a row, in place of an older one of its key; whether there was room.
#[inline(always)]
pub fn put<L: Lines<Line: WriteWords>>(lines: &L, key: &EndpointKey, row: &Learned) -> bool {
    if let Some(place) = place(lines, key) {
        place.write(key, row);
        return true;
    }
    insert(lines, key, row).is_some()
}

/// Stamps a row as used.
#[inline(always)]
pub fn touch<L: Lines<Line: WriteWords>>(lines: &L, key: &EndpointKey, now: u64) {
    if let Some(Place { line, at }) = place(lines, key) {
        line.store(at + USED, now);
    }
}

/// Removes a row; whether there was one.
pub fn remove<L: Lines<Line: WriteWords>>(lines: &L, key: &EndpointKey) -> bool {
    let Some(probe) = Probe::new(lines, key) else { return false };
    let sets = [0, 1].into_iter().filter_map(|number| probe.set(lines, number));
    // There are two where two CPUs learned it at once.
    let of_key = |(_, _, place): &(_, _, Place<L::Line>)| place.is_of(key);
    let mut found = false;
    for (set, slot, place) in sets.flat_map(|set| used(lines, set)).filter(of_key) {
        found |= place.read(key).is_some();
        // If a writer of the header puts the mark back, it is none of a row.
        place.line.store(place.at + SEAL, 0);
        set.free(slot);
    }
    found
}

/// All rows. One that changes meanwhile may be missed, or be there twice.
pub fn rows<L: Lines>(lines: L) -> impl Iterator<Item = (EndpointKey, Learned)> {
    let sets = lines.line(0).map_or(0, |line| Shape::load(line).buckets);
    (0..sets).flat_map(move |number| {
        let mut found = [None; WAYS as usize];
        let shape = lines.line(0).map(Shape::load);
        let set = shape.and_then(|shape| Set::new(&lines, shape, number));
        for (set, slot, place) in set.into_iter().flat_map(|set| used(&lines, set)) {
            found[slot as usize] = row(&lines, set, slot, place);
        }
        found.into_iter().flatten()
    })
}

/// Frees the slots whose rows are not whole, or of no key that would be looked for there: two CPUs
/// wrote them at once, and they are nobody's.
pub fn clear<L: Lines<Line: WriteWords>>(lines: &L) {
    let Some(shape) = lines.line(0).map(Shape::load) else { return };
    for set in (0..shape.buckets).filter_map(|number| Set::new(lines, shape, number)) {
        for (set, slot, place) in used(lines, set) {
            if row(lines, set, slot, place).is_none() {
                set.free(slot);
            }
        }
    }
}

/// The row in a slot, and its key, which has to be one that is looked for there.
fn row<L: Lines>(
    lines: &L,
    set: Set<L::Line>,
    slot: u32,
    place: Place<L::Line>,
) -> Option<(EndpointKey, Learned)> {
    let key = place.key();
    let probe = Probe::new(lines, &key)?;
    let mark = set.header() >> (8 * slot) & 0xff;
    let belongs = probe.sets.contains(&set.number) && probe.mark == mark;
    belongs.then(|| place.read(&key)).flatten().map(|row| (key, row))
}

/// The slots of a set that are marked.
fn used<L: Lines>(
    lines: &L,
    set: Set<L::Line>,
) -> impl Iterator<Item = (Set<L::Line>, u32, Place<L::Line>)> {
    let header = set.header();
    let marked = move |slot: &u32| header >> (8 * slot) & 0xff != 0;
    (0..WAYS).filter(marked).filter_map(move |slot| Some((set, slot, set.slot(lines, slot)?)))
}

#[inline(always)]
fn insert<L: Lines<Line: WriteWords>>(lines: &L, key: &EndpointKey, row: &Learned) -> Option<()> {
    let probe = Probe::new(lines, key)?;
    let [first, second] = [probe.set(lines, 0)?, probe.set(lines, 1)?];
    let [one, two] = [first.room(probe.mark), second.room(probe.mark)];
    let (set, free) = if count(two) > count(one) { (second, two) } else { (first, one) };
    if free == 0 {
        return None;
    }
    let slot = lowest(free);
    set.slot(lines, slot)?.write(key, row);
    let others = set.header() & !(0xff << (8 * slot));
    set.headers.store(set.word, others | probe.mark << (8 * slot));
    Some(())
}

/// Where the row of a key is, whole or not.
#[inline(always)]
fn place<L: Lines>(lines: &L, key: &EndpointKey) -> Option<Place<L::Line>> {
    let probe = Probe::new(lines, key)?;
    let sets = [probe.set(lines, 0)?, probe.set(lines, 1)?];
    let headers = [sets[0].header(), sets[1].header()];
    for (set, header) in sets.into_iter().zip(headers) {
        let mut alike = equal(header, probe.mark);
        for _ in 0..ALIKE {
            if alike == 0 {
                break;
            }
            let place = set.slot(lines, lowest(alike))?;
            if place.is_of(key) {
                return Some(place);
            }
            alike &= alike.wrapping_sub(1);
        }
    }
    None
}

/// The two sets that a key may be in, and how headers mark it.
#[derive(Clone, Copy)]
struct Probe {
    shape: Shape,
    sets: [u32; 2],
    mark: u64,
}

impl Probe {
    #[inline(always)]
    fn new<L: Lines>(lines: &L, key: &EndpointKey) -> Option<Self> {
        let shape = Shape::load(lines.line(0)?);
        let super::Probe { buckets, mark } = shape.probe(key);
        Some(Self { shape, sets: buckets, mark })
    }

    #[inline(always)]
    fn set<L: Lines>(&self, lines: &L, number: usize) -> Option<Set<L::Line>> {
        Set::new(lines, self.shape, self.sets[number])
    }
}

#[derive(Clone, Copy)]
struct Set<W> {
    /// The line of its header, and which word that is.
    headers: W,
    word: usize,
    number: u32,
}

impl<W: Words> Set<W> {
    #[inline(always)]
    fn new<L: Lines<Line = W>>(lines: &L, shape: Shape, number: u32) -> Option<Self> {
        let rows = shape.buckets.wrapping_mul(LINES_OF_SET);
        let line = rows.wrapping_add(1).wrapping_add(number / HEADERS_OF_LINE);
        let word = (number % HEADERS_OF_LINE) as usize;
        Some(Self { headers: lines.line(line)?, word, number })
    }

    #[inline(always)]
    fn header(&self) -> u64 {
        self.headers.load(self.word)
    }

    /// The free slots for a mark, as the highest bits of bytes: none if it would not be looked for.
    #[inline(always)]
    fn room(&self, mark: u64) -> u64 {
        let header = self.header();
        if count(equal(header, mark)) < ALIKE as u64 { equal(header, 0) } else { 0 }
    }

    #[inline(always)]
    fn slot<L: Lines<Line = W>>(&self, lines: &L, slot: u32) -> Option<Place<W>> {
        let line = self.number.wrapping_mul(LINES_OF_SET).wrapping_add(1 + slot / ROWS_OF_LINE);
        let at = (slot % ROWS_OF_LINE) as usize * ROW_WORDS;
        Some(Place { line: lines.line(line)?, at })
    }
}

/// A slot.
#[derive(Clone, Copy)]
struct Place<W> {
    line: W,
    at: usize,
}

impl<W: Words> Place<W> {
    #[inline(always)]
    fn load(&self, word: usize) -> u64 {
        self.line.load(self.at + word)
    }

    fn key(&self) -> EndpointKey {
        let address = Address::from_words([self.load(HIGH), self.load(LOW)]);
        EndpointKey::new(vni(self.load(PLACE)), address)
    }

    #[inline(always)]
    fn is_of(&self, key: &EndpointKey) -> bool {
        let [high, low] = key.address.words();
        self.load(LOW) == low && self.load(HIGH) == high && vni(self.load(PLACE)) == key.vni
    }

    /// The row, if it is whole and of a key: what is read only now must be, too.
    #[inline(always)]
    fn read(&self, key: &EndpointKey) -> Option<Learned> {
        let [high, low] = key.address.words();
        let words = [low, high, self.load(PLACE), self.load(GENERATION)];
        let last = self.load(SEAL);
        if last << 16 != seal(words) << 16 || vni(words[PLACE]) != key.vni {
            return None;
        }
        Some(Learned {
            generation: words[GENERATION],
            used: self.load(USED),
            teach_until: self.load(TEACH_UNTIL),
            notice_at: self.load(NOTICE_AT),
            host: words[PLACE] as u32,
            vpc: (words[PLACE] >> 56 | last >> 48 << 8) as u32,
        })
    }
}

impl<W: WriteWords> Set<W> {
    fn free(&self, slot: u32) {
        self.headers.store(self.word, self.header() & !(0xff << (8 * slot)));
    }
}

impl<W: WriteWords> Place<W> {
    #[inline(always)]
    fn write(&self, key: &EndpointKey, row: &Learned) {
        let [high, low] = key.address.words();
        let vpc = u64::from(row.vpc);
        let place = vpc << 56 | u64::from(key.vni & 0xff_ffff) << 32 | u64::from(row.host);
        let words = [low, high, place, row.generation];
        for (at, word) in words.into_iter().enumerate() {
            self.line.store(self.at + at, word);
        }
        self.line.store(self.at + SEAL, seal(words) << 16 >> 16 | vpc >> 8 << 48);
        self.line.store(self.at + USED, row.used);
        self.line.store(self.at + TEACH_UNTIL, row.teach_until);
        self.line.store(self.at + NOTICE_AT, row.notice_at);
    }
}

#[inline(always)]
const fn vni(place: u64) -> u32 {
    (place >> 32) as u32 & 0xff_ffff
}

/// A sum of words whose lower 48 bits differ for any other ones, but by chance.
#[inline(always)]
const fn seal([low, high, place, generation]: [u64; 4]) -> u64 {
    let sum = (low ^ 0xd6e8_feb8_6659_fd93)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(high.wrapping_mul(0xff51_afd7_ed55_8ccd))
        .wrapping_add(place.wrapping_mul(0xa076_1d64_78bd_642f))
        .wrapping_add(generation.wrapping_mul(0xe703_7ed1_a0b4_28db));
    sum ^ sum >> 32
}

/// The bytes of a header that are a mark, as the highest bit of each.
#[inline(always)]
const fn equal(header: u64, mark: u64) -> u64 {
    let differing = header ^ mark.wrapping_mul(LOWEST);
    !(((differing & !HIGHEST).wrapping_add(!HIGHEST)) | differing | !HIGHEST)
}

/// The lowest byte whose highest bit is set.
#[inline(always)]
const fn lowest(bits: u64) -> u32 {
    let bit = (bits & bits.wrapping_neg()) >> 7;
    (bit.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32 % WAYS
}

/// How many highest bits are set.
#[inline(always)]
const fn count(bits: u64) -> u64 {
    (bits >> 7).wrapping_mul(LOWEST) >> 56
}
