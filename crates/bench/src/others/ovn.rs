//! OVN with its databases, its controller and its switch, all on this machine: how long a port
//! takes until it is up, in a logical switch with so many ports already.
//!
//! Only the new port is on this host; the others stand for those of other hosts. So this is what
//! one host has to do, beside the databases and northd, in a cloud with so many ports.

use crate::namespace::Namespace;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to come up, and a command to be done.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many ports are made by one command.
const BATCH: usize = 250;
/// The logical switch.
const SWITCH: &str = "net";

/// A running OVN, which ends with this value.
pub(crate) struct Ovn {
    host: Namespace,
    /// Where its packages are unpacked.
    root: PathBuf,
    /// Where its libraries are, below that.
    libraries: PathBuf,
    /// Its databases, sockets and logs.
    folder: PathBuf,
    daemons: Vec<Child>,
    ports: usize,
}

impl Ovn {
    /// Whether its packages are unpacked there.
    pub(crate) fn is_in(root: &Path) -> bool {
        root.join("usr/bin/ovn-northd").is_file()
    }

    /// Starts it, with a logical switch without ports.
    pub(crate) fn start(root: &Path, folder: &Path) -> Result<Self> {
        let libraries = std::fs::read_dir(root.join("usr/lib")).context("read OVN's libraries")?;
        let mut libraries = libraries.filter_map(|entry| Some(entry.ok()?.path()));
        let libraries = libraries
            .find(|path| path.join("libunbound.so.8").exists())
            .context("OVN's libraries are not beside it")?;
        let host = Namespace::new()?;
        let (root, folder) = (root.to_path_buf(), folder.to_path_buf());
        let mut ovn = Self { host, root, libraries, folder, daemons: Vec::new(), ports: 0 };
        for (name, schema, socket) in [
            ("nb", "ovn/ovn-nb", "ovnnb_db.sock"),
            ("sb", "ovn/ovn-sb", "ovnsb_db.sock"),
            ("conf", "openvswitch/vswitch", "db.sock"),
        ] {
            ovn.database(name, schema, socket)?;
        }
        let remote = |socket: &str| format!("unix:{}", ovn.folder.join(socket).display());
        let (north, south, conf) =
            (remote("ovnnb_db.sock"), remote("ovnsb_db.sock"), remote("db.sock"));
        let (to_north, to_south) = (format!("--ovnnb-db={north}"), format!("--ovnsb-db={south}"));
        ovn.daemon("usr/bin/ovn-northd", &[&to_north, &to_south])?;
        ovn.run("ovs-vsctl", &["--no-wait", "init"])?;
        ovn.daemon("usr/lib/openvswitch-switch/ovs-vswitchd", &["--disable-system", &conf])?;
        let bridge = "add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure";
        ovn.run("ovs-vsctl", &bridge.split(' ').collect::<Vec<_>>())?;
        let south = format!("external_ids:ovn-remote={south}");
        let rest = "external_ids:system-id=h1 external_ids:ovn-encap-type=geneve \
                    external_ids:ovn-encap-ip=127.0.0.1 \
                    external_ids:ovn-bridge-datapath-type=netdev";
        let settings = ["set", "open", ".", &south].into_iter().chain(rest.split_whitespace());
        ovn.run("ovs-vsctl", &settings.collect::<Vec<_>>())?;
        ovn.daemon("usr/bin/ovn-controller", &[&conf])?;
        ovn.run("ovn-nbctl", &["ls-add", SWITCH])?;
        ovn.settle()?;
        Ok(ovn)
    }

    /// Adds ports of other hosts until there are so many.
    pub(crate) fn fill(&mut self, ports: usize) -> Result<()> {
        while self.ports < ports {
            let mut words = Vec::new();
            let batch = self.ports..ports.min(self.ports + BATCH);
            self.ports = batch.end;
            for port in batch {
                let [high, low] = (port as u16).to_be_bytes();
                let (name, address) = (
                    format!("p{port}"),
                    format!("02:00:00:00:{high:02x}:{low:02x} 10.8.{high}.{low}"),
                );
                words.extend(["--", "lsp-add", SWITCH, &name].map(String::from));
                words.extend(["--", "lsp-set-addresses", &name, &address].map(String::from));
            }
            self.run("ovn-nbctl", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        self.settle()
    }

    /// Makes a port on this host and waits until it is up; how many milliseconds that took. The
    /// port is gone afterwards.
    pub(crate) fn create(&self) -> Result<f64> {
        let start = Instant::now();
        let add =
            "add-port br-int new -- set interface new type=internal external_ids:iface-id=new";
        self.run("ovs-vsctl", &add.split(' ').collect::<Vec<_>>())?;
        let address = "02:00:01:00:00:01 10.9.0.1";
        let add = ["lsp-add", SWITCH, "new", "--", "lsp-set-addresses", "new", address];
        self.run("ovn-nbctl", &add)?;
        self.run("ovn-nbctl", &["wait-until", "logical_switch_port", "new", "up=true"])?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.run("ovn-nbctl", &["lsp-del", "new"])?;
        self.run("ovs-vsctl", &["del-port", "new"])?;
        self.settle()?;
        Ok(took)
    }

    /// Waits until the host has everything.
    fn settle(&self) -> Result<()> {
        self.run("ovn-nbctl", &["--wait=hv", "sync"])
    }

    fn database(&mut self, name: &str, schema: &str, socket: &str) -> Result<()> {
        let file = self.folder.join(format!("{name}.db"));
        let schema = self.root.join("usr/share").join(format!("{schema}.ovsschema"));
        let paths = [&file, &schema].map(|path| path.display().to_string());
        self.run("ovsdb-tool", &["create", &paths[0], &paths[1]])?;
        let socket = self.folder.join(socket);
        let remote = format!("--remote=punix:{}", socket.display());
        let control = format!("--unixctl={}", self.folder.join(format!("{name}.ctl")).display());
        self.daemon("usr/sbin/ovsdb-server", &[&paths[0], &remote, &control])?;
        let start = Instant::now();
        while !socket.exists() {
            ensure!(start.elapsed() < PATIENCE, "OVN's database {name} does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let name = program.rsplit('/').next().unwrap_or(program);
        let log = File::create(self.folder.join(format!("{name}.log"))).context("create a log")?;
        let output = log.try_clone().context("share a log")?;
        // It ends when this process is killed, too.
        let mut command = self.host.command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(self.root.join(program)).args(arguments);
        self.surround(&mut command);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(log).spawn();
        self.daemons.push(child.with_context(|| format!("start {name}"))?);
        Ok(())
    }

    /// Runs one of the tools.
    fn run(&self, tool: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.host.command(self.root.join("usr/bin").join(tool));
        let database = if tool == "ovn-nbctl" { "ovnnb_db.sock" } else { "db.sock" };
        if tool != "ovsdb-tool" {
            command.arg(format!("--db=unix:{}", self.folder.join(database).display()));
            command.arg(format!("--timeout={}", PATIENCE.as_secs()));
        }
        self.surround(command.args(arguments));
        let output = command.output().with_context(|| format!("run {tool}"))?;
        if !output.status.success() {
            let problem = String::from_utf8_lossy(&output.stderr);
            let shown = arguments.iter().take(6).copied().collect::<Vec<_>>().join(" ");
            bail!("{tool} {shown} fails: {}", problem.trim());
        }
        Ok(())
    }

    /// Tells a program where everything is.
    fn surround(&self, command: &mut Command) {
        command.env("LD_LIBRARY_PATH", &self.libraries);
        for name in ["RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR"] {
            command.env(format!("OVS_{name}"), &self.folder);
            command.env(format!("OVN_{name}"), &self.folder);
        }
    }
}

impl Drop for Ovn {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
