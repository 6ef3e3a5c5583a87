//! The steps that make one VPC what its rows say.

use super::Applier;
use crate::error_chain;
use crate::install::{self, Failed};
use crate::kernel::{Maps, RouteKey};
use crate::plan::{self, Assigned, VpcTables};
use crate::probe::LEASE;
use mizar_packet::Address;
use mizar_packet::count::PER_VPC;
use mizar_packet::tables::{Endpoint, EndpointKey, VpcIndex};
use mizar_vpc::{Changes, HeldRow, RowKey, Vni, VpcRows};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use tracing::warn;

/// Why rows are not as they should be.
type Errors = BTreeMap<RowKey, String>;

impl Applier {
    /// Makes a VPC what its rows say; what could not be done.
    pub(super) async fn reconcile(&mut self, vni: Vni, held: Changes<IpAddr, HeldRow>) -> Errors {
        let rows = self.known.get(&vni).map(|known| known.rows.clone()).unwrap_or_default();
        let wanted = rows != VpcRows::default() || !held.upserts.is_empty();
        let mut errors = Errors::new();
        let mut desired = VpcTables::default();
        if wanted {
            let Some(assigned) = self.assign(vni, &rows, &mut errors) else { return errors };
            desired = plan::tables(vni.get(), &rows, &assigned);
            self.attach(vni, &rows, &assigned, &mut desired, &mut errors).await;
            let current = self.installed.entry(vni.get()).or_default();
            for failed in install::write(&self.maps, vni.get(), current, &desired) {
                report(failed, &rows, &assigned, &desired, &mut errors);
            }
            // First, since it makes room.
            self.remove_held(vni, &held.removals, &desired);
            self.write_held(vni, &held.upserts, &desired, assigned.vpc, &mut errors);
        } else {
            self.remove_held(vni, &held.removals, &desired);
        }
        self.remove(vni, &rows, &desired).await;
        self.release(vni, &rows, wanted);
        errors
    }

    /// The indices that the rows need. None if the VPC itself has no place.
    fn assign(&mut self, vni: Vni, rows: &VpcRows, errors: &mut Errors) -> Option<Assigned> {
        let known = self.vpcs.get(&vni.get()).is_some();
        let vpc = match self.vpcs.allocate(&vni.get()) {
            Ok(index) => index,
            Err(error) => {
                errors.extend(all_rows(rows).map(|row| (row, error.to_string())));
                return None;
            }
        };
        if !known {
            self.clear_counters(vpc);
        }
        let guest_mtu = self.guest_mtu;
        let mut assigned = Assigned { vpc, guest_mtu, ..Assigned::default() };
        for (id, network) in &rows.networks {
            let Some(key) = plan::network_key(vni.get(), network) else {
                let problem = "the network has no prefix".to_owned();
                errors.insert(RowKey::Network(*id), problem);
                continue;
            };
            match self.networks.allocate(&key) {
                Ok(index) => drop(assigned.networks.insert(*id, index)),
                Err(error) => drop(errors.insert(RowKey::Network(*id), error.to_string())),
            }
            for host in &network.holders.hosts {
                self.assign_host(*host, &mut assigned, || RowKey::Network(*id), errors);
            }
        }
        for host in &rows.dividers {
            if let Err(error) = self.hosts.ensure(*host).map(|i| assigned.hosts.insert(*host, i)) {
                warn!(%vni, divider = %host, %error, "divider not added");
            }
        }
        Some(assigned)
    }

    fn assign_host(
        &self,
        host: IpAddr,
        assigned: &mut Assigned,
        row: impl Fn() -> RowKey,
        errors: &mut Errors,
    ) {
        match self.hosts.ensure(host) {
            Ok(index) => drop(assigned.hosts.insert(host, index)),
            Err(error) => drop(errors.insert(row(), error_chain(&error))),
        }
    }

    /// A row of the counters that served another VPC before starts at zero.
    fn clear_counters(&self, vpc: VpcIndex) {
        let rows = (0..PER_VPC).map(|counter| vpc * PER_VPC + counter);
        for error in rows.filter_map(|row| self.maps.counters.clear(row).err()) {
            warn!(vpc, %error, "counter not cleared");
        }
    }

    /// Attaches the guests, and adds the rows of those that are attached.
    async fn attach(
        &mut self,
        vni: Vni,
        rows: &VpcRows,
        assigned: &Assigned,
        desired: &mut VpcTables,
        errors: &mut Errors,
    ) {
        for (name, port) in &rows.ports {
            let row = || RowKey::Port(name.clone());
            // Every port's network was checked to be there.
            let Some(network) = rows.networks.get(&port.network) else { continue };
            let attached = self.ports.attach(vni, name, port, network, self.guest_mtu).await;
            let interface = match attached {
                Ok(interface) => interface,
                Err(error) => {
                    errors.insert(row(), error_chain(&error));
                    continue;
                }
            };
            let network = (port.network, network);
            if plan::add_port(desired, vni.get(), port, network, interface, assigned).is_none() {
                let problem = format!("network {} has no place in the tables", port.network);
                errors.insert(row(), problem);
            }
        }
    }

    /// Writes the endpoints that this host bounces for.
    fn write_held(
        &mut self,
        vni: Vni,
        held: &BTreeMap<IpAddr, HeldRow>,
        desired: &VpcTables,
        vpc: VpcIndex,
        errors: &mut Errors,
    ) {
        let known = self.known.entry(vni).or_default();
        for (address, row) in held {
            let key = EndpointKey::new(vni.get(), Address::from(*address));
            if desired.endpoints.contains_key(&key.address) {
                continue;
            }
            let host = self.hosts.ensure(row.host).map_err(|error| error_chain(&error));
            let written = host.and_then(|host| {
                let row = held_row(row, host, vpc);
                self.maps.endpoints.put(&key, &row).map_err(|error| error_chain(&error))
            });
            if let Err(error) = written {
                known.unwritten.insert(*address, *row);
                errors.insert(RowKey::Held(*address), error);
            }
        }
    }

    fn remove_held(&self, vni: Vni, removals: &BTreeSet<IpAddr>, desired: &VpcTables) {
        for address in removals {
            let key = EndpointKey::new(vni.get(), Address::from(*address));
            if desired.endpoints.contains_key(&key.address) {
                continue;
            }
            let row = self.maps.endpoints.get(&key);
            let held = row.is_some_and(|row| row.kind == Endpoint::HELD);
            if held && let Err(error) = self.maps.endpoints.remove(&key) {
                warn!(%vni, %address, %error, "held endpoint not removed");
            }
        }
    }

    /// Removes what the rows no longer have: guests first, whose interfaces go last of theirs.
    async fn remove(&mut self, vni: Vni, rows: &VpcRows, desired: &VpcTables) {
        let current = self.installed.entry(vni.get()).or_default();
        let (gone, failed) = install::remove(&self.maps, vni.get(), current, desired);
        for failed in failed {
            warn!(%vni, ?failed, "row not removed");
        }
        let here: BTreeSet<Address> =
            rows.ports.values().flat_map(plan::addresses).map(Address::from).collect();
        for (address, row) in gone {
            let key = EndpointKey::new(vni.get(), address);
            // One that should be here but cannot be attached has not moved.
            leave(&self.maps, key, row, !here.contains(&address));
        }
        for name in self.ports.of(vni).into_iter().filter(|name| !rows.ports.contains_key(name)) {
            if let Err(error) = self.ports.detach(vni, &name).await {
                warn!(%vni, endpoint = %name, error = error_chain(&error), "guest not detached");
            }
        }
    }

    /// Frees the indices that nothing in the tables has any more.
    fn release(&mut self, vni: Vni, rows: &VpcRows, wanted: bool) {
        let networks = rows.networks.values();
        let kept: BTreeSet<RouteKey> =
            networks.filter_map(|network| plan::network_key(vni.get(), network)).collect();
        let routes = self.installed.get(&vni.get()).map(|tables| &tables.routes);
        let used: BTreeSet<u32> =
            routes.into_iter().flat_map(BTreeMap::values).map(|route| route.network).collect();
        let free: Vec<_> = self
            .networks
            .iter()
            .filter(|(key, index)| {
                key.vni() == vni.get() && !kept.contains(key) && !used.contains(index)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in free {
            self.networks.release(&key);
        }
        if !wanted && used.is_empty() {
            self.forget_learned(vni);
            self.vpcs.release(&vni.get());
            self.installed.remove(&vni.get());
        }
    }

    /// Learned rows name the VPC's index, which becomes free.
    fn forget_learned(&self, vni: Vni) {
        let learned = self.maps.learned.rows().unwrap_or_default();
        for (key, _) in learned.into_iter().filter(|(key, _)| key.vni == vni.get()) {
            if let Err(error) = self.maps.learned.remove(&key) {
                warn!(%vni, address = %key.address, %error, "learned location not removed");
            }
        }
    }
}

/// Takes away a row that says "here": for two leases the host still says that the endpoint moved,
/// and sends what comes for it back to a bouncer.
fn leave(maps: &Arc<Maps>, key: EndpointKey, row: Endpoint, moved: bool) {
    match maps.endpoints.get(&key) {
        Some(found) if found.kind == Endpoint::LOCAL => {}
        // This host has become its bouncer.
        _ => return,
    }
    let Endpoint { generation, vpc, .. } = row;
    let moved_row = Endpoint { generation, kind: Endpoint::MOVED, vpc, ..Endpoint::NOWHERE };
    let outcome = if moved {
        maps.endpoints.put(&key, &moved_row)
    } else {
        maps.endpoints.remove(&key).map(drop)
    };
    match outcome {
        Ok(()) if moved => forget_moved(maps, key, moved_row),
        Ok(()) => {}
        Err(error) => warn!(vni = key.vni, address = %key.address, %error, "endpoint not removed"),
    }
}

/// Removes a row that says "moved" after two leases, unless it has become another one.
pub(super) fn forget_moved(maps: &Arc<Maps>, key: EndpointKey, row: Endpoint) {
    let maps = Arc::clone(maps);
    tokio::spawn(async move {
        tokio::time::sleep(2 * LEASE).await;
        if maps.endpoints.get(&key) == Some(row)
            && let Err(error) = maps.endpoints.remove(&key)
        {
            warn!(vni = key.vni, address = %key.address, %error, "moved endpoint not removed");
        }
    });
}

fn held_row(row: &HeldRow, host: u32, vpc: VpcIndex) -> Endpoint {
    let generation = row.generation.get();
    Endpoint { generation, kind: Endpoint::HELD, host, vpc, ..Endpoint::NOWHERE }
}

/// Names the rows that a failure is about.
fn report(
    failed: Failed,
    rows: &VpcRows,
    assigned: &Assigned,
    desired: &VpcTables,
    errors: &mut Errors,
) {
    let network = |index: u32| {
        let found = assigned.networks.iter().find(|(_, i)| **i == index);
        found.map(|(id, _)| RowKey::Network(*id))
    };
    let port = |address: Address| {
        let address = IpAddr::from(address);
        let found = rows.ports.iter().find(|(_, p)| plan::addresses(p).any(|a| a == address));
        found.map(|(name, _)| RowKey::Port(name.clone()))
    };
    let (row, error) = match failed {
        Failed::Network(index, error) => (network(index), error),
        Failed::Route(key, error) => {
            (desired.routes.get(&key).and_then(|route| network(route.network)), error)
        }
        Failed::Endpoint(address, error) => (port(address), error),
        Failed::Port(interface, error) => {
            let endpoints = desired.endpoints.iter();
            let mut of = endpoints.filter(|(_, e)| e.interface == interface);
            (of.next().and_then(|(address, _)| port(*address)), error)
        }
        Failed::Vpc(error) => {
            let text = error_chain(&error);
            errors.extend(all_rows(rows).map(|row| (row, text.clone())));
            return;
        }
    };
    match row {
        Some(row) => drop(errors.insert(row, error_chain(&error))),
        None => warn!(error = error_chain(&error), "row not written"),
    }
}

fn all_rows(rows: &VpcRows) -> impl Iterator<Item = RowKey> {
    let networks = rows.networks.keys().map(|id| RowKey::Network(*id));
    networks.chain(rows.ports.keys().map(|name| RowKey::Port(name.clone())))
}
