//! Network namespaces for one test each. They have no name and are held by this process alone, so
//! they end with it, however it ends, and tests never meet.
#![expect(unsafe_code, reason = "unshare and bpf exist only as raw system calls")]

use mizar_agent::netlink::{Namespace, Netlink};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

/// Ends a test that needs root when there is none, and says so.
macro_rules! needs_root {
    () => {
        if !$crate::netlink_world::is_root() {
            println!("SKIPPED: needs root");
            return;
        }
    };
}
pub(crate) use needs_root;

/// A network namespace of a test.
pub(crate) struct World(File);

impl World {
    /// A new, empty namespace with its loopback interface up.
    pub(crate) fn new() -> Self {
        let made = std::thread::spawn(|| {
            // SAFETY: no pointers are passed; only this thread, which ends here, is moved.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let world = Self(made.join().unwrap());
        world.run("ip link set lo up");
        world
    }

    /// A path by which any process can open it while this lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// A handle that works in this namespace.
    pub(crate) async fn netlink(&self) -> Netlink {
        Netlink::open(Namespace::open(&self.path()).unwrap(), "test").await.unwrap()
    }

    /// Runs a shell command in this namespace and returns what it prints.
    pub(crate) fn run(&self, command: &str) -> String {
        let (ok, text) = self.try_run(command);
        assert!(ok, "{command}: {text}");
        text
    }

    /// Runs a shell command in this namespace: whether it succeeded, and what it printed.
    pub(crate) fn try_run(&self, command: &str) -> (bool, String) {
        let namespace = format!("--net={}", self.path().display());
        let output = Command::new("nsenter").args([&namespace, "sh", "-ec", command]).output();
        let output = output.unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

/// A classifier program that lets every frame pass.
pub(crate) fn program() -> OwnedFd {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    // r0 = 0; exit
    let instructions: [u64; 2] = [0xb7, 0x95];
    let license = c"GPL";
    let mut attributes = [0u8; 64];
    attributes[..4].copy_from_slice(&BPF_PROG_TYPE_SCHED_CLS.to_ne_bytes());
    attributes[4..8].copy_from_slice(&(instructions.len() as u32).to_ne_bytes());
    attributes[8..16].copy_from_slice(&(instructions.as_ptr() as u64).to_ne_bytes());
    attributes[16..24].copy_from_slice(&(license.as_ptr() as u64).to_ne_bytes());
    // SAFETY: the attributes and what they point to live during the call; the descriptor is new.
    unsafe {
        let length = attributes.len();
        let fd = libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, attributes.as_ptr(), length);
        assert!(fd >= 0, "bpf: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// An error and everything below it, in one line.
pub(crate) fn explained(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether the process is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: the call has neither arguments nor effects.
    unsafe { libc::geteuid() == 0 }
}
