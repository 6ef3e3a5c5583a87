//! What a host's agent and tables take of its memory.
//!
//! Tables have their memory from the start, whatever is in them; the agent's grows. Both count: the
//! agent's resident memory, its program included, and what the kernel says that the tables take. A
//! table that the agent has mapped is in both and counted once, with the tables.
//! What the kernel needs for guests' interfaces themselves is not the agent's.

use crate::Effort;
use crate::cloud::{Cloud, Stream};
use crate::namespace::Namespace;
use crate::network;
use crate::report::{Bar, Baseline, Measurement};
use anyhow::{Context, Result};
use mizar_agent::kernel::{Maps, memory_by_map};
use mizar_vpc::{Attachment, Generation, HostConfig, PortRow, Vni, VpcRows, VpcUpdate};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

/// All figures.
pub(crate) const IDS: &[&str] = &[
    "memory.idle_mb",
    "memory.per_row_bytes",
    "memory.endpoints_mb.100",
    "memory.endpoints_mb.1000",
    "memory.per_endpoint_kb",
    "memory.tcp_mb",
];

/// Endpoints of one host, and the figure.
const CROWDS: [(u16, &str); 2] =
    [(100, "memory.endpoints_mb.100"), (1000, "memory.endpoints_mb.1000")];
/// Rows that are there before growth is measured: what a bouncer's first rows have read of the
/// program is not theirs.
const FIRST_ROWS: u32 = 1_000;
const ROWS: u32 = 50_000;
/// How long an agent is left to come to rest.
const SETTLE: Duration = Duration::from_secs(1);
const TABLES: &str = "of that, kernel tables";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));

/// Measures the figures that are wanted.
pub(crate) fn run(ids: &[&'static str], _effort: Effort) -> Result<Vec<Measurement>> {
    let wants = |some: &[&str]| some.iter().any(|id| ids.contains(id));
    let mut all = Vec::new();
    if wants(&IDS[..2]) {
        all.extend(growth()?);
    }
    if wants(&IDS[2..5]) {
        all.extend(crowds()?);
    }
    if wants(&IDS[5..]) {
        all.push(during_tcp()?);
    }
    Ok(all.into_iter().filter(|figure| ids.contains(&figure.id)).collect())
}

/// What all takes with many endpoints on one host.
fn crowds() -> Result<Vec<Measurement>> {
    let (cloud, mut stream, _host) = host()?;
    let agent = cloud.agent(0).context("the agent has no process")?;
    let mut guests = Vec::new();
    let crowd = |(revision, (count, id)): (u64, (u16, &'static str))| {
        while guests.len() < usize::from(count) {
            guests.push(Namespace::bare()?);
        }
        tell(
            &cloud,
            &mut stream,
            1,
            revision,
            VpcRows { ports: ports(&guests)?, ..network::rows(HERE, THERE)? },
        )?;
        std::thread::sleep(SETTLE);
        total(id, agent, &cloud.pins("h1"))
    };
    let mut figures = (1..).zip(CROWDS).map(crowd).collect::<Result<Vec<_>>>()?;
    if let [few, many] = &figures[..] {
        let more = f64::from(CROWDS[1].0 - CROWDS[0].0);
        let each = (many.value - few.value) * 1e3 / more;
        figures.push(figure("memory.per_endpoint_kb", each, "KB", 4.0, 0.0));
    }
    Ok(figures)
}

/// What all takes while a guest sends by TCP.
fn during_tcp() -> Result<Measurement> {
    crate::path::during_tcp(|agent, pins| total("memory.tcp_mb", agent, pins))
}

/// The agent and the tables.
fn total(id: &'static str, agent: u32, pins: &Path) -> Result<Measurement> {
    let tables: u64 = memory_by_map(pins)?.values().sum();
    let value = (resident(agent)? + tables) as f64 / 1e6;
    let (unit, tables) = ("MB", tables as f64 / 1e6);
    let baseline = Some(Baseline { name: TABLES, value: tables, unit });
    Ok(Measurement { id, value, unit, bar: None, baseline, spread: 0.0 })
}

/// A host with an agent that has nothing yet.
fn host() -> Result<(Cloud, Stream, Namespace)> {
    let host = Namespace::new()?;
    host.run(
        "ip link add nic type veth peer name far; ip addr add 100.64.0.1/24 dev nic
         ethtool -K nic gro on tx off tso off; ip link set nic up; ip link set far up",
    )?;
    let mut cloud = Cloud::new()?;
    let fleet = vec!["100.64.0.0/16".parse()?];
    let config = HostConfig { name: "h1".parse()?, underlay: HERE, fleet, keys: None };
    let stream = cloud.start(&host, config, "auto", &[])?;
    Ok((cloud, stream, host))
}

/// What a host without anything takes, and what rows add.
fn growth() -> Result<Vec<Measurement>> {
    let (cloud, mut stream, _host) = host()?;
    let agent = cloud.agent(0).context("the agent has no process")?;
    let used = || {
        std::thread::sleep(SETTLE);
        resident(agent)
    };
    let idle = used()?;
    let tables: u64 = memory_by_map(&cloud.pins("h1"))?.values().sum();

    tell(
        &cloud,
        &mut stream,
        1,
        1,
        VpcRows { held: network::held(THERE, FIRST_ROWS)?, ..network::rows(HERE, THERE)? },
    )?;
    let few = used()?;
    tell(
        &cloud,
        &mut stream,
        1,
        2,
        VpcRows { held: network::held(THERE, FIRST_ROWS + ROWS)?, ..network::rows(HERE, THERE)? },
    )?;
    let growth = used()?.saturating_sub(few) as f64;
    let row = row_in_kernel(&cloud.pins("h1"))?;
    let each = row + growth / f64::from(ROWS);
    Ok(vec![
        figure("memory.idle_mb", (idle + tables) as f64 / 1e6, "MB", 20.0, tables as f64 / 1e6),
        figure("memory.per_row_bytes", each, "B", 64.0, row),
    ])
}

fn figure(id: &'static str, value: f64, unit: &'static str, most: f64, tables: f64) -> Measurement {
    let baseline = Some(Baseline { name: TABLES, value: tables, unit });
    Measurement { id, value, unit, bar: Some(Bar::AtMost(most)), baseline, spread: 0.0 }
}

/// Sends all rows of a VPC.
fn tell(cloud: &Cloud, stream: &mut Stream, vni: u32, revision: u64, rows: VpcRows) -> Result<()> {
    let generation = Generation::new(1, revision)?;
    cloud.update(stream, VpcUpdate::full(Vni::try_from(vni)?, generation, rows)).map(drop)
}

fn ports(guests: &[Namespace]) -> Result<BTreeMap<mizar_vpc::Name, PortRow>> {
    let port = |(number, guest): (u16, &Namespace)| {
        let [high, low] = number.to_be_bytes();
        let row = PortRow {
            migration: None,
            network: 1.try_into()?,
            mac: [2, 0, 0, 0, high, low].try_into()?,
            v4: Some(Ipv4Addr::new(10, 1, high, low)),
            v6: None,
            generation: Generation::new(1, 1)?,
            attachment: Attachment::Veth { netns: guest.path(), interface: "eth0".to_owned() },
        };
        Ok((format!("g{number}").parse()?, row))
    };
    (0..).zip(guests).map(port).collect()
}

/// Bytes that one row of the table of endpoints takes in the kernel.
fn row_in_kernel(pins: &Path) -> Result<f64> {
    let bytes = memory_by_map(pins)?["ENDPOINTS"];
    let capacity = Maps::open(pins).context("open the tables")?.endpoints.capacity();
    Ok(bytes as f64 / f64::from(capacity))
}

/// Resident memory of a process but for the kernel's tables, in bytes.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/smaps");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let bytes = resident_but_for_tables(&text);
    bytes.with_context(|| format!("{path} does not say what is resident"))
}

/// The sum over the areas of a process, as `smaps` lists them, that are no tables.
fn resident_but_for_tables(smaps: &str) -> Option<u64> {
    let mut of_table = false;
    let mut kilobytes = None;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") if !of_table => {
                kilobytes = Some(kilobytes.unwrap_or(0) + words.next()?.parse::<u64>().ok()?);
            }
            // The first line of an area begins with its addresses and ends with what it is of.
            Some(first) if !first.ends_with(':') => of_table = line.ends_with("bpf-map"),
            _ => {}
        }
    }
    Some(kilobytes? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_leaves_out_mapped_tables() {
        let smaps = "\
7f0000000000-7f0000002000 r--p 00000000 00:1f 42 /usr/bin/mizar
Size:                  8 kB
Rss:                   8 kB
VmFlags: rd mr mw me
7f0000010000-7f0000020000 rw-s 00000000 00:0f 1045 anon_inode:bpf-map
Rss:                  64 kB
7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0 [stack]
Rss:                   4 kB
";
        assert_eq!(resident_but_for_tables(smaps), Some(12 * 1024));
        assert_eq!(resident_but_for_tables(""), None);
    }
}
