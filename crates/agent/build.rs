//! Builds the kernel programs (`crates/ebpf`) and leaves them in `OUT_DIR` as `mizar.bpf.o`.
//!
//! The agent embeds that object, so an ordinary `cargo build` gives one file that needs no other.
//! The programs are built by a cargo of their own, with the same toolchain and the same lockfile,
//! for the BPF target and in the release profile whatever the agent's profile is: the verifier's
//! limits leave no room for an unoptimised build.

use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PACKAGE: &str = "mizar-ebpf";
const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "mizar.bpf.o";
/// What the object is made of; a change in any of these builds it again.
const SOURCES: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
    "crates/ebpf/Cargo.toml",
    "crates/ebpf/src",
    "crates/packet/Cargo.toml",
    "crates/packet/src",
];
/// Where cargo gets packages from and how it reports stay as they are; every other `CARGO_*`
/// variable describes the outer build.
const KEPT: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let workspace = workspace()?;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    require_linker()?;
    require_core_sources(&workspace)?;

    let out = PathBuf::from(variable("OUT_DIR")?);
    let target = target_folder(&out)?;
    compile(&workspace, &target)?;

    let built = target.join(TARGET).join("release").join(PACKAGE);
    let object = out.join(OBJECT);
    let whole = fs::read(&built).map_err(|error| format!("read {}: {error}", built.display()))?;
    let bare = without_debug_sections(&whole)
        .map_err(|error| format!("strip {}: {error}", built.display()))?;
    fs::write(&object, bare).map_err(|error| format!("write {}: {error}", object.display()))
}

/// Debug information has become BTF, and would be three quarters of what every agent has in memory
/// of the object.
fn without_debug_sections(whole: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut object = Builder::read64(whole)?;
    for section in &mut object.sections {
        let name = &*section.name;
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    object.delete_orphans();
    // LLVM keeps sections' names among the symbols'.
    let names = object.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut bare = Vec::new();
    object.write(&mut bare)?;
    Ok(bare)
}

fn workspace() -> Result<PathBuf, String> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.ancestors().nth(2);
    workspace
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} is not crates/agent of a workspace", manifest.display()))
}

fn require_linker() -> Result<(), String> {
    match Command::new("bpf-linker").arg("--version").output() {
        Ok(found) if found.status.success() => Ok(()),
        Ok(found) => Err(format!("bpf-linker --version ends with {}: {SETUP}", found.status)),
        Err(error) => Err(format!("bpf-linker cannot be run ({error}): {SETUP}")),
    }
}

/// No core library comes compiled for the BPF target: it is built from rust-src.
fn require_core_sources(workspace: &Path) -> Result<(), String> {
    let mut rustc = Command::new("rustc");
    forget_outer_build(&mut rustc);
    let output = rustc
        .args(["--print", "sysroot"])
        .current_dir(workspace)
        .output()
        .map_err(|error| format!("rustc cannot be run: {error}"))?;
    let sysroot = String::from_utf8_lossy(&output.stdout);
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    if core.is_dir() {
        return Ok(());
    }
    Err(format!("the rust-src component is missing ({} is no folder): {SETUP}", core.display()))
}

const SETUP: &str = "the kernel programs cannot be built; run `cargo xtask setup`";

/// The target folder is not the outer one, which the outer cargo holds locked until the agent is
/// built, and which RUSTC_BOOTSTRAP would have rebuilt each time. It is shared by all profiles of
/// the agent, so the programs are compiled once for build, test and clippy.
fn target_folder(out: &Path) -> Result<PathBuf, String> {
    // <target>/<profile>/build/<package>-<hash>/out
    let outer = out.ancestors().nth(4);
    outer
        .map(|outer| outer.join("bpf"))
        .ok_or_else(|| format!("OUT_DIR={} lies in no target folder", out.display()))
}

fn compile(workspace: &Path, target: &Path) -> Result<(), String> {
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let flags = [
        // Which kernel's register layout aya-ebpf uses: that of the machine the agent runs on.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made from debug information.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Filling a few bytes is a store or two and no call of a function that takes them one by
        // one: half of the verifier's steps were in there.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        // A loop's end jumps to its beginning: verifiers before Linux 6.8 take a loop that is
        // closed by going on to the next instruction for one without end.
        "-Clink-arg=--llvm-args=-disable-block-placement".to_owned(),
    ];
    let mut cargo = Command::new("cargo");
    forget_outer_build(&mut cargo);
    let status = cargo
        .args(["build", "--release", "--package", PACKAGE, "--target", TARGET])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(target)
        .current_dir(workspace)
        // The pinned stable compiler knows build-std too, behind this.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{PACKAGE} does not build for {TARGET} ({status}): its errors stand below"))
}

/// Removes what the outer cargo, clippy and the caller meant for the outer build only.
fn forget_outer_build(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
        command.env_remove(name);
    }
}

fn is_of_outer_build(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
    let of_compiler = matches!(
        name.as_ref(),
        "RUSTC" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" | "RUSTFLAGS" | "RUSTC_LINKER"
    );
    of_cargo || of_compiler || name.starts_with("CLIPPY_")
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name} from cargo: {error}"))
}
