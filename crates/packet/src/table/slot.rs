//! What the words of a bucket and its header mean.
//!
//! ```text
//! header   version: 34 │ slot 2: 10 │ slot 1: 10 │ slot 0: 10      a slot: mark: 8, kind: 2
//! slot     low half of the address
//!          high half of the address
//!          VPC, low byte: 8 │ VNI: 24 │ interface or host: 32
//!          VPC, high bytes: 16 │ MAC address: 48
//!          generation
//! ```

use super::{SLOT_WORDS, SLOTS, Words};
use crate::Address;
use crate::tables::{Endpoint, EndpointKey, Port};

/// Bits of a header for one slot: its kind, and above it its mark.
const SLOT_BITS: u32 = 10;
const KIND_BITS: u32 = 2;
const MARK: u64 = 0xff;
/// Of a mark: the slot is used.
const USED: u64 = 0x80;
const VERSION: u64 = 1 << (SLOT_BITS * SLOTS as u32);

const LOW: usize = 0;
const HIGH: usize = 1;
const PLACE: usize = 2;
const MAC: usize = 3;
const GENERATION: usize = 4;

/// The kind of an endpoint that is here, with [`Port::SENT_OUT`].
const LOCAL_SENT_OUT: u64 = 0;

/// The header of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header(pub(super) u64);

impl Header {
    /// The mark of a used slot whose key has this hash, from bits that do not choose buckets.
    #[inline(always)]
    pub(super) const fn mark(hash: u64) -> u64 {
        USED | hash >> 24 & !USED & MARK
    }

    /// The mark of a slot; 0 if it is free.
    #[inline(always)]
    pub(super) const fn mark_of(self, slot: usize) -> u64 {
        self.0 >> (SLOT_BITS * slot as u32 + KIND_BITS) & MARK
    }

    /// The kind of row in a slot.
    #[inline(always)]
    pub(super) const fn kind_of(self, slot: usize) -> u64 {
        self.0 >> (SLOT_BITS * slot as u32) & ((1 << KIND_BITS) - 1)
    }

    /// The slots with a mark; free ones have 0.
    pub(super) fn marked(self, mark: u64) -> impl Iterator<Item = usize> {
        (0..SLOTS).filter(move |&slot| self.mark_of(slot) == mark)
    }

    /// The slots that are used.
    pub(super) fn used(self) -> impl Iterator<Item = usize> {
        (0..SLOTS).filter(move |&slot| self.mark_of(slot) != 0)
    }

    /// With a slot used, in the next version.
    pub(super) const fn with(self, slot: usize, mark: u64, kind: u64) -> Self {
        let Self(freed) = self.without(slot);
        Self(freed | (mark << KIND_BITS | kind) << (SLOT_BITS * slot as u32))
    }

    /// With a slot free, in the next version.
    pub(super) const fn without(self, slot: usize) -> Self {
        let bits = (1 << SLOT_BITS) - 1;
        Self((self.0 & !(bits << (SLOT_BITS * slot as u32))).wrapping_add(VERSION))
    }
}

/// A row as a slot and its header have it. Of an endpoint, only what its kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) kind: u64,
    pub(super) words: [u64; SLOT_WORDS],
}

impl Packed {
    /// A key and its row.
    pub(super) fn new(key: &EndpointKey, row: &Endpoint) -> Self {
        let local = row.kind == Endpoint::LOCAL;
        let kind = if local && row.flags & Port::SENT_OUT != 0 {
            LOCAL_SENT_OUT
        } else {
            u64::from(row.kind)
        };
        let place = if local { row.interface } else { row.host };
        let [a, b, c, d, e, f] = if local { row.mac } else { [0; 6] };
        let [vpc, vpc_2, vpc_3, _] = row.vpc.to_le_bytes();
        let vpc = u64::from(vpc);
        let mut words = [0; SLOT_WORDS];
        [words[HIGH], words[LOW]] = key.address.words();
        words[PLACE] = vpc << 56 | u64::from(key.vni & 0xff_ffff) << 32 | u64::from(place);
        words[MAC] = u64::from_le_bytes([a, b, c, d, e, f, vpc_2, vpc_3]);
        words[GENERATION] = row.generation;
        Self { kind, words }
    }

    /// What is in a slot, if the header stays the same.
    #[inline(always)]
    pub(super) fn load(line: impl Words, slot: usize, header: Header) -> Self {
        let mut words = [0; SLOT_WORDS];
        for (at, word) in words.iter_mut().enumerate() {
            *word = line.load(word_of(slot, at));
        }
        Self { kind: header.kind_of(slot), words }
    }

    /// Whether it is the row of a key.
    #[inline(always)]
    pub(super) fn is_of(&self, key: &EndpointKey) -> bool {
        let [high, low] = key.address.words();
        let words = &self.words;
        words[LOW] == low && words[HIGH] == high && self.vni() == key.vni
    }

    /// The key.
    pub(super) fn key(&self) -> EndpointKey {
        EndpointKey::new(self.vni(), Address::from_words([self.words[HIGH], self.words[LOW]]))
    }

    /// The row.
    #[inline(always)]
    pub(super) fn row(&self) -> Endpoint {
        let place = self.words[PLACE];
        let [a, b, c, d, e, f, vpc_2, vpc_3] = self.words[MAC].to_le_bytes();
        let sent_out = self.kind == LOCAL_SENT_OUT;
        let kind = if sent_out { Endpoint::LOCAL } else { self.kind as u32 };
        let local = kind == Endpoint::LOCAL;
        Endpoint {
            generation: self.words[GENERATION],
            kind,
            interface: if local { place as u32 } else { 0 },
            host: if local { 0 } else { place as u32 },
            vpc: u32::from_le_bytes([(place >> 56) as u8, vpc_2, vpc_3, 0]),
            mac: [a, b, c, d, e, f],
            flags: if sent_out { Port::SENT_OUT } else { 0 },
        }
    }

    #[inline(always)]
    fn vni(&self) -> u32 {
        (self.words[PLACE] >> 32) as u32 & 0xff_ffff
    }
}

/// The word of a bucket that is a word of a slot.
#[inline(always)]
pub(super) const fn word_of(slot: usize, word: usize) -> usize {
    slot * SLOT_WORDS + word
}
