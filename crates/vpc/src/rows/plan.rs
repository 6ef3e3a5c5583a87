//! Computes the rows of every host.

use super::{HeldRow, HostRows, NetworkRow, PortRow, VpcRows};
use crate::rendezvous::{hash, mix, ranking};
use crate::{
    Endpoint, Intent, Name, Network, NetworkId, Slot, SlotMap, SlotMaps, Vni, VpcIntent,
    VpcSlotMaps,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use thiserror::Error;

/// Why slot maps do not fit the intent: they were assigned for another one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RowsError {
    /// A network without a slot map.
    #[error("network {network} of VPC {vpc} has no slot map: assign it before")]
    NoSlotMap {
        /// The VPC.
        vpc: Name,
        /// The network.
        network: Name,
    },
    /// A holder or divider that is gone.
    #[error("VPC {vpc} relies on host {host}, which is not in the fleet: assign it anew before")]
    UnknownHost {
        /// The VPC.
        vpc: Name,
        /// The host.
        host: Name,
    },
}

/// The rows of every host that is told anything. Rows depend on the present state only.
///
/// In each VPC,
/// - a host with endpoints knows them, their networks, and the dividers: itself first if it is one,
///   the others in an order of its own, so that load spreads;
/// - a keeper of slots, however far it is with taking them over or giving them up, knows their
///   networks, and the addresses in these slots but for those of endpoints that live on itself;
/// - a former keeper knows the networks that it kept slots of, so that it can forward;
/// - a divider knows all networks, and so does a former one.
///
/// Networks are told with the holders that senders are to ask. Where no slot moves, 1 + R hosts
/// have a row of an endpoint whose addresses share a slot: its host, and the holders.
pub fn rows(intent: &Intent, maps: &SlotMaps) -> Result<BTreeMap<Name, HostRows>, RowsError> {
    let mut all = BTreeMap::new();
    for vpc in intent.vpcs() {
        let unassigned = VpcSlotMaps::default();
        let maps = maps.get(&vpc.vpc().vni).unwrap_or(&unassigned);
        let mut plan =
            Plan { intent, vpc, maps, networks: BTreeMap::new(), hosts: BTreeMap::new() };
        for network in vpc.networks() {
            plan.networks.insert(network.id, plan.network_row(network)?);
        }
        plan.tell_hosts()?;
        plan.tell_bouncers()?;
        plan.tell_dividers();
        for (host, rows) in plan.hosts {
            all.entry(host.clone()).or_insert_with(HostRows::new).insert(vpc.vpc().vni, rows);
        }
    }
    Ok(all)
}

/// The rows of one VPC in the making.
struct Plan<'a> {
    intent: &'a Intent,
    vpc: &'a VpcIntent,
    maps: &'a VpcSlotMaps,
    networks: BTreeMap<NetworkId, NetworkRow>,
    hosts: BTreeMap<&'a Name, VpcRows>,
}

impl<'a> Plan<'a> {
    fn tell_hosts(&mut self) -> Result<(), RowsError> {
        let dividers = self.underlays(&self.maps.dividers)?;
        for endpoint in self.vpc.endpoints() {
            let network = self.network_of(endpoint);
            let is_new = self.hosts.get(&endpoint.host).is_none_or(|rows| rows.ports.is_empty());
            self.know_network(&endpoint.host, network.id);
            let rows = self.rows_of(&endpoint.host);
            rows.ports.insert(endpoint.name.clone(), port_row(endpoint, network.id));
            if is_new {
                let order = divider_order(self.vpc.vpc().vni, &endpoint.host, &self.maps.dividers);
                let order = order.into_iter().map(|index| dividers[index]).collect();
                self.rows_of(&endpoint.host).dividers = order;
            }
        }
        Ok(())
    }

    fn tell_bouncers(&mut self) -> Result<(), RowsError> {
        for network in self.vpc.networks() {
            let map = self.slot_map(network)?;
            for host in map.hosts().chain(map.former()) {
                self.underlay(host)?;
                self.know_network(host, network.id);
            }
        }
        for endpoint in self.vpc.endpoints() {
            let map = self.slot_map(self.network_of(endpoint))?;
            let host = self.underlay(&endpoint.host)?;
            let held = HeldRow { host, generation: endpoint.generation };
            for address in endpoint.addresses() {
                for keeper in map.keepers(Slot::of(address)).filter(|h| **h != endpoint.host) {
                    self.rows_of(keeper).held.insert(address, held);
                }
            }
        }
        Ok(())
    }

    fn tell_dividers(&mut self) {
        for divider in self.maps.dividers.iter().chain(&self.maps.former_dividers) {
            let networks = self.networks.clone();
            self.rows_of(divider).networks = networks;
        }
    }

    fn network_row(&self, network: &Network) -> Result<NetworkRow, RowsError> {
        let map = self.slot_map(network)?;
        Ok(NetworkRow {
            v4: network.v4,
            v6: network.v6,
            v4_gateway: network.v4_gateway,
            v6_gateway: network.v6_gateway,
            holders: map.by_address(|host| self.underlay(host))?,
        })
    }

    fn know_network(&mut self, host: &'a Name, id: NetworkId) {
        let known = self.hosts.get(host).is_some_and(|rows| rows.networks.contains_key(&id));
        if !known && let Some(row) = self.networks.get(&id).cloned() {
            self.rows_of(host).networks.insert(id, row);
        }
    }

    fn rows_of(&mut self, host: &'a Name) -> &mut VpcRows {
        let quota = self.vpc.vpc().quota;
        self.hosts.entry(host).or_insert_with(|| VpcRows { quota, ..VpcRows::default() })
    }

    fn network_of(&self, endpoint: &Endpoint) -> &'a Network {
        self.vpc.network_of(endpoint)
    }

    fn slot_map(&self, network: &Network) -> Result<&'a SlotMap, RowsError> {
        self.maps.networks.get(&network.id).ok_or_else(|| RowsError::NoSlotMap {
            vpc: network.vpc.clone(),
            network: network.name.clone(),
        })
    }

    fn underlays(&self, hosts: &[Name]) -> Result<Vec<IpAddr>, RowsError> {
        hosts.iter().map(|host| self.underlay(host)).collect()
    }

    fn underlay(&self, host: &Name) -> Result<IpAddr, RowsError> {
        self.intent.host(host).map(|host| host.underlay).ok_or_else(|| RowsError::UnknownHost {
            vpc: self.vpc.vpc().name.clone(),
            host: host.clone(),
        })
    }
}

/// The indices of a VPC's dividers in the order in which `host` prefers them: itself, if it is one,
/// then the others in an order of its own.
pub(super) fn divider_order(vni: Vni, host: &Name, dividers: &[Name]) -> Vec<usize> {
    let key = mix(hash(host) ^ u64::from(vni.get()));
    let mut order = ranking(key, dividers);
    order.sort_by_key(|&index| dividers[index] != *host);
    order
}

fn port_row(endpoint: &Endpoint, network: NetworkId) -> PortRow {
    PortRow {
        network,
        mac: endpoint.mac,
        v4: endpoint.v4,
        v6: endpoint.v6,
        generation: endpoint.generation,
        attachment: endpoint.attachment.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Resources, assign, strategy};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn plan(intent: &Intent) -> BTreeMap<Name, HostRows> {
        rows(intent, &assign(intent, &SlotMaps::new())).unwrap()
    }

    /// The hosts that have a row of this endpoint.
    fn told<'a>(
        all: &'a BTreeMap<Name, HostRows>,
        vpc: &VpcIntent,
        endpoint: &Endpoint,
    ) -> BTreeSet<&'a Name> {
        let knows = |rows: &VpcRows| {
            rows.ports.contains_key(&endpoint.name)
                || endpoint.addresses().any(|address| rows.held.contains_key(&address))
        };
        let rows = all.iter().filter(|(_, rows)| rows.get(&vpc.vpc().vni).is_some_and(knows));
        rows.map(|(host, _)| host).collect()
    }

    proptest! {
        #[test]
        fn an_endpoint_is_told_to_its_host_and_its_holders_and_nobody_else(
            intent in strategy::intent()
        ) {
            let maps = assign(&intent, &SlotMaps::new());
            let all = rows(&intent, &maps).unwrap();
            for vpc in intent.vpcs() {
                for endpoint in vpc.endpoints() {
                    let network = vpc.network_of(endpoint);
                    let map = &maps[&vpc.vpc().vni].networks[&network.id];
                    let slot = Slot::of(endpoint.addresses().next().unwrap());
                    let mut wanted: BTreeSet<_> = map.holders(slot).collect();
                    wanted.insert(&endpoint.host);
                    prop_assert_eq!(&told(&all, vpc, endpoint), &wanted);
                    prop_assert!(wanted.len() <= 1 + network.replicas.get());
                }
            }
        }

        #[test]
        fn a_host_knows_the_networks_it_needs_and_no_others(intent in strategy::intent()) {
            let maps = assign(&intent, &SlotMaps::new());
            let all = rows(&intent, &maps).unwrap();
            for vpc in intent.vpcs() {
                let vni = vpc.vpc().vni;
                for host in intent.hosts() {
                    let is_divider = vpc.vpc().dividers.contains(&host.name);
                    let lives = |network: &Network| {
                        vpc.endpoints().any(|e| e.host == host.name && e.network == network.name)
                    };
                    let holds = |network: &Network| {
                        maps[&vni].networks[&network.id].hosts().any(|name| *name == host.name)
                    };
                    let wanted = vpc.networks().filter(|n| is_divider || lives(n) || holds(n));
                    let wanted: BTreeSet<_> = wanted.map(|network| network.id).collect();
                    let rows = all.get(&host.name).and_then(|rows| rows.get(&vni));
                    let known = rows.map(|rows| rows.networks.keys().copied().collect());
                    prop_assert_eq!(known, Some(wanted).filter(|wanted| !wanted.is_empty()));
                    let has_ports = rows.is_some_and(|rows| !rows.ports.is_empty());
                    let dividers = rows.map_or(0, |rows| rows.dividers.len());
                    prop_assert_eq!(dividers, usize::from(has_ports) * vpc.vpc().dividers.len());
                    if has_ports && is_divider {
                        prop_assert_eq!(rows.unwrap().dividers[0], host.underlay);
                    }
                }
            }
        }

        #[test]
        fn what_hosts_are_told_is_what_they_accept(intent in strategy::intent()) {
            for (vni, rows) in plan(&intent).into_values().flatten() {
                let update = crate::VpcUpdate::full(vni, strategy::first(), rows.clone());
                let mut told = VpcRows::default();
                told.apply(update).unwrap();
                prop_assert_eq!(told, rows);
            }
        }
    }

    #[test]
    fn while_slots_move_all_keepers_have_their_rows_and_former_ones_know_the_network() {
        let mut resources = strategy::example();
        resources.hosts.extend((4..=6).map(|n| crate::Host {
            name: format!("h{n}").parse().unwrap(),
            underlay: std::net::Ipv4Addr::new(192, 0, 2, n).into(),
        }));
        let intent = Intent::build(&resources, strategy::first()).unwrap();
        let (mut all, vni) = (assign(&intent, &SlotMaps::new()), crate::Vni::MIN);
        let maps = all.get_mut(&vni).unwrap();
        // Of all slots, h2 is told, h3 fills and h4 drains; h5 held slots, and h6 divided.
        let slots = vec![[0, 1 << 3 | 1, 2 << 3 | 3]; 256];
        let hosts = ["h2", "h3", "h4", "h5"];
        let hosts = hosts.map(|name| serde_json::json!({"name": name, "since": 1}));
        let moving = serde_json::json!({"epoch": 2, "size": 1, "hosts": hosts, "slots": slots});
        maps.networks.insert(NetworkId::MIN, serde_json::from_value(moving).unwrap());
        maps.former_dividers = vec!["h6".parse().unwrap()];
        let all = rows(&intent, &all).unwrap();
        let of = |host: &str| &all[host][&vni];
        for (host, held) in [("h2", 4), ("h3", 4), ("h4", 4), ("h5", 0), ("h6", 0)] {
            assert_eq!(of(host).held.len(), held, "{host}: two endpoints of two addresses");
            assert_eq!(of(host).networks.len(), 1, "{host}");
            let told: Vec<_> = of(host).networks[&NetworkId::MIN].holders.hosts.clone();
            assert_eq!(told, ["192.0.2.2".parse::<IpAddr>().unwrap()], "{host}");
        }
    }

    fn fleet(endpoints: usize) -> Resources {
        let mut resources = strategy::example();
        resources.hosts.push(crate::Host {
            name: "far".parse().unwrap(),
            underlay: "192.0.2.200".parse().unwrap(),
        });
        let name = |index| format!("e{index}");
        let endpoint = |index| strategy::example_endpoint(&name(index), "far");
        resources.endpoints = (0..endpoints).map(endpoint).collect();
        resources
    }

    #[test]
    fn one_more_endpoint_costs_one_and_r_writes_however_many_there_are() {
        for size in [10, 2_000] {
            let build = |size| Intent::build(&fleet(size), strategy::first()).unwrap();
            let (before, after) = (plan(&build(size)), plan(&build(size + 1)));
            let changed = after.iter().filter(|(host, rows)| before.get(*host) != Some(rows));
            assert_eq!(changed.count(), 1 + 2);
        }
    }

    #[test]
    fn hosts_prefer_different_dividers() {
        let mut resources = strategy::example();
        resources.vpcs[0].dividers = resources.networks[0].bouncers.clone();
        resources.fleet = vec!["192.0.0.0/16".parse().unwrap()];
        resources.endpoints.clear();
        for number in 0..90 {
            let host = format!("n{number}");
            let underlay = std::net::Ipv4Addr::new(192, 0, 3, number).into();
            resources.hosts.push(crate::Host { name: host.parse().unwrap(), underlay });
            resources.endpoints.push(strategy::example_endpoint(&host, &host));
        }
        let all = plan(&Intent::build(&resources, strategy::first()).unwrap());
        let mut first = BTreeMap::<_, u32>::new();
        for rows in all.values().flat_map(BTreeMap::values).filter(|rows| !rows.ports.is_empty()) {
            *first.entry(rows.dividers[0]).or_default() += 1;
        }
        assert_eq!(first.len(), 3);
        assert!(first.values().all(|&n| n > 15), "{first:?}");
    }

    #[test]
    fn slot_maps_of_another_intent_are_refused() {
        let intent = Intent::build(&strategy::example(), strategy::first()).unwrap();
        assert_eq!(
            rows(&intent, &SlotMaps::new()).unwrap_err().to_string(),
            "network web of VPC blue has no slot map: assign it before"
        );
        let maps = assign(&intent, &SlotMaps::new());
        let mut resources = strategy::example();
        resources.hosts.remove(1);
        resources.networks[0].bouncers.remove(1);
        let smaller = Intent::build(&resources, strategy::first()).unwrap();
        assert_eq!(
            rows(&smaller, &maps).unwrap_err().to_string(),
            "VPC blue relies on host h2, which is not in the fleet: assign it anew before"
        );
    }
}
