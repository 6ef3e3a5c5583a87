//! What hosts must know of a catalog, row by row: the same as [`rows`](super::rows()), for whoever
//! asks about one host, or one row, of very many.

use super::{HeldRow, NetworkRow, PortRow, VpcRows, divider_order};
use crate::catalog::{Catalog, EndpointRecord, NetworkEntry, NetworkRecord, VpcEntry};
use crate::{Name, NetworkId, RowKey, Slot, SlotMap, SlotMaps, Vni, VpcSlotMaps};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Resources and slot maps, as what hosts must know of them.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The resources.
    pub catalog: &'a Catalog,
    /// Who holds which slots.
    pub maps: &'a SlotMaps,
}

/// One row of a VPC on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Of [`VpcRows::networks`].
    Network(NetworkRow),
    /// Of [`VpcRows::ports`].
    Port(PortRow),
    /// Of [`VpcRows::held`].
    Held(HeldRow),
}

impl<'a> View<'a> {
    /// One row of a host; None: the host shall have none.
    pub fn row(self, vni: Vni, host: &Name, key: &RowKey) -> Option<Row> {
        let vpc = self.catalog.vpc(vni)?;
        match key {
            RowKey::Network(id) => {
                let network = vpc.network(*id).filter(|it| self.knows(vpc, it, host))?;
                self.network_row(vni, network.record()).map(Row::Network)
            }
            RowKey::Port(name) => {
                let (_, endpoint) = vpc.endpoint_named(name)?;
                let is_there = endpoint.hosts().any(|it| it == host)
                    && self.map(vni, endpoint.network).is_some();
                is_there.then(|| Row::Port(self.port_row(endpoint, host)))
            }
            RowKey::Held(address) => {
                let endpoint = vpc.endpoint_at(*address).filter(|it| it.host != *host)?;
                let map = self.map(vni, endpoint.network)?;
                let keeps = map.keepers(Slot::of(*address)).any(|keeper| keeper == host);
                keeps.then(|| self.held_row(endpoint)).flatten().map(Row::Held)
            }
        }
    }

    /// Everything that a host must know of a VPC; nothing of one that it has no part in.
    pub fn vpc_rows(self, vni: Vni, host: &Name) -> VpcRows {
        let Some(vpc) = self.catalog.vpc(vni) else { return VpcRows::default() };
        let ids = self.catalog.host(host).into_iter().flat_map(|host| host.endpoints(vni));
        let ports = ids.filter_map(|id| vpc.endpoint(id));
        // Who sends into a network must know who holds its slots.
        let ports = ports.filter(|endpoint| self.map(vni, endpoint.network).is_some());
        let ports = ports.map(|endpoint| (endpoint.name.clone(), self.port_row(endpoint, host)));
        let known = vpc.networks().filter(|network| self.knows(vpc, network, host));
        let networks = known.filter_map(|network| {
            let record = network.record();
            Some((record.id, self.network_row(vni, record)?))
        });
        let rows = VpcRows {
            dividers: self.dividers(vni, host),
            quota: self.quota(vni),
            keys: None,
            networks: networks.collect(),
            ports: ports.collect(),
            held: self.held(vpc, host),
        };
        if rows.networks.is_empty() { VpcRows::default() } else { rows }
    }

    /// The addresses of the endpoints in a slot that live elsewhere than on `host`.
    pub fn held_keys(
        self,
        vni: Vni,
        network: NetworkId,
        slot: Slot,
    ) -> impl Iterator<Item = RowKey> + use<'a> {
        let vpc = self.catalog.vpc(vni);
        let network = vpc.and_then(|vpc| vpc.network(network));
        let ids = network.into_iter().flat_map(move |network| network.slot(slot));
        let endpoints = ids.filter_map(move |id| vpc.and_then(|vpc| vpc.endpoint(id)));
        let addresses = endpoints.flat_map(EndpointRecord::addresses);
        addresses.filter(move |address| Slot::of(*address) == slot).map(RowKey::Held)
    }

    /// Underlay addresses of a VPC's dividers as a host prefers them; none where no endpoint lives.
    pub fn dividers(self, vni: Vni, host: &Name) -> Vec<IpAddr> {
        let has_ports =
            self.catalog.host(host).is_some_and(|it| it.endpoints(vni).next().is_some());
        let Some(maps) = self.maps.get(&vni).filter(|_| has_ports) else { return Vec::new() };
        let order = divider_order(vni, host, &maps.dividers);
        order.into_iter().filter_map(|index| self.underlay(&maps.dividers[index])).collect()
    }

    /// Most locations that a host may learn in a VPC.
    pub fn quota(self, vni: Vni) -> u32 {
        self.catalog.vpc(vni).map_or(0, |vpc| vpc.record().spec.quota())
    }

    /// The hosts that know a network: those with endpoints in it, keepers and former keepers of its
    /// slots, dividers and former dividers of its VPC.
    pub fn knowing(self, vni: Vni, id: NetworkId) -> BTreeSet<&'a Name> {
        let network = self.catalog.vpc(vni).and_then(|vpc| vpc.network(id));
        let mut hosts: BTreeSet<_> = network.into_iter().flat_map(NetworkEntry::hosts).collect();
        let map = self.map(vni, id);
        hosts.extend(map.into_iter().flat_map(|map| map.hosts().chain(map.former())));
        hosts.extend(self.maps.get(&vni).into_iter().flat_map(dividers));
        hosts
    }

    /// The hosts that know anything of a VPC.
    pub fn knowing_any(self, vni: Vni) -> BTreeSet<&'a Name> {
        let networks = self.catalog.vpc(vni).into_iter().flat_map(VpcEntry::networks);
        networks.flat_map(|network| self.knowing(vni, network.record().id)).collect()
    }

    /// Whether a host knows anything of a VPC.
    pub fn is_told(self, vni: Vni, host: &Name) -> bool {
        let mut networks = self
            .catalog
            .vpc(vni)
            .into_iter()
            .flat_map(|vpc| vpc.networks().map(move |network| (vpc, network)));
        networks.any(|(vpc, network)| self.knows(vpc, network, host))
    }

    /// The slot map of a network.
    pub fn map(self, vni: Vni, id: NetworkId) -> Option<&'a SlotMap> {
        self.maps.get(&vni)?.networks.get(&id)
    }

    fn knows(self, vpc: &VpcEntry, network: &NetworkEntry, host: &Name) -> bool {
        let vni = vpc.record().vni;
        let map = || self.map(vni, network.record().id).into_iter();
        network.endpoints_on(host) > 0
            || map().flat_map(|map| map.hosts().chain(map.former())).any(|it| it == host)
            || self.maps.get(&vni).into_iter().flat_map(dividers).any(|it| it == host)
    }

    fn network_row(self, vni: Vni, network: &NetworkRecord) -> Option<NetworkRow> {
        let underlay = |host: &Name| self.underlay(host).ok_or(());
        Some(NetworkRow {
            v4: network.spec.v4,
            v6: network.spec.v6,
            v4_gateway: network.v4_gateway,
            v6_gateway: network.v6_gateway,
            holders: self.map(vni, network.id)?.by_address(underlay).ok()?,
        })
    }

    /// The rows that a host holds as a bouncer. Slots are no order of addresses: the tree is built
    /// from all of them at once, which takes half of the time that it takes to grow one.
    fn held(self, vpc: &VpcEntry, host: &Name) -> BTreeMap<IpAddr, HeldRow> {
        let mut held = Vec::new();
        for network in vpc.networks() {
            let Some(map) = self.map(vpc.record().vni, network.record().id) else { continue };
            for slot in Slot::all().filter(|slot| map.keepers(*slot).any(|it| it == host)) {
                let endpoints = network.slot(slot).filter_map(|id| vpc.endpoint(id));
                for endpoint in endpoints.filter(|endpoint| endpoint.host != *host) {
                    let Some(row) = self.held_row(endpoint) else { continue };
                    let of_slot = |address: &IpAddr| Slot::of(*address) == slot;
                    held.extend(endpoint.addresses().filter(of_slot).map(|it| (it, row)));
                }
            }
        }
        held.into_iter().collect()
    }

    fn port_row(self, endpoint: &EndpointRecord, host: &Name) -> PortRow {
        PortRow::of(endpoint, host, |host| self.underlay(host))
    }

    fn held_row(self, endpoint: &EndpointRecord) -> Option<HeldRow> {
        let host = self.underlay(&endpoint.host)?;
        Some(HeldRow { host, generation: endpoint.generation })
    }

    fn underlay(self, host: &Name) -> Option<IpAddr> {
        self.catalog.host(host).map(|host| host.record().spec.underlay)
    }
}

fn dividers(maps: &VpcSlotMaps) -> impl Iterator<Item = &Name> {
    maps.dividers.iter().chain(&maps.spare_dividers)
}
