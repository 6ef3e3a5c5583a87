//! Programs of others that benchmarks compare with and long tests check by. Debian's packages of
//! them are unpacked into the target folder rather than installed: installing them would start
//! services, and a network of theirs, on this machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// What is unpacked together, because one needs the other.
pub(crate) struct Peer {
    name: &'static str,
    packages: &'static [&'static str],
    /// The file that shows that it is there.
    file: &'static str,
}

/// The controller and the switch that many clouds use.
pub(crate) const OVN: Peer = Peer {
    name: "OVN",
    packages: &[
        "ovn-central",
        "ovn-host",
        "ovn-common",
        "openvswitch-common",
        "openvswitch-switch",
        "libbpf1",
        "libcap-ng0",
        "libnuma1",
        "libunbound8",
        "libxdp1",
    ],
    file: "usr/bin/ovn-northd",
};

/// The reference plugins of the Container Network Interface.
pub(crate) const CNI: Peer = Peer {
    name: "the CNI reference plugins",
    packages: &["containernetworking-plugins"],
    file: "usr/lib/cni/bridge",
};

/// Prometheus, for its checker of metrics.
pub(crate) const PROMETHEUS: Peer =
    Peer { name: "promtool", packages: &["prometheus"], file: "usr/bin/promtool" };

/// Where peers are unpacked, as if that were the root folder.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(shell::target_folder()?.join("peers"))
}

/// The search path of programs, with those of peers first.
pub(crate) fn path() -> Result<OsString> {
    let own = folder()?.join("usr/bin");
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(own).chain(env::split_paths(&others)))
        .context("PATH cannot be extended by the folder of peers")
}

/// Unpacks what is missing. What cannot be had is said and then left out by whoever wanted it.
pub(crate) fn unpack(peers: &[Peer]) -> Result<()> {
    let root = folder()?;
    for peer in peers.iter().filter(|peer| !root.join(peer.file).is_file()) {
        if let Err(error) = peer.unpack(&root) {
            println!("{} is left out: {error:#}", peer.name);
        }
    }
    Ok(())
}

impl Peer {
    fn unpack(&self, root: &Path) -> Result<()> {
        let packages = root.join("packages").join(self.packages[0]);
        // What an interrupted download left behind is not unpacked.
        let _ = fs::remove_dir_all(&packages);
        fs::create_dir_all(&packages).with_context(|| format!("create {}", packages.display()))?;
        let download = || {
            let mut apt = Command::new("apt-get");
            apt.args(["-q", "download"]).args(self.packages).current_dir(&packages);
            shell::run(&mut apt)
        };
        if download().is_err() {
            // A fresh machine has no lists of packages.
            shell::run(Command::new("apt-get").args(["-q", "update"]))?;
            download()?;
        }
        for package in fs::read_dir(&packages).context("read the folder of packages")? {
            let package = package.context("read the folder of packages")?.path();
            shell::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root))?;
        }
        fs::remove_dir_all(&packages).context("remove the packages")
    }
}
