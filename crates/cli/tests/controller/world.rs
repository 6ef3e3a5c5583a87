//! A controller, and the program that asks it.

use mizar_controller::{api, engine};
use mizar_identity::serve::{Acceptor, Limits, bind, serve};
use mizar_store::Memory;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A controller of its own, which ends with it.
pub(crate) struct World {
    folder: TempDir,
    _runtime: Runtime,
    _stop: oneshot::Sender<()>,
}

/// How the program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// Nothing is in it.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = oneshot::channel();
        let socket = folder.path().join("c.sock");
        let (engine, _thread) = engine::start(Arc::new(Memory::new())).unwrap();
        let listener = runtime.block_on(bind(&socket)).unwrap();
        runtime.spawn(async move {
            let acceptor = Acceptor::local(listener, Limits::default());
            serve(acceptor, api::router(engine), async { _ = stopped.await }).await;
        });
        Self { folder, _runtime: runtime, _stop: stop }
    }

    /// With the hosts of the examples.
    pub(crate) fn with_hosts() -> Self {
        let world = Self::new();
        let file = example("fleet-and-hosts.yaml");
        world.run(&["apply", "-f", file.to_str().unwrap()]).expect(0);
        world
    }

    /// Runs the program with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        let mut command = self.command();
        ended(&command.args(words).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs the program with a line of words.
    pub(crate) fn line(&self, line: &str) -> Ended {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The program, to be given words.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mizar"));
        let controller = format!("unix:{}", self.folder.path().join("c.sock").display());
        command.env("MIZAR_CONTROLLER", controller);
        command.env("MIZAR_CONFIG", self.folder.path().join("config.yaml"));
        command
    }

    /// A file with manifests.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Applies manifests.
    pub(crate) fn apply(&self, text: &str) -> Ended {
        let path = self.file("applied.yaml", text);
        self.run(&["apply", "-f", path.to_str().unwrap()])
    }
}

impl Ended {
    /// What it wrote to standard output, if it ended with that status.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> String {
        assert_eq!(self.status, status, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What it said, if it ended with that status and wrote nothing to standard output.
    #[track_caller]
    pub(crate) fn refusal(self, status: i32) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (status, ""), "{}", self.stderr);
        self.stderr
    }
}

pub(crate) fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let status = output.status.code().unwrap();
    Ended { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// An example's file.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/manifests").join(name)
}

pub(crate) const BLUE: &str = "\
kind: Vpc
metadata: {name: blue}
spec: {vni: 7}
---
kind: Network
metadata: {name: front, vpc: blue}
spec: {v4: 10.0.1.0/24}
---
kind: Endpoint
metadata: {name: web-1, vpc: blue, labels: {app: web}}
spec:
  network: front
  host: h1
  v4: 10.0.1.9
  attachment: {veth: {netns: /run/netns/web-1, interface: eth0}}
";
