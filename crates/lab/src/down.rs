//! Removing a lab, whatever state it is in.

use crate::layout::{Layout, PIN_FOLDER, RUN_FOLDER, STATE_FOLDER};
use crate::lock::{self, Lock};
use crate::process::{self, Process};
use crate::{Error, netns};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Processes ended: the controller, agents, and what was started in hosts and guests.
    pub processes: usize,
    /// Network namespaces removed.
    pub namespaces: usize,
    /// Whether there was anything else: pins or state.
    pub files: bool,
}

impl Removed {
    /// Whether there was nothing to remove.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// One thing that could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum Remnant {
    /// A process that does not end.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A namespace that cannot be removed.
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    /// A folder or file that cannot be removed.
    #[error("cannot remove {path}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Removes a lab: its processes, namespaces, pins and state. It may be half built, crashed or gone
/// already.
///
/// # Errors
///
/// When the lab is being changed by another process, or something cannot be removed; the rest is
/// removed nevertheless.
pub async fn down(lab: &str) -> Result<Removed, Error> {
    crate::check_root()?;
    let layout = Layout::new(crate::plan::lab_name(lab)?.as_str());
    let _lock = match Lock::existing(&layout) {
        Ok(lock) => lock,
        Err(lock::Error::Io { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    remove(&layout).await
}

/// Removes everything of a lab. The caller holds its lock, if it still has a folder.
pub(crate) async fn remove(layout: &Layout) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    let mut remnants = Vec::new();

    let namespaces = layout.namespaces().unwrap_or_default();
    let mut processes = recorded(layout);
    // What is started while others are ended is found in the next round.
    for _ in 0..5 {
        processes.extend(process::inside(layout.lab(), &namespaces));
        processes.retain(|process| process.is_alive());
        processes.sort_unstable();
        processes.dedup();
        if processes.is_empty() {
            break;
        }
        removed.processes += processes.len();
        if let Err(error) = process::end(&processes).await {
            remnants.push(Remnant::from(error));
            break;
        }
    }

    removed.namespaces = namespaces.len();
    for namespace in namespaces {
        if let Err(error) = namespace.remove() {
            remnants.push(error.into());
        }
    }
    for folder in [layout.all_pins(), layout.state()] {
        match remove_folder(&folder) {
            Ok(was_there) => removed.files |= was_there,
            Err(source) => remnants.push(Remnant::File { path: folder, source }),
        }
    }
    for parent in [PIN_FOLDER, STATE_FOLDER, RUN_FOLDER] {
        // Others may still be in there.
        let _ = fs::remove_dir(parent);
    }
    if remnants.is_empty() {
        Ok(removed)
    } else {
        Err(Error::Down { lab: layout.lab().to_owned(), remnants })
    }
}

/// The controller and the agents, as far as they were started.
fn recorded(layout: &Layout) -> Vec<Process> {
    let hosts = fs::read_dir(layout.hosts()).into_iter().flatten().flatten();
    let agents = hosts.filter_map(|entry| Some(layout.agent_record(entry.file_name().to_str()?)));
    std::iter::once(layout.controller_record())
        .chain(agents)
        .filter_map(|it| Process::read(&it))
        .collect()
}

/// Removes a folder with all it holds; whether it was there.
fn remove_folder(folder: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
