//! Network namespaces without names: they end with this process, however it ends.

use crate::sys;
use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// An empty one, with its loopback interface up.
    pub(crate) fn new() -> Result<Self> {
        let namespace = Self::bare()?;
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// An empty one as the kernel makes it.
    pub(crate) fn bare() -> Result<Self> {
        let made = std::thread::spawn(|| {
            sys::unshare_network().context("create a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("open the new network namespace")
        });
        Ok(Self(made.join().map_err(|_| anyhow!("a thread panicked"))??))
    }

    /// The same one once more.
    pub(crate) fn same(&self) -> Result<Self> {
        self.0.try_clone().map(Self).context("hold a network namespace once more")
    }

    /// One that exists.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path);
        Ok(Self(file.with_context(|| format!("open the namespace {}", path.display()))?))
    }

    /// A path by which other processes can open it while this lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs a shell script inside; what it printed.
    ///
    /// # Errors
    /// When any of its commands fails.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        let output = self.command("sh").args(["-ec", script]).output().context("run nsenter")?;
        if !output.status.success() {
            bail!("{script:?} fails: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Does something in a thread that is inside: sockets made there stay there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("enter a network namespace")?;
                work()
            });
            thread.join().map_err(|_| anyhow!("a thread inside a namespace panicked"))?
        })
    }
}
