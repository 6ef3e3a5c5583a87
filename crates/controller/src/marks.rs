//! Which rows of which hosts a change concerns. Marking too much costs a message, marking too
//! little leaves a host with what is no longer so: the rows that follow from marks are tested to be
//! those that follow from everything.

use mizar_vpc::View;
use mizar_vpc::catalog::EndpointRecord;
use mizar_vpc::{Changed, Name, NetworkId, RowKey, Slot, SlotMap, Vni, VpcSlotMaps};
use std::collections::BTreeSet;

/// A row of a host that has to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) host: Name,
    pub(crate) vni: Vni,
    /// None: what a host is told of a VPC apart from rows.
    pub(crate) key: Option<RowKey>,
    /// Nobody waits for what is another of it: who has the row, has what counts.
    pub(crate) amends: bool,
}

impl Mark {
    fn new(host: &Name, vni: Vni, key: RowKey) -> Self {
        Self { host: host.clone(), vni, key: Some(key), amends: false }
    }
}

/// What an endpoint's change concerns, right after it was made.
pub(crate) fn of_endpoint(view: View<'_>, changed: &Changed) -> Vec<Mark> {
    let (before, after) = (changed.endpoint_before(), changed.endpoint_after());
    let mut marks = BTreeSet::new();
    let place = |it: &EndpointRecord| (it.host.clone(), it.generation);
    let stays = before.map(place) == after.map(place);
    for endpoint in before.into_iter().chain(after) {
        mark_endpoint(view, endpoint, stays, &mut marks);
    }
    let hosts = |it: Option<&EndpointRecord>| -> BTreeSet<Name> {
        it.into_iter().flat_map(EndpointRecord::hosts).cloned().collect()
    };
    let (had, have) = (hosts(before), hosts(after));
    if had != have
        && let Some(endpoint) = before.or(after)
    {
        let (vni, id) = (endpoint.vni, endpoint.network);
        let network = view.catalog.vpc(vni).and_then(|vpc| vpc.network(id));
        let count = |host: &Name| network.map_or(0, |network| network.endpoints_on(host));
        // Its last endpoint there, or its first.
        let lost = had.difference(&have).filter(|host| count(host) == 0);
        for host in lost.chain(have.difference(&had).filter(|host| count(host) == 1)) {
            marks.insert(Mark::new(host, vni, RowKey::Network(id)));
        }
    }
    marks.into_iter().collect()
}

/// If it `stays` where it is, its bouncers have nothing to hear.
fn mark_endpoint(
    view: View<'_>,
    endpoint: &EndpointRecord,
    stays: bool,
    marks: &mut BTreeSet<Mark>,
) {
    let vni = endpoint.vni;
    let port = || RowKey::Port(endpoint.name.clone());
    // On the host that it lives on, it is as it was, wherever else it is about to move.
    let amends = |host: &Name| stays && *host == endpoint.host;
    marks.extend(
        endpoint.hosts().map(|host| Mark { amends: amends(host), ..Mark::new(host, vni, port()) }),
    );
    let Some(map) = view.map(vni, endpoint.network).filter(|_| !stays) else { return };
    for address in endpoint.addresses() {
        let keepers = map.keepers(Slot::of(address));
        marks.extend(keepers.map(|host| Mark::new(host, vni, RowKey::Held(address))));
    }
}

/// What concerns everybody who knows a network.
pub(crate) fn of_network(view: View<'_>, vni: Vni, id: NetworkId) -> Vec<Mark> {
    let hosts = view.knowing(vni, id);
    hosts.into_iter().map(|host| Mark::new(host, vni, RowKey::Network(id))).collect()
}

/// What a slot map's change concerns; the view has the map after it.
pub(crate) fn of_slot_map(
    view: View<'_>,
    (vni, id): (Vni, NetworkId),
    before: Option<&SlotMap>,
) -> Vec<Mark> {
    let after = view.map(vni, id);
    let mut marks = of_network(view, vni, id);
    let left = before.into_iter().flat_map(|map| map.hosts().chain(map.former()));
    marks.extend(left.map(|host| Mark::new(host, vni, RowKey::Network(id))));
    let keepers = |map: Option<&SlotMap>, slot| -> BTreeSet<Name> {
        map.into_iter().flat_map(|map| map.keepers(slot)).cloned().collect()
    };
    for slot in Slot::all() {
        let (old, new) = (keepers(before, slot), keepers(after, slot));
        if old == new {
            continue;
        }
        for key in view.held_keys(vni, id, slot) {
            let hosts = old.symmetric_difference(&new);
            marks.extend(hosts.map(|host| Mark::new(host, vni, key.clone())));
        }
    }
    if before.is_none() {
        marks.extend(ports(view, vni, id));
    }
    marks
}

/// The endpoints of a network, which nobody could be told before it had a slot map.
fn ports(view: View<'_>, vni: Vni, id: NetworkId) -> Vec<Mark> {
    let Some(vpc) = view.catalog.vpc(vni) else { return Vec::new() };
    let network = vpc.network(id).into_iter();
    let ids = network.flat_map(|network| Slot::all().flat_map(|slot| network.slot(slot)));
    let endpoints = ids.filter_map(|id| vpc.endpoint(id));
    let of = |it: &EndpointRecord| -> Vec<Mark> {
        it.hosts().map(|host| Mark::new(host, vni, RowKey::Port(it.name.clone()))).collect()
    };
    endpoints.flat_map(of).collect()
}

/// What a change of a VPC's dividers concerns; the view has those after it.
pub(crate) fn of_dividers(view: View<'_>, vni: Vni, before: &VpcSlotMaps) -> Vec<Mark> {
    let after = view.maps.get(&vni);
    let all = |maps: &VpcSlotMaps| -> BTreeSet<Name> {
        maps.dividers.iter().chain(&maps.spare_dividers).cloned().collect()
    };
    let (old, new) = (all(before), after.map(all).unwrap_or_default());
    let mut marks = of_vpc(view, vni);
    for host in old.symmetric_difference(&new) {
        let networks = view.catalog.vpc(vni).into_iter().flat_map(|vpc| vpc.networks());
        let keys = networks.map(|network| RowKey::Network(network.record().id));
        marks.extend(keys.map(|key| Mark::new(host, vni, key)));
    }
    marks
}

/// What everybody who knows a VPC is told of it apart from rows.
pub(crate) fn of_vpc(view: View<'_>, vni: Vni) -> Vec<Mark> {
    let hosts = view.knowing_any(vni);
    hosts
        .into_iter()
        .map(|host| Mark { host: host.clone(), vni, key: None, amends: false })
        .collect()
}
