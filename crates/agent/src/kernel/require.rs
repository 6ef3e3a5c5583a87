//! What this host must offer. Looked at before anything is touched, so that a refusal says what to
//! do.

use super::attach::NicMode;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is missing.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Missing {
    /// The kernel is too old.
    #[error("kernel {found} is too old: 6.1 is the oldest on which the programs load")]
    Kernel {
        /// Its release.
        found: String,
    },
    /// The kernel is too old for the mode.
    #[error(
        "kernel {found} is too old for NIC mode {mode}: it takes 6.3 or later to unwrap frames \
         above the NIC's driver; a NIC whose driver has XDP can be used in mode native"
    )]
    Mode {
        /// Its release.
        found: String,
        /// The mode.
        mode: NicMode,
    },
    /// The kernel has no type information.
    #[error("the kernel has no BTF (/sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF=y")]
    Btf,
    /// The process may not do what it must.
    #[error("missing capabilities {}: run the agent as root or grant them", names.join(", "))]
    Privileges {
        /// Names of the capabilities.
        names: Vec<&'static str>,
    },
    /// Pins would not be pins.
    #[error(
        "{} is not on a BPF file system: mount one, for example `mount -t bpf bpf /sys/fs/bpf`, \
         and keep the pins below it", path.display()
    )]
    BpfFileSystem {
        /// Where the pins should be.
        path: PathBuf,
    },
}

/// Checks the kernel, the privileges and the file system of the pins.
pub(super) fn check(pins: &Path) -> Result<(), Missing> {
    check_release(&release())?;
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(Missing::Btf);
    }
    check_capabilities(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())?;
    if is_on_bpffs(pins) { Ok(()) } else { Err(Missing::BpfFileSystem { path: pins.to_owned() }) }
}

/// Checks that the kernel can do what a mode needs: but for native XDP, `wire_tc` unwraps, by flags
/// of `bpf_skb_adjust_room` that say which protocol comes out.
pub(super) fn check_mode(mode: NicMode) -> Result<(), Missing> {
    check_mode_of(&release(), mode)
}

fn check_mode_of(release: &str, mode: NicMode) -> Result<(), Missing> {
    if mode == NicMode::Native || numbers(release) >= (6, 3) {
        return Ok(());
    }
    Err(Missing::Mode { found: release.to_owned(), mode })
}

fn release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

fn check_release(release: &str) -> Result<(), Missing> {
    let is_enough = numbers(release) >= (6, 1);
    if is_enough { Ok(()) } else { Err(Missing::Kernel { found: release.to_owned() }) }
}

/// The first two numbers of a release.
fn numbers(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    }
}

/// Bits of capabilities: name, bit, and the bit of an older one that includes it.
const CAPABILITIES: [(&str, u32, u32); 5] = [
    ("CAP_NET_ADMIN", 12, 12),
    ("CAP_NET_RAW", 13, 13),
    ("CAP_SYS_ADMIN", 21, 21),
    ("CAP_PERFMON", 38, 21),
    ("CAP_BPF", 39, 21),
];

fn check_capabilities(status: &str) -> Result<(), Missing> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |bit: u32| held & 1 << bit != 0;
    let lacking = CAPABILITIES.iter().filter(|(_, bit, older)| !has(*bit) && !has(*older));
    let names: Vec<_> = lacking.map(|(name, ..)| *name).collect();
    if names.is_empty() { Ok(()) } else { Err(Missing::Privileges { names }) }
}

/// Whether the path, or the nearest folder above it that exists, is on a BPF file system.
fn is_on_bpffs(path: &Path) -> bool {
    path.ancestors()
        .find(|path| path.exists())
        .is_some_and(|existing| file_system(existing).is_ok_and(|kind| kind == libc::BPF_FS_MAGIC))
}

#[expect(unsafe_code, reason = "statfs(2) has no safe binding here")]
fn file_system(path: &Path) -> io::Result<i64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends with a zero, and the kernel writes one `statfs`.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: any bytes are a `statfs`, and the kernel has filled it.
    Ok(unsafe { stat.assume_init() }.f_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_refused_with_the_version_it_needs() {
        assert_eq!(check_release("6.1.0-44-amd64"), Ok(()));
        assert_eq!(check_release("6.18"), Ok(()));
        assert_eq!(check_release("7.0.1"), Ok(()));
        let error = check_release("5.15.0-generic").unwrap_err();
        assert!(error.to_string().contains("5.15.0-generic") && error.to_string().contains("6.1"));
        assert!(check_release("").is_err());
    }

    #[test]
    fn a_mode_that_the_kernel_is_too_old_for_is_refused_with_another() {
        assert_eq!(check_mode_of("6.1.0-56-cloud-amd64", NicMode::Native), Ok(()));
        assert_eq!(check_mode_of("6.12.95", NicMode::Generic), Ok(()));
        let error = check_mode_of("6.1.0-56-cloud-amd64", NicMode::Tc).unwrap_err().to_string();
        assert!(error.contains("NIC mode tc") && error.contains("6.3"), "{error}");
        assert!(error.contains("mode native"), "{error}");
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(check_capabilities("CapEff:\t000001ffffffffff\n"), Ok(()));
        // The older CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
        assert_eq!(check_capabilities("CapEff:\t0000000000203000\n"), Ok(()));
        let error = check_capabilities("CapEff:\t0000000000000000\n").unwrap_err().to_string();
        assert!(error.contains("CAP_NET_ADMIN") && error.contains("CAP_BPF"), "{error}");
    }

    #[test]
    fn pins_on_an_ordinary_file_system_are_refused() {
        assert!(!is_on_bpffs(Path::new("/proc/no/such/folder")));
    }
}
