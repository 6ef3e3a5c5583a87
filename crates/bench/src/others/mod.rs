//! What it takes others to connect one guest, beside which `provision` is seen: ten `ip` commands
//! in a row and the reference CNI plugin `bridge`, of which neither tells any other host of it, and
//! OVN, as its network grows.
//!
//! `cargo xtask bench` unpacks them beside what it builds; one that is not there is left out, and
//! that is said.

mod ovn;

use crate::Effort;
use crate::cloud::mount_pins;
use crate::cpu;
use crate::fleet::note;
use crate::namespace::Namespace;
use crate::report::Measurement;
use crate::statistics::middle;
use anyhow::{Context, Result, ensure};
use ovn::Ovn;
use rustix::mount::{MountFlags, mount};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// All figures.
pub(crate) const IDS: &[&str] = &[
    "provision.others.ip_ms",
    "provision.others.cni_bridge_ms",
    "provision.others.ip_cpu_ms",
    "provision.others.cni_bridge_cpu_ms",
    "provision.others.ovn_ms.10",
    "provision.others.ovn_ms.1000",
    "provision.others.ovn_ms.5000",
];

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";

/// How many ports OVN's network has, in the order of the figures.
const PORTS: [usize; 3] = [10, 1_000, 5_000];

/// Measures the figures that are wanted, as far as what they are of is installed.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let folder = tempfile::tempdir().context("create a folder")?;
    // `ip netns` makes files and mounts, which nobody else shall see, and which end with this.
    mount_pins(folder.path())?;
    std::fs::create_dir_all(NAMES).with_context(|| format!("create {NAMES}"))?;
    mount("netns", NAMES, "tmpfs", MountFlags::empty(), None)
        .with_context(|| format!("mount something empty at {NAMES}"))?;
    let peers = peers()?;
    let mut times = Vec::new();
    let (one_host, ovn) = IDS.split_at(4);
    if one_host.iter().any(|id| ids.contains(id)) {
        times.extend(one_host.iter().copied().zip(on_one_host(&peers, folder.path(), effort)?));
    }
    let sizes = ovn.iter().copied().zip(PORTS).filter(|(id, _)| ids.contains(id));
    let sizes: Vec<_> = sizes.collect();
    if !sizes.is_empty() {
        times.extend(in_ovn(&peers, &sizes, effort)?);
    }
    let figures = times.iter().filter(|(id, times)| ids.contains(id) && !times.is_empty());
    let figures = figures.map(|(id, times)| {
        let middle = middle(times);
        let (value, spread) = (middle.median, middle.spread);
        Measurement { id, value, unit: "ms", bar: None, baseline: None, spread }
    });
    Ok(figures.collect())
}

/// The folder where `cargo xtask` has unpacked programs of others, as if it were the root folder;
/// that itself, if this program is in no such place.
pub(crate) fn peers() -> Result<PathBuf> {
    let program = crate::cloud::program()?;
    let target = program.ancestors().nth(2).map(|target| target.join("peers"));
    Ok(target.filter(|peers| peers.is_dir()).unwrap_or_else(|| PathBuf::from("/")))
}

/// The times of `ip` and of the plugin, in turn, and the CPU time that they spend on all guests,
/// for each.
fn on_one_host(peers: &Path, folder: &Path, effort: Effort) -> Result<[Vec<f64>; 4]> {
    let rounds = if effort.quick { 10 } else { 50 };
    let host = Namespace::new()?;
    host.run("ip link add bench0 type bridge; ip link set bench0 up")?;
    let plugins = peers.join("usr/lib/cni");
    let has_plugin = plugins.join("bridge").is_file();
    if !has_plugin {
        note("SKIPPED: the CNI plugin bridge is not here (Debian: containernetworking-plugins)");
    }
    let (mut ip_times, mut cni_times, mut spent) = (Vec::new(), Vec::new(), [0.0; 2]);
    for round in 0..rounds {
        let before = cpu::of_children()?;
        ip_times.push(host.inside(|| ip(round))?);
        let between = cpu::of_children()?;
        if has_plugin {
            let guest = Namespace::bare()?;
            cni_times.push(host.inside(|| cni(&plugins, folder, &guest, round))?);
        }
        spent[0] += between - before;
        spent[1] += cpu::of_children()? - between;
    }
    let each = |times: &[f64], spent: f64| vec![spent / rounds as f64; times.len().min(1)];
    let (ip_cpu, cni_cpu) = (each(&ip_times, spent[0]), each(&cni_times, spent[1]));
    Ok([ip_times, cni_times, ip_cpu, cni_cpu])
}

/// The times of OVN at each size; its network only grows, so they cannot take turns.
fn in_ovn(
    peers: &Path,
    sizes: &[(&'static str, usize)],
    effort: Effort,
) -> Result<Vec<(&'static str, Vec<f64>)>> {
    if !Ovn::is_in(peers) {
        note("SKIPPED: OVN is not here (Debian: ovn-central, ovn-host)");
        return Ok(Vec::new());
    }
    let rounds = if effort.quick { 3 } else { 20 };
    let mut ovn = Ovn::start(peers)?;
    let mut times = Vec::new();
    for (id, ports) in sizes {
        ovn.fill(*ports)?;
        times.push((*id, (0..rounds).map(|_| ovn.create()).collect::<Result<_>>()?));
    }
    Ok(times)
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
