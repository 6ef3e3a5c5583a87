use super::*;
use crate::example::{apply, catalog, endpoint, maps, name, vpc};
use crate::{Catalog, SlotMap, SlotMaps};
use std::collections::BTreeSet;

mod reach;
mod view;
mod world;

/// The rows of VPC `blue`.
fn blue(catalog: &Catalog, maps: &SlotMaps) -> BTreeMap<Name, VpcRows> {
    let all = rows(catalog, maps).unwrap().into_iter();
    all.map(|(host, mut rows)| (host, rows.remove(&Vni::MIN).unwrap())).collect()
}

#[test]
fn while_slots_move_all_keepers_have_their_rows_and_former_ones_know_the_network() {
    let mut catalog = catalog(6);
    apply(&mut catalog, &endpoint("blue/a", "h1", |_| ()));
    apply(&mut catalog, &endpoint("blue/b", "h1", |_| ()));
    let mut maps = maps(&["h1"]);
    // Of all slots, h2 is told, h3 fills and h4 drains; h5 held slots, and h6 divided.
    let slots = vec![[0, 1 << 3 | 1, 2 << 3 | 3]; 256];
    let hosts = ["h2", "h3", "h4", "h5"];
    let hosts = hosts.map(|name| serde_json::json!({"name": name, "since": 1}));
    let moving = serde_json::json!({"epoch": 2, "size": 1, "hosts": hosts, "slots": slots});
    let maps_of_blue = maps.get_mut(&Vni::MIN).unwrap();
    maps_of_blue.networks.insert(NetworkId::MIN, serde_json::from_value(moving).unwrap());
    maps_of_blue.spare_dividers = vec![name("h6")];
    let all = blue(&catalog, &maps);
    for (host, held) in [("h1", 0), ("h2", 4), ("h3", 4), ("h4", 4), ("h5", 0), ("h6", 0)] {
        assert_eq!(all[host].held.len(), held, "{host}: two endpoints of two addresses");
        assert_eq!(all[host].networks.len(), 1, "{host}");
        let told: Vec<_> = all[host].networks[&NetworkId::MIN].holders.hosts.clone();
        assert_eq!(told, ["192.0.2.2".parse::<IpAddr>().unwrap()], "{host}");
    }
}

#[test]
fn one_more_endpoint_costs_one_and_r_writes_however_many_there_are() {
    for size in [10, 2_000] {
        let (mut catalog, maps) = (catalog(4), maps(&["h1", "h2"]));
        for number in 0..size {
            apply(&mut catalog, &endpoint(&format!("blue/e{number}"), "h4", |_| ()));
        }
        let before = blue(&catalog, &maps);
        apply(&mut catalog, &endpoint("blue/more", "h4", |_| ()));
        let after = blue(&catalog, &maps);
        let changed = after.iter().filter(|(host, rows)| before.get(*host) != Some(rows));
        assert_eq!(changed.count(), 1 + 2);
    }
}

#[test]
fn hosts_prefer_themselves_and_then_different_dividers() {
    let (mut catalog, mut maps) = (catalog(90), maps(&["h1"]));
    let dividers = ["h1", "h2", "h3"].map(name);
    maps.get_mut(&Vni::MIN).unwrap().dividers = dividers.to_vec();
    for number in 1..=90 {
        apply(&mut catalog, &endpoint(&format!("blue/e{number}"), &format!("h{number}"), |_| ()));
    }
    let all = blue(&catalog, &maps);
    let mut first = BTreeMap::<_, u32>::new();
    for (host, rows) in &all {
        assert_eq!(rows.dividers.iter().collect::<BTreeSet<_>>().len(), 3);
        *first.entry(rows.dividers[0]).or_default() += 1;
        if dividers.contains(host) {
            assert_eq!(rows.dividers[0], catalog.host(host).unwrap().record().spec.underlay);
        }
    }
    assert!(first.values().all(|&n| n > 15), "{first:?}");
}

#[test]
fn nobody_is_told_of_a_network_without_a_slot_map() {
    let mut catalog = catalog(2);
    apply(&mut catalog, &endpoint("blue/a", "h1", |_| ()));
    assert_eq!(rows(&catalog, &SlotMaps::new()), Ok(BTreeMap::new()));
    let mut maps = maps(&["h2"]);
    maps.get_mut(&Vni::MIN).unwrap().networks.clear();
    assert_eq!(rows(&catalog, &maps), Ok(BTreeMap::new()));
}

#[test]
fn slot_maps_that_rely_on_a_host_that_is_gone_are_refused() {
    assert_eq!(
        rows(&catalog(2), &maps(&["h2", "h3"])).unwrap_err().to_string(),
        "VPC blue relies on host h3, which is not in the fleet: assign it anew before"
    );
}

#[test]
fn the_quota_is_the_vpc_s_or_the_usual_one() {
    let (mut catalog, maps) = (catalog(1), maps(&["h1"]));
    assert_eq!(blue(&catalog, &maps)["h1"].quota, 4_096);
    apply(&mut catalog, &vpc("blue", |spec| spec.quota = Some(7)));
    assert_eq!(blue(&catalog, &maps)["h1"].quota, 7);
}
