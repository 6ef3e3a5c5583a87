//! Why a store could not do what it was asked.

use crate::Revision;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// What a library below says.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a store could not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The history that a watch asks for is gone.
    #[error(
        "changes before revision {oldest} are forgotten: read what is there, then watch from the \
         revision that reading returned"
    )]
    Compacted {
        /// The earliest revision that can be watched from.
        oldest: Revision,
    },
    /// A watch asks for a revision that has not been.
    #[error(
        "revision {from} is yet to come, the last one is {last}: it is of another store, or of \
         this one before it was restored; read what is there, then watch"
    )]
    Ahead {
        /// What was asked for.
        from: Revision,
        /// The last revision that has been.
        last: Revision,
    },
    /// All revisions are used up.
    #[error("there is no revision after {max}: raise the store's epoch", max = Revision::MAX)]
    Exhausted,
    /// The disk is full.
    #[error("no room left for {}: make room and try again; nothing was changed", path.display())]
    Full {
        /// The store.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The outcome of a commit is open.
    ///
    /// The disk failed while the commit was becoming durable, and then while it was taken back. It
    /// is taken back before this store does anything else; should the process end before that, the
    /// next to open the file may find all of it, or none.
    #[error(
        "{} failed in the middle of a commit, which could not be taken back yet: see to the disk, \
         then read before trying again", path.display()
    )]
    Unsettled {
        /// The store.
        path: PathBuf,
        /// What failed first.
        source: Source,
    },
    /// There is none.
    #[error("there is no store at {}: check the path and that its disk is there", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another process, or this one, has it open.
    #[error("{} is in use: stop who has it open, it has one owner at a time", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error(
        "{} is of format {found}, and this version knows formats up to {known}: run the version \
         that wrote it, or a newer one", path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that can be read.
        known: u64,
    },
    /// It is no store, or a damaged one.
    #[error(
        "{} is no store, or is damaged ({reason}): check the path, or restore a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is no backup, or a damaged one.
    #[error("{} cannot be restored: {reason}; take another backup", path.display())]
    NoBackup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is a file where a new one should go.
    #[error("{} exists: move it away first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// No epoch is larger.
    #[error("there is no epoch after {epoch}: make a new store with new agents")]
    LastEpoch {
        /// The largest epoch.
        epoch: u16,
    },
    /// Reading or writing failed.
    #[error(
        "cannot {action} {}: see to the disk and who may write to it; the next call tries again",
        path.display()
    )]
    Failed {
        /// What was attempted.
        action: &'static str,
        /// The store.
        path: PathBuf,
        /// What failed.
        source: Source,
    },
}
