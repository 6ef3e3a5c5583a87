//! Processes that outlive the command that started them, and how to find and end exactly those.

use crate::netns::Namespace;
use crate::sys;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Set in every process that a lab starts, to the lab's name.
pub const LAB_VARIABLE: &str = "MIZAR_LAB";

/// How long a process may take to end when asked, before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the kernel may take to end a killed process.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The program and its arguments.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The lab it belongs to.
    pub(crate) lab: String,
    /// Where it lives; the caller's namespace if none.
    pub(crate) namespace: Option<Namespace>,
    /// Where its output is appended.
    pub(crate) log: PathBuf,
    /// Where it is written down, see [`Process`].
    pub(crate) record: PathBuf,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace it should live in is not there.
    #[error("cannot enter the process's namespace")]
    Namespace(#[from] crate::netns::Error),
    /// A file it needs cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The log or record.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program does not run.
    #[error("cannot start {program}")]
    Start {
        /// The executable.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something does not end, not even when killed.
    #[error("process {pid} does not end, though killed {} seconds ago", KILL_WAIT.as_secs())]
    Stubborn {
        /// Its process id.
        pid: i32,
    },
}

/// A process that cannot be confused with another: ids are used again, start times are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since boot, as in field 22 of `/proc/PID/stat`.
    started: u64,
}

impl Process {
    /// Starts a process in a session of its own; its record is complete before it runs.
    pub(crate) fn start(launch: &Launch) -> Result<(), Error> {
        let log = write_to(&launch.log, OpenOptions::new().append(true).create(true))?;
        let record =
            write_to(&launch.record, OpenOptions::new().write(true).create(true).truncate(true))?;
        let errors =
            log.try_clone().map_err(|source| Error::File { path: launch.log.clone(), source })?;
        let mut command = std::process::Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .env(LAB_VARIABLE, &launch.lab)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        if let Some(namespace) = &launch.namespace {
            sys::enter_before_exec(&mut command, namespace.open()?);
        }
        sys::record_before_exec(&mut command, record);
        // Tokio waits for children that nobody waits for, so that none stays as a zombie.
        tokio::process::Command::from(command)
            .spawn()
            .map(drop)
            .map_err(|source| Error::Start { program: launch.program.clone(), source })
    }

    /// Reads a record; nothing if the process was never started.
    pub(crate) fn read(record: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(record).ok()?).map(|(process, _)| process)
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid)
            .is_some_and(|(process, state)| process == self && !matches!(state, 'Z' | 'X' | 'x'))
    }

    /// The process that has this id, and the state it is in.
    fn of(pid: i32) -> Option<(Self, char)> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `PID (command) STATE …`, where the command may contain blanks and parentheses.
    fn parse(stat: &str) -> Option<(Self, char)> {
        let (pid, _) = stat.split_once(' ')?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // The state is field 3 of the line.
        let started = fields.nth(18)?;
        Some((Self { pid: pid.parse().ok()?, started: started.parse().ok()? }, state))
    }

    fn signal(self, signal: Signal) {
        if let Some(descriptor) = self.descriptor() {
            // It may have ended by itself in the meantime.
            let _ = pidfd_send_signal(descriptor, signal);
        }
    }

    /// A descriptor of this very process. It is opened before the start time is compared, so the id
    /// cannot have been given to another process in between.
    fn descriptor(self) -> Option<OwnedFd> {
        let descriptor = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(descriptor)
    }
}

/// Asks processes to end, and kills those that do not.
pub(crate) async fn end(processes: &[Process]) -> Result<(), Error> {
    for process in processes {
        process.signal(Signal::TERM);
    }
    if ended(processes, PATIENCE).await.is_none() {
        return Ok(());
    }
    for process in processes {
        process.signal(Signal::KILL);
    }
    match ended(processes, KILL_WAIT).await {
        None => Ok(()),
        Some(process) => Err(Error::Stubborn { pid: process.pid }),
    }
}

/// The processes that live in these namespaces and descend from what the lab started: they carry
/// its variable. The caller and its ancestors are left out.
pub(crate) fn inside(lab: &str, namespaces: &[Namespace]) -> Vec<Process> {
    let inodes: HashSet<(u64, u64)> =
        namespaces.iter().filter_map(|namespace| namespace.identity().ok()).collect();
    let variable = format!("{LAB_VARIABLE}={lab}").into_bytes();
    let spared = ancestors();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !spared.contains(pid))
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|it| inodes.contains(&(it.dev(), it.ino())))
        })
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.split(|&byte| byte == 0).any(|it| it == variable))
        })
        .filter_map(|pid| Process::of(pid).map(|(process, _)| process))
        .collect()
}

/// Waits until all have ended; the first that has not if time runs out.
async fn ended(processes: &[Process], within: Duration) -> Option<Process> {
    let deadline = Instant::now() + within;
    loop {
        let alive = processes.iter().copied().find(|process| process.is_alive())?;
        if Instant::now() >= deadline {
            return Some(alive);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The ids of this process and of those that started it.
fn ancestors() -> HashSet<i32> {
    let mut found = HashSet::new();
    let mut next = i32::try_from(std::process::id()).ok();
    while let Some(pid) = next.filter(|&pid| pid > 1 && found.insert(pid)) {
        next = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| {
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_ascii_whitespace().nth(1)?.parse().ok()
        });
    }
    found
}

fn write_to(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    options.mode(0o600).open(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_id_and_start_time() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (process, _) = Process::of(own).unwrap();
        assert!(process.is_alive());
        assert!(!Process { started: process.started + 1, ..process }.is_alive());
    }

    #[test]
    fn commands_with_parentheses_are_parsed() {
        let fields = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let (process, state) = Process::parse(&format!("77 (a) b (c) S {fields}")).unwrap();
        assert_eq!((process.pid, process.started, state), (77, 22, 'S'));
    }

    #[tokio::test]
    async fn a_recorded_process_is_ended_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let launch = Launch {
            program: "/bin/sleep".into(),
            arguments: vec!["1000".into()],
            lab: "test".to_owned(),
            namespace: None,
            log: folder.path().join("log"),
            record: folder.path().join("record"),
        };
        Process::start(&launch).unwrap();
        let process = Process::read(&launch.record).unwrap();
        assert!(process.is_alive());
        let stale = Process { started: process.started - 1, ..process };
        end(&[stale]).await.unwrap();
        assert!(process.is_alive());
        end(&[process]).await.unwrap();
        assert!(!process.is_alive());
    }
}
