//! `mizar lab …` and `mizar agent …` on a lab that is up.

use crate::world::{World, mizar, said};

#[test]
fn a_lab_shows_its_hosts_and_guests() {
    let Some(world) = World::new("status") else { return };
    let status = world.ask_json(&["lab", "status", &world.lab]);
    let of = |kind: &str, field: &str| -> Vec<String> {
        let rows = status[kind].as_array().unwrap().iter();
        rows.map(|row| row[field].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(of("hosts", "name"), ["h1", "h2", "h3", "h4"]);
    assert_eq!(of("guests", "state"), ["attached"; 5]);
    let table = world.ask(&["lab", "status", &world.lab]);
    assert!(table.starts_with(&format!("Lab {}: ready", world.lab)), "{table}");
    assert!(table.contains("red/only-red"), "{table}");
    assert!(world.ask(&["lab", "list"]).lines().any(|lab| lab == world.lab));

    let socket = status["hosts"][0]["socket"].as_str().unwrap();
    let agent = world.ask_json(&["agent", "status", "--socket", socket]);
    assert_eq!(agent["host"], "h1");
    assert_eq!(agent["ports"].as_array().unwrap().len(), 2);
    let agent = world.ask(&["agent", "status", "--socket", socket]);
    assert!(agent.starts_with("Host") && agent.contains("connected"), "{agent}");
    let counters = world.ask_json(&["agent", "counters", "--socket", socket]);
    assert!(counters[0]["hosts"]["h1"].is_object(), "{counters}");
}

#[test]
fn a_command_in_a_guest_ends_as_it_ends() {
    let Some(world) = World::new("exec") else { return };
    let exec = |target: &str, line: &str| world.exec(target, line);
    assert_eq!(exec("b", "false").status.code(), Some(1));
    let output = exec("blue/a", "busybox hostname -i");
    assert_ne!(output.status.code(), Some(127), "{}", said(&output));
    let quoted = mizar(&["lab", "exec", "--lab", &world.lab, "b", "--", "sh", "-c", "exit 7"]);
    assert_eq!(quoted.status.code(), Some(7));

    let missing = exec("h1", "no-such-program-anywhere");
    assert_eq!(missing.status.code(), Some(127));
    assert!(said(&missing).starts_with("error: cannot run no-such-program-anywhere: "));
    for (target, expected) in [("a", "blue/a, red/a"), ("zebra", "zebra")] {
        let output = exec(target, "true");
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).starts_with("error: ") && said(&output).contains(expected));
    }
    let nowhere = mizar(&["lab", "exec", "--lab", "no-such-lab", "b", "--", "true"]);
    assert!(said(&nowhere).contains("no lab named no-such-lab is up"), "{}", said(&nowhere));
}

#[test]
fn an_endpoint_that_is_applied_is_there_and_others_stay() {
    let Some(world) = World::new("apply") else { return };
    let file = world.with_endpoint("{name: new, host: h2, v4: 10.0.2.77}");
    world.ask(&["lab", "apply", file.to_str().unwrap()]);
    for address in ["10.0.2.77", "10.0.2.2"] {
        let ping = world.exec("blue/a", &format!("ping -n -c 1 -W 2 {address}"));
        assert!(ping.status.success(), "{address}: {}", said(&ping));
    }
    let wrong = world.with_endpoint("{name: new, host: h2, v4: 10.0.9.77}");
    let refused = mizar(&["lab", "apply", wrong.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("10.0.9.77"), "{}", said(&refused));
    let up_twice = mizar(&["lab", "up", file.to_str().unwrap()]);
    assert_eq!(up_twice.status.code(), Some(1), "{}", said(&up_twice));
}
