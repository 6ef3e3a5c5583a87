//! Other programs: where they are, how they are run, and as whom.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The workspace's root folder.
///
/// # Errors
/// When not started by `cargo xtask`, which tells where the workspace lies.
pub(crate) fn workspace() -> Result<PathBuf> {
    let manifest = env::var("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set: start this program with `cargo xtask`")?;
    let root = Path::new(&manifest).ancestors().nth(2);
    root.map(Path::to_path_buf)
        .with_context(|| format!("CARGO_MANIFEST_DIR={manifest} is not crates/xtask"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let root = workspace()?;
    Ok(env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir)))
}

/// A cargo command in the workspace's root, with the toolchain that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(workspace()?);
    Ok(cargo)
}

/// Runs a command in sight of the user.
///
/// # Errors
/// When it cannot be started or fails; the message names the whole command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Builds `mizar` in a profile and runs it, through sudo when that is needed to be root: building
/// stays the user's.
///
/// # Errors
/// When the build or the program fails.
pub(crate) fn build_and_run_as_root(profile: &str, arguments: &[String]) -> Result<()> {
    run(&mut cargo(&["build", "--profile", profile, "--package", "mizar-cli"])?)?;

    let program = target_folder()?.join(profile).join("mizar");
    let mut command = if is_root()? {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    };
    run(command.args(arguments))
}

/// Whether network namespaces can be made and kernel programs loaded.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn is_root() -> Result<bool> {
    let process = fs::metadata("/proc/self").context("read the owner of /proc/self")?;
    Ok(process.uid() == 0)
}

/// Whether a program can be found; the folders of system programs are searched too, which an
/// ordinary user's PATH may not name.
pub(crate) fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).any(|folder| folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/apt-get");
        command.args(["install", "-y", "iperf3"]);
        assert_eq!(line_of(&command), "apt-get install -y iperf3");
    }

    #[test]
    fn a_failing_command_is_named_with_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed (exit status: 3)");
    }

    #[test]
    fn a_program_that_is_nowhere_is_not_found() {
        assert!(has_program("sh"));
        assert!(!has_program("no-such-program-anywhere"));
    }
}
