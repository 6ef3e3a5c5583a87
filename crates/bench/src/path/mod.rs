//! What the whole way between two guests on two hosts costs, beside the same hosts without overlay
//! and with VXLAN, and guests without hosts between them.
//!
//! All set-ups stand at once and are measured in turn, round by round; what counts is the ratio
//! within a round. One pinned thread holds both guests' sockets, so that the time of its CPU is
//! that of all that happens to the packets ([`crate::cpu`]).

pub(crate) mod capped;
mod mizar;
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
use setups::Setup;
use std::time::Duration;
use traffic::{Costs, Guests, Wanted};
use underlay::{Nic, Underlay};
pub(crate) use underlay::{attach_xdp, index, pass};

/// Figures of NICs as wires are.
pub(crate) const WIRE: &[&str] = &[
    "path.wire.tcp_per_core.vs_routing",
    "path.wire.tcp_per_core.vs_vxlan",
    "path.wire.tcp_per_core.vs_bare",
    "path.wire.tcp8_per_core.vs_routing",
    "path.wire.tcp8_per_core.vs_vxlan",
    "path.wire.tcp8_per_core.vs_bare",
    "path.wire.rr_cpu.vs_routing",
    "path.wire.udp_cpu.vs_routing",
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
    "path.default.tcp_per_core.vs_bare",
    "path.default.tcp8_per_core.vs_routing",
    "path.default.tcp8_per_core.vs_vxlan",
    "path.default.tcp8_per_core.vs_bare",
    "path.default.rr_cpu.vs_routing",
    "path.default.udp_cpu.vs_routing",
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
    routing: Costs,
    vxlan: Costs,
    bare: Costs,
}

fn figures(ids: &[&'static str], nic: Nic, effort: Effort) -> Result<Vec<Measurement>> {
    let plain = || Underlay::link(nic)?.without_mizar();
    let others = [
        setups::routing(plain()?).context("hosts that route")?,
        setups::vxlan(plain()?).context("hosts with VXLAN")?,
        setups::bare(nic).context("no hosts")?,
    ];
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
        for guests in others.iter().map(|setup| &setup.guests).chain(&mizar.guests) {
            traffic::wait(guests)?;
        }
        (0..count)
            .map(|_| round(&others, &mizar, |guests| traffic::measure(guests, cpu, each, wanted)))
            .collect::<Result<Vec<_>>>()
    })?;
    ids.iter().map(|id| figure(id, &rounds)).collect()
}

fn round(
    others: &[Setup; 3],
    mizar: &Mizar,
    measure: impl Fn(&Guests) -> Result<Costs>,
) -> Result<Round> {
    let [routing, vxlan, bare] = others;
    let routing = measure(&routing.guests).context("hosts that route")?;
    let before = sent(mizar)?;
    let guests = mizar.guests.first().context("no guests")?;
    let costs = measure(guests).context("hosts with Mizar")?;
    check_direct(before, sent(mizar)?)?;
    let vxlan = measure(&vxlan.guests).context("hosts with VXLAN")?;
    let bare = measure(&bare.guests).context("no hosts")?;
    Ok(Round { mizar: costs, routing, vxlan, bare })
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

fn figure(id: &'static str, rounds: &[Round]) -> Result<Measurement> {
    let mut words = id.split('.').skip(1);
    let [nic, what, other] = [(); 3].map(|()| words.next().unwrap_or_default());
    let (cost, unit): (fn(&Costs) -> f64, _) = match what {
        "tcp_per_core" => (|costs| costs.tcp_gbits, "Gb/s per core"),
        "tcp8_per_core" => (|costs| costs.tcp8_gbits, "Gb/s per core"),
        "rr_cpu" => (|costs| costs.rr_microseconds, "µs"),
        _ => (|costs| costs.udp_nanoseconds, "ns"),
    };
    let of = |value: &dyn Fn(&Round) -> f64| middle(&rounds.iter().map(value).collect::<Vec<_>>());
    let (against, name): (fn(&Round) -> &Costs, _) = match other {
        "vs_vxlan" => (|round| &round.vxlan, "bridge and VXLAN"),
        "vs_bare" => (|round| &round.bare, "one veth, no hosts"),
        _ => (|round| &round.routing, "hosts that route"),
    };
    let bar = match (nic, what, other) {
        ("wire", "tcp_per_core", "vs_routing") => Some(Bar::AtLeast(1.0)),
        ("wire", "tcp_per_core", "vs_vxlan") => Some(Bar::AtLeast(1.2)),
        ("wire", "rr_cpu" | "udp_cpu", _) => Some(Bar::AtMost(0.90)),
        ("default", "tcp_per_core", "vs_routing") => Some(Bar::AtLeast(1.03)),
        _ => None,
    };
    let ratio = of(&|round| cost(&round.mizar) / cost(against(round)));
    let baseline = Baseline { name, value: of(&|round| cost(against(round))).median, unit };
    let (value, spread) = (ratio.median, ratio.spread);
    Ok(Measurement { id, value, unit: "×", bar, baseline: Some(baseline), spread })
}
