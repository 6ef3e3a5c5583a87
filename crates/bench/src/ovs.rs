//! Programs of Open vSwitch, and of OVN, which is made of them, as Debian packages them: run in one
//! namespace from where their packages are unpacked, with files of their own.

use crate::namespace::Namespace;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a daemon may take to come up, and a command to be done.
const PATIENCE: Duration = Duration::from_secs(60);
/// The switch, below the root folder.
const SWITCH: &str = "usr/lib/openvswitch-switch/ovs-vswitchd";

/// Programs that run, and end with this value.
pub(crate) struct Programs {
    host: Namespace,
    /// Where the packages are unpacked.
    root: PathBuf,
    /// Where the libraries are, below that.
    libraries: PathBuf,
    /// By the names of their files.
    daemons: Vec<(String, Child)>,
    /// Databases, sockets and logs.
    folder: TempDir,
}

impl Programs {
    /// Whether a switch's packages are unpacked there.
    pub(crate) fn are_in(root: &Path) -> bool {
        root.join(SWITCH).is_file() && root.join("usr/bin/ovs-vsctl").is_file()
    }

    /// None that run, on a host.
    pub(crate) fn new(root: &Path, host: Namespace) -> Result<Self> {
        let libraries = std::fs::read_dir(root.join("usr/lib")).context("read the libraries")?;
        let mut libraries = libraries.filter_map(|entry| Some(entry.ok()?.path()));
        let libraries = libraries
            .find(|path| path.join("libunbound.so.8").exists())
            .context("the libraries of OVS are not beside it")?;
        let folder = tempfile::tempdir().context("create a folder")?;
        Ok(Self { host, root: root.to_path_buf(), libraries, daemons: Vec::new(), folder })
    }

    /// Starts a switch, which forwards in user space.
    pub(crate) fn start_switch(&mut self) -> Result<()> {
        self.database("conf", "openvswitch/vswitch", "db.sock")?;
        self.run("ovs-vsctl", &["--no-wait", "init"])?;
        self.daemon(SWITCH, &["--disable-system", &self.remote("db.sock")])
    }

    /// The process of the switch, if one was started.
    pub(crate) fn switch(&self) -> Option<u32> {
        let (_, child) = self.daemons.iter().find(|(name, _)| SWITCH.ends_with(name))?;
        Some(child.id())
    }

    /// How a database is named to whoever wants to reach it.
    pub(crate) fn remote(&self, socket: &str) -> String {
        format!("unix:{}", self.folder.path().join(socket).display())
    }

    /// Starts a database that is reached by a socket of this name.
    pub(crate) fn database(&mut self, name: &str, schema: &str, socket: &str) -> Result<()> {
        let file = self.folder.path().join(format!("{name}.db"));
        let schema = self.root.join("usr/share").join(format!("{schema}.ovsschema"));
        let paths = [&file, &schema].map(|path| path.display().to_string());
        self.run("ovsdb-tool", &["create", &paths[0], &paths[1]])?;
        let socket = self.folder.path().join(socket);
        let remote = format!("--remote=punix:{}", socket.display());
        let control =
            format!("--unixctl={}", self.folder.path().join(format!("{name}.ctl")).display());
        self.daemon("usr/sbin/ovsdb-server", &[&paths[0], &remote, &control])?;
        let start = Instant::now();
        while !socket.exists() {
            ensure!(start.elapsed() < PATIENCE, "the database {name} does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts one of the daemons, with the name of its file below the root folder.
    pub(crate) fn daemon(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let name = program.rsplit('/').next().unwrap_or(program);
        let log =
            File::create(self.folder.path().join(format!("{name}.log"))).context("create a log")?;
        let output = log.try_clone().context("share a log")?;
        // It ends when this process is killed, too.
        let mut command = self.host.command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(self.root.join(program)).args(arguments);
        self.surround(&mut command);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(log).spawn();
        self.daemons.push((name.to_owned(), child.with_context(|| format!("start {name}"))?));
        Ok(())
    }

    /// Runs one of the tools.
    pub(crate) fn run(&self, tool: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.host.command(self.root.join("usr/bin").join(tool));
        let database = match tool {
            "ovn-nbctl" => Some("ovnnb_db.sock"),
            "ovs-vsctl" => Some("db.sock"),
            _ => None,
        };
        command.args(database.map(|socket| format!("--db={}", self.remote(socket))));
        if tool != "ovsdb-tool" {
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
            command.env(format!("OVS_{name}"), self.folder.path());
            command.env(format!("OVN_{name}"), self.folder.path());
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for (_, daemon) in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
