//! Mizar on some hosts: real agents and tables.

use super::traffic::Guests;
use super::underlay::Underlay;
use crate::cloud::{Cloud, Stream};
use crate::namespace::Namespace;
use anyhow::{Context, Result};
use mizar_agent::kernel::Maps;
use mizar_packet::count::{Counter, PER_VPC, Path};
use mizar_vpc::catalog::Mode;
use mizar_vpc::{
    Catalog, Generation, HostConfig, Manifest, Name, NetworkId, Slot, SlotMap, SlotMaps, Vni,
    VpcSlotMaps, VpcUpdate, rows,
};
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The VNI of the first pair's VPC; that of the next one is the next one.
const FIRST: u32 = 100;

/// What two guests are to each other, the first on the first host, the second on the second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The host that bounces for their networks: 1 is the first.
    pub(super) bouncer: u8,
    /// The host that divides between their networks, if they are in two.
    pub(super) divider: Option<u8>,
    /// Which of the first two hosts may learn where the other guest is. One that may not has a
    /// quota of no learned rows, so that its packets never go direct.
    pub(super) learns: [bool; 2],
}

/// Hosts with agents, and their guests.
pub(super) struct Mizar {
    /// Those of each pair.
    pub(super) guests: Vec<Guests>,
    maps: Vec<Maps>,
    cloud: Cloud,
    // What they need lives as long as they do.
    _streams: Vec<Stream>,
    _underlay: Underlay,
}

impl Mizar {
    /// Starts agents on all hosts and connects the guests, a VPC for each pair.
    pub(super) fn new(underlay: Underlay, pairs: &[Pair]) -> Result<Self> {
        let guests = pairs.iter().map(guests).collect::<Result<Vec<_>>>()?;
        let catalog = catalog(underlay.hosts.len() as u8, pairs, &guests)?;
        let all = rows(&catalog, &slot_maps(pairs)?)?;
        let mut cloud = Cloud::new()?;
        let mode = if underlay.nic.is_wire() { "native" } else { "tc" };
        let (mut streams, mut maps) = (Vec::new(), Vec::new());
        for (at, (host, namespace)) in catalog.hosts().zip(&underlay.hosts).enumerate() {
            let host = host.record();
            let fleet = catalog.fleet().context("no fleet")?.spec.prefixes.clone();
            let (name, underlay) = (host.name.clone(), host.spec.underlay);
            let config = HostConfig { name, underlay, fleet, keys: None };
            let mut stream = cloud.start(namespace, config, mode, &[])?;
            for (vni, rows) in all.get(&host.name).into_iter().flatten() {
                let mut rows = rows.clone();
                let pair = pairs.get((vni.get() - FIRST) as usize).context("no such VPC")?;
                if pair.learns.get(at) == Some(&false) {
                    rows.quota = 0;
                }
                cloud.update(&mut stream, VpcUpdate::full(*vni, generation()?, rows))?;
            }
            let pins = cloud.pins(host.name.as_str());
            maps.push(Maps::open(&pins).context("open a host's tables")?);
            streams.push(stream);
        }
        Ok(Self { guests, maps, cloud, _streams: streams, _underlay: underlay })
    }

    /// How often packets of a pair have gone a way at a host: 1 is the first. A buffer of many
    /// segments counts once.
    pub(super) fn counted(&self, host: u8, pair: usize, path: Path) -> Result<u64> {
        let maps = self.maps.get(usize::from(host) - 1).context("no such host")?;
        let vpc = maps.vpcs.get(&(FIRST + pair as u32))?.context("the VPC has no row")?.index;
        Ok(maps.counters.sum(vpc * PER_VPC + Counter::Path(path).row())?)
    }

    /// The first host's agent: its process, and where it pins.
    pub(super) fn first_agent(&self) -> Result<(u32, PathBuf)> {
        let process = self.cloud.agent(0).context("the agent has no process")?;
        Ok((process, self.cloud.pins("h1")))
    }
}

fn generation() -> Result<Generation> {
    Ok(Generation::new(1, 1)?)
}

/// Guests in one network or in two.
fn guests(pair: &Pair) -> Result<Guests> {
    let b_address = Ipv4Addr::new(10, 0, u8::from(pair.divider.is_some()), 3);
    Ok(Guests { a: Namespace::new()?, b: Namespace::new()?, b_address, carriers: Vec::new() })
}

/// So many hosts, and VPCs with a guest on each of the first two.
fn catalog(hosts: u8, pairs: &[Pair], guests: &[Guests]) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    let mut add = |manifest| -> Result<()> {
        let manifest: Manifest = serde_json::from_value(manifest)?;
        catalog.apply(&manifest, Mode::Create, generation()?)?;
        Ok(())
    };
    let prefixes = ["100.64.0.0/16"];
    add(json!({"kind": "Fleet", "metadata": {"name": "fleet"}, "spec": {"prefixes": prefixes}}))?;
    for number in 1..=hosts {
        let spec = json!({"underlay": Ipv4Addr::new(100, 64, 0, number)});
        add(json!({"kind": "Host", "metadata": {"name": format!("h{number}")}, "spec": spec}))?;
    }
    for (vni, (pair, guests)) in (FIRST..).zip(pairs.iter().zip(guests)) {
        let vpc = format!("vpc{vni}");
        add(json!({"kind": "Vpc", "metadata": {"name": vpc}, "spec": {"vni": vni}}))?;
        let second = u8::from(pair.divider.is_some());
        for network in 0..=second {
            let metadata = json!({"vpc": vpc, "name": format!("net{network}")});
            let spec = json!({"v4": format!("10.0.{network}.0/24")});
            add(json!({"kind": "Network", "metadata": metadata, "spec": spec}))?;
        }
        let a_address = Ipv4Addr::new(10, 0, 0, 2);
        let ends = [(1, &guests.a, 0, a_address), (2, &guests.b, second, guests.b_address)];
        for (number, guest, network, address) in ends {
            let metadata = json!({"vpc": vpc, "name": format!("g{number}")});
            let spec = json!({
                "network": format!("net{network}"),
                "host": format!("h{number}"),
                "v4": address,
                "attachment": {"veth": {"netns": guest.path(), "interface": "eth0"}},
            });
            add(json!({"kind": "Endpoint", "metadata": metadata, "spec": spec}))?;
        }
    }
    Ok(catalog)
}

/// Who bounces and divides for each pair.
fn slot_maps(pairs: &[Pair]) -> Result<SlotMaps> {
    let name = |number: u8| format!("h{number}").parse::<Name>();
    let of = |(vni, pair): (u32, &Pair)| {
        let map = SlotMap::new(1, &vec![vec![&name(pair.bouncer)?]; Slot::COUNT])?;
        let networks = 1..=1 + u32::from(pair.divider.is_some());
        let networks = networks.map(|id| Ok((NetworkId::try_from(id)?, map.clone())));
        let maps = VpcSlotMaps {
            dividers: vec![name(pair.divider.unwrap_or(pair.bouncer))?],
            spare_dividers: Vec::new(),
            networks: networks.collect::<Result<_>>()?,
        };
        Ok((Vni::try_from(vni)?, maps))
    };
    (FIRST..).zip(pairs).map(of).collect()
}
