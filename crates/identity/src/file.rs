//! Files that are there wholly or not at all, and secrets that nobody else reads.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// For what everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;
/// For keys.
pub(crate) const SECRET: u32 = 0o600;
/// Others may not read a secret, nor the group write it.
const TOO_OPEN: u32 = 0o027;
/// Larger is no key, no chain and no token.
const LARGEST: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is there already.
    #[error("{} exists already, and is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Others may read it.
    #[error(
        "{} holds a secret, and its mode {mode:o} lets others at it: chmod 600 {}",
        .path.display(), .path.display()
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Too large to be what it should be.
    #[error("{} has {size} bytes: it must have at most {LARGEST}", .path.display())]
    Size {
        /// Which.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
}

/// Puts a file in place of what is there, if anything is.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write(path, mode, bytes, |file| file.persist(path).map(drop))
}

/// Puts a file where none is.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write(path, mode, bytes, |file| file.persist_noclobber(path).map(drop))
}

pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST {
        return Err(FileError::Size { path: path.to_owned(), size });
    }
    fs::read_to_string(path).map_err(failed)
}

pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
    if mode & TOO_OPEN != 0 {
        return Err(FileError::Open { path: path.to_owned(), mode });
    }
    read(path).map(Zeroizing::new)
}

/// Makes what was done to the names in a folder outlast a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn write(
    path: &Path,
    mode: u32,
    bytes: &[u8],
    keep: impl FnOnce(tempfile::NamedTempFile) -> Result<(), tempfile::PersistError>,
) -> Result<(), FileError> {
    let failed = |source: io::Error| match source.kind() {
        ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
        _ => FileError::Write { path: path.to_owned(), source },
    };
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".mizar-").permissions(Permissions::from_mode(mode));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    keep(file).map_err(|error| failed(error.error))?;
    sync_folder(folder).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_for_its_owner_only_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        create(&path, b"one", SECRET).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let error = create(&path, b"two", SECRET).unwrap_err();
        assert!(matches!(&error, FileError::Exists(found) if *found == path), "{error}");
        assert_eq!(*read_secret(&path).unwrap(), "one");
        replace(&path, b"two", SECRET).unwrap();
        assert_eq!(*read_secret(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        create(&path, b"one", PUBLIC).unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert!(error.contains("644") && error.contains("chmod 600"), "{error}");
    }
}
