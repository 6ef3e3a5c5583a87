//! Programs of a fleet that run as they do in earnest: a controller with its store, and agents.

use crate::cloud::program;
use crate::namespace::Namespace;
use anyhow::{Context, Result, bail};
use mizar_controller::client::Client;
use mizar_identity::Connector;
use mizar_vpc::{Kind, Name, Ref};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to come or go.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether a controller answers.
const GLANCE: Duration = Duration::from_millis(5);

/// A program that ends with this value.
pub(crate) struct Running(Child);

/// Starts a controller, whose store is in a folder; the time until it answers.
pub(crate) async fn controller(folder: &Path) -> Result<(Running, Duration)> {
    let start = Instant::now();
    let mut command = Command::new(program()?);
    command.arg("controller").arg("--data").arg(folder.join("data"));
    command.arg("--socket").arg(socket(folder));
    let mut running = Running::start(command, &folder.join("controller.log"))?;
    let client = Client::new(Connector::local(&socket(folder)));
    let fleet = Ref::global(Kind::Fleet, "fleet".parse()?);
    while start.elapsed() < PATIENCE {
        match client.get(&fleet).await {
            Ok(_) => return Ok((running, start.elapsed())),
            Err(error) if error.is_not_found() => return Ok((running, start.elapsed())),
            Err(_) => tokio::time::sleep(GLANCE).await,
        }
        if let Some(status) = running.0.try_wait().context("look at the controller")? {
            let log = std::fs::read_to_string(folder.join("controller.log")).unwrap_or_default();
            bail!("the controller ends ({status}); its log:\n{log}");
        }
    }
    bail!("the controller does not answer within {PATIENCE:?}")
}

/// Where a controller listens.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("controller.sock")
}

/// Starts the agent of a host with room for so many addresses.
pub(crate) fn agent(folder: &Path, host: &str, inside: &Namespace, rows: u32) -> Result<Running> {
    let mut command = inside.command(program()?);
    command.args(["agent", "--host", host, "--instance", host, "--nic", "nic"]);
    command.arg("--rows").arg(format!("endpoints={rows}"));
    command.arg("--controller").arg(format!("unix:{}", socket(folder).display()));
    command.arg("--socket").arg(folder.join(format!("{host}.sock")));
    command.arg("--pins").arg(folder.join("bpf").join(host));
    Running::start(command, &folder.join(format!("{host}.log")))
}

/// How many updates the agent of a host has applied.
pub(crate) fn updates(folder: &Path, host: &Name) -> Result<u64> {
    const METRIC: &str = "mizar_agent_updates_total{outcome=\"applied\"} ";
    let mut command = Command::new(program()?);
    command.args(["agent", "metrics", "--socket"]).arg(folder.join(format!("{host}.sock")));
    let output = command.output().context("ask an agent for its metrics")?;
    let metrics = String::from_utf8_lossy(&output.stdout);
    let count = metrics.lines().find_map(|line| line.strip_prefix(METRIC));
    let count = count.with_context(|| {
        format!("{host} says nothing of updates: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    count.parse().with_context(|| format!("{host} has applied {count:?} updates"))
}

impl Running {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log = File::create(log).context("create a log")?;
        let output = log.try_clone().context("share a log")?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(log).spawn();
        Ok(Self(child.context("start mizar")?))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Stops it where it is, so that it says nothing any more and its connections stand.
    pub(crate) fn freeze(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::STOP).context("stop a program")
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::CONT).context("let a program go on")
    }

    /// Asks it to end, and waits.
    pub(crate) fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).context("ask a program to end")?;
        self.0.wait().context("wait for a program's end").map(drop)
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn crash(mut self) -> Result<()> {
        self.0.kill().context("kill a program")?;
        self.0.wait().context("wait for a program's end").map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it has set up is in namespaces and mounts that end with this process.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
