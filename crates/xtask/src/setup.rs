//! `cargo xtask setup`: installs what is missing, asks nothing, and is done at once when
//! nothing is.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The linker that fits the pinned compiler: both use the same major version of LLVM.
const BPF_LINKER: &str = "0.10.4";

/// What the lab, the demo and the tests run in guests and on hosts.
const PROGRAMS: [Program; 7] = [
    Program { name: "busybox", package: "busybox-static", purpose: "HTTP servers in guests" },
    Program { name: "curl", package: "curl", purpose: "HTTP downloads between guests" },
    Program { name: "ethtool", package: "ethtool", purpose: "offloads switched on and off" },
    Program { name: "ip", package: "iproute2", purpose: "looking into hosts and guests" },
    Program { name: "iperf3", package: "iperf3", purpose: "throughput between guests" },
    Program { name: "ping", package: "iputils-ping", purpose: "reachability of guests" },
    Program { name: "tcpdump", package: "tcpdump", purpose: "frames on the wire" },
];

struct Program {
    name: &'static str,
    /// Debian's package that brings it.
    package: &'static str,
    purpose: &'static str,
}

/// Installs everything: what building needs and what the lab's guests run.
///
/// # Errors
/// When something is missing and cannot be installed; names the command and the reason.
pub(crate) fn everything() -> Result<()> {
    build_tools()?;
    packages()?;
    println!("set-up complete");
    Ok(())
}

/// Installs what building and checking need; this takes no root.
///
/// # Errors
/// When something is missing and cannot be installed; names the command and the reason.
pub(crate) fn build_tools() -> Result<()> {
    components()?;
    bpf_linker()
}

fn components() -> Result<()> {
    let sysroot = output_of(Command::new("rustc").args(["--print", "sysroot"]))?;
    let sysroot = Path::new(sysroot.trim());
    let found = [
        ("rust-src", sysroot.join("lib/rustlib/src/rust/library/core").is_dir()),
        ("rustfmt", sysroot.join("bin/rustfmt").is_file()),
        ("clippy", sysroot.join("bin/cargo-clippy").is_file()),
    ];
    let missing: Vec<_> = found.iter().filter(|(_, is)| !is).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add"]).args(&missing).current_dir(shell::workspace()?);
    install(&mut rustup, "the compiler's core library, built for BPF, and the checks need it")
}

fn bpf_linker() -> Result<()> {
    let version = output_of(Command::new("bpf-linker").arg("--version")).unwrap_or_default();
    if version.split_whitespace().nth(1) == Some(BPF_LINKER) {
        return Ok(());
    }
    let mut cargo =
        shell::cargo(&["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force"])?;
    // The workspace's target folder may be on a slow disk or locked by a running build.
    cargo.env_remove("CARGO_TARGET_DIR");
    install(&mut cargo, "the kernel programs are linked by it")
}

fn packages() -> Result<()> {
    let missing = missing_programs();
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        println!(
            "missing: {} (package {}), for {}",
            program.name, program.package, program.purpose
        );
    }
    let names: Vec<_> = missing.iter().map(|program| program.package).collect();
    let names = names.join(" ");
    if !shell::has_program("apt-get") {
        bail!("this system has no apt-get: install with its own package manager {names}");
    }
    if !shell::is_root()? {
        bail!("packages are installed by root only: run `sudo apt-get install {names}`");
    }
    let reason = "the lab's guests and hosts run these programs";
    install(&mut apt_get(&["update"]), reason)?;
    let mut apt = apt_get(&["install", "--yes", "--no-install-recommends"]);
    install(apt.args(names.split(' ')), reason)?;
    match missing_programs().first() {
        None => Ok(()),
        Some(Program { name, package, .. }) => {
            bail!("package {package} is installed, yet there is no program `{name}`")
        }
    }
}

fn missing_programs() -> Vec<&'static Program> {
    PROGRAMS.iter().filter(|program| !shell::has_program(program.name)).collect()
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    // Another installation that is under way is waited for.
    apt.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apt
}

fn install(command: &mut Command, reason: &str) -> Result<()> {
    shell::run(command).with_context(|| format!("set-up is not complete: {reason}"))
}

fn output_of(command: &mut Command) -> Result<String> {
    let line = shell::line_of(command);
    let output = command
        .current_dir(shell::workspace()?)
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
