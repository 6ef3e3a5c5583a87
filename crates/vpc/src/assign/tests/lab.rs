//! The whole intent at once.

use crate::assign::*;
use crate::{Slot, strategy};
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn every_slot_is_held_by_r_distinct_hosts_or_by_all_if_they_are_fewer(
        intent in strategy::intent()
    ) {
        let maps = assign(&intent, &SlotMaps::new());
        for vpc in intent.vpcs() {
            for network in vpc.networks() {
                let map = &maps[&vpc.vpc().vni].networks[&network.id];
                let wanted = network.replicas.get().min(network.bouncers.len());
                for slot in Slot::all() {
                    let holders: BTreeSet<_> = map.holders(slot).collect();
                    prop_assert_eq!(holders.len(), wanted);
                    prop_assert_eq!(map.holders(slot).count(), wanted);
                    prop_assert!(holders.iter().all(|&h| network.bouncers.contains(h)));
                }
            }
        }
    }

    #[test]
    fn what_stays_keeps_its_epoch(intent in strategy::intent()) {
        let maps = assign(&intent, &SlotMaps::new());
        prop_assert_eq!(assign(&intent, &maps), maps);
    }
}

#[test]
fn a_map_that_changes_gets_a_later_epoch() {
    let mut resources = strategy::example();
    let build = |resources: &_| Intent::build(resources, strategy::first()).unwrap();
    let before = assign(&build(&resources), &SlotMaps::new());
    resources.networks[0].bouncers.pop();
    let after = assign(&build(&resources), &before);
    let (vni, id) = (Vni::MIN, crate::NetworkId::MIN);
    assert_eq!(before[&vni].networks[&id].epoch(), 1);
    assert!(after[&vni].networks[&id].epoch() > 1);
}
