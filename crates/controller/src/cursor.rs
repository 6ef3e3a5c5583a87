//! The rows of a host in a VPC, key by key: a few at a time, whatever changes in between. Rows that
//! come meanwhile may be left out, and those that go may be named: whoever goes through them keeps
//! a note of what changes.

use mizar_vpc::{Name, NetworkId, RowKey, Slot, View, Vni};
use std::collections::{BTreeSet, VecDeque};

/// What is left of them.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    keys: VecDeque<RowKey>,
    /// Slots that the host keeps, whose addresses were not looked at yet.
    slots: Vec<(NetworkId, Slot)>,
}

impl Cursor {
    /// All rows of a host.
    pub(crate) fn all(view: View<'_>, vni: Vni, host: &Name) -> Self {
        let (mut keys, mut slots) = (VecDeque::new(), Vec::new());
        let Some(vpc) = view.catalog.vpc(vni) else { return Self::default() };
        for id in vpc.networks().map(|network| network.record().id) {
            keys.push_back(RowKey::Network(id));
            let Some(map) = view.map(vni, id) else { continue };
            let kept = Slot::all().filter(|slot| map.keepers(*slot).any(|it| it == host));
            slots.extend(kept.map(|slot| (id, slot)));
        }
        let ids = view.catalog.host(host).into_iter().flat_map(|host| host.endpoints(vni));
        let ports = ids.filter_map(|id| vpc.endpoint(id));
        keys.extend(ports.map(|endpoint| RowKey::Port(endpoint.name.clone())));
        Self { keys, slots }
    }

    /// These rows.
    pub(crate) fn some(keys: BTreeSet<RowKey>) -> Self {
        Self { keys: keys.into_iter().collect(), slots: Vec::new() }
    }

    /// All but these; they are among those that are looked at first.
    pub(crate) fn without(mut self, keys: &BTreeSet<RowKey>) -> Self {
        self.keys.retain(|key| !keys.contains(key));
        self
    }

    /// The next rows, so many at most.
    pub(crate) fn take(&mut self, view: View<'_>, vni: Vni, most: usize) -> Vec<RowKey> {
        while self.keys.len() < most
            && let Some((id, slot)) = self.slots.pop()
        {
            self.keys.extend(view.held_keys(vni, id, slot));
        }
        let count = self.keys.len().min(most);
        self.keys.drain(..count).collect()
    }

    /// Whether none is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.slots.is_empty()
    }
}
