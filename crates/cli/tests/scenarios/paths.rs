//! Which way packets take: by bouncers and dividers at first, then direct. Seen from counters.

use crate::place::Place;
use crate::topology::{cloud, network, vpc};
use crate::traffic::Numbered;
use crate::world::{Counted, World, until};
use std::net::IpAddr;
use std::time::Duration;

/// In blue, a and b are on hosts with no role; c is on a bouncer of theirs.
fn roles() -> String {
    let front = [("a", "h1", 2), ("b", "h4", 3), ("c", "h2", 4), ("a2", "h1", 5)];
    let networks = [
        network("front", 1, &["h2"], &front),
        network("back", 2, &["h3"], &[("e", "h4", 2), ("e2", "h1", 3)]),
    ];
    cloud(4, &[vpc("blue", 7, &["h3"], &networks)])
}

/// Pings until a whole series goes direct both ways, from h1 to h4.
fn becomes_direct(world: &World, from: &Place, to: IpAddr) {
    until("a series of pings has gone direct", || {
        let before = world.counted();
        for _ in 0..20 {
            from.pings(to);
        }
        let risen = world.counted().since(&before);
        risen.at("blue", "h1", "sent_direct") >= 20
            && risen.at("blue", "h4", "sent_direct") >= 20
            && detours(&risen) == 0
    });
}

fn detours(risen: &Counted) -> u64 {
    let ways = ["sent_to_bouncer", "sent_to_divider", "bounced", "divided", "arrived_bounced"];
    ways.iter().map(|way| risen.of("blue", way)).sum()
}

#[test]
fn first_packets_take_the_long_way_and_later_ones_the_direct_one() {
    let Some(world) = World::new("direct", &roles()) else { return };
    let a = world.guest("blue/a").place();
    for address in world.guest("blue/b").addresses() {
        let before = world.counted();
        a.pings(address);
        let risen = world.counted().since(&before);
        assert!(risen.at("blue", "h1", "sent_to_bouncer") > 0, "{risen:?}");
        assert!(risen.at("blue", "h2", "bounced") > 0, "{risen:?}");
        assert_eq!(risen.of("blue", "divided"), 0, "inside a network nothing is divided");
        becomes_direct(&world, &a, address);
    }
    for address in world.guest("blue/e").addresses() {
        let before = world.counted();
        a.pings(address);
        let risen = world.counted().since(&before);
        assert!(risen.at("blue", "h1", "sent_to_divider") > 0, "{risen:?}");
        assert!(risen.at("blue", "h3", "divided") + risen.at("blue", "h3", "bounced") > 0);
        becomes_direct(&world, &a, address);
    }
}

#[test]
fn on_one_host_nothing_leaves_it_and_on_a_bouncer_nothing_is_bounced() {
    let Some(world) = World::new("near", &roles()) else { return };
    let a = world.guest("blue/a").place();
    let before = world.counted();
    for near in ["blue/a2", "blue/e2"] {
        for address in world.guest(near).addresses() {
            a.pings(address);
        }
    }
    let risen = world.counted().since(&before);
    assert_eq!(risen.at("blue", "h1", "sent_local"), 2 * 4, "{risen:?}");
    assert_eq!(detours(&risen) + risen.of("blue", "sent_direct"), 0, "{risen:?}");

    let before = world.counted();
    world.guest("blue/c").place().pings(world.guest("blue/b").v4.into());
    let risen = world.counted().since(&before);
    assert_eq!(risen.at("blue", "h2", "sent_direct"), 1, "{risen:?}");
    assert_eq!(risen.of("blue", "bounced"), 0, "{risen:?}");
}

#[test]
fn one_way_traffic_becomes_direct_without_any_loss() {
    let Some(world) = World::new("oneway", &roles()) else { return };
    let (a, e) = (world.guest("blue/a"), world.guest("blue/e"));
    let b = world.guest("blue/b");
    let inside = Numbered::start(a, b, b.v4.into(), Duration::from_millis(4));
    until_direct(&world, &inside);
    let (sent, lost) = inside.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");

    let across = Numbered::start(a, e, e.v6.into(), Duration::from_millis(4));
    until_direct(&world, &across);
    let (sent, lost) = across.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
}

fn until_direct(world: &World, datagrams: &Numbered) {
    until("datagrams go direct", || {
        let before = world.counted();
        datagrams.goes_on(100);
        let risen = world.counted().since(&before);
        assert_eq!(risen.at("blue", "h4", "sent_direct"), 0, "nothing comes back: {risen:?}");
        risen.at("blue", "h1", "sent_direct") >= 100 && detours(&risen) == 0
    });
}
