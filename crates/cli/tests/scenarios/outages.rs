//! Agents and their controller die and come back, and no packet notices.

use crate::topology::{cloud, network, vpc};
use crate::traffic::{Numbered, Stream};
use crate::world::{World, until};
use std::time::Duration;

/// A thousand datagrams a second.
const MILLISECOND: Duration = Duration::from_millis(1);

fn spread() -> String {
    let front = [("a", "h1", 2), ("b", "h4", 3), ("far", "h4", 4)];
    let networks =
        [network("front", 1, &["h2"], &front), network("back", 2, &["h3"], &[("e", "h4", 2)])];
    cloud(4, &[vpc("blue", 7, &["h3"], &networks)])
}

#[test]
fn agents_are_killed_and_started_again_and_nothing_is_lost() {
    let Some(mut world) = World::new("killed", &spread()) else { return };
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name).clone());
    let stream = Stream::start(&a, &e, e.v6.into());
    let there = Numbered::start(&a, &b, b.v4.into(), MILLISECOND);
    let back = Numbered::start(&e, &a, a.v4.into(), MILLISECOND);
    for host in ["h1", "h4", "h2", "h3"] {
        there.goes_on(200);
        let before = world.counted();
        world.kill_agent(host);
        // Longer than a host is believed to be alive without proof.
        there.goes_on(800);
        stream.goes_on(200_000);
        world.start_agent(host);
        world.becomes_ready();
        let risen = world.counted().since(&before);
        if host == "h1" {
            // Nobody has proven alive to a sender without an agent: its packets went the long way.
            assert!(risen.at("blue", host, "sent_to_bouncer") >= 400, "{risen:?}");
        }
        there.goes_on(200);
        stream.goes_on(200_000);
    }
    stream.finish();
    for (way, datagrams) in [("there", there), ("back", back)] {
        let (sent, lost) = datagrams.finish();
        assert!(lost.is_empty(), "{way}: of {sent} are lost {lost:?}");
    }
}

#[test]
fn without_agents_and_controller_learned_ways_become_long_ones_without_loss() {
    let Some(world) = World::new("headless", &spread()) else { return };
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name).clone());
    let streams = [Stream::start(&a, &b, b.v4.into()), Stream::start(&a, &e, e.v4.into())];
    let datagrams = Numbered::start(&a, &b, b.v6.into(), MILLISECOND);
    until("everything goes direct", || {
        let before = world.counted();
        datagrams.goes_on(200);
        let risen = world.counted().since(&before);
        let long = risen.of("blue", "sent_to_bouncer") + risen.of("blue", "sent_to_divider");
        risen.at("blue", "h1", "sent_direct") >= 200 && long == 0
    });
    world.kill_controller();
    let hosts = ["h1", "h2", "h3", "h4"];
    hosts.iter().for_each(|host| world.kill_agent(host));
    datagrams.goes_on(2000);
    for stream in &streams {
        stream.goes_on(200_000);
    }
    // Nobody here has talked to this one before.
    a.place().pings(world.guest("blue/far").v4.into());
    let (sent, lost) = datagrams.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
    streams.into_iter().for_each(Stream::finish);
}
