//! The cloud that is shown: its guests, what runs in them, and what its hosts have counted.

use crate::lab::counters;
use anyhow::{Context, Result, anyhow, bail};
use mizar_lab::{GuestStatus, Status};
use mizar_proto::Counters;
use mizar_vpc::Vni;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// No program of a guest takes longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A cloud that is up.
#[derive(Debug)]
pub(super) struct World {
    pub(super) status: Status,
}

impl World {
    pub(super) fn new(status: Status) -> Self {
        Self { status }
    }

    /// Runs a program inside a host or guest to its end; what it wrote, if it succeeded.
    pub(super) async fn run(&self, target: &str, line: &[&str]) -> Result<String> {
        let mut command = self.command(target, line)?;
        let words = line.join(" ");
        let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
        let output = output.map_err(|_| anyhow!("`{words}` in {target} does not end"))?;
        let output = output.with_context(|| format!("cannot run `{words}`"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        bail!("`{words}` in {target} fails and says: {last}")
    }

    /// Runs a program that may need a server which is about to start.
    pub(super) async fn run_soon(&self, target: &str, line: &[&str]) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let result = self.run(target, line).await;
            if result.is_ok() || Instant::now() >= deadline {
                return result;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a program inside a host or guest. It ends with the lab.
    pub(super) fn start(&self, target: &str, line: &[&str]) -> Result<()> {
        let started = self.command(target, line)?.spawn();
        started.with_context(|| format!("cannot start `{}`", line.join(" "))).map(drop)
    }

    /// Pings an address; without an answer it is an error.
    pub(super) async fn ping(&self, from: &str, address: &str, count: u32) -> Result<()> {
        let count = count.to_string();
        let line = ["ping", "-n", "-i", "0.05", "-W", "2", "-c", &count, address];
        self.run(from, &line).await.map(drop)
    }

    /// A guest by its full name.
    pub(super) fn guest(&self, name: &str) -> Result<&GuestStatus> {
        let mut guests = self.status.guests.iter();
        let guest = guests.find(|guest| format!("{}/{}", guest.vpc, guest.name) == name);
        guest.ok_or_else(|| anyhow!("there is no guest {name}"))
    }

    pub(super) fn v4(&self, guest: &str) -> Result<Ipv4Addr> {
        self.guest(guest)?.v4.ok_or_else(|| anyhow!("{guest} has no IPv4 address"))
    }

    pub(super) fn v6(&self, guest: &str) -> Result<Ipv6Addr> {
        self.guest(guest)?.v6.ok_or_else(|| anyhow!("{guest} has no IPv6 address"))
    }

    /// A folder that goes when the lab goes.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.status.folder.join(name);
        let created = std::fs::create_dir_all(&folder);
        created.with_context(|| format!("cannot create {}", folder.display())).map(|()| folder)
    }

    /// What all hosts have counted.
    pub(super) async fn counted(&self) -> Result<Counted> {
        let mut hosts = BTreeMap::new();
        for (host, counters) in counters::of_hosts(&self.status).await {
            hosts.insert(host, counters?);
        }
        Ok(Counted { hosts })
    }

    fn command(&self, target: &str, line: &[&str]) -> Result<Command> {
        let (program, arguments) = line.split_first().context("there is no program to run")?;
        let mut command = Command::from(mizar_lab::command(&self.status.lab, target, program)?);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }
}

/// Counters of all hosts at one moment.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    hosts: BTreeMap<String, Counters>,
}

impl Counted {
    /// By how much a counter of a VPC has risen since then, by host, where it has.
    pub(super) fn since(&self, before: &Self, vni: Vni, name: &str) -> BTreeMap<String, u64> {
        let risen = self.hosts.keys().map(|host| {
            let (now, then) = (self.of(host, vni, name), before.of(host, vni, name));
            (host.clone(), now.saturating_sub(then))
        });
        risen.filter(|(_, packets)| *packets > 0).collect()
    }

    /// All counters of a VPC that have risen since then, by host.
    pub(super) fn risen(&self, before: &Self, vni: Vni) -> String {
        let hosts = self.hosts.iter().filter_map(|(host, counters)| {
            let risen = counters.vpcs.get(&vni)?.iter().filter_map(|(name, now)| {
                let more = now.saturating_sub(before.of(host, vni, name));
                (more > 0).then(|| format!("{name} {more}"))
            });
            let risen: Vec<_> = risen.collect();
            (!risen.is_empty()).then(|| format!("{host}: {}", risen.join(", ")))
        });
        let risen: Vec<_> = hosts.collect();
        if risen.is_empty() { "nothing".to_owned() } else { risen.join("; ") }
    }

    fn of(&self, host: &str, vni: Vni, name: &str) -> u64 {
        let packets = self.hosts.get(host).and_then(|counters| counters.vpcs.get(&vni));
        packets.and_then(|packets| packets.get(name)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(packets: u64) -> Counted {
        let vni = Vni::try_from(7).unwrap();
        let packets = BTreeMap::from([("bounced".to_owned(), packets)]);
        let counters = Counters { vpcs: BTreeMap::from([(vni, packets)]), ..Counters::default() };
        Counted { hosts: BTreeMap::from([("h1".to_owned(), counters)]) }
    }

    #[test]
    fn only_what_has_risen_since_counts() {
        let vni = Vni::try_from(7).unwrap();
        let risen = counted(5).since(&counted(3), vni, "bounced");
        assert_eq!(risen, BTreeMap::from([("h1".to_owned(), 2)]));
        assert!(counted(5).since(&counted(5), vni, "bounced").is_empty());
        assert!(counted(5).since(&counted(3), vni, "divided").is_empty());
        assert_eq!(counted(5).risen(&counted(3), vni), "h1: bounced 2");
        assert_eq!(counted(5).risen(&counted(5), vni), "nothing");
    }
}
