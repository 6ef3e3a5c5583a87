//! Which rows an update concerns: the work that it makes grows with these alone.

use mizar_packet::Address;
use mizar_packet::tables::{NetworkIndex, RouteKey, SLOTS};
use mizar_vpc::tables::{Gone, holders_row, network_key, routes};
use mizar_vpc::{
    IndexedRows, Name, NetworkId, PortMigration, PortRow, RowKey, Slot, VpcRows, VpcUpdate,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Rows that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// All rows of the VPC, and whatever the tables have of it beside.
    pub(super) all: bool,
    pub(super) networks: BTreeSet<NetworkId>,
    pub(super) ports: BTreeSet<Name>,
    /// What the rows had in the tables before. What they have no more goes.
    pub(super) gone: Gone,
    /// Where what still comes for endpoints goes, of those that may leave.
    pub(super) successors: BTreeMap<Address, Successor>,
    /// Networks whose index nobody may need any more.
    pub(super) keys: Vec<RouteKey>,
    /// Networks that are new, or have other prefixes or gateways: their ports depend on them.
    moved: BTreeSet<NetworkId>,
}

/// Where what still comes for an endpoint goes once it has left.
#[derive(Clone, Debug)]
pub(super) struct Successor {
    /// Its network.
    pub(super) network: NetworkId,
    /// The host that it was about to move to.
    pub(super) target: Option<IpAddr>,
    /// Its bouncers, for a host that does not know the network any more.
    pub(super) bouncers: Vec<IpAddr>,
}

impl Scope {
    /// What an update concerns, before it is applied to the rows. `failed` are rows that are not
    /// as they should be, `index` says which row of the tables a network has.
    pub(super) fn of<'a>(
        update: &VpcUpdate,
        rows: &IndexedRows,
        failed: impl Iterator<Item = &'a RowKey>,
        index: impl Fn(&RouteKey) -> Option<NetworkIndex>,
    ) -> Self {
        if update.base.is_none() {
            let ports = rows.rows().ports.keys().cloned().collect();
            let mut scope = Self { all: true, ports, ..Self::default() };
            rows.rows().ports.values().for_each(|old| scope.note_successors(old, rows.rows()));
            return scope;
        }
        let mut scope = Self::default();
        for id in update.networks.upserts.keys().chain(&update.networks.removals) {
            let new = update.networks.upserts.get(id);
            scope.network(update.vni.get(), *id, rows, &index, new.is_none());
            if new.is_some_and(|row| rows.moves(*id, row)) {
                scope.network(update.vni.get(), *id, rows, &index, true);
                scope.moved.insert(*id);
            }
        }
        for name in update.ports.upserts.keys().chain(&update.ports.removals) {
            if let Some(old) = rows.rows().ports.get(name) {
                scope.gone.endpoints.extend(old.addresses().map(Address::from));
                scope.note_successors(old, rows.rows());
            }
            scope.ports.insert(name.clone());
        }
        if update.keys != rows.rows().keys {
            // All that they say is signed anew.
            scope.ports.extend(rows.rows().ports.keys().cloned());
        }
        if !scope.networks.is_empty() {
            // What failed may have failed for want of a network.
            scope.add_failed(failed);
        }
        scope
    }

    /// What failed, and the guests whose interfaces are gone.
    pub(super) fn of_failed<'a>(
        failed: impl Iterator<Item = &'a RowKey>,
        lost: BTreeMap<u32, Name>,
    ) -> Self {
        let mut scope = Self::default();
        scope.add_failed(failed);
        for (interface, name) in lost {
            scope.gone.ports.insert(interface);
            scope.ports.insert(name);
        }
        scope
    }

    /// Adds what depends on what is concerned, once the rows are as they shall be.
    pub(super) fn follow(&mut self, rows: &VpcRows) {
        if self.all {
            return self.widen(rows);
        }
        if !self.moved.is_empty() {
            let moved = rows.ports.iter().filter(|(_, port)| self.moved.contains(&port.network));
            self.ports.extend(moved.map(|(name, _)| name.clone()));
        }
    }

    /// Adds everything.
    pub(super) fn widen(&mut self, rows: &VpcRows) {
        self.all = true;
        self.networks.extend(rows.networks.keys());
        self.ports.extend(rows.ports.keys().cloned());
    }

    /// Whether a row was looked at.
    pub(super) fn has(&self, row: &RowKey) -> bool {
        match row {
            _ if self.all => true,
            RowKey::Network(id) => self.networks.contains(id),
            RowKey::Port(name) => self.ports.contains(name),
            // Those that could not be written are tried with each update.
            RowKey::Held(_) => true,
        }
    }

    /// Notes where what comes for an endpoint goes, should it have left.
    fn note_successors(&mut self, old: &PortRow, rows: &VpcRows) {
        let target = old.migration.and_then(PortMigration::target);
        let network = old.network;
        let holders = rows.networks.get(&network).map(|network| &network.holders);
        for address in old.addresses() {
            let bouncers = holders.into_iter().flat_map(|it| it.holders(Slot::of(address)));
            let successor = Successor { network, target, bouncers: bouncers.collect() };
            self.successors.insert(Address::from(address), successor);
        }
    }

    fn network(
        &mut self,
        vni: u32,
        id: NetworkId,
        rows: &IndexedRows,
        index: impl Fn(&RouteKey) -> Option<NetworkIndex>,
        leaves: bool,
    ) {
        self.networks.insert(id);
        let Some(old) = rows.rows().networks.get(&id).filter(|_| leaves) else { return };
        self.gone.routes.extend(routes(vni, old));
        let Some(key) = network_key(vni, old) else { return };
        self.keys.push(key);
        if let Some(index) = index(&key) {
            let first = holders_row(index, 0);
            self.gone.holders.extend(first..first + SLOTS as u32);
        }
    }

    fn add_failed<'a>(&mut self, failed: impl Iterator<Item = &'a RowKey>) {
        for row in failed {
            match row {
                RowKey::Network(id) => drop(self.networks.insert(*id)),
                RowKey::Port(name) => drop(self.ports.insert(name.clone())),
                RowKey::Held(_) => {}
            }
        }
    }
}
