//! Scripts of manifests and events, with what becomes of them as text.
//!
//! A script in `golden/` has commands, one a line, each followed by what it answered. Run with
//! `MIZAR_BLESS=1` to write down anew what is answered.

use super::*;
use mizar_vpc::PortMigration;
use std::fmt::Write as _;
use std::path::Path;

/// Each line that begins with `> ` is a command; what follows it is its answer.
fn play(script: &str) -> String {
    let mut world = World::new();
    let mut text = String::new();
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(text, "{line}");
        } else if let Some(command) = line.strip_prefix("> ") {
            let answer = world.command(command);
            let _ = writeln!(text, "{line}");
            for line in answer.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    text
}

impl World {
    fn command(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "apply" => match self.try_write(vec![Change::Apply(manifest(rest))]) {
                Ok(written) => outcomes(&written),
                Err(refusal) => format!("{:?}: {}", refusal.kind, refusal.detail),
            },
            "delete" | "cascade" => {
                let (kind, path) = rest.split_once(' ').unwrap();
                let reference = match path.split_once('/') {
                    Some((vpc, text)) => Ref::in_vpc(kind.parse().unwrap(), name(vpc), name(text)),
                    None => Ref::global(kind.parse().unwrap(), name(path)),
                };
                match self.delete(reference, verb == "cascade") {
                    Ok(written) => outcomes(&written),
                    Err(refusal) => format!("{:?}: {}", refusal.kind, refusal.detail),
                }
            }
            "connect" => self.connect(&name(rest)).err().unwrap_or_default(),
            "disconnect" => {
                self.disconnect(&name(rest));
                String::new()
            }
            "settle" => {
                self.settle();
                self.check_rows();
                String::new()
            }
            "step" => {
                self.step(&name(rest), true);
                String::new()
            }
            "wait" => {
                self.wait(rest.parse().unwrap());
                String::new()
            }
            "restart" => {
                self.core = Core::load(Arc::clone(&self.store), self.time()).unwrap();
                self.hosts.values_mut().for_each(|host| host.stream = None);
                String::new()
            }
            "waits" => {
                let (host, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let reason = Some(reason.to_owned()).filter(|it| !it.is_empty());
                self.hosts.get_mut(&name(host)).unwrap().waits_for = reason;
                self.beat(&name(host));
                String::new()
            }
            "host" => self.host_conditions(rest),
            "slots" => self.slots(rest),
            "rows" => self.rows(rest),
            "status" => {
                let status = self.status(rest);
                let conditions = status.conditions.iter().filter(|it| !it.message.is_empty());
                let why: Vec<_> =
                    conditions.map(|it| format!("{}: {}", it.r#type, it.message)).collect();
                format!("{} {}", status.phase, why.join("; ")).trim_end().to_owned()
            }
            _ => panic!("no command {command}"),
        }
    }

    /// Whether a host can be counted on, and its conditions.
    fn host_conditions(&self, host: &str) -> String {
        let reference = Ref::global(Kind::Host, name(host));
        let found = self.core.get(&Identity::local(), &reference, self.time());
        let Ok(Manifest::Host(it)) = found else { return "none".to_owned() };
        let status = it.status.unwrap();
        let is_there = if status.connected { "connected" } else { "disconnected" };
        let conditions = status
            .conditions
            .iter()
            .map(|it| format!("\n{} {:?} {}: {}", it.r#type, it.status, it.reason, it.message));
        is_there.to_owned() + &conditions.collect::<String>()
    }

    /// Each holder of a network's slots, with how many it has in each state.
    fn slots(&self, network: &str) -> String {
        let reference = Ref::in_vpc(Kind::SlotMap, name("blue"), name(network));
        let found = self.core.get(&Identity::local(), &reference, self.time());
        let Ok(Manifest::SlotMap(map)) = found else { return "none".to_owned() };
        let status = map.status.unwrap();
        let holders = status.holders.iter().map(|(host, [filling, told, draining])| {
            format!("{host}: {filling} filling, {told} told, {draining} draining")
        });
        let former = status.former.iter().map(|host| format!("{host}: former"));
        let lines: Vec<_> = holders.chain(former).collect();
        format!("epoch {}\n{}", map.spec.epoch, lines.join("\n"))
    }

    /// What a host has of the VPC `blue`.
    fn rows(&self, host: &str) -> String {
        let vni = Vni::try_from(7).unwrap();
        let Some((_, rows)) = self.hosts[&name(host)].rows.get(&vni) else {
            return "nothing".to_owned();
        };
        let mut text = format!("dividers {:?}\n", rows.dividers);
        for (id, network) in &rows.networks {
            let hosts = &network.holders.hosts;
            let _ = writeln!(text, "network {id}: {:?} held by {hosts:?}", network.v4);
        }
        for (port, row) in &rows.ports {
            let migration = match row.migration {
                None => String::new(),
                Some(PortMigration::To(host)) => format!(", about to move to {host}"),
                Some(PortMigration::Here) => ", about to move here".to_owned(),
            };
            let (v4, v6, mac) = (row.v4, row.v6, row.mac);
            let _ = writeln!(text, "port {port}: {v4:?} {v6:?} {mac}{migration}");
        }
        for (address, row) in &rows.held {
            let _ = writeln!(text, "held {address}: {} at {}", row.host, row.generation);
        }
        text
    }
}

fn outcomes(written: &Written) -> String {
    let outcomes = written.outcomes.iter().map(|it| format!("{} {}", it.reference, it.effect));
    outcomes.collect::<Vec<_>>().join("\n")
}

#[test]
fn scripts_end_as_they_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core/tests/golden");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let played = play(&script);
        if std::env::var_os("MIZAR_BLESS").is_some() {
            std::fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(played, script, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 4, "the scripts are gone");
}
