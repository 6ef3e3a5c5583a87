//! What a lab was built from: one file in its folder, replaced as a whole.
//!
//! Of the VPCs and what is in them the controller knows more. This file alone knows how the hosts
//! are joined, and it is there when nobody answers.

use crate::layout::Layout;
use crate::topology::Topology;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the lab's topology {path}")]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Reads the record.
pub(crate) fn load(layout: &Layout) -> Result<Topology, Error> {
    let path = layout.topology();
    let read = || {
        let file = File::open(&path)?;
        Ok(serde_json::from_reader(io::BufReader::new(file))?)
    };
    read().map_err(|source| Error { action: "read", path: path.clone(), source })
}

/// Replaces the record: whoever reads it sees the old one or the new one.
pub(crate) fn save(layout: &Layout, topology: &Topology) -> Result<(), Error> {
    let path = layout.topology();
    let write = || {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(topology)?)?;
        fs::rename(&new, &path)
    };
    write().map_err(|source| Error { action: "write", path: path.clone(), source })
}
