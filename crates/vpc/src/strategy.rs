//! Generators of legal values for property tests.

use crate::*;
use ipnet::{Ipv4Net, Ipv6Net};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use std::collections::BTreeMap;
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

/// Attachments of endpoints with addresses of both families.
pub fn attachment() -> impl Strategy<Value = Attachment> {
    let interface = || "[a-z][a-z0-9]{0,14}";
    let veth = ("/run/netns/[a-z0-9]{1,20}", interface())
        .prop_map(|(netns, interface)| Attachment::Veth { netns: netns.into(), interface });
    let v4 = (0..4u8).prop_map(|net| Ipv4Net::new_assert([10, 200, net, 0].into(), 24).into());
    let v6 = (0..4u16)
        .prop_map(|net| Ipv6Net::new_assert([0xfd00, 0x200, net, 0, 0, 0, 0, 0].into(), 48).into());
    let routes = btree_set(prop_oneof![v4, v6], 0..4);
    let host = (interface(), routes).prop_map(|(interface, routes)| Attachment::Host {
        interface,
        routes: routes.into_iter().collect(),
    });
    prop_oneof![veth, host]
        .prop_filter("reserved", |attachment| attachment.check(true, true).is_ok())
}

/// The attachment, without routes of families that an endpoint does not have.
fn within_families(mut attachment: Attachment, has_v4: bool, has_v6: bool) -> Attachment {
    if let Attachment::Host { routes, .. } = &mut attachment {
        routes.retain(|route| if route.addr().is_ipv4() { has_v4 } else { has_v6 });
    }
    attachment
}

/// Hosts of either family, in one of the one to four prefixes of their fleet.
pub fn host_config() -> impl Strategy<Value = HostConfig> {
    let v4 = (1..=223u8, any::<[u8; 3]>())
        .prop_map(|(a, [b, c, d])| IpAddr::from([if a == 127 { 10 } else { a }, b, c, d]));
    let v6 = any::<[u16; 7]>()
        .prop_map(|[b, c, d, e, f, g, h]| IpAddr::from([0x2001, b, c, d, e, f, g, h]));
    let prefix = (prop_oneof![v4, v6], 0..=32u8);
    (name(), vec(prefix, 1..=4), option::of(tag_keys())).prop_map(|(name, prefixes, keys)| {
        let fleet = prefixes
            .iter()
            .map(|&(address, length)| ipnet::IpNet::new_assert(address, length).trunc());
        let (underlay, fleet) = (prefixes[0].0, fleet.collect());
        HostConfig { name, underlay, fleet, keys }
    })
}

/// Keys of few epochs; all bytes of a key are the same.
pub fn tag_keys() -> impl Strategy<Value = TagKeys> {
    (1..4u64, any::<bool>()).prop_map(|(epoch, required)| {
        let key = |epoch: u64| TagKey::new([epoch as u8; 16]);
        let [before, present, after] = [key(epoch - 1), key(epoch), key(epoch + 1)];
        TagKeys { epoch, before, present, after, required }
    })
}

/// Rows of one VPC that a host may have: of few keys, so that two of them have some in common.
pub fn vpc_rows() -> impl Strategy<Value = VpcRows> {
    let networks = btree_map(1..=4u8, (any::<(bool, bool)>(), holders()), 0..4);
    let migration = option::of(option::of(host()));
    let port = (any::<Index>(), mac(), any::<bool>(), generation(), attachment(), migration);
    let ports = btree_map(0..8u8, port, 0..6);
    let held = btree_map(100..120u8, (any::<Index>(), host(), generation()), 0..12);
    let dividers = subsequence((1..20).collect::<Vec<u8>>(), 0..=8);
    let keys = option::of(tag_keys());
    (dividers, any::<u32>(), keys, networks, ports, held).prop_map(
        |(dividers, quota, keys, networks, ports, held)| {
            let networks = networks
                .into_iter()
                .map(|(number, (families, holders))| network_row(number, families, holders));
            let networks: BTreeMap<_, _> = networks.collect();
            let ids: Vec<_> = networks.keys().copied().collect();
            let pick = |index: Index| (!ids.is_empty()).then(|| ids[index.index(ids.len())]);
            let mut rows = VpcRows { quota, keys, ..VpcRows::default() };
            rows.dividers = dividers.into_iter().map(underlay).collect();
            for (number, (index, mac, single, generation, attachment, migration)) in ports {
                let Some(network) = pick(index) else { continue };
                let (v4, v6) = addresses_in(&networks[&network], number + 2);
                let v6 = v6.filter(|_| v4.is_none() || !single);
                let attachment = within_families(attachment, v4.is_some(), v6.is_some());
                let migration =
                    migration.map(|to| to.map_or(PortMigration::Here, PortMigration::To));
                let port = PortRow { network, mac, v4, v6, generation, attachment, migration };
                // Another port's MAC address is too rare to be worth a retry.
                if rows.ports.values().all(|other| other.mac != mac) {
                    rows.ports.insert(named("p", number), port);
                }
            }
            for (number, (index, host, generation)) in held {
                let network = pick(index).map(|network| &networks[&network]);
                let (v4, v6) = network.map_or((None, None), |row| addresses_in(row, number));
                let address = v4.map(IpAddr::V4).or(v6.map(IpAddr::V6));
                rows.held.extend(address.map(|address| (address, HeldRow { host, generation })));
            }
            VpcRows { networks, ..rows }
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

fn named(kind: &str, number: impl std::fmt::Display) -> Name {
    format!("{kind}{number}").parse().expect("letters and digits are a name")
}

fn host() -> impl Strategy<Value = IpAddr> {
    (1..20u8).prop_map(underlay)
}

fn underlay(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn holders() -> impl Strategy<Value = SlotHolders> {
    subsequence((1..20).collect::<Vec<u8>>(), 1..=6).prop_map(|hosts| {
        let count = hosts.len();
        let holders = |slot| (0..count.min(4)).map(move |i| ((slot + i) % count) as u16).collect();
        let hosts = hosts.into_iter().map(underlay).collect();
        SlotHolders { slots: (0..Slot::COUNT).map(holders).collect(), hosts }
    })
}

fn network_row(
    number: u8,
    (v4, v6): (bool, bool),
    holders: SlotHolders,
) -> (NetworkId, NetworkRow) {
    let id = NetworkId::try_from(u32::from(number)).unwrap_or(NetworkId::MIN);
    let v4 = (v4 || !v6).then(|| Ipv4Net::new_assert(Ipv4Addr::new(10, number, 0, 0), 16));
    let base = Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, 0);
    let v6 = v6.then(|| Ipv6Net::new_assert(base, 64));
    let mut row = NetworkRow { v4, v6, v4_gateway: None, v6_gateway: None, holders };
    (row.v4_gateway, row.v6_gateway) = addresses_in(&row, 1);
    (id, row)
}

/// The addresses with this number in a network.
fn addresses_in(row: &NetworkRow, number: u8) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let v4 = row.v4.map(|prefix| Ipv4Addr::from(u32::from(prefix.network()) + u32::from(number)));
    let v6 = row.v6.map(|prefix| Ipv6Addr::from(u128::from(prefix.network()) + u128::from(number)));
    (v4, v6)
}
