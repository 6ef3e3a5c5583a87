//! The few system calls that Rust cannot check: everything unsafe of this crate.
#![expect(unsafe_code, reason = "unshare, ioctl and code between fork and exec have no safe form")]

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Moves the calling thread into a network namespace of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: only CLONE_FILES could make descriptors vanish under other threads; it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Has the command run inside a network namespace.
pub(crate) fn enter_before_exec(command: &mut Command, namespace: File) {
    // SAFETY: between fork and exec the closure makes one system call and touches no memory but its
    // own descriptor.
    unsafe {
        command.pre_exec(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(io::Error::from)
        });
    }
}

/// Has the command become the leader of a session of its own, and write its `/proc/self/stat` into
/// `record` before it runs anything: from its first instruction on, it can be found again.
pub(crate) fn record_before_exec(command: &mut Command, record: File) {
    // SAFETY: between fork and exec the closure only makes system calls (setsid, open, read,
    // write), with a buffer on the stack.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            let stat = rustix::fs::open(c"/proc/self/stat", OFlags::RDONLY, Mode::empty())?;
            let mut line = [0u8; 1024];
            let length = rustix::io::read(&stat, &mut line)?;
            let line = line.get(..length).unwrap_or(&[]);
            if rustix::io::write(&record, line)? == line.len() {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::WriteZero))
            }
        });
    }
}

/// A switch of an interface that `ethtool -K` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Checksums of frames sent.
    TxChecksum,
    /// TCP segmentation by the device.
    TcpSegmentation,
    /// Segmentation late in the stack instead of early.
    GenericSegmentation,
    /// Merging of received segments.
    GenericReceive,
}

impl Feature {
    /// The `ETHTOOL_S…` command of `linux/ethtool.h` that sets it.
    const fn command(self) -> u32 {
        match self {
            Self::TxChecksum => 0x17,
            Self::TcpSegmentation => 0x1f,
            Self::GenericSegmentation => 0x24,
            Self::GenericReceive => 0x2c,
        }
    }
}

/// Switches a feature of an interface in the calling thread's network namespace.
pub(crate) fn set_feature(interface: &str, feature: Feature, on: bool) -> io::Result<()> {
    /// `struct ethtool_value`
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    const SIOCETHTOOL: libc::Ioctl = 0x8946;

    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
    let mut value = Value { command: feature.command(), data: u32::from(on) };
    let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    // SAFETY: the request is an ifreq with a terminated name, its data an ethtool_value; both live
    // longer than the call, and the kernel writes into neither for these commands.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
