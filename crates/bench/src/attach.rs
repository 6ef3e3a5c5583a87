//! How long it takes to add one endpoint to a host that has many.
//!
//! A real agent is told of one more endpoint of a VPC that it knows; the time ends when its answer
//! is there: the link and its program, the guest's addresses and routes, and all rows. It is the
//! controller's view, the stream's two ways included.

use crate::Effort;
use crate::cloud::{Cloud, Stream};
use crate::cpu;
use crate::namespace::Namespace;
use crate::network;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result};
use mizar_proto::{Applied, Step};
use mizar_vpc::{Attachment, Generation, HostConfig, Name, PortRow, Vni, VpcRows, VpcUpdate};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// All figures.
pub(crate) const IDS: &[&str] = &[
    "attach.p50_ms",
    "attach.p50_ms.10",
    "attach.p50_ms.100",
    "attach.p50_ms.1000",
    "attach.cpu_ms",
];

/// Endpoints that are there already, and the figure.
const STEPS: [(usize, &str); 3] =
    [(10, "attach.p50_ms.10"), (100, "attach.p50_ms.100"), (1000, "attach.p50_ms.1000")];
/// The number at which `attach.p50_ms` is measured: what a large host has.
const USUAL: usize = 100;
/// Endpoints that come at once where the agent's CPU time is measured.
const MANY: usize = 100;
/// Rows that the host holds as a bouncer of the same VPC.
const HELD: u32 = 20_000;
const BAR_MS: f64 = 2.0;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));

/// Measures the figures that are wanted, on one host that grows.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let rounds = if effort.quick { 15 } else { 60 };
    let mut host = Host::new()?;
    let mut results = Vec::new();
    if ids.contains(&"attach.cpu_ms") {
        let rounds = if effort.quick { 3 } else { 10 };
        let rounds = (0..rounds).map(|_| host.many()).collect::<Result<Vec<_>>>()?;
        results.push(cpu_figure(&rounds));
    }
    for (count, id) in STEPS {
        let usual = (count == USUAL).then_some("attach.p50_ms");
        let wanted: Vec<_> = usual.into_iter().chain([id]).filter(|id| ids.contains(id)).collect();
        if wanted.is_empty() {
            continue;
        }
        host.grow(count)?;
        let rounds = (0..rounds).map(|_| host.round()).collect::<Result<Vec<_>>>()?;
        let (times, own): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let (middle, own) = (middle(&times), middle(&own));
        results.extend(wanted.into_iter().map(|id| Measurement {
            id,
            value: middle.median,
            unit: "ms",
            bar: Some(Bar::AtMost(BAR_MS)),
            baseline: Some(Baseline {
                name: "of that, the link and the guest's addresses",
                value: own.median,
                unit: "ms",
            }),
            spread: middle.spread,
        }));
    }
    Ok(results)
}

fn cpu_figure(rounds: &[(f64, f64)]) -> Measurement {
    let (spent, took): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
    let (spent, took) = (middle(&spent), middle(&took));
    let baseline = Baseline { name: "until they are there", value: took.median, unit: "ms" };
    let (value, spread, baseline) = (spent.median, spent.spread, Some(baseline));
    Measurement { id: "attach.cpu_ms", value, unit: "ms", bar: None, baseline, spread }
}

/// A host with its agent and its guests.
struct Host {
    cloud: Cloud,
    stream: Stream,
    guests: Vec<Namespace>,
    /// Where endpoints came and went: a namespace that ends keeps the kernel busy.
    left: Vec<Namespace>,
    rows: VpcRows,
    revision: u64,
    _underlay: Namespace,
}

impl Host {
    fn new() -> Result<Self> {
        let underlay = Namespace::new()?;
        underlay.run(
            "ip link add nic type veth peer name far; ip addr add 100.64.0.1/24 dev nic
             ethtool -K nic gro on tx off tso off; ip link set nic up; ip link set far up",
        )?;
        let mut cloud = Cloud::new()?;
        let fleet = vec!["100.64.0.0/16".parse()?];
        let config = HostConfig { name: "h1".parse()?, underlay: HERE, fleet, keys: None };
        let stream = cloud.start(&underlay, config, "auto", &[])?;
        let held = network::held(THERE, HELD)?;
        let rows = VpcRows { held, ..network::rows(HERE, THERE)? };
        let mut host = Self {
            cloud,
            stream,
            guests: vec![],
            left: vec![],
            rows,
            revision: 1,
            _underlay: underlay,
        };
        let all = VpcUpdate::full(Vni::MIN, host.generation()?, host.rows.clone());
        host.cloud.update(&mut host.stream, all)?;
        Ok(host)
    }

    fn generation(&self) -> Result<Generation> {
        Ok(Generation::new(1, self.revision)?)
    }

    /// Brings the host to so many endpoints.
    fn grow(&mut self, count: usize) -> Result<()> {
        let mut after = self.rows.clone();
        for number in self.guests.len()..count {
            let guest = Namespace::bare()?;
            after.ports.extend([port(number, &guest)?]);
            self.guests.push(guest);
        }
        self.tell(after).map(drop)
    }

    /// One endpoint comes, in a namespace as new as itself, and goes again; how long its coming
    /// took, and of that what the agent says of the steps that the kernel's network stack takes, in
    /// milliseconds.
    fn round(&mut self) -> Result<(f64, f64)> {
        let without = self.rows.clone();
        let mut with = without.clone();
        let guest = Namespace::bare()?;
        with.ports.extend([port(self.guests.len(), &guest)?]);
        let (took, applied) = self.tell(with)?;
        self.tell(without)?;
        self.left.push(guest);
        let report = applied.ports.first().context("the agent reports no endpoint")?;
        let kernel = report.steps.iter().filter(|(step, _)| **step != Step::Rows);
        Ok((took, kernel.map(|(_, time)| time.as_secs_f64() * 1e3).sum()))
    }

    /// Many endpoints come at once, and go again: for each of them, milliseconds of the agent's CPU
    /// time, and until it said that they are there.
    fn many(&mut self) -> Result<(f64, f64)> {
        let agent = self.cloud.agent(0).context("the agent has no process")?;
        let guests = (0..MANY).map(|_| Namespace::bare()).collect::<Result<Vec<_>>>()?;
        let without = self.rows.clone();
        let mut with = without.clone();
        for (number, guest) in (self.guests.len()..).zip(&guests) {
            with.ports.extend([port(number, guest)?]);
        }
        let before = cpu::of_process(agent)?;
        let (took, _) = self.tell(with)?;
        let spent = (cpu::of_process(agent)? - before) as f64 / 1e6;
        self.tell(without)?;
        Ok((spent / MANY as f64, took / MANY as f64))
    }

    fn tell(&mut self, after: VpcRows) -> Result<(f64, Applied)> {
        let before = self.generation()?;
        self.revision += 1;
        let (old, new) = ((before, &self.rows), (self.generation()?, &after));
        let update = VpcUpdate::diff(Vni::MIN, old, new);
        let start = Instant::now();
        let applied = self.cloud.update(&mut self.stream, update)?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.rows = after;
        Ok((took, applied))
    }
}

fn port(number: usize, guest: &Namespace) -> Result<(Name, PortRow)> {
    let [high, low] = u16::try_from(number).context("too many endpoints")?.to_be_bytes();
    let row = PortRow {
        migration: None,
        network: 1.try_into()?,
        mac: [2, 0, 0, 0, high, low].try_into()?,
        v4: Some(Ipv4Addr::new(10, 1, high, low)),
        v6: Some(format!("fd00::1:{high:x}:{low:x}").parse()?),
        generation: Generation::new(1, 1)?,
        attachment: Attachment::Veth { netns: guest.path(), interface: "eth0".to_owned() },
    };
    Ok((format!("g{number}").parse()?, row))
}
