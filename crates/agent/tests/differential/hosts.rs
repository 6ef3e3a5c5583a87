//! Random tables of one host, dense enough that frames meet every kind of row.
//!
//! Stamps are whole multiples of [`TICK`] from now, and so are all durations of the configuration:
//! the few jiffies that pass between the two runs of a frame never decide anything.

use crate::random::Random;
use mizar_packet::keys::{Key, Keys};
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Bucket, Config, Endpoint, FleetPrefix, Holders, Host, Learned, Port, Route, Vpc,
};
use mizar_packet::{Address, Tables};

/// The unit of all stamps, in jiffies: a quarter of an hour at the least.
pub(crate) const TICK: u64 = 1_000_000;
/// Rows that fit into the table of learned locations.
pub(crate) const LEARNED_CAPACITY: usize = 24;
/// The table of ports has as many rows as this power of two.
pub(crate) const PORT_BITS: u8 = 3;
/// Interface of the guest that sends.
pub(crate) const INTERFACE: u32 = 1;
/// The interface that is told to be the NIC.
pub(crate) const NIC: u32 = 7;
/// This host's row.
pub(crate) const OWN_HOST: u32 = 1;
/// The VPCs, of which the last has no rows.
pub(crate) const VNIS: [u32; 3] = [1, 0xab_cdef, 0x77_7777];
/// Networks of each VPC that has rows; they have the same prefixes in both.
pub(crate) const SUBNETS: [u8; 2] = [1, 2];
/// MAC address of the guest that sends.
pub(crate) const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// An IPv4 endpoint of a subnet.
pub(crate) fn v4(subnet: u8, number: u8) -> [u8; 4] {
    [10, 0, subnet, number]
}

/// An IPv6 endpoint of a subnet.
pub(crate) fn v6(subnet: u8, number: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, subnet, 0, 0, 0, 0, 0, 0, 0, number]
}

/// The underlay address of a host's row.
pub(crate) fn underlay(host: u32) -> [u8; 4] {
    [100, 64, 0, host as u8]
}

/// Numbers of endpoints in a subnet. The first is the gateway's, the second the sending guest's.
pub(crate) const NUMBERS: std::ops::RangeInclusive<u8> = 1..=9;

/// One host's random tables at a time in jiffies.
pub(crate) fn tables(random: &mut Random, now: u64) -> MemoryTables {
    let mut tables = MemoryTables {
        now,
        config: config(random, now),
        learned_capacity: usize::MAX,
        ..MemoryTables::default()
    };
    vpcs(random, &mut tables);
    hosts(random, &mut tables);
    if !random.one_in(40) {
        tables.ports.insert(INTERFACE, port(random));
    }
    match random.below(6) {
        0 => drop(tables.buckets.get_mut().insert(INTERFACE, Bucket { filled: now, tokens: 0 })),
        1 => drop(tables.buckets.get_mut().insert(INTERFACE, Bucket { filled: 0, tokens: 7 })),
        2 => drop(tables.buckets.get_mut().insert(INTERFACE, Bucket::full(now))),
        _ => {}
    }
    for (vpc, &vni) in VNIS[..2].iter().enumerate() {
        for subnet in SUBNETS {
            for number in NUMBERS {
                addressed(random, &mut tables, vpc as u32, vni, Address::v4(v4(subnet, number)));
                addressed(random, &mut tables, vpc as u32, vni, Address::v6(v6(subnet, number)));
            }
        }
    }
    tables
}

fn config(random: &mut Random, now: u64) -> Config {
    let mut fleet = [FleetPrefix { network: !0, mask: 0 }; 8];
    let prefix = |network: [u8; 4], mask: [u8; 4]| FleetPrefix {
        network: u32::from_ne_bytes(network),
        mask: u32::from_ne_bytes(mask),
    };
    fleet[random.below(4)] = prefix([100, 64, 0, 0], [255, 255, 0, 0]);
    fleet[random.within(4, 8)] = prefix([192, 168, 5, 0], [255, 255, 255, 0]);
    Config {
        underlay: Address::v4(underlay(OWN_HOST)),
        fleet,
        keys: keys(random, 0),
        echo_cookie: 0x0123_4567_89ab_cdef,
        // Mostly the agent answers for next hops.
        vouched_until: if random.one_in(6) { now - TICK } else { now + 20 * TICK },
        lease: 3 * TICK as u32,
        longest_pause: 2 * TICK as u32,
        echo_pause: random.pick(&[0, 0, 300, 70_000]),
        teach: 4 * TICK as u32,
        notice_delay: TICK as u32,
        stamp: 2 * TICK as u32,
        // A second of so many jiffies makes what is counted in seconds stand still during a test.
        hz: 100 * TICK as u32,
        nic: NIC,
        own_host: OWN_HOST,
        mark: 0x6d69_7a61,
        nic_mac: [2, 0, 0, 0, 0, 1],
        tos: random.pick(&[0, 0, 0x88]),
        port_bits: PORT_BITS,
    }
}

/// Keys of a VPC, or of the fleet: mostly tags are required.
fn keys(random: &mut Random, of: u8) -> Keys {
    let [before, present, after] = [4, 5, 6].map(|epoch| Key::new([of | epoch << 4; 16]));
    let after = if random.one_in(4) { Key::NONE } else { after };
    match random.below(6) {
        0 => Keys::NONE,
        required => Keys::new(5, [before, present, after], required != 1),
    }
}

fn vpcs(random: &mut Random, tables: &mut MemoryTables) {
    for (vpc, &vni) in VNIS[..2].iter().enumerate() {
        let index = vpc as u32 + 1;
        if !random.one_in(8) {
            let mut dividers = [0; 8];
            for divider in dividers.iter_mut().take(random.below(4)) {
                *divider = host_index(random);
            }
            let quota = random.pick(&[0, 2, 1000, 1000]);
            let keys = keys(random, index as u8);
            tables.vpcs.insert(vni, Vpc { index, quota, dividers, keys });
        }
        tables.learned_count.get_mut().insert(index, random.below(3) as u64);
        for subnet in SUBNETS {
            let row = Route { network: network(vpc as u32, subnet), vpc: index };
            if !random.one_in(6) {
                tables.routes.insert((vni, Address::v4(v4(subnet, 0)), 96 + 24), row);
            }
            if !random.one_in(6) {
                tables.routes.insert((vni, Address::v6(v6(subnet, 0)), 64), row);
            }
        }
        if random.one_in(3) {
            // A wider prefix, which the longer ones go before.
            let row = Route { network: network(vpc as u32, SUBNETS[0]), vpc: index };
            tables.routes.insert((vni, Address::v4([10, 0, 0, 0]), 96 + 16), row);
            tables.routes.insert((vni, Address::v6([0xfd; 16]), 7), row);
        }
    }
}

/// Row of a network in the slot table.
fn network(vpc: u32, subnet: u8) -> u32 {
    vpc * 2 + u32::from(subnet)
}

fn hosts(random: &mut Random, tables: &mut MemoryTables) {
    let now = tables.now;
    for index in OWN_HOST..=9 {
        if index != OWN_HOST && random.one_in(8) {
            continue;
        }
        let unresolved = random.one_in(10);
        let host = Host {
            address: Address::v4(underlay(index)),
            next_hop: if unresolved { [0; 6] } else { [2, 0, 0, 0, 0xff, index as u8] },
            mtu: random.pick(&[1354, 1500, 1500, 9000]),
            used: stamp(random, now),
            alive_until: stamp(random, now),
        };
        tables.hosts.get_mut().insert(index, host);
    }
}

/// Mostly a host that there is.
fn host_index(random: &mut Random) -> u32 {
    if random.one_in(12) { 12 } else { random.within(1, 10) as u32 }
}

fn stamp(random: &mut Random, now: u64) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => now - 20 * TICK,
        2 => now - 3 * TICK,
        3 => now - TICK,
        4 => now + TICK,
        _ => now + 20 * TICK,
    }
}

fn generation(random: &mut Random) -> u64 {
    random.pick(&[1, 2, 3, 1 << 40, (1 << 40) + 1])
}

fn port(random: &mut Random) -> Port {
    let some = |random: &mut Random, octets: [u8; 16]| {
        if random.one_in(10) { Address::NONE } else { Address::v6(octets) }
    };
    Port {
        v6: some(random, v6(1, 2)),
        v6_network: Address::v6(v6(1, 0)),
        v6_gateway: some(random, v6(1, 1)),
        generation: generation(random),
        v4_tag: random.number().to_le_bytes(),
        v6_tag: random.number().to_le_bytes(),
        vni: VNIS[0],
        vpc: 1,
        network: network(0, 1),
        interface: INTERFACE,
        v4: if random.one_in(10) { [0; 4] } else { v4(1, 2) },
        v4_network: v4(1, 0),
        v4_gateway: v4(1, 1),
        flags: random.pick(&[0, Port::SENT_OUT]),
        mtu: random.pick(&[1426, 1426, 1280, 8926]),
        mac: GUEST_MAC,
        v4_prefix: random.pick(&[24, 24, 24, 29, 0]),
        v6_prefix: random.pick(&[64, 64, 64, 125, 0]),
    }
}

/// What is known of an address, for certain or learned, and who holds its slot.
fn addressed(random: &mut Random, tables: &mut MemoryTables, vpc: u32, vni: u32, address: Address) {
    let now = tables.now;
    let kind =
        random.pick(&[0, 0, 0, Endpoint::LOCAL, Endpoint::LOCAL, Endpoint::HELD, Endpoint::MOVED]);
    if kind != 0 {
        let nowhere = kind == Endpoint::MOVED && random.one_in(2);
        let number = address.octets()[15];
        let endpoint = Endpoint {
            generation: generation(random),
            kind,
            interface: 100 + u32::from(number),
            host: if nowhere { 0 } else { host_index(random) },
            vpc: vpc + 1,
            mac: [2, 0, 0, 0, 1, number],
            flags: random.pick(&[0, Port::SENT_OUT]),
        };
        tables.endpoints.insert((vni, address), endpoint);
    }
    if random.one_in(4) && tables.learned.get_mut().len() < LEARNED_CAPACITY {
        let row = Learned {
            generation: generation(random),
            used: stamp(random, now),
            teach_until: stamp(random, now),
            notice_at: random.pick(&[0, now - 3 * TICK, now - TICK, now + TICK]),
            host: if random.one_in(4) { 0 } else { host_index(random) },
            vpc: vpc + 1,
        };
        tables.learned.get_mut().insert((vni, address), row);
    }
    let mut hosts = [0; 4];
    for host in hosts.iter_mut().take(random.below(5)) {
        *host = host_index(random);
    }
    for subnet in SUBNETS {
        tables.holders.insert((network(vpc, subnet), address.slot()), Holders { hosts });
    }
}

/// The row of a host, if an outer source has one: for frames that are to be let in.
pub(crate) fn some_host(random: &mut Random, tables: &MemoryTables) -> [u8; 4] {
    loop {
        let index = random.within(2, 12) as u32;
        // Once in a while one that has no row.
        if tables.host(index).is_some() || random.one_in(8) {
            return underlay(index);
        }
    }
}
