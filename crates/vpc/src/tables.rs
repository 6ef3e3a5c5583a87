//! What the kernel's tables must hold for one VPC, and how they differ from what they do hold.
//!
//! Rows as told by the controller go in, rows as the kernel has them come out. Executing the
//! difference decides nothing.

use crate::{HeldRow, NetworkId, NetworkRow, PortRow, Slot, VpcRows};
use ipnet::IpNet;
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{
    DIVIDERS, Endpoint, EndpointKey, Holders, HostIndex, NetworkIndex, Port, REPLICAS, Route,
    RouteKey, SLOTS, Vpc, VpcIndex,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rows of one VPC in the kernel's tables, apart from those that this host holds as a bouncer:
/// these are many, and are told row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpcTables {
    /// By network index × 256 + slot.
    pub holders: BTreeMap<u32, Holders>,
    /// The VPC's own row, unless it is to be removed.
    pub vpc: Option<Vpc>,
    /// Which network an address is in.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Of kind LOCAL.
    pub endpoints: BTreeMap<Address, Endpoint>,
    /// By interface index.
    pub ports: BTreeMap<u32, Port>,
}

/// The indices that rows refer to each other by.
#[derive(Clone, Debug, Default)]
pub struct Assigned {
    /// The VPC's.
    pub vpc: VpcIndex,
    /// Those of the networks that are assigned.
    pub networks: BTreeMap<NetworkId, NetworkIndex>,
    /// Those of the hosts that have rows.
    pub hosts: BTreeMap<IpAddr, HostIndex>,
}

/// What a guest's rows refer to.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its VPC's index.
    pub vpc: VpcIndex,
    /// Its network's index.
    pub network: NetworkIndex,
    /// Largest IP packet of guests, in bytes.
    pub guest_mtu: u16,
    /// This host's underlay address.
    pub underlay: Address,
    /// What its locations are signed with.
    pub keys: Keys,
}

/// Keys of rows that go, table by table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Of slots' holders.
    pub holders: BTreeSet<u32>,
    /// The VPC's own row.
    pub vpc: bool,
    /// Of networks' prefixes.
    pub routes: BTreeSet<RouteKey>,
    /// Of guests' addresses.
    pub endpoints: BTreeSet<Address>,
    /// Of guests' interfaces.
    pub ports: BTreeSet<u32>,
}

impl Gone {
    /// All that is there and not desired.
    pub fn all(current: &VpcTables, desired: &VpcTables) -> Self {
        Self {
            holders: superfluous(&current.holders, &desired.holders),
            vpc: current.vpc.is_some() && desired.vpc.is_none(),
            routes: superfluous(&current.routes, &desired.routes),
            endpoints: superfluous(&current.endpoints, &desired.endpoints),
            ports: superfluous(&current.ports, &desired.ports),
        }
    }

    /// Keeps what is there and not desired.
    pub fn restrict(&mut self, current: &VpcTables, desired: &VpcTables) {
        fn keep<K: Ord, V>(gone: &mut BTreeSet<K>, there: &BTreeMap<K, V>, not: &BTreeMap<K, V>) {
            gone.retain(|key| there.contains_key(key) && !not.contains_key(key));
        }
        keep(&mut self.holders, &current.holders, &desired.holders);
        keep(&mut self.routes, &current.routes, &desired.routes);
        keep(&mut self.endpoints, &current.endpoints, &desired.endpoints);
        keep(&mut self.ports, &current.ports, &desired.ports);
        self.vpc = false;
    }
}

/// The rows of a table that are new or different.
pub fn changed<K: Ord + Copy, V: PartialEq + Copy>(
    current: &BTreeMap<K, V>,
    desired: &BTreeMap<K, V>,
) -> Vec<(K, V)> {
    let changed = desired.iter().filter(|(key, row)| current.get(key) != Some(row));
    changed.map(|(key, row)| (*key, *row)).collect()
}

fn superfluous<K: Ord + Copy, V>(
    current: &BTreeMap<K, V>,
    desired: &BTreeMap<K, V>,
) -> BTreeSet<K> {
    current.keys().filter(|key| !desired.contains_key(key)).copied().collect()
}

/// The key of a prefix in a VPC.
pub fn route_key(vni: u32, prefix: IpNet) -> RouteKey {
    let mapped = if prefix.addr().is_ipv4() { 96 } else { 0 };
    RouteKey::new(vni, prefix.network().into(), mapped + prefix.prefix_len())
}

/// The prefix that stands for a network as long as the agent knows it: the IPv4 one if it has one.
pub fn network_key(vni: u32, network: &NetworkRow) -> Option<RouteKey> {
    prefixes(network).next().map(|prefix| route_key(vni, prefix))
}

/// The tables of those networks that are assigned, without the guests' interfaces, whose rows go by
/// indices that they have yet to get.
pub fn tables(vni: u32, rows: &VpcRows, assigned: &Assigned) -> VpcTables {
    let mut tables = VpcTables {
        vpc: Some(Vpc {
            index: assigned.vpc,
            quota: rows.quota,
            dividers: list::<DIVIDERS>(rows.dividers.iter().copied(), assigned),
            keys: rows.keys.map_or(Keys::NONE, Keys::from),
        }),
        ..VpcTables::default()
    };
    for (id, &index) in &assigned.networks {
        let Some(network) = rows.networks.get(id) else { continue };
        let route = Route { network: index, vpc: assigned.vpc };
        let keys = prefixes(network).map(|prefix| (route_key(vni, prefix), route));
        tables.routes.extend(keys);
        for slot in Slot::all() {
            let hosts = list::<REPLICAS>(network.holders.holders(slot), assigned);
            tables.holders.insert(holders_row(index, slot.get()), Holders { hosts });
        }
    }
    tables
}

/// The rows of one guest whose interface has that index: that of the interface, without which what
/// the guest sends is dropped, and those of its addresses, by which frames are delivered to it.
pub fn port(
    vni: u32,
    port: &PortRow,
    network: &NetworkRow,
    interface: u32,
    place: Place,
) -> (Port, BTreeMap<Address, Endpoint>) {
    let generation = port.generation.get();
    let mac = port.mac.octets();
    let flags = if port.attachment.is_host() { Port::SENT_OUT } else { 0 };
    let endpoint = Endpoint {
        generation,
        kind: Endpoint::LOCAL,
        interface,
        host: 0,
        vpc: place.vpc,
        mac,
        flags,
    };
    // Nothing is delivered yet to one that is only going to live here.
    let addresses = port.addresses().filter(|_| port.lives_here());
    let endpoints = addresses.map(|address| (address.into(), endpoint)).collect();
    let (v4_network, v4_prefix) =
        network.v4.map_or(([0; 4], 0), |prefix| (prefix.network().octets(), prefix.prefix_len()));
    let (v6_network, v6_prefix) = network
        .v6
        .map_or((Address::NONE, 0), |prefix| (prefix.network().into(), prefix.prefix_len()));
    // An address that it does not have is in no location.
    let tag = |address| {
        let key = EndpointKey::new(vni, address);
        place.keys.sign_location(&key, place.underlay.v4_octets(), generation)
    };
    let row = Port {
        v6: or_none(port.v6),
        v6_network,
        v6_gateway: or_none(network.v6_gateway),
        generation,
        v4_tag: port.v4.map_or([0; 8], |v4| tag(v4.into())),
        v6_tag: port.v6.map_or([0; 8], |v6| tag(v6.into())),
        vni,
        vpc: place.vpc,
        network: place.network,
        interface,
        v4: or_zero(port.v4),
        v4_network,
        v4_gateway: or_zero(network.v4_gateway),
        flags,
        mtu: place.guest_mtu,
        mac,
        v4_prefix,
        v6_prefix,
    };
    (row, endpoints)
}

/// The row of an endpoint that this host bounces for.
pub fn held(row: &HeldRow, host: HostIndex, vpc: VpcIndex) -> Endpoint {
    let generation = row.generation.get();
    Endpoint { generation, kind: Endpoint::HELD, host, vpc, ..Endpoint::NOWHERE }
}

/// The row that is left of an endpoint that was on this host.
pub fn moved(row: &Endpoint) -> Endpoint {
    let Endpoint { generation, vpc, .. } = *row;
    Endpoint { generation, kind: Endpoint::MOVED, vpc, ..Endpoint::NOWHERE }
}

/// The row of a slot in the table of holders.
pub fn holders_row(network: NetworkIndex, slot: u8) -> u32 {
    network * SLOTS as u32 + u32::from(slot)
}

/// A network's routes.
pub fn routes(vni: u32, network: &NetworkRow) -> impl Iterator<Item = RouteKey> {
    prefixes(network).map(move |prefix| route_key(vni, prefix))
}

fn prefixes(network: &NetworkRow) -> impl Iterator<Item = IpNet> {
    network.v4.map(IpNet::V4).into_iter().chain(network.v6.map(IpNet::V6))
}

/// The first `N` of the hosts that have rows; 0 ends the list.
fn list<const N: usize>(
    hosts: impl Iterator<Item = IpAddr>,
    assigned: &Assigned,
) -> [HostIndex; N] {
    let mut list = [0; N];
    let known = hosts.filter_map(|host| assigned.hosts.get(&host));
    for (place, index) in list.iter_mut().zip(known) {
        *place = *index;
    }
    list
}

fn or_none(address: Option<Ipv6Addr>) -> Address {
    address.map_or(Address::NONE, Address::from)
}

fn or_zero(address: Option<Ipv4Addr>) -> [u8; 4] {
    address.map_or([0; 4], |address| address.octets())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attachment, Generation, SlotHolders, TagKey, TagKeys};
    use proptest::prelude::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));
    const VNI: u32 = 7;

    fn example() -> (VpcRows, Assigned) {
        let id = NetworkId::MIN;
        let network = NetworkRow {
            v4: Some("10.1.0.0/16".parse().unwrap()),
            v6: Some("fd00:1::/64".parse().unwrap()),
            v4_gateway: Some(Ipv4Addr::new(10, 1, 0, 1)),
            v6_gateway: None,
            holders: SlotHolders {
                hosts: vec![HERE, THERE],
                slots: (0..SLOTS)
                    .map(|slot| vec![slot as u16 % 2, (slot as u16 + 1) % 2])
                    .collect(),
            },
        };
        let rows = VpcRows {
            dividers: vec![THERE, HERE],
            quota: 9,
            networks: [(id, network)].into(),
            ..VpcRows::default()
        };
        let assigned =
            Assigned { vpc: 3, networks: [(id, 5)].into(), hosts: [(HERE, 1), (THERE, 2)].into() };
        (rows, assigned)
    }

    #[test]
    fn rows_of_a_vpc_refer_to_each_other_by_index() {
        let (rows, assigned) = example();
        let tables = tables(VNI, &rows, &assigned);
        let vpc = tables.vpc.unwrap();
        assert_eq!((vpc.index, vpc.quota), (3, 9));
        assert_eq!(vpc.dividers[..3], [2, 1, 0]);
        assert_eq!(tables.holders.len(), SLOTS);
        assert_eq!(tables.holders[&(5 * 256)].hosts, [1, 2, 0, 0]);
        assert_eq!(tables.holders[&(5 * 256 + 255)].hosts, [2, 1, 0, 0]);
        let route = Route { network: 5, vpc: 3 };
        let prefixes = ["10.1.0.0/16", "fd00:1::/64"];
        let keys = prefixes.map(|prefix| (route_key(VNI, prefix.parse().unwrap()), route));
        assert_eq!(tables.routes, keys.into());
        assert_eq!(network_key(VNI, &rows.networks[&NetworkId::MIN]), Some(keys[0].0));
    }

    #[test]
    fn a_host_without_a_row_is_left_out_of_lists() {
        let (rows, mut assigned) = example();
        assigned.hosts.remove(&HERE);
        let tables = tables(VNI, &rows, &assigned);
        assert_eq!(tables.holders[&(5 * 256)].hosts, [2, 0, 0, 0]);
        assert_eq!(tables.vpc.unwrap().dividers[..2], [2, 0]);
    }

    #[test]
    fn a_guest_has_a_row_for_each_address_and_one_for_its_interface() {
        let (rows, _) = example();
        let port = PortRow {
            network: NetworkId::MIN,
            mac: [2, 0, 0, 0, 0, 9].try_into().unwrap(),
            v4: Some(Ipv4Addr::new(10, 1, 2, 3)),
            v6: Some("fd00:1::9".parse().unwrap()),
            generation: Generation::new(1, 4).unwrap(),
            attachment: Attachment::Veth { netns: "/run/netns/a".into(), interface: "e".into() },
            migration: None,
        };
        let keys = TagKeys {
            epoch: 5,
            before: TagKey::NONE,
            present: TagKey::new([5; 16]),
            after: TagKey::new([6; 16]),
            required: true,
        };
        let keys = Keys::from(keys);
        let place = Place { vpc: 3, network: 5, guest_mtu: 1426, underlay: HERE.into(), keys };
        let (row, endpoints) = super::port(VNI, &port, &rows.networks[&NetworkId::MIN], 42, place);
        assert_eq!((row.vni, row.vpc, row.network, row.interface), (VNI, 3, 5, 42));
        assert_eq!((row.v4, row.v4_network, row.v4_prefix), ([10, 1, 2, 3], [10, 1, 0, 0], 16));
        assert_eq!((row.v4_gateway, row.v6_gateway), ([10, 1, 0, 1], Address::NONE));
        assert_eq!((row.v6_prefix, row.mtu), (64, 1426));
        for (address, tag) in [(Address::v4(row.v4), row.v4_tag), (row.v6, row.v6_tag)] {
            let key = EndpointKey::new(VNI, address);
            assert!(keys.believe_location(&key, [100, 64, 0, 1], row.generation, tag));
        }
        assert_eq!(endpoints.len(), 2);
        for endpoint in endpoints.values() {
            assert_eq!((endpoint.kind, endpoint.interface), (Endpoint::LOCAL, 42));
            assert_eq!(endpoint.generation, port.generation.get());
            assert_eq!((endpoint.flags, row.flags), (0, 0));
        }
        let port = PortRow {
            attachment: Attachment::Host { interface: "vpc0".into(), routes: Vec::new() },
            ..port
        };
        let (row, endpoints) = super::port(VNI, &port, &rows.networks[&NetworkId::MIN], 42, place);
        assert_eq!(row.flags, Port::SENT_OUT);
        assert!(endpoints.values().all(|endpoint| endpoint.flags == Port::SENT_OUT));
    }

    #[test]
    fn a_route_counts_the_vni_and_the_mapped_bits() {
        let key = route_key(0x010203, "10.1.0.0/16".parse().unwrap());
        assert_eq!(key.length, 32 + 96 + 16);
        assert_eq!(key.vni, [0, 1, 2, 3]);
        assert_eq!(key.address[10..], [0xff, 0xff, 10, 1, 0, 0]);
        assert_eq!(route_key(5, "fd00::/64".parse().unwrap()).length, 96);
        assert_eq!(key.vni(), 0x010203);
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_one_state_to_the_other(
            current: BTreeMap<u8, u8>, desired: BTreeMap<u8, u8>
        ) {
            let (write, remove) = (changed(&current, &desired), superfluous(&current, &desired));
            let mut table = current.clone();
            for (key, row) in &write {
                prop_assert_ne!(current.get(key), Some(row), "written for nothing");
                table.insert(*key, *row);
            }
            for key in &remove {
                prop_assert!(table.remove(key).is_some(), "removed for nothing");
            }
            prop_assert_eq!(table, desired);
        }
    }
}
