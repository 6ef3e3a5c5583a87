//! What the commands print.

use crate::world::{BLUE, World, ended};
use std::io::Write;
use std::process::Stdio;

fn blue() -> World {
    let world = World::with_hosts();
    world.apply(BLUE).expect(0);
    world
}

#[test]
fn apply_says_of_each_resource_what_became_of_it() {
    let world = World::with_hosts();
    let created = "vpc blue created\nnetwork blue/front created\nendpoint blue/web-1 created\n";
    assert_eq!(world.apply(BLUE).expect(0), created);
    let changed = world.apply(&BLUE.replace("app: web", "app: shop")).expect(0);
    assert_eq!(changed, created.replace("created", "unchanged").replace("web-1 un", "web-1 "));
}

#[test]
fn manifests_come_from_standard_input() {
    let world = World::with_hosts();
    let mut command = world.command();
    command.args(["apply", "-f", "-", "--dry-run"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(BLUE.as_bytes()).unwrap();
    let said = ended(&child.wait_with_output().unwrap()).expect(0);
    assert!(said.starts_with("vpc blue created (dry run)\n"), "{said}");
    assert_eq!(world.line("get vpcs -o name").expect(0), "");
}

#[test]
fn diff_shows_what_would_change_and_ends_with_1() {
    let world = blue();
    let file = world.file("new.yaml", &BLUE.replace("app: web", "app: shop"));
    let said = world.run(&["diff", "-f", file.to_str().unwrap()]).expect(1);
    assert!(said.starts_with("--- a/endpoint blue/web-1\n+++ b/endpoint blue/web-1\n"), "{said}");
    assert!(said.contains("\n-    app: web\n+    app: shop\n"), "{said}");
    assert!(!said.contains("resourceVersion") && !said.contains("status"), "{said}");
}

#[test]
fn diff_of_what_cannot_be_compared_does_not_end_as_if_something_differed() {
    let world = blue();
    let unknown = world.file("unknown.yaml", &BLUE.replace("app: web", "app: [web]"));
    for file in ["no-such-file.yaml", unknown.to_str().unwrap()] {
        world.run(&["diff", "-f", file]).expect(2);
    }
}

#[test]
fn get_shows_tables_and_manifests() {
    let world = blue();
    assert_eq!(
        world.line("get endpoints --vpc blue").expect(0),
        "VPC   NAME   NETWORK  HOST  V4        V6  PHASE\n\
         blue  web-1  front    h1    10.0.1.9  -   Pending\n"
    );
    assert_eq!(world.line("get endpoints -l app=web -o name").expect(0), "endpoint blue/web-1\n");
    assert_eq!(world.line("get endpoints -l app=db").expect(0), "");
    let yaml = world.line("get endpoint blue/web-1 -o yaml").expect(0);
    assert!(yaml.starts_with("---\nkind: Endpoint\n"), "{yaml}");
    let applied = world.apply(&yaml).expect(0);
    assert_eq!(applied, "endpoint blue/web-1 unchanged\n");
    let all = world.line("get all --vpc blue").expect(0);
    for part in ["NAME  VNI", "10.0.1.0/24", "web-1"] {
        assert!(all.contains(part), "{all}");
    }
    let hosts = world.line("get Hosts -o wide").expect(0);
    assert!(hosts.contains("silent") && hosts.contains("rack=r1"), "{hosts}");
}

#[test]
fn describe_says_what_is_missing() {
    let world = blue();
    let page = world.line("describe endpoint blue/web-1").expect(0);
    for part in
        ["endpoint blue/web-1\nlabels   app=web\nversion  ", "asked for\n", "phase: Pending"]
    {
        assert!(page.contains(part), "{page}");
    }
    let page = world.line("describe vpc blue").expect(0);
    assert!(page.contains("vni: 7") && page.contains("front"), "{page}");
    assert!(world.line("describe fleet").expect(0).contains("100.64.0.0/16"));
}

#[test]
fn delete_takes_what_uses_a_resource_only_if_told_so() {
    let world = blue();
    let said = world.line("delete vpc blue").refusal(4);
    assert!(said.contains("blue/"), "{said}");
    let said = world.line("delete vpc blue --cascade --dry-run").expect(0);
    assert!(
        said.lines().count() >= 3 && said.lines().all(|it| it.ends_with("(dry run)")),
        "{said}"
    );
    world.line("delete endpoint blue/web-1 --wait").expect(0);
    world.line("delete endpoint blue/web-1 --ignore-missing").expect(0);
    world.line("delete vpc blue --cascade").expect(0);
    world.line("get vpc blue").refusal(3);
}

#[test]
fn hosts_are_cordoned_once() {
    let world = World::with_hosts();
    assert_eq!(world.line("host cordon h1 h2").expect(0), "host h1 cordoned\nhost h2 cordoned\n");
    assert_eq!(world.line("host cordon h1").expect(0), "host h1 cordoned already\n");
    assert!(world.line("host list").expect(0).contains("silent,cordoned"));
    assert_eq!(world.line("host uncordon h1").expect(0), "host h1 in service\n");
    let top = world.line("top --sort name -n 1").expect(0);
    assert!(top.starts_with("4 hosts, 0 alive, ") && top.contains("\nh1"), "{top}");
}

#[test]
fn watch_shows_what_is_there_and_what_comes() {
    use std::io::{BufRead, BufReader};
    let world = blue();
    let mut command = world.command();
    command.args(["watch", "vpcs", "-o", "name"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "vpc blue added");
    world.apply("{kind: Vpc, metadata: {name: red}, spec: {}}").expect(0);
    assert_eq!(lines.next().unwrap().unwrap(), "vpc red added");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn wait_ends_with_6_when_it_takes_too_long_and_says_how_it_stands() {
    let world = blue();
    let said = world.line("wait endpoint blue/web-1 --timeout 300ms").refusal(6);
    assert!(said.starts_with("error: 1 endpoint not ready within 0.3 s:\n"), "{said}");
    assert!(said.contains("endpoint blue/web-1: Pending"), "{said}");
    let said = world.line("wait endpoints --vpc blue --timeout 300ms").refusal(6);
    assert!(said.contains("endpoint blue/web-1: Pending"), "all, without names: {said}");
    world.line("wait endpoints --vpc blue -l no=such --timeout 300ms").refusal(3);
    let both = "endpoint blue/web-1 -l app=web";
    for command in ["get", "wait"] {
        let said = world.line(&format!("{command} {both}")).refusal(2);
        assert!(said.contains("--selector chooses among all endpoints"), "{said}");
    }
    for command in ["get", "wait", "watch"] {
        assert!(world.line(&format!("{command} hosts --vpc blue")).refusal(2).contains("--vpc"));
    }
    let said = world.line("wait endpoint blue/none --for deleted").expect(0);
    assert_eq!(said, "endpoint blue/none deleted\n");
}

#[test]
fn contexts_are_remembered() {
    let world = World::new();
    let set = "config set-context prod --controller https://c.example:6443 --ca /ca.crt";
    assert!(world.line(set).expect(0).starts_with("context prod made in "));
    let list = world.line("config get-contexts").expect(0);
    assert!(list.contains("*  prod  https://c.example:6443"), "{list}");
    assert!(world.line("config use-context prdo").refusal(3).contains("did you mean \"prod\"?"));
    let said = world.line("config set-context other").refusal(1);
    assert!(said.contains("--controller ADDRESS"), "{said}");
}

#[test]
fn every_shell_has_a_completion() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.line(&format!("completion {shell}")).expect(0);
        assert!(script.contains("cordon"), "{shell}");
    }
}
