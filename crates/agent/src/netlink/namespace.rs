//! Network namespaces, and sockets inside them.

use super::error::{Error, Result};
use super::socket::Socket;
use super::sys;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A network namespace. It lives at least as long as this does.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// Opens a namespace by its path: a bind mount such as `/run/netns/<name>`, or
    /// `/proc/<pid>/ns/net`.
    ///
    /// # Errors
    /// [`Error::Namespace`].
    pub fn open(path: &Path) -> Result<Self> {
        // Non-blocking, so that a path to a pipe is an error and not a wait for its writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(|source| Error::Namespace {
            path: path.to_owned(),
            action: "open",
            source,
        })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Namespace`].
    pub fn current() -> Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Whether both are the same namespace.
    ///
    /// # Errors
    /// [`Error::Namespace`].
    pub fn is(&self, other: &Self) -> Result<bool> {
        Ok(self.identity()? == other.identity()?)
    }

    /// The same namespace once more.
    pub(super) fn duplicate(&self) -> Result<Self> {
        let file = self.file.try_clone().map_err(self.failed("open"))?;
        Ok(Self { path: self.path.clone(), file })
    }

    /// Moves the calling thread into this namespace.
    pub(super) fn enter(&self) -> Result<()> {
        sys::enter(self.file.as_fd()).map_err(self.failed("enter"))
    }

    /// Opens a socket in this namespace; the calling thread is back `home` afterwards.
    ///
    /// # Errors
    /// [`Error::Namespace`], [`Error::Socket`].
    pub(super) fn socket(&self, home: &Self) -> Result<Socket> {
        self.enter()?;
        let socket = Socket::open();
        home.enter()?;
        socket
    }

    fn identity(&self) -> Result<(u64, u64)> {
        let metadata = self.file.metadata().map_err(self.failed("examine"))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    fn failed(&self, action: &'static str) -> impl Fn(std::io::Error) -> Error {
        move |source| Error::Namespace { path: self.path.clone(), action, source }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
