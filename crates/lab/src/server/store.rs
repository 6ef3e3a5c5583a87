//! The lab's store: one file, replaced as a whole.

use crate::layout::Layout;
use crate::plan::Store;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the lab's store {path}")]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Reads the store.
pub(crate) fn load(layout: &Layout) -> Result<Store, Error> {
    let path = layout.store();
    let read = || {
        let file = File::open(&path)?;
        Ok(serde_json::from_reader(io::BufReader::new(file))?)
    };
    read().map_err(|source| Error { action: "read", path: path.clone(), source })
}

/// Replaces the store: whoever reads it sees the old one or the new one.
pub(crate) fn save(layout: &Layout, store: &Store) -> Result<(), Error> {
    let path = layout.store();
    let write = || {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(store)?)?;
        fs::rename(&new, &path)
    };
    write().map_err(|source| Error { action: "write", path: path.clone(), source })
}
