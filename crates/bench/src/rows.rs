//! How long an agent takes to put rows of a bouncer into the kernel's tables.
//!
//! The time begins when an update is sent and ends when its acknowledgement is there: the stream's
//! two ways, reading and checking the rows and remembering them are in it.

use crate::Effort;
use crate::cloud::{Cloud, Stream};
use crate::namespace::Namespace;
use crate::network;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::Result;
use mizar_vpc::{Generation, HostConfig, Vni, VpcRows, VpcUpdate};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// All figures.
pub(crate) const IDS: &[&str] = &["rows.us_per_row"];

/// Rows of one update: most of what a table has by default.
const ROWS: u32 = 50_000;
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));

/// Measures the one figure.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let host = Namespace::new()?;
    host.run(
        "ip link add nic type veth peer name far; ip addr add 100.64.0.1/24 dev nic
         ethtool -K nic gro on tx off tso off; ip link set nic up; ip link set far up",
    )?;
    let mut cloud = Cloud::new()?;
    let fleet = vec!["100.64.0.0/16".parse()?];
    let config = HostConfig { name: "h1".parse()?, underlay: HERE, fleet, keys: None };
    let mut stream = cloud.start(&host, config, "auto", &[])?;
    let (mut all, mut kernel) = (Vec::new(), Vec::new());
    let mut revision = 1;
    for _ in 0..if effort.quick { 5 } else { 20 } {
        let (without, with) = (rows(0)?, rows(ROWS)?);
        tell(&cloud, &mut stream, revision, None, without.clone())?;
        let (took, held) = tell(&cloud, &mut stream, revision + 1, Some(without), with)?;
        revision += 2;
        all.push(took / f64::from(ROWS));
        kernel.push(held / f64::from(ROWS));
    }
    let middle_of_all = middle(&all);
    let name = "of that, in the kernel";
    let figure = Measurement {
        id: IDS[0],
        value: middle_of_all.median,
        unit: "µs",
        bar: Some(Bar::AtMost(1.0)),
        baseline: Some(Baseline { name, value: middle(&kernel).median, unit: "µs" }),
        spread: middle_of_all.spread,
    };
    Ok([figure].into_iter().filter(|it| ids.contains(&it.id)).collect())
}

/// Microseconds until the agent has acknowledged, and those that it wrote rows.
fn tell(
    cloud: &Cloud,
    stream: &mut Stream,
    revision: u64,
    before: Option<VpcRows>,
    rows: VpcRows,
) -> Result<(f64, f64)> {
    let at = |revision| Generation::new(1, revision);
    let update = match before {
        None => VpcUpdate::full(Vni::MIN, at(revision)?, rows),
        Some(before) => {
            VpcUpdate::diff(Vni::MIN, (at(revision - 1)?, &before), (at(revision)?, &rows))
        }
    };
    let start = Instant::now();
    let applied = cloud.update(stream, update)?;
    Ok((start.elapsed().as_secs_f64() * 1e6, applied.held.as_secs_f64() * 1e6))
}

/// The VPC with so many rows.
fn rows(count: u32) -> Result<VpcRows> {
    Ok(VpcRows { held: network::held(THERE, count)?, ..network::rows(HERE, THERE)? })
}
