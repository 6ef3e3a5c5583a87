//! Entering a network namespace, and sockets that the standard library has no words for.
#![expect(unsafe_code, reason = "setns(2) and other families of sockets exist only as raw calls")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::size_of_val;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

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
