//! `cargo xtask check`: rustfmt and clippy, for the machine's target and for the kernel's.

use std::env::consts::ARCH;
use std::process::Command;

use anyhow::Result;

use crate::{setup, shell};

/// # Errors
/// When the set-up is incomplete, or at the first check that fails.
pub(crate) fn run() -> Result<()> {
    setup::build_tools()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    for mut command in [formatting()?, shell::cargo(&clippy)?, kernel_clippy()?] {
        shell::run(&mut command)?;
    }
    Ok(())
}

/// Says whether all is in rustfmt's form.
///
/// # Errors
/// When the workspace cannot be found.
pub(crate) fn formatting() -> Result<Command> {
    shell::cargo(&["fmt", "--all", "--check"])
}

/// Has clippy compile the workspace, for a build that fails at what it denies: it is a compiler
/// with more lints. As `cargo clippy` it would go through everything once more, only to throw away
/// what it made.
pub(crate) fn lint(build: &mut Command) -> &mut Command {
    build
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        // As `cargo clippy -- -D warnings` tells it.
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__")
}

/// For the machine's target most of `crates/ebpf` is compiled away, so clippy sees it here.
///
/// # Errors
/// When the workspace cannot be found.
pub(crate) fn kernel_clippy() -> Result<Command> {
    let mut clippy = shell::cargo(&["clippy", "--release", "--package", "mizar-ebpf"])?;
    clippy
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(shell::target_folder()?.join("bpf"))
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{ARCH}\""));
    Ok(clippy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process};

    #[test]
    fn a_build_fails_at_a_lint_and_names_it() {
        let folder = shell::target_folder().unwrap().join(format!("lint-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let compile = |program: &str| {
            fs::write(folder.join("main.rs"), program).unwrap();
            let mut build = Command::new("clippy-driver");
            lint(&mut build).args(["rustc", "main.rs"]).current_dir(&folder).output().unwrap()
        };
        let clean = compile("fn main() {}");
        let denied = compile("fn main() { println!(\"{}\", [0].to_vec().len() == 0); }");
        fs::remove_dir_all(&folder).unwrap();
        assert!(clean.status.success(), "{}", String::from_utf8_lossy(&clean.stderr));
        assert!(!denied.status.success());
        let reason = String::from_utf8_lossy(&denied.stderr).into_owned();
        assert!(reason.contains("-D clippy::len-zero"), "{reason}");
    }
}
