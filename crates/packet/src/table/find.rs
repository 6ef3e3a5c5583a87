//! Looking up a row while somebody may be writing.

use super::slot::{Header, Packed};
use super::{Lines, Probe, SLOTS, Shape, Words};
use crate::tables::{Endpoint, EndpointKey};

/// How often a look-up is tried while rows are written under it.
pub const TRIES: usize = 3;

/// The row of `key`.
#[inline(always)]
pub fn find<L: Lines>(lines: &L, key: &EndpointKey) -> Option<Endpoint> {
    let probe = Shape::load(lines.line(0)?).probe(key);
    let first = lines.line(probe.lines[0])?;
    let second = lines.line(probe.lines[1])?;
    for _ in 0..TRIES {
        match attempt(first, second, &probe, key) {
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

/// A row moves from one bucket to the other by being written there first. So one that was in
/// neither is in the table only if it came to the first bucket after that was looked at.
#[inline(always)]
fn attempt<W: Words>(first: W, second: W, probe: &Probe, key: &EndpointKey) -> Seen {
    let first_header = Header::load(first);
    if let Some(seen) = look(first, first_header, probe, key) {
        return seen;
    }
    let second_header = Header::load(second);
    if let Some(seen) = look(second, second_header, probe, key) {
        return seen;
    }
    second.order();
    if Header::load(first) == first_header && Header::load(second) == second_header {
        Seen::Nothing
    } else {
        Seen::Change
    }
}

/// Looks for a key in a bucket.
#[inline(always)]
fn look<W: Words>(line: W, header: Header, probe: &Probe, key: &EndpointKey) -> Option<Seen> {
    line.order();
    for slot in 0..SLOTS {
        if header.mark_of(slot) != probe.mark {
            continue;
        }
        let packed = Packed::load(line, slot, header);
        if packed.is_of(key) {
            line.order();
            let same = Header::load(line) == header;
            return Some(if same { Seen::Row(packed.row()) } else { Seen::Change });
        }
    }
    None
}

/// All rows. One that changes meanwhile may be missed, or be there twice.
pub fn rows<L: Lines>(lines: L) -> impl Iterator<Item = (EndpointKey, Endpoint)> {
    let buckets = lines.line(0).map_or(0, |line| Shape::load(line).buckets);
    (1..=buckets).filter_map(move |number| lines.line(number)).flat_map(bucket)
}

fn bucket(line: impl Words) -> impl Iterator<Item = (EndpointKey, Endpoint)> {
    let mut found = [None; SLOTS];
    for _ in 0..TRIES {
        let header = Header::load(line);
        line.order();
        for (slot, found) in found.iter_mut().enumerate() {
            let used = header.mark_of(slot) != 0;
            *found = used.then(|| Packed::load(line, slot, header));
        }
        line.order();
        if Header::load(line) == header {
            break;
        }
        found = [None; SLOTS];
    }
    found.into_iter().flatten().map(|packed| (packed.key(), packed.row()))
}
