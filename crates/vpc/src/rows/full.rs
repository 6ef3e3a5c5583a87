//! All rows of all hosts, computed from nothing but the present state.

use super::{HeldRow, HostRows, NetworkRow, PortRow, VpcRows, divider_order};
use crate::catalog::{Catalog, EndpointRecord, VpcEntry};
use crate::{Name, Slot, SlotMaps, VpcSlotMaps};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use thiserror::Error;

/// Slot maps that do not fit the resources: they rely on a host that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("VPC {vpc} relies on host {host}, which is not in the fleet: assign it anew before")]
pub struct RowsError {
    /// The VPC.
    pub vpc: Name,
    /// The host.
    pub host: Name,
}

/// The rows of every host that is told anything. Rows depend on the present state only.
///
/// In each VPC,
/// - a host with endpoints knows them, their networks, and the dividers: itself first if it is one,
///   the others in an order of its own, so that load spreads; so does one that endpoints are about
///   to move to;
/// - a keeper of slots, however far it is with taking them over or giving them up, knows their
///   networks, and the addresses in these slots but for those of endpoints that live on itself;
/// - a former keeper knows the networks that it kept slots of, so that it can forward;
/// - a divider knows all networks, and so does a former one.
///
/// Networks are told with the holders that senders are to ask. Where no slot moves, 1 + R hosts
/// have a row of an endpoint whose addresses share a slot: its host, and the holders. Of a network
/// without a slot map nobody is told: it has to be assigned before.
///
/// # Errors
/// The maps rely on a host that the catalog does not have.
pub fn rows(catalog: &Catalog, maps: &SlotMaps) -> Result<BTreeMap<Name, HostRows>, RowsError> {
    let mut all = BTreeMap::<Name, HostRows>::new();
    let unassigned = VpcSlotMaps::default();
    for vpc in catalog.vpcs() {
        let vni = vpc.record().vni;
        let maps = maps.get(&vni).unwrap_or(&unassigned);
        for (host, rows) in of_vpc(catalog, vpc, maps)? {
            all.entry(host.clone()).or_default().insert(vni, rows);
        }
    }
    Ok(all)
}

/// The rows of one VPC on every host that knows any of its networks.
fn of_vpc<'a>(
    catalog: &'a Catalog,
    vpc: &'a VpcEntry,
    maps: &'a VpcSlotMaps,
) -> Result<BTreeMap<&'a Name, VpcRows>, RowsError> {
    let record = vpc.record();
    let underlay = |host: &Name| {
        let gone = || RowsError { vpc: record.name.clone(), host: host.clone() };
        catalog.host(host).map(|host| host.record().spec.underlay).ok_or_else(gone)
    };
    let mut hosts = BTreeMap::<&Name, VpcRows>::new();
    let divide: Vec<&Name> = maps.dividers.iter().chain(&maps.spare_dividers).collect();
    for (id, map) in &maps.networks {
        let Some(network) = vpc.network(*id).map(|network| network.record()) else { continue };
        let row = NetworkRow {
            v4: network.spec.v4,
            v6: network.spec.v6,
            v4_gateway: network.v4_gateway,
            v6_gateway: network.v6_gateway,
            holders: map.by_address(underlay)?,
        };
        let endpoints = vpc.endpoints_after(None).filter(|endpoint| endpoint.network == *id);
        let live = endpoints.flat_map(EndpointRecord::hosts);
        let keep = map.hosts().chain(map.former());
        for host in live.chain(keep).chain(divide.iter().copied()) {
            hosts.entry(host).or_default().networks.insert(*id, row.clone());
        }
    }
    for endpoint in vpc.endpoints_after(None) {
        let Some(map) = maps.networks.get(&endpoint.network) else { continue };
        let held = HeldRow { host: underlay(&endpoint.host)?, generation: endpoint.generation };
        for address in endpoint.addresses() {
            for keeper in map.keepers(Slot::of(address)).filter(|host| **host != endpoint.host) {
                hosts.entry(keeper).or_default().held.insert(address, held);
            }
        }
        for host in endpoint.hosts() {
            let row = PortRow::of(endpoint, host, |host| underlay(host).ok());
            hosts.entry(host).or_default().ports.insert(endpoint.name.clone(), row);
        }
    }
    let dividers = maps.dividers.iter().map(underlay).collect::<Result<Vec<IpAddr>, _>>()?;
    let live: BTreeSet<_> = vpc.endpoints_after(None).flat_map(EndpointRecord::hosts).collect();
    for (host, rows) in &mut hosts {
        rows.quota = record.spec.quota();
        if live.contains(host) {
            let order = divider_order(record.vni, host, &maps.dividers);
            rows.dividers = order.into_iter().map(|index| dividers[index]).collect();
        }
    }
    Ok(hosts)
}
