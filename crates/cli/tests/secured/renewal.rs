//! Certificates that last some seconds renew by themselves, and nobody notices.

use crate::world::{CONTROLLER, World, needs_root};
use std::collections::BTreeSet;
use std::process::Child;
use std::time::{Duration, Instant};

/// An agent, which ends with the test, and with it what it has set up.
struct Agent<'a>(&'a World, Child, String);

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let Self(world, agent, pins) = self;
        let _ = agent.kill();
        let _ = agent.wait();
        world.run(&["agent", "remove", "--pins", pins, "--instance", "h1"]);
    }
}

/// A new host that joins, and its agent.
fn agent<'a>(world: &'a World, name: &str) -> Agent<'a> {
    let manifests = "{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [100.64.0.0/16]}}\n\
                     ---\n{kind: Host, metadata: {name: h1}, spec: {underlay: 100.64.0.1}}\n";
    std::fs::write(world.path("fleet.yaml"), manifests).unwrap();
    world.alice(&format!("apply -f {}", world.path("fleet.yaml"))).expect(0);
    let token = world.alice("host token h1").expect(0);
    let dir = world.path("h1");
    world.run(&["host", "join", token.trim(), "--name", "h1", "--dir", &dir]).expect(0);
    world.shell("ip link add nic type veth peer name far");
    world.shell("ip addr add 100.64.0.1/16 dev nic");
    world.shell("ip link set nic up");
    world.shell("ip link set far up");
    let (own, ca) = (format!("{dir}/host.pem"), format!("{dir}/ca.crt"));
    let pins = format!("/sys/fs/bpf/mizar-{name}-{}", std::process::id());
    let words = ["agent", "--host", "h1", "--nic", "nic", "--instance", "h1"];
    let link = ["--controller", CONTROLLER, "--credentials", &own, "--ca", &ca];
    let (socket, rows) = (world.path("agent.sock"), "endpoints=4096");
    let local = ["--socket", &socket, "--pins", &pins, "--rows", rows];
    let child = world.start(&[&words[..], &link, &local].concat());
    let agent = Agent(world, child, pins);
    world.alice("wait host h1 --timeout 60s").expect(0);
    agent
}

#[test]
fn certificates_of_seconds_renew_by_themselves_while_the_stream_goes_on() {
    needs_root!();
    let lasts = Duration::from_secs(30);
    let lifetimes = ["controller=30s", "host=30s", "operator=30s"];
    let options: Vec<_> = lifetimes.iter().flat_map(|it| ["--lifetime", it]).collect();
    let world = World::with(&options);
    let _agent = agent(&world, "renewal");
    let own = world.issue("operator/alice", "renewing.pem");
    let ca = world.path("pki/ca.crt");
    let asks = |line: &str| {
        let remote = ["--controller", CONTROLLER, "--ca", &ca, "--credentials", &own];
        let words: Vec<_> = line.split_whitespace().chain(remote).collect();
        world.run(&words).expect(0)
    };
    let files = [world.path("h1/host.pem"), world.path("pki/controller.pem"), own.clone()];
    let mut seen = files.each_ref().map(|_| BTreeSet::new());
    let mut away = Duration::ZERO;
    let start = Instant::now();
    // Longer than any of the first certificates lasts.
    let is_full = std::env::var_os("MIZAR_TEST_FULL").is_some();
    let (length, renewals) = if is_full { (lasts * 2, 2) } else { (lasts + lasts / 6, 1) };
    while start.elapsed() < length {
        // His first one lasts longer.
        let renewed = (seen[2].len() as u32).saturating_sub(1);
        if !seen[2].is_empty() && start.elapsed() > lasts / 2 * renewed {
            asks("pki renew");
        }
        for (file, seen) in files.iter().zip(&mut seen) {
            seen.insert(std::fs::read_to_string(file).unwrap());
        }
        let looked = Instant::now();
        let host: serde_json::Value = serde_json::from_str(&asks("get host h1 -o json")).unwrap();
        assert_eq!(host["status"]["alive"], true, "{host}");
        std::thread::sleep(Duration::from_millis(250));
        if host["status"]["connected"] == false {
            away += looked.elapsed();
        }
    }
    for (file, seen) in files.iter().zip(&seen) {
        assert!(seen.len() > renewals, "{file} was renewed {} times", seen.len() - 1);
    }
    // A connection ends with its certificate, and the agent dials with the next one at once.
    assert!(away < Duration::from_secs(4), "the agent was away for {away:?}");
}

#[test]
fn a_revoked_host_is_cut_off_and_joins_anew() {
    needs_root!();
    let world = World::new();
    let _agent = agent(&world, "revoked");
    let said = world.alice("host revoke h1").expect(0);
    assert!(said.contains("host/h1: no certificate issued until "), "{said}");
    let connected = || {
        let host = world.alice("get host h1 -o json").expect(0);
        let host: serde_json::Value = serde_json::from_str(&host).unwrap();
        host["status"]["connected"] == true
    };
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    until("it is cut", &|| !connected());
    std::thread::sleep(Duration::from_secs(2));
    assert!(!connected(), "and stays away");
    let token = world.alice("host token h1").expect(0);
    let dir = world.path("h1");
    world.run(&["host", "join", token.trim(), "--name", "h1", "--dir", &dir]).expect(0);
    until("it is back", &connected);
}
