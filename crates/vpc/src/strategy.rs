//! Generators of legal values for property tests.

use crate::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Implements [`Arbitrary`] by a function of this module.
macro_rules! arbitrary {
    ($($type:ty: $function:ident),* $(,)?) => { $(
        impl Arbitrary for $type {
            type Parameters = ();
            type Strategy = BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                $function().boxed()
            }
        }
    )* };
}

arbitrary! {
    Vni: vni,
    NetworkId: network_id,
    Name: name,
    Mac: mac,
    Generation: generation,
    Mtu: mtu,
    Replicas: replicas,
    Attachment: attachment,
    HostConfig: host_config,
    VpcRows: vpc_rows,
    VpcUpdate: vpc_update,
}

/// Every VNI, the smallest and the largest often.
pub fn vni() -> impl Strategy<Value = Vni> {
    let number =
        prop_oneof![1 => Just(Vni::MIN.get()), 1 => Just(Vni::MAX.get()), 8 => 1..1u32 << 24];
    number.prop_filter_map("no VNI", |number| Vni::try_from(number).ok())
}

/// Every network id.
pub fn network_id() -> impl Strategy<Value = NetworkId> {
    (1..=u32::MAX).prop_filter_map("no network id", |number| NetworkId::try_from(number).ok())
}

/// Names of all lengths.
pub fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_filter_map("no name", |text| text.parse().ok())
}

/// Every MAC address that an endpoint may have.
pub fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_filter_map("no MAC address", |[first, rest @ ..]| {
        let [b, c, d, e, f] = rest;
        Mac::try_from([first & !1, b, c, d, e, f]).ok()
    })
}

/// Every generation, neighbours often.
pub fn generation() -> impl Strategy<Value = Generation> {
    let revision = prop_oneof![1..4u64, 1..=Generation::MAX_REVISION];
    (any::<u16>(), revision)
        .prop_filter_map("no generation", |(epoch, revision)| Generation::new(epoch, revision).ok())
}

/// Every MTU of an underlay.
pub fn mtu() -> impl Strategy<Value = Mtu> {
    (Mtu::MIN.get()..=u16::MAX).prop_filter_map("no MTU", |bytes| Mtu::try_from(bytes).ok())
}

/// Every number of replicas.
pub fn replicas() -> impl Strategy<Value = Replicas> {
    (1..=4u8).prop_filter_map("no number of replicas", |number| Replicas::try_from(number).ok())
}

/// Attachments that Linux accepts.
pub fn attachment() -> impl Strategy<Value = Attachment> {
    ("/run/netns/[a-z0-9]{1,20}", "[a-z][a-z0-9]{0,14}")
        .prop_map(|(netns, interface)| Attachment::Veth { netns: netns.into(), interface })
        .prop_filter("reserved", |attachment| attachment.check().is_ok())
}

/// Hosts with one to four prefixes, of which one holds the host.
pub fn host_config() -> impl Strategy<Value = HostConfig> {
    (name(), vec((any::<IpAddr>(), 0..=32u8), 1..=4)).prop_map(|(name, prefixes)| {
        let fleet = prefixes.iter().filter_map(|(address, length)| {
            Some(ipnet::IpNet::new(*address, *length).ok()?.trunc())
        });
        HostConfig { name, underlay: prefixes[0].0, fleet: fleet.collect() }
    })
}

/// Rows of one VPC that a host may have: of few keys, so that two of them have some in common.
pub fn vpc_rows() -> impl Strategy<Value = VpcRows> {
    let networks =
        btree_map((1..5u32).prop_filter_map("", |id| id.try_into().ok()), network_row(), 0..4);
    let held = btree_map((0..12u8).prop_map(address), (host(), generation()), 0..12);
    let few =
        prop_oneof!["[abc]", "[a-f]{2}"].prop_filter_map("", |text| text.parse::<Name>().ok());
    let ports = btree_map(few, (any::<Index>(), port_row()), 0..6);
    (vec(host(), 0..=8), any::<u32>(), networks, ports, held).prop_map(
        |(dividers, quota, networks, ports, held)| {
            let ids: Vec<_> = networks.keys().copied().collect();
            let ports = ports.into_iter().filter(|_| !ids.is_empty());
            let ports = ports.map(|(name, (index, port))| {
                (name, PortRow { network: ids[index.index(ids.len())], ..port })
            });
            let held = held
                .into_iter()
                .map(|(address, (host, generation))| (address, HeldRow { host, generation }));
            VpcRows { dividers, quota, ports: ports.collect(), held: held.collect(), networks }
        },
    )
}

/// Full updates, differences and removals.
pub fn vpc_update() -> impl Strategy<Value = VpcUpdate> {
    let states = (generation(), vpc_rows(), generation(), vpc_rows());
    (vni(), states, 0..3u8).prop_map(|(vni, (base, old, generation, new), kind)| match kind {
        0 => VpcUpdate::full(vni, generation, new),
        1 => VpcUpdate::diff(vni, (base, &old), (generation, &new)),
        _ => VpcUpdate::removal(vni, generation),
    })
}

/// Intents of up to 8 hosts, with VPCs that use the same addresses, and automatic endpoints.
pub fn intent() -> impl Strategy<Value = Intent> {
    resources().prop_map(|resources| {
        Intent::build(&resources, first()).expect("generated resources are legal")
    })
}

/// The resources of [`intent`], much of them left open.
pub fn resources() -> impl Strategy<Value = Resources> {
    (1..=8usize).prop_flat_map(|hosts| {
        let hosts: Vec<_> = (1..=hosts as u8).map(example_host).collect();
        let names: Vec<_> = hosts.iter().map(|host| host.name.clone()).collect();
        let dividers = subsequence(names.clone(), 1..=names.len());
        let bouncers = subsequence(names.clone(), 1..=names.len());
        let families = prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
        let network = (bouncers, families, replicas(), vec(any::<Index>(), 0..20));
        let vpcs = vec((dividers, vec(network, 1..4)), 1..4);
        vpcs.prop_map(move |vpcs| {
            let mut resources =
                Resources { fleet: example_fleet(), hosts: hosts.clone(), ..Resources::default() };
            for (number, (dividers, networks)) in vpcs.into_iter().enumerate() {
                let vpc = named("vpc", number);
                let spec = VpcSpec { name: vpc.clone(), vni: None, quota: None, dividers };
                resources.vpcs.push(spec);
                for (number, network) in networks.into_iter().enumerate() {
                    add_network(&mut resources, &vpc, number as u8, network);
                }
            }
            resources
        })
    })
}

/// The first generation of the first epoch.
pub fn first() -> Generation {
    Generation::new(1, 1).expect("1 is a revision")
}

/// Three hosts, one VPC `blue` with one dual-stack network `web` and two endpoints, `a` and `b`.
pub fn example() -> Resources {
    let hosts: Vec<_> = (1..=3).map(example_host).collect();
    let names: Vec<_> = hosts.iter().map(|host| host.name.clone()).collect();
    let vpc = named("blue", "");
    let mut resources = Resources {
        fleet: example_fleet(),
        hosts,
        vpcs: vec![VpcSpec {
            name: vpc.clone(),
            vni: None,
            quota: None,
            dividers: names[..1].to_vec(),
        }],
        ..Resources::default()
    };
    let network = (names, (true, true), Replicas::default(), Vec::new());
    add_network(&mut resources, &vpc, 0, network);
    resources.networks[0].name = named("web", "");
    resources.endpoints = ["a", "b"].map(|name| example_endpoint(name, "h1")).to_vec();
    resources
}

/// An endpoint of the network of [`example`].
pub fn example_endpoint(name: &str, host: &str) -> EndpointSpec {
    endpoint(&named("blue", ""), &named("web", ""), named(name, ""), named(host, ""))
}

type NetworkSeed = (Vec<Name>, (bool, bool), Replicas, Vec<Index>);

fn add_network(resources: &mut Resources, vpc: &Name, number: u8, seed: NetworkSeed) {
    let (bouncers, (v4, v6), replicas, endpoints) = seed;
    let name = named("net", number);
    let v4_prefix = format!("10.{number}.0.0/16").parse().ok();
    let v6_prefix = format!("fd00:{number}::/64").parse().ok();
    for (index, host) in endpoints.into_iter().enumerate() {
        let host = resources.hosts[host.index(resources.hosts.len())].name.clone();
        let endpoint = endpoint(vpc, &name, named(&format!("{name}-"), index), host);
        resources.endpoints.push(endpoint);
    }
    resources.networks.push(NetworkSpec {
        vpc: vpc.clone(),
        name,
        id: None,
        v4: v4_prefix.filter(|_| v4),
        v6: v6_prefix.filter(|_| v6),
        v4_gateway: None,
        v6_gateway: None,
        replicas,
        bouncers,
    });
}

fn endpoint(vpc: &Name, network: &Name, name: Name, host: Name) -> EndpointSpec {
    let netns = format!("/run/netns/{vpc}-{name}").into();
    EndpointSpec {
        vpc: vpc.clone(),
        network: network.clone(),
        name,
        host,
        v4: None,
        v6: None,
        mac: None,
        generation: None,
        attachment: Attachment::Veth { netns, interface: "eth0".to_owned() },
    }
}

fn example_host(number: u8) -> Host {
    Host { name: named("h", number), underlay: Ipv4Addr::new(192, 0, 2, number).into() }
}

fn example_fleet() -> Vec<ipnet::IpNet> {
    vec![ipnet::IpNet::new_assert(Ipv4Addr::new(192, 0, 2, 0).into(), 24)]
}

fn named(kind: &str, number: impl std::fmt::Display) -> Name {
    format!("{kind}{number}").parse().expect("letters and digits are a name")
}

fn host() -> impl Strategy<Value = IpAddr> {
    (1..20u8).prop_map(|d| Ipv4Addr::new(192, 0, 2, d).into())
}

fn address(number: u8) -> IpAddr {
    if number < 6 {
        Ipv4Addr::new(10, 0, 0, number).into()
    } else {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into()
    }
}

fn network_row() -> impl Strategy<Value = NetworkRow> {
    let holders = btree_map(host(), any::<()>(), 1..=6).prop_map(|hosts| {
        let hosts: Vec<_> = hosts.into_keys().collect();
        let count = hosts.len();
        let holders = |slot| (0..count.min(4)).map(move |i| ((slot + i) % count) as u16).collect();
        SlotHolders { slots: (0..Slot::COUNT).map(holders).collect(), hosts }
    });
    (any::<Ipv4Addr>(), 8..=30u8, any::<Ipv6Addr>(), 16..=126u8, 0..3, holders).prop_map(
        |(v4, v4_length, v6, v6_length, families, holders)| {
            let v4 = ipnet::Ipv4Net::new(v4, v4_length).ok().filter(|_| families != 0);
            let v6 = ipnet::Ipv6Net::new(v6, v6_length).ok().filter(|_| families != 1);
            let (v4, v6) = (v4.map(|prefix| prefix.trunc()), v6.map(|prefix| prefix.trunc()));
            NetworkRow {
                v4_gateway: v4.and_then(|prefix| prefix.hosts().next()),
                v6_gateway: v6.map(|prefix| Ipv6Addr::from(u128::from(prefix.network()) + 1)),
                v4,
                v6,
                holders,
            }
        },
    )
}

fn port_row() -> impl Strategy<Value = PortRow> {
    let v4 = option::of(any::<Ipv4Addr>());
    (mac(), v4, any::<Ipv6Addr>(), generation(), attachment()).prop_map(
        |(mac, v4, v6, generation, attachment)| {
            let v6 = Some(v6).filter(|v6| v4.is_none() || v6.octets()[15] & 1 == 0);
            PortRow { network: NetworkId::MIN, mac, v4, v6, generation, attachment }
        },
    )
}
