//! Endpoints are declared to the lab's controller while it, an agent or a bouncer is gone: none is
//! lost, and all become ready.

use crate::topology::{cloud, network, vpc};
use crate::traffic::{Numbered, Stream};
use crate::world::{World, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Output;
use std::time::Duration;

/// Endpoints that are declared in a row.
const MANY: usize = 40;
/// Those of them that are declared together.
pub(crate) const TOGETHER: usize = 4;

/// Everybody reaches h2 and h3, who bounce together; the guests are on h1 and h4.
pub(crate) fn spread() -> String {
    let front = [("a", "h1", 2), ("b", "h4", 3)];
    let networks = [network("front", 1, &["h2", "h3"], &front)];
    cloud(4, &[vpc("blue", 7, &["h2", "h3"], &networks)])
}

/// Endpoints with namespaces of their own, and what declares them.
pub(crate) struct Declared<'a> {
    world: &'a World,
    names: Vec<String>,
    manifests: Vec<String>,
}

impl<'a> Declared<'a> {
    pub(crate) fn new(world: &'a World, count: usize) -> Self {
        let names: Vec<_> = (0..count).map(|number| format!("n{number}")).collect();
        let manifest = |(number, name): (usize, &String)| {
            let host = ["h1", "h4"][number % 2];
            world.new_guest(&format!("blue/{name}"), "front", host)
        };
        let manifests = names.iter().enumerate().map(manifest).collect();
        Self { world, names, manifests }
    }

    /// Declares them step by step; `between` is called after each. A step that is not answered is
    /// repeated.
    pub(crate) fn apply(&self, mut between: impl FnMut(usize)) {
        for (step, manifests) in self.manifests.chunks(TOGETHER).enumerate() {
            let file = self.world.manifests(&manifests.join("---\n"));
            until("the controller takes the manifests", || {
                self.world.asks(&["apply", "-f", &file]).status.success()
            });
            between(step);
        }
    }

    pub(crate) fn are_ready(&self) {
        let names: Vec<_> = self.names.iter().map(|name| format!("blue/{name}")).collect();
        let names = names.iter().map(String::as_str);
        let words: Vec<_> = ["wait", "endpoint"].into_iter().chain(names).collect();
        let waited = self.world.asks(&[&words[..], &["--timeout", "60s"]].concat());
        assert!(waited.status.success(), "{}", text(&waited));
    }

    /// How far they are, in the order of their names.
    pub(crate) fn phases(&self) -> Vec<String> {
        let endpoints = endpoints(self.world);
        let phase = |name: &String| endpoints[name]["status"]["phase"].as_str().unwrap();
        self.names.iter().map(|name| phase(name).to_owned()).collect()
    }

    /// The IPv4 addresses that the controller has given.
    pub(crate) fn addresses(&self) -> BTreeMap<String, IpAddr> {
        let endpoints = endpoints(self.world);
        let address = |name: &String| {
            let v4 = endpoints.get(name)?["status"]["v4"].as_str()?.parse().ok()?;
            Some((name.clone(), v4))
        };
        self.names.iter().filter_map(address).collect()
    }
}

/// The endpoints of the controller, by name.
fn endpoints(world: &World) -> BTreeMap<String, Value> {
    let listed = world.asks(&["get", "endpoints", "-o", "json"]);
    assert!(listed.status.success(), "{}", text(&listed));
    let all: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let items = all.as_array().or_else(|| all["items"].as_array()).unwrap().iter();
    items.map(|it| (it["metadata"]["name"].as_str().unwrap().to_owned(), it.clone())).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stderr[..], &output.stdout[..]].concat()).into_owned()
}

#[test]
fn the_controller_is_killed_and_started_again_and_no_packet_notices() {
    let Some(mut world) = World::new("ctl-traffic", &spread()) else { return };
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    let stream = Stream::start(&a, &b, b.v6.into());
    let datagrams = Numbered::start(&a, &b, b.v4.into(), Duration::from_millis(1));
    for _ in 0..2 {
        datagrams.goes_on(200);
        world.kill_controller();
        datagrams.goes_on(800);
        stream.goes_on(200_000);
        world.start_controller();
        world.becomes_ready();
        datagrams.goes_on(200);
        stream.goes_on(200_000);
    }
    let declared = Declared::new(&world, 1);
    declared.apply(|_| {});
    declared.are_ready();
    declared.addresses().into_values().for_each(|address| a.place().pings(address));
    stream.finish();
    let (sent, lost) = datagrams.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
}

#[test]
fn a_controller_that_is_killed_while_many_are_declared_loses_none() {
    let Some(world) = World::new("ctl-bulk", &spread()) else { return };
    let a = world.guest("blue/a").place();
    let declared = Declared::new(&world, MANY);
    let mut given = BTreeMap::new();
    declared.apply(|step| {
        if step == 3 || step == 6 {
            given = declared.addresses();
            assert_eq!(given.len(), (step + 1) * TOGETHER, "what was answered is there");
            world.restart_controller();
        }
    });
    declared.are_ready();
    let all = declared.addresses();
    assert_eq!(all.len(), MANY);
    for (name, address) in &given {
        assert_eq!(all[name], *address, "{name} keeps what it was given");
    }
    all.into_values().for_each(|address| a.pings(address));
}

#[test]
fn an_agent_that_is_killed_while_many_are_declared_attaches_them_all() {
    let Some(world) = World::new("agent-bulk", &spread()) else { return };
    let a = world.guest("blue/a").place();
    let declared = Declared::new(&world, MANY);
    declared.apply(|step| match step {
        2 => world.kill_agent("h4"),
        6 => world.start_agent("h4"),
        _ => {}
    });
    declared.are_ready();
    declared.addresses().into_values().for_each(|address| a.pings(address));
}

#[test]
fn without_one_of_its_bouncers_an_endpoint_is_degraded_and_says_why_and_works() {
    let Some(mut world) = World::new("cut", &spread()) else { return };
    let a = world.guest("blue/a").place();
    // h3 is the third host of the fabric: nobody reaches it, and it says nothing.
    world.fabric().command("ip link set host2 down");
    world.signal_agent("h3", "-STOP");
    let declared = Declared::new(&world, TOGETHER);
    declared.apply(|_| {});
    let words = ["wait", "endpoint", "blue/n0", "blue/n1", "blue/n2", "blue/n3"];
    let degraded = world.asks(&[&words[..], &["--for", "degraded"]].concat());
    assert!(degraded.status.success(), "{}", text(&degraded));
    for (name, endpoint) in endpoints(&world).into_iter().filter(|(name, _)| name.starts_with('n'))
    {
        let conditions = endpoint["status"]["conditions"].as_array().unwrap();
        let bounced = conditions.iter().find(|it| it["type"] == "Bounced").unwrap();
        assert_eq!(bounced["reason"], "Partly", "{name}: {bounced}");
        assert!(bounced["message"].as_str().unwrap().starts_with("h3 "), "{name}: {bounced}");
        let timings = endpoint["status"]["timings"].as_array().unwrap();
        for step in ["interface", "addresses", "program", "rows", "attached"] {
            let took = timings.iter().find(|it| it["step"] == step);
            assert!(took.is_some_and(|it| it["micros"].as_u64() > Some(0)), "{step}: {timings:?}");
        }
    }
    declared.addresses().into_values().for_each(|address| a.pings(address));
    // Once its lease is over it is not counted on, and the others are enough.
    declared.are_ready();

    world.fabric().command("ip link set host2 up");
    world.signal_agent("h3", "-CONT");
    declared.are_ready();
    declared.addresses().into_values().for_each(|address| a.pings(address));
    world.becomes_ready();
}
