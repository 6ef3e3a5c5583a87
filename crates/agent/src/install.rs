//! Carries differences into the kernel's tables, and remembers what was carried.

use crate::kernel::{Maps, Table, TableError};
use mizar_packet::Address;
use mizar_packet::tables::{Endpoint, EndpointKey, Holders, Port, REPLICAS, RouteKey, SLOTS};
use mizar_vpc::tables::{Gone, VpcTables, changed};
use std::collections::BTreeMap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A row that could not be written or removed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Of a network, by its index.
    Network(u32, TableError),
    /// Of a network, by its prefix.
    Route(RouteKey, TableError),
    /// Of a guest.
    Port(TableError),
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
    for port in maps.ports.rows()? {
        networks.insert(port.network, port.vni);
        all.entry(port.vni).or_default().ports.insert(port.interface, port);
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

/// Writes what is new or different of networks, in an order in which nothing refers to what is not
/// there yet: holders, the VPC, its routes. With `only_new`, rows that are there stay as they are.
/// `current` follows.
pub(crate) fn write_networks(
    maps: &Maps,
    vni: u32,
    current: &mut VpcTables,
    desired: &VpcTables,
    only_new: bool,
) -> Vec<Failed> {
    let mut failed = Vec::new();
    let mut rows = changed(&current.holders, &desired.holders);
    rows.retain(|(row, _)| !(only_new && current.holders.contains_key(row)));
    for (row, error) in put(&maps.holders, rows, &mut current.holders, |row| row) {
        failed.push(Failed::Network(row / SLOTS as u32, error));
    }
    let stays = current.vpc == desired.vpc || only_new && current.vpc.is_some();
    if let Some(vpc) = desired.vpc.filter(|_| !stays) {
        match maps.vpcs.put(&vni, &vpc) {
            Ok(()) => current.vpc = desired.vpc,
            Err(error) => failed.push(Failed::Vpc(error)),
        }
    }
    // A route that is another one leads to another network, of which all is new.
    let rows = changed(&current.routes, &desired.routes);
    for (key, error) in put(&maps.routes, rows, &mut current.routes, |key| key) {
        failed.push(Failed::Route(key, error));
    }
    failed
}

/// Writes what is new or different of one guest: its interface, its addresses. `current` follows.
///
/// # Errors
/// The first row that could not be written.
pub(crate) fn write_port(
    maps: &Maps,
    vni: u32,
    current: &mut VpcTables,
    (port, endpoints): (&Port, &BTreeMap<Address, Endpoint>),
) -> Result<(), TableError> {
    if current.ports.get(&port.interface) != Some(port) {
        maps.ports.put(port)?;
        current.ports.insert(port.interface, *port);
    }
    for (address, endpoint) in endpoints {
        if current.endpoints.get(address) != Some(endpoint) {
            maps.endpoints.put(&EndpointKey::new(vni, *address), endpoint)?;
            current.endpoints.insert(*address, *endpoint);
        }
    }
    Ok(())
}

/// Removes rows, in the reverse order. `current` follows. Addresses that are no longer here have
/// been left to the caller, who knows where they moved.
pub(crate) fn remove(maps: &Maps, vni: u32, current: &mut VpcTables, gone: &Gone) -> Vec<Failed> {
    let mut failed = Vec::new();
    for interface in &gone.ports {
        match maps.ports.remove(*interface) {
            Ok(_) => drop(current.ports.remove(interface)),
            Err(error) => failed.push(Failed::Port(error)),
        }
    }
    for key in &gone.routes {
        match maps.routes.remove(key) {
            Ok(_) => drop(current.routes.remove(key)),
            Err(error) => failed.push(Failed::Route(*key, error)),
        }
    }
    if gone.vpc {
        match maps.vpcs.remove(&vni) {
            Ok(_) => current.vpc = None,
            Err(error) => failed.push(Failed::Vpc(error)),
        }
    }
    // An array's rows cannot be removed: they name nobody instead.
    let empty: Vec<_> = gone.holders.iter().map(|row| (*row, NOBODY)).collect();
    let errors = maps.holders.put_all(&empty);
    for row in &gone.holders {
        current.holders.remove(row);
    }
    failed.extend(
        errors.into_iter().map(|(at, error)| Failed::Network(empty[at].0 / SLOTS as u32, error)),
    );
    failed
}

const NOBODY: Holders = Holders { hosts: [0; REPLICAS] };

/// Writes rows; those that failed by their own keys. The others are remembered as `current`.
fn put<Own, K, V>(
    table: &Table<K, V>,
    rows: Vec<(Own, V)>,
    current: &mut BTreeMap<Own, V>,
    key: impl Fn(Own) -> K,
) -> Vec<(Own, TableError)>
where
    Own: Ord + Copy,
    K: FromBytes + IntoBytes + Immutable,
    V: FromBytes + IntoBytes + Immutable + Copy,
{
    let keyed: Vec<(K, V)> = rows.iter().map(|(own, row)| (key(*own), *row)).collect();
    let mut failed: BTreeMap<usize, TableError> = table.put_all(&keyed).into_iter().collect();
    let mut errors = Vec::new();
    for (at, (own, row)) in rows.into_iter().enumerate() {
        match failed.remove(&at) {
            None => drop(current.insert(own, row)),
            Some(error) => errors.push((own, error)),
        }
    }
    errors
}
