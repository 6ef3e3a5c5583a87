//! Traces over a small fleet in memory: a guest on h1 and one on h3, whose network h2 bounces for.

use super::fleet::{Fleet, Host, Named};
use super::packet::{Packet, Protocol};
use super::report::{self, Place, Trace, Verdict, Way};
use super::walk::{End, Walk, walk};
use super::{foretell, hint};
use mizar_packet::keys::Keys;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Config, Endpoint, FLEET_PREFIXES, FleetPrefix, Holders, Host as HostRow, Learned, Port, Route,
    Vpc,
};
use mizar_packet::{Address, Reason};
use std::collections::BTreeMap;
use zerocopy::FromZeros;

const VNI: u32 = 7;
const NETWORK: u32 = 1;
const GUEST_A: [u8; 4] = [10, 0, 0, 2];
const GUEST_B: [u8; 4] = [10, 0, 0, 3];
/// The interface of either guest on its host.
const INTERFACE: u32 = 5;
const HZ: u32 = 100;

fn underlay(host: u8) -> Address {
    Address::v4([100, 64, 0, host])
}

/// The tables of host 1, 2 or 3, which have each other in rows 1 to 3.
fn tables(own: u8) -> MemoryTables {
    let prefix = FleetPrefix {
        network: u32::from_ne_bytes([100, 64, 0, 0]),
        mask: u32::from_ne_bytes([255, 255, 255, 0]),
    };
    let mut fleet = [FleetPrefix { network: !0, mask: 0 }; FLEET_PREFIXES];
    fleet[0] = prefix;
    let row = |host: u8| HostRow {
        address: underlay(host),
        next_hop: [2, 0, 0, 0, 0, host],
        mtu: 1500,
        used: 0,
        alive_until: 0,
    };
    let mut tables = MemoryTables {
        config: Config {
            underlay: underlay(own),
            fleet,
            lease: 30,
            teach: HZ,
            notice_delay: 10,
            stamp: 10,
            hz: HZ,
            own_host: own.into(),
            ..Config::EMPTY
        },
        now: 10_000,
        hosts: BTreeMap::from([1, 2, 3].map(|host: u8| (host.into(), row(host)))).into(),
        ..MemoryTables::default()
    };
    let dividers = [2, 0, 0, 0, 0, 0, 0, 0];
    tables.vpcs.insert(VNI, Vpc { index: 1, quota: 100, dividers, keys: Keys::NONE });
    for slot in 0..=u8::MAX {
        tables.holders.insert((NETWORK, slot), Holders { hosts: [2, 0, 0, 0] });
    }
    tables
}

fn port(address: [u8; 4]) -> Port {
    Port {
        vni: VNI,
        vpc: 1,
        network: NETWORK,
        interface: INTERFACE,
        v4: address,
        v4_network: [10, 0, 0, 0],
        v4_prefix: 24,
        v4_gateway: [10, 0, 0, 1],
        mtu: 1426,
        mac: [2, 0, 0, 0, 0, address[3]],
        generation: 1,
        ..Port::new_zeroed()
    }
}

fn endpoint(kind: u32, host: u32) -> Endpoint {
    let interface = if kind == Endpoint::LOCAL { INTERFACE } else { 0 };
    Endpoint { generation: 1, kind, interface, host, vpc: 1, mac: [2; 6], flags: 0 }
}

fn fleet() -> Fleet {
    let (mut h1, mut h2, mut h3) = (tables(1), tables(2), tables(3));
    for (tables, address) in [(&mut h1, GUEST_A), (&mut h3, GUEST_B)] {
        tables.ports.insert(INTERFACE, port(address));
        tables.endpoints.insert((VNI, Address::v4(address)), endpoint(Endpoint::LOCAL, 0));
    }
    for (address, host) in [(GUEST_A, 1), (GUEST_B, 3)] {
        h2.endpoints.insert((VNI, Address::v4(address)), endpoint(Endpoint::HELD, host));
    }
    let prefix = (VNI, Address::v4([10, 0, 0, 0]), 96 + 24);
    h2.routes.insert(prefix, Route { network: NETWORK, vpc: 1 });
    let host = |number: u8, tables| Host {
        name: format!("h{number}"),
        underlay: underlay(number),
        agent_is_down: None,
        tables: Ok(tables),
    };
    let named = |(address, name, host): ([u8; 4], &str, &str)| {
        let named = Named { name: name.to_owned(), host: host.to_owned() };
        ((VNI, Address::v4(address)), named)
    };
    let endpoints = [(GUEST_A, "blue/a", "h1"), (GUEST_B, "blue/b", "h3")];
    Fleet {
        hosts: vec![host(1, h1), host(2, h2), host(3, h3)],
        endpoints: endpoints.map(named).into(),
        ..Fleet::default()
    }
}

fn packet(dst: [u8; 4], size: u16) -> Packet {
    let (src, dst) = (Address::v4(GUEST_A), Address::v4(dst));
    Packet { protocol: Protocol::Icmp, src, dst, port: 0, size, is_answer: false }
}

fn go(fleet: &Fleet, packet: &Packet) -> Walk {
    walk(fleet, &fleet.hosts[0], INTERFACE, packet.frame(&port(GUEST_A)))
}

fn way(fleet: &Fleet, packet: &Packet) -> Way {
    report::way(fleet, packet.to_string(), &go(fleet, packet))
}

fn learned(host: u32, used: u64) -> Learned {
    Learned { generation: 1, used, teach_until: 0, notice_at: 0, host, vpc: 1 }
}

#[test]
fn a_first_packet_is_told_hop_by_hop_with_the_rows_that_decided() {
    let fleet = fleet();
    let packet = packet(GUEST_B, 84);
    let there = go(&fleet, &packet);
    let later = foretell::later(&fleet, &fleet.hosts[0], INTERFACE, &packet).unwrap().unwrap();
    let place = |endpoint: &str, address: &str, host: &str| Place {
        endpoint: Some(endpoint.to_owned()),
        address: address.to_owned(),
        host: Some(host.to_owned()),
    };
    let trace = Trace {
        lab: None,
        vpc: "blue".to_owned(),
        vni: VNI,
        from: place("blue/a", "10.0.0.2", "h1"),
        to: place("blue/b", "10.0.0.3", "h3"),
        packet: packet.to_string(),
        notes: vec!["it rains".to_owned()],
        there: report::way(&fleet, packet.to_string(), &there),
        back: None,
        later: Some(later.hosts().map(|host| fleet.host_name(host)).collect()),
    };
    assert_eq!(
        report::text(&trace),
        "\
blue/a (10.0.0.2 on h1) → blue/b (10.0.0.3 on h3)
ICMP echo request, 84 bytes, in VPC blue (VNI 7)
note: it rains

1. h1 depart: sent to a bouncer of the destination's network
     port      interface 5           blue/a, VNI 7, MTU 1426
     endpoint  10.0.0.3              no row
     learned   10.0.0.3              no row
     tokens    interface 5           one taken
   ▸ holders   10.0.0.0/24 slot 203  bouncers h2
     host      h2                    100.64.0.2, not proven alive, MTU 1500
     asks its agent whether h2 is alive
   → h2: 100.64.0.1 → 100.64.0.2, TTL 255, 158 bytes, location h1, asks
2. h2 bounce: re-addressed by this host as a bouncer
   ▸ endpoint  10.0.0.3  on h3; held here
     host      h3        100.64.0.3, not proven alive, MTU 1500
   → h3: 100.64.0.2 → 100.64.0.3, TTL 223, 158 bytes, location h1, asks
3. h3 arrive: unwrapped for an endpoint of this host
   ▸ endpoint  10.0.0.3  blue/b, on this host at interface 5
     endpoint  10.0.0.2  no row
     vpc       VNI 7     dividers h2
     learned   10.0.0.2  no row
     host      h1        100.64.0.1, not proven alive, MTU 1500
     asks its agent whether h1 is alive
     learns that 10.0.0.2 is on h1
✓ delivered to blue/b on h3, by way of bouncer h2
  once both hosts have learned: h1 → h3
"
    );
}

#[test]
fn a_learned_location_is_used_while_its_host_is_known_to_be_alive() {
    let mut fleet = fleet();
    let Ok(tables) = &mut fleet.hosts[0].tables else { panic!() };
    tables.learned.get_mut().insert((VNI, Address::v4(GUEST_B)), learned(3, 9_950));
    assert_eq!(go(&fleet, &packet(GUEST_B, 84)).steps.len(), 3, "not proven alive");

    let Ok(tables) = &mut fleet.hosts[0].tables else { panic!() };
    tables.hosts.get_mut().get_mut(&3).unwrap().alive_until = 10_001;
    let way = way(&fleet, &packet(GUEST_B, 84));
    assert_eq!(way.text, "delivered to blue/b on h3, direct");
    let deciding: Vec<_> = way.hops[0].rows.iter().filter(|row| row.decides).collect();
    assert_eq!((deciding.len(), deciding[0].table), (1, "learned"));
    assert_eq!(deciding[0].found.as_deref(), Some("on h3, used 0.5 s ago"));
    assert_eq!(way.hops[0].sent.as_ref().unwrap().options, Vec::<String>::new());
}

#[test]
fn what_does_not_exist_is_dropped_with_the_reason_and_a_hint() {
    let way = way(&fleet(), &packet([10, 0, 0, 99], 84));
    assert_eq!((way.verdict, way.reason), (Verdict::Dropped, Some("no_endpoint")));
    assert_eq!(way.text, "dropped on h2: the destination does not exist");
    assert_eq!(way.hint, Some(hint::hint(Reason::NoEndpoint)));
    let last = way.hops.last().unwrap();
    assert_eq!(last.counted, ["no_endpoint"]);
    assert_eq!(last.rows.iter().filter(|row| row.decides).count(), 1);
}

#[test]
fn other_networks_without_a_route_are_named() {
    let way = way(&fleet(), &packet([10, 9, 9, 9], 84));
    assert_eq!((way.reason, way.hops.len()), (Some("no_route"), 2));
    assert!(way.hops[1].rows.iter().any(|row| row.decides && row.table == "route"));
}

#[test]
fn too_big_a_packet_is_refused_with_the_size_that_fits() {
    let way = way(&fleet(), &packet(GUEST_B, 1427));
    assert_eq!(way.verdict, Verdict::Refused);
    assert_eq!(way.text, "refused on h1: the guest is told that 1426 bytes fit");
    assert!(!way.verdict.is_arrival());
}

#[test]
fn a_gateway_answers_pings_itself() {
    let way = way(&fleet(), &packet([10, 0, 0, 1], 84));
    assert_eq!(way.text, "answered by the network's gateway, on h1");
    assert!(way.verdict.is_arrival());
}

#[test]
fn an_answer_finds_its_way_back() {
    let fleet = fleet();
    let packet = packet(GUEST_B, 84);
    let there = go(&fleet, &packet);
    let back = foretell::back(&fleet, &there, &packet).unwrap();
    let End::Delivered { host, .. } = back.end else { panic!("{:?}", back.end) };
    assert_eq!(host, underlay(1));
    // What h3 has just learned is of no use yet: it does not know whether h1 is alive.
    assert_eq!(back.hosts().collect::<Vec<_>>(), [3, 2, 1].map(underlay));
}

#[test]
fn without_an_agent_nobody_proves_that_the_other_host_is_alive() {
    let mut fleet = fleet();
    fleet.hosts[0].agent_is_down = Some("it sleeps".to_owned());
    let later =
        foretell::later(&fleet, &fleet.hosts[0], INTERFACE, &packet(GUEST_B, 84)).unwrap().unwrap();
    assert_eq!(later.hosts().collect::<Vec<_>>(), [1, 2, 3].map(underlay));
}

#[test]
fn a_host_that_cannot_be_looked_into_ends_the_trace_without_a_verdict() {
    let mut fleet = fleet();
    fleet.hosts[1].tables = Err("no pins".to_owned());
    let way = way(&fleet, &packet(GUEST_B, 84));
    assert_eq!(way.verdict, Verdict::Unknown);
    assert!(way.text.ends_with("the tables of host h2 cannot be read: no pins"), "{}", way.text);
}

#[test]
fn tracing_leaves_the_tables_that_it_foretells_from_alone() {
    let fleet = fleet();
    foretell::later(&fleet, &fleet.hosts[0], INTERFACE, &packet(GUEST_B, 84)).unwrap();
    for host in &fleet.hosts {
        let Ok(tables) = &host.tables else { panic!() };
        assert!(!tables.written.get() && tables.events.borrow().is_empty(), "{}", host.name);
    }
}
