//! Who gets how much, and how little moves.

use super::world::{AtOnce, World, host, name, needs};
use crate::assign::*;
use crate::{Candidate, Fleet, Standing};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// How many slots each host holds, by name.
fn counts(world: &World) -> Vec<usize> {
    let tally = world.map().tally();
    world.fleet.hosts().map(|host| tally.get(&host.name).map_or(0, |states| states[0])).collect()
}

fn all(hosts: usize) -> Bouncers {
    Bouncers::Count(hosts as u16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn slots_are_divided_by_weight_but_for_one(
        weights in vec(1..5u32, 8..40), replicas in 1..=2u8
    ) {
        let hosts = weights.iter().enumerate();
        let hosts = hosts.map(|(number, &weight)| Candidate { weight, ..host(number, 1) });
        let world = World::new(hosts, needs(replicas, all(weights.len())));
        let sum: u32 = weights.iter().sum();
        for (weight, count) in weights.iter().zip(counts(&world)) {
            let share = f64::from(256 * u32::from(replicas) * weight) / f64::from(sum);
            prop_assert!((count as f64 - share).abs() <= 2.0, "{count} of {share:.1}");
        }
    }

    #[test]
    fn after_any_growth_nobody_has_more_than_a_quarter_above_or_below_its_share(
        steps in vec(1..12usize, 1..5), replicas in 1..=3u8
    ) {
        let mut world = World::new((0..3).map(|n| host(n, 1)), needs(replicas, all(3)));
        let mut hosts = 3;
        for more in steps {
            (hosts..hosts + more).for_each(|number| world.join(host(number, 1)));
            hosts += more;
            world.needs.bouncers = all(hosts);
            world.settle();
            let share = 256.0 * f64::from(replicas) / hosts as f64;
            for count in counts(&world) {
                let count = count as f64;
                prop_assert!(count <= share * 1.25 + 1.0, "{count} of {share:.1}");
                prop_assert!(count >= share * 0.75 - 1.0, "{count} of {share:.1}");
            }
        }
    }

    #[test]
    fn one_more_holder_takes_its_share_and_nothing_else_moves(hosts in 2..64usize) {
        let mut world = World::new((0..hosts).map(|n| host(n, 1)), needs(2, all(hosts)));
        let before = world.map().clone();
        world.join(host(hosts, 1));
        world.needs.bouncers = all(hosts + 1);
        world.settle();
        let moved = world.moved_since(&before);
        prop_assert!(moved <= 512 / (hosts + 1) + 1, "{moved} of 512 moved");
        prop_assert!(moved + 2 >= 512 / (hosts + 1), "{moved} of 512 moved");
        let new = host(hosts, 1).name;
        prop_assert_eq!(world.map().tally()[&new][0], moved);
    }

    #[test]
    fn one_holder_less_moves_what_it_had_and_nothing_else(
        hosts in 3..64usize, victim in any::<prop::sample::Index>(), is_silent: bool
    ) {
        let mut world = World::new((0..hosts).map(|n| host(n, 1)), needs(2, Bouncers::Count(8)));
        let before = world.map().clone();
        let holders: Vec<_> = world.holders().into_iter().cloned().collect();
        let victim = &holders[victim.index(holders.len())];
        let had = before.tally()[victim][0];
        world.change(victim, |host| match is_silent {
            true => host.standing = Standing::Silent,
            false => host.cordoned = true,
        });
        world.settle();
        prop_assert_eq!(world.moved_since(&before), had);
        prop_assert_eq!(world.map().tally().get(victim).map_or(0, |states| states[0]), 0);
    }
}

#[test]
fn replicas_are_in_different_zones_even_if_one_is_small() {
    let zones = |number| if number == 0 { "small" } else { "large" };
    let hosts = (0..10).map(|n| Candidate { zone: zones(n).parse().ok(), ..host(n, 1) });
    let world = World::new(hosts, needs(2, all(10)));
    assert_eq!(world.map().tally()[&name("h00")][0], 256);
    assert!(counts(&world)[1..].iter().all(|count| (28..=29).contains(count)));
}

#[test]
fn more_replicas_than_zones_use_every_zone() {
    // Two zones with two members have room for all four replicas, and must leave it.
    let mut world = World::new((0..5).map(|n| host(n, 3)), needs(4, all(5)));
    world.settle();
    for slot in crate::Slot::all() {
        assert!(world.map().holders(slot).any(|host| *host == name("h02")));
    }
}

#[test]
fn a_zone_that_opens_is_used_by_networks_that_were_in_one_zone() {
    let mut world = World::new((0..4).map(|n| host(2 * n, 2)), needs(2, Bouncers::Auto));
    world.join(host(1, 2));
    world.settle();
    assert_eq!(world.map().tally()[&name("h01")][0], 256);
    assert_eq!(world.holders().len(), 2);
}

#[test]
fn the_set_grows_with_rows_and_load_and_does_not_flap() {
    let mut world = World::new((0..40).map(|n| host(n, 1)), needs(2, Bouncers::Auto));
    let mut size = |rows, packets_per_second| {
        (world.needs.rows, world.needs.packets_per_second) = (rows, packets_per_second);
        world.settle();
        world.holders().len()
    };
    assert_eq!(size(100, 0), 2);
    assert_eq!(size(101, 0), 3, "of 100 rows each, for two replicas");
    for _ in 0..5 {
        assert_eq!(size(99, 0), 3);
        assert_eq!(size(102, 0), 3);
    }
    assert_eq!(size(500, 0), 10);
    assert_eq!(size(250, 0), 10, "half is not below half");
    assert_eq!(size(200, 0), 8);
    assert_eq!(size(0, 0), 2);
    assert_eq!(size(0, 9_001), 10);
    assert_eq!(size(0, 0), 2);
}

#[test]
fn a_holder_that_comes_and_goes_does_not_make_the_set_grow() {
    let mut world = World::new((0..9).map(|n| host(n, 1)), needs(2, Bouncers::Auto));
    for _ in 0..6 {
        let flapping = (*world.holders().first().unwrap()).clone();
        world.change(&flapping, |host| host.standing = Standing::Silent);
        assert!(world.step());
        world.change(&flapping, |host| host.standing = Standing::Alive);
        world.settle();
        assert_eq!(world.holders().len(), 2);
        assert_eq!(world.map().size(), 2);
    }
}

#[test]
fn networks_are_spread_over_the_fleet_by_weight() {
    let fleet: Fleet =
        (0..50).map(|n| Candidate { weight: 1 + n as u32 % 2, ..host(n, 5) }).collect();
    let mut used = [0; 2];
    let mut hosts = BTreeSet::new();
    for key in 0..1_000 {
        let needs = Needs { key, ..needs(2, Bouncers::Auto) };
        let step = assign_network(&needs, None, &fleet, &Limits::default(), &AtOnce);
        let Step::Change(map) = step else { panic!("{step:?}") };
        assert_eq!(map.hosts().count(), 2);
        for host in map.hosts() {
            used[fleet.get(host).unwrap().weight as usize - 1] += 1;
            hosts.insert(host.clone());
        }
    }
    assert_eq!(hosts.len(), 50, "every host is used by some network");
    let ratio = f64::from(used[1]) / f64::from(used[0]);
    assert!((1.8..2.2).contains(&ratio), "{ratio}");
}

#[test]
fn a_set_that_is_kept_is_kept_by_a_fleet_of_300_000_hosts() {
    let fleet: Fleet = (0..300_000).map(|n| host(n, 30)).collect();
    let needs = needs(2, Bouncers::Auto);
    let limits = Limits::default();
    let Step::Change(map) = assign_network(&needs, None, &fleet, &limits, &AtOnce) else {
        panic!("no map");
    };
    for _ in 0..100 {
        let step = assign_network(&needs, Some(&map), &fleet, &limits, &AtOnce);
        assert_eq!(step, Step::Keep);
    }
}
