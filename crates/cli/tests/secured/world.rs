//! A network namespace with a controller in it.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends a test that needs root when there is none, and says so.
macro_rules! needs_root {
    () => {
        if !crate::world::is_root() {
            println!("SKIPPED: needs root");
            return;
        }
    };
}
pub(crate) use needs_root;

pub(crate) const CONTROLLER: &str = "https://127.0.0.1:6443";
const MIZAR: &str = env!("CARGO_BIN_EXE_mizar");

/// A network namespace, a CA, and a controller that listens there.
pub(crate) struct World {
    folder: TempDir,
    /// Holds the namespace until its standard input ends: with this process, if not sooner.
    holder: Child,
    controller: Option<Child>,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: i32,
    stdout: String,
    stderr: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With more options of the controller.
    pub(crate) fn with(options: &[&str]) -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sh", "-ec", "ip link set lo up; echo up; exec cat"]);
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { folder, holder, controller: None };
        // Limited, as a CA should be: what it signs is believed nowhere else.
        let init = format!("pki init --pki {} --network 127.0.0.0/8", world.path("pki"));
        world.line(&init).expect(0);
        let (data, socket, pki) = (world.path("data"), world.path("c.sock"), world.path("pki"));
        let started = world
            .command()
            .args(["controller", "--listen", "127.0.0.1:6443"])
            .args(["--data", &data, "--socket", &socket, "--pki", &pki])
            .args(options)
            .spawn();
        world.controller = Some(started.unwrap());
        let start = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "the controller does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        world
    }

    /// A path in the world's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Issues credentials to a file.
    pub(crate) fn issue(&self, who: &str, file: &str) -> String {
        let (pki, out) = (self.path("pki"), self.path(file));
        self.run(&["pki", "issue", who, "--pki", &pki, "--out", &out]).expect(0);
        out
    }

    pub(crate) fn alice(&self, line: &str) -> Ended {
        self.by("operator/alice", line)
    }

    /// Runs the program as somebody.
    pub(crate) fn by(&self, who: &str, line: &str) -> Ended {
        let own = self.issue(who, &format!("{}.pem", who.replace('/', "-")));
        let mut command = self.command();
        command.env("MIZAR_CONTROLLER", CONTROLLER).env("MIZAR_CREDENTIALS", own);
        command.env("MIZAR_CA", self.path("pki/ca.crt"));
        ended(&command.args(line.split_whitespace()).output().unwrap())
    }

    /// Runs the program with a line of words.
    pub(crate) fn line(&self, line: &str) -> Ended {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs the program with these words.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        ended(&self.command().args(words).output().unwrap())
    }

    /// Starts the program with these words.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command().args(words).spawn().unwrap()
    }

    /// A command in the namespace.
    pub(crate) fn shell(&self, line: &str) {
        let mut words = line.split_whitespace();
        let mut command = self.inside(words.next().unwrap());
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// Another program, in the namespace.
    pub(crate) fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg(program);
        command
    }

    /// The program, in the namespace.
    fn command(&self) -> Command {
        let mut command = self.inside(MIZAR);
        command.env("MIZAR_CONFIG", self.path("config.yaml")).stdin(Stdio::null());
        for name in ["MIZAR_CONTROLLER", "MIZAR_CONTEXT", "MIZAR_CA", "MIZAR_CREDENTIALS"] {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // nsenter has become the program, and the shell has become cat.
        for child in self.controller.iter_mut().chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
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

fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let status = output.status.code().unwrap();
    Ended { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}
