//! The few system calls that Rust cannot check: everything unsafe of this crate.
#![expect(
    unsafe_code,
    reason = "unshare, ioctl, bpf and code between fork and exec have no safe form"
)]

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
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

/// Loads an XDP program that passes every frame on, of any length.
pub(crate) fn load_pass() -> io::Result<OwnedFd> {
    /// The first members of `union bpf_attr` for BPF_PROG_LOAD.
    #[repr(C)]
    struct ProgramLoad {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    const PROG_LOAD: libc::c_long = 5;
    const XDP: u32 = 6;
    const HAS_FRAGS: u32 = 1 << 5;
    // r0 = XDP_PASS; exit
    let program: [u64; 2] = [0xb7 | 2 << 32, 0x95];
    let license = c"Apache-2.0";
    let load = ProgramLoad {
        kind: XDP,
        count: 2,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: HAS_FRAGS,
    };
    // SAFETY: the kernel reads the attribute, `count` instructions and the license up to its zero.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of_val(&load)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
