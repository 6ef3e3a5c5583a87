//! Which VPCs each host has a role in, so that a host that connects is looked up and not searched.

use mizar_vpc::{Name, SlotMap, SlotMaps, Vni, VpcSlotMaps};
use std::collections::BTreeMap;

/// For each host and VPC, how many slot maps and lists of dividers speak of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles(BTreeMap<Name, BTreeMap<Vni, u32>>);

impl Roles {
    /// The roles that slot maps give.
    pub(crate) fn of(maps: &SlotMaps) -> Self {
        let mut roles = Self::default();
        for (vni, maps) in maps {
            roles.add_dividers(*vni, maps);
            for map in maps.networks.values() {
                roles.add_slot_map(*vni, map);
            }
        }
        roles
    }

    /// The VPCs in which a host has a role.
    pub(crate) fn vpcs(&self, host: &Name) -> impl Iterator<Item = Vni> {
        self.0.get(host).into_iter().flat_map(|vpcs| vpcs.keys().copied())
    }

    pub(crate) fn add_slot_map(&mut self, vni: Vni, map: &SlotMap) {
        map.hosts().chain(map.former()).for_each(|host| self.add(vni, host));
    }

    pub(crate) fn remove_slot_map(&mut self, vni: Vni, map: &SlotMap) {
        map.hosts().chain(map.former()).for_each(|host| self.remove(vni, host));
    }

    pub(crate) fn add_dividers(&mut self, vni: Vni, maps: &VpcSlotMaps) {
        let dividers = maps.dividers.iter().chain(&maps.spare_dividers);
        dividers.for_each(|host| self.add(vni, host));
    }

    pub(crate) fn remove_dividers(&mut self, vni: Vni, maps: &VpcSlotMaps) {
        let dividers = maps.dividers.iter().chain(&maps.spare_dividers);
        dividers.for_each(|host| self.remove(vni, host));
    }

    fn add(&mut self, vni: Vni, host: &Name) {
        *self.0.entry(host.clone()).or_default().entry(vni).or_default() += 1;
    }

    fn remove(&mut self, vni: Vni, host: &Name) {
        let Some(vpcs) = self.0.get_mut(host) else { return };
        if let Some(count) = vpcs.get_mut(&vni) {
            *count -= 1;
            if *count == 0 {
                vpcs.remove(&vni);
            }
        }
        if vpcs.is_empty() {
            self.0.remove(host);
        }
    }
}
