//! Labs come and go, also by force, and leave nothing behind.
//!
//! The agents of these labs are programs that do nothing, so that no lab becomes ready: what is
//! tested is everything around them. The controllers are real: this very test program, started
//! again.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use mizar_lab::{
    Error, LAB_VARIABLE, Options, Progress, Topology, command, down, start_agent, status,
    stop_agent, up,
};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A lab of this test: a name of its own, and a stand-in for the `mizar` program.
struct World {
    lab: String,
    folder: tempfile::TempDir,
}

impl World {
    /// Nothing, loudly, without root.
    fn new(name: &str) -> Option<Self> {
        if !fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0) {
            println!("SKIPPED: needs root");
            return None;
        }
        let world = Self {
            lab: format!("{name}-{}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
        };
        let program = format!(
            "#!/bin/sh\n\
             case \"$1\" in\n\
             agent) echo 'ERROR no kernel for this'; exec sleep 1000 ;;\n\
             controller) DATA=\"$3\" SOCKET=\"$5\" \
             exec {} --exact --ignored controller_process ;;\n\
             esac\n",
            std::env::current_exe().unwrap().display()
        );
        fs::write(world.executable(), program).unwrap();
        fs::set_permissions(world.executable(), fs::Permissions::from_mode(0o700)).unwrap();
        Some(world)
    }

    fn executable(&self) -> PathBuf {
        self.folder.path().join("mizar")
    }

    fn topology(&self) -> Topology {
        topology(&self.lab)
    }

    fn options(&self, timeout: Duration) -> Options {
        Options { executable: self.executable(), timeout }
    }

    /// Runs `up` in a process of its own, until it waits for the agents.
    fn up_elsewhere(&self) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "up_process"])
            .env("WORLD_LAB", &self.lab)
            .env("WORLD_FOLDER", self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until its program runs, a process that is being started holds the lab's lock, too.
        let log = self.state().join("hosts/h2/agent.log");
        wait_until(|| fs::metadata(&log).is_ok_and(|it| it.len() > 0));
        child
    }

    fn state(&self) -> PathBuf {
        Path::new("/run/mizar/lab").join(&self.lab)
    }

    fn namespaces(&self) -> Vec<String> {
        let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&format!("mz-{}.", self.lab))).collect()
    }

    /// All processes that carry the lab's name.
    fn processes(&self) -> Vec<String> {
        let variable = format!("{LAB_VARIABLE}={}", self.lab).into_bytes();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let processes = entries.filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|it| it == variable)
        });
        processes.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    fn assert_nothing_is_left_but_zombie(&self, child: &mut Child) {
        assert!(!child.wait().unwrap().success());
        self.assert_nothing_is_left();
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.namespaces(), Vec::<String>::new());
        wait_until(|| self.processes().is_empty());
        assert!(!self.state().exists());
        assert!(!Path::new("/sys/fs/bpf/mizar").join(&self.lab).exists());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lab = self.lab.clone();
        let removed = std::thread::spawn(move || runtime.block_on(down(&lab)).is_ok()).join();
        if !std::thread::panicking() {
            assert!(removed.unwrap());
        }
    }
}

#[tokio::test]
async fn a_lab_that_does_not_become_ready_says_why_and_is_removed() {
    let Some(world) = World::new("late") else { return };
    let mut steps = Vec::new();
    let (topology, options) = (world.topology(), world.options(Duration::from_secs(2)));
    let result = up(&topology, &options, |step| steps.push(step.clone()));
    let error = result.await.unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error}");
    let message = error.to_string();
    for part in [
        "the agent of host h1 is not connected; its log /run/mizar/lab/",
        "hosts/h2/agent.log says: ERROR no kernel for this",
        "guest blue/a on host h1 is pending",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(steps.contains(&Progress::Host("h2".to_owned())), "{steps:?}");
    assert!(steps.contains(&Progress::Guest("blue/b".to_owned())), "{steps:?}");
    assert!(steps.contains(&Progress::Waiting(4)), "{steps:?}");
    world.assert_nothing_is_left();
}

#[tokio::test]
async fn a_controller_that_does_not_start_is_quoted_and_nothing_stays() {
    let Some(world) = World::new("mute") else { return };
    fs::write(world.executable(), "#!/bin/sh\necho ERROR out of order\nexit 1\n").unwrap();
    let error = up(&world.topology(), &world.options(PATIENCE), |_| {}).await.unwrap_err();
    assert!(error.to_string().ends_with("ERROR out of order"), "{error}");
    world.assert_nothing_is_left();
}

#[tokio::test]
async fn a_wrong_topology_creates_nothing() {
    let Some(world) = World::new("wrong") else { return };
    let mut topology = world.topology();
    topology.vpcs[0].networks[0].endpoints[1].host = "h3".to_owned();
    let error = up(&topology, &world.options(PATIENCE), |_| {}).await.unwrap_err();
    let path = "vpcs[blue].networks[web].endpoints[b].host: ";
    assert!(error.to_string().starts_with(path), "{error}");
    world.assert_nothing_is_left();
}

#[tokio::test]
async fn down_removes_what_a_killed_up_has_left() {
    let Some(world) = World::new("killed") else { return };
    let mut child = world.up_elsewhere();
    let busy = down(&world.lab).await.unwrap_err();
    assert!(busy.to_string().contains("is being changed by another process"), "{busy}");

    child.kill().unwrap();
    child.wait().unwrap();
    let exists = up(&world.topology(), &world.options(PATIENCE), |_| {}).await.unwrap_err();
    assert!(exists.to_string().contains("exists already"), "{exists}");
    let status = status(&world.lab).await.unwrap();
    assert!(
        status.controller.process.is_some() && status.hosts.iter().all(|host| host.agent.is_some())
    );

    let removed = down(&world.lab).await.unwrap();
    assert_eq!((removed.processes, removed.namespaces, removed.files), (3, 5, true));
    world.assert_nothing_is_left();
    assert!(down(&world.lab).await.unwrap().is_nothing());
}

#[tokio::test]
async fn agents_are_stopped_and_started_one_by_one() {
    let Some(world) = World::new("restart") else { return };
    let mut child = world.up_elsewhere();
    child.kill().unwrap();
    child.wait().unwrap();
    let agent = async || status(&world.lab).await.unwrap().hosts.remove(0).agent;
    let (before, executable) = (agent().await, world.executable());
    assert!(before.is_some());

    stop_agent(&world.lab, "h1").await.unwrap();
    assert_eq!(agent().await, None);
    stop_agent(&world.lab, "h1").await.unwrap();
    start_agent(&world.lab, "h1", &executable).unwrap();
    let after = agent().await;
    assert!(after.is_some() && after != before);

    let twice = start_agent(&world.lab, "h1", &executable).unwrap_err();
    assert!(twice.to_string().starts_with("the agent of host h1 runs already"), "{twice}");
    let unknown = start_agent(&world.lab, "h3", &executable).unwrap_err();
    assert!(unknown.to_string().ends_with("no host or guest h3: it has h1, h2"), "{unknown}");
}

#[tokio::test]
async fn a_lab_that_lost_its_folder_is_still_removed() {
    let Some(world) = World::new("torn") else { return };
    let mut child = world.up_elsewhere();
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(world.state()).unwrap();
    let removed = down(&world.lab).await.unwrap();
    assert_eq!((removed.processes, removed.namespaces), (3, 5));
    world.assert_nothing_is_left();
}

#[tokio::test]
async fn two_labs_live_side_by_side_and_end_one_by_one() {
    let (Some(one), Some(two)) = (World::new("twin"), World::new("twin-b")) else { return };
    let mut children = [one.up_elsewhere(), two.up_elsewhere()];
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // A service that a user leaves behind in a guest ends with its lab.
    let mut service = command(&one.lab, "a", "sleep").unwrap().arg("1000").spawn().unwrap();
    let mut other = command(&two.lab, "blue/a", "sleep").unwrap().arg("1000").spawn().unwrap();

    down(&one.lab).await.unwrap();
    one.assert_nothing_is_left_but_zombie(&mut service);
    assert!(other.try_wait().unwrap().is_none());
    assert_eq!(two.namespaces().len(), 5);
    assert!(status(&two.lab).await.unwrap().controller.process.is_some());
    assert!(matches!(status(&one.lab).await, Err(Error::NoLab(_))));

    down(&two.lab).await.unwrap();
    two.assert_nothing_is_left_but_zombie(&mut other);
}

/// Not a test: the lab's controller, in a process of its own.
#[tokio::test]
#[ignore = "started by the other tests"]
async fn controller_process() {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let (Some(data), Some(socket)) = (path("DATA"), path("SOCKET")) {
        let options = mizar_controller::Options { data, socket, cache: 1 << 20, secure: None };
        mizar_controller::run(options).await.unwrap();
    }
}

/// Not a test: somebody who calls `up`, to be killed.
#[tokio::test]
#[ignore = "started by the other tests"]
async fn up_process() {
    let Ok(lab) = std::env::var("WORLD_LAB") else { return };
    let executable = Path::new(&std::env::var_os("WORLD_FOLDER").unwrap()).join("mizar");
    let options = Options { executable, timeout: 10 * PATIENCE };
    up(&topology(&lab), &options, |_| {}).await.unwrap();
}

fn topology(lab: &str) -> Topology {
    let text = "
lab: LAB
hosts: 2
vpcs:
  - name: blue
    vni: 7
    dividers: [h1]
    networks:
      - name: web
        v4: 10.0.0.0/24
        bouncers: [h1]
        endpoints: [{name: a, host: h1}, {name: b, host: h2}]
";
    text.replace("LAB", lab).parse().unwrap()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
