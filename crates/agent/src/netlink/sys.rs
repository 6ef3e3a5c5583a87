//! The system calls that the standard library does not offer, each behind a safe function.
#![expect(unsafe_code, reason = "sockets of the netlink family and setns exist only as raw calls")]

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use tokio::io::unix::AsyncFd;

/// Opens a route-netlink socket in the calling thread's network namespace. It stays in that
/// namespace wherever it is used.
///
/// # Errors
/// What `socket(2)` or `bind(2)` says.
pub(super) fn netlink_socket(nonblocking: bool) -> io::Result<File> {
    let mode = if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | mode;
    // SAFETY: no pointers are passed.
    let fd = checked(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    let socket = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    // SAFETY: all zero is a valid sockaddr_nl: the kernel chooses the port.
    let mut address: libc::sockaddr_nl = unsafe { zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is valid for reads of `length` bytes during the call. Without a port
    // the socket would miss events that the kernel itself causes.
    checked(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Sets a socket option that is one number.
///
/// # Errors
/// What `setsockopt(2)` says.
pub(super) fn set_option(socket: &File, level: i32, option: i32, value: i32) -> io::Result<()> {
    set(socket, level, option, &value)
}

/// Limits how long a read from the socket may block.
///
/// # Errors
/// What `setsockopt(2)` says.
pub(super) fn set_read_timeout(socket: &File, seconds: i64) -> io::Result<()> {
    let timeout = libc::timeval { tv_sec: seconds, tv_usec: 0 };
    set(socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)
}

/// Has the kernel give a netlink socket only messages of one kind.
///
/// # Errors
/// What `setsockopt(2)` says.
pub(super) fn keep_only(socket: &File, kind: u16) -> io::Result<()> {
    /// Offset of `nlmsg_type`.
    const KIND: u32 = 4;
    let instruction = |code, k, jf| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    // The filter reads numbers as they stand in packets, the first byte first.
    let kind = u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    let mut filter = [
        instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, KIND, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, kind, 1),
        instruction(libc::BPF_RET | libc::BPF_K, u32::MAX, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// What `setns(2)` says; `EINVAL`: the file is no network namespace.
pub(super) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers are passed, and the descriptor is open while it is borrowed.
    checked(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Registers a socket with the async runtime.
///
/// # Errors
/// What `epoll_ctl(2)` says.
pub(super) fn watched(socket: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: the file owns its descriptor, and nobody closes or replaces it inside the AsyncFd.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

fn set<T>(socket: &File, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let pointer: *const T = value;
    // SAFETY: the pointer is valid for reads of `length` bytes during the call.
    checked(unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, pointer.cast(), length)
    })
    .map(drop)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
