//! Entering a network namespace, sockets that the standard library has no words for, and system
//! calls of another process that wait to be let pass.
#![expect(unsafe_code, reason = "setns(2), seccomp(2) and other sockets exist only as raw calls")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::size_of_val;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

/// Moves the calling thread, and nothing else, into a network namespace.
pub(crate) fn enter(namespace: &Path) -> io::Result<()> {
    let file = File::open(namespace)?;
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// A socket that sends and receives whole frames at an interface of the thread's namespace.
///
/// The standard library's socket type serves for its calls alone: send, receive, time-outs.
pub(crate) fn packet_socket(interface: &str) -> io::Result<UdpSocket> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    let socket = socket(libc::AF_PACKET, i32::from(protocol))?;
    let name = CString::new(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the name is terminated.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is as long as is said, and outlives the call.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(UdpSocket::from(socket))
}

/// Has a socket's frames carry a mark.
pub(crate) fn set_mark(socket: &UdpSocket, mark: u32) -> io::Result<()> {
    let length = size_of_val(&mark) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_MARK);
    // SAFETY: the mark is as long as is said, and outlives the call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const mark).cast(), length)
    };
    checked(done).map(drop)
}

/// A socket for ICMP messages over IPv4, which receives them with their IP headers, or over IPv6,
/// which does not.
pub(crate) fn icmp_socket(v6: bool) -> io::Result<UdpSocket> {
    let (family, protocol) = if v6 {
        (libc::AF_INET6, libc::IPPROTO_ICMPV6)
    } else {
        (libc::AF_INET, libc::IPPROTO_ICMP)
    };
    socket(family, protocol).map(UdpSocket::from)
}

/// Has a socket hand over what is sent in one call as one buffer, to be cut into datagrams of so
/// many bytes where it leaves the host.
pub(crate) fn send_in_trains(socket: &UdpSocket, bytes: i32) -> io::Result<()> {
    let length = size_of_val(&bytes) as libc::socklen_t;
    let value = (&raw const bytes).cast();
    // SAFETY: the value is as long as is said, and outlives the call.
    checked(unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, length)
    })
    .map(drop)
}

/// Has the system calls of this thread, and of whatever it becomes, that a filter selects wait for
/// whoever reads from the descriptor with this number, see seccomp_unotify(2).
pub(crate) fn wait_before_calls(filter: &[libc::sock_filter], number: RawFd) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        // It is only read.
        filter: filter.as_ptr().cast_mut(),
    };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program points to as many instructions as it says.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    let fd = checked(fd as i32)?;
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::dup2(fd, number) }).map(drop)
}

/// Another process's descriptor with this number.
pub(crate) fn descriptor_of(process: i32, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed; the kernel has just made each descriptor, and nobody else
    // knows it.
    unsafe {
        let process = checked(libc::syscall(libc::SYS_pidfd_open, process, 0) as i32)?;
        let process = OwnedFd::from_raw_fd(process);
        let call = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0);
        checked(call as i32).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// The next system call that waits, if one does within that time.
pub(crate) fn waiting_call(
    calls: &OwnedFd,
    timeout: Duration,
) -> io::Result<Option<libc::seccomp_notif>> {
    let mut poll = libc::pollfd { fd: calls.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: it points to one entry.
    let ready = checked(unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) })?;
    if ready == 0 || poll.revents & libc::POLLIN == 0 {
        return Ok(None);
    }
    // SAFETY: all zero is a valid one, and what the kernel asks for.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one, which outlives the call.
    match checked(unsafe { libc::ioctl(calls.as_raw_fd(), NOTIF_RECV, &raw mut call) }) {
        Ok(_) => Ok(Some(call)),
        // Whoever made it is gone.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets a call pass that waits; one whose process is gone needs it no more.
pub(crate) fn let_pass(calls: &OwnedFd, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: the answer outlives the call.
    match checked(unsafe { libc::ioctl(calls.as_raw_fd(), NOTIF_SEND, &raw const answer) }) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Requests of `ioctl(2)`, as in linux/seccomp.h: both ways, and how long what is passed is.
const NOTIF_RECV: libc::c_ulong = request(0, size_of::<libc::seccomp_notif>());
const NOTIF_SEND: libc::c_ulong = request(1, size_of::<libc::seccomp_notif_resp>());

const fn request(number: libc::c_ulong, length: usize) -> libc::c_ulong {
    3 << 30 | (length as libc::c_ulong) << 16 | (b'!' as libc::c_ulong) << 8 | number
}

fn socket(family: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd: RawFd =
        checked(unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
