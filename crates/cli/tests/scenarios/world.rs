//! A lab of one test: real hosts and agents, and guests whose programs are threads of the test.

use crate::place::Place;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A lab that is up, and removed when this goes.
pub(crate) struct World {
    pub(crate) lab: String,
    underlay: String,
    folder: tempfile::TempDir,
    status: Status,
}

/// `mizar lab status -o json`, as far as it matters here.
#[derive(Default, Deserialize)]
struct Status {
    controller: Controller,
    hosts: Vec<Host>,
    guests: Vec<Guest>,
}

/// The lab's controller.
#[derive(Clone, Debug, Default, Deserialize)]
struct Controller {
    process: Option<i32>,
    socket: PathBuf,
    log: PathBuf,
}

/// A host.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) underlay: Ipv4Addr,
    pub(crate) namespace: PathBuf,
    pub(crate) agent: Option<i32>,
    pub(crate) log: PathBuf,
    pub(crate) pins: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) nic_mode: Option<String>,
}

/// A guest.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Guest {
    pub(crate) vpc: String,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) namespace: PathBuf,
    pub(crate) interface: String,
    pub(crate) mac: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

impl Host {
    pub(crate) fn place(&self) -> Place {
        Place::new(&self.namespace)
    }
}

impl Guest {
    pub(crate) fn place(&self) -> Place {
        Place::new(&self.namespace)
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        let mut mac = [0; 6];
        for (byte, text) in mac.iter_mut().zip(self.mac.split(':')) {
            *byte = u8::from_str_radix(text, 16).unwrap();
        }
        mac
    }

    /// Its addresses of both families.
    pub(crate) fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

impl World {
    /// A lab of this topology, without its name, on wires of 1500 bytes; nothing, loudly, without
    /// root.
    pub(crate) fn new(name: &str, topology: &str) -> Option<Self> {
        Self::with_underlay(name, "{mtu: 1500}", topology)
    }

    /// The same on another underlay.
    pub(crate) fn with_underlay(name: &str, underlay: &str, topology: &str) -> Option<Self> {
        if !is_root() {
            println!("SKIPPED: needs root");
            return None;
        }
        let mut world = Self {
            lab: format!("sc-{name}-{}", std::process::id()),
            underlay: underlay.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            status: Status::default(),
        };
        let file = world.file(topology);
        mizar(&["lab", "up", file.to_str().unwrap()]);
        world.look();
        Some(world)
    }

    /// Makes the lab what a topology says.
    pub(crate) fn apply(&mut self, topology: &str) {
        let file = self.file(topology);
        mizar(&["lab", "apply", file.to_str().unwrap()]);
        self.look();
    }

    /// Reads the lab's status again.
    pub(crate) fn look(&mut self) {
        let json = mizar(&["lab", "status", &self.lab, "-o", "json"]);
        self.status = serde_json::from_str(&json).unwrap();
    }

    /// A guest by its full name, as `blue/a`.
    pub(crate) fn guest(&self, name: &str) -> &Guest {
        let (vpc, short) = name.split_once('/').unwrap();
        let mut guests = self.status.guests.iter();
        guests.find(|guest| guest.vpc == vpc && guest.name == short).unwrap()
    }

    pub(crate) fn guests(&self) -> &[Guest] {
        &self.status.guests
    }

    pub(crate) fn host(&self, name: &str) -> &Host {
        self.status.hosts.iter().find(|host| host.name == name).unwrap()
    }

    /// The names of all hosts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.status.hosts.iter().map(|host| host.name.clone()).collect()
    }

    /// Where the lab's controller listens.
    pub(crate) fn controller_socket(&self) -> PathBuf {
        self.status.controller.socket.clone()
    }

    /// The namespace that joins the hosts.
    pub(crate) fn fabric(&self) -> Place {
        Place::new(&PathBuf::from(format!("/run/netns/mz-{}.fabric", self.lab)))
    }

    /// Kills the agent of a host; it is gone when this returns.
    pub(crate) fn kill_agent(&self, host: &str) {
        kill(self.host(host).agent.unwrap());
    }

    /// Kills the lab's controller; it is gone when this returns.
    pub(crate) fn kill_controller(&self) {
        kill(self.status.controller.process.unwrap());
    }

    /// Starts the lab's controller again.
    pub(crate) fn start_controller(&self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        let executable = env!("CARGO_BIN_EXE_mizar").as_ref();
        mizar_lab::start_controller(&self.lab, executable).unwrap();
    }

    /// Kills the lab's controller and starts it again, whichever it is now.
    pub(crate) fn restart_controller(&self) {
        let json = mizar(&["lab", "status", &self.lab, "-o", "json"]);
        kill(serde_json::from_str::<Status>(&json).unwrap().controller.process.unwrap());
        self.start_controller();
    }

    /// Asks the lab's controller.
    pub(crate) fn asks(&self, words: &[&str]) -> Output {
        let controller = format!("unix:{}", self.status.controller.socket.display());
        run_mizar(&[words, &["--controller", &controller]].concat())
    }

    /// Makes the namespace of another guest; the manifest that attaches it.
    pub(crate) fn new_guest(&self, name: &str, network: &str, host: &str) -> String {
        mizar(&["lab", "guest", "--lab", &self.lab, name, "--network", network, "--host", host])
    }

    /// Where a file may be that goes with the lab.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with manifests.
    pub(crate) fn manifests(&self, text: &str) -> String {
        let file = self.folder.path().join("manifests.yaml");
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Stops an agent where it stands, or lets it go on.
    pub(crate) fn signal_agent(&self, host: &str, signal: &str) {
        let pid = self.host(host).agent.unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Starts the agent of a host again.
    pub(crate) fn start_agent(&self, host: &str) {
        self.start_agent_by(host, env!("CARGO_BIN_EXE_mizar").as_ref());
    }

    /// The same with more options.
    pub(crate) fn start_agent_with(&self, host: &str, options: &str) {
        let mizar = env!("CARGO_BIN_EXE_mizar");
        self.start_agent_in_script(host, &format!("exec {mizar} \"$@\" {options}"));
    }

    /// The same by a line of a shell, which is given the agent's arguments.
    pub(crate) fn start_agent_in_script(&self, host: &str, line: &str) {
        let mut hasher = std::hash::DefaultHasher::new();
        line.hash(&mut hasher);
        let script = self.folder.path().join(format!("agent-{:x}", hasher.finish()));
        // One that runs cannot be written.
        if !script.exists() {
            fs::write(&script, format!("#!/bin/sh\n{line}\n")).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.start_agent_by(host, &script);
    }

    fn start_agent_by(&self, host: &str, executable: &Path) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _entered = runtime.enter();
        mizar_lab::start_agent(&self.lab, host, executable).unwrap();
    }

    /// What a host's agent says of itself, or why it says nothing.
    pub(crate) fn agent_status(&self, host: &str) -> String {
        let socket = self.host(host).socket.to_str().unwrap();
        said(&run_mizar(&["agent", "status", "--socket", socket]))
    }

    /// Waits until every host stands where its controller wants it.
    pub(crate) fn becomes_ready(&mut self) {
        until("the lab is ready again", || {
            let text = mizar(&["lab", "status", &self.lab]);
            text.starts_with(&format!("Lab {}: ready", self.lab))
        });
        self.look();
    }

    /// What the hosts whose agents run have counted.
    pub(crate) fn counted(&self) -> Counted {
        #[derive(Deserialize)]
        struct OfVpc {
            vpc: Option<String>,
            hosts: BTreeMap<String, BTreeMap<String, u64>>,
        }
        let json = mizar(&["lab", "counters", &self.lab, "-o", "json"]);
        let mut counted = Counted::default();
        for OfVpc { vpc, hosts } in serde_json::from_str::<Vec<OfVpc>>(&json).unwrap() {
            let vpc = vpc.unwrap_or_default();
            let vpc = vpc.split(' ').next().unwrap().to_owned();
            for (host, counters) in hosts {
                for (counter, packets) in counters {
                    counted.0.insert((vpc.clone(), host.clone(), counter), packets);
                }
            }
        }
        counted
    }

    fn file(&self, topology: &str) -> PathBuf {
        let file = self.folder.path().join("cloud.yaml");
        let text = format!("lab: {}\nunderlay: {}\n{topology}", self.lab, self.underlay);
        fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if panicking {
            println!("{}", self.what_is());
        }
        let errors = self.errors();
        let output = run_mizar(&["lab", "down", &self.lab]);
        if !output.status.success() {
            println!("{}", said(&output));
        }
        // Whatever else a test looks at, neither agents nor controller may fail at their work.
        assert!(panicking || errors.is_empty(), "{}", errors.join("\n"));
    }
}

impl World {
    /// What agents and the controller say that should not happen.
    fn errors(&self) -> Vec<String> {
        let agents = self.status.hosts.iter().map(|host| &host.log);
        let logs = agents.chain([&self.status.controller.log]);
        let text: String = logs.filter_map(|log| fs::read_to_string(log).ok()).collect();
        let is_error = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        text.lines().filter(is_error).map(str::to_owned).collect()
    }

    /// For whoever has to find out why a test failed.
    fn what_is(&self) -> String {
        let mut text = said(&run_mizar(&["lab", "status", &self.lab]));
        text.push_str(&said(&run_mizar(&["lab", "counters", &self.lab])));
        for host in &self.status.hosts {
            let log = fs::read_to_string(&host.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(10)..].join("\n");
            text.push_str(&format!("\n{}:\n{last}\n", host.log.display()));
        }
        text
    }
}

/// Packets by VPC (empty if it is not known), host and counter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted(BTreeMap<(String, String, String), u64>);

impl Counted {
    /// What has been counted since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut risen = self.clone();
        for (key, packets) in &before.0 {
            if let Some(now) = risen.0.get_mut(key) {
                *now = now.saturating_sub(*packets);
            }
        }
        risen.0.retain(|_, packets| *packets > 0);
        risen
    }

    /// Of a VPC, by all hosts.
    pub(crate) fn of(&self, vpc: &str, counter: &str) -> u64 {
        let all = self.0.iter().filter(|((v, _, c), _)| v == vpc && c == counter);
        all.map(|(_, packets)| packets).sum()
    }

    /// Of a VPC, by one host.
    pub(crate) fn at(&self, vpc: &str, host: &str, counter: &str) -> u64 {
        let key = (vpc.to_owned(), host.to_owned(), counter.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether labs can be built.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whether all is to be tried, however long it takes.
pub(crate) fn is_full() -> bool {
    std::env::var_os("MIZAR_TEST_FULL").is_some()
}

/// Whether a long test does not run now, which is said.
pub(crate) fn is_left_out() -> bool {
    if !is_full() {
        println!("SKIPPED: long; MIZAR_TEST_FULL runs it");
    }
    !is_full()
}

/// Runs the program; what it prints. It must succeed.
pub(crate) fn mizar(arguments: &[&str]) -> String {
    let output = run_mizar(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn run_mizar(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mizar")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let both = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Kills a process that the lab has started, and waits until it is gone.
pub(crate) fn kill(pid: i32) {
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    until("the killed process is gone", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Its files are open for as long as any of its threads has work of the kernel's to end.
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let is_dead = stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']));
        is_dead && threads <= 1
    });
}
