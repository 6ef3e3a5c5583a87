//! Decides which hosts hold which slots.

use crate::rendezvous::{mix, ranking};
use crate::{Intent, Network, Slot, SlotMap, SlotMaps, Vni, VpcSlotMaps};

/// The slot maps that follow `current`: for each slot of each network, its bouncers ranked by
/// rendezvous hashing, as many as the network's replicas ask for.
///
/// A map that stays as it is keeps its epoch; one that changes gets the next. The maps of VPCs and
/// networks that are gone are dropped.
pub fn assign(intent: &Intent, current: &SlotMaps) -> SlotMaps {
    let mut next = SlotMaps::new();
    for vpc in intent.vpcs() {
        let vni = vpc.vpc().vni;
        let before = current.get(&vni);
        let networks = vpc.networks().map(|network| {
            let before = before.and_then(|maps| maps.networks.get(&network.id));
            (network.id, successor(before, slot_map(vni, network)))
        });
        let networks = networks.collect();
        next.insert(vni, VpcSlotMaps { dividers: vpc.vpc().dividers.clone(), networks });
    }
    next
}

fn successor(before: Option<&SlotMap>, wanted: SlotMap) -> SlotMap {
    match before {
        None => wanted,
        Some(before) if before.has_same_holders(&wanted) => before.clone(),
        Some(before) => wanted.with_epoch(before.epoch() + 1),
    }
}

fn slot_map(vni: Vni, network: &Network) -> SlotMap {
    let key = mix(u64::from(vni.get()) << 32 | u64::from(network.id.get()));
    let holders: Vec<Vec<_>> = Slot::all()
        .map(|slot| {
            let order = ranking(mix(key ^ u64::from(slot.get())), &network.bouncers);
            let chosen = order.into_iter().take(network.replicas.get());
            chosen.map(|index| &network.bouncers[index]).collect()
        })
        .collect();
    SlotMap::of(1, &holders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy;
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
    fn a_map_that_changes_gets_the_next_epoch() {
        let mut resources = strategy::example();
        let build = |resources: &_| Intent::build(resources, strategy::first()).unwrap();
        let before = assign(&build(&resources), &SlotMaps::new());
        resources.networks[0].bouncers.pop();
        let after = assign(&build(&resources), &before);
        let (vni, id) = (Vni::MIN, crate::NetworkId::MIN);
        assert_eq!(before[&vni].networks[&id].epoch(), 1);
        assert_eq!(after[&vni].networks[&id].epoch(), 2);
    }
}
