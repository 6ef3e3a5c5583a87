//! The rows that hosts are told, played through by the packet's journey: every pair of endpoints of
//! one VPC talks, and nobody else does.

use super::world::{Event, World, event, movement};
use super::*;
use crate::VpcRows;
use crate::example::name;
use etherparse::PacketBuilder;
use mizar_packet::function::{from_guest, from_wire};
use mizar_packet::keys::Keys;
use mizar_packet::memory::{MemoryFrame, MemoryTables};
use mizar_packet::tables::{
    Config, DIVIDERS, Endpoint, FleetPrefix, Holders, Port, REPLICAS, Route, Vpc,
};
use mizar_packet::wire::ethernet::GATEWAY;
use mizar_packet::{Address, Reason, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;

/// A VPC: its VNI, and when it was made, as a host may not know yet that another one has that now.
type Made = (Vni, u64);

/// Where a packet ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Delivered(Made, Name),
    Dropped(Reason),
}

/// The hosts of a world, with the tables that follow from the rows they have.
struct Fleet {
    hosts: Vec<Node>,
}

struct Node {
    underlay: IpAddr,
    tables: MemoryTables,
    /// Its guests, by interface.
    guests: BTreeMap<u32, (Made, Name)>,
}

/// A guest, and where it is.
#[derive(Clone)]
struct Guest {
    host: usize,
    interface: u32,
    vpc: Made,
    name: Name,
    port: PortRow,
}

impl Fleet {
    fn of(world: &World) -> Self {
        let underlays = world.hosts.keys().map(|name| {
            let host = world.catalog.host(name).unwrap();
            host.record().spec.underlay
        });
        let underlays: Vec<_> = underlays.collect();
        let hosts = world.hosts.values().enumerate().map(|(at, host)| {
            let mut node = Node {
                underlay: underlays[at],
                tables: tables(&underlays, at),
                guests: BTreeMap::new(),
            };
            for (vni, rows) in &host.rows {
                node.install(&underlays, (*vni, host.of[vni]), rows.rows());
            }
            node
        });
        Self { hosts: hosts.collect() }
    }

    fn guests(&self, world: &World) -> Vec<Guest> {
        let hosts = world.hosts.values().zip(&self.hosts).enumerate();
        let guests = hosts.flat_map(|(host, (told, node))| {
            node.guests.iter().map(move |(interface, (vpc, name))| {
                let port = told.rows[&vpc.0].rows().ports[name].clone();
                Guest { host, interface: *interface, vpc: *vpc, name: name.clone(), port }
            })
        });
        guests.collect()
    }

    /// Where a packet from a guest to an address ends.
    fn send(&self, from: &Guest, to: IpAddr) -> Fate {
        let mut frame = MemoryFrame::new(packet(&from.port, to));
        let mut at = &self.hosts[from.host];
        let mut verdict = from_guest(&mut frame, &at.tables, from.interface);
        loop {
            verdict = match verdict {
                Verdict::Transmit => {
                    let outer: [u8; 4] = frame.bytes[30..34].try_into().unwrap();
                    let next = self.hosts.iter().find(|it| it.underlay == IpAddr::from(outer));
                    at = next.expect("packets go to hosts");
                    from_wire(&mut frame, &at.tables)
                }
                Verdict::Deliver(delivery) => {
                    let (vpc, name) = at.guests[&delivery.interface].clone();
                    assert_eq!(vpc.0.get(), delivery.vni);
                    return Fate::Delivered(vpc, name);
                }
                Verdict::Drop(reason) => return Fate::Dropped(reason),
                other => panic!("{other:?}"),
            };
        }
    }

    /// Forgets what packets have taught.
    fn forget(&self) {
        for node in &self.hosts {
            node.tables.learned.borrow_mut().clear();
            node.tables.learned_count.borrow_mut().clear();
            node.tables.events.borrow_mut().clear();
        }
    }
}

impl Node {
    /// What an agent makes of the rows of one VPC.
    fn install(&mut self, underlays: &[IpAddr], made: Made, rows: &VpcRows) {
        let (vni, _) = made;
        let index = |host: IpAddr| underlays.iter().position(|it| *it == host);
        let index = |host| index(host).map_or(0, |at| at as u32 + 1);
        let vpc = vni.get();
        let network_index = |id: NetworkId| vpc * 100 + id.get();
        let dividers = list::<DIVIDERS>(rows.dividers.iter().copied().map(index));
        let row = Vpc { index: vpc, quota: rows.quota, dividers, keys: Keys::NONE };
        self.tables.vpcs.insert(vni.get(), row);
        for (id, row) in &rows.networks {
            let network = network_index(*id);
            let v4 = row.v4.map(|it| (Address::from(it.network()), 96 + it.prefix_len()));
            let v6 = row.v6.map(|it| (Address::from(it.network()), it.prefix_len()));
            for (prefix, len) in v4.into_iter().chain(v6) {
                self.tables.routes.insert((vni.get(), prefix, len), Route { network, vpc });
            }
            for slot in Slot::all() {
                let hosts = list::<REPLICAS>(row.holders.holders(slot).map(index));
                self.tables.holders.insert((network, slot.get()), Holders { hosts });
            }
        }
        for (address, row) in &rows.held {
            let (generation, host) = (row.generation.get(), index(row.host));
            let held =
                Endpoint { generation, kind: Endpoint::HELD, host, vpc, ..Endpoint::NOWHERE };
            self.tables.endpoints.insert((vni.get(), Address::from(*address)), held);
        }
        for (name, row) in rows.ports.iter().filter(|(_, row)| row.lives_here()) {
            let interface = self.guests.len() as u32 + 1;
            let (generation, mac) = (row.generation.get(), row.mac.octets());
            let kind = Endpoint::LOCAL;
            let local = Endpoint { generation, kind, interface, host: 0, vpc, mac, flags: 0 };
            for address in row.addresses() {
                self.tables.endpoints.insert((vni.get(), Address::from(address)), local);
            }
            let network = &rows.networks[&row.network];
            let port = port(row, network, (vni, network_index(row.network), interface));
            self.tables.ports.insert(interface, port);
            self.guests.insert(interface, (made, name.clone()));
        }
    }
}

fn port(row: &PortRow, network: &NetworkRow, (vni, index, interface): (Vni, u32, u32)) -> Port {
    let v6 = |address: Option<Ipv6Addr>| address.map_or(Address::NONE, Address::from);
    let v4 = |address: Option<Ipv4Addr>| address.map_or([0; 4], |it| it.octets());
    Port {
        v6: v6(row.v6),
        v6_network: v6(network.v6.map(|prefix| prefix.network())),
        v6_gateway: v6(network.v6_gateway),
        generation: row.generation.get(),
        v4_tag: [0; 8],
        v6_tag: [0; 8],
        vni: vni.get(),
        vpc: vni.get(),
        network: index,
        interface,
        v4: v4(row.v4),
        v4_network: v4(network.v4.map(|prefix| prefix.network())),
        v4_gateway: v4(network.v4_gateway),
        flags: 0,
        mtu: 1400,
        mac: row.mac.octets(),
        v4_prefix: network.v4.map_or(0, |prefix| prefix.prefix_len()),
        v6_prefix: network.v6.map_or(0, |prefix| prefix.prefix_len()),
    }
}

/// The tables of one of these hosts, all of which are alive, before it is told anything.
fn tables(underlays: &[IpAddr], own: usize) -> MemoryTables {
    let now = 1_000_000;
    let nic_mac = |at: usize| [2, 0xbb, 0, 0, 0, at as u8];
    let row = |(at, underlay): (usize, &IpAddr)| mizar_packet::tables::Host {
        address: Address::from(*underlay),
        next_hop: nic_mac(at),
        mtu: 1500,
        used: now,
        alive_until: now + 1000,
    };
    let hosts = underlays.iter().enumerate();
    let hosts = hosts.map(|(at, underlay)| (at as u32 + 1, row((at, underlay)))).collect();
    let mut fleet = Config::EMPTY.fleet;
    let bits = |octets: [u8; 4]| u32::from_ne_bytes(octets);
    fleet[0] = FleetPrefix { network: bits([192, 0, 2, 0]), mask: bits([255, 255, 255, 0]) };
    let config = Config {
        underlay: Address::from(underlays[own]),
        fleet,
        lease: 250,
        teach: 1000,
        notice_delay: 100,
        stamp: 100,
        hz: 1000,
        nic: 2,
        own_host: own as u32 + 1,
        nic_mac: nic_mac(own),
        ..Config::EMPTY
    };
    let tables = MemoryTables { config, now, ..MemoryTables::default() };
    tables.hosts.replace(hosts);
    tables
}

fn list<const N: usize>(hosts: impl Iterator<Item = u32>) -> [u32; N] {
    let mut list = [0; N];
    list.iter_mut().zip(hosts).for_each(|(place, host)| *place = host);
    list
}

/// A UDP packet from a guest, of the family of its destination.
fn packet(from: &PortRow, to: IpAddr) -> Vec<u8> {
    let frame = PacketBuilder::ethernet2(from.mac.octets(), GATEWAY);
    let frame = match to {
        IpAddr::V4(to) => frame.ipv4(from.v4.unwrap().octets(), to.octets(), 64),
        IpAddr::V6(to) => frame.ipv6(from.v6.unwrap().octets(), to.octets(), 64),
    };
    let mut bytes = Vec::new();
    frame.udp(4000, 5000).write(&mut bytes, b"payload").unwrap();
    bytes
}

/// Every pair talks in both families that they share: the first packet by way of a bouncer, and the
/// answer to it.
fn check_pairs(world: &World) -> Result<usize, TestCaseError> {
    let fleet = Fleet::of(world);
    let guests = fleet.guests(world);
    let mut pairs = 0;
    for from in &guests {
        let others = guests.iter().filter(|it| it.vpc == from.vpc && it.name != from.name);
        for to in others {
            let shared = |address: &IpAddr| from.port.addresses().any(|a| same_family(a, *address));
            for address in to.port.addresses().filter(shared) {
                let there = Fate::Delivered(to.vpc, to.name.clone());
                prop_assert_eq!(fleet.send(from, address), there, "{} to {}", from.name, to.name);
                let back = from.port.addresses().find(|a| same_family(*a, address)).unwrap();
                let here = Fate::Delivered(from.vpc, from.name.clone());
                prop_assert_eq!(fleet.send(to, back), here, "{} back to {}", to.name, from.name);
                fleet.forget();
                pairs += 1;
            }
        }
    }
    Ok(pairs)
}

/// Nothing gets to where it should not: to another VPC, or another endpoint than the one that has,
/// or lately had, the address.
fn check_isolation(world: &World, addresses: &BTreeSet<IpAddr>) -> Result<(), TestCaseError> {
    let fleet = Fleet::of(world);
    for from in fleet.guests(world) {
        for address in addresses {
            if !from.port.addresses().any(|own| same_family(own, *address) && own != *address) {
                continue;
            }
            if let Fate::Delivered(vpc, name) = fleet.send(&from, *address) {
                prop_assert_eq!(vpc, from.vpc, "{} reached {}", from.name, name);
                let has = |host: &world::Host| {
                    let rows = host.rows.get(&vpc.0).and_then(|rows| rows.rows().ports.get(&name));
                    rows.is_some_and(|row| row.addresses().any(|it| it == *address))
                };
                prop_assert!(world.hosts.values().any(has), "{} is not {}'s", address, name);
            }
        }
        fleet.forget();
    }
    Ok(())
}

fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// The addresses that endpoints have.
fn addresses(world: &World) -> BTreeSet<IpAddr> {
    let endpoints = world.catalog.vpcs().flat_map(|vpc| vpc.endpoints_after(None));
    endpoints.flat_map(|endpoint| endpoint.addresses()).collect()
}

/// A cloud at rest in which every network has endpoints.
fn cloud(hosts: u8, families: &[(bool, bool)], endpoints: &[(usize, u8)]) -> World {
    let mut world = World::new(hosts);
    for (at, families) in families.iter().enumerate() {
        world.happen(&Event::Network(at % 2, at / 2, Some(*families)));
    }
    for (number, (network, host)) in (0..).zip(endpoints) {
        world.happen(&Event::Put(network % 2, network / 2, number, *host));
    }
    world.settle();
    world
}

fn families() -> impl Strategy<Value = Vec<(bool, bool)>> {
    vec(prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))], 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_pair_talks_however_slots_move_and_whoever_has_followed(
        hosts in 3..6u8,
        families in families(),
        endpoints in vec((0..4usize, any::<u8>()), 4..10),
        events in vec(movement(), 20..100),
    ) {
        let mut world = cloud(hosts, &families, &endpoints);
        check_pairs(&world)?;
        for event in &events {
            world.happen(event);
            if matches!(event, Event::Follow(_)) {
                check_pairs(&world)?;
            }
        }
        world.settle();
        check_pairs(&world)?;
    }

    #[test]
    fn whatever_happens_nobody_reaches_another_vpc_and_at_rest_every_pair_talks(
        hosts in 1..6u8, events in vec(event(), 0..80)
    ) {
        let mut world = World::new(hosts);
        let mut ever = BTreeSet::new();
        for (number, event) in events.iter().enumerate() {
            world.happen(event);
            ever.extend(addresses(&world));
            if number % 8 == 0 {
                check_isolation(&world, &ever)?;
            }
        }
        world.settle();
        check_isolation(&world, &ever)?;
        check_pairs(&world)?;
    }
}

#[test]
fn a_host_that_was_not_told_that_a_vpc_is_gone_reaches_nobody_in_the_next_one() {
    let mut world = cloud(2, &[(true, true)], &[(0, 0), (0, 1)]);
    let h1 = world.hosts.keys().next().unwrap().clone();
    let old = world.catalog.vpc_named(&name("blue")).unwrap().record().vni;
    world.happen(&Event::Vpc(0, false));
    world.happen(&Event::Vpc(1, false));
    world.happen(&Event::Vpc(1, true));
    world.happen(&Event::Network(1, 0, Some((true, true))));
    world.happen(&Event::Put(1, 0, 0, 1));
    world.happen(&Event::Put(1, 0, 1, 1));
    for _ in 0..4 {
        world.happen(&Event::Step);
        world.happen(&Event::Follow(1));
    }
    assert!(world.hosts[&h1].rows.contains_key(&old), "it knows nothing better");
    check_isolation(&world, &addresses(&world)).unwrap();
    world.settle();
    assert!(!world.hosts[&h1].rows.contains_key(&old));
    check_pairs(&world).unwrap();
}

#[test]
fn pairs_of_both_families_on_one_host_and_on_two_in_one_network_and_across_are_among_them() {
    let world = cloud(3, &[(true, true); 4], &[(0, 0), (0, 1), (2, 0), (2, 2)]);
    assert_eq!(check_pairs(&world).unwrap(), 4 * 3 * 2);
}
