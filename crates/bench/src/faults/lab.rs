//! The lab that things happen to, and its guests.

use crate::namespace::Namespace;
use anyhow::{Context, Result, bail, ensure};
use mizar_agent::kernel::{Maps, Pins};
use mizar_lab::{GuestStatus, HostStatus, Options, Status, Topology};
use mizar_packet::count::{Counter, PER_VPC, Path as Way};
use mizar_packet::tables::LAYOUT;
use std::fs::Permissions;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The VPC's number.
const VNI: u32 = 7;
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab that is removed when this goes.
pub(super) struct Lab {
    pub(super) name: String,
    pub(super) runtime: Runtime,
    executable: PathBuf,
    folder: TempDir,
    status: Status,
}

impl Lab {
    /// Five hosts. In the network `front`, for which h2 and h3 bounce, `a` on h1 talks to `b`, `r`
    /// and the others on h4; `c` is on h5.
    pub(super) fn new(fresh: usize) -> Result<Self> {
        mizar_lab::check_root()?;
        let folder = tempfile::tempdir().context("create a folder")?;
        let name = format!("bench-{}", std::process::id());
        let file = folder.path().join("cloud.yaml");
        std::fs::write(&file, topology(&name, fresh)).context("write the topology")?;
        let topology = Topology::read(&file)?;
        let runtime = Runtime::new().context("start a runtime")?;
        let options = Options::new().context("find this program")?;
        let executable = options.executable.clone();
        let status = runtime.block_on(mizar_lab::up(&topology, &options, |_| {}))?;
        Ok(Self { name, runtime, executable, folder, status })
    }

    /// The path of a guest's namespace.
    pub(super) fn netns(&self, name: &str) -> Result<PathBuf> {
        Ok(self.find(name)?.namespace.clone())
    }

    fn find(&self, name: &str) -> Result<&GuestStatus> {
        let guest = self.status.guests.iter().find(|guest| guest.name == name);
        guest.with_context(|| format!("there is no guest {name}"))
    }

    /// A guest's namespace and address.
    pub(super) fn guest(&self, name: &str) -> Result<(Namespace, Ipv4Addr)> {
        let guest = self.find(name)?;
        let v4 = guest.v4.with_context(|| format!("guest {name} has no address"))?;
        Ok((Namespace::open(&guest.namespace)?, v4))
    }

    /// Another namespace for a guest; its path.
    pub(super) fn namespace(&self, name: &str) -> Result<PathBuf> {
        let (vpc, name) = ("blue".parse()?, name.parse()?);
        let made = self.runtime.block_on(mizar_lab::add_guest(&self.name, &vpc, &name))?;
        match made {
            mizar_vpc::Attachment::Veth { netns, .. } => Ok(netns),
            mizar_vpc::Attachment::Host { .. } => bail!("a guest is no host"),
        }
    }

    /// Asks the lab's controller by a command of this program; what that prints.
    pub(super) fn asks(&self, words: &[&str], manifest: Option<&str>) -> Result<String> {
        let controller = format!("unix:{}", self.status.controller.socket.display());
        let mut command = Command::new(&self.executable);
        command.args(words).args(["--controller", &controller]);
        if let Some(manifest) = manifest {
            let file = self.folder.path().join("manifest.yaml");
            std::fs::write(&file, manifest)?;
            command.arg("-f").arg(file);
        }
        let output = command.stdin(Stdio::null()).output().context("run this program")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?} fails: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Cuts a host off from all others, or joins it again: its number counts from 1.
    pub(super) fn cut(&self, host: u8, cut: bool) -> Result<()> {
        let fabric = PathBuf::from(format!("/run/netns/mz-{}.fabric", self.name));
        let state = if cut { "down" } else { "up" };
        Namespace::open(&fabric)?.run(&format!("ip link set host{} {state}", host - 1))?;
        Ok(())
    }

    pub(super) fn kill_agent(&self, host: &str) -> Result<()> {
        let status = self.look()?;
        let found = status.hosts.iter().find(|it| it.name == host);
        kill(found.and_then(|host| host.agent))
    }

    pub(super) fn kill_controller(&self) -> Result<()> {
        kill(self.look()?.controller.process)
    }

    pub(super) fn start_controller(&self) -> Result<()> {
        let _entered = self.runtime.enter();
        Ok(mizar_lab::start_controller(&self.name, &self.executable)?)
    }

    pub(super) fn stop_agent(&self, host: &str) -> Result<()> {
        Ok(self.runtime.block_on(mizar_lab::stop_agent(&self.name, host))?)
    }

    pub(super) fn start_agent(&self, host: &str) -> Result<()> {
        self.start_agent_of(host, &self.executable)
    }

    /// The same with another file of this program.
    pub(super) fn start_other_agent(&self, host: &str) -> Result<()> {
        let copy = self.folder.path().join("mizar");
        if !copy.exists() {
            std::fs::copy(&self.executable, &copy).context("copy this program")?;
        }
        self.start_agent_of(host, &copy)
    }

    /// The same with this program, and with tables of another layout than those that are there.
    pub(super) fn start_agent_of_another_layout(&self, host: &str) -> Result<()> {
        let has = |layout: u32| Ok::<_, anyhow::Error>(self.tables(host, layout)?.exists());
        let (old, new) = match has(LAYOUT)? {
            true => (LAYOUT, LAYOUT + 1),
            false => (LAYOUT + 1, LAYOUT),
        };
        let script = self.folder.path().join(format!("mizar-{new}"));
        let executable = self.executable.display();
        std::fs::write(&script, format!("#!/bin/sh\nexec {executable} \"$@\" --layout {new}\n"))?;
        std::fs::set_permissions(&script, Permissions::from_mode(0o755))?;
        self.start_agent_of(host, &script)?;
        let deadline = Instant::now() + PATIENCE;
        while has(old)? {
            ensure!(Instant::now() < deadline, "{host} does not come to layout {new}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// How many packets of the VPC a host has sent direct, and to bouncers.
    pub(super) fn ways(&self, host: &str) -> Result<[u64; 2]> {
        let layout = if self.tables(host, LAYOUT)?.exists() { LAYOUT } else { LAYOUT + 1 };
        let maps = Maps::open(Pins::of_layout(&self.host(host)?.pins, layout))?;
        let vpc = maps.vpcs.get(&VNI)?.context("the host knows nothing of the VPC")?.index;
        let sum = |way| maps.counters.sum(vpc * PER_VPC + Counter::Path(way).row());
        Ok([sum(Way::SentDirect)?, sum(Way::SentToBouncer)?])
    }

    fn tables(&self, host: &str, layout: u32) -> Result<PathBuf> {
        Ok(self.host(host)?.pins.join(format!("v{layout}")))
    }

    fn host(&self, name: &str) -> Result<&HostStatus> {
        let host = self.status.hosts.iter().find(|host| host.name == name);
        host.with_context(|| format!("there is no host {name}"))
    }

    fn start_agent_of(&self, host: &str, executable: &Path) -> Result<()> {
        let _entered = self.runtime.enter();
        Ok(mizar_lab::start_agent(&self.name, host, executable)?)
    }

    /// Waits until a network's slots are with those who shall have them.
    pub(super) fn settles(&self, network: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.asks(&["get", "network", network, "-o", "json"], None)?;
            let found: serde_json::Value = serde_json::from_str(&text)?;
            // One resource, or a list of one.
            let one = found.get("items").and_then(|items| items.get(0)).unwrap_or(&found);
            if one["status"]["settled"] == true {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the slots of {network} do not come to rest");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every host stands where its controller wants it.
    pub(super) fn becomes_ready(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.look()?;
            if status.is_ready() {
                return Ok(());
            }
            let missing = status.missing().join("; ");
            ensure!(Instant::now() < deadline, "the lab does not become ready: {missing}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn look(&self) -> Result<Status> {
        Ok(self.runtime.block_on(mizar_lab::status(&self.name))?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(mizar_lab::down(&self.name));
    }
}

/// Kills a process; it is gone when this returns.
fn kill(pid: Option<i32>) -> Result<()> {
    let pid = pid.context("it does not run")?;
    let process = rustix::process::Pid::from_raw(pid).context("a process id of 0")?;
    rustix::process::kill_process(process, rustix::process::Signal::KILL).context("kill it")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn topology(name: &str, fresh: usize) -> String {
    let fresh = (0..fresh).map(|n| format!(", {{name: n{n}, host: h4, v4: 10.0.1.{}}}", 100 + n));
    format!(
        "lab: {name}\nunderlay: {{mtu: 1500}}\nhosts: 5\nvpcs:\n- name: blue\n  vni: {VNI}\n  \
         dividers: [h2, h3]\n  networks:\n  - name: front\n    v4: 10.0.1.0/24\n    bouncers: [h2, \
         h3]\n    endpoints: [{{name: a, host: h1, v4: 10.0.1.2}}, {{name: b, host: h4, v4: \
         10.0.1.3}}, {{name: c, host: h5, v4: 10.0.1.4}}, {{name: r, host: h4, v4: 10.0.1.5}}{}]\n",
        fresh.collect::<String>()
    )
}
