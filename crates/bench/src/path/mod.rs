//! What the whole way between two guests on two hosts costs, beside the same hosts connected in
//! other ways ([`setups::WAYS`]), and guests without hosts between them.
//!
//! All set-ups stand at once and are measured in turn, round by round; what counts is the ratio
//! within a round. One pinned thread holds both guests' sockets, so that the time of its CPU is
//! that of all that happens to the packets ([`crate::cpu`]).

pub(crate) mod capped;
mod mizar;
mod ovs;
pub(crate) mod rtt;
mod setups;
mod traffic;
mod underlay;

use crate::Effort;
use crate::cpu::Cpu;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result, anyhow, ensure};
use mizar::{Mizar, Pair};
use mizar_packet::count::Path;
use setups::{Setup, WAYS, Way};
use std::time::Duration;
use traffic::{Costs, Guests, Wanted};
use underlay::{Nic, Underlay};
pub(crate) use underlay::{attach_xdp, index, pass};

/// Figures of NICs as wires are.
pub(crate) const WIRE: &[&str] = &[
    "path.wire.tcp_per_core.vs_routing",
    "path.wire.tcp_per_core.vs_vxlan",
    "path.wire.tcp_per_core.vs_flannel",
    "path.wire.tcp_per_core.vs_ovs",
    "path.wire.tcp_per_core.vs_bare",
    "path.wire.tcp8_per_core.vs_routing",
    "path.wire.tcp8_per_core.vs_vxlan",
    "path.wire.tcp8_per_core.vs_flannel",
    "path.wire.tcp8_per_core.vs_ovs",
    "path.wire.tcp8_per_core.vs_bare",
    "path.wire.rr_cpu.vs_routing",
    "path.wire.rr_cpu.vs_vxlan",
    "path.wire.rr_cpu.vs_flannel",
    "path.wire.rr_cpu.vs_ovs",
    "path.wire.udp_cpu.vs_routing",
    "path.wire.udp_cpu.vs_vxlan",
    "path.wire.udp_cpu.vs_flannel",
    "path.wire.udp_cpu.vs_ovs",
];

/// Figures of the same with jumbo frames.
pub(crate) const WIRE_JUMBO: &[&str] = &[
    "path.wire9000.tcp_per_core.vs_routing",
    "path.wire9000.tcp_per_core.vs_vxlan",
    "path.wire9000.tcp_per_core.vs_bare",
    "path.wire9000.tcp8_per_core.vs_routing",
    "path.wire9000.tcp8_per_core.vs_vxlan",
    "path.wire9000.tcp8_per_core.vs_bare",
];

/// Figures of NICs as veths are by default.
pub(crate) const DEFAULT: &[&str] = &[
    "path.default.tcp_per_core.vs_routing",
    "path.default.tcp_per_core.vs_vxlan",
    "path.default.tcp_per_core.vs_flannel",
    "path.default.tcp_per_core.vs_bare",
    "path.default.tcp8_per_core.vs_routing",
    "path.default.tcp8_per_core.vs_vxlan",
    "path.default.tcp8_per_core.vs_flannel",
    "path.default.tcp8_per_core.vs_bare",
    "path.default.rr_cpu.vs_routing",
    "path.default.rr_cpu.vs_vxlan",
    "path.default.rr_cpu.vs_flannel",
    "path.default.udp_cpu.vs_routing",
    "path.default.udp_cpu.vs_vxlan",
    "path.default.udp_cpu.vs_flannel",
];

/// Figures of the same with jumbo frames.
pub(crate) const DEFAULT_JUMBO: &[&str] = &[
    "path.default9000.tcp_per_core.vs_routing",
    "path.default9000.tcp_per_core.vs_vxlan",
    "path.default9000.tcp_per_core.vs_bare",
    "path.default9000.tcp8_per_core.vs_routing",
    "path.default9000.tcp8_per_core.vs_vxlan",
    "path.default9000.tcp8_per_core.vs_bare",
];

/// Guests whose packets go direct; the first host is bouncer and divider.
const DIRECT: Pair = Pair { bouncer: 1, divider: None, learns: [true; 2] };

/// Measures figures of [`WIRE`].
pub(crate) fn run_wire(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    figures(ids, Nic::Wire, effort)
}

/// Measures figures of [`WIRE_JUMBO`].
pub(crate) fn run_wire_jumbo(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    figures(ids, Nic::WireJumbo, effort)
}

/// Measures figures of [`DEFAULT`].
pub(crate) fn run_default(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    figures(ids, Nic::Default, effort)
}

/// Measures figures of [`DEFAULT_JUMBO`].
pub(crate) fn run_default_jumbo(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    figures(ids, Nic::DefaultJumbo, effort)
}

/// Looks at an agent, by its process and where it pins, while a guest of its host sends by TCP.
pub(crate) fn during_tcp<T>(look: impl FnOnce(u32, &std::path::Path) -> Result<T>) -> Result<T> {
    const TIME: Duration = Duration::from_secs(2);
    let mizar = Mizar::new(Underlay::link(Nic::Wire)?, &[DIRECT])?;
    let guests = mizar.guests.first().context("no guests")?;
    let (agent, pins) = mizar.first_agent()?;
    let (begun, beginning) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            traffic::wait(guests)?;
            traffic::throughput(guests, &Cpu::pin()?, TIME, || Ok(begun.send(())?))
        });
        // If it does not begin, it says why.
        let seen = beginning.recv().map_err(Into::into).and_then(|()| {
            std::thread::sleep(TIME / 2);
            look(agent, &pins)
        });
        sending.join().map_err(|_| anyhow!("the sending thread panicked"))??;
        seen
    })
}

/// Does something in a thread that has a CPU of its own.
fn pinned<T: Send>(work: impl FnOnce(&Cpu) -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| work(&Cpu::pin()?));
        thread.join().map_err(|_| anyhow!("the measuring thread panicked"))?
    })
}

/// The costs of each set-up in one round.
struct Round {
    mizar: Costs,
    /// In the order of the set-ups.
    others: Vec<Costs>,
}

fn figures(ids: &[&'static str], nic: Nic, effort: Effort) -> Result<Vec<Measurement>> {
    let is_wanted = |way: &Way| ids.iter().any(|id| id.ends_with(way.word));
    let others = WAYS.iter().filter(|way| is_wanted(way)).filter_map(|way| {
        let setup = way.set_up(nic).with_context(|| way.name.to_owned());
        setup.transpose().map(|setup| Ok((way, setup?)))
    });
    let others = others.collect::<Result<Vec<_>>>()?;
    let mizar = Mizar::new(Underlay::link(nic)?, &[DIRECT]).context("hosts with Mizar")?;
    let (count, each) = if effort.quick {
        (5, Duration::from_millis(300))
    } else {
        (15, Duration::from_millis(500))
    };
    let wants = |word: &str| ids.iter().any(|id| id.split('.').nth(2) == Some(word));
    let wanted = Wanted {
        datagrams: wants("rr_cpu") || wants("udp_cpu"),
        tcp: wants("tcp_per_core"),
        tcp8: wants("tcp8_per_core"),
    };
    let rounds = pinned(|cpu| {
        for guests in others.iter().map(|(_, setup)| &setup.guests).chain(&mizar.guests) {
            guests.carriers.iter().try_for_each(|carrier| cpu.hold(*carrier))?;
            traffic::wait(guests)?;
        }
        (0..count)
            .map(|_| round(&others, &mizar, |guests| traffic::measure(guests, cpu, each, wanted)))
            .collect::<Result<Vec<_>>>()
    })?;
    let figures = ids.iter().filter_map(|id| {
        let other = others.iter().position(|(way, _)| id.ends_with(way.word))?;
        Some(figure(id, others[other].0.name, &rounds, other))
    });
    Ok(figures.collect())
}

fn round(
    others: &[(&Way, Setup)],
    mizar: &Mizar,
    measure: impl Fn(&Guests) -> Result<Costs>,
) -> Result<Round> {
    let before = sent(mizar)?;
    let guests = mizar.guests.first().context("no guests")?;
    let costs = measure(guests).context("hosts with Mizar")?;
    check_direct(before, sent(mizar)?)?;
    let of = |(way, setup): &(&Way, Setup)| measure(&setup.guests).context(way.name);
    Ok(Round { mizar: costs, others: others.iter().map(of).collect::<Result<_>>()? })
}

/// Buffers of the first guest that were sent direct, and all that were sent.
fn sent(mizar: &Mizar) -> Result<(u64, u64)> {
    let count = |path| mizar.counted(1, 0, path);
    let direct = count(Path::SentDirect)?;
    Ok((direct, direct + count(Path::SentToBouncer)? + count(Path::Missed)?))
}

/// Fails if packets have not gone the way that is to be measured.
fn check_direct(before: (u64, u64), after: (u64, u64)) -> Result<()> {
    let (direct, all) = (after.0 - before.0, after.1 - before.1);
    ensure!(all > 0 && direct * 100 >= all * 98, "only {direct} of {all} buffers went direct");
    Ok(())
}

/// A figure of Mizar beside one of the others, by its place in a round.
fn figure(id: &'static str, name: &'static str, rounds: &[Round], other: usize) -> Measurement {
    let mut words = id.split('.').skip(1);
    let [nic, what, against] = [(); 3].map(|()| words.next().unwrap_or_default());
    let (cost, unit): (fn(&Costs) -> f64, _) = match what {
        "tcp_per_core" => (|costs| costs.tcp_gbits, "Gb/s per core"),
        "tcp8_per_core" => (|costs| costs.tcp8_gbits, "Gb/s per core"),
        "rr_cpu" => (|costs| costs.rr_microseconds, "µs"),
        _ => (|costs| costs.udp_nanoseconds, "ns"),
    };
    let of = |value: &dyn Fn(&Round) -> f64| middle(&rounds.iter().map(value).collect::<Vec<_>>());
    let bar = match (nic, what, against) {
        ("wire", "tcp_per_core", "vs_routing") => Some(Bar::AtLeast(1.0)),
        ("wire", "tcp_per_core", "vs_vxlan") => Some(Bar::AtLeast(1.2)),
        ("wire", "rr_cpu" | "udp_cpu", "vs_routing") => Some(Bar::AtMost(0.90)),
        ("default", "tcp_per_core", "vs_routing") => Some(Bar::AtLeast(1.03)),
        _ => None,
    };
    let ratio = of(&|round| cost(&round.mizar) / cost(&round.others[other]));
    let baseline = of(&|round| cost(&round.others[other])).median;
    let baseline = Some(Baseline { name, value: baseline, unit });
    Measurement { id, value: ratio.median, unit: "×", bar, baseline, spread: ratio.spread }
}
