//! What the kernel programs cost a packet, in nanoseconds of one CPU.
//!
//! The very programs that the agent loads are run by the kernel's test run, over full tables, with
//! a frame that takes the same way each time: counters prove it. Frames of XDP are restored by a
//! wrapper in the kernel ([`wrapper`]), which costs the same with an empty program, and that is
//! subtracted. A guest's frame cannot be restored, since the kernel encapsulates an skb only once:
//! each is run on its own, timed by the kernel's own statistics ([`fresh`]), less what an empty
//! program takes. There every run follows a system call, so caches are colder than in a loop.

mod fresh;
mod traffic;
mod world;
mod wrapper;

use crate::Effort;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Result, bail};
use traffic::Way;
pub(crate) use traffic::{inner, tunnelled};
use world::World;

/// All figures.
pub(crate) const IDS: &[&str] = &[
    "packet.bounce.one_ns",
    "packet.bounce.many_ns",
    "packet.divide.one_ns",
    "packet.divide.many_ns",
    "packet.unwrap.one_ns",
    "packet.unwrap.many_ns",
    "packet.depart.one_ns",
    "packet.depart.many_ns",
    "packet.not_ours_ns",
];

/// Endpoints, each with a flow, of the figures called `many`.
const MANY: u32 = 65_536;

/// Measures the figures that are wanted.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    ids.iter().map(|id| measure(id, effort)).collect()
}

fn measure(id: &'static str, effort: Effort) -> Result<Measurement> {
    let rounds = if effort.quick { 5 } else { 15 };
    // The bars for one flow and for many.
    let (way, one, many) = match id.split('.').nth(1) {
        Some("bounce") => (Way::Bounce, 60.0, 90.0),
        Some("divide") => (Way::Divide, 90.0, 130.0),
        Some("unwrap") => (Way::Unwrap, 80.0, 110.0),
        Some("depart") => (Way::Depart, 200.0, 240.0),
        Some("not_ours_ns") => (Way::NotOurs, 10.0, 10.0),
        _ => bail!("{id} is no figure of packets"),
    };
    let (flows, bar) = if id.ends_with(".many_ns") { (MANY, many) } else { (1, one) };
    let world = &World::new(way, flows)?;
    let (with, without) = match way {
        Way::Depart => fresh::rounds(world, way, rounds)?,
        Way::Bounce | Way::Divide | Way::Unwrap | Way::NotOurs => {
            wrapper::rounds(world, way, rounds)?
        }
    };
    let empty = middle(&without).median;
    let rounds: Vec<_> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    let middle = middle(&rounds);
    Ok(Measurement {
        id,
        value: middle.median,
        unit: "ns",
        bar: Some(Bar::AtMost(bar)),
        baseline: Some(Baseline { name: "subtracted: an empty program", value: empty, unit: "ns" }),
        spread: middle.spread,
    })
}
