//! The bpf(2) calls that aya does not make: rows as plain bytes, in batches; what a link hangs on;
//! and the kernel's jiffies.
#![expect(unsafe_code, reason = "system calls that take pointers")]

use aya::maps::{MapData, RingBuf};
use std::ffi::{CString, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const MAP_LOOKUP: c_long = 1;
const MAP_UPDATE: c_long = 2;
const MAP_DELETE: c_long = 3;
const PROG_LOAD: c_long = 5;
const OBJ_GET: c_long = 7;
const PROG_TEST_RUN: c_long = 10;
const GET_INFO: c_long = 15;
const MAP_LOOKUP_BATCH: c_long = 24;
const MAP_UPDATE_BATCH: c_long = 26;
const LINK_DETACH: c_long = 34;

const PER_CPU_TYPES: [u32; 3] = [5, 6, 10];

/// A map by its descriptor. The sizes are what the kernel says, so every call can check its
/// buffers.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    pub(crate) key_size: usize,
    /// Size of what one look-up returns: for a per-CPU map all CPUs' values.
    pub(crate) row_size: usize,
    pub(crate) entries: u32,
}

impl Map {
    /// Takes a map's descriptor.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info: MapInfo = info(fd.as_fd())?;
        let value_size = info.value_size as usize;
        let row_size = if PER_CPU_TYPES.contains(&info.kind) {
            value_size.next_multiple_of(8) * possible_cpus()?
        } else {
            value_size
        };
        Ok(Self { fd, key_size: info.key_size as usize, row_size, entries: info.max_entries })
    }

    /// Reads the row of `key` into `row`; whether there is one.
    pub(crate) fn get(&self, key: &[u8], row: &mut [u8]) -> io::Result<bool> {
        self.check(key, row)?;
        let mut call = Element::new(self, key, row.as_mut_ptr() as u64);
        // SAFETY: the kernel reads `key_size` bytes of the key and writes `row_size`, as checked.
        found(unsafe { bpf(MAP_LOOKUP, &mut call) })
    }

    /// Writes a row.
    pub(crate) fn put(&self, key: &[u8], row: &[u8]) -> io::Result<()> {
        self.check(key, row)?;
        let mut call = Element::new(self, key, row.as_ptr() as u64);
        // SAFETY: the kernel reads `key_size` and `row_size` bytes, as checked.
        unsafe { bpf(MAP_UPDATE, &mut call) }.map(drop)
    }

    /// Removes a row; whether there was one.
    pub(crate) fn remove(&self, key: &[u8]) -> io::Result<bool> {
        if key.len() != self.key_size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut call = Element::new(self, key, 0);
        // SAFETY: the kernel reads `key_size` bytes, as checked.
        found(unsafe { bpf(MAP_DELETE, &mut call) })
    }

    /// Writes rows given one after the other; on failure says how many were written.
    pub(crate) fn put_all(&self, keys: &[u8], rows: &[u8]) -> Result<(), (usize, io::Error)> {
        let count = keys.len() / self.key_size.max(1);
        if keys.len() != count * self.key_size || rows.len() != count * self.row_size {
            return Err((0, io::ErrorKind::InvalidInput.into()));
        }
        if count == 0 {
            return Ok(());
        }
        let mut call = Batch {
            keys: keys.as_ptr() as u64,
            values: rows.as_ptr() as u64,
            count: count as u32,
            map_fd: self.fd.as_raw_fd() as u32,
            ..Batch::default()
        };
        // SAFETY: the kernel reads `count` keys and rows, which both slices have, as checked.
        match unsafe { bpf(MAP_UPDATE_BATCH, &mut call) } {
            Ok(_) => Ok(()),
            Err(error) => Err(((call.count as usize).min(count), error)),
        }
    }

    /// All rows, or the first `most`: keys one after the other, and their rows. Rows that change
    /// meanwhile may be missed.
    pub(crate) fn dump(&self, most: usize) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut keys, mut rows) = (Vec::new(), Vec::new());
        let mut left = most;
        let mut room = 512usize;
        let mut position = vec![0u8; self.key_size.max(8)];
        let mut started = false;
        while left > 0 {
            room = room.min(left);
            let (mut some_keys, mut some_rows) =
                (vec![0u8; room * self.key_size], vec![0u8; room * self.row_size]);
            let mut next = position.clone();
            let mut call = Batch {
                in_batch: if started { position.as_ptr() as u64 } else { 0 },
                out_batch: next.as_mut_ptr() as u64,
                keys: some_keys.as_mut_ptr() as u64,
                values: some_rows.as_mut_ptr() as u64,
                count: room as u32,
                map_fd: self.fd.as_raw_fd() as u32,
                ..Batch::default()
            };
            // SAFETY: the kernel writes at most `room` keys and rows, and a position of at most a
            // key's size or four bytes.
            let outcome = unsafe { bpf(MAP_LOOKUP_BATCH, &mut call) };
            let ended = match outcome {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // One hash bucket has more rows than there is room for.
                Err(error)
                    if error.raw_os_error() == Some(libc::ENOSPC) && room < left.min(1 << 20) =>
                {
                    room *= 4;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let count = (call.count as usize).min(room);
            keys.extend_from_slice(&some_keys[..count * self.key_size]);
            rows.extend_from_slice(&some_rows[..count * self.row_size]);
            if ended {
                break;
            }
            left -= count;
            (position, started) = (next, true);
        }
        Ok((keys, rows))
    }

    fn check(&self, key: &[u8], row: &[u8]) -> io::Result<()> {
        if key.len() == self.key_size && row.len() == self.row_size {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens what is pinned at a path.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut call = ObjectGet { path: path.as_ptr() as u64, ..ObjectGet::default() };
    // SAFETY: the kernel reads the path up to its zero.
    let fd = unsafe { bpf(OBJ_GET, &mut call) }?;
    // SAFETY: a descriptor that the kernel has just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Takes a link off its interface at once, whoever else holds it.
pub(crate) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut call = LinkDetach { fd: link.as_raw_fd() as u32 };
    // SAFETY: the kernel reads the descriptor's number only.
    unsafe { bpf(LINK_DETACH, &mut call) }.map(drop)
}

/// The interface that an XDP or tcx link hangs on; 0 when that interface is gone.
pub(crate) fn link_interface(link: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(info::<LinkInfo>(link)?.interface)
}

/// The kernel's number for a program, which no other one has at the same time, and none soon after.
pub(crate) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(info::<ProgramInfo>(program)?.id)
}

/// The kernel's 64-bit jiffies.
pub fn jiffies() -> io::Result<u64> {
    loop {
        let before = jiffies_shifted(32)?;
        let low = jiffies_shifted(0)?;
        if jiffies_shifted(32)? == before {
            return Ok(u64::from(before) << 32 | u64::from(low));
        }
    }
}

/// 32 bits of the jiffies, by running a program of three instructions.
fn jiffies_shifted(shift: i32) -> io::Result<u32> {
    const CALL_JIFFIES64: u64 = 0x85 | 118 << 32;
    const EXIT: u64 = 0x95;
    const SCHED_CLS: u32 = 3;
    let program = [CALL_JIFFIES64, 0x77 | (shift as u64) << 32, EXIT];
    let license = c"GPL";
    let mut load = ProgramLoad {
        kind: SCHED_CLS,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..ProgramLoad::default()
    };
    // SAFETY: the kernel reads `count` instructions and the license up to its zero.
    let fd = unsafe { bpf(PROG_LOAD, &mut load) }?;
    // SAFETY: a descriptor that the kernel has just made, owned by nobody else.
    let program = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let frame = [0u8; 64];
    let mut run = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads `data_size_in` bytes and writes none outside of `run`.
    unsafe { bpf(PROG_TEST_RUN, &mut run) }?;
    Ok(run.result)
}

/// A ring buffer that can be waited for.
pub(crate) fn waitable(queue: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: a ring buffer owns its map's descriptor, which stays the same and open as long as it
    // lives.
    let registered = unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// How many CPUs per-CPU maps have room for.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<usize>().ok());
    last.map(|n| n + 1).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What some bpf(2) commands take: see `union bpf_attr`.
trait Attribute: Default {}

#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Element {
    fn new(map: &Map, key: &[u8], value: u64) -> Self {
        let map_fd = map.fd.as_raw_fd() as u32;
        Self { map_fd, key: key.as_ptr() as u64, value, ..Self::default() }
    }
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    element_flags: u64,
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
    context: [u64; 3],
    flags: u32,
    cpu: u32,
    batch: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Default)]
struct GetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkDetach {
    fd: u32,
}

impl Attribute for ObjectGet {}
impl Attribute for LinkDetach {}
impl Attribute for Element {}
impl Attribute for Batch {}
impl Attribute for ProgramLoad {}
impl Attribute for TestRun {}
impl Attribute for GetInfo {}

/// The start of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The start of `struct bpf_link_info` for XDP and tcx links.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    interface: u32,
    attach: u32,
}

/// The start of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
}

/// What the kernel tells of an object: plain integers only.
trait Info: Default {}
impl Info for MapInfo {}
impl Info for ProgramInfo {}
impl Info for LinkInfo {}

fn info<T: Info>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut call = GetInfo {
        fd: fd.as_raw_fd() as u32,
        length: size_of::<T>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `length` bytes, any of which are a `T`.
    unsafe { bpf(GET_INFO, &mut call) }?;
    Ok(info)
}

/// # Safety
///
/// What the attribute points to must be as large as the command reads or writes.
unsafe fn bpf<T: Attribute>(command: c_long, attribute: &mut T) -> io::Result<c_long> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes; the rest is up to the caller.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attribute, size_of::<T>()) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

fn found(outcome: io::Result<c_long>) -> io::Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives back to the kernel what loading the programs or a large update took, which is not needed
/// again soon.
pub(crate) fn release_memory() {
    // SAFETY: it touches free memory only.
    unsafe { libc::malloc_trim(0) };
}
