//! The programs as processes, over TLS and TCP in a network namespace of the test's own: a CA is
//! made, a controller started, a host joins, and everybody is who he says. Needs root.

#![expect(clippy::unwrap_used, reason = "tests")]

mod agent;
mod metrics;
mod renewal;
mod world;

use world::{World, needs_root};

#[test]
fn from_an_empty_folder_to_a_host_that_has_joined() {
    needs_root!();
    let world = World::new();
    let token = world.alice("host token h1").expect(0);
    let dir = world.path("h1");
    let join = |token: &str, name: &str| {
        world.run(&["host", "join", token.trim(), "--name", name, "--dir", &dir])
    };
    let refused = join(&token, "h2").refusal(1);
    assert!(refused.contains("host h2 may not join with this token"), "{refused}");
    let said = join(&token, "h1").expect(0);
    assert!(said.contains("mizar agent --host h1 --nic NIC --controller https://127.0.0.1:6443"));
    assert!(said.contains("The fleet has no host h1 yet"), "{said}");
    let shown = world.run(&["pki", "show", &format!("{dir}/host.pem")]).expect(0);
    assert!(shown.contains("identity:     host/h1\n"), "{shown}");
    let refused = join(&token, "h1").refusal(1);
    assert!(refused.contains("as often as it may be"), "{refused}");
    let log = std::fs::read_to_string(world.path("data/audit.log")).unwrap();
    assert!(log.contains("\"verb\":\"join\"") && log.contains("\"from\":\"127.0.0.1:"), "{log}");
}

#[test]
fn a_context_is_all_that_an_operator_needs_and_his_certificate_renews() {
    needs_root!();
    let world = World::new();
    let (ca, own) = (world.path("pki/ca.crt"), world.issue("operator/alice", "alice.pem"));
    let set = ["config", "set-context", "prod", "--controller", world::CONTROLLER];
    let set = [&set[..], &["--ca", &ca, "--credentials", &own]].concat();
    world.run(&set).expect(0);
    world.line("get hosts").expect(0);
    let before = std::fs::read_to_string(&own).unwrap();
    let said = world.line("pki renew").expect(0);
    assert!(said.contains("the key and certificate of operator/alice, until "), "{said}");
    assert_ne!(std::fs::read_to_string(&own).unwrap(), before);
    world.line("get hosts").expect(0);
}

#[test]
fn certificates_of_the_wrong_role_are_refused_with_the_reason() {
    needs_root!();
    let world = World::new();
    let refused = world.by("host/h1", "get hosts").refusal(5);
    assert!(refused.contains("host/h1 may not list resources"), "{refused}");
    let refused = world.by("tenant/acme/bob", "host token h1").refusal(5);
    assert!(refused.contains("tenant/acme/bob may not create token"), "{refused}");
    let refused = world.by("tenant/acme/bob", "pki renew").refusal(1);
    assert!(refused.contains("it takes an operator"), "{refused}");
}

#[test]
fn a_controller_of_another_ca_is_not_believed() {
    needs_root!();
    let world = World::new();
    let other = world.path("other");
    world.line(&format!("pki init --pki {other}")).expect(0);
    let refused = world.alice(&format!("get hosts --ca {other}/ca.crt")).refusal(1);
    assert!(refused.contains("no TLS connection to https://127.0.0.1:6443"), "{refused}");
}

#[test]
fn what_is_missing_or_in_the_way_is_said() {
    needs_root!();
    let world = World::new();
    let refused = world.line(&format!("pki init --pki {}", world.path("pki"))).refusal(1);
    assert!(refused.contains("a CA is in the way"), "{refused}");
    let refused = world.line("controller --listen 127.0.0.1:7000").refusal(2);
    assert!(refused.contains("--pki <FOLDER>"), "{refused}");
    let pki = world.path("pki");
    let line = format!("pki issue controller --pki {pki} --out {pki}/c.pem");
    assert!(world.line(&line).refusal(1).contains("keeps it up to date"));
}
