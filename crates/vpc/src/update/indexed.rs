//! Rows that take an update at a cost of the update's own size, however many rows there are.

use super::check::{Place, attachments, check_held, check_port, networks, places, taken};
use super::{Changes, RowKey, UpdateError, VpcUpdate};
use crate::{HeldRow, Mac, Name, NetworkId, NetworkRow, PortRow, VpcRows};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The rows of one VPC on one host, and who has which address.
#[derive(Clone, Debug, Default)]
pub struct IndexedRows {
    rows: VpcRows,
    addresses: BTreeMap<IpAddr, Name>,
    macs: BTreeMap<Mac, Name>,
    /// Of all networks, in order.
    places: Vec<Place>,
}

impl IndexedRows {
    /// The rows.
    pub fn rows(&self) -> &VpcRows {
        &self.rows
    }

    /// The port of the endpoint that lives here and has an address.
    pub fn port_at(&self, address: IpAddr) -> Option<&Name> {
        self.addresses.get(&address).filter(|name| self.lives_here(name))
    }

    fn lives_here(&self, name: &Name) -> bool {
        self.rows.ports.get(name).is_some_and(PortRow::lives_here)
    }

    /// What [`VpcRows::apply`] does, and refuses.
    ///
    /// # Errors
    /// The update would leave malformed rows. Nothing has changed then.
    pub fn apply(&mut self, update: VpcUpdate) -> Result<(), UpdateError> {
        let all = self.check(&update)?;
        self.execute(update, all);
        Ok(())
    }

    /// The same, but leaves held rows to the caller, who keeps them elsewhere; their changes.
    ///
    /// # Errors
    /// As [`IndexedRows::apply`].
    pub fn apply_but_held(
        &mut self,
        mut update: VpcUpdate,
    ) -> Result<Changes<IpAddr, HeldRow>, UpdateError> {
        let all = self.check(&update)?;
        let held = std::mem::take(&mut update.held);
        self.execute(update, all);
        Ok(held)
    }

    /// Whether networks come, go, or get other prefixes or gateways, on which their ports depend.
    pub fn moves_networks(&self, update: &VpcUpdate) -> bool {
        !update.networks.removals.is_empty()
            || update.networks.upserts.iter().any(|(id, row)| self.moves(*id, row))
    }

    /// Whether a network is new, or gets other prefixes or gateways.
    pub fn moves(&self, id: NetworkId, row: &NetworkRow) -> bool {
        let place = |row: &NetworkRow| (row.v4, row.v6, row.v4_gateway, row.v6_gateway);
        self.rows.networks.get(&id).is_none_or(|old| place(old) != place(row))
    }

    /// Refuses an update that would leave malformed rows; whether it may concern all rows.
    fn check(&self, update: &VpcUpdate) -> Result<bool, UpdateError> {
        if update.base.is_none() || self.moves_networks(update) {
            super::check::check(&self.rows, update)?;
            return Ok(true);
        }
        self.check_changed(update)?;
        Ok(false)
    }

    fn execute(&mut self, update: VpcUpdate, all: bool) {
        if all {
            self.rows.execute(update);
            return self.index();
        }
        for name in update.ports.removals.iter().chain(update.ports.upserts.keys()) {
            if let Some(row) = self.rows.ports.get(name) {
                row.addresses().for_each(|address| drop(self.addresses.remove(&address)));
                self.macs.remove(&row.mac);
            }
        }
        for (name, row) in &update.ports.upserts {
            self.addresses.extend(row.addresses().map(|address| (address, name.clone())));
            self.macs.insert(row.mac, name.clone());
        }
        self.rows.execute(update);
    }

    fn index(&mut self) {
        let ports = &self.rows.ports;
        let addresses = ports.iter().flat_map(|(n, row)| row.addresses().map(|a| (a, n.clone())));
        self.addresses = addresses.collect();
        self.macs = ports.iter().map(|(name, row)| (row.mac, name.clone())).collect();
        self.places = places(self.rows.networks.iter().map(|(id, row)| (*id, row)));
    }

    /// What `check` checks of all rows, for those that change.
    fn check_changed(&self, update: &VpcUpdate) -> Result<(), UpdateError> {
        networks(update)?;
        attachments(update)?;
        let mut addresses = BTreeMap::new();
        let mut macs = BTreeMap::new();
        for (name, row) in &update.ports.upserts {
            check_port(self.rows.networks.get(&row.network), name, row)?;
            self.check_unique(update, (name, row), &mut addresses, &mut macs)?;
        }
        for &address in update.held.upserts.keys() {
            check_held(&self.places, address)?;
            let stays = self.port_at(address).filter(|by| !update.ports.replaces(by));
            let lives =
                |name: &&Name| update.ports.upserts.get(*name).is_some_and(PortRow::lives_here);
            if let Some(port) = addresses.get(&address).copied().filter(lives).or(stays) {
                return Err(taken(RowKey::Held(address), &address, RowKey::Port(port.clone())));
            }
        }
        Ok(())
    }

    /// Whether no other row has a port's addresses, among those that stay and those before it.
    fn check_unique<'a>(
        &self,
        update: &VpcUpdate,
        (name, row): (&'a Name, &PortRow),
        addresses: &mut BTreeMap<IpAddr, &'a Name>,
        macs: &mut BTreeMap<Mac, &'a Name>,
    ) -> Result<(), UpdateError> {
        let key = || RowKey::Port(name.clone());
        let stays = |by: &&Name| !update.ports.replaces(by);
        for address in row.addresses() {
            let before = addresses.insert(address, name);
            let by = before.or_else(|| self.addresses.get(&address).filter(stays));
            if let Some(by) = by {
                return Err(taken(key(), &address, RowKey::Port(by.clone())));
            }
            let held = row.lives_here() && self.rows.held.contains_key(&address);
            if held && !update.held.removals.contains(&address) {
                return Err(taken(key(), &address, RowKey::Held(address)));
            }
        }
        let before = macs.insert(row.mac, name);
        match before.or_else(|| self.macs.get(&row.mac).filter(stays)) {
            Some(by) => Err(taken(key(), &row.mac, RowKey::Port(by.clone()))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Vni};
    use proptest::prelude::*;

    fn indexed(rows: &VpcRows) -> IndexedRows {
        let generation = Generation::new(1, 1).unwrap();
        let mut indexed = IndexedRows::default();
        indexed.apply(VpcUpdate::full(Vni::MIN, generation, rows.clone())).unwrap();
        indexed
    }

    /// What leads from one state to another, without what it says of networks.
    fn within_networks(old: &VpcRows, new: &VpcRows) -> VpcUpdate {
        let at = |revision| Generation::new(1, revision).unwrap();
        let mut update = VpcUpdate::diff(Vni::MIN, (at(1), old), (at(2), new));
        update.networks = crate::Changes::default();
        update
    }

    fn same(rows: &VpcRows, update: &VpcUpdate) -> Result<(), TestCaseError> {
        let (mut plain, mut indexed) = (rows.clone(), indexed(rows));
        let (wanted, got) = (plain.apply(update.clone()), indexed.apply(update.clone()));
        prop_assert_eq!(wanted.is_ok(), got.is_ok(), "{:?} but {:?}", wanted, got);
        prop_assert_eq!(&plain, indexed.rows());
        let mut again = indexed.clone();
        again.index();
        prop_assert_eq!(&again.addresses, &indexed.addresses);
        prop_assert_eq!(&again.macs, &indexed.macs);
        prop_assert_eq!(&again.places, &indexed.places);
        Ok(())
    }

    proptest! {
        // Some of what is made at random has no ports.
        #![proptest_config(ProptestConfig {
            max_global_rejects: 1 << 16,
            ..ProptestConfig::default()
        })]

        #[test]
        fn updates_do_the_same_as_to_plain_rows(
            rows: VpcRows, other: VpcRows, update: VpcUpdate
        ) {
            same(&rows, &within_networks(&rows, &other))?;
            same(&rows, &within_networks(&other, &rows))?;
            same(&rows, &update)?;
        }

        #[test]
        fn ports_that_change_their_names_or_places_do_the_same(
            rows: VpcRows, swap: bool, take: prop::sample::Index, drop_held: bool
        ) {
            prop_assume!(!rows.ports.is_empty());
            let mut after = rows.clone();
            let names: Vec<_> = rows.ports.keys().cloned().collect();
            let name = take.get(&names);
            let row = after.ports[name].clone();
            if swap {
                after.ports.remove(name);
            }
            after.ports.insert("another".parse().unwrap(), row);
            if drop_held {
                after.held.pop_first();
            }
            same(&rows, &within_networks(&rows, &after))?;
        }

        #[test]
        fn held_addresses_and_ports_that_take_each_other_s_place_do_the_same(
            rows: VpcRows, removed: bool
        ) {
            prop_assume!(!rows.ports.is_empty() && !rows.held.is_empty());
            let mut after = rows.clone();
            let (address, held) = after.held.pop_first().unwrap();
            let (_, port) = after.ports.iter_mut().next().unwrap();
            match address {
                IpAddr::V4(v4) => port.v4 = Some(v4),
                IpAddr::V6(v6) => port.v6 = Some(v6),
            }
            if !removed {
                after.held.insert(address, held);
            }
            same(&rows, &within_networks(&rows, &after))?;
        }
    }
}
