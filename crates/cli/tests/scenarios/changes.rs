//! A cloud that changes: holders, endpoints, networks and VPCs come, go and move, under traffic.

use crate::place::Place;
use crate::topology::{Endpoint, cloud, network, vpc};
use crate::traffic::{Numbered, Server, Stream, who_answers};
use crate::world::{PATIENCE, World, until};
use std::net::IpAddr;
use std::time::Duration;

/// Front's endpoints a and b talk all the time; n0 to n3 have not been talked to before their turn.
fn held_by(bouncers: &[&str], dividers: &[&str]) -> String {
    let front = [
        ("a", "h1", 2),
        ("b", "h4", 3),
        ("n0", "h4", 10),
        ("n1", "h4", 11),
        ("n2", "h4", 12),
        ("n3", "h4", 13),
    ];
    let networks =
        [network("front", 1, bouncers, &front), network("back", 2, bouncers, &[("e", "h4", 2)])];
    cloud(4, &[vpc("blue", 7, dividers, &networks)])
}

#[test]
fn bouncers_and_dividers_change_under_live_traffic_and_nothing_breaks() {
    let Some(mut world) = World::new("holders", &held_by(&["h2"], &["h3"])) else { return };
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name).clone());
    let streams = [Stream::start(&a, &b, b.v4.into()), Stream::start(&a, &e, e.v6.into())];
    let datagrams = Numbered::start(&a, &b, b.v6.into(), Duration::from_millis(4));
    // What goes direct loses nothing. A single bouncer's rows are made and removed host by host, so
    // a packet that needs one just then may find neither.
    datagrams.goes_on(50);
    let steps: [(&[&str], &[&str]); 4] = [
        (&["h3"], &["h2"]),
        (&["h2", "h3"], &["h2", "h4"]),
        (&["h1", "h4"], &["h1"]),
        (&["h2"], &["h3"]),
    ];
    for (step, (bouncers, dividers)) in steps.into_iter().enumerate() {
        let before = world.counted();
        world.apply(&held_by(bouncers, dividers));
        let new = world.guest(&format!("blue/n{step}"));
        a.place().pings(new.v4.into());
        let risen = world.counted().since(&before);
        // A bouncer of a guest's own sends direct by what it holds.
        let own = bouncers.contains(&"h1");
        let bounced: u64 = bouncers.iter().map(|host| risen.at("blue", host, "bounced")).sum();
        assert!(bounced > 0 || own, "step {step}: {risen:?}");
        for stream in &streams {
            stream.goes_on(200_000);
        }
        datagrams.goes_on(50);
    }
    for stream in streams {
        stream.finish();
    }
    let (sent, lost) = datagrams.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
}

fn with_b(b: Option<Endpoint<'_>>) -> String {
    let front = [("a", "h1", 2)].into_iter().chain(b).collect::<Vec<_>>();
    let networks =
        [network("front", 1, &["h2"], &front), network("back", 2, &["h3"], &[("e", "h1", 2)])];
    cloud(4, &[vpc("blue", 7, &["h2"], &networks)])
}

#[test]
fn an_endpoint_that_is_created_again_is_reached_again_wherever_it_is() {
    let Some(mut world) = World::new("again", &with_b(Some(("b", "h4", 3)))) else { return };
    let [a, e] = ["blue/a", "blue/e"].map(|name| world.guest(name).clone());
    for host in ["h4", "h3", "h1", "h2"] {
        world.apply(&with_b(Some(("b", host, 3))));
        let b = world.guest("blue/b").clone();
        let server = Server::start(&b);
        for address in b.addresses() {
            for from in [&a, &e] {
                let found = who_answers(&from.place(), address, PATIENCE);
                assert_eq!(found.as_deref(), Some("blue/b"), "on {host} from {}", from.name);
            }
        }
        drop(server);
        world.apply(&with_b(None));
        for address in b.addresses() {
            is_nowhere(&world, &a.place(), address, "no_endpoint");
        }
    }
    // Another endpoint with its address, with another name and so another MAC address.
    world.apply(&with_b(Some(("other", "h3", 3))));
    let other = world.guest("blue/other");
    let _server = Server::start(other);
    let found = who_answers(&a.place(), other.v4.into(), PATIENCE);
    assert_eq!(found.as_deref(), Some("blue/other"));
}

#[test]
fn who_has_been_silent_while_an_endpoint_moved_finds_it_again() {
    let Some(mut world) = World::new("silent", &with_b(Some(("b", "h4", 3)))) else { return };
    let [a, e] = ["blue/a", "blue/e"].map(|name| world.guest(name).clone());
    for host in ["h3", "h4"] {
        for from in [&a, &e] {
            let addresses = world.guest("blue/b").addresses();
            addresses.into_iter().for_each(|address| from.place().pings(address));
        }
        world.apply(&with_b(Some(("b", host, 3))));
        // Longer than the former host remembers that the endpoint has moved: that host has left the
        // VPC by then, while it is alive, and the sender's host believes the endpoint there.
        std::thread::sleep(Duration::from_secs(2));
        for from in [&a, &e] {
            let addresses = world.guest("blue/b").addresses();
            addresses.into_iter().for_each(|address| from.place().pings(address));
        }
    }
}

#[test]
fn an_endpoint_moves_and_its_connections_go_on() {
    let Some(mut world) = World::new("moves", &with_b(Some(("b", "h4", 3)))) else { return };
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name).clone());
    let stream = Stream::start(&a, &b, b.v4.into());
    let across = Stream::start(&b, &e, e.v4.into());
    // Elsewhere, to its bouncer, to its peer's host, and back.
    for host in ["h3", "h2", "h1", "h4"] {
        stream.goes_on(100_000);
        world.apply(&with_b(Some(("b", host, 3))));
        assert_eq!(world.guest("blue/b").host, host);
        stream.goes_on(100_000);
        across.goes_on(100_000);
    }
    stream.finish();
    across.finish();
}

/// What may be there or not, one beside the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Endpoint,
    Network,
    Vpc,
}

fn without(gone: &[Part]) -> String {
    let mut front = vec![("a", "h1", 2), ("b", "h3", 3)];
    if !gone.contains(&Part::Endpoint) {
        front.push(("x", "h4", 9));
    }
    let mut blue = vec![network("front", 1, &["h2"], &front)];
    if !gone.contains(&Part::Network) {
        blue.push(network("back", 2, &["h3"], &[("e", "h4", 2)]));
    }
    let mut vpcs = vec![vpc("blue", 7, &["h2"], &blue)];
    if !gone.contains(&Part::Vpc) {
        let red = [("a", "h1", 2), ("x", "h4", 9)];
        vpcs.push(vpc("red", 8, &["h2"], &[network("front", 1, &["h2"], &red)]));
    }
    cloud(4, &vpcs)
}

#[test]
fn endpoint_network_and_vpc_go_in_every_order_and_come_back() {
    let Some(mut world) = World::new("orders", &without(&[])) else { return };
    use Part::{Endpoint, Network, Vpc};
    for order in [
        [Endpoint, Network, Vpc],
        [Endpoint, Vpc, Network],
        [Network, Endpoint, Vpc],
        [Network, Vpc, Endpoint],
        [Vpc, Endpoint, Network],
        [Vpc, Network, Endpoint],
    ] {
        for count in 0..=order.len() {
            let gone = &order[..count];
            world.apply(&without(gone));
            what_is_left_works(&world, gone);
        }
        world.apply(&without(&[]));
    }
    what_is_left_works(&world, &[]);
}

fn what_is_left_works(world: &World, gone: &[Part]) {
    let a = world.guest("blue/a").place();
    a.pings(world.guest("blue/b").v4.into());
    let x: [IpAddr; 2] = [[10, 0, 1, 9].into(), "fd00:0:0:1::9".parse().unwrap()];
    let e: IpAddr = [10, 0, 2, 2].into();
    if gone.contains(&Part::Endpoint) {
        is_nowhere(world, &a, x[0], "no_endpoint");
    } else {
        x.into_iter().for_each(|at| a.pings(at));
    }
    if gone.contains(&Part::Network) {
        is_nowhere(world, &a, e, "no_route");
    } else {
        a.pings(e);
    }
    let has_red = world.guests().iter().any(|guest| guest.vpc == "red");
    assert_eq!(has_red, !gone.contains(&Part::Vpc));
    if has_red {
        world.guest("red/a").place().pings(x[0]);
    }
}

/// Nobody answers at an address, and as soon as its last host is no longer asked, the reason is
/// counted.
fn is_nowhere(world: &World, from: &Place, address: IpAddr, reason: &str) {
    until(&format!("{address} is dropped as {reason}"), || {
        let before = world.counted();
        assert!(!from.pings_once(address, Duration::from_millis(150)), "{address} answers");
        world.counted().since(&before).of("blue", reason) > 0
    });
}
