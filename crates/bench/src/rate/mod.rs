//! How many frames a second a bouncer's core forwards, and how that changes with more bouncers.
//!
//! The kernel itself makes the frames ([`generator`]) and sends them into a host's NIC, whose XDP
//! program re-addresses them and sends them out again, where they are counted and dropped. One core
//! does all of that, so what is measured is less than what the bouncer alone would do; a NIC that
//! sends every frame back as it is shows how much less. Beside it: a host that routes, and one that
//! takes frames out of one VXLAN and puts them into another.

mod generator;
mod hosts;
mod spread;

use crate::Effort;
use crate::report::{Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result};
use hosts::Host;
use spread::Spread;

/// All figures.
pub(crate) const IDS: &[&str] = &[
    "rate.bounce_mpps",
    "rate.bounce_mpps.vs_routing",
    "rate.bounce_mpps.vs_vxlan",
    "rate.bounce_ns.1",
    "rate.bounce_ns.2",
    "rate.bounce_ns.4",
    "rate.bounce_ns.8",
    "rate.imbalance.1",
    "rate.imbalance.2",
    "rate.imbalance.4",
    "rate.imbalance.8",
];

/// Endpoints of the network, each with a flow.
const ENDPOINTS: u32 = 65_536;
/// How many bouncers it has.
const BOUNCERS: [u16; 4] = [1, 2, 4, 8];

/// Measures the figures that are wanted.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let spreads = BOUNCERS.map(Spread::over).into_iter().collect::<Result<Vec<_>>>()?;
    let timed = ids.iter().any(|id| !id.starts_with("rate.imbalance"));
    let rounds = if timed { rounds(&spreads, effort)? } else { Vec::new() };
    ids.iter().map(|id| figure(id, &spreads, &rounds)).collect()
}

/// Nanoseconds of CPU time for each frame.
struct Round {
    hairpin: f64,
    routing: f64,
    vxlan: f64,
    /// At one of so many bouncers, in the order of [`BOUNCERS`].
    bouncer: Vec<f64>,
}

fn rounds(spreads: &[Spread], effort: Effort) -> Result<Vec<Round>> {
    let (count, frames) = if effort.quick { (5, 100_000) } else { (15, 400_000) };
    let hairpin = Host::hairpin().context("a NIC that sends everything back")?;
    let routing = Host::routing().context("a host that routes")?;
    let vxlan = Host::vxlan().context("a host between two VXLANs")?;
    let bouncer = Host::bouncer(spreads).context("a bouncer")?;
    for host in [&hairpin, &routing, &vxlan, &bouncer] {
        host.wait()?;
    }
    let round = |_| {
        Ok(Round {
            hairpin: hairpin.measure(0, frames).context("a NIC that sends everything back")?,
            routing: routing.measure(0, frames).context("a host that routes")?,
            vxlan: vxlan.measure(0, frames).context("a host between two VXLANs")?,
            bouncer: (0..spreads.len())
                .map(|number| bouncer.measure(number, frames).context("a bouncer"))
                .collect::<Result<_>>()?,
        })
    };
    (0..count).map(round).collect()
}

fn figure(id: &'static str, spreads: &[Spread], rounds: &[Round]) -> Result<Measurement> {
    let of = |value: &dyn Fn(&Round) -> f64| middle(&rounds.iter().map(value).collect::<Vec<_>>());
    let mpps = |nanoseconds: f64| 1e3 / nanoseconds;
    let bouncer = |round: &Round, number: usize| round.bouncer.get(number).copied();
    let alone = |round: &Round| bouncer(round, 0).unwrap_or(f64::NAN);
    // How many bouncers, of the figures that end in that.
    let many = || {
        let count: u16 = id.rsplit('.').next().and_then(|word| word.parse().ok())?;
        BOUNCERS.iter().position(|it| *it == count)
    };
    let (middle, unit, name, baseline, of_that) = match id {
        "rate.bounce_mpps" => {
            let floor = of(&|round| mpps(round.hairpin)).median;
            (of(&|round| mpps(alone(round))), "Mpps", "a NIC that sends all back", floor, "Mpps")
        }
        "rate.bounce_mpps.vs_routing" => {
            let ratio = of(&|round| round.routing / alone(round));
            (ratio, "×", "a host that routes", of(&|round| mpps(round.routing)).median, "Mpps")
        }
        "rate.bounce_mpps.vs_vxlan" => {
            let ratio = of(&|round| round.vxlan / alone(round));
            (ratio, "×", "between two VXLANs", of(&|round| mpps(round.vxlan)).median, "Mpps")
        }
        _ if id.starts_with("rate.bounce_ns") => {
            let number = many().context(id)?;
            let own = of(&|round| bouncer(round, number).unwrap_or(f64::NAN));
            (own, "ns", "a NIC that sends all back", of(&|round| round.hairpin).median, "ns")
        }
        _ => {
            let value = spreads.get(many().context(id)?).context(id)?.imbalance();
            return Ok(Measurement {
                id,
                value,
                unit: "×",
                bar: None,
                baseline: None,
                spread: 0.0,
            });
        }
    };
    let baseline = Some(Baseline { name, value: baseline, unit: of_that });
    Ok(Measurement { id, value: middle.median, unit, bar: None, baseline, spread: middle.spread })
}
