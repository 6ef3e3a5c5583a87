//! What the whole way between two guests on two hosts costs, beside the same hosts without overlay
//! and with VXLAN.
//!
//! All set-ups stand at once and are measured in turn, round by round; what counts is the ratio
//! within a round. One pinned thread holds both guests' sockets, so that the time of its CPU is
//! that of all that happens to the packets ([`cpu`]).

mod cpu;
mod setups;
mod traffic;

use crate::Effort;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result, anyhow};
use cpu::Cpu;
use setups::{Mizar, Nic, Setup};
use std::time::Duration;
use traffic::Costs;

/// Figures of NICs as wires are.
pub(crate) const WIRE: &[&str] = &[
    "path.wire.tcp_per_core.vs_routing",
    "path.wire.tcp_per_core.vs_vxlan",
    "path.wire.rr_cpu.vs_routing",
    "path.wire.udp_cpu.vs_routing",
];

/// Figures of NICs as veths are by default.
pub(crate) const DEFAULT: &[&str] = &[
    "path.default.tcp_per_core.vs_routing",
    "path.default.tcp_per_core.vs_vxlan",
    "path.default.rr_cpu.vs_routing",
    "path.default.udp_cpu.vs_routing",
];

/// Measures figures of [`WIRE`].
pub(crate) fn run_wire(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let rounds = rounds(Nic::Wire, effort)?;
    ids.iter().map(|id| figure(id, &rounds)).collect()
}

/// Measures figures of [`DEFAULT`].
pub(crate) fn run_default(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let rounds = rounds(Nic::Default, effort)?;
    ids.iter().map(|id| figure(id, &rounds)).collect()
}

/// The costs of each set-up in one round.
struct Round {
    mizar: Costs,
    routing: Costs,
    vxlan: Costs,
}

fn rounds(nic: Nic, effort: Effort) -> Result<Vec<Round>> {
    let routing = setups::routing(nic).context("hosts that route")?;
    let vxlan = setups::vxlan(nic).context("hosts with VXLAN")?;
    let mizar = Mizar::new(nic).context("hosts with Mizar")?;
    let (count, each) = if effort.quick {
        (5, Duration::from_millis(300))
    } else {
        (15, Duration::from_millis(700))
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let cpu = Cpu::pin()?;
            for setup in [&routing, &vxlan, &mizar.setup] {
                traffic::wait(&setup.guests)?;
            }
            (0..count).map(|_| round(&cpu, each, &routing, &vxlan, &mizar)).collect()
        });
        thread.join().map_err(|_| anyhow!("the measuring thread panicked"))?
    })
}

fn round(
    cpu: &Cpu,
    each: Duration,
    routing: &Setup,
    vxlan: &Setup,
    mizar: &Mizar,
) -> Result<Round> {
    let routing = traffic::measure(&routing.guests, cpu, each).context("hosts that route")?;
    let before = mizar.sent()?;
    let costs = traffic::measure(&mizar.setup.guests, cpu, each).context("hosts with Mizar")?;
    setups::check_direct(before, mizar.sent()?)?;
    let vxlan = traffic::measure(&vxlan.guests, cpu, each).context("hosts with VXLAN")?;
    Ok(Round { mizar: costs, routing, vxlan })
}

fn figure(id: &'static str, rounds: &[Round]) -> Result<Measurement> {
    let (what, other) = id.split('.').skip(2).zip(id.split('.').skip(3)).next().context(id)?;
    let (cost, unit): (fn(&Costs) -> f64, _) = match what {
        "tcp_per_core" => (|costs| costs.tcp_gbits, "Gb/s per core"),
        "rr_cpu" => (|costs| costs.rr_microseconds, "µs"),
        _ => (|costs| costs.udp_nanoseconds, "ns"),
    };
    let (against, name): (fn(&Round) -> &Costs, _) = match other {
        "vs_vxlan" => (|round| &round.vxlan, "bridge and VXLAN"),
        _ => (|round| &round.routing, "hosts that route"),
    };
    let ratios: Vec<_> =
        rounds.iter().map(|round| cost(&round.mizar) / cost(against(round))).collect();
    let baseline: Vec<_> = rounds.iter().map(|round| cost(against(round))).collect();
    let bar = match (id.starts_with("path.wire"), what, other) {
        (true, "tcp_per_core", "vs_routing") => Some(Bar::AtLeast(0.95)),
        (true, "tcp_per_core", "vs_vxlan") => Some(Bar::AtLeast(1.2)),
        (true, "rr_cpu" | "udp_cpu", _) => Some(Bar::AtMost(0.98)),
        _ => None,
    };
    let ratio = middle(&ratios);
    Ok(Measurement {
        id,
        value: ratio.median,
        unit: "×",
        bar,
        baseline: Some(Baseline { name, value: middle(&baseline).median, unit }),
        spread: ratio.spread,
    })
}
