//! Certificates that last some seconds renew by themselves, and nobody notices.

use crate::agent::agent;
use crate::metrics;
use crate::world::{CONTROLLER, World, needs_root};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn certificates_of_seconds_renew_by_themselves_while_the_stream_goes_on() {
    needs_root!();
    let lasts = Duration::from_secs(30);
    let lifetimes = ["controller=30s", "host=30s", "operator=30s"];
    let options: Vec<_> = lifetimes.iter().flat_map(|it| ["--lifetime", it]).collect();
    let world = World::with(&options);
    let _agent = agent(&world, "renewal", &["--metrics", metrics::PORT]);
    let monitor = world.issue("monitor/prometheus", "monitor.pem");
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
        // Whoever collects metrics is shown the certificate that is valid at the time.
        assert_eq!(metrics::of_host(&world, Some(&monitor), &["/metrics"]).0, 200);
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
    let _agent = agent(&world, "revoked", &[]);
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
