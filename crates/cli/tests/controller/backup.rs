//! A controller as a process, with its store in a folder: backed up while it is written to, killed,
//! and restored.

use crate::world::{Ended, ended, example};
use mizar_store::{Options, Redb};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Endpoints that are declared together.
const TOGETHER: usize = 20;

/// A controller with a folder of its own, in a world's.
struct Running<'a> {
    world: &'a World,
    process: Child,
}

struct World(TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn start(&self, data: &str) -> Running<'_> {
        let (data, socket) = (self.path(data), self.path("c.sock"));
        let _ = fs::remove_file(&socket);
        let mut command = self.command();
        command.args(["controller", "--data", &data, "--socket", &socket]);
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "the controller does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Running { world: self, process }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mizar"));
        command.env("MIZAR_CONTROLLER", format!("unix:{}", self.path("c.sock")));
        command.env("MIZAR_CONFIG", self.path("config.yaml")).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        ended(&self.command().args(words).output().unwrap())
    }

    fn backup(&self, file: &str) -> Ended {
        let (file, socket) = (self.path(file), self.path("c.sock"));
        self.run(&["controller", "backup", &file, "--socket", &socket])
    }

    fn restore(&self, file: &str, data: &str, options: &[&str]) -> Ended {
        let (file, data) = (self.path(file), self.path(data));
        let words = ["controller", "restore", &file, "--data", &data];
        self.run(&[&words[..], options].concat())
    }

    fn apply(&self, text: &str) {
        let file = self.path("applied.yaml");
        fs::write(&file, text).unwrap();
        self.run(&["apply", "-f", &file]).expect(0);
    }

    /// A fleet with a network.
    fn declare(&self) {
        self.run(&["apply", "-f", example("fleet-and-hosts.yaml").to_str().unwrap()]).expect(0);
        self.apply(
            "{kind: Vpc, metadata: {name: blue}, spec: {vni: 7}}\n---\n{kind: Network, metadata: \
             {name: front, vpc: blue}, spec: {v4: 10.0.0.0/16}}\n",
        );
    }

    fn declare_endpoints(&self, batch: usize) {
        let endpoint = |number| {
            format!(
                "---\n{{kind: Endpoint, metadata: {{name: e{batch:03}-{number:02}, vpc: blue}}, \
                 spec: {{network: front, host: h1, attachment: {{veth: {{netns: /run/netns/e, \
                 interface: eth0}}}}}}}}\n"
            )
        };
        self.apply(&(0..TOGETHER).map(endpoint).collect::<String>());
    }

    /// What is asked for of each endpoint, and when it was written.
    fn endpoints(&self) -> BTreeMap<String, Value> {
        let json = self.run(&["get", "endpoints", "--vpc", "blue", "-o", "json"]).expect(0);
        let all: Value = serde_json::from_str(&json).unwrap();
        let items = all.get("items").unwrap_or(&all).as_array().unwrap().clone();
        let of = |mut it: Value| {
            // How it stands is of hosts, and which generation it has of the epoch.
            it.as_object_mut().unwrap().remove("status").unwrap();
            (it["metadata"]["name"].as_str().unwrap().to_owned(), it)
        };
        items.into_iter().map(of).collect()
    }
}

impl Running<'_> {
    /// As a machine that fails ends it.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        fs::remove_file(self.world.path("c.sock")).unwrap();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_was_backed_up_while_it_was_written_to_is_there_again() {
    let world = World::new();
    let running = world.start("data");
    world.declare();
    world.declare_endpoints(0);
    let is_enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in 1..200 {
                world.declare_endpoints(batch);
                if is_enough.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for number in 0..3 {
            std::thread::sleep(Duration::from_millis(100));
            let said = world.backup(&format!("backup-{number}")).expect(0);
            assert!(said.contains(" entries, as they were at 1."), "{said}");
        }
        is_enough.store(true, Ordering::Relaxed);
    });
    world.declare_endpoints(998);
    let all = world.endpoints();
    let log = fs::read_to_string(world.path("data/audit.log")).unwrap();
    assert_eq!(log.lines().filter(|it| it.contains("\"verb\":\"backup\"")).count(), 6, "{log}");
    running.kill();

    let mut least = TOGETHER;
    for number in 0..3 {
        let data = format!("data-{number}");
        let said = world.restore(&format!("backup-{number}"), &data, &[]).expect(0);
        assert!(said.contains("store.redb: epoch 2, revision "), "{said}");
        let running = world.start(&data);
        let restored = world.endpoints();
        assert!(restored.len() >= least && restored.len() < all.len(), "{}", restored.len());
        assert_eq!(restored.len() % TOGETHER, 0, "what was declared together is there together");
        let same = restored.iter().all(|(name, it)| all.get(name) == Some(it));
        assert!(same, "{restored:?} of {all:?}");
        least = restored.len();
        // And it goes on.
        world.declare_endpoints(999);
        assert_eq!(world.endpoints().len(), least + TOGETHER);
        running.kill();
    }
}

#[test]
fn what_cannot_be_restored_is_said_and_changes_nothing() {
    let world = World::new();
    let said = world.backup("none").refusal(1);
    assert!(said.contains("c.sock") && !Path::new(&world.path("none")).exists(), "{said}");
    let running = world.start("data");
    world.declare();
    world.backup("backup").expect(0);
    let said = world.backup("backup").refusal(4);
    assert!(said.contains("exists: move it away first"), "{said}");

    let said = world.restore("backup", "data", &["--replace"]).refusal(4);
    assert!(said.contains("store.redb is in use: stop who has it open"), "{said}");
    running.kill();
    let said = world.restore("backup", "data", &[]).refusal(4);
    assert!(said.contains("store.redb is there") && said.contains("--replace"), "{said}");

    let whole = fs::read(world.path("backup")).unwrap();
    fs::write(world.path("cut"), &whole[..whole.len() / 2]).unwrap();
    let said = world.restore("cut", "new", &[]).refusal(1);
    assert!(said.contains("cut cannot be restored: it is cut off"), "{said}");
    fs::write(world.path("other"), "kind: Vpc\n").unwrap();
    let said = world.restore("other", "new", &[]).refusal(1);
    assert!(said.contains("it is neither a backup nor a store"), "{said}");
    let said = world.restore("missing", "new", &[]).refusal(1);
    assert!(said.contains("there is no such file"), "{said}");
    assert_eq!(fs::read_dir(world.path("new")).unwrap().count(), 0);

    let said = world.restore("backup", "data", &["--replace", "--above", "6"]).expect(0);
    assert!(said.contains("epoch 7, ") && said.contains("that was there is "), "{said}");
    let kept = fs::read_dir(world.path("data")).unwrap().map(|it| it.unwrap().path());
    let kept: Vec<_> = kept.filter(|it| it.to_str().unwrap().contains("store.redb.1.")).collect();
    Redb::open(&kept[0], &Options { create: false, ..Options::default() }).unwrap();
    let _running = world.start("data");
    world.run(&["get", "vpc", "blue"]).expect(0);
}

#[test]
fn a_full_disk_leaves_no_half_backup() {
    // A disk of 16 KiB takes root; the rest of the machine does not see it.
    let world = World::new();
    let _running = world.start("data");
    world.declare();
    for batch in 0..20 {
        world.declare_endpoints(batch);
    }
    let disk = world.path("disk");
    fs::create_dir(&disk).unwrap();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=16k none \"$1\" || { echo SKIPPED; exit 0; }; shift\n\
                  folder=$1; shift; \"$@\"; status=$?; ls -A \"$folder\"; exit $status";
    let (file, socket) = (format!("{disk}/backup"), world.path("c.sock"));
    let program = env!("CARGO_BIN_EXE_mizar");
    command.args(["--mount", "sh", "-c", script, "sh", &disk, &disk, program]);
    command.args(["controller", "backup", &file, "--socket", &socket]);
    let Ended { status, stdout, stderr } = ended(&command.output().unwrap());
    if stdout.contains("SKIPPED") || stderr.contains("unshare") {
        println!("SKIPPED: needs root");
        return;
    }
    assert_eq!((status, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("no room left for ") && stderr.contains("disk/backup"), "{stderr}");
    world.backup("elsewhere").expect(0);
}
