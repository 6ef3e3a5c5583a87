//! What the program says when something is wrong, and how it ends: no root needed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn mizar(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mizar"));
    command.args(line.split_whitespace()).output().unwrap()
}

/// What it says, if it says nothing on standard output and ends with this status.
fn refusal(line: &str, status: i32) -> String {
    let output = mizar(line);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{line}: {said}");
    assert!(output.stdout.is_empty(), "{line}");
    said
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_how_it_should_be() {
    assert!(refusal("lab exec a", 2).contains("Usage:"));
    assert!(refusal("trace a b --protocol sctp", 2).contains("icmp, tcp, udp"));
    assert!(refusal("lab upp", 2).contains("'up'"));
}

#[test]
fn help_goes_to_standard_output_with_examples() {
    for line in ["--help", "trace --help", "lab --help", "lab exec --help", "agent --help"] {
        let output = mizar(line);
        assert!(output.status.success(), "{line}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("Examples:"), "{line}");
    }
}

#[test]
fn an_agent_that_does_not_listen_is_named_by_its_socket() {
    let said = refusal("agent status --socket /nonexistent/agent.sock", 1);
    assert!(said.starts_with("error: no agent listens on /nonexistent/agent.sock"), "{said}");
    assert!(said.contains("--socket"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    let said = refusal("lab up /nonexistent/cloud.yaml", 1);
    assert!(said.starts_with("error: cannot read /nonexistent/cloud.yaml: No such file"), "{said}");
}

#[test]
fn a_wrong_topology_is_refused_by_file_field_and_value() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloud.yaml");
    for (text, expected) in [
        ("lab: x\nhosts: 2\nhost: 3\n", "host"),
        ("lab: X_y\nhosts: 2\n", "X_y"),
        ("lab: x\nhosts: 2\nvpcs: [{name: a, vni: 16777216, dividers: [h1]}]\n", "16777216"),
        ("lab: x\nhosts: 2\nvpcs: [{name: a, vni: 1, dividers: [h7]}]\n", "h7"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = refusal(&format!("lab up {}", file.display()), 1);
        assert!(said.starts_with("error: "), "{said}");
        assert!(said.contains("cloud.yaml") && said.contains(expected), "{said}");
    }
}
