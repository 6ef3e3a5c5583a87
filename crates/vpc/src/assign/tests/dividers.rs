//! Who divides.

use super::world::{host, name};
use crate::assign::*;

fn step(asked: &Bouncers, maps: &mut VpcSlotMaps, fleet: &Fleet, all_told: bool) -> bool {
    match assign_dividers(7, asked, maps, fleet, all_told) {
        DividerStep::Change { dividers, former_dividers } => {
            (maps.dividers, maps.former_dividers) = (dividers, former_dividers);
            true
        }
        DividerStep::Keep => false,
        DividerStep::Stuck(stuck) => panic!("{stuck}"),
    }
}

fn change(fleet: &mut Fleet, name: &Name, change: impl FnOnce(&mut Candidate)) {
    let mut host = fleet.get(name).unwrap().clone();
    change(&mut host);
    fleet.insert(host);
}

#[test]
fn two_in_different_zones_unless_asked_for_otherwise() {
    let fleet: Fleet = (0..12).map(|n| host(n, 3)).collect();
    let dividers = |asked: &Bouncers| {
        let mut maps = VpcSlotMaps::default();
        assert!(step(asked, &mut maps, &fleet, false));
        assert!(!step(asked, &mut maps, &fleet, false));
        maps.dividers
    };
    let zone = |name: &Name| fleet.get(name).unwrap().zone.clone();
    let two = dividers(&Bouncers::Auto);
    assert_eq!(two.len(), 2);
    assert_ne!(zone(&two[0]), zone(&two[1]));
    assert_eq!(dividers(&Bouncers::Count(100)).len(), 8);
    let asked = [name("h03"), name("h01")].to_vec();
    assert_eq!(dividers(&Bouncers::Hosts(asked.clone())), asked);
}

#[test]
fn a_divider_that_leaves_knows_the_networks_until_all_senders_are_told() {
    let mut fleet: Fleet = (0..3).map(|n| host(n, 1)).collect();
    let mut maps = VpcSlotMaps::default();
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, false));
    let leaving = maps.dividers[0].clone();
    change(&mut fleet, &leaving, |host| host.cordoned = true);
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    assert!(!maps.dividers.contains(&leaving));
    assert_eq!(maps.former_dividers, [leaving]);
    assert!(!step(&Bouncers::Auto, &mut maps, &fleet, false));
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    assert!(maps.former_dividers.is_empty());
    assert_eq!(maps.dividers.len(), 2);
}

#[test]
fn dividers_that_nobody_can_replace_stay() {
    let mut fleet: Fleet = (0..2).map(|n| host(n, 1)).collect();
    let mut maps = VpcSlotMaps::default();
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    let before = maps.clone();
    for host in &before.dividers {
        change(&mut fleet, host, |host| host.standing = Standing::Silent);
    }
    let stuck = DividerStep::Stuck(Stuck::NoHost);
    assert_eq!(assign_dividers(7, &Bouncers::Auto, &maps, &fleet, true), stuck);
    let none = VpcSlotMaps::default();
    assert_eq!(assign_dividers(7, &Bouncers::Auto, &none, &fleet, true), stuck);
    change(&mut fleet, &before.dividers[1], |host| host.standing = Standing::Alive);
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    assert_eq!(maps.dividers, before.dividers[1..]);
}
