//! What a bouncer on the way costs TCP on an underlay that is the limit itself: 1 Gb/s.
//!
//! Three hosts on one switch; the NICs of the guests' hosts send no faster than that (TBF), and so
//! does the bouncer's, which only sends on what has come. Two pairs of guests: between the first
//! packets go direct; the first host of the other may not learn where its peer is, so that what it
//! sends goes by way of the bouncer for ever. Acknowledgements go back direct.

use super::mizar::{Mizar, Pair};
use super::traffic::{self, Throughput};
use super::underlay::{Nic, Underlay};
use crate::Effort;
use crate::cpu::Cpu;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result, ensure};
use mizar_packet::count::Path;
use std::time::Duration;

/// All figures.
pub(crate) const IDS: &[&str] = &["path.capped.bouncer_vs_direct", "path.capped.bouncer_ns"];

const BOUNCER: u8 = 3;
/// The pairs: packets go direct, by way of the bouncer.
const PAIRS: [Pair; 2] = [
    Pair { bouncer: BOUNCER, divider: None, learns: [true; 2] },
    Pair { bouncer: BOUNCER, divider: None, learns: [false, true] },
];
/// Bytes of TCP in a full segment: a packet of 1500, less what wraps it and room for 24 bytes of
/// options (74), less IPv4 (20) and TCP with time stamps (32).
const SEGMENT: f64 = 1374.0;

/// Measures the figures that are wanted.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let (count, each) = if effort.quick {
        (5, Duration::from_millis(800))
    } else {
        (31, Duration::from_millis(800))
    };
    let underlay = Underlay::switch(Nic::Wire, BOUNCER)?;
    for host in &underlay.hosts[..2] {
        host.run("tc qdisc add dev nic root tbf rate 1gbit burst 128kb limit 1mb")?;
    }
    let mizar = Mizar::new(underlay, &PAIRS).context("hosts with Mizar")?;
    let rounds = super::pinned(|cpu| {
        for guests in &mizar.guests {
            traffic::wait(guests)?;
        }
        (0..count).map(|_| round(cpu, each, &mizar)).collect::<Result<Vec<_>>>()
    })?;
    Ok(ids.iter().map(|id| figure(id, &rounds)).collect())
}

struct Round {
    direct: Throughput,
    bouncer: Throughput,
}

fn round(cpu: &Cpu, each: Duration, mizar: &Mizar) -> Result<Round> {
    let of = |pair: usize, way: (u8, Path), other: (u8, Path)| {
        let guests = mizar.guests.get(pair).context("no such pair")?;
        let count = |(host, path)| mizar.counted(host, pair, path);
        let mut before = (0, 0);
        let throughput = traffic::throughput(guests, cpu, each, || {
            before = (count(way)?, count(other)?);
            Ok(())
        })?;
        let went = (count(way)? - before.0, count(other)? - before.1);
        let right = went.0 > 0 && went.0 * 100 >= (went.0 + went.1) * 98;
        ensure!(right, "{} packets of pair {pair} went their way, {} another", went.0, went.1);
        Ok(throughput)
    };
    let (direct, bounced) = ((1, Path::SentDirect), (1, Path::SentToBouncer));
    Ok(Round { direct: of(0, direct, bounced)?, bouncer: of(1, bounced, direct)? })
}

fn figure(id: &'static str, rounds: &[Round]) -> Measurement {
    let of = |value: &dyn Fn(&Round) -> f64| middle(&rounds.iter().map(value).collect::<Vec<_>>());
    let (own, unit, bar, against, of_that) = match id {
        "path.capped.bouncer_vs_direct" => {
            let ratio = of(&|round| round.bouncer.gbits / round.direct.gbits);
            (ratio, "×", Some(Bar::AtLeast(0.98)), of(&|round| round.direct.gbits), "Gb/s")
        }
        _ => {
            let more = |round: &Round| segment(&round.bouncer) - segment(&round.direct);
            (of(&more), "ns", None, of(&|round| segment(&round.direct)), "ns")
        }
    };
    let baseline = Some(Baseline { name: "direct", value: against.median, unit: of_that });
    Measurement { id, value: own.median, unit, bar, baseline, spread: own.spread }
}

/// Nanoseconds of CPU time for each full segment.
fn segment(throughput: &Throughput) -> f64 {
    throughput.spent / (throughput.bytes as f64 / SEGMENT)
}
