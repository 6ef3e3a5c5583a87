//! Brings a host from one state of one VPC to another.

use crate::{Generation, HeldRow, Name, NetworkId, NetworkRow, PortRow, TagKeys, Vni, VpcRows};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

mod batch;
mod check;
mod indexed;

pub use batch::{Assembly, Batch, BatchError};
pub use check::UpdateError;
pub use indexed::IndexedRows;

/// What changes for one host in one VPC. Applied twice, it changes nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcUpdate {
    /// The VPC.
    pub vni: Vni,
    /// Where the host stands once all of this is applied.
    pub generation: Generation,
    /// Where the host must stand before. None: anywhere, since this replaces all rows of the VPC.
    pub base: Option<Generation>,
    /// The VPC has nothing to do on this host any more: all its rows go.
    pub removed: bool,
    /// All dividers, as in [`VpcRows::dividers`].
    pub dividers: Vec<IpAddr>,
    /// As in [`VpcRows::quota`].
    pub quota: u32,
    /// As in [`VpcRows::keys`].
    pub keys: Option<TagKeys>,
    /// Changes of [`VpcRows::networks`].
    pub networks: Changes<NetworkId, NetworkRow>,
    /// Changes of [`VpcRows::ports`].
    pub ports: Changes<Name, PortRow>,
    /// Changes of [`VpcRows::held`].
    pub held: Changes<IpAddr, HeldRow>,
}

/// Changes of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<K, V> {
    /// Rows that are new or different.
    pub upserts: BTreeMap<K, V>,
    /// Keys of rows that go. None of them is among the upserts.
    pub removals: BTreeSet<K>,
}

/// Names one row of a VPC on one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// A row of [`VpcRows::networks`].
    Network(NetworkId),
    /// A row of [`VpcRows::ports`].
    Port(Name),
    /// A row of [`VpcRows::held`].
    Held(IpAddr),
}

impl VpcUpdate {
    /// Everything, for a host that stands anywhere.
    pub fn full(vni: Vni, generation: Generation, rows: VpcRows) -> Self {
        Self {
            dividers: rows.dividers,
            quota: rows.quota,
            keys: rows.keys,
            networks: rows.networks.into(),
            ports: rows.ports.into(),
            held: rows.held.into(),
            ..Self::empty(vni, generation, None)
        }
    }

    /// The difference between two states.
    pub fn diff(
        vni: Vni,
        (base, old): (Generation, &VpcRows),
        (generation, new): (Generation, &VpcRows),
    ) -> Self {
        Self {
            dividers: new.dividers.clone(),
            quota: new.quota,
            keys: new.keys,
            networks: Changes::between(&old.networks, &new.networks),
            ports: Changes::between(&old.ports, &new.ports),
            held: Changes::between(&old.held, &new.held),
            ..Self::empty(vni, generation, Some(base))
        }
    }

    /// A change that has no rows yet, for a host that stands at `base`; None: anywhere.
    pub fn change(vni: Vni, generation: Generation, base: Option<Generation>) -> Self {
        Self::empty(vni, generation, base)
    }

    /// The end of a VPC on this host, wherever the host stands.
    pub fn removal(vni: Vni, generation: Generation) -> Self {
        Self { removed: true, ..Self::empty(vni, generation, None) }
    }

    /// Refuses an update that does not continue from where the host stands: one that is older, or
    /// starts elsewhere. The same one again is welcome.
    pub fn check_position(&self, current: Option<Generation>) -> Result<(), UpdateError> {
        let (vni, generation) = (self.vni, self.generation);
        if let Some(current) = current.filter(|current| *current > generation) {
            return Err(UpdateError::Stale { vni, generation, current });
        }
        match self.base {
            Some(base) if current != Some(base) && current != Some(generation) => {
                Err(UpdateError::Base { vni, base, current })
            }
            _ => Ok(()),
        }
    }

    /// How many rows this changes.
    pub fn len(&self) -> usize {
        self.networks.len() + self.ports.len() + self.held.len()
    }

    /// Whether this changes no rows. It may still change dividers, quota, keys or generation.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An update that changes no rows.
    fn empty(vni: Vni, generation: Generation, base: Option<Generation>) -> Self {
        Self {
            vni,
            generation,
            base,
            removed: false,
            dividers: Vec::new(),
            quota: 0,
            keys: None,
            networks: Changes::default(),
            ports: Changes::default(),
            held: Changes::default(),
        }
    }
}

impl VpcRows {
    /// Applies an update whose position was checked. One that would leave malformed rows is refused
    /// before any row changes.
    pub fn apply(&mut self, update: VpcUpdate) -> Result<(), UpdateError> {
        check::check(self, &update)?;
        self.execute(update);
        Ok(())
    }

    /// Applies an update that was checked.
    fn execute(&mut self, update: VpcUpdate) {
        if update.base.is_none() {
            *self = Self::default();
        }
        if !update.removed {
            self.dividers = update.dividers;
            self.quota = update.quota;
            self.keys = update.keys;
            update.networks.apply(&mut self.networks);
            update.ports.apply(&mut self.ports);
            update.held.apply(&mut self.held);
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Changes<K, V> {
    /// What leads from `old` to `new`.
    pub fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let changed = new.iter().filter(|(key, row)| old.get(key) != Some(row));
        let gone = old.keys().filter(|key| !new.contains_key(key));
        Self {
            upserts: changed.map(|(key, row)| (key.clone(), row.clone())).collect(),
            removals: gone.cloned().collect(),
        }
    }

    /// Whether the row of this key becomes another, or goes.
    pub(crate) fn replaces(&self, key: &K) -> bool {
        self.upserts.contains_key(key) || self.removals.contains(key)
    }

    /// Changes `table` accordingly.
    pub fn apply(self, table: &mut BTreeMap<K, V>) {
        for key in &self.removals {
            table.remove(key);
        }
        table.extend(self.upserts);
    }
}

impl<K, V> Changes<K, V> {
    /// How many rows this changes.
    pub fn len(&self) -> usize {
        self.upserts.len() + self.removals.len()
    }

    /// Whether this changes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self { upserts: BTreeMap::new(), removals: BTreeSet::new() }
    }
}

impl<K, V> From<BTreeMap<K, V>> for Changes<K, V> {
    fn from(upserts: BTreeMap<K, V>) -> Self {
        Self { upserts, removals: BTreeSet::new() }
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(id) => write!(f, "networks[{id}]"),
            Self::Port(name) => write!(f, "ports[{name}]"),
            Self::Held(address) => write!(f, "held[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_difference_leads_from_old_to_new(
            old: VpcRows, new: VpcRows, base: Generation, generation: Generation
        ) {
            let update = VpcUpdate::diff(Vni::MIN, (base, &old), (generation, &new));
            let mut rows = old;
            rows.apply(update.clone()).unwrap();
            prop_assert_eq!(&rows, &new);
            rows.apply(update).unwrap();
            prop_assert_eq!(rows, new, "the same update again changes nothing");
        }

        #[test]
        fn a_full_update_leads_to_new_from_anywhere_and_a_removal_to_nothing(
            old: VpcRows, new: VpcRows, generation: Generation
        ) {
            let mut rows = old;
            rows.apply(VpcUpdate::full(Vni::MIN, generation, new.clone())).unwrap();
            prop_assert_eq!(&rows, &new);
            rows.apply(VpcUpdate::removal(Vni::MIN, generation)).unwrap();
            prop_assert_eq!(rows, VpcRows::default());
        }

        #[test]
        fn the_same_rows_differ_in_nothing(rows: VpcRows, from: Generation, to: Generation) {
            prop_assert!(VpcUpdate::diff(Vni::MIN, (from, &rows), (to, &rows)).is_empty());
        }
    }

    fn at(revision: u64) -> Generation {
        Generation::new(1, revision).unwrap()
    }

    #[test]
    fn updates_continue_from_where_the_host_stands() {
        let rows = VpcRows::default();
        let diff = VpcUpdate::diff(Vni::MIN, (at(2), &rows), (at(4), &rows));
        let base = |current| Err(UpdateError::Base { vni: Vni::MIN, base: at(2), current });
        assert_eq!(diff.check_position(None), base(None));
        assert_eq!(diff.check_position(Some(at(1))), base(Some(at(1))));
        assert_eq!(diff.check_position(Some(at(2))), Ok(()));
        assert_eq!(diff.check_position(Some(at(3))), base(Some(at(3))));
        assert_eq!(diff.check_position(Some(at(4))), Ok(()));
        let stale = |current| Err(UpdateError::Stale { vni: Vni::MIN, generation: at(4), current });
        assert_eq!(diff.check_position(Some(at(5))), stale(at(5)));
        let full = VpcUpdate::full(Vni::MIN, at(4), rows);
        assert_eq!(full.check_position(None), Ok(()));
        assert_eq!(full.check_position(Some(at(1))), Ok(()));
        assert_eq!(full.check_position(Some(at(5))), stale(at(5)));
        assert_eq!(
            diff.check_position(None).unwrap_err().to_string(),
            "the update starts at generation 1.2 and VPC 1 stands at none: send a full one"
        );
    }
}
