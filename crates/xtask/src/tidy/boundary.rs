//! What stays on its side: unsafe code, the outside world, and generated types.

use super::{File, Finding};
use crate::source::{line_at, words_of};

/// A file that may do what others may not, and why.
type Exception = (&'static str, &'static str);

/// Where `unsafe` may stand outside `crates/ebpf`.
const UNSAFE_SHIMS: &[Exception] = &[
    ("crates/agent/src/kernel/mapping.rs", "mmap(2) gives a pointer"),
    ("crates/agent/src/kernel/require.rs", "statfs(2)"),
    ("crates/agent/src/kernel/sys.rs", "bpf(2) takes pointers"),
    ("crates/agent/src/netlink/ethtool.rs", "the ethtool ioctl takes a pointer"),
    ("crates/agent/src/netlink/sys.rs", "netlink sockets and setns(2)"),
    ("crates/agent/src/packet_socket.rs", "AF_PACKET sockets"),
    ("crates/agent/tests/netlink_world/mod.rs", "unshare(2) and bpf(2) for a test of its own"),
    ("crates/bench/src/sys.rs", "bpf(2) takes pointers; unshare"),
    (
        "crates/cli/tests/scenarios/sys.rs",
        "setns(2), seccomp(2), packet and ICMP sockets, for tests",
    ),
    ("crates/lab/src/sys.rs", "unshare, ioctl, and code between fork and exec"),
];

/// Where the generated protobuf types may stand outside `crates/proto`.
const PROTOBUF_GLUE: &[Exception] = &[
    ("crates/agent/src/local.rs", "serves the local socket"),
    ("crates/agent/src/stream.rs", "dials the controller"),
    ("crates/agent/tests/host/world.rs", "serves an agent's stream, and calls its local service"),
    ("crates/bench/src/cloud.rs", "serves the agents' streams"),
    ("crates/cli/src/client.rs", "calls an agent's local service"),
    ("crates/controller/src/serve.rs", "serves the agents' streams"),
    ("crates/controller/src/stream.rs", "serves the agents' streams"),
    ("crates/controller/tests/secured/world.rs", "dials an agent's stream"),
    ("crates/controller/tests/storm/agents.rs", "speaks as the agents of simulated hosts"),
    ("crates/bench/src/fleet/hosts.rs", "speaks as the agents of simulated hosts"),
    ("crates/controller/src/core/tests.rs", "weighs messages as they are on the wire"),
    ("crates/lab/src/agents.rs", "calls the agents' local service"),
];

/// The module of `crates/proto` that holds what is generated.
const GENERATED: &str = "pb";

/// The crates that are told everything, time included, and touch nothing.
const PURE: [&str; 2] = ["packet", "vpc"];

/// The async runtime, files, sockets and clocks, by the names that code has for them.
const OUTSIDE_WORLD: [&str; 14] = [
    "async",
    "await",
    "tokio",
    "fs",
    "File",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
];

pub(super) fn unsafe_code(file: &File) -> Vec<Finding> {
    if file.crate_name() == Some("ebpf") || is_listed(UNSAFE_SHIMS, file) {
        return Vec::new();
    }
    let message = "`unsafe` outside crates/ebpf and the shims that tidy lists";
    unsafe_words(file).map(|at| file.finding(line_at(&file.code, at), message.to_owned())).collect()
}

pub(super) fn purity(file: &File) -> Vec<Finding> {
    let Some(name) = file.crate_name().filter(|name| PURE.contains(name)) else {
        return Vec::new();
    };
    if !file.path.starts_with(&format!("crates/{name}/src/")) {
        return Vec::new();
    }
    words_of(&file.code)
        .filter(|(_, word)| OUTSIDE_WORLD.contains(word))
        .map(|(at, word)| {
            let message = format!("`{word}`: mizar-{name} knows no runtime, file, socket or clock");
            file.finding(line_at(&file.code, at), message)
        })
        .collect()
}

pub(super) fn generated_types(file: &File) -> Vec<Finding> {
    let own = matches!(file.crate_name(), None | Some("proto"));
    if own || is_listed(PROTOBUF_GLUE, file) {
        return Vec::new();
    }
    let is_module = |at: usize| {
        file.code[..at].ends_with("::") || file.code[at + GENERATED.len()..].starts_with("::")
    };
    words_of(&file.code)
        .filter(|(at, word)| *word == GENERATED && is_module(*at))
        .map(|(at, _)| {
            let message = "generated protobuf types stop at crates/proto: convert there";
            file.finding(line_at(&file.code, at), message.to_owned())
        })
        .collect()
}

/// A listed file that is gone, or no longer needs it, is to be taken off its list.
pub(super) fn stale_exceptions(files: &[File]) -> Vec<Finding> {
    let needs_unsafe = |file: &File| unsafe_words(file).next().is_some();
    let needs_generated = |file: &File| words_of(&file.code).any(|(_, word)| word == GENERATED);
    let mut stale = unneeded(UNSAFE_SHIMS, files, needs_unsafe);
    stale.extend(unneeded(PROTOBUF_GLUE, files, needs_generated));
    stale
}

fn unneeded(list: &[Exception], files: &[File], needs: impl Fn(&File) -> bool) -> Vec<Finding> {
    list.iter()
        .filter(|(path, _)| !files.iter().any(|file| file.path == *path && needs(file)))
        .map(|(path, reason)| Finding {
            path: (*path).to_owned(),
            line: 1,
            message: format!("tidy lists this file for `{reason}`, which it does not need"),
        })
        .collect()
}

fn is_listed(list: &[Exception], file: &File) -> bool {
    list.iter().any(|(path, _)| *path == file.path)
}

fn unsafe_words(file: &File) -> impl Iterator<Item = usize> {
    words_of(&file.code).filter(|(_, word)| *word == "unsafe").map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::messages;

    #[test]
    fn unsafe_code_stands_in_ebpf_and_listed_shims_only() {
        let code = "fn f() {\n    unsafe { g() }\n}\n";
        assert!(messages(unsafe_code, "crates/ebpf/src/main.rs", code).is_empty());
        assert!(messages(unsafe_code, UNSAFE_SHIMS[0].0, code).is_empty());
        let found = messages(unsafe_code, "crates/agent/src/lib.rs", code);
        assert_eq!(found, ["2: `unsafe` outside crates/ebpf and the shims that tidy lists"]);
    }

    #[test]
    fn speaking_of_unsafe_code_is_not_writing_it() {
        let text = "//! No unsafe here.\n#![forbid(unsafe_code)]\nconst A: &str = \"unsafe\";\n";
        assert!(messages(unsafe_code, "crates/agent/src/lib.rs", text).is_empty());
    }

    #[test]
    fn pure_crates_may_know_addresses_and_durations() {
        let code = "use std::net::{IpAddr, Ipv4Addr};\nuse core::time::Duration;\n// tokio\n";
        assert!(messages(purity, "crates/vpc/src/lib.rs", code).is_empty());
    }

    #[test]
    fn pure_crates_may_not_know_the_outside_world() {
        for code in [
            "use std::time::Instant;",
            "use std::{fs, fmt};",
            "use std::net::{IpAddr, UdpSocket};",
            "pub async fn f() {}",
            "tokio::spawn(f);",
        ] {
            assert_eq!(messages(purity, "crates/packet/src/lib.rs", code).len(), 1, "{code}");
            assert!(messages(purity, "crates/agent/src/lib.rs", code).is_empty(), "{code}");
        }
    }

    #[test]
    fn generated_types_stop_at_proto() {
        for code in ["use mizar_proto::pb;", "let a = pb::Update::default();"] {
            assert!(messages(generated_types, "crates/proto/src/lib.rs", code).is_empty());
            assert_eq!(messages(generated_types, "crates/vpc/src/lib.rs", code).len(), 1);
        }
        assert!(messages(generated_types, "crates/vpc/src/lib.rs", "let pb = 1;").is_empty());
    }

    #[test]
    fn an_exception_that_is_not_needed_is_stale() {
        let list = [("a.rs", "reason a"), ("b.rs", "reason b"), ("c.rs", "reason c")];
        let files =
            [File::new("a.rs", "unsafe {}".to_owned()), File::new("b.rs", "// unsafe".to_owned())];
        let stale = unneeded(&list, &files, |file| unsafe_words(file).next().is_some());
        let paths: Vec<_> = stale.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["b.rs", "c.rs"]);
    }
}
