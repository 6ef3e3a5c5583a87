//! Agents and their controller die or fall silent and come back, and no packet notices.

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

/// Longer than the programs believe an agent's next hops after its last word.
const SILENCE: Duration = Duration::from_secs(7);

/// The sender's gateway and the bouncer's get other MAC addresses, as when a router takes another
/// one's place, while neither host has an agent that could write them into the tables.
fn gateways_are_replaced(name: &str, underlay: &str) {
    let front = [("a", "h1", 2), ("b", "h4", 3), ("c", "h2", 4)];
    let networks = [network("front", 1, &["h2"], &front)];
    let cloud = cloud(4, &[vpc("blue", 7, &["h3"], &networks)]);
    let Some(mut world) = World::with_underlay(name, underlay, &cloud) else { return };
    let [a, b, c] = ["blue/a", "blue/b", "blue/c"].map(|name| world.guest(name).clone());
    // One by way of the bouncer, and one straight from it.
    let flows = [&a, &c];
    flows.iter().for_each(|from| from.place().pings(b.v4.into()));
    let stream = Stream::start(&a, &b, b.v6.into());
    world.kill_agent("h1");
    world.kill_agent("h2");
    std::thread::sleep(SILENCE);
    stream.goes_on(200_000);
    for (link, mac) in [("host0", "02:00:5e:00:01:01"), ("host1", "02:00:5e:00:01:02")] {
        // As routers do, it says so itself.
        world.fabric().command(&format!("sysctl -qw net.ipv4.conf.{link}.arp_notify=1"));
        world.fabric().command(&format!("ip link set {link} address {mac}"));
    }
    for from in flows {
        let datagrams = Numbered::start(from, &b, b.v4.into(), MILLISECOND);
        datagrams.goes_on(500);
        let (sent, lost) = datagrams.finish();
        assert!(lost.is_empty(), "from {}: of {sent} are lost {lost:?}", from.name);
    }
    stream.goes_on(200_000);
    world.start_agent("h1");
    world.start_agent("h2");
    world.becomes_ready();
    let before = world.counted();
    stream.goes_on(200_000);
    let risen = world.counted().since(&before);
    assert_eq!(risen.of("blue", "no_next_hop"), 0, "{risen:?}");
    stream.finish();
}

#[test]
fn gateways_are_replaced_while_no_agent_runs_and_the_driver_forwards() {
    gateways_are_replaced("gateway", "{mtu: 1500, offloads: wire, mode: native}");
}

#[test]
fn gateways_are_replaced_while_no_agent_runs_and_tc_forwards() {
    gateways_are_replaced("gatewaytc", "{mtu: 1500, offloads: default, mode: tc}");
}

impl World {
    fn slots(&self) -> Vec<u8> {
        self.asks(&["get", "slotmap", "blue/front", "-o", "json"]).stdout
    }

    fn is_frozen(&self) -> bool {
        let fleet = self.asks(&["get", "fleet", "fleet", "-o", "json"]).stdout;
        String::from_utf8_lossy(&fleet).contains("zone east: 3 of 3 hosts are silent")
    }
}

#[test]
fn a_zone_whose_agents_all_fall_silent_keeps_its_slots_and_packets_flow_on() {
    let front = [("a", "h1", 2), ("b", "h4", 3)];
    let networks = [network("front", 1, &["h2", "h3"], &front)];
    let cloud = cloud(4, &[vpc("blue", 7, &["h3"], &networks)]);
    let Some(mut world) = World::new("zone", &cloud) else { return };
    let zone = ["h1", "h2", "h3"];
    for host in zone {
        let underlay = world.host(host).underlay;
        let manifest = format!(
            "{{kind: Host, metadata: {{name: {host}}}, spec: {{underlay: {underlay}, zone: east}}}}"
        );
        let applied = world.asks(&["apply", "-f", &world.manifests(&manifest)]);
        assert!(applied.status.success(), "{applied:?}");
    }
    world.becomes_ready();
    let before = world.slots();
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    let stream = Stream::start(&a, &b, b.v6.into());
    let there = Numbered::start(&a, &b, b.v4.into(), MILLISECOND);
    let back = Numbered::start(&b, &a, a.v4.into(), MILLISECOND);
    zone.iter().for_each(|host| world.signal_agent(host, "-STOP"));
    until("the alarm is raised", || world.is_frozen());
    stream.goes_on(200_000);
    there.goes_on(1000);
    assert_eq!(world.slots(), before, "nothing is reassigned");
    zone.iter().for_each(|host| world.signal_agent(host, "-CONT"));
    world.becomes_ready();
    there.goes_on(1000);
    assert_eq!(world.slots(), before);
    stream.finish();
    for datagrams in [there, back] {
        let (sent, lost) = datagrams.finish();
        assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
    }
}
