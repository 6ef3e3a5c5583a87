//! What is chosen is not what was released just before, though the controller has restarted.

use super::*;
use std::net::Ipv4Addr;

fn vni(world: &World, vpc: &str) -> u32 {
    world.core.catalog.vpc_named(&name(vpc)).unwrap().record().vni.get()
}

fn v4(world: &World, endpoint: &str) -> Option<Ipv4Addr> {
    world.status(endpoint).v4
}

#[test]
fn a_vni_comes_again_last_though_its_vpc_was_the_newest_and_the_controller_has_restarted() {
    let mut world = World::example(3);
    let vpc = |vpc: &str| format!("{{kind: Vpc, metadata: {{name: {vpc}}}, spec: {{}}}}");
    for restarts in [false, true] {
        world.write(&vpc("red"));
        let red = vni(&world, "red");
        world.delete(Ref::global(Kind::Vpc, name("red")), true).unwrap();
        if restarts {
            world.restart();
        }
        world.write(&vpc("green"));
        assert_eq!(vni(&world, "green"), red + 1, "{restarts}");
        world.delete(Ref::global(Kind::Vpc, name("green")), true).unwrap();
    }
    // What is only tried, or refused, takes nothing.
    let make = || vec![Change::Create(manifest(&vpc("red")))];
    let write = Write { changes: make(), dry_run: true };
    let now = world.time();
    world.core.write(vec![(Identity::local(), write)], now).remove(0).unwrap();
    let changes = [make(), make()].concat();
    assert_eq!(world.try_write(changes).unwrap_err().kind, RefusalKind::Exists);
    world.write(&vpc("red"));
    assert_eq!(vni(&world, "red"), 5);
}

#[test]
fn an_address_comes_again_last_though_others_move_and_the_controller_has_restarted() {
    let mut world = World::example(3);
    for endpoint in ["a", "b", "c"] {
        world.endpoint(endpoint, "h1");
    }
    let gone = v4(&world, "c");
    world.delete(Ref::in_vpc(Kind::Endpoint, name("blue"), name("c")), false).unwrap();
    world.restart();
    world.endpoint("a", "h2");
    world.endpoint("d", "h1");
    assert_eq!(v4(&world, "d"), Some(Ipv4Addr::new(10, 0, 0, 5)), "{gone:?} is c's");
    world.restart();
    world.endpoint("e", "h1");
    assert_eq!(v4(&world, "e"), Some(Ipv4Addr::new(10, 0, 0, 6)));
}

#[test]
fn what_was_chosen_is_stored_only_when_it_would_be_forgotten_and_goes_with_its_network() {
    let mut world = World::example(3);
    world.settle();
    let count = |world: &World| {
        let mut count = 0;
        world.store.scan(b"c", &mut |_, _, _| count += 1).unwrap();
        count
    };
    world.endpoint("a", "h1");
    world.endpoint("b", "h1");
    assert_eq!(count(&world), 0, "endpoints say it themselves");
    world.endpoint("a", "h2");
    assert_eq!(count(&world), 1);
    world.delete(Ref::in_vpc(Kind::Network, name("blue"), name("web")), true).unwrap();
    assert_eq!(count(&world), 0);
}
