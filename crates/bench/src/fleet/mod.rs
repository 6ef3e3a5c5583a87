//! What the controller costs: how long it takes until an endpoint is ready in networks of all
//! sizes, how many a second it makes, what it needs for each, and how long it takes to come back.
//!
//! One controller with its store on disk, two bouncers that are real agents with all rows in kernel
//! tables, and a thousand hosts that have streams but no kernels ([`hosts`]). Networks of all sizes
//! are there at the same time, a VPC each, and are measured in turn.

mod hosts;
mod process;
mod tenants;

use crate::Effort;
use crate::cloud::mount_pins;
use crate::memory::resident;
use crate::namespace::Namespace;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::{middle, p99};
use anyhow::{Context, Result, bail, ensure};
use hosts::Hosts;
use mizar_controller::client::Client;
use mizar_identity::Connector;
use mizar_store::{Options, Redb, Store};
use mizar_vpc::manifest::{FleetSpec, HostSpec, Metadata, Object, Phase, TagsSpec};
use mizar_vpc::{Kind, Manifest, Name, Ref};
use process::Running;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tenants::{Made, Vpc, create_steadily};

/// All figures.
pub(crate) const IDS: &[&str] = &[
    "provision.ready_p50_ms.10",
    "provision.ready_p50_ms.1000",
    "provision.ready_p50_ms.100000",
    "provision.ready_p50_ms.1000000",
    "provision.ready_p99_ms.10",
    "provision.ready_p99_ms.1000",
    "provision.ready_p99_ms.100000",
    "provision.ready_p99_ms.1000000",
    "provision.ratio",
    "provision.busy_per_s",
    "provision.busy_p50_ms.10",
    "provision.busy_p50_ms.1000",
    "provision.busy_p50_ms.100000",
    "provision.busy_p50_ms.1000000",
    "provision.busy_p99_ms.10",
    "provision.busy_p99_ms.1000",
    "provision.busy_p99_ms.100000",
    "provision.busy_p99_ms.1000000",
    "provision.cut_p50_ms",
    "provision.cut_p99_ms",
    "provision.bouncers_p50_ms.1",
    "provision.bouncers_p50_ms.8",
    "provision.bouncers_p50_ms.64",
    "provision.hosts_written",
    "provision.messages",
    "provision.store_keys",
    "bulk.endpoints_per_s",
    "controller.restart_s",
    "controller.bytes_per_endpoint",
    "store.bytes_per_endpoint",
];

/// Endpoints that a network has; quickly, the last is left out.
const SIZES: [usize; 4] = [10, 1_000, 100_000, 1_000_000];
/// Bouncers that a network of a thousand endpoints has.
const BOUNCERS: [usize; 3] = [1, 8, 64];
/// Hosts without kernels.
const HOSTS: usize = 1_000;
/// Hosts that are bouncers, and have kernels.
const REAL: [&str; 2] = ["real-1", "real-2"];
/// Endpoints that are made each second while the others are measured, if the machine is able to.
const RATE: u32 = 500;
/// How long things may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all figures, which share the fleet, and gives those that are wanted.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let folder = tempfile::tempdir().context("create a folder")?;
    mount_pins(folder.path())?;
    let underlay = underlay()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the hosts")?;
    let results = runtime.block_on(measure(folder.path(), &underlay, effort))?;
    Ok(results.into_iter().filter(|it| ids.contains(&it.id)).collect())
}

async fn measure(
    folder: &Path,
    underlay: &[Namespace],
    effort: Effort,
) -> Result<Vec<Measurement>> {
    let sizes = if effort.quick { &SIZES[..3] } else { &SIZES[..] };
    if effort.quick {
        note("--quick leaves out networks of 1,000,000 endpoints, and all they are needed for");
    }
    let mut fleet = Fleet::start(folder, underlay).await?;
    let empty = resident(fleet.controller.id())?;
    let mut results = Vec::new();
    let mut networks = Vec::new();
    for &size in sizes {
        let mut vpc = Vpc::new(&fleet.client, &format!("n{size}"), &fleet.real).await?;
        let seconds = vpc.fill(size, &fleet.hosts).await?;
        note(&format!("{size} endpoints took {seconds:.1} s"));
        if Some(&size) == sizes.last() {
            let rate = size as f64 / seconds;
            results.push(figure("bulk.endpoints_per_s", rate, "1/s", Some(Bar::AtLeast(5000.0))));
        }
        networks.push((size, vpc));
    }
    for (size, vpc) in &networks {
        ensure!(!vpc.has(Phase::Pending).await?, "some of {size} endpoints are not ready");
    }
    let count: usize = sizes.iter().sum();
    let full = resident(fleet.controller.id())?;
    let each = full.saturating_sub(empty) as f64 / count as f64;
    let bar = Some(Bar::AtMost(600.0));
    results.push(figure("controller.bytes_per_endpoint", each, "B", bar));

    let rounds = if effort.quick { 100 } else { 500 };
    results.extend(provision(&mut fleet, &mut networks, rounds).await?);
    results.extend(bouncers(&mut fleet, rounds).await?);
    results.extend(cut(&mut fleet, rounds).await?);
    let (written, made) = exact(&fleet, &mut networks, folder).await?;
    results.extend(written);
    drop(networks);
    let Fleet { controller, agents, streams, .. } = fleet;
    drop((agents, streams));
    results.push(restart(folder, controller).await?);
    results.push(store_size(folder)?);
    results.push(store_keys(folder, &made)?);
    Ok(results)
}

/// A controller, and those that have streams to it.
struct Fleet {
    client: Client,
    controller: Running,
    agents: Vec<Running>,
    streams: Hosts,
    real: Vec<Name>,
    hosts: Vec<Name>,
}

impl Fleet {
    async fn start(folder: &Path, underlay: &[Namespace]) -> Result<Self> {
        let (controller, _) = process::controller(folder).await?;
        let socket = process::socket(folder);
        let client = Client::new(Connector::local(&socket));
        let prefixes = vec!["100.64.0.0/15".parse()?];
        let metadata = Metadata::new(None, "fleet".parse()?);
        let fleet = Manifest::Fleet(Object::new(
            metadata,
            FleetSpec { prefixes, tags: TagsSpec::default() },
        ));
        client.apply(vec![fleet], false).await?;
        let names = |name: &dyn Fn(usize) -> String, count| {
            (0..count).map(|number| Ok(name(number).parse()?)).collect::<Result<Vec<Name>>>()
        };
        let real = names(&|number| REAL[number].to_owned(), REAL.len())?;
        let hosts = names(&|number| format!("host-{number:04}"), HOSTS)?;
        let of = |names: &[Name], net: u8| -> Vec<Manifest> {
            (1_u16..).zip(names).map(|(number, name)| host(name, net, number)).collect()
        };
        client.apply(of(&real, 64), false).await?;
        client.apply(of(&hosts, 65), false).await?;
        let rows = SIZES.iter().sum::<usize>() as u32 * 5 / 4;
        let agents = REAL.iter().zip(underlay);
        let agents = agents.map(|(name, inside)| process::agent(folder, name, inside, rows));
        let agents = agents.collect::<Result<_>>()?;
        let addresses = (1..).map(|number| underlay_of(65, number));
        let named: Vec<_> = hosts.iter().cloned().zip(addresses).collect();
        let streams = Hosts::start(&named, &socket);
        let fleet = Self { client, controller, agents, streams, real, hosts };
        fleet.connected().await.with_context(|| {
            let log = folder.join(format!("{}.log", REAL[0]));
            std::fs::read_to_string(log).unwrap_or_default()
        })?;
        Ok(fleet)
    }

    /// The messages with rows that each host has had, those without kernels first.
    fn messages(&self, folder: &Path) -> Result<Vec<u64>> {
        let mut all = self.streams.messages();
        for host in &self.real {
            all.push(process::updates(folder, host)?);
        }
        Ok(all)
    }

    /// Waits until all hosts have streams.
    async fn connected(&self) -> Result<()> {
        let all = async {
            while self.streams.connected() < HOSTS {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            for host in &self.real {
                let reference = Ref::global(Kind::Host, host.clone());
                while !is_connected(&self.client.get(&reference).await?) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, all).await.context("some hosts do not connect")?
    }
}

/// Endpoints become ready in networks of all sizes, in turn; first alone, then while others do.
async fn provision(
    fleet: &mut Fleet,
    networks: &mut [(usize, Vpc)],
    rounds: usize,
) -> Result<Vec<Measurement>> {
    let alone = take_turns(networks, &fleet.hosts, rounds).await?;
    let other = Vpc::new(&fleet.client, "background", &fleet.real).await?;
    let steadily =
        create_steadily(fleet.client.clone(), other.name.clone(), fleet.hosts.clone(), RATE);
    let before = count_of(&fleet.client, &other.name).await?;
    let start = std::time::Instant::now();
    let background = tokio::spawn(steadily);
    let busy = take_turns(networks, &fleet.hosts, rounds).await;
    background.abort();
    let made = count_of(&fleet.client, &other.name).await? - before;
    let rate = made as f64 / start.elapsed().as_secs_f64();
    let bar = Some(Bar::AtLeast(0.98 * f64::from(RATE)));
    let mut results = vec![figure("provision.busy_per_s", rate, "1/s", bar)];
    for (times, name) in [(&alone, "ready"), (&busy?, "busy")] {
        for (size, times) in times {
            let [p50, p99_of] = [middle(times), middle(&[p99(times)])];
            for (part, value, bar) in [("p50", p50, 8.0), ("p99", p99_of, 25.0)] {
                let id = known(&format!("provision.{name}_{part}_ms.{size}"))?;
                let figure = figure(id, value.median, "ms", Some(Bar::AtMost(bar)));
                results.push(Measurement { spread: value.spread, ..figure });
            }
        }
    }
    let median = |size: &usize| alone.get(size).map_or(f64::NAN, |times| middle(times).median);
    if let (Some(small), Some(large)) = (SIZES.first(), SIZES.last())
        && alone.contains_key(large)
    {
        let bar = Some(Bar::AtMost(1.15));
        results.push(figure("provision.ratio", median(large) / median(small), "×", bar));
    }
    Ok(results)
}

/// Endpoints become ready in networks with few and with many bouncers.
async fn bouncers(fleet: &mut Fleet, rounds: usize) -> Result<Vec<Measurement>> {
    let mut networks = Vec::new();
    for count in BOUNCERS {
        let (bouncers, others) = fleet.hosts.split_at(count);
        let mut vpc = Vpc::new(&fleet.client, &format!("with-{count}"), bouncers).await?;
        vpc.fill(1_000, others).await?;
        networks.push((count, vpc));
    }
    let hosts = &fleet.hosts[BOUNCERS[2]..];
    let times = take_turns(&mut networks, hosts, rounds).await?;
    let figures = times.iter().map(|(count, times)| {
        let (id, middle) = (known(&format!("provision.bouncers_p50_ms.{count}"))?, middle(times));
        let figure = figure(id, middle.median, "ms", Some(Bar::AtMost(8.0)));
        Ok(Measurement { spread: middle.spread, ..figure })
    });
    figures.collect()
}

/// Endpoints come while one of their two bouncers has fallen silent: until they work, which is
/// when they are called degraded; and all are ready once it is back.
async fn cut(fleet: &mut Fleet, rounds: usize) -> Result<Vec<Measurement>> {
    let [_, silent] = &fleet.agents[..] else { bail!("two agents") };
    silent.freeze()?;
    let mut vpc = Vpc::degraded(&fleet.client, "cut", &fleet.real).await?;
    vpc.fill(1_000, &fleet.hosts).await?;
    let mut networks = [(0, vpc)];
    let times = take_turns(&mut networks, &fleet.hosts, rounds).await?;
    silent.thaw()?;
    let [(_, vpc)] = networks;
    let healed = async {
        while vpc.has(Phase::Degraded).await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, healed).await.context("some stay degraded")??;
    let times = times.get(&0).context("no times")?;
    let (p50, p99) = (middle(times), p99(times));
    Ok(vec![
        Measurement {
            spread: p50.spread,
            ..figure("provision.cut_p50_ms", p50.median, "ms", Some(Bar::AtMost(8.0)))
        },
        figure("provision.cut_p99_ms", p99, "ms", Some(Bar::AtMost(25.0))),
    ])
}

/// Makes one endpoint in each network, again and again; the times by the network's number.
async fn take_turns(
    networks: &mut [(usize, Vpc)],
    hosts: &[Name],
    rounds: usize,
) -> Result<BTreeMap<usize, Vec<f64>>> {
    let mut times = BTreeMap::<_, Vec<f64>>::new();
    for round in 0..rounds {
        // Whoever comes after another has to do with what that has left to do.
        networks.rotate_left(1);
        for (number, vpc) in &mut *networks {
            // Hosts that follow one another would be told of all networks at once.
            let made = vpc.create(&hosts[(round * 7 + *number) % hosts.len()]).await?;
            // The first ones are warming up.
            if round >= rounds / 20 {
                times.entry(*number).or_default().push(made.took_ms);
            }
            vpc.delete(made).await?;
        }
    }
    Ok(times)
}

/// What one endpoint more costs in networks of all sizes, the smallest first: the most of all,
/// which should be what the smallest costs. And the endpoints that were made.
async fn exact(
    fleet: &Fleet,
    networks: &mut [(usize, Vpc)],
    folder: &Path,
) -> Result<(Vec<Measurement>, Vec<Made>)> {
    networks.sort_by_key(|(size, _)| *size);
    let (mut hosts, mut messages, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (_, vpc) in networks {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = fleet.messages(folder)?;
        all.push(vpc.create(&fleet.hosts[0]).await?);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = fleet.messages(folder)?;
        let new: Vec<_> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
        hosts.push(new.iter().filter(|new| **new > 0).count() as u64);
        messages.push(new.iter().sum());
    }
    let figures = vec![
        most("provision.hosts_written", &hosts, 3.0)?,
        most("provision.messages", &messages, 3.0)?,
    ];
    Ok((figures, all))
}

/// The most of what was counted in networks of all sizes, the smallest first.
fn most(id: &'static str, counts: &[u64], bar: f64) -> Result<Measurement> {
    let (few, most) = (counts.first(), counts.iter().max());
    let (few, most) = few.zip(most).context("no networks")?;
    let baseline = Baseline { name: "with 10 endpoints", value: *few as f64, unit: "" };
    let figure = figure(id, *most as f64, "", Some(Bar::AtMost(bar)));
    Ok(Measurement { baseline: Some(baseline), ..figure })
}

/// The time until a controller answers, after it was killed, and after it ended as it should.
async fn restart(folder: &Path, controller: Running) -> Result<Measurement> {
    controller.crash()?;
    let (controller, after_crash) = process::controller(folder).await?;
    controller.end()?;
    let (controller, after_end) = process::controller(folder).await?;
    controller.end()?;
    let value = after_end.as_secs_f64();
    let baseline = Baseline { name: "after an orderly end", value, unit: "s" };
    let bar = Some(Bar::AtMost(10.0));
    let figure = figure("controller.restart_s", after_crash.as_secs_f64(), "s", bar);
    Ok(Measurement { baseline: Some(baseline), ..figure })
}

/// What the store's file takes on the disk for each endpoint.
fn store_size(folder: &Path) -> Result<Measurement> {
    let file = folder.join("data/store.redb");
    let metadata = std::fs::metadata(&file).context("look at the store")?;
    let mut endpoints = 0_u64;
    open_store(folder)?.scan(b"e", &mut |_, _, _| endpoints += 1)?;
    let each = |bytes: u64| bytes as f64 / endpoints as f64;
    let baseline = Baseline { name: "on disk", value: each(metadata.blocks() * 512), unit: "B" };
    let bar = Some(Bar::AtMost(400.0));
    let figure = figure("store.bytes_per_endpoint", each(metadata.len()), "B", bar);
    Ok(Measurement { baseline: Some(baseline), ..figure })
}

/// Keys of the store that making an endpoint wrote, in networks of all sizes.
fn store_keys(folder: &Path, made: &[Made]) -> Result<Measurement> {
    let mut keys = vec![0; made.len()];
    open_store(folder)?.scan(b"", &mut |_, _, revision| {
        for (keys, made) in keys.iter_mut().zip(made) {
            *keys += u64::from(revision.get() == made.at.revision());
        }
    })?;
    most("provision.store_keys", &keys, 1.0)
}

fn open_store(folder: &Path) -> Result<Redb> {
    let options = Options { create: false, ..Options::default() };
    Redb::open(&folder.join("data/store.redb"), &options).context("open the store")
}

async fn count_of(client: &Client, vpc: &Name) -> Result<u64> {
    match client.get(&Ref::global(Kind::Vpc, vpc.clone())).await? {
        Manifest::Vpc(vpc) => Ok(vpc.status.map_or(0, |status| status.endpoints)),
        _ => Ok(0),
    }
}

fn is_connected(manifest: &Manifest) -> bool {
    match manifest {
        Manifest::Host(host) => host.status.as_ref().is_some_and(|status| status.connected),
        _ => false,
    }
}

fn host(name: &Name, net: u8, number: u16) -> Manifest {
    let underlay = underlay_of(net, number);
    let spec = HostSpec { underlay, zone: None, weight: HostSpec::DEFAULT_WEIGHT, cordoned: false };
    Manifest::Host(Object::new(Metadata::new(None, name.clone()), spec))
}

fn underlay_of(net: u8, number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    [100, net, high, low].into()
}

/// Where the agents run. All other hosts are behind a router, who takes what he is sent.
fn underlay() -> Result<Vec<Namespace>> {
    let host = |number: usize| {
        let namespace = Namespace::new()?;
        namespace.run(&format!(
            "ip link add nic type veth peer name far; ip addr add 100.64.0.{number}/24 dev nic
             ethtool -K nic gro on tx off tso off; ip link set nic up; ip link set far up
             ip neigh add 100.64.0.254 lladdr 02:00:00:00:00:fe dev nic nud permanent
             ip route add 100.64.0.0/15 via 100.64.0.254"
        ))?;
        Ok(namespace)
    };
    (1..=REAL.len()).map(host).collect()
}

fn figure(id: &'static str, value: f64, unit: &'static str, bar: Option<Bar>) -> Measurement {
    Measurement { id, value, unit, bar, baseline: None, spread: 0.0 }
}

/// The figure of that name.
fn known(name: &str) -> Result<&'static str> {
    IDS.iter().copied().find(|id| *id == name).with_context(|| format!("no figure {name}"))
}

/// Says what is going on, for it takes minutes.
pub(crate) fn note(text: &str) {
    use std::io::Write;
    // Nobody may be looking.
    let _ = writeln!(std::io::stderr(), "{text}");
}
