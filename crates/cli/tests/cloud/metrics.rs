//! What agents and the controller tell Prometheus, checked by Prometheus's own checker.

use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn an_agent_and_the_controller_say_what_the_dashboard_shows_and_promtool_finds_nothing_wrong() {
    let Some(world) = World::new("metrics") else { return };
    assert!(world.exec("blue/a", "ping -n -c 1 10.0.1.3").status.success());
    let status = world.ask_json(&["lab", "status", &world.lab]);
    let agent = status["hosts"][0]["socket"].as_str().unwrap();
    let agent = world.ask(&["agent", "metrics", "--socket", agent]);
    assert!(agent.contains("mizar_packets_total{vni=\"7\""), "{agent}");

    let settings = world.ask(&["lab", "env", &world.lab]);
    let (_, socket) = settings.split_once("unix:").unwrap();
    let socket = socket.trim_end_matches(['\n', '\'', '"']);
    let curl = ["-sS", "--fail", "--unix-socket", socket, "http://localhost/metrics"];
    let controller = Command::new("curl").args(curl).output().unwrap();
    assert!(controller.status.success(), "{controller:?}");
    let controller = String::from_utf8(controller.stdout).unwrap();
    assert!(controller.contains("mizar_controller_endpoints 5"), "{controller}");

    let series: BTreeSet<_> = agent.lines().chain(controller.lines()).filter_map(name).collect();
    let dashboard = serde_json::from_str(include_str!("../../../../docs/grafana.json")).unwrap();
    let shown = names(&dashboard);
    assert!(shown.len() >= 20, "{shown:?}");
    for name in &shown {
        assert!(series.contains(&**name), "docs/grafana.json: nobody says {name}: {series:?}");
    }

    // `cargo xtask test --full` unpacks it.
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("SKIPPED: needs promtool, of Debian's package prometheus");
        return;
    }
    check(&agent);
    check(&controller);
}

/// The name of a line's series.
fn name(line: &str) -> Option<&str> {
    line.split(['{', ' ']).next().filter(|name| name.starts_with("mizar_"))
}

/// All names of metrics in the texts of a document.
fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            words.filter(|word| word.starts_with("mizar_")).map(str::to_owned).collect()
        }
        Value::Array(values) => values.iter().flat_map(names).collect(),
        Value::Object(members) => members.values().flat_map(names).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => BTreeSet::new(),
    }
}

fn check(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}
