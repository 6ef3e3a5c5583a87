//! The digests of what bouncers have: kept up to date slot by slot, so that a host that says what
//! it has is answered at once, however many rows that is.

use mizar_vpc::catalog::{Catalog, EndpointRecord, Record};
use mizar_vpc::{Changed, Digest, HeldRow, Name, NetworkId, Row, RowKey, Slot, View, Vni, VpcRows};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Sums of the digests of all addresses in a slot, wherever their endpoints live.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests {
    slots: BTreeMap<(Vni, NetworkId, Slot), u64>,
    /// Where hosts are; also those that are about to go.
    underlays: BTreeMap<Name, IpAddr>,
}

impl Digests {
    /// Of all endpoints.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let mut digests = Self::default();
        for host in catalog.hosts().map(|host| host.record()) {
            digests.underlays.insert(host.name.clone(), host.spec.underlay);
        }
        for endpoint in catalog.vpcs().flat_map(|vpc| vpc.endpoints_after(None)) {
            digests.add(endpoint, u64::wrapping_add);
        }
        digests
    }

    /// Follows changes that were made together.
    pub(crate) fn follow(&mut self, changes: &[Changed]) {
        for changed in changes {
            if let Some(Record::Host(host)) = &changed.after {
                self.underlays.insert(host.name.clone(), host.spec.underlay);
            }
            if let Some(endpoint) = changed.endpoint_before() {
                self.add(endpoint, u64::wrapping_sub);
            }
            if let Some(endpoint) = changed.endpoint_after() {
                self.add(endpoint, u64::wrapping_add);
            }
        }
        for changed in changes {
            if let (Some(Record::Host(host)), None) = (&changed.before, &changed.after) {
                self.underlays.remove(&host.name);
            }
        }
    }

    /// The digest of all that a host must know of a VPC; None: it must know nothing.
    pub(crate) fn digest(&self, view: View<'_>, vni: Vni, host: &Name) -> Option<Digest> {
        let vpc = view.catalog.vpc(vni)?;
        let mut rows = VpcRows {
            dividers: view.dividers(vni, host),
            quota: view.quota(vni),
            ..VpcRows::default()
        };
        let mut held = 0_u64;
        for id in vpc.networks().map(|network| network.record().id) {
            if let Some(Row::Network(row)) = view.row(vni, host, &RowKey::Network(id)) {
                rows.networks.insert(id, row);
            }
            let Some(map) = view.map(vni, id) else { continue };
            for slot in Slot::all().filter(|slot| map.keepers(*slot).any(|it| it == host)) {
                let sum = self.slots.get(&(vni, id, slot)).copied();
                held = held.wrapping_add(sum.unwrap_or_default());
            }
        }
        if rows.networks.is_empty() {
            return None;
        }
        let own = view.catalog.host(host).into_iter().flat_map(|host| host.endpoints(vni));
        for endpoint in own.filter_map(|id| vpc.endpoint(id)) {
            if let Some(Row::Port(row)) = view.row(vni, host, &RowKey::Port(endpoint.name.clone()))
            {
                rows.ports.insert(endpoint.name.clone(), row);
            }
            // Nobody holds what lives with him.
            if endpoint.host != *host {
                continue;
            }
            let Some(map) = view.map(vni, endpoint.network) else { continue };
            for address in endpoint.addresses() {
                if map.keepers(Slot::of(address)).any(|it| it == host) {
                    held = held.wrapping_sub(self.of_held(address, endpoint));
                }
            }
        }
        Some(rows.digest() + Digest::from(held))
    }

    fn add(&mut self, endpoint: &EndpointRecord, plus: fn(u64, u64) -> u64) {
        for address in endpoint.addresses() {
            let place = (endpoint.vni, endpoint.network, Slot::of(address));
            let digest = self.of_held(address, endpoint);
            let sum = self.slots.entry(place).or_default();
            *sum = plus(*sum, digest);
            // That of no rows; no others can be told apart from it.
            if *sum == 0 {
                self.slots.remove(&place);
            }
        }
    }

    fn of_held(&self, address: IpAddr, endpoint: &EndpointRecord) -> u64 {
        let host = self.underlays.get(&endpoint.host).copied();
        let Some(host) = host else { return 0 };
        Digest::of_held(address, &HeldRow { host, generation: endpoint.generation }).get()
    }
}
