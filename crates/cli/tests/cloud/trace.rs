//! What `mizar trace` says is what the kernel programs then do and count.

use crate::world::{Counted, World, risen, said};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// The counters that a way raises.
fn foretold(way: &Value, counted: &mut Counted) {
    for hop in way["hops"].as_array().unwrap() {
        for counter in hop["counted"].as_array().unwrap() {
            let key = (text(&hop["host"]), text(counter));
            *counted.entry(key).or_default() += 1;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn visited(way: &Value) -> Vec<String> {
    way["hops"].as_array().unwrap().iter().map(|hop| text(&hop["host"])).collect()
}

fn roles(way: &Value) -> Vec<String> {
    way["hops"].as_array().unwrap().iter().map(|hop| text(&hop["role"])).collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn first_packets_are_counted_as_foretold_host_by_host() {
    let Some(world) = World::new("first") else { return };
    for (to, options, expected) in [
        ("10.0.1.3", &["--both"][..], &["depart", "bounce", "arrive"][..]),
        ("10.0.2.2", &["--both"], &["depart", "divide", "bounce", "arrive"]),
        ("fd00:0:0:1::3", &["--both"], &["depart", "bounce", "arrive"]),
        ("fd00:0:0:2::2", &["--both"], &["depart", "divide", "bounce", "arrive"]),
    ] {
        // What the ping before has proved to be alive must be so no longer, now and when this one
        // is sent: hosts are probed for a second after they were used, and a proof holds 250 ms.
        std::thread::sleep(Duration::from_millis(1500));
        // A ping over IPv6 is 20 bytes longer.
        let size = if to.contains(':') { ["--size", "104"] } else { ["--size", "84"] };
        let (trace, status) = world.trace("blue/a", to, &[options, &size].concat());
        assert_eq!((status, roles(&trace["there"])), (Some(0), strings(expected)), "{to}");
        assert_eq!(trace["there"]["verdict"], "delivered");
        let mut counted = Counted::new();
        foretold(&trace["there"], &mut counted);
        foretold(&trace["back"], &mut counted);

        let before = world.counted("blue");
        let ping = world.exec("blue/a", &format!("ping -n -c 1 -W 2 {to}"));
        assert!(ping.status.success(), "{}", said(&ping));
        assert_eq!(risen(&world.counted("blue"), &before), counted, "{to}");
        assert_eq!(trace["later"].as_array().unwrap().len(), 2, "{to}");
    }
}

#[test]
fn later_packets_take_the_way_that_was_foretold() {
    let Some(world) = World::new("later") else { return };
    let (first, _) = world.trace("blue/a", "c", &[]);
    assert_eq!(visited(&first["there"]), ["h1", "h2", "h3", "h4"], "{first:#}");
    assert_eq!(first["later"], serde_json::json!(["h1", "h4"]));

    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let ping = world.exec("blue/a", "ping -n -c 3 -i 0.1 -W 2 10.0.2.2");
        assert!(ping.status.success(), "{}", said(&ping));
        let (trace, _) = world.trace("blue/a", "c", &[]);
        if visited(&trace["there"]) == ["h1", "h4"] {
            assert_eq!(trace["later"], Value::Null, "it is that way already");
            assert!(text(&trace["there"]["text"]).ends_with("direct"));
            return;
        }
        assert!(Instant::now() < deadline, "{trace:#}");
    }
}

#[test]
fn the_controller_asks_the_hosts_and_finds_what_they_say_themselves() {
    let Some(world) = World::new("asked") else { return };
    let controller = world.controller();
    let keys = |hop: &Value| {
        hop["rows"].as_array().unwrap().iter().map(|row| text(&row["key"])).collect::<Vec<_>>()
    };
    // What both should say, but for times.
    let said = |trace: &Value| {
        let ways = [&trace["there"], &trace["back"]].into_iter().filter(|way| !way.is_null());
        let ways = ways.map(|way| {
            let hops = visited(way).into_iter().zip(roles(way));
            hops.zip(way["hops"].as_array().unwrap().iter().map(keys)).collect::<Vec<_>>()
        });
        let parts = ["vpc", "vni", "from", "to", "packet", "later"].map(|it| trace[it].clone());
        (ways.collect::<Vec<_>>(), parts)
    };
    for (to, options) in [("b", &["--both"][..]), ("c", &["--both"]), ("c", &["-6"])] {
        let by_controller = ["--controller", &controller];
        // Hosts are known to be alive, and then are no longer, while they are asked.
        let deadline = Instant::now() + Duration::from_secs(30);
        let (own, (asked, status)) = loop {
            let (own, _) = world.trace("blue/a", to, options);
            let asked = world.trace_by(&by_controller, "blue/a", to, options);
            let (again, _) = world.trace("blue/a", to, options);
            if said(&own) == said(&again) {
                break (own, asked);
            }
            assert!(Instant::now() < deadline, "{own:#} and {again:#}");
        };
        assert_eq!(status, Some(0), "{asked:#}");
        assert_eq!(said(&asked), said(&own), "{to} {options:?}");
        assert_eq!((&asked["lab"], &own["lab"]), (&Value::Null, &Value::from(world.lab.as_str())));
    }
    let (dropped, status) =
        world.trace_by(&["--controller", &controller], "blue/a", "10.0.1.9", &[]);
    assert_eq!((status, &dropped["there"]["reason"]), (Some(1), &Value::from("no_endpoint")));
    for (to, verdict) in
        [("224.0.0.1", "dropped"), ("10.0.1.2", "delivered"), ("10.0.1.1", "answered")]
    {
        let (own, _) = world.trace("blue/a", to, &[]);
        let (asked, _) = world.trace_by(&["--controller", &controller], "blue/a", to, &[]);
        assert_eq!(asked["there"]["verdict"], verdict, "{to}");
        assert_eq!(asked["there"], own["there"], "{to}");
    }

    let status = world.ask_json(&["lab", "status", &world.lab]);
    let pid = status["hosts"][2]["agent"].as_i64().unwrap().to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    let why = "the tables of host h3 cannot be read: its agent has no stream to the controller";
    loop {
        let (asked, status) = world.trace_by(&["--controller", &controller], "blue/a", "b", &[]);
        assert_eq!((status, &asked["there"]["verdict"]), (Some(1), &Value::from("unknown")));
        if text(&asked["there"]["text"]).ends_with(why) {
            return;
        }
        assert!(Instant::now() < deadline, "{asked:#}");
    }
}

#[test]
fn what_only_another_vpc_has_is_dropped_where_and_why_it_was_foretold() {
    let Some(world) = World::new("drop") else { return };
    let (trace, status) = world.trace("blue/a", "only-red", &[]);
    assert_eq!(status, Some(1));
    assert!(text(&trace["notes"][0]).contains("another VPC"), "{trace:#}");
    assert_eq!(trace["there"]["verdict"], "dropped");
    assert_eq!(trace["there"]["reason"], "no_endpoint");
    let mut counted = Counted::new();
    foretold(&trace["there"], &mut counted);

    let before = world.counted("blue");
    assert_eq!(world.exec("blue/a", "ping -n -c 1 -W 1 10.0.1.9").status.code(), Some(1));
    let mut risen = risen(&world.counted("blue"), &before);
    // The bouncer's agent has told the sender's host by then that the address does not exist.
    risen.remove(&("h1".to_owned(), "learned".to_owned()));
    assert_eq!(risen, counted);
    let ping = world.exec("red/a", "ping -n -c 1 -W 2 10.0.1.9");
    assert!(ping.status.success(), "its own VPC reaches it: {}", said(&ping));
}

#[test]
fn too_big_a_packet_is_refused_as_the_guest_sees_it() {
    let Some(world) = World::new("big") else { return };
    let (trace, status) = world.trace("blue/a", "b", &["--size", "1427"]);
    assert_eq!((status, &trace["there"]["verdict"]), (Some(1), &Value::from("refused")));
    assert_eq!(world.trace("blue/a", "b", &["--size", "1426"]).1, Some(0));
    let biggest = world.exec("blue/a", "ping -n -c 1 -W 2 -M do -s 1398 10.0.1.3");
    assert!(biggest.status.success(), "{}", said(&biggest));
    assert!(!world.exec("blue/a", "ping -n -c 1 -W 1 -M do -s 1399 10.0.1.3").status.success());
}

#[test]
fn a_trace_goes_on_when_an_agent_is_down_and_says_so() {
    let Some(world) = World::new("down") else { return };
    let (before, _) = world.trace("blue/a", "b", &[]);
    let status = world.ask_json(&["lab", "status", &world.lab]);
    let pid = status["hosts"][2]["agent"].as_i64().unwrap().to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());

    let (trace, status) = world.trace("blue/a", "b", &[]);
    assert_eq!(status, Some(0));
    assert_eq!(visited(&trace["there"]), visited(&before["there"]));
    assert!(text(&trace["notes"][0]).contains("the agent of h3 does not answer"), "{trace:#}");
    let ping = world.exec("blue/a", "ping -n -c 1 -W 2 10.0.1.3");
    assert!(ping.status.success(), "and so does the traffic: {}", said(&ping));
}
