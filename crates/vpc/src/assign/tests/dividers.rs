//! Who divides.

use super::world::{host, name};
use crate::assign::*;
use crate::{Candidate, Fleet, Standing, VpcSlotMaps};

fn step(asked: &Bouncers, maps: &mut VpcSlotMaps, fleet: &Fleet, all_told: bool) -> bool {
    step_if(asked, maps, fleet, |_| true, all_told)
}

fn step_if(
    asked: &Bouncers,
    maps: &mut VpcSlotMaps,
    fleet: &Fleet,
    knows: impl Fn(&Name) -> bool,
    all_told: bool,
) -> bool {
    match assign_dividers(7, asked, maps, fleet, knows, all_told) {
        DividerStep::Change { dividers, spare_dividers } => {
            (maps.dividers, maps.spare_dividers) = (dividers, spare_dividers);
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
fn a_divider_that_leaves_divides_until_its_successor_knows_the_networks() {
    let mut fleet: Fleet = (0..3).map(|n| host(n, 1)).collect();
    let mut maps = VpcSlotMaps::default();
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, false));
    let before = maps.dividers.clone();
    let leaving = &before[0];
    change(&mut fleet, leaving, |host| host.cordoned = true);
    assert!(step_if(&Bouncers::Auto, &mut maps, &fleet, |_| false, true));
    assert_eq!((&maps.dividers, maps.spare_dividers.len()), (&before, 1));
    let coming = maps.spare_dividers[0].clone();
    assert!(!step_if(&Bouncers::Auto, &mut maps, &fleet, |_| false, true));
    assert!(step_if(&Bouncers::Auto, &mut maps, &fleet, |host| *host == coming, true));
    assert!(maps.dividers.contains(&coming) && !maps.dividers.contains(leaving));
    assert_eq!(maps.spare_dividers, std::slice::from_ref(leaving));
    assert!(!step(&Bouncers::Auto, &mut maps, &fleet, false));
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    assert!(maps.spare_dividers.is_empty());
    assert_eq!(maps.dividers.len(), 2);
}

#[test]
fn dividers_of_which_none_is_heard_are_replaced_without_waiting() {
    let mut fleet: Fleet = (0..4).map(|n| host(n, 1)).collect();
    let mut maps = VpcSlotMaps::default();
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, false));
    let before = maps.dividers.clone();
    for host in &before {
        change(&mut fleet, host, |host| host.standing = Standing::Silent);
    }
    assert!(step_if(&Bouncers::Auto, &mut maps, &fleet, |_| false, false));
    assert!(maps.dividers.iter().all(|host| !before.contains(host)));
    assert_eq!(maps.spare_dividers, before);
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
    let assign =
        |maps: &_, fleet: &_| assign_dividers(7, &Bouncers::Auto, maps, fleet, |_| true, true);
    assert_eq!(assign(&maps, &fleet), stuck);
    assert_eq!(assign(&VpcSlotMaps::default(), &Fleet::default()), stuck);
    change(&mut fleet, &before.dividers[1], |host| host.standing = Standing::Alive);
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    assert_eq!(maps.dividers, before.dividers[1..]);
}

#[test]
fn when_all_dividers_are_gone_a_host_that_takes_nothing_divides() {
    let mut fleet: Fleet = (0..3).map(|n| host(n, 1)).collect();
    let mut maps = VpcSlotMaps::default();
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    for gone in maps.dividers.clone() {
        fleet.remove(&gone);
    }
    let left = fleet.hosts().next().unwrap().name.clone();
    change(&mut fleet, &left, |host| host.cordoned = true);
    assert!(step(&Bouncers::Auto, &mut maps, &fleet, true));
    assert_eq!((maps.dividers, maps.spare_dividers), (vec![left], Vec::new()));
}

#[test]
fn a_vpc_s_first_dividers_are_those_asked_for_though_they_are_cordoned() {
    let mut fleet: Fleet = (0..3).map(|n| host(n, 1)).collect();
    let asked: Vec<_> = fleet.hosts().take(2).map(|host| host.name.clone()).collect();
    change(&mut fleet, &asked[0], |host| host.standing = Standing::Silent);
    change(&mut fleet, &asked[1], |host| host.cordoned = true);
    let mut maps = VpcSlotMaps::default();
    assert!(step(&Bouncers::Hosts(asked.clone()), &mut maps, &fleet, true));
    assert_eq!(maps.dividers, asked[1..]);
}
