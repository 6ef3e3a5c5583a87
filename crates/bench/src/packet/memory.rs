//! What one load costs of a table that is as large as that of endpoints in the figures called
//! `many`: the least that a look-up there can take, wherever the caches end.

use super::MANY;
use anyhow::{Result, ensure};
use mizar_packet::table::Shape;
use rustix::time::{ClockId, clock_gettime};

/// Loads of one round.
const LOADS: u32 = 500_000;
/// Words of a line of the table.
const WORDS: usize = 32;

/// Nanoseconds of CPU time for each load, where each says where the next one is.
pub(super) fn rounds(count: usize) -> Result<Vec<f64>> {
    let lines = way(Shape::lines(MANY));
    let mut at = 0;
    let mut rounds = Vec::new();
    for round in 0..=count {
        let start = spent();
        for _ in 0..LOADS {
            at = lines[at as usize][0];
        }
        let taken = spent() - start;
        ensure!((at as usize) < lines.len(), "the way leads out of the lines");
        // The first round warms caches up.
        if round > 0 {
            rounds.push(taken / f64::from(LOADS));
        }
    }
    Ok(rounds)
}

/// Lines in memory, each with the number of the next: one way through all of them, in no order.
fn way(count: u32) -> Vec<[u32; WORDS]> {
    let mut order: Vec<u32> = (0..count).collect();
    let mut random = 1u64;
    for at in (1..order.len()).rev() {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        order.swap(at, (random >> 33) as usize % (at + 1));
    }
    let mut lines = vec![[0; WORDS]; order.len()];
    for (at, next) in order.iter().zip(order.iter().cycle().skip(1)) {
        lines[*at as usize][0] = *next;
    }
    lines
}

fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_leads_through_all_lines() {
        let lines = way(1000);
        let (mut at, mut seen) = (0, vec![false; lines.len()]);
        for _ in 0..lines.len() {
            assert!(!std::mem::replace(&mut seen[at as usize], true), "line {at} twice");
            at = lines[at as usize][0];
        }
    }
}
