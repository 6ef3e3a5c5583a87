//! A raw socket that sends whole frames out of the NIC, marked so that the guard lets them pass.
#![expect(unsafe_code, reason = "AF_PACKET exists only as raw calls")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Sends frames; receives none.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    interface: u32,
}

impl PacketSocket {
    /// A socket on an interface of the calling thread's network namespace.
    pub(crate) fn open(interface: u32, mark: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Protocol 0: nothing is received.
        // SAFETY: no pointers are passed.
        let number = checked(unsafe { libc::socket(libc::AF_PACKET, kind, 0) } as isize)?;
        // SAFETY: the kernel has just made this descriptor and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(number as i32) };
        let length = size_of::<u32>() as libc::socklen_t;
        let value: *const u32 = &raw const mark;
        // SAFETY: the pointer is valid for reads of `length` bytes.
        checked(unsafe {
            libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, value.cast(), length)
        } as isize)?;
        Ok(Self { fd, interface })
    }

    /// Sends one frame, from its Ethernet header on.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_IP as u16).to_be(),
            sll_ifindex: self.interface as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        let destination = frame.get(..6).ok_or(io::ErrorKind::InvalidInput)?;
        to.sll_addr[..6].copy_from_slice(destination);
        let address: *const libc::sockaddr_ll = &raw const to;
        // SAFETY: both pointers are valid for reads of the lengths given.
        checked(unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                address.cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })
        .map(drop)
    }
}

fn checked(result: isize) -> io::Result<isize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
