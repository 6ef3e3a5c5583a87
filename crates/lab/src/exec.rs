//! Running commands inside hosts and guests.

use crate::layout::Layout;
use crate::netns::Namespace;
use crate::process::LAB_VARIABLE;
use crate::sys;
use std::ffi::OsStr;
use std::io;
use std::process::Command;

/// Why a command cannot be run inside a host or guest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab's namespaces cannot be listed.
    #[error("cannot list network namespaces")]
    List(#[source] io::Error),
    /// There is no such host or guest.
    #[error("lab {lab} has no host or guest {target}: it has {known}")]
    Unknown {
        /// The lab.
        lab: String,
        /// What was asked for.
        target: String,
        /// What there is.
        known: String,
    },
    /// A short name fits several.
    #[error("{target} may be any of {candidates}: say which one")]
    Ambiguous {
        /// What was asked for.
        target: String,
        /// What it fits.
        candidates: String,
    },
}

/// A command that will run inside a host or guest of a lab.
///
/// A host is addressed by its name, a guest as `vpc/endpoint`, or by the endpoint's name alone if
/// nothing else in the lab has it. Standard input, output and exit status are the command's own:
/// call [`Command::status`], [`Command::output`] or
/// [`exec`](std::os::unix::process::CommandExt::exec) as fits. `mizar lab down` ends what still
/// runs in the lab, which it recognises by the variable [`LAB_VARIABLE`].
///
/// # Errors
///
/// When there is no such lab, host or guest, a short name fits several, or the caller is not root.
pub fn command(
    lab: &str,
    target: &str,
    program: impl AsRef<OsStr>,
) -> Result<Command, crate::Error> {
    crate::check_root()?;
    let layout = Layout::new(lab);
    let namespace = find(&layout, target)?;
    let mut command = Command::new(program);
    command.env(LAB_VARIABLE, lab);
    sys::enter_before_exec(&mut command, namespace.open()?);
    Ok(command)
}

/// The namespace of a host or guest.
fn find(layout: &Layout, target: &str) -> Result<Namespace, crate::Error> {
    let namespaces = layout.namespaces().map_err(Error::List)?;
    let mut places: Vec<(String, Namespace)> = namespaces
        .into_iter()
        .filter_map(|namespace| Some((layout.place(&namespace)?, namespace)))
        .collect();
    if places.is_empty() {
        return Err(crate::Error::NoLab(layout.lab().to_owned()));
    }
    places.sort_by(|(a, _), (b, _)| a.cmp(b));
    let names = |places: &[(String, Namespace)]| {
        places.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>().join(", ")
    };
    if let Some(index) = places.iter().position(|(place, _)| place == target) {
        let (_, namespace) = places.swap_remove(index);
        return Ok(namespace);
    }
    let known = names(&places);
    places.retain(|(place, _)| place.split_once('/').is_some_and(|(_, short)| short == target));
    let (lab, target) = (layout.lab().to_owned(), target.to_owned());
    match places.as_slice() {
        [(_, namespace)] => Ok(namespace.clone()),
        [] => Err(Error::Unknown { lab, target, known }.into()),
        several => Err(Error::Ambiguous { target, candidates: names(several) }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cleanup, is_root};

    #[test]
    fn commands_run_inside_hosts_and_guests_and_pass_their_status_on() {
        if !is_root() {
            return;
        }
        let layout = Layout::new(&format!("exec-{}", std::process::id()));
        let _cleanup = Cleanup::of(&layout);
        assert!(matches!(command(layout.lab(), "h1", "true"), Err(crate::Error::NoLab(_))));
        let host = layout.host_namespace("h1");
        for namespace in [
            &host,
            &layout.fabric_namespace(),
            &layout.guest_namespace("blue", "a"),
            &layout.guest_namespace("red", "a"),
            &layout.guest_namespace("red", "b"),
        ] {
            namespace.create(&[]).unwrap();
        }

        let mut inside = command(layout.lab(), "h1", "readlink").unwrap();
        let output = inside.arg("/proc/self/ns/net").output().unwrap();
        let (_, inode) = host.identity().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("net:[{inode}]\n"));

        let mut fails = command(layout.lab(), "b", "sh").unwrap();
        assert_eq!(fails.args(["-c", "exit 7"]).status().unwrap().code(), Some(7));
        command(layout.lab(), "blue/a", "true").unwrap();

        let message = |target| command(layout.lab(), target, "true").unwrap_err().to_string();
        assert_eq!(message("a"), "a may be any of blue/a, red/a: say which one");
        assert!(message("c").ends_with("no host or guest c: it has blue/a, h1, red/a, red/b"));
    }
}
