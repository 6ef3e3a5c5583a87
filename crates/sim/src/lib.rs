//! A fleet in one process, in virtual time, that a seed decides.
//!
//! ```text
//!  seed ──► script ──► controller's core ──rows──► agents ──► tables
//!                        │ store in memory           │           │
//!                        └──── streams that break    events      ▼
//!  guests ──packets──► depart ──► underlay: delay, loss, cuts ──► wire_in ──► guests
//! ```
//!
//! What decides something is real: the packet's journey on real frames, the table of endpoints, the
//! controller's core with its planner, its desk and its store, the assembly and the checks of
//! updates, the translation of rows. What only carries it out is simulated: the underlay, streams,
//! interfaces, and the agent, which follows `mizar-agent` step by step.
//!
//! A run ([`run`]) plays a [`Scenario`]: a fleet of three to seven hosts, each with a kernel clock
//! of its own, and a script of what happens to them. What must hold always is checked always: no
//! packet reaches another VPC or an endpoint that has not its address, none is forwarded more than
//! seven times, no generation goes back, no host is sent a storm of control messages, nothing
//! panics, and where only management fails, no packet is lost. What must hold in the end is checked
//! in the end (`check.rs`). A scenario that fails is shrunk to the fewest steps that still fail
//! ([`shrink()`]).
//!
//! What this crate refuses: threads, clocks, files, and any order that the seed does not decide.

#![forbid(unsafe_code)]

mod act;
mod agent;
mod apply;
mod check;
mod controller;
mod defect;
mod frames;
mod generate;
mod host;
mod hostile;
mod leave;
mod random;
mod scenario;
mod shrink;
mod streams;
mod tables;
mod takeover;
mod traffic;
mod underlay;
mod world;

pub use defect::Defect;
pub use scenario::{Class, Scenario};
pub use shrink::shrink;
pub use world::{Failure, Outcome, Stats};

use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Plays a scenario to its end, or up to what must not be. `logs`: what happens is told in words.
pub fn run(scenario: &Scenario, defect: Defect, logs: bool) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| {
        World::new(scenario.clone(), defect, logs).map(World::run)
    }));
    let failed = |what: String| Outcome {
        failure: Some(Failure { at: 0, what }),
        trace: 0,
        stats: Stats::default(),
        streams: 0,
        log: Vec::new(),
    };
    match played {
        Ok(Some(outcome)) => outcome,
        Ok(None) => failed("the hosts' tables cannot be made".to_owned()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed(format!("panicked: {}", text.unwrap_or_default()))
        }
    }
}
