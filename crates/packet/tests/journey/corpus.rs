//! Replays what the fuzzers have kept: the seeds, and each input that once broke something.

use crate::fuzz::targets;
use std::fs;
use std::path::{Path, PathBuf};

/// Every committed input of a target. A test says which it tries, so that a failure names it.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} is empty");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The names in a folder, without extensions.
fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = entries.map(|entry| stem(entry.unwrap().path())).collect();
    names.sort();
    names
}

#[test]
fn every_target_is_built_has_inputs_and_is_replayed_here() {
    let replayed = ["control_frame", "dhcp", "guest_frame", "journey", "wire_frame"];
    assert_eq!(names("fuzz_targets"), replayed);
    assert_eq!(names("corpus"), replayed);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for name in replayed {
        let path = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "{name}");
    }
}

#[test]
fn guest_frames() {
    for (path, input) in inputs("guest_frame") {
        println!("{}", path.display());
        targets::guest_frame(&input);
    }
}

#[test]
fn wire_frames() {
    for (path, input) in inputs("wire_frame") {
        println!("{}", path.display());
        targets::wire_frame(&input);
    }
}

#[test]
fn control_frames() {
    for (path, input) in inputs("control_frame") {
        println!("{}", path.display());
        targets::control_frame(&input);
    }
}

#[test]
fn dhcp_messages() {
    for (path, input) in inputs("dhcp") {
        println!("{}", path.display());
        targets::dhcp(&input);
    }
}

#[test]
fn journeys() {
    for (path, input) in inputs("journey") {
        println!("{}", path.display());
        targets::journey(&input);
    }
}
