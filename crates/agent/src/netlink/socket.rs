//! A route-netlink socket: requests that are answered at once.

use super::error::{Error, Result};
use super::sys;
use super::wire::{Attributes, Message, Request, array, messages};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// The largest datagram that the kernel makes for a reader that offers as much.
pub(super) const DATAGRAM: usize = 32 * 1024;
/// The kernel answers within the call that asks; a read that blocks longer is a bug, not a wait.
const TIMEOUT_SECONDS: i64 = 5;
/// A dump that changed underneath is repeated; a table that never stands still is given up.
const DUMP_ATTEMPTS: usize = 10;

/// A socket in one network namespace, whichever namespace the thread that uses it is in.
pub(super) struct Socket {
    file: File,
    sequence: u32,
    buffer: Vec<u8>,
}

/// How a request ended.
enum End {
    Complete,
    /// The table changed while it was dumped.
    Interrupted,
}

impl Socket {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub(super) fn open() -> Result<Self> {
        let file = sys::netlink_socket(false).map_err(failed("open it"))?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            sys::set_option(&file, libc::SOL_NETLINK, option, 1).map_err(failed("set it up"))?;
        }
        sys::set_read_timeout(&file, TIMEOUT_SECONDS).map_err(failed("set it up"))?;
        Ok(Self { file, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Sends a request that has no answer but its acknowledgement.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's reason.
    pub(super) fn execute(&mut self, request: Request) -> Result<()> {
        self.exchange(request, &mut |_| ()).map(drop)
    }

    /// Sends a request for one object: what `read` makes of the answer's payload.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Malformed`] when there is no answer that `read` understands.
    pub(super) fn get<T>(
        &mut self,
        request: Request,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let what = request.what;
        let mut found = None;
        self.exchange(request, &mut |message| {
            found = found.take().or_else(|| read(message.payload));
        })?;
        found.ok_or(Error::Malformed { request: what, problem: "lacks what was asked for" })
    }

    /// Lists a table: `request` makes the request, `read` makes something of each row or skips it.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(super) fn dump<T>(
        &mut self,
        request: impl Fn() -> Request,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let what = request().what;
        for _ in 0..DUMP_ATTEMPTS {
            let mut rows = Vec::new();
            let end =
                self.exchange(request(), &mut |message| rows.extend(read(message.payload)))?;
            if matches!(end, End::Complete) {
                return Ok(rows);
            }
        }
        Err(Error::Malformed { request: what, problem: "changed each time while it was read" })
    }

    fn exchange(
        &mut self,
        mut request: Request,
        reply: &mut dyn FnMut(&Message<'_>),
    ) -> Result<End> {
        self.sequence = self.sequence.wrapping_add(1);
        let what = request.what;
        let bytes = request.finish(self.sequence);
        let sent = (&self.file).write(bytes).map_err(failed("send a request"))?;
        if sent != bytes.len() {
            return Err(Error::Socket { action: "send a request", source: short_write() });
        }
        let mut end = End::Complete;
        loop {
            let length = read_datagram(&self.file, &mut self.buffer)?;
            for message in messages(&self.buffer[..length]) {
                let cut = Error::Malformed { request: what, problem: "is cut off" };
                let message = message.ok_or(cut)?;
                if message.sequence != self.sequence {
                    continue;
                }
                if i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0 {
                    end = End::Interrupted;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        return acknowledged(&message, what).map(|()| end);
                    }
                    _ => reply(&message),
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Maps a system call's error to [`Error::Socket`].
pub(super) fn failed(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Socket { action, source }
}

fn read_datagram(mut file: &File, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(failed("read the answer")),
        }
    }
}

/// Reads `NLMSG_ERROR` (zero: all is well) or `NLMSG_DONE`, which both begin with an error number.
fn acknowledged(message: &Message<'_>, request: &'static str) -> Result<()> {
    // The error number and, because of NETLINK_CAP_ACK, only the header of the request.
    const ERROR: usize = 4 + 16;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let number = i32::from_ne_bytes(array(message.payload, 0).unwrap_or_default());
    if number == 0 {
        return Ok(());
    }
    let done = i32::from(message.kind) == libc::NLMSG_DONE;
    let attributes = Attributes::after(message.payload, if done { 4 } else { ERROR });
    Err(Error::Refused {
        request,
        reason: attributes.text(NLMSGERR_ATTR_MSG),
        source: io::Error::from_raw_os_error(-number),
    })
}

fn short_write() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the kernel took only part of it")
}
