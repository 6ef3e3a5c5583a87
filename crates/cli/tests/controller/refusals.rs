//! What the program says when something is wrong, and how it ends.

use crate::world::{BLUE, World};

#[test]
fn nothing_is_sent_while_a_manifest_is_wrong() {
    let world = World::with_hosts();
    let said = world.apply(&format!("{BLUE}---\n{}", BLUE.replace("v4: 10.0.1.9", "v4: 10.0.1")));
    let said = said.refusal(1);
    assert!(said.contains("applied.yaml:30:7: spec.v4: "), "{said}");
    assert!(said.contains("vpc blue stands at "), "{said}");
    assert_eq!(world.line("get vpcs -o name").expect(0), "");
}

#[test]
fn what_the_controller_refuses_is_shown_with_its_line() {
    let world = World::with_hosts();
    let said = world.apply(&BLUE.replace("10.0.1.9", "10.0.2.9")).refusal(1);
    assert!(said.contains("applied.yaml:9: endpoint blue/web-1: spec.v4: "), "{said}");
    assert!(said.contains("10.0.2.9 is outside of 10.0.1.0/24"), "{said}");
    assert_eq!(world.line("get vpcs -o name").expect(0), "");
}

#[test]
fn what_does_not_exist_brings_the_nearest_to_mind_and_ends_with_3() {
    let world = World::with_hosts();
    world.apply(BLUE).expect(0);
    for (line, hint) in [
        ("get endpoint blue/wbe-1", "did you mean endpoint blue/web-1?"),
        ("describe endpoint bleu/web-1", "did you mean the VPC blue?"),
        ("delete host h11", "did you mean host h1?"),
        ("get tenant acme", "`mizar get tenants` lists those that exist"),
    ] {
        let said = world.line(line).refusal(3);
        assert!(said.starts_with("error: there is no ") && said.contains(hint), "{line}: {said}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_how_it_should_be() {
    let world = World::new();
    for (line, hint) in [
        ("get endpont", "did you mean \"endpoint\"?"),
        ("get endpoint web-1", "write VPC/web-1, or give --vpc VPC"),
        ("get all", "say which with --vpc VPC"),
        ("get hosts --vpc blue", "hosts are in no VPC"),
        ("get endpoints --phase fine", "pending, ready, degraded, failed"),
        ("get endpoints -l a=b=c", "label value \"b=c\" is malformed"),
        ("wait vpc blue", "wait for endpoints, hosts"),
        ("wait host h1 --timeout soon", "as in 500ms, 30s or 5m"),
        ("--controller http://a:1 get vpcs", ""),
        ("get vpcs --controller http://a:1", "it must be https://HOST:PORT or unix:PATH"),
        ("delete", "required"),
        ("apply", "--filename"),
    ] {
        let said = world.line(line).refusal(2);
        assert!(said.contains(hint), "{line}: {said}");
    }
}

#[test]
fn a_controller_that_is_not_there_is_named_with_what_to_do() {
    let world = World::new();
    let said = world.line("get vpcs --controller unix:/nonexistent/c.sock").refusal(1);
    assert!(said.contains("/nonexistent/c.sock") && said.contains("start it"), "{said}");
    let said = world.line("get vpcs --controller https://127.0.0.1:1").refusal(1);
    assert!(said.contains("--ca is missing"), "{said}");
}
