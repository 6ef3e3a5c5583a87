//! The BPF file system, where the agents pin what must outlive them.

use rustix::mount::{MountFlags, mount};
use std::fs::File;
use std::io;
use std::path::Path;

const FOLDER: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const MAGIC: rustix::fs::FsWord = 0xcafe_4a11;

/// Mounts the BPF file system if nobody has. It stays mounted, as on any system that uses it: other
/// labs and other programs may have pins there.
///
/// `lock` is a folder that everybody who calls this locks: of two mounts, one would hide the other.
pub(crate) fn ensure_mounted(lock: &Path) -> io::Result<()> {
    let lock = File::open(lock)?;
    lock.lock()?;
    let kind = rustix::fs::statfs(FOLDER)?.f_type;
    if kind == MAGIC {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", FOLDER, "bpf", flags, c"mode=0700")?;
    Ok(())
}
