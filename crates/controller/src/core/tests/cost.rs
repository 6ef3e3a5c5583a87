//! What creating one endpoint costs is exactly the same in networks of any size, with any number of
//! bouncers. Names and addresses are of the same length, and the endpoint's host has others of the
//! network already.

use super::*;

/// What one endpoint more has cost.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    hosts: usize,
    messages: usize,
    message_bytes: usize,
    keys: usize,
    key_bytes: usize,
}

#[test]
fn an_endpoint_costs_exactly_the_same_however_many_there_are() {
    for replicas in [1, 2] {
        let few = cost(10, 8, replicas);
        assert_eq!((few.hosts, few.messages), (1 + replicas, 1 + replicas));
        assert_eq!(few.keys, 1);
        assert!(few.key_bytes <= 200, "{few:?}");
        assert_eq!(cost(5_000, 8, replicas), few);
    }
    if std::env::var_os("MIZAR_TEST_FULL").is_some() {
        let few = cost(10, 8, 2);
        for endpoints in [100_000, 1_000_000] {
            assert_eq!(cost(endpoints, 8, 2), few, "{endpoints} endpoints");
        }
    }
}

#[test]
fn an_endpoint_costs_exactly_the_same_however_many_bouncers_there_are() {
    for replicas in [1, 2] {
        let few = cost(100, replicas, replicas);
        for bouncers in [2, 5, 16, 64] {
            assert_eq!(cost(100, bouncers, replicas), few, "{bouncers} bouncers");
        }
    }
}

/// The cost of an endpoint more in a network that has so many; the same for several of them.
fn cost(endpoints: usize, bouncers: usize, replicas: usize) -> Cost {
    let mut world = world(bouncers, replicas);
    for number in 0..endpoints {
        world.endpoint(&format!("e{number:06}"), "h1");
    }
    world.settle();
    let costs: Vec<_> = (0..8).map(|number| create(&mut world, number)).collect();
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    world.check_rows();
    costs.into_iter().next().unwrap()
}

fn create(world: &mut World, number: usize) -> Cost {
    let heard = |world: &World| -> Vec<_> {
        world.hosts.values().map(|host| (host.messages, host.bytes)).collect()
    };
    let before = heard(world);
    let endpoint = format!("x{number:06}");
    let written = world.endpoint(&endpoint, "h1").resource_version;
    world.settle();
    assert_eq!(world.phase(&endpoint), Phase::Ready);
    assert_eq!(world.core.generation, written, "nothing else was written");
    let new = before.into_iter().zip(heard(world));
    let new: Vec<_> =
        new.map(|((messages, bytes), after)| (after.0 - messages, after.1 - bytes)).collect();
    let (keys, key_bytes) = stored(world, written);
    Cost {
        hosts: new.iter().filter(|(messages, _)| *messages > 0).count(),
        messages: new.iter().map(|(messages, _)| messages).sum(),
        message_bytes: new.iter().map(|(_, bytes)| bytes).sum(),
        keys,
        key_bytes,
    }
}

#[test]
fn a_vpc_costs_exactly_the_same_however_many_there_are() {
    let mut world = world(2, 1);
    let mut make = |number: usize| {
        let vpc = format!("{{kind: Vpc, metadata: {{name: v{number:06}}}, spec: {{}}}}");
        let at = world.write(&vpc).resource_version;
        stored(&world, at)
    };
    // From there on all VNIs, and all revisions, take as many bytes.
    for number in 0..1_000 {
        make(number);
    }
    let few = make(1_000);
    assert_eq!(few.0, 3, "itself, its dividers, and how far VNIs are given");
    (1_001..1_500).for_each(|number| assert_eq!(make(number), few, "{number}"));
}

/// How many keys of the store a write has written, and their bytes.
fn stored(world: &World, written: Generation) -> (usize, usize) {
    let (mut keys, mut bytes) = (0, 0);
    let mut visit = |key: &[u8], value: &[u8], revision: mizar_store::Revision| {
        if revision.get() == written.revision() {
            keys += 1;
            bytes += key.len() + value.len();
        }
    };
    world.store.scan(b"", &mut visit).unwrap();
    (keys, bytes)
}

/// A network whose endpoints live on the first host, and whose bouncers are others.
fn world(bouncers: usize, replicas: usize) -> World {
    let mut world = World::new();
    world.write("{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [192.0.2.0/24]}}");
    for number in 1..=2 + bouncers {
        world.host(number);
    }
    let bouncers: Vec<_> = (3..3 + bouncers).map(|number| format!("h{number}")).collect();
    world.write("{kind: Vpc, metadata: {name: blue}, spec: {vni: 7, dividers: {hosts: [h2]}}}");
    world.write(&format!(
        "{{kind: Network, metadata: {{vpc: blue, name: web}}, spec: {{v4: 10.0.0.0/8, v6: \
         'fd00::/64', replicas: {replicas}, bouncers: {{hosts: [{}]}}}}}}",
        bouncers.join(", ")
    ));
    world.settle();
    world
}
