//! Two hosts joined by one link, and the ways to connect a guest of each.

use super::traffic::Guests;
use crate::assembly::Assembly;
use crate::cloud::{Cloud, Stream};
use crate::namespace::Namespace;
use crate::sys::{self, Kind};
use anyhow::{Context, Result, ensure};
use mizar_agent::kernel::Maps;
use mizar_packet::count::{Counter, PER_VPC, Path};
use mizar_vpc::catalog::Mode;
use mizar_vpc::{
    Catalog, Generation, HostConfig, Manifest, Name, NetworkId, Slot, SlotMap, SlotMaps, Vni,
    VpcSlotMaps, VpcUpdate, rows,
};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use serde_json::json;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

/// How the hosts' NICs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nic {
    /// As a real one: XDP in the driver, frames no longer than the MTU and with finished checksums.
    Wire,
    /// As a veth is by default: whole buffers pass.
    Default,
}

/// Guests of two hosts, connected in one way.
pub(super) struct Setup {
    /// The guests.
    pub(super) guests: Guests,
    // What the way needs lives as long as it is measured.
    _hosts: [Namespace; 2],
    _programs: Vec<OwnedFd>,
}

/// The hosts' routing tables alone connect the guests: no overlay.
pub(super) fn routing(nic: Nic) -> Result<Setup> {
    let (hosts, programs) = plain_hosts(nic)?;
    let guests = [Namespace::new()?, Namespace::new()?];
    for (number, (host, guest)) in hosts.iter().zip(&guests).enumerate() {
        let (own, other) = (number + 1, 2 - number);
        attach(host, guest, 1500)?;
        host.run(&format!(
            "ip addr add 10.0.{own}.1/24 dev guest; echo 1 > /proc/sys/net/ipv4/ip_forward
             ip route add 10.0.{other}.0/24 via 100.64.0.{other}"
        ))?;
        guest.run(&format!(
            "ip addr add 10.0.{own}.2/24 dev eth0; ip route add default via 10.0.{own}.1"
        ))?;
    }
    Ok(setup(hosts, guests, [10, 0, 2, 2], programs))
}

/// A bridge on each host, joined by VXLAN.
pub(super) fn vxlan(nic: Nic) -> Result<Setup> {
    let (hosts, programs) = plain_hosts(nic)?;
    let guests = [Namespace::new()?, Namespace::new()?];
    for (number, (host, guest)) in hosts.iter().zip(&guests).enumerate() {
        let (own, other) = (number + 1, 2 - number);
        attach(host, guest, 1450)?;
        host.run(&format!(
            "ip link add bridge type bridge; ip link set bridge up
             ip link add tunnel type vxlan id 7 dev nic dstport 4789 \
                local 100.64.0.{own} remote 100.64.0.{other}
             ip link set tunnel mtu 1450 master bridge up; ip link set guest master bridge"
        ))?;
        guest.run(&format!("ip addr add 10.0.0.{}/24 dev eth0", own + 1))?;
    }
    Ok(setup(hosts, guests, [10, 0, 0, 3], programs))
}

/// Mizar: real agents and tables. The first host is bouncer and divider.
pub(super) struct Mizar {
    /// The guests.
    pub(super) setup: Setup,
    maps: Maps,
    _streams: Vec<Stream>,
    _cloud: Cloud,
}

/// The VNI of the guests' VPC.
const VNI: u32 = 100;

impl Mizar {
    /// Starts the agents and connects the guests.
    pub(super) fn new(nic: Nic) -> Result<Self> {
        let hosts = hosts(nic)?;
        let guests = [Namespace::new()?, Namespace::new()?];
        let catalog = catalog(&guests)?;
        let all = rows(&catalog, &slot_maps()?)?;
        let mut cloud = Cloud::new()?;
        let mode = match nic {
            Nic::Wire => "native",
            Nic::Default => "tc",
        };
        let mut streams = Vec::new();
        for (host, namespace) in catalog.hosts().zip(&hosts) {
            let host = host.record();
            let fleet = catalog.fleet().context("no fleet")?.spec.prefixes.clone();
            let (name, underlay) = (host.name.clone(), host.spec.underlay);
            let config = HostConfig { name, underlay, fleet };
            let mut stream = cloud.start(namespace, config, mode)?;
            for (vni, rows) in all.get(&host.name).into_iter().flatten() {
                let update = VpcUpdate::full(*vni, generation()?, rows.clone());
                cloud.update(&mut stream, update)?;
            }
            streams.push(stream);
        }
        let maps = Maps::open(&cloud.pins("h1")).context("open the first host's tables")?;
        let setup = setup(hosts, guests, [10, 0, 0, 3], Vec::new());
        Ok(Self { setup, maps, _streams: streams, _cloud: cloud })
    }

    /// Buffers of the first guest that were sent direct, and all that were sent.
    pub(super) fn sent(&self) -> Result<(u64, u64)> {
        let vpc = self.maps.vpcs.get(&VNI)?.context("the VPC has no row")?.index;
        let count = |path| self.maps.counters.sum(vpc * PER_VPC + Counter::Path(path).row());
        let direct = count(Path::SentDirect)?;
        Ok((direct, direct + count(Path::SentToBouncer)? + count(Path::Missed)?))
    }
}

fn generation() -> Result<Generation> {
    Ok(Generation::new(1, 1)?)
}

/// A network with a guest on each of two hosts.
fn catalog(guests: &[Namespace; 2]) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    let mut add = |manifest| -> Result<()> {
        let manifest: Manifest = serde_json::from_value(manifest)?;
        catalog.apply(&manifest, Mode::Create, generation()?)?;
        Ok(())
    };
    let prefixes = ["100.64.0.0/16"];
    add(json!({"kind": "Fleet", "metadata": {"name": "fleet"}, "spec": {"prefixes": prefixes}}))?;
    add(json!({"kind": "Vpc", "metadata": {"name": "vpc"}, "spec": {"vni": VNI}}))?;
    let metadata = json!({"vpc": "vpc", "name": "net"});
    add(json!({"kind": "Network", "metadata": metadata, "spec": {"v4": "10.0.0.0/24"}}))?;
    for (number, guest) in (1u8..).zip(guests) {
        let host = format!("h{number}");
        let spec = json!({"underlay": Ipv4Addr::new(100, 64, 0, number)});
        add(json!({"kind": "Host", "metadata": {"name": host}, "spec": spec}))?;
        let metadata = json!({"vpc": "vpc", "name": format!("g{number}")});
        let spec = json!({
            "network": "net",
            "host": host,
            "v4": Ipv4Addr::new(10, 0, 0, number + 1),
            "attachment": {"veth": {"netns": guest.path(), "interface": "eth0"}},
        });
        add(json!({"kind": "Endpoint", "metadata": metadata, "spec": spec}))?;
    }
    Ok(catalog)
}

/// The first host bounces and divides.
fn slot_maps() -> Result<SlotMaps> {
    let first: Name = "h1".parse()?;
    let map = SlotMap::new(1, &vec![vec![&first]; Slot::COUNT])?;
    let (dividers, networks) = (vec![first], [(NetworkId::MIN, map)].into());
    let maps = VpcSlotMaps { dividers, spare_dividers: Vec::new(), networks };
    Ok([(Vni::try_from(VNI)?, maps)].into())
}

/// Two hosts joined by a link between their NICs.
fn hosts(nic: Nic) -> Result<[Namespace; 2]> {
    let hosts = [Namespace::new()?, Namespace::new()?];
    hosts[0].run(&format!(
        "ip link add nic mtu 1500 type veth peer name nic mtu 1500 netns {}",
        hosts[1].path().display()
    ))?;
    for (host, number) in hosts.iter().zip(1..) {
        host.run(&format!(
            "ip addr add 100.64.0.{number}/24 dev nic; ethtool -K nic gro on; ip link set nic up"
        ))?;
        if nic == Nic::Wire {
            host.run("ethtool -K nic tx off tso off gso off")?;
        }
    }
    Ok(hosts)
}

/// Hosts whose NICs, as wires, have an XDP program that does nothing: it costs what XDP costs.
fn plain_hosts(nic: Nic) -> Result<([Namespace; 2], Vec<OwnedFd>)> {
    const XDP_PASS: i32 = 2;
    let hosts = hosts(nic)?;
    let mut links = Vec::new();
    if nic == Nic::Wire {
        let mut pass = Assembly::default();
        pass.exit(XDP_PASS);
        let program = sys::load(Kind::Xdp, &pass.finish()).context("load an XDP program")?;
        for host in &hosts {
            let link = host.inside(|| {
                let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
                let index = name_to_index(socket, "nic").context("find the NIC")?;
                sys::attach_xdp(&program, index).context("attach an XDP program")
            })?;
            links.push(link);
        }
    }
    Ok((hosts, links))
}

/// Connects a guest to its host by a veth, `guest` and `eth0`.
fn attach(host: &Namespace, guest: &Namespace, mtu: u32) -> Result<()> {
    let path = guest.path();
    host.run(&format!(
        "ip link add guest mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}; \
         ip link set guest up",
        path.display()
    ))?;
    guest.run("ip link set eth0 up").map(drop)
}

fn setup(
    hosts: [Namespace; 2],
    [a, b]: [Namespace; 2],
    b_address: [u8; 4],
    programs: Vec<OwnedFd>,
) -> Setup {
    let guests = Guests { a, b, b_address: b_address.into() };
    Setup { guests, _hosts: hosts, _programs: programs }
}

/// Fails if packets have not gone the way that is to be measured.
pub(super) fn check_direct(before: (u64, u64), after: (u64, u64)) -> Result<()> {
    let (direct, all) = (after.0 - before.0, after.1 - before.1);
    ensure!(all > 0 && direct * 100 >= all * 98, "only {direct} of {all} buffers went direct");
    Ok(())
}
