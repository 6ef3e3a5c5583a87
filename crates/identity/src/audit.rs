//! Who did what: an append-only log, one line of JSON a write.
//!
//! A thread of its own writes what is recorded, many entries with one `fdatasync`. What has been
//! recorded is on disk when [`Audit::record`] comes back; when it comes back with an error it is
//! not known to be, and whoever asked for the write is to be refused. The next entry tries the disk
//! again. The log may tell of a write that was not done after all, never the other way round: a
//! write is on record as asked for before it is made, and a second entry says what came of it.

mod entry;
mod log;

pub use entry::{Entry, Object, Outcome, Who};
pub use log::LogError;

use log::Log;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Entries that wait for the thread; more are held back at those who record them.
const QUEUE: usize = 1024;
/// Entries written with one `fdatasync`, at most.
const BATCH: usize = 256;

/// The log. Clones write to the same one; the thread ends with the last of them.
#[derive(Clone, Debug)]
pub struct Audit {
    queue: mpsc::Sender<Waiting>,
    path: PathBuf,
}

/// How large the log may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file that would get larger is put aside, as `….1`, and a new one begun.
    pub bytes: u64,
    /// So many are kept aside; the oldest is deleted.
    pub keep: u32,
}

/// Why something is not on record.
#[derive(Clone, Debug, Error)]
pub enum AuditError {
    /// The disk. The same for all entries that were to be written with one `fdatasync`.
    #[error("the write is not on record")]
    Log(#[from] Arc<LogError>),
    /// An entry that is too long for a line.
    #[error("the audit entry has {0} bytes: it must have at most {max}", max = Log::LONGEST)]
    Length(usize),
    /// The thread is gone.
    #[error("the audit log {} is closed", .0.display())]
    Closed(PathBuf),
}

struct Waiting {
    line: Vec<u8>,
    /// Whoever waits for it to be on disk.
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

impl Default for Rotation {
    /// 64 MB a file, ten of them aside.
    fn default() -> Self {
        Self { bytes: 64 << 20, keep: 10 }
    }
}

impl Audit {
    /// Opens the log, which is made if need be. A last line that a crash has torn is cut off: it
    /// was never said to be on record.
    ///
    /// The handle is that of the thread, to be joined when all clones are gone.
    ///
    /// # Errors
    /// It cannot be read or written, or another process has it open.
    pub fn open(path: &Path, rotation: Rotation) -> Result<(Self, JoinHandle<()>), LogError> {
        let log = Log::open(path, rotation)?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || write(log, waiting));
        let failed = |source| LogError::Io { what: "write", path: path.to_owned(), source };
        Ok((Self { queue, path: path.to_owned() }, thread.map_err(failed)?))
    }

    /// Puts an entry on record, and comes back when it is on disk.
    ///
    /// Whoever stops waiting does not know; the entry may be on record or not.
    ///
    /// # Errors
    /// It is not known to be on record. What it would have recorded must not happen.
    pub async fn record(&self, entry: &Entry) -> Result<(), AuditError> {
        let (done, recorded) = oneshot::channel();
        self.send(entry, Some(done)).await?;
        recorded.await.map_err(|_| AuditError::Closed(self.path.clone()))?
    }

    /// Adds an entry that nobody waits for: what came of a write that is on record as asked for.
    /// It reaches the disk with the next entry or sooner; a failure is told to the program's log.
    ///
    /// # Errors
    /// It cannot be added.
    pub async fn note(&self, entry: &Entry) -> Result<(), AuditError> {
        self.send(entry, None).await
    }

    async fn send(
        &self,
        entry: &Entry,
        done: Option<oneshot::Sender<Result<(), AuditError>>>,
    ) -> Result<(), AuditError> {
        let line = entry.line();
        if line.len() > Log::LONGEST {
            return Err(AuditError::Length(line.len()));
        }
        let sent = self.queue.send(Waiting { line, done }).await;
        sent.map_err(|_| AuditError::Closed(self.path.clone()))
    }
}

fn write(mut log: Log, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut well = true;
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        let lines = batch.iter().map(|waiting| waiting.line.as_slice());
        let written = log.append(lines).map_err(Arc::new);
        if let Err(error) = &written
            && well
        {
            let reason = crate::errors::chain(error.as_ref());
            tracing::error!(reason, "writes are refused: the audit log cannot be written");
        }
        well = written.is_ok();
        for done in batch.drain(..).filter_map(|waiting| waiting.done) {
            // Who has stopped waiting does not want to know.
            let _ = done.send(written.clone().map_err(AuditError::from));
        }
    }
}

#[cfg(test)]
mod tests;
