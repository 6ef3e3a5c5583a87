//! A small fleet whose tables may say anything, and frames that may hit their rows.
//!
//! Everything is drawn from few values, so that rows refer to each other more often than not.

use super::source::Source;
use mizar_packet::Address;
use mizar_packet::keys::{Key, Keys};
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Bucket, Config, Endpoint, EndpointKey, FleetPrefix, Holders, Host, Learned, Port, Route, Vpc,
};
use mizar_packet::wire::ethernet::{self, GATEWAY};
use mizar_packet::wire::{Ethernet, Ipv4, Ipv6, icmpv6, ipv4, ipv6};
use zerocopy::IntoBytes;

/// Hosts.
pub const HOSTS: usize = 4;
/// VNIs.
pub const VNIS: [u32; 2] = [1, 0xff_ff_ff];
/// Interfaces of each host.
pub const INTERFACES: u32 = 4;
/// Now; rows speak of times around it.
pub const NOW: u64 = 1 << 32;

/// The keys of those that have some.
pub const KEYS: Keys = Keys::new(5, [Key::NONE, Key::new([5; 16]), Key::new([6; 16])], true);

/// Underlay address of a host.
pub fn underlay(host: usize) -> [u8; 4] {
    [100, 64, 0, host as u8]
}

/// The IPv4 addresses that guests have.
pub fn v4(id: u8) -> [u8; 4] {
    [10, 0, id >> 2 & 1, id & 3]
}

/// The IPv6 addresses that guests have.
pub fn v6(id: u8) -> [u8; 16] {
    [0xfd, 0, 0, id >> 2 & 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, id & 3]
}

/// Every address of a VPC.
fn addresses() -> impl Iterator<Item = Address> {
    (0..8).flat_map(|id| [Address::v4(v4(id)), Address::v6(v6(id))])
}

/// The tables of a host.
pub fn tables(source: &mut Source, host: usize) -> MemoryTables {
    let mut tables =
        MemoryTables { config: config(source, host), now: NOW, ..MemoryTables::default() };
    for interface in 0..INTERFACES {
        if !source.seldom(8) {
            let port = port(source, interface, underlay(host));
            tables.ports.insert(interface, port);
        }
        if source.seldom(4) {
            let bucket = Bucket { filled: time(source), tokens: u64::from(source.byte() & 1) };
            tables.buckets.borrow_mut().insert(interface, bucket);
        }
    }
    for index in 1..=HOSTS as u32 {
        if !source.seldom(8) {
            tables.hosts.borrow_mut().insert(index, host_row(source, index));
        }
    }
    for vni in VNIS {
        vpc(source, &mut tables, vni);
    }
    tables.learned_capacity = usize::from(source.byte());
    belong(&mut tables);
    tables
}

/// Endpoints of this host are at interfaces of their own VPC, as agents write them: nothing else is
/// asked of tables for frames to stay where they belong.
fn belong(tables: &mut MemoryTables) {
    let locals = tables.endpoints.iter_mut().filter(|(_, row)| row.kind == Endpoint::LOCAL);
    for ((vni, _), row) in locals {
        let own = || tables.ports.iter().filter(|(_, port)| port.vni == *vni);
        match own().nth(row.interface as usize % own().count().max(1)) {
            Some((&interface, _)) => row.interface = interface,
            None => row.kind = Endpoint::MOVED,
        }
    }
}

fn vpc(source: &mut Source, tables: &mut MemoryTables, vni: u32) {
    if !source.seldom(8) {
        let dividers = source.bytes::<8>().map(host_index);
        let (index, quota, keys) = (vni & 3, u32::from(source.byte()), tables.config.keys);
        let row = Vpc { index, quota, dividers, keys };
        tables.vpcs.insert(vni, row);
    }
    for address in addresses() {
        let key = EndpointKey::new(vni, address);
        match source.byte() % 8 {
            0..3 => {
                tables.endpoints.insert((vni, address), endpoint(source));
            }
            3 | 4 => {
                tables.learned.borrow_mut().insert((key.vni, key.address), learned(source));
            }
            _ => {}
        }
    }
    for network in 0..2u32 {
        for address in addresses() {
            if source.seldom(2) {
                let hosts = source.bytes::<4>().map(host_index);
                tables.holders.insert((network, address.slot()), Holders { hosts });
            }
        }
        let len = if source.seldom(4) { source.byte() } else { 64 };
        let route = Route { network, vpc: vni & 3 };
        tables.routes.insert((vni, Address::v6(v6(4 * network as u8)), len), route);
        tables.routes.insert((vni, Address::v4(v4(4 * network as u8)), 96 + len / 3), route);
    }
}

fn config(source: &mut Source, host: usize) -> Config {
    let mut fleet = Config::EMPTY.fleet;
    let any = source.seldom(8);
    fleet[7] = FleetPrefix {
        network: if any { 0 } else { u32::from_ne_bytes([100, 64, 0, 0]) },
        mask: if any { 0 } else { u32::from_ne_bytes([255, 255, 0, 0]) },
    };
    Config {
        underlay: Address::v4(underlay(host)),
        fleet,
        // Every other host believes only what is signed, and that is half of the ports' locations.
        keys: [Keys::NONE, KEYS][host & 1],
        echo_cookie: u64::from(source.byte()),
        lease: u32::from(source.byte()),
        teach: u32::from(source.byte()),
        notice_delay: u32::from(source.byte()),
        stamp: u32::from(source.byte()),
        hz: 100,
        own_host: host as u32 + 1,
        nic_mac: [2, 0, 0, 0, 1, host as u8],
        tos: source.byte() & 0xfc,
        ..Config::EMPTY
    }
}

fn port(source: &mut Source, interface: u32, host: [u8; 4]) -> Port {
    let id = source.byte();
    let own = if source.seldom(8) { [0; 4] } else { v4(id) };
    let port = Port {
        v6: if source.seldom(8) { Address::NONE } else { Address::v6(v6(id)) },
        v6_network: Address::v6(v6(id & 4)),
        v6_gateway: Address::v6(v6(id & 4 | 1)),
        generation: u64::from(source.byte()),
        v4_tag: [0; 8],
        v6_tag: [0; 8],
        vni: source.pick(&VNIS),
        vpc: u32::from(source.byte() & 3),
        network: u32::from(id >> 2 & 1),
        interface,
        v4: own,
        v4_network: v4(id & 4),
        v4_gateway: v4(id & 4 | 1),
        flags: source.short(),
        mtu: if source.seldom(4) { source.short() } else { 1440 },
        mac: mac(interface),
        v4_prefix: if source.seldom(4) { source.byte() } else { 24 },
        v6_prefix: if source.seldom(4) { source.byte() } else { 64 },
    };
    let tag =
        KEYS.sign_location(&EndpointKey::new(port.vni, Address::v4(own)), host, port.generation);
    Port { v4_tag: tag, ..port }
}

fn endpoint(source: &mut Source) -> Endpoint {
    Endpoint {
        generation: u64::from(source.byte()),
        kind: u32::from(source.byte() & 3),
        interface: u32::from(source.byte()) % INTERFACES,
        host: host_index(source.byte()),
        vpc: u32::from(source.byte() & 3),
        mac: mac(9),
        flags: source.short(),
    }
}

fn learned(source: &mut Source) -> Learned {
    Learned {
        generation: u64::from(source.byte()),
        used: time(source),
        teach_until: time(source),
        notice_at: time(source),
        host: host_index(source.byte()),
        vpc: u32::from(source.byte() & 3),
    }
}

fn host_row(source: &mut Source, index: u32) -> Host {
    let other = source.seldom(8);
    let address = if other { usize::from(source.byte()) % HOSTS } else { index as usize - 1 };
    Host {
        address: Address::v4(underlay(address)),
        next_hop: if source.seldom(8) { [0; 6] } else { [2, 0, 0, 0, 2, index as u8] },
        mtu: if source.seldom(4) { source.short() } else { 1500 },
        used: time(source),
        alive_until: time(source),
    }
}

/// A row of the host table, mostly of a host that there is.
fn host_index(byte: u8) -> u32 {
    u32::from(byte % 8) * 5 / 7
}

/// A time around now.
fn time(source: &mut Source) -> u64 {
    NOW - 128 + u64::from(source.byte())
}

/// MAC address of the guest behind an interface.
pub fn mac(interface: u32) -> [u8; 6] {
    [2, 0, 0, 0, 0, interface as u8]
}

/// A guest's frame, sound or not, that has to do with the tables; and the interface it goes into.
pub fn guest_frame(source: &mut Source, hosts: &MemoryTables) -> (u32, Vec<u8>) {
    let interface = u32::from(source.byte()) % INTERFACES;
    let payload_len = usize::from(source.byte()) * if source.seldom(4) { 7 } else { 1 };
    let (is_v6, ttl, protocol) = (source.seldom(2), source.byte(), source.byte());
    let (to, tos) = (source.byte(), source.byte());
    let port = hosts.ports.get(&interface).copied();
    let payload = source.take(payload_len);
    let mut frame = Vec::new();
    let ethertype = if is_v6 { ethernet::IPV6 } else { ethernet::IPV4 };
    frame.extend(Ethernet::new(GATEWAY, mac(interface), ethertype).as_bytes());
    let len = payload.len() as u16;
    if is_v6 {
        let protocol = if protocol & 1 == 0 { protocol } else { ipv6::ICMPV6 };
        let ttl = if ttl & 3 == 0 { icmpv6::HOP_LIMIT } else { ttl };
        let src = port.map_or(v6(0), |port| port.v6.octets());
        let mut ip = Ipv6::new(len, protocol, ttl, src, v6(to));
        ip.set_class(tos);
        frame.extend(ip.as_bytes());
    } else {
        let protocol = [ipv4::UDP, ipv4::TCP, ipv4::ICMP, protocol][usize::from(protocol & 3)];
        let src = port.map_or(v4(0), |port| port.v4);
        frame.extend(Ipv4::new(len, protocol, tos, ttl, src, v4(to)).as_bytes());
    }
    frame.extend(payload);
    // A few bytes are other than they should be.
    while let [at, value, rest @ ..] = source.0 {
        source.0 = rest;
        if let Some(byte) = frame.get_mut(usize::from(*at)) {
            *byte ^= value;
        }
    }
    (interface, frame)
}
