//! Whatever happens in whatever order: what must always hold, holds, and it all comes to rest.

use super::world::{World, host, name, needs};
use crate::HolderState::{Active, Filling};
use crate::assign::*;
use crate::{Candidate, HolderState, Slot, Standing};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Event {
    Join,
    Remove(Index),
    Silence(Index),
    Return(Index),
    Cordon(Index),
    Uncordon(Index),
    Weigh(Index, u32),
    Rows(u64),
    Ask(u8),
    Ack(Index),
    AckAll,
    Wait,
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    let index = || any::<Index>();
    prop_oneof![
        1 => Just(Event::Join),
        1 => index().prop_map(Event::Remove),
        3 => index().prop_map(Event::Silence),
        3 => index().prop_map(Event::Return),
        1 => index().prop_map(Event::Cordon),
        1 => index().prop_map(Event::Uncordon),
        1 => (index(), 0..5u32).prop_map(|(index, weight)| Event::Weigh(index, weight)),
        1 => (0..1_500u64).prop_map(Event::Rows),
        1 => (1..=4u8).prop_map(Event::Ask),
        12 => index().prop_map(Event::Ack),
        2 => Just(Event::AckAll),
        2 => Just(Event::Wait),
        15 => Just(Event::Step),
    ]
}

fn happen(world: &mut World, event: &Event, zones: usize) {
    let names: Vec<_> = world.fleet.hosts().map(|host| host.name.clone()).collect();
    let pick = |index: &Index| &names[index.index(names.len())];
    match event {
        Event::Join => {
            world.join(host(world.hosts, zones));
        }
        Event::Remove(index) if names.len() > 1 => world.remove(pick(index)),
        Event::Remove(_) => {}
        Event::Silence(index) => world.change(pick(index), |h| h.standing = Standing::Silent),
        Event::Return(index) => world.change(pick(index), |h| h.standing = Standing::Alive),
        Event::Cordon(index) => world.change(pick(index), |h| h.cordoned = true),
        Event::Uncordon(index) => world.change(pick(index), |h| h.cordoned = false),
        Event::Weigh(index, weight) => world.change(pick(index), |h| h.weight = *weight),
        Event::Rows(rows) => world.needs.rows = *rows,
        Event::Ask(replicas) => world.needs.replicas = (*replicas).try_into().unwrap(),
        Event::Ack(index) => world.ack(pick(index)),
        Event::AckAll => world.ack_all(),
        Event::Wait => world.waited = true,
        Event::Step => _ = world.step(),
    }
}

fn bouncers(hosts: usize) -> impl Strategy<Value = Bouncers> {
    let list = vec(any::<Index>(), 1..=hosts.min(12)).prop_map(move |list| {
        let list: BTreeSet<_> = list.iter().map(|i| host(i.index(hosts), 1).name).collect();
        Bouncers::Hosts(list.into_iter().collect())
    });
    prop_oneof![2 => Just(Bouncers::Auto), 1 => (1..12u16).prop_map(Bouncers::Count), 1 => list]
}

/// What holds at rest.
fn check_rest(world: &World) {
    let takes = |name: &Name| world.fleet.get(name).is_some_and(Candidate::takes_slots);
    let usable: BTreeSet<_> = match &world.needs.bouncers {
        Bouncers::Hosts(hosts) => hosts.iter().filter(|name| takes(name)).collect(),
        _ => world.fleet.hosts().map(|host| &host.name).filter(|name| takes(name)).collect(),
    };
    if usable.is_empty() {
        return;
    }
    let zone = |name: &&Name| world.fleet.get(name).unwrap().zone.clone();
    let size = match &world.needs.bouncers {
        Bouncers::Count(count) => usize::from(*count),
        _ => usize::MAX,
    };
    let each = world.needs.replicas.get().min(usable.len()).min(size);
    let zones = usable.iter().map(zone).collect::<BTreeSet<_>>().len().min(each);
    let map = world.map();
    for slot in Slot::all() {
        let holders: Vec<_> = map.holders(slot).collect();
        assert_eq!(holders.len(), each, "slot {slot}: {holders:?}");
        assert!(holders.iter().all(|host| usable.contains(host)));
        assert_eq!(holders.iter().map(zone).collect::<BTreeSet<_>>().len(), zones, "{holders:?}");
        for (host, state) in map.states(slot) {
            let returns = state == Filling && !world.is_alive(host);
            assert!(state == Active || returns, "{host}: {state:?}");
        }
    }
    assert_eq!(map.former().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_every_slot_is_held_and_it_comes_to_rest(
        (hosts, bouncers) in (2..=64usize).prop_flat_map(|hosts| (Just(hosts), bouncers(hosts))),
        zones in 1..4usize,
        replicas in 1..=4u8,
        events in vec(event(), 0..80),
    ) {
        let mut world = World::new((0..hosts).map(|n| host(n, zones)), needs(replicas, bouncers));
        for event in &events {
            happen(&mut world, event, zones);
            if matches!(event, Event::Step | Event::AckAll) {
                world.check_forwarding();
            }
        }
        prop_assert!(world.settle() <= 10);
        check_rest(&world);
    }

    #[test]
    fn single_acknowledgements_in_any_order_lead_to_rest(
        order in vec(any::<Index>(), 200), victims in vec(0..8usize, 0..4), size in 2..8u16
    ) {
        let hosts = (0..8).map(|n| host(n, 2));
        let mut world = World::new(hosts, needs(2, Bouncers::Count(size)));
        for victim in victims {
            world.change(&host(victim, 2).name, |h| h.cordoned = true);
        }
        for index in order {
            world.ack(&host(index.index(8), 2).name);
            if world.step() {
                world.check_forwarding();
            }
        }
        let epoch = world.map().epoch();
        prop_assert!(epoch <= 30, "{epoch} maps for at most 3 changes");
        world.settle();
        check_rest(&world);
    }
}

/// What a slot's keepers are, as `name:state`.
fn states(world: &World, slot: Slot) -> Vec<(String, HolderState)> {
    world.map().states(slot).map(|(host, state)| (host.to_string(), state)).collect()
}

#[test]
fn nobody_drains_before_its_successor_has_the_rows_nor_stops_before_senders_know() {
    let mut world = World::new((0..3).map(|n| host(n, 1)), needs(1, Bouncers::Count(1)));
    let old = world.holders().into_iter().next().unwrap().clone();
    world.change(&old, |host| host.cordoned = true);
    assert!(world.step());
    let new = world.map().hosts().find(|host| **host != old).unwrap().clone();
    let slot = Slot::from(0);
    let text = |name: &Name| name.to_string();
    let expect = [(text(&old), HolderState::Leaving), (text(&new), Filling)];
    assert_eq!(states(&world, slot), expect);
    assert!(!world.step(), "the new one has acknowledged nothing");
    world.ack(&new);
    assert!(world.step());
    let expect = [(text(&new), Active), (text(&old), HolderState::Draining)];
    assert_eq!(states(&world, slot), expect);
    world.ack(&new);
    world.ack(&old);
    assert!(!world.step(), "a sender has an older map");
    world.ack_all();
    assert!(world.step());
    assert_eq!(states(&world, slot), [(text(&new), Active)]);
    assert_eq!(world.map().former().collect::<Vec<_>>(), [&old]);
    world.ack_all();
    assert!(world.step());
    assert_eq!(world.map().former().count(), 0);
    assert!(!world.step());
}

#[test]
fn a_drain_waits_for_no_sender_that_cannot_be_reached_but_a_former_holder_does() {
    let mut world = World::new((0..3).map(|n| host(n, 1)), needs(1, Bouncers::Count(1)));
    let old = world.holders().into_iter().next().unwrap().clone();
    let sender = world.fleet.hosts().map(|h| h.name.clone()).find(|h| *h != old).unwrap();
    world.change(&sender, |host| host.standing = Standing::Silent);
    world.change(&old, |host| host.cordoned = true);
    for _ in 0..3 {
        world.ack_all();
        assert!(world.step());
    }
    world.ack_all();
    assert_eq!(world.map().former().collect::<Vec<_>>(), [&old]);
    assert!(!world.step(), "the sender may still send to it");
    world.waited = true;
    assert!(world.step());
    assert_eq!(world.map().former().count(), 0);
}

#[test]
fn a_sender_with_an_older_map_reaches_the_rows_by_way_of_a_former_holder() {
    let mut world = World::new((0..3).map(|n| host(n, 1)), needs(1, Bouncers::Count(1)));
    let old = world.holders().into_iter().next().unwrap().clone();
    world.change(&old, |host| host.cordoned = true);
    for _ in 0..3 {
        world.ack_all();
        assert!(world.step());
    }
    // The draining holder has given up its rows; a sender still goes by the first map.
    world.ack_all();
    let slot = Slot::from(0);
    assert!(!world.has_rows(&old, slot));
    assert!(world.map().former().any(|host| *host == old));
    let forwarded = world.map().holders(slot).next().unwrap();
    assert!(world.has_rows(forwarded, slot));
    world.check_forwarding();
}

#[test]
fn a_silent_holder_is_told_no_more_and_is_active_again_only_after_syncing() {
    let mut world = World::new((0..2).map(|n| host(n, 1)), needs(2, Bouncers::Auto));
    let silent = name("h00");
    world.change(&silent, |host| host.standing = Standing::Silent);
    assert!(world.step());
    let slot = Slot::from(0);
    let expect = [("h01".to_owned(), Active), ("h00".to_owned(), Filling)];
    assert_eq!(states(&world, slot), expect);
    world.change(&silent, |host| host.standing = Standing::Alive);
    assert!(!world.step(), "it has not acknowledged the present epoch");
    world.ack(&silent);
    assert!(world.step());
    assert_eq!(world.map().tally()[&silent], [256, 0, 0, 0, 0]);
}

#[test]
fn the_only_holder_stays_told_while_it_is_silent_until_somebody_has_its_rows() {
    let mut world = World::new((0..2).map(|n| host(n, 1)), needs(1, Bouncers::Count(1)));
    let old = world.holders().into_iter().next().unwrap().clone();
    world.change(&old, |host| host.standing = Standing::Silent);
    assert!(world.step());
    let new = world.map().hosts().find(|host| **host != old).unwrap().clone();
    let slot = Slot::from(9);
    assert_eq!(world.map().holders(slot).collect::<Vec<_>>(), [&old]);
    assert!(!world.step());
    world.ack(&new);
    assert!(world.step());
    assert_eq!(world.map().holders(slot).collect::<Vec<_>>(), [&new]);
}

#[test]
fn when_nobody_is_heard_nothing_moves() {
    let mut world = World::new((0..4).map(|n| host(n, 1)), needs(2, Bouncers::Auto));
    let before = world.map().clone();
    for number in 0..4 {
        world.change(&host(number, 1).name, |host| host.standing = Standing::Silent);
    }
    world.step();
    for slot in Slot::all() {
        assert!(world.map().holders(slot).eq(before.holders(slot)));
    }
    let limits = Limits::default();
    let step = assign_network(&world.needs, Some(world.map()), &world.fleet, &limits, &world);
    assert_eq!(step, Step::Stuck(Stuck::NoHost));
    let step = assign_network(&world.needs, None, &world.fleet, &limits, &world);
    assert_eq!(step, Step::Stuck(Stuck::NoHost));
}

#[test]
fn hosts_that_leave_the_fleet_leave_the_map_at_once() {
    let mut world = World::new((0..5).map(|n| host(n, 1)), needs(2, Bouncers::Count(2)));
    let gone: Vec<_> = world.holders().into_iter().cloned().collect();
    for host in &gone {
        world.remove(host);
    }
    assert!(world.step());
    assert!(world.map().hosts().all(|host| !gone.contains(host)));
    assert_eq!(world.map().former().count(), 0);
    world.settle();
    check_rest(&world);
}

#[test]
fn slots_left_to_nobody_go_to_a_host_that_takes_none() {
    let mut world = World::new((0..3).map(|n| host(n, 1)), needs(2, Bouncers::Count(2)));
    let gone: Vec<_> = world.holders().into_iter().cloned().collect();
    let left = world.fleet.hosts().find(|host| !gone.contains(&host.name)).unwrap().name.clone();
    world.change(&left, |host| host.cordoned = true);
    gone.iter().for_each(|host| world.remove(host));
    assert!(world.step());
    let all = |state| vec![(left.to_string(), state)];
    assert!(Slot::all().all(|slot| states(&world, slot) == all(HolderState::Doubtful)));
    world.settle();
    assert!(Slot::all().all(|slot| states(&world, slot) == all(HolderState::Doubtful)));
    world.change(&left, |host| host.cordoned = false);
    world.settle();
    check_rest(&world);
}
