//! Named network namespaces, kept the way `ip netns` keeps them: as bind mounts under `/run/netns`.

use crate::sys;
use futures::StreamExt;
use netlink_packet_core::NetlinkPayload;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

/// Where namespaces have their names.
const FOLDER: &str = "/run/netns";

/// Why something about a namespace failed.
#[derive(Debug, thiserror::Error)]
#[error("network namespace {name}: cannot {action}")]
pub struct Error {
    name: String,
    action: &'static str,
    source: io::Error,
}

/// A named network namespace. Dropping it changes nothing: namespaces outlive processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of this name, whether it exists or not.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// All namespaces whose name starts so.
    pub(crate) fn with_prefix(prefix: &str) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(FOLDER) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string()
                && name.starts_with(prefix)
            {
                found.push(Self { name });
            }
        }
        Ok(found)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Device and inode number: equal to those of `/proc/PID/ns/net` for every process inside.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = fs::metadata(self.path())?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Creates it, with settings below `/proc/sys/net` written before anything lives inside.
    ///
    /// # Errors
    ///
    /// Also when the name is taken. Nothing is left behind then.
    pub(crate) fn create(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        share_folder().map_err(|e| self.error("prepare /run/netns", e))?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(self.path())
            .map_err(|e| self.error("create its file below /run/netns", e))?;
        let created = on_thread(|| {
            sys::unshare_network().map_err(|e| self.error("unshare", e))?;
            mount_bind("/proc/thread-self/ns/net", self.path())
                .map_err(|e| self.error("bind its mount", e.into()))?;
            self.write(settings)
        });
        if created.is_err() {
            // The first error is the one that tells what is wrong.
            let _ = self.remove();
        }
        created
    }

    /// Writes settings below `/proc/sys/net`.
    ///
    /// # Errors
    ///
    /// When one of them is not there, or does not take its value.
    pub(crate) fn set(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        self.run(|| self.write(settings))?
    }

    /// The same on a thread that lives inside.
    fn write(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        settings.iter().try_for_each(|(key, value)| {
            let path = Path::new("/proc/sys/net").join(key);
            fs::write(path, value).map_err(|e| self.error("write its sysctls", e))
        })
    }

    /// Removes the name; the namespace ends with its last process. No error if there is none.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        // The file may carry no mount, if its creator was killed in between; or several.
        while unmount(self.path(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove its file below /run/netns", error))
            }
            _ => Ok(()),
        }
    }

    /// Opens it, to enter it.
    pub(crate) fn open(&self) -> Result<File, Error> {
        File::open(self.path()).map_err(|e| self.error("open", e))
    }

    /// Calls a function on a thread that lives inside.
    pub(crate) fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let file = self.open()?;
        on_thread(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| self.error("enter", e.into()))?;
            Ok(function())
        })
    }

    /// A netlink connection whose socket lives inside. Needs a Tokio runtime.
    pub(crate) fn netlink(&self) -> Result<rtnetlink::Handle, Error> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, mut messages) = self
            .run(|| {
                let _entered = runtime.enter();
                rtnetlink::new_connection()
            })?
            .map_err(|e| self.error("open a netlink socket", e))?;
        tokio::spawn(connection);
        tokio::spawn(async move {
            while let Some((message, _)) = messages.next().await {
                if let NetlinkPayload::Error(error) = message.payload {
                    tracing::debug!(%error, "unexpected netlink message");
                }
            }
        });
        Ok(handle)
    }

    fn error(&self, action: &'static str, source: io::Error) -> Error {
        Error { name: self.name.clone(), action, source }
    }
}

/// Makes the folder a shared mount, as `ip netns add` does: names removed here vanish in every
/// mount namespace, or a forgotten copy would keep the namespace alive.
fn share_folder() -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER)?;
    let share = || {
        let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        mount_change(FOLDER, flags).map_err(io::Error::from)
    };
    match share() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            rustix::mount::mount_bind_recursive(FOLDER, FOLDER)?;
            share()
        }
        other => other,
    }
}

/// A thread's network namespace is its own: what changes it runs on a thread that ends afterwards.
fn on_thread<T: Send>(function: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(function).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
