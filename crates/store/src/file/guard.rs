//! What stands between redb and the disk.

use redb::StorageBackend;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// redb's header, which says what the last commit is, is within the first sector of the file.
const HEADER: usize = 512;

/// Lends redb a disk, and remembers its header and length as they were last flushed.
///
/// redb's locks are refused, which it takes well: the file is locked as long as the store is open,
/// not only while the database is.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Box<dyn StorageBackend>,
    flushed: Mutex<Flushed>,
    touched: AtomicBool,
}

/// What was before it was changed; none of what was not changed since the last flush.
#[derive(Debug, Default)]
struct Flushed {
    header: Option<[u8; HEADER]>,
    length: Option<u64>,
}

impl Guard {
    pub(super) fn new(disk: Box<dyn StorageBackend>) -> Self {
        let (flushed, touched) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { disk, flushed, touched }))
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

    /// Makes header and length durable as they were last flushed. The database must be closed.
    pub(super) fn take_back(&self) -> io::Result<()> {
        self.0.take_back()
    }

    fn flushed(&self) -> MutexGuard<'_, Flushed> {
        self.0.flushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// redb sizes what it repairs by the length, and would note it in the header: one that was
    /// never flushed must not get there.
    fn take_back(&self) -> io::Result<()> {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let Flushed { header, length } = &*flushed;
        if header.is_none() && length.is_none() {
            return Ok(());
        }
        if let Some(length) = length {
            self.disk.set_len(*length)?;
        }
        if let Some(header) = header {
            self.disk.write(0, header)?;
        }
        self.disk.sync_data()?;
        *flushed = Flushed::default();
        Ok(())
    }
}

/// Closing the database writes too. Who opens the file next would be shown what a failed flush has
/// lost, and would build on it.
impl Drop for Inner {
    fn drop(&mut self) {
        // There is nobody left to tell, and nothing left to try.
        let _ = self.take_back();
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
        let mut flushed = self.flushed();
        if flushed.length.is_none() {
            flushed.length = Some(self.0.disk.len()?);
        }
        drop(flushed);
        self.0.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.disk.sync_data()?;
        *self.flushed() = Flushed::default();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset < HEADER as u64 {
            let mut flushed = self.flushed();
            if flushed.header.is_none() {
                let mut header = [0; HEADER];
                self.0.disk.read(0, &mut header)?;
                flushed.header = Some(header);
            }
            self.0.touched.store(true, Ordering::Release);
        }
        self.0.disk.write(offset, data)
    }
}
