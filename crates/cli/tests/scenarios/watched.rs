//! An agent whose every change of what outlives it is seen before it is made, so that it can be
//! killed at any of them: what it pins, links, maps, routes and interfaces are, folders, files.
//!
//! The agent is `mizar` as it is. Its system calls wait for the test, which lets them pass
//! (seccomp_unotify(2)). What it stores into tables that it has mapped is not seen: that is between
//! two changes.

use crate::sys;
use crate::world::{World, is_full, kill, until};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Set where an agent shall be run: the command line.
const WATCHED: &str = "MIZAR_TEST_WATCHED";
/// Under which number the agent has the descriptor that its calls wait for.
const NUMBER: i32 = 100;

/// System calls that change something, or may.
#[cfg(not(target_arch = "x86_64"))]
const CALLS: &[(&str, libc::c_long)] = &[
    ("mkdir", libc::SYS_mkdirat),
    ("unlink", libc::SYS_unlinkat),
    ("rename", libc::SYS_renameat),
    ("write", libc::SYS_write),
];
#[cfg(target_arch = "x86_64")]
const CALLS: &[(&str, libc::c_long)] = &[
    ("mkdir", libc::SYS_mkdir),
    ("rmdir", libc::SYS_rmdir),
    ("unlink", libc::SYS_unlink),
    ("rename", libc::SYS_rename),
    ("write", libc::SYS_write),
];
/// Commands of `bpf(2)` that change what outlives whoever gives them.
const COMMANDS: &[(&str, u64)] = &[
    WRITE_ROW,
    ("BPF_MAP_DELETE_ELEM", 3),
    ("BPF_OBJ_PIN", 6),
    ("BPF_PROG_ATTACH", 8),
    ("BPF_MAP_UPDATE_BATCH", 26),
    ("BPF_MAP_DELETE_BATCH", 27),
    ("BPF_LINK_CREATE", 28),
    ("BPF_LINK_UPDATE", 29),
    ("BPF_LINK_DETACH", 34),
];

/// By far the most of them: waited for only where all is tried.
const WRITE_ROW: (&str, u64) = ("BPF_MAP_UPDATE_ELEM", 2);

/// A change that an agent is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A system call of that name.
    Call(&'static str),
    /// A message of this type to the kernel's routing, as RTM_NEWTFILTER.
    Netlink(u16),
}

impl Change {
    /// A program that hangs somewhere is replaced by another.
    pub(crate) const REPLACE: Self = Self::Call("BPF_LINK_UPDATE");
    /// An interface gets a filter, or another one.
    pub(crate) const FILTER: Self = Self::Netlink(libc::RTM_NEWTFILTER);
    /// A folder goes that was emptied.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const REMOVE_FOLDER: Self = Self::Call("rmdir");
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const REMOVE_FOLDER: Self = Self::Call("unlink");
}

/// Becomes the agent if this process was started to be one that is watched.
pub(crate) fn become_agent() {
    let Ok(command) = std::env::var(WATCHED) else { return };
    sys::wait_before_calls(&filter(), NUMBER).unwrap();
    let mut words = command.split(' ');
    let error = Command::new(words.next().unwrap()).args(words).env_remove(WATCHED).exec();
    panic!("{command}: {error}");
}

/// Selects [`CALLS`] and [`COMMANDS`].
fn filter() -> Vec<libc::sock_filter> {
    let step =
        |code: u32, jt, k: i64| libc::sock_filter { code: code as u16, jt, jf: 0, k: k as u32 };
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset);
    let equal = |jt, k| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, k);
    let answer = |k: u32| step(libc::BPF_RET | libc::BPF_K, 0, k.into());
    let given: Vec<_> = COMMANDS.iter().filter(|it| is_full() || **it != WRITE_ROW).collect();
    let (calls, commands) = (CALLS.len() as u8, given.len() as u8);
    // The number of the call, then the lower half of its first argument.
    let mut filter = vec![load(0)];
    let behind = commands + 4;
    filter.extend((0..calls).map(|at| equal(calls - 1 - at + behind, CALLS[usize::from(at)].1)));
    filter.extend([equal(1, libc::SYS_bpf), answer(libc::SECCOMP_RET_ALLOW), load(16)]);
    let command = |at: u8| given[usize::from(at)].1 as i64;
    filter.extend((0..commands).map(|at| equal(commands - at, command(at))));
    filter.extend([answer(libc::SECCOMP_RET_ALLOW), answer(libc::SECCOMP_RET_USER_NOTIF)]);
    filter
}

/// An agent that is watched.
pub(crate) struct Watched {
    pid: i32,
    calls: OwnedFd,
    memory: File,
}

impl World {
    /// Starts an agent that makes no change unless it is let, with more options. `test` is the name
    /// of the calling test, which begins with [`become_agent`].
    pub(crate) fn start_watched_agent(&self, host: &str, options: &str, test: &str) -> Watched {
        let own = std::env::current_exe().unwrap();
        let file = self.path(&format!("pid-of-{host}"));
        let _ = fs::remove_file(&file);
        let mizar = env!("CARGO_BIN_EXE_mizar");
        let run = format!(
            "echo $$ > {}; {WATCHED}=\"{mizar} $* {options}\" exec {} --exact {test} --nocapture",
            file.display(),
            own.display()
        );
        self.start_agent_in_script(host, &run);
        let read_pid = || fs::read_to_string(&file).ok()?.trim_end().parse::<i32>().ok();
        until("it runs", || read_pid().is_some());
        let pid = read_pid().unwrap();
        let own = PathBuf::from(format!("/proc/{pid}"));
        let link = own.join(format!("fd/{NUMBER}"));
        until("its calls wait", || {
            fs::read_link(&link).is_ok_and(|it| it.to_string_lossy().contains("seccomp"))
        });
        let calls = sys::descriptor_of(pid, NUMBER).unwrap();
        Watched { pid, calls, memory: File::open(own.join("mem")).unwrap() }
    }
}

impl Watched {
    /// Lets the agent's changes pass until `is_over` of one or, if there is none for a while, of
    /// nothing; kills it then.
    pub(crate) fn kill_at(self, mut is_over: impl FnMut(Option<Change>) -> bool) {
        loop {
            let call = sys::waiting_call(&self.calls, Duration::from_millis(50)).unwrap();
            let change = call.as_ref().and_then(|call| self.change(&call.data));
            if (call.is_none() || change.is_some()) && is_over(change) {
                return kill(self.pid);
            }
            if let Some(call) = call {
                sys::let_pass(&self.calls, call.id).unwrap();
            }
        }
    }

    /// The change that a call makes.
    fn change(&self, call: &libc::seccomp_data) -> Option<Change> {
        let name = match CALLS.iter().find(|(_, number)| *number == i64::from(call.nr)) {
            Some(("write", _)) => return self.message(call),
            Some((name, _)) => name,
            None => COMMANDS.iter().find(|(_, command)| *command == call.args[0])?.0,
        };
        Some(Change::Call(name))
    }

    /// The change that a message to the kernel's routing asks for; anything else that is written is
    /// none.
    fn message(&self, call: &libc::seccomp_data) -> Option<Change> {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        let file = fs::read_link(process.join(format!("fd/{}", call.args[0]))).ok()?;
        let file = file.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        let sockets = fs::read_to_string(process.join("net/netlink")).ok()?;
        let mut sockets = sockets.lines().filter_map(|line| line.split_whitespace().last());
        sockets.find(|inode| *inode == file)?;
        let mut header = [0; 6];
        self.memory.read_exact_at(&mut header, call.args[1]).ok()?;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        // Of each four types the third asks only.
        (kind % 4 != 2).then_some(Change::Netlink(kind))
    }
}
