//! What agents and the controller tell Prometheus, checked by Prometheus's own checker.

use crate::world::World;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn promtool_finds_nothing_wrong_with_what_an_agent_and_the_controller_say() {
    // `cargo xtask test --full` unpacks it.
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("SKIPPED: needs promtool, of Debian's package prometheus");
        return;
    }
    let Some(world) = World::new("metrics") else { return };
    assert!(world.exec("blue/a", "ping -n -c 1 10.0.1.3").status.success());
    let status = world.ask_json(&["lab", "status", &world.lab]);
    let agent = status["hosts"][0]["socket"].as_str().unwrap();
    let agent = world.ask(&["agent", "metrics", "--socket", agent]);
    assert!(agent.contains("mizar_packets_total{vni=\"7\""), "{agent}");
    check(&agent);

    let settings = world.ask(&["lab", "env", &world.lab]);
    let (_, socket) = settings.split_once("unix:").unwrap();
    let socket = socket.trim_end_matches(['\n', '\'', '"']);
    let curl = ["-sS", "--fail", "--unix-socket", socket, "http://localhost/metrics"];
    let controller = Command::new("curl").args(curl).output().unwrap();
    assert!(controller.status.success(), "{controller:?}");
    let controller = String::from_utf8(controller.stdout).unwrap();
    assert!(controller.contains("mizar_controller_endpoints 5"), "{controller}");
    check(&controller);
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
