//! Programs in tc on the NIC of a kernel that has no tcx links, as before Linux 6.6: cls_bpf
//! filters.
//!
//! A filter has no pin. So that whoever removes everything knows where one hangs, its program is
//! pinned among the links, by a name that says on which interface: `wire_tc-on-7`.

use super::attach::{AttachError, keep_error, pin_error};
use crate::netlink::{Hook, Netlink};
use aya::programs::SchedClassifier;
use std::path::{Path, PathBuf};

/// A program's name, and where it hangs.
type Place = (&'static str, Hook);

/// Attaches the program to an interface, or replaces the one that hangs there, after removing those
/// that hang on others.
pub(super) async fn attach(
    netlink: &Netlink,
    program: &mut SchedClassifier,
    (name, hook): Place,
    interface: u32,
    links: &Path,
) -> Result<(), AttachError> {
    for (path, other) in pins(name, links).filter(|(_, other)| *other != interface) {
        remove(netlink, (name, hook), &path, other).await?;
    }
    let path = links.join(format!("{name}-on-{interface}"));
    // The pin is there before the filter.
    if path.exists() {
        std::fs::remove_file(&path).map_err(pin_error("replace", &path))?;
    }
    program.pin(&path).map_err(keep_error(&path))?;
    let program = program.fd().map_err(keep_error(&path))?;
    let attached = netlink.attach_filter(interface, hook, program).await;
    attached.map_err(|source| AttachError::Filter { action: "attach", program: name, source })
}

/// Removes the program from whichever interface it hangs on.
pub(super) async fn detach(
    netlink: &Netlink,
    place: Place,
    links: &Path,
) -> Result<(), AttachError> {
    for (path, interface) in pins(place.0, links) {
        remove(netlink, place, &path, interface).await?;
    }
    Ok(())
}

async fn remove(
    netlink: &Netlink,
    (program, hook): Place,
    path: &Path,
    interface: u32,
) -> Result<(), AttachError> {
    let detached = netlink.detach_filter(interface, hook).await;
    detached.map_err(|source| AttachError::Filter { action: "remove", program, source })?;
    std::fs::remove_file(path).map_err(pin_error("remove", path))
}

/// The pins of a program, and the interfaces that it hangs on.
fn pins(program: &str, links: &Path) -> impl Iterator<Item = (PathBuf, u32)> {
    // A folder that is not there has none.
    let entries = std::fs::read_dir(links).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let interface = interface(program, entry.file_name().to_str()?)?;
        Some((entry.path(), interface))
    });
    found.collect::<Vec<_>>().into_iter()
}

fn interface(program: &str, pin: &str) -> Option<u32> {
    pin.strip_prefix(program)?.strip_prefix("-on-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_says_where_its_program_hangs() {
        assert_eq!(interface("wire_tc", "wire_tc-on-7"), Some(7));
        assert_eq!(interface("wire_tc", "wire_tc"), None);
        assert_eq!(interface("wire_tc", "wire_tc-on-x"), None);
        assert_eq!(interface("guard", "wire_tc-on-7"), None);
    }
}
