//! A local socket that is its owner's from the first moment on.

use crate::file;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// Why a socket cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process does.
    #[error("somebody listens on {} already: stop it, or name another socket", .0.display())]
    Taken(PathBuf),
    /// Something else has its name.
    #[error("{} is no socket: remove it, or name another", .0.display())]
    NoSocket(PathBuf),
    /// The operating system refuses.
    #[error("cannot listen on {}", .path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Listens on a local socket with mode 0600, whose folder is made if it is not there, as after a
/// boot. One that a process has left behind is replaced.
///
/// # Errors
/// Somebody listens there, something else has the name, or the folder cannot be written.
pub async fn bind(path: &Path) -> Result<UnixListener, BindError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(BindError::Taken(path.to_owned()));
        }
        _ => {}
    }
    // Made where nobody else can reach it, so that there is no moment in which others may connect.
    let made = || -> io::Result<UnixListener> {
        let folder = file::folder_of(path);
        fs::create_dir_all(folder)?;
        let hidden = tempfile::Builder::new().prefix(".m").tempdir_in(folder)?;
        let inner = hidden.path().join("s");
        let listener = UnixListener::bind(&inner)?;
        fs::set_permissions(&inner, Permissions::from_mode(file::SECRET))?;
        fs::rename(&inner, path)?;
        Ok(listener)
    };
    made().map_err(|source| BindError::Bind { path: path.to_owned(), source })
}
