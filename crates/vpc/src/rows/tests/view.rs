//! Asked about one host or one row, the planner says what it says about all at once.

use super::world::{Event, World, event};
use super::*;
use crate::RowKey;
use proptest::collection::vec;
use proptest::prelude::*;

/// One row of those that a host should have.
fn row_of(rows: &VpcRows, key: &RowKey) -> Option<Row> {
    match key {
        RowKey::Network(id) => rows.networks.get(id).cloned().map(Row::Network),
        RowKey::Port(name) => rows.ports.get(name).cloned().map(Row::Port),
        RowKey::Held(address) => rows.held.get(address).copied().map(Row::Held),
    }
}

fn keys(rows: &VpcRows) -> impl Iterator<Item = RowKey> {
    let networks = rows.networks.keys().copied().map(RowKey::Network);
    let ports = rows.ports.keys().cloned().map(RowKey::Port);
    networks.chain(ports).chain(rows.held.keys().copied().map(RowKey::Held))
}

/// Checks every row that there is or ever was, on every host.
fn check(world: &World, seen: &mut BTreeSet<(Vni, RowKey)>) -> Result<(), TestCaseError> {
    let (view, none) = (world.view(), VpcRows::default());
    let all = rows(&world.catalog, &world.maps).unwrap();
    let of = |host: &Name, vni| all.get(host).and_then(|rows| rows.get(&vni)).unwrap_or(&none);
    for (vni, rows) in all.values().flatten() {
        seen.extend(keys(rows).map(|key| (*vni, key)));
    }
    for vpc in world.catalog.vpcs() {
        let vni = vpc.record().vni;
        for host in world.hosts.keys() {
            prop_assert_eq!(&view.vpc_rows(vni, host), of(host, vni), "{}", host);
            prop_assert!(view.is_told(vni, host) || of(host, vni) == &none);
        }
        for (_, key) in seen.iter().filter(|(of, _)| *of == vni) {
            for host in world.hosts.keys() {
                let (one, wanted) = (view.row(vni, host, key), row_of(of(host, vni), key));
                prop_assert_eq!(one, wanted, "{} of {}", key, host);
            }
        }
        for network in vpc.networks().map(|network| network.record()) {
            let Some(map) = view.map(vni, network.id) else { continue };
            let has = |host: &&Name| of(host, vni).networks.contains_key(&network.id);
            let knowing: BTreeSet<_> = world.hosts.keys().filter(has).collect();
            prop_assert_eq!(view.knowing(vni, network.id), knowing);
            check_slots(world, map, (vni, network.id), &all)?;
        }
    }
    Ok(())
}

/// An address is told to those who keep its slot, and to nobody else.
fn check_slots(
    world: &World,
    map: &SlotMap,
    (vni, id): (Vni, NetworkId),
    all: &BTreeMap<Name, HostRows>,
) -> Result<(), TestCaseError> {
    let vpc = world.catalog.vpc(vni).unwrap();
    let mut addresses = 0;
    for slot in Slot::all() {
        for key in world.view().held_keys(vni, id, slot) {
            let RowKey::Held(address) = key else { panic!("{key} is no address") };
            let lives = &vpc.endpoint_at(address).unwrap().host;
            let has = |host: &&Name| {
                let rows = all.get(*host).and_then(|rows| rows.get(&vni));
                rows.is_some_and(|rows| rows.held.contains_key(&address))
            };
            let holding: BTreeSet<_> = world.hosts.keys().filter(has).collect();
            let keepers = map.keepers(slot).filter(|host| *host != lives);
            prop_assert_eq!(holding, keepers.collect::<BTreeSet<_>>());
            addresses += 1;
        }
    }
    prop_assert_eq!(vpc.network(id).unwrap().address_count(), addresses);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn row_by_row_it_is_the_same_as_all_at_once_whatever_has_happened(
        hosts in 1..6u8, events in vec(event(), 0..60)
    ) {
        let mut world = World::new(hosts);
        let mut seen = BTreeSet::new();
        for event in &events {
            world.happen(event);
            if !matches!(event, Event::Follow(_)) {
                check(&world, &mut seen)?;
            }
        }
        world.settle();
        check(&world, &mut seen)?;
    }
}
