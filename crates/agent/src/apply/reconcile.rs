//! The steps that make one VPC what its rows say.

use super::scope::Scope;
use super::work::{Late, Work};
use super::{Applier, Errors};
use crate::error_chain;
use crate::install::{self, Failed};
use crate::kernel::Maps;
use crate::ports;
use mizar_packet::Address;
use mizar_packet::count::PER_VPC;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{Endpoint, EndpointKey, HostIndex, NetworkIndex, RouteKey, VpcIndex};
use mizar_packet::upkeep::LEASE;
use mizar_vpc::tables::{self, Assigned, Gone, Place, VpcTables};
use mizar_vpc::{
    Changes, HeldRow, IndexedRows, Name, NetworkId, NetworkRow, PortMigration, RowKey, Vni, VpcRows,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tracing::{debug, warn};

impl Applier {
    /// Begins: writes networks, begins to attach guests, writes held endpoints meanwhile.
    pub(super) fn start(&mut self, mut work: Work, held: Changes<IpAddr, HeldRow>) {
        self.with_rows(work.vni, |applier, rows| applier.write(&mut work, rows, held));
        self.advance(work);
    }

    /// Does something with the rows of a VPC, which do not change meanwhile.
    pub(super) fn with_rows(&mut self, vni: Vni, act: impl FnOnce(&mut Self, &IndexedRows)) {
        let rows = std::mem::take(&mut self.known.entry(vni).or_default().rows);
        act(self, &rows);
        self.known.entry(vni).or_default().rows = rows;
    }

    fn write(&mut self, work: &mut Work, indexed: &IndexedRows, held: Changes<IpAddr, HeldRow>) {
        let (vni, rows) = (work.vni, indexed.rows());
        work.wanted = *rows != VpcRows::default() || !held.upserts.is_empty();
        // A VPC that comes or goes does so with all that it has.
        if !work.wanted || self.vpcs.get(&vni.get()).is_none() {
            work.scope.widen(rows);
        }
        if work.wanted {
            let Some(assigned) = self.assign(vni, rows, work) else {
                return self.displace(work, held.upserts);
            };
            work.desired = tables::tables(vni.get(), rows, &assigned);
            let is_there = self.installed.get(&vni.get()).is_some_and(|it| it.vpc.is_some());
            if is_there && self.hosts.are_expected() {
                work.late = Some(Late::default());
            }
            self.write_networks(work, rows, &assigned.networks);
            let names = std::mem::take(&mut work.scope.ports);
            names.iter().for_each(|name| self.begin_port(work, rows, name));
            work.scope.ports = names;
            self.attach_waiting(work);
        }
        let start = Instant::now();
        let (replaced, removals): (BTreeSet<_>, _) =
            held.removals.into_iter().partition(|address| indexed.port_at(*address).is_some());
        match &mut work.late {
            // Those who are to be asked instead cannot be yet.
            Some(late) => late.removals = removals,
            // First, since it makes room.
            None => self.remove_held(vni, &removals),
        }
        if let Some(vpc) = self.vpcs.get(&vni.get()) {
            self.write_held(work, indexed, &held.upserts, vpc);
        }
        work.replaced = replaced;
        work.held = start.elapsed();
    }

    /// Writes what could not be written at first, for want of next hops.
    pub(super) fn write_rest(&mut self, work: &mut Work, indexed: &IndexedRows, late: &Late) {
        let rows = indexed.rows();
        let places = rows.networks.iter().filter_map(|(id, network)| {
            let key = tables::network_key(work.vni.get(), network)?;
            Some((*id, self.networks.get(&key)?))
        });
        let places = places.collect();
        self.write_networks(work, rows, &places);
        self.remove_held(work.vni, &late.removals);
        if let Some(vpc) = self.vpcs.get(&work.vni.get()) {
            self.write_held(work, indexed, &late.held, vpc);
        }
    }

    /// Writes networks: as long as hosts are waited for, those that are new.
    fn write_networks(
        &mut self,
        work: &mut Work,
        rows: &VpcRows,
        places: &BTreeMap<NetworkId, NetworkIndex>,
    ) {
        let (vni, only_new) = (work.vni.get(), work.late.is_some());
        let current = self.installed.entry(vni).or_default();
        let desired = &work.desired;
        for failed in install::write_networks(&self.maps, vni, current, desired, only_new) {
            report(failed, rows, places, desired, &mut work.errors);
        }
    }

    /// A VPC without a place has nothing in the tables: all is tried again.
    fn displace(&mut self, work: &mut Work, held: BTreeMap<IpAddr, HeldRow>) {
        work.displaced = true;
        let reason = work.errors.values().next().cloned();
        let reason = reason.unwrap_or_else(|| "the VPC has no place in the tables".to_owned());
        let rows = held.keys().map(|address| (RowKey::Held(*address), reason.clone()));
        work.errors.extend(rows);
        self.known.entry(work.vni).or_default().unwritten.extend(held);
    }

    /// The indices that the rows need. None if the VPC itself has no place.
    fn assign(&mut self, vni: Vni, rows: &VpcRows, work: &mut Work) -> Option<Assigned> {
        let errors = &mut work.errors;
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
        let mut assigned = Assigned { vpc, ..Assigned::default() };
        for id in &work.scope.networks {
            let Some(network) = rows.networks.get(id) else { continue };
            let Some(key) = tables::network_key(vni.get(), network) else {
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
            if let Err(error) = self.hosts.expect(*host).map(|i| assigned.hosts.insert(*host, i)) {
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
        match self.hosts.expect(host) {
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

    /// Has a guest attached, or gives it its rows if it is attached already.
    fn begin_port(&mut self, work: &mut Work, rows: &VpcRows, name: &Name) {
        // Those that go are not among the rows.
        let Some(port) = rows.ports.get(name) else { return };
        // Every port's network was checked to be there.
        let Some(network) = rows.networks.get(&port.network) else { return };
        let spec = ports::spec(work.vni, name, port, network, self.guest_mtu);
        if self.ports.is_attached(work.vni, name, &spec) {
            self.write_port(work, rows, name);
        } else {
            // Its interface is not known yet.
            let row = self.place(work.vni, rows, network);
            let row = row.map(|place| tables::port(work.vni.get(), port, network, 0, place).0);
            work.waiting.push_back((name.clone(), spec, row));
        }
    }

    /// What the rows of a network's guests need of the tables; None if the network has no place.
    fn place(&self, vni: Vni, rows: &VpcRows, network: &NetworkRow) -> Option<Place> {
        Some(Place {
            vpc: self.vpcs.get(&vni.get())?,
            network: self.networks.get(&tables::network_key(vni.get(), network)?)?,
            guest_mtu: self.guest_mtu,
            underlay: self.hosts.own(),
            keys: rows.keys.map_or(Keys::NONE, Keys::from),
        })
    }

    /// Writes the rows of a guest that is attached.
    pub(super) fn write_port(&mut self, work: &mut Work, rows: &VpcRows, name: &Name) {
        let vni = work.vni;
        let Some(port) = rows.ports.get(name) else { return };
        let (Some(network), Some(attached)) =
            (rows.networks.get(&port.network), self.ports.get(vni, name))
        else {
            return;
        };
        let Some(place) = self.place(vni, rows, network) else {
            let problem = format!("network {} has no place in the tables", port.network);
            work.errors.insert(RowKey::Port(name.clone()), problem);
            return;
        };
        let target = port.migration.and_then(PortMigration::target);
        if let Err(error) = self.hosts.keep_target((vni, name.clone()), target) {
            let error = error_chain(&error);
            warn!(%vni, endpoint = %name, error, "host that it is about to move to not added");
        }
        let (row, endpoints) = tables::port(vni.get(), port, network, attached.interface, place);
        let current = self.installed.entry(vni.get()).or_default();
        let written = install::write_port(&self.maps, vni.get(), current, (&row, &endpoints));
        if let Err(error) = written {
            work.errors.insert(RowKey::Port(name.clone()), error_chain(&error));
        }
        self.tell_known(vni, endpoints.keys().copied());
        work.desired.ports.insert(row.interface, row);
        work.desired.endpoints.extend(endpoints);
    }

    /// Writes the endpoints that this host bounces for; those that it knows to be elsewhere later,
    /// if frames cannot be sent yet to where they are.
    fn write_held(
        &mut self,
        work: &mut Work,
        indexed: &IndexedRows,
        held: &BTreeMap<IpAddr, HeldRow>,
        vpc: VpcIndex,
    ) {
        let known = self.known.entry(work.vni).or_default();
        for (address, row) in held {
            if indexed.port_at(*address).is_some() {
                continue;
            }
            let key = EndpointKey::new(work.vni.get(), Address::from(*address));
            let host = self.hosts.expect(row.host).map_err(|error| error_chain(&error));
            if self.hosts.is_expected(row.host) && self.maps.endpoints.get(&key).is_some() {
                work.late.get_or_insert_default().held.insert(*address, *row);
                continue;
            }
            let written = host.and_then(|host| {
                let row = tables::held(row, host, vpc);
                self.maps.endpoints.put(&key, &row).map_err(|error| error_chain(&error))
            });
            match written {
                Ok(()) => self.used.add_endpoints(1),
                Err(error) => {
                    known.unwritten.insert(*address, *row);
                    work.errors.insert(RowKey::Held(*address), error);
                }
            }
        }
        self.tell_known(work.vni, held.keys().map(|address| Address::from(*address)));
    }

    /// Tells hosts that have just been told that these endpoints do not exist that they do.
    fn tell_known(&self, vni: Vni, endpoints: impl Iterator<Item = Address>) {
        if let Err(error) = self.control.tell_known(vni.get(), endpoints) {
            debug!(%vni, %error, "control message not sent");
        }
    }

    fn remove_held(&self, vni: Vni, removals: &BTreeSet<IpAddr>) {
        for address in removals {
            let key = EndpointKey::new(vni.get(), Address::from(*address));
            let row = self.maps.endpoints.get(&key);
            if row.is_none_or(|row| row.kind != Endpoint::HELD) {
                continue;
            }
            match self.maps.endpoints.remove(&key) {
                Ok(_) => self.used.remove_endpoint(),
                Err(error) => warn!(%vni, %address, %error, "held endpoint not removed"),
            }
        }
    }

    /// Once all guests have their rows or could not be attached: removes what the rows no longer
    /// have, guests first, whose interfaces go last of theirs.
    pub(super) fn settle(&mut self, work: &mut Work, indexed: &IndexedRows) {
        let (vni, rows) = (work.vni, indexed.rows());
        let current = self.installed.entry(vni.get()).or_default();
        let mut gone = std::mem::take(&mut work.scope.gone);
        if work.scope.all {
            gone = Gone::all(current, &work.desired);
        } else {
            gone.restrict(current, &work.desired);
        }
        let left = gone.endpoints.iter().filter_map(|at| current.endpoints.remove_entry(at));
        // First: from here on what comes for them is sent on, and needs nothing else.
        for (address, row) in left.collect::<Vec<_>>() {
            let key = EndpointKey::new(vni.get(), address);
            // One that should be here but cannot be attached has not moved.
            let moved = indexed.port_at(address.into()).is_none();
            let to = moved.then(|| self.successor(&work.scope, address, rows));
            leave(&self.maps, key, row, to);
        }
        let current = self.installed.entry(vni.get()).or_default();
        for failed in install::remove(&self.maps, vni.get(), current, &gone) {
            warn!(%vni, ?failed, "row not removed");
        }
        self.remove_held(vni, &work.replaced);
        let go = |name: &&Name| !rows.ports.contains_key(*name);
        let names: Vec<Name> = if work.scope.all {
            self.ports.of(vni).filter(go).cloned().collect()
        } else {
            let there = |name: &&Name| self.ports.get(vni, name).is_some();
            work.scope.ports.iter().filter(go).filter(there).cloned().collect()
        };
        for name in names {
            let _ = self.hosts.keep_target((vni, name.clone()), None);
            work.detaching += 1;
            self.ports.detach(vni, name);
        }
        self.release(work, rows);
    }

    /// The index of the host that gets what still comes for an endpoint that has left; 0: whichever
    /// bouncer is alive then.
    fn successor(&self, scope: &Scope, address: Address, rows: &VpcRows) -> HostIndex {
        let Some(successor) = scope.successors.get(&address) else { return 0 };
        let asked = rows.networks.contains_key(&successor.network);
        let bouncer = successor
            .bouncers
            .iter()
            .find(|host| !asked && self.hosts.own() != Address::from(**host));
        let host = successor.target.as_ref().or(bouncer);
        host.and_then(|host| self.hosts.expect(*host).ok()).unwrap_or(0)
    }

    /// Frees the indices that nothing in the tables has any more.
    fn release(&mut self, work: &Work, rows: &VpcRows) {
        let vni = work.vni.get();
        let candidates: Vec<RouteKey> = if work.scope.all {
            self.networks.iter().map(|(key, _)| *key).filter(|key| key.vni() == vni).collect()
        } else {
            work.scope.keys.clone()
        };
        if !candidates.is_empty() {
            let networks = rows.networks.values();
            let kept: BTreeSet<RouteKey> =
                networks.filter_map(|network| tables::network_key(vni, network)).collect();
            let used = self.indices_in_use(vni);
            for key in candidates.iter().filter(|key| !kept.contains(key)) {
                if self.networks.get(key).is_some_and(|index| !used.contains(&index)) {
                    self.networks.release(key);
                }
            }
        }
        if !work.wanted && self.indices_in_use(vni).is_empty() {
            self.forget_learned(work.vni);
            self.vpcs.release(&vni);
            self.installed.remove(&vni);
        }
    }

    /// The networks that a VPC's routes lead to.
    fn indices_in_use(&self, vni: u32) -> BTreeSet<u32> {
        let routes = self.installed.get(&vni).map(|tables| &tables.routes);
        routes.into_iter().flat_map(BTreeMap::values).map(|route| route.network).collect()
    }

    /// Learned rows name the VPC's index, which becomes free.
    fn forget_learned(&self, vni: Vni) {
        for (key, _) in self.maps.learned.rows().filter(|(key, _)| key.vni == vni.get()) {
            self.maps.learned.remove(&key);
        }
    }
}

/// Takes away a row that says "here": for two leases the host still says that the endpoint moved,
/// and sends what comes for it on to the host with that index, or, if it is 0, back to a bouncer.
fn leave(maps: &Arc<Maps>, key: EndpointKey, row: Endpoint, moved: Option<HostIndex>) {
    match maps.endpoints.get(&key) {
        Some(found) if found.kind == Endpoint::LOCAL => {}
        // This host has become its bouncer.
        _ => return,
    }
    let moved = moved.map(|host| Endpoint { host, ..tables::moved(&row) });
    let outcome = match &moved {
        Some(row) => maps.endpoints.put(&key, row),
        None => maps.endpoints.remove(&key).map(drop),
    };
    match (outcome, moved) {
        (Ok(()), Some(row)) => forget_moved(maps, key, row),
        (Ok(()), None) => {}
        (Err(error), _) => {
            warn!(vni = key.vni, address = %key.address, %error, "endpoint not removed");
        }
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

/// Names the rows that a failure is about.
fn report(
    failed: Failed,
    rows: &VpcRows,
    places: &BTreeMap<NetworkId, NetworkIndex>,
    desired: &VpcTables,
    errors: &mut Errors,
) {
    let network = |index: u32| {
        let found = places.iter().find(|(_, i)| **i == index);
        found.map(|(id, _)| RowKey::Network(*id))
    };
    let (row, error) = match failed {
        Failed::Network(index, error) => (network(index), error),
        Failed::Route(key, error) => {
            (desired.routes.get(&key).and_then(|route| network(route.network)), error)
        }
        // Of guests: written one by one, and reported there.
        Failed::Port(error) => (None, error),
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
