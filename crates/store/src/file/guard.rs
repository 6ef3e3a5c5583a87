//! What stands between redb and the disk.

use redb::StorageBackend;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// redb's header, which says what the last commit is, is within the first sector of the file.
const HEADER: usize = 512;

/// Lends redb a disk, and remembers the header as it was when the disk was last flushed.
///
/// redb's locks are refused, which it takes well: the file is locked as long as the store is open,
/// not only while the database is.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Box<dyn StorageBackend>,
    /// The header before it was written; none if it was flushed since.
    flushed: Mutex<Option<[u8; HEADER]>>,
    touched: AtomicBool,
}

impl Guard {
    pub(super) fn new(disk: Box<dyn StorageBackend>) -> Self {
        let inner = Inner { disk, flushed: Mutex::new(None), touched: AtomicBool::new(false) };
        Self(Arc::new(inner))
    }

    /// A commit begins.
    pub(super) fn begin(&self) {
        self.0.touched.store(false, Ordering::Release);
    }

    /// Whether the header was written since the last commit began: before that, a commit cannot
    /// have become durable.
    pub(super) fn is_touched(&self) -> bool {
        self.0.touched.load(Ordering::Acquire)
    }

    /// Makes the header durable as it was last flushed. The database must be closed.
    pub(super) fn take_back(&self) -> io::Result<()> {
        let mut flushed = self.flushed();
        if let Some(header) = flushed.as_ref() {
            self.0.disk.write(0, header)?;
            self.0.disk.sync_data()?;
            *flushed = None;
        }
        Ok(())
    }

    fn flushed(&self) -> MutexGuard<'_, Option<[u8; HEADER]>> {
        self.0.flushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Guard {
    fn len(&self) -> io::Result<u64> {
        self.0.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.disk.sync_data()?;
        *self.flushed() = None;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset < HEADER as u64 {
            let mut flushed = self.flushed();
            if flushed.is_none() {
                let mut header = [0; HEADER];
                self.0.disk.read(0, &mut header)?;
                *flushed = Some(header);
            }
            self.0.touched.store(true, Ordering::Release);
        }
        self.0.disk.write(offset, data)
    }
}
