//! Runs the fuzz targets for a while: `cargo xtask test --full`.
//!
//! They are a workspace of their own. What `cargo fuzz` adds to a build is instrumentation, which
//! the pinned compiler knows too, and memory checks, which code without `unsafe` has no use for.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;
use crate::test::Tally;

const FOLDER: &str = "crates/packet/fuzz";
/// How long each target runs, in seconds.
const SECONDS: u32 = 30;
/// Inputs are no longer: a jumbo frame and what goes with it.
const LONGEST: u32 = 10_000;
/// What libFuzzer needs to see which ways an input takes.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds all targets and runs them one after the other, each from its kept corpus.
///
/// # Errors
/// When nothing could be started; a target that fails is counted.
pub(crate) fn run(tally: &mut Tally) -> Result<()> {
    if !shell::has_program("c++") {
        println!(
            "SKIPPED fuzz targets: libFuzzer is built by a C++ compiler, and there is no `c++`"
        );
        tally.skipped += 1;
        return Ok(());
    }
    match build() {
        Ok(binaries) => {
            for name in targets()? {
                tally.step(&format!("fuzz target {name}"), fuzz(&binaries, &name));
            }
        }
        Err(error) => tally.step("fuzz targets", Err(error)),
    }
    Ok(())
}

/// Builds all targets; the folder that they are in then.
fn build() -> Result<PathBuf> {
    let target = shell::target_folder()?.join("fuzz");
    let triple = host()?;
    let manifest = format!("{FOLDER}/Cargo.toml");
    let mut cargo =
        shell::cargo(&["build", "--release", "--bins", "--locked", "--manifest-path", &manifest])?;
    // With a target named, build scripts and macros are left as they are.
    cargo.args(["--target", &triple, "--target-dir"]).arg(&target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    shell::run(&mut cargo)?;
    Ok(target.join(triple).join("release"))
}

/// The machine that this compiler runs on, as it calls it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").current_dir(shell::workspace()?).output();
    let output = output.context("cannot run `rustc -vV`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let folder = shell::workspace()?.join(FOLDER).join("fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file.with_context(|| format!("list {}", folder.display()))?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort_unstable();
    ensure!(!names.is_empty(), "there are no fuzz targets in {}", folder.display());
    Ok(names)
}

/// Runs one target. What it finds worth keeping stays in the target folder, and so does what makes
/// it fail, which belongs into the corpus as a named test.
fn fuzz(binaries: &Path, name: &str) -> Result<()> {
    let scratch = shell::target_folder()?.join("fuzz/found").join(name);
    fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let mut target = Command::new(binaries.join(name));
    target.arg(format!("-max_total_time={SECONDS}")).arg(format!("-max_len={LONGEST}"));
    target.arg(format!("-artifact_prefix={}/", scratch.display())).arg("-verbosity=0");
    target.arg(&scratch).arg(shell::workspace()?.join(FOLDER).join("corpus").join(name));
    shell::run(&mut target).with_context(|| {
        format!("the input that it fails with is in {}, as crash-…", scratch.display())
    })
}
