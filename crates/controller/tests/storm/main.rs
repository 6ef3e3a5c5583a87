//! Thousands of agents, each with a gRPC stream of its own, whose connections break all at once.
//! They dial over pipes in memory: what is tried is the controller, not how many sockets a machine
//! lets a process have.

#![expect(clippy::unwrap_used, reason = "tests")]

mod agents;

use agents::{Agents, Network};
use mizar_controller::api::{Limits as ApiLimits, Parts};
use mizar_controller::engine::{self, Change, Engine, Write};
use mizar_controller::service;
use mizar_identity::Identity;
use mizar_store::Memory;
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Kind, Manifest, Ref};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of the network whose bouncers come back, too.
const ENDPOINTS: usize = 20_000;
/// Writes that are made together.
const TOGETHER: usize = 500;
/// Memory that the storm may take beyond what the fleet took before, whatever is sent in it, and
/// for each stream: both ends of a new one are there before the old one's memory is used again.
const MORE: usize = 64 << 20;
const MORE_FOR_EACH: usize = 32 << 10;

/// How many agents there are.
fn crowd() -> usize {
    if std::env::var_os("MIZAR_TEST_FULL").is_some() { 10_000 } else { 400 }
}

/// Bouncers are the first two hosts; endpoints live on the others.
async fn declare(engine: &Engine, hosts: usize) {
    let mut manifests = vec![
        "{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [100.64.0.0/16]}}".to_owned(),
    ];
    manifests.extend((0..hosts).map(|number| {
        let [high, low] = (number as u16 + 1).to_be_bytes();
        format!(
            "{{kind: Host, metadata: {{name: h{number}}}, spec: {{underlay: 100.64.{high}.{low}}}}}"
        )
    }));
    manifests.push("{kind: Vpc, metadata: {name: blue}, spec: {dividers: {hosts: [h0]}}}".into());
    manifests.push(
        "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/8, bouncers: \
         {hosts: [h0, h1]}}}"
            .into(),
    );
    let host = |number: usize| 2 + number % (hosts - 2);
    manifests.extend((0..ENDPOINTS).map(|number| endpoint(&format!("e{number}"), host(number))));
    for manifests in manifests.chunks(TOGETHER) {
        write(engine, manifests).await;
    }
}

fn endpoint(name: &str, host: usize) -> String {
    format!(
        "{{kind: Endpoint, metadata: {{vpc: blue, name: {name}}}, spec: {{network: web, host: \
         h{host}, attachment: {{veth: {{netns: /run/netns/{name}, interface: eth0}}}}}}}}"
    )
}

async fn write(engine: &Engine, manifests: &[String]) {
    let changes = manifests.iter().map(|yaml| {
        let manifest: Manifest = serde_saphyr::from_str(yaml).unwrap();
        Change::Create(manifest)
    });
    let write = Write { changes: changes.collect(), dry_run: false };
    engine.write(&Identity::local(), write).await.unwrap();
}

/// How long until an endpoint is ready.
async fn ready(engine: &Engine, name: &str) -> Duration {
    let start = Instant::now();
    let reference = Ref::in_vpc(Kind::Endpoint, "blue".parse().unwrap(), name.parse().unwrap());
    loop {
        let found = engine.get(&Identity::local(), reference.clone()).await.unwrap();
        let Manifest::Endpoint(found) = found else { panic!("{found:?}") };
        if found.status.as_ref().is_some_and(|status| status.phase == Phase::Ready) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", found.status);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Memory of this process, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_streams_break_and_come_back_at_once() {
    let hosts = crowd();
    let (engine, _thread) = engine::start(Arc::new(Memory::new())).unwrap();
    let (limits, audit, office) = (ApiLimits::default(), None, None);
    let parts = Parts { engine: engine.clone(), limits, audit, office };
    let network = Network::serve(service(parts));
    let agents = Agents::start(hosts, &network);
    declare(&engine, hosts).await;
    agents.settle("the fleet settles").await;
    assert_eq!(agents.rows(0) + agents.rows(1), 2 * ENDPOINTS);

    // Every tenth, and one bouncer, forgets what it was told; the others come back where they were.
    let forgets = |number: usize| number == 1 || number % 10 == 3;
    let before: Vec<_> = (0..hosts).map(|number| agents.told(number)).collect();
    let (quiet, mut peak) = (memory(), 0);
    agents.break_all(forgets);
    let start = Instant::now();
    let create = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        write(&engine, &[endpoint("mid", 2)]).await;
        ready(&engine, "mid").await
    };
    let took = {
        let mut create = std::pin::pin!(create);
        loop {
            tokio::select! {
                took = &mut create => break took,
                () = tokio::time::sleep(Duration::from_millis(5)) => peak = peak.max(memory()),
            }
        }
    };
    agents.settle("the fleet settles again").await;
    peak = peak.max(memory());
    println!(
        "{hosts} agents back after {:?}; an endpoint created meanwhile ready after {took:?}; \
         {} MiB before, {} MiB at most",
        start.elapsed(),
        quiet >> 20,
        peak >> 20
    );
    for (number, before) in before.into_iter().enumerate() {
        let told = agents.told(number);
        let full = told.full - before.full;
        assert_eq!(full, usize::from(forgets(number)), "h{number} was told everything so often");
        let others = told.changes - before.changes;
        // The endpoint concerns its host and the bouncers.
        assert!(others == 0 || number <= 2, "h{number} was told {others} changes");
    }
    let most = quiet + MORE + hosts * MORE_FOR_EACH;
    assert!(peak < most, "{quiet} bytes before, {peak} at most");
    assert_eq!(agents.rows(0) + agents.rows(1), 2 * (ENDPOINTS + 1));
}
