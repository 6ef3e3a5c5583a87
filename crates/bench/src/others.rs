//! What it takes others to connect one guest to its host, beside which `provision` is seen: ten
//! `ip` commands in a row, and the reference CNI plugin `bridge`. Neither tells any other host of
//! it.
//!
//! A baseline that is not installed is left out, and that is said: `cargo xtask setup` does not
//! install it.

use crate::Effort;
use crate::cloud::mount_pins;
use crate::fleet::note;
use crate::namespace::Namespace;
use crate::report::Measurement;
use crate::statistics::middle;
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// All figures.
pub(crate) const IDS: &[&str] = &["provision.others.ip_ms", "provision.others.cni_bridge_ms"];

/// Where plugins may be.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Measures the figures that are wanted, as far as what they are of is installed.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let rounds = if effort.quick { 10 } else { 50 };
    let folder = tempfile::tempdir().context("create a folder")?;
    // `ip netns` makes mounts, which nobody else shall see.
    mount_pins(folder.path())?;
    let host = Namespace::new()?;
    host.run("ip link add bench0 type bridge; ip link set bench0 up")?;
    let plugins = PLUGINS.iter().map(PathBuf::from).find(|it| it.join("bridge").is_file());
    if plugins.is_none() {
        note("SKIPPED: the CNI plugin bridge is not here (Debian: containernetworking-plugins)");
    }
    note("SKIPPED: OVN, which would have to run its databases and switch on this machine");
    let (mut by_ip, mut by_cni) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        by_ip.push(host.inside(|| ip(round))?);
        if let Some(plugins) = &plugins {
            let guest = Namespace::bare()?;
            by_cni.push(host.inside(|| cni(plugins, folder.path(), &guest, round))?);
        }
    }
    let figures =
        IDS.iter().zip([by_ip, by_cni]).filter(|(id, times)| ids.contains(id) && !times.is_empty());
    let figures = figures.map(|(id, times)| {
        let middle = middle(&times);
        let (value, spread) = (middle.median, middle.spread);
        Measurement { id, value, unit: "ms", bar: None, baseline: None, spread }
    });
    Ok(figures.collect())
}

/// Ten commands; how many milliseconds they take.
fn ip(round: usize) -> Result<f64> {
    let guest = format!("mizar-bench-{round}");
    let [high, low] = (round as u16 + 2).to_be_bytes();
    let commands = [
        format!("netns add {guest}"),
        format!("link add g{round} type veth peer name eth0 netns {guest}"),
        format!("-n {guest} link set eth0 address 02:00:00:00:{high:02x}:{low:02x}"),
        format!("-n {guest} link set eth0 mtu 1426"),
        format!("-n {guest} addr add 10.8.{high}.{low}/16 dev eth0"),
        format!("-n {guest} link set lo up"),
        format!("-n {guest} link set eth0 up"),
        format!("-n {guest} route add default via 10.8.0.1"),
        format!("link set g{round} master bench0"),
        format!("link set g{round} up"),
    ];
    let start = Instant::now();
    for command in &commands {
        let output = Command::new("ip").args(command.split(' ')).output().context("run ip")?;
        let problem = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {command} fails: {problem}");
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// The plugin is called as a container runtime does; how many milliseconds that takes.
fn cni(plugins: &Path, folder: &Path, guest: &Namespace, round: usize) -> Result<f64> {
    let config = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "bench",
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.9.0.0/16", "dataDir": folder},
    });
    let start = Instant::now();
    let mut plugin = Command::new(plugins.join("bridge"))
        .env("CNI_COMMAND", "ADD")
        .env("CNI_CONTAINERID", format!("guest-{round}"))
        .env("CNI_NETNS", guest.path())
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", plugins)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run the plugin")?;
    let mut input = plugin.stdin.take().context("the plugin has no input")?;
    input.write_all(config.to_string().as_bytes()).context("configure the plugin")?;
    drop(input);
    let output = plugin.wait_with_output().context("wait for the plugin")?;
    let answer = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the plugin fails: {answer}");
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
