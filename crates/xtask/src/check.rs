//! `cargo xtask check`: rustfmt and clippy, for the machine's target and for the kernel's.

use std::env::consts::ARCH;
use std::process::Command;

use anyhow::Result;

use crate::{setup, shell};

/// # Errors
/// When the set-up is incomplete, or at the first check that fails.
pub(crate) fn run() -> Result<()> {
    setup::build_tools()?;
    for (_, mut command) in commands()? {
        shell::run(&mut command)?;
    }
    Ok(())
}

/// The checks, each with its name.
///
/// # Errors
/// When the workspace cannot be found.
pub(crate) fn commands() -> Result<[(&'static str, Command); 3]> {
    Ok([
        ("rustfmt", shell::cargo(&["fmt", "--all", "--check"])?),
        (
            "clippy",
            shell::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?,
        ),
        ("clippy of the kernel programs", kernel_clippy()?),
    ])
}

/// For the machine's target most of `crates/ebpf` is compiled away, so clippy sees it here.
fn kernel_clippy() -> Result<Command> {
    let mut clippy = shell::cargo(&["clippy", "--release", "--package", "mizar-ebpf"])?;
    clippy
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(shell::target_folder()?.join("bpf"))
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{ARCH}\""));
    Ok(clippy)
}
