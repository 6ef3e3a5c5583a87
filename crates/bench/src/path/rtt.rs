//! What a request and its response cost by way of others, in steady state.
//!
//! Four hosts on one switch: the client's, the server's, a bouncer and a divider. Three pairs of
//! guests, in VPCs of their own, of which the hosts may learn locations in the first only: in the
//! others the quota of learned rows is 0, so every packet takes the way of a first one. Four hosts'
//! work is charged to one CPU, as in [`super`], and that of a switch that does next to none.

use super::mizar::{Mizar, Pair};
use super::setups::{self, Setup};
use super::traffic::{self, Guests};
use super::underlay::{Nic, Underlay};
use crate::Effort;
use crate::cpu::Cpu;
use crate::report::{Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result, ensure};
use mizar_packet::count::Path;
use mizar_packet::tables::Bucket;
use std::time::Duration;

/// All figures.
pub(crate) const IDS: &[&str] =
    &["rtt.direct.vs_routing", "rtt.bouncer.vs_direct", "rtt.divider.vs_direct"];

const BOUNCER: u8 = 3;
const DIVIDER: u8 = 4;
/// The pairs: packets go direct, by way of the bouncer, by way of the divider and the bouncer.
const PAIRS: [Pair; 3] = [
    Pair { bouncer: BOUNCER, divider: None, learns: [true; 2] },
    Pair { bouncer: BOUNCER, divider: None, learns: [false; 2] },
    Pair { bouncer: BOUNCER, divider: Some(DIVIDER), learns: [false; 2] },
];
/// Requests of one round: an endpoint may not send many more packets otherwise than direct.
const REQUESTS: usize = 4000;

/// Measures the figures that are wanted.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let count = if effort.quick { 7 } else { 31 };
    let plain = Underlay::switch(Nic::Wire, 2)?.without_mizar()?;
    let routing = setups::routing(plain).context("hosts that route")?;
    let mizar = Mizar::new(Underlay::switch(Nic::Wire, 4)?, &PAIRS).context("hosts with Mizar")?;
    let rounds = super::pinned(|cpu| {
        for guests in mizar.guests.iter().chain([&routing.guests]) {
            traffic::wait(guests)?;
        }
        (0..count).map(|_| round(cpu, &routing, &mizar)).collect::<Result<Vec<_>>>()
    })?;
    Ok(ids.iter().map(|id| figure(id, &rounds)).collect())
}

/// Microseconds of CPU time of a request and its response.
struct Round {
    routing: f64,
    direct: f64,
    bouncer: f64,
    divider: f64,
}

fn round(cpu: &Cpu, routing: &Setup, mizar: &Mizar) -> Result<Round> {
    // As many tokens for packets that do not go direct as a round takes.
    let refill = REQUESTS as u64 * 1000 / Bucket::RATE;
    std::thread::sleep(Duration::from_millis(refill));
    let of = |pair: usize| {
        let guests: &Guests = mizar.guests.get(pair).context("no such pair")?;
        let mut before = 0;
        let microseconds = traffic::round_trip(guests, cpu, REQUESTS, || {
            before = went(mizar, pair)?;
            Ok(())
        })?;
        let went = went(mizar, pair)? - before;
        let all = 2 * REQUESTS as u64;
        ensure!(went * 100 >= all * 98, "only {went} of {all} packets went the way of {pair}");
        Ok(microseconds)
    };
    Ok(Round {
        routing: traffic::round_trip(&routing.guests, cpu, REQUESTS, || Ok(()))?,
        direct: of(0)?,
        bouncer: of(1)?,
        divider: of(2)?,
    })
}

/// Packets of a pair that went its way, which for those that go direct is their senders' word.
fn went(mizar: &Mizar, pair: usize) -> Result<u64> {
    let count = |host, path| mizar.counted(host, pair, path);
    Ok(match pair {
        0 => count(1, Path::SentDirect)? + count(2, Path::SentDirect)?,
        1 => count(BOUNCER, Path::Bounced)?,
        _ => count(DIVIDER, Path::Divided)?.min(count(BOUNCER, Path::Bounced)?),
    })
}

fn figure(id: &'static str, rounds: &[Round]) -> Measurement {
    type Of = fn(&Round) -> f64;
    let (way, against, name): (Of, Of, _) = match id {
        "rtt.direct.vs_routing" => (|it| it.direct, |it| it.routing, "hosts that route"),
        "rtt.bouncer.vs_direct" => (|it| it.bouncer, |it| it.direct, "direct"),
        _ => (|it| it.divider, |it| it.direct, "direct"),
    };
    let of = |value: &dyn Fn(&Round) -> f64| middle(&rounds.iter().map(value).collect::<Vec<_>>());
    let ratio = of(&|round| way(round) / against(round));
    let baseline = Baseline { name, value: of(&against).median, unit: "µs" };
    let (value, spread) = (ratio.median, ratio.spread);
    Measurement { id, value, unit: "×", bar: None, baseline: Some(baseline), spread }
}
