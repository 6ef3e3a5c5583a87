//! What the crates' manifests declare: which crate may depend on what, and the common lints.

use super::{File, Finding};

/// What the pure crates are built on. For their own tests they may use more; proptest is here for
/// the generators of legal values that they lend to the tests of others, and schemars for the
/// schemas of manifests, each behind a feature.
const PURE: [(&str, &[&str]); 2] = [
    ("packet", &["proptest", "zerocopy"]),
    ("vpc", &["hashbrown", "ipnet", "mizar-packet", "proptest", "schemars", "serde", "thiserror"]),
];

/// Packages that only the named crates may use.
const RESERVED: [(&str, &[&str]); 14] = [
    ("aya", &["agent", "lab", "bench"]),
    ("aya-ebpf", &["ebpf"]),
    ("aya-obj", &["agent", "lab", "bench"]),
    ("netlink-packet-core", &["agent", "lab", "bench"]),
    ("netlink-packet-route", &["agent", "lab", "bench"]),
    ("redb", &["store"]),
    ("rtnetlink", &["agent", "lab", "bench"]),
    ("rcgen", &["identity"]),
    // For the store: the checksum of backups.
    ("ring", &["identity", "store"]),
    ("x509-parser", &["identity"]),
    ("prost", &["controller", "proto"]),
    ("protox", &["proto"]),
    ("tonic-prost", &["proto"]),
    ("tonic-prost-build", &["proto"]),
];

/// `ebpf` is all unsafe code, which the common lints deny.
const OWN_LINTS: [&str; 1] = ["ebpf"];

pub(super) fn lints(file: &File) -> Vec<Finding> {
    let Some(name) = manifest_of(file).filter(|name| !OWN_LINTS.contains(name)) else {
        return Vec::new();
    };
    let inherits = entries(&file.text)
        .any(|entry| entry.section == "lints" && entry.line.replace(' ', "") == "workspace=true");
    if inherits {
        return Vec::new();
    }
    let message = format!("mizar-{name} has not the common lints: add `[lints] workspace = true`");
    vec![file.finding(1, message)]
}

pub(super) fn pure_crates(file: &File) -> Vec<Finding> {
    let pure = PURE.iter().find(|(name, _)| manifest_of(file) == Some(name));
    let Some((name, permitted)) = pure else { return Vec::new() };
    dependencies(&file.text)
        .filter(|found| !found.for_tests && !permitted.contains(&found.package))
        .map(|found| {
            let (package, all) = (found.package, permitted.join(", "));
            let message = format!("mizar-{name} depends on `{package}`; it may on {all} only");
            file.finding(found.line, message)
        })
        .collect()
}

pub(super) fn reserved(file: &File) -> Vec<Finding> {
    let Some(name) = manifest_of(file) else { return Vec::new() };
    dependencies(&file.text)
        .filter_map(|found| {
            let (package, users) =
                RESERVED.iter().find(|(package, _)| *package == found.package)?;
            let message = format!("`{package}` is for {} only", users.join(", "));
            (!users.contains(&name)).then(|| file.finding(found.line, message))
        })
        .collect()
}

/// The crate whose manifest this file is.
fn manifest_of(file: &File) -> Option<&str> {
    let name = file.crate_name()?;
    (file.path == format!("crates/{name}/Cargo.toml")).then_some(name)
}

struct Dependency<'a> {
    package: &'a str,
    line: usize,
    for_tests: bool,
}

/// Reads `name = …`, `name.workspace = true` and `[dependencies.name]`.
fn dependencies(manifest: &str) -> impl Iterator<Item = Dependency<'_>> {
    let own_sections = manifest.lines().enumerate().filter_map(|(at, line)| {
        let section = section_of(line)?;
        let (kind, package) = section.rsplit_once("dependencies.")?;
        Some(Dependency { package, line: at + 1, for_tests: kind.ends_with("dev-") })
    });
    let listed = entries(manifest).filter_map(|entry| {
        let kind = entry.section.strip_suffix("dependencies")?;
        let package = entry.line.split(['=', '.', ' ']).next()?.trim_matches('"');
        Some(Dependency { package, line: entry.number, for_tests: kind.ends_with("dev-") })
    });
    own_sections.chain(listed)
}

/// A line of a section.
struct Entry<'a> {
    section: &'a str,
    line: &'a str,
    /// From 1.
    number: usize,
}

/// The lines of a manifest that begin an entry: `key = value`, each with its section.
fn entries(manifest: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut section = "";
    manifest.lines().enumerate().filter_map(move |(at, line)| {
        if let Some(opened) = section_of(line) {
            section = opened;
            return None;
        }
        // What is indented continues a value, or closes it.
        let begins = line.starts_with(|c: char| c.is_alphanumeric() || c == '"');
        begins.then_some(Entry { section, line: line.trim_end(), number: at + 1 })
    })
}

fn section_of(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.trim_end().strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::messages;

    #[test]
    fn every_crate_has_the_common_lints() {
        let good = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert!(messages(lints, "crates/vpc/Cargo.toml", good).is_empty());
        let bad = "[package]\nname = \"a\"\n[lints.rust]\nunused = \"deny\"\n";
        assert_eq!(messages(lints, "crates/vpc/Cargo.toml", bad).len(), 1);
        assert!(messages(lints, "crates/ebpf/Cargo.toml", bad).is_empty());
        assert!(messages(lints, "Cargo.toml", bad).is_empty());
    }

    #[test]
    fn a_pure_crate_depends_on_what_is_listed() {
        let good =
            "[dependencies]\nzerocopy.workspace = true\n\n[dev-dependencies]\ntokio = \"1\"\n";
        assert!(messages(pure_crates, "crates/packet/Cargo.toml", good).is_empty());
        let found =
            messages(pure_crates, "crates/packet/Cargo.toml", "[dependencies]\ntokio = \"1\"\n");
        assert_eq!(
            found,
            ["2: mizar-packet depends on `tokio`; it may on proptest, zerocopy only"]
        );
    }

    #[test]
    fn dependencies_are_found_however_they_are_written() {
        for text in [
            "[dependencies]\nrtnetlink = { version = \"1\" }\n",
            "[dependencies]\nrtnetlink.workspace = true\n",
            "[dependencies.rtnetlink]\nversion = \"1\"\n",
            "[build-dependencies]\nrtnetlink = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\n\"rtnetlink\" = \"1\"\n",
            "[dev-dependencies]\na = { features = [\n    \"b\",\n] }\nrtnetlink = \"1\"\n",
        ] {
            assert_eq!(messages(reserved, "crates/cli/Cargo.toml", text).len(), 1, "{text}");
            assert!(messages(reserved, "crates/agent/Cargo.toml", text).is_empty(), "{text}");
        }
    }
}
