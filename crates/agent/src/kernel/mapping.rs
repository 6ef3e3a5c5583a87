//! A kernel map as memory of this process.
#![expect(unsafe_code, reason = "mmap(2) gives a pointer")]

use mizar_packet::table::Line;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

/// The lines of a table that the kernel programs read and this process may write at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Mapping(Arc<Mapped>);

#[derive(Debug)]
struct Mapped {
    start: NonNull<Line>,
    lines: usize,
}

// SAFETY: it owns the memory, all of which is atomic words.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapping {
    /// Maps an array that was made to be mapped and has so many lines as rows.
    pub(crate) fn new(map: BorrowedFd<'_>, lines: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no other memory is touched; it refuses a
        // length beyond the map's.
        let start = unsafe {
            let length = lines * size_of::<Line>();
            libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self(Arc::new(Mapped { start, lines })))
    }
}

impl Deref for Mapping {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: so many lines are mapped from a page's start for as long as this lives, and any
        // bytes are a line. Others write to them too, but only whole words, as atomics allow.
        unsafe { slice::from_raw_parts(self.0.start.as_ptr(), self.0.lines) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has a slice of it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.lines * size_of::<Line>()) };
    }
}
