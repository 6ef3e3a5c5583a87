//! The system calls that Rust cannot check: bpf(2) for programs assembled here, and unshare.
#![expect(unsafe_code, reason = "system calls that take pointers, and unshare, have no safe form")]

use crate::assembly::Instruction;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const LINK_CREATE: libc::c_long = 28;
/// `BPF_XDP`, the attach type of XDP programs.
const ATTACH_XDP: u32 = 37;

/// A map of plain memory.
pub(crate) const ARRAY: u32 = 2;
/// A map of interfaces of this thread's network namespace, to send frames to.
pub(crate) const DEVICE_MAP: u32 = 14;
/// A map of programs to tail-call.
pub(crate) const PROGRAM_ARRAY: u32 = 3;

/// Where a program can be attached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// cls_bpf and tcx.
    Classifier,
    /// XDP, frames in several pieces included.
    Xdp,
}

/// A map with so many rows, whose keys are their numbers.
pub(crate) fn create_map(kind: u32, row_size: usize, rows: u32) -> io::Result<OwnedFd> {
    let mut call =
        MapCreate { kind, key_size: 4, value_size: row_size as u32, entries: rows, flags: 0 };
    // SAFETY: the kernel reads plain numbers.
    descriptor(unsafe { bpf(MAP_CREATE, &mut call) }?)
}

/// Writes a row of a map, whose size it must have.
pub(crate) fn set_row(map: &OwnedFd, key: u32, row: &[u8]) -> io::Result<()> {
    let mut call = MapUpdate {
        map: map.as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const key) as u64,
        row: row.as_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the key has four bytes, the row those that the map was made with.
    unsafe { bpf(MAP_UPDATE, &mut call) }.map(drop)
}

/// Loads a program.
pub(crate) fn load(kind: Kind, program: &[Instruction]) -> io::Result<OwnedFd> {
    const HAS_FRAGS: u32 = 1 << 5;
    let license = c"GPL";
    let mut call = ProgramLoad {
        kind: match kind {
            Kind::Classifier => 3,
            Kind::Xdp => 6,
        },
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..ProgramLoad::default()
    };
    if let Kind::Xdp = kind {
        (call.flags, call.expected_attach) = (HAS_FRAGS, ATTACH_XDP);
    }
    // SAFETY: the kernel reads `count` instructions and the license up to its zero.
    descriptor(unsafe { bpf(PROG_LOAD, &mut call) }?)
}

/// What a test run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// What the program returned the last time.
    pub(crate) code: u32,
    /// The mean time of one round, in nanoseconds.
    pub(crate) nanoseconds: u32,
}

/// Runs a program on a frame; in XDP the first `metadata` bytes stand before the frame.
pub(crate) fn run(
    program: BorrowedFd<'_>,
    kind: Kind,
    frame: &[u8],
    metadata: u32,
    repeat: u32,
) -> io::Result<Ran> {
    // struct xdp_md: data, data_end and four words that are zero.
    let context = [metadata, frame.len() as u32, 0, 0, 0, 0];
    let mut call = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        ..TestRun::default()
    };
    if let Kind::Xdp = kind {
        call.context_size_in = size_of_val(&context) as u32;
        call.context_in = context.as_ptr() as u64;
    }
    // SAFETY: the kernel reads the frame and the context by their sizes, and writes `call` alone.
    unsafe { bpf(PROG_TEST_RUN, &mut call) }?;
    Ok(Ran { code: call.result, nanoseconds: call.duration })
}

/// Has the kernel send so many frames in earnest: an XDP program is run on each as if it had come
/// in by an interface of the calling thread's network namespace, where an XDP program hangs, and
/// sends it back out of it. Frames come to the program as it has left others.
pub(crate) fn send(
    program: BorrowedFd<'_>,
    frame: &[u8],
    interface: u32,
    count: u32,
) -> io::Result<()> {
    const LIVE_FRAMES: u32 = 1 << 1;
    // struct xdp_md, as in `run`.
    let context = [0, frame.len() as u32, 0, interface, 0, 0];
    let mut call = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: count,
        context_size_in: size_of_val(&context) as u32,
        context_in: context.as_ptr() as u64,
        flags: LIVE_FRAMES,
        // What a NIC's driver takes in one go.
        batch_size: 64,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads the frame and the context by their sizes, and writes `call` alone.
    unsafe { bpf(PROG_TEST_RUN, &mut call) }.map(drop)
}

/// Hangs an XDP program on an interface of the calling thread's network namespace, in its driver,
/// for as long as the descriptor is open.
pub(crate) fn attach_xdp(program: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    const DRIVER_MODE: u32 = 1 << 2;
    let program = program.as_raw_fd() as u32;
    let mut call = LinkCreate { program, interface, attach: ATTACH_XDP, flags: DRIVER_MODE };
    // SAFETY: the kernel reads plain numbers.
    descriptor(unsafe { bpf(LINK_CREATE, &mut call) }?)
}

/// Moves the calling thread into a network namespace of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: descriptors stay shared between threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Gives the calling thread, and those that it starts, mounts of its own.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: descriptors stay shared between threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(io::Error::from)
}

/// How long a program has run and how often, since the kernel was told to count it.
pub(crate) fn run_time(program: impl AsFd) -> io::Result<(u64, u64)> {
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let field = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.and_then(|value| value.trim().parse().ok()).ok_or(io::ErrorKind::InvalidData)
    };
    Ok((field("run_time_ns:")?, field("run_cnt:")?))
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    reserved: u32,
    key: u64,
    row: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 2],
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    reserved: u32,
}

/// # Safety
///
/// What the attribute points to must be as large as the command reads or writes.
unsafe fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes; the rest is up to the caller.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attribute, size_of::<T>()) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

fn descriptor(number: libc::c_long) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that the kernel has just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}
