//! Carries differences into the kernel's tables, and remembers what was carried.

use crate::kernel::{Maps, RouteKey, TableError};
use crate::plan::{Difference, VpcTables, difference};
use mizar_packet::Address;
use mizar_packet::tables::{Bucket, Endpoint, EndpointKey, Holders, REPLICAS, SLOTS};
use std::collections::BTreeMap;

/// A row that could not be written or removed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Of a network, by its index.
    Network(u32, TableError),
    /// Of a network, by its prefix.
    Route(RouteKey, TableError),
    /// Of a guest, by an address.
    Endpoint(Address, TableError),
    /// Of a guest, by its interface.
    Port(u32, TableError),
    /// The VPC's own.
    Vpc(TableError),
}

/// Everything that is installed, by VNI, held endpoints apart.
pub(crate) fn recover(maps: &Maps) -> Result<BTreeMap<u32, VpcTables>, TableError> {
    let mut all: BTreeMap<u32, VpcTables> = BTreeMap::new();
    for (vni, vpc) in maps.vpcs.rows()? {
        all.entry(vni).or_default().vpc = Some(vpc);
    }
    let mut networks = BTreeMap::new();
    for (key, route) in maps.routes.rows()? {
        networks.insert(route.network, key.vni());
        all.entry(key.vni()).or_default().routes.insert(key, route);
    }
    for (interface, port) in maps.ports.rows()? {
        networks.insert(port.network, port.vni);
        all.entry(port.vni).or_default().ports.insert(interface, port);
    }
    for (key, endpoint) in maps.endpoints.rows() {
        let tables = all.entry(key.vni).or_default();
        if endpoint.kind == Endpoint::LOCAL {
            tables.endpoints.insert(key.address, endpoint);
        }
    }
    for (row, holders) in maps.holders.rows()? {
        let vni = networks.get(&(row / SLOTS as u32));
        if let Some(vni) = vni.filter(|_| holders != NOBODY) {
            all.entry(*vni).or_default().holders.insert(row, holders);
        }
    }
    Ok(all)
}

/// Writes what is new or different, in an order in which nothing refers to what is not there yet:
/// holders, the VPC, its routes, its guests. `current` follows.
pub(crate) fn write(
    maps: &Maps,
    vni: u32,
    current: &mut VpcTables,
    desired: &VpcTables,
) -> Vec<Failed> {
    let mut failed = Vec::new();
    let rows = difference(&current.holders, &desired.holders).write;
    for (row, error) in
        put(|rows| maps.holders.put_all(rows), rows, &mut current.holders, |row| row)
    {
        failed.push(Failed::Network(row / SLOTS as u32, error));
    }
    if let Some(vpc) = desired.vpc.filter(|_| current.vpc != desired.vpc) {
        match maps.vpcs.put(&vni, &vpc) {
            Ok(()) => current.vpc = desired.vpc,
            Err(error) => failed.push(Failed::Vpc(error)),
        }
    }
    let rows = difference(&current.routes, &desired.routes).write;
    for (key, error) in put(|rows| maps.routes.put_all(rows), rows, &mut current.routes, |key| key)
    {
        failed.push(Failed::Route(key, error));
    }
    let rows = difference(&current.ports, &desired.ports).write;
    // A new guest starts with all its tokens; without a bucket it would have no limit.
    let new = rows.iter().filter(|(interface, _)| !current.ports.contains_key(interface));
    let buckets: Vec<_> = new.map(|(interface, _)| (*interface, Bucket::full(0))).collect();
    for (at, error) in maps.buckets.put_all(&buckets) {
        failed.push(Failed::Port(buckets[at].0, error));
    }
    for (interface, error) in
        put(|rows| maps.ports.put_all(rows), rows, &mut current.ports, |index| index)
    {
        failed.push(Failed::Port(interface, error));
    }
    let rows = difference(&current.endpoints, &desired.endpoints).write;
    let key = |address| EndpointKey::new(vni, address);
    for (address, error) in
        put(|rows| maps.endpoints.put_all(rows), rows, &mut current.endpoints, key)
    {
        failed.push(Failed::Endpoint(address, error));
    }
    failed
}

/// Removes what is no longer desired, in the reverse order. `current` follows. Addresses that are
/// no longer here are left to the caller, who knows whether they moved.
pub(crate) fn remove(
    maps: &Maps,
    vni: u32,
    current: &mut VpcTables,
    desired: &VpcTables,
) -> (Vec<(Address, Endpoint)>, Vec<Failed>) {
    let mut failed = Vec::new();
    let gone: Vec<_> = difference(&current.endpoints, &desired.endpoints)
        .remove
        .into_iter()
        .filter_map(|address| current.endpoints.remove_entry(&address))
        .collect();
    for interface in difference(&current.ports, &desired.ports).remove {
        match maps.ports.remove(&interface).and_then(|_| maps.buckets.remove(&interface)) {
            Ok(_) => drop(current.ports.remove(&interface)),
            Err(error) => failed.push(Failed::Port(interface, error)),
        }
    }
    for key in difference(&current.routes, &desired.routes).remove {
        match maps.routes.remove(&key) {
            Ok(_) => drop(current.routes.remove(&key)),
            Err(error) => failed.push(Failed::Route(key, error)),
        }
    }
    if current.vpc.is_some() && desired.vpc.is_none() {
        match maps.vpcs.remove(&vni) {
            Ok(_) => current.vpc = None,
            Err(error) => failed.push(Failed::Vpc(error)),
        }
    }
    let Difference { remove, .. } = difference(&current.holders, &desired.holders);
    // An array's rows cannot be removed: they name nobody instead.
    let empty: Vec<_> = remove.iter().map(|row| (*row, NOBODY)).collect();
    let errors = maps.holders.put_all(&empty);
    for row in remove {
        current.holders.remove(&row);
    }
    failed.extend(
        errors.into_iter().map(|(at, error)| Failed::Network(empty[at].0 / SLOTS as u32, error)),
    );
    (gone, failed)
}

const NOBODY: Holders = Holders { hosts: [0; REPLICAS] };

/// Writes rows; those that failed by their own keys. The others are remembered as `current`.
fn put<Own, K, V>(
    put_all: impl FnOnce(&[(K, V)]) -> Vec<(usize, TableError)>,
    rows: Vec<(Own, V)>,
    current: &mut BTreeMap<Own, V>,
    key: impl Fn(Own) -> K,
) -> Vec<(Own, TableError)>
where
    Own: Ord + Copy,
    V: Copy,
{
    let keyed: Vec<(K, V)> = rows.iter().map(|(own, row)| (key(*own), *row)).collect();
    let mut failed: BTreeMap<usize, TableError> = put_all(&keyed).into_iter().collect();
    let mut errors = Vec::new();
    for (at, (own, row)) in rows.into_iter().enumerate() {
        match failed.remove(&at) {
            None => drop(current.insert(own, row)),
            Some(error) => errors.push((own, error)),
        }
    }
    errors
}
