//! What is written: no unfinished work, no exception without its reason, and an opening page.

use super::{File, Finding};
use crate::source::{line_at, words_of};

/// Put together here, so that this file passes.
const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Unfinished work belongs into an issue, where somebody finds it.
pub(super) fn markers(file: &File) -> Vec<Finding> {
    words_of(&file.text)
        .filter(|(_, word)| MARKERS.contains(word))
        .map(|(at, word)| {
            let message = format!("`{word}`: do it, or write an issue");
            file.finding(line_at(&file.text, at), message)
        })
        .collect()
}

/// A lint is switched off for a stated reason only, and with `expect`, which says when the
/// exception is no longer needed.
pub(super) fn exceptions(file: &File) -> Vec<Finding> {
    let attributes = ["allow", "expect"].into_iter().flat_map(|kind| {
        ["#[", "#!["].into_iter().flat_map(move |open| {
            let start = format!("{open}{kind}(");
            let found = file.code.match_indices(&start).map(|(at, _)| at).collect::<Vec<_>>();
            found.into_iter().map(move |at| (kind, at))
        })
    });
    attributes.filter_map(|(kind, at)| exception(file, kind, at)).collect()
}

fn exception(file: &File, kind: &str, at: usize) -> Option<Finding> {
    let attribute = file.code[at..].split(']').next().unwrap_or_default();
    let line = line_at(&file.code, at);
    if kind == "allow" {
        let message = "`allow`: use `expect(…, reason = \"…\")`".to_owned();
        return Some(file.finding(line, message));
    }
    let has_reason = words_of(attribute).any(|(_, word)| word == "reason");
    (!has_reason).then(|| file.finding(line, "`expect` without a `reason`".to_owned()))
}

/// Each crate's root opens with a page on what it is.
pub(super) fn opening(file: &File) -> Vec<Finding> {
    let is_root = ["/lib.rs", "/main.rs", "/build.rs"].iter().any(|root| file.path.ends_with(root));
    if !is_root || file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![file.finding(1, "opens without `//!`: say what this crate is".to_owned())]
}

/// Examples in documentation are not compiled, which takes most of a minute even if there are none:
/// what is to be tried is a test.
pub(super) fn examples(file: &File) -> Vec<Finding> {
    if !file.is("rs") {
        return Vec::new();
    }
    let mut is_open = false;
    let mut findings = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let line = line.trim_start();
        let fence = ["/// ```", "//! ```"].iter().find_map(|fence| line.strip_prefix(fence));
        let Some(language) = fence else { continue };
        is_open = !is_open;
        if is_open && !["text", "yaml"].contains(&language) {
            let message = "an example that nobody runs: say ```text, or make it a test".to_owned();
            findings.push(file.finding(at + 1, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::messages;

    #[test]
    fn unfinished_work_is_found_in_comments_and_text() {
        let word = MARKERS[0];
        let found = messages(markers, "a.md", &format!("a\n({word}: b)\n"));
        assert_eq!(found, [format!("2: `{word}`: do it, or write an issue")]);
        assert!(messages(markers, "a.rs", &format!("let {word}S = 1;")).is_empty());
    }

    #[test]
    fn an_exception_needs_expect_and_a_reason() {
        let good = "#[expect(dead_code, reason = \"kept\")]\nfn f() {}\n// #[allow(x)]\n";
        assert!(messages(exceptions, "a.rs", good).is_empty());
        assert_eq!(
            messages(exceptions, "a.rs", "\n#![allow(dead_code)]\n"),
            ["2: `allow`: use `expect(…, reason = \"…\")`"]
        );
        assert_eq!(
            messages(exceptions, "a.rs", "#[expect(dead_code)]\nfn reason() {}\n"),
            ["1: `expect` without a `reason`"]
        );
    }

    #[test]
    fn an_example_in_documentation_is_text() {
        let block =
            |language: &str| format!("//! It is:\n//!\n//! ```{language}\n//! a\n//! ```\n");
        assert!(messages(examples, "a.rs", &block("text")).is_empty());
        assert!(messages(examples, "a.rs", &block("yaml")).is_empty());
        assert!(messages(examples, "a.md", &block("")).is_empty());
        for language in ["", "rust", "no_run"] {
            let found = messages(examples, "a.rs", &block(language));
            assert_eq!(found, ["3: an example that nobody runs: say ```text, or make it a test"]);
        }
    }

    #[test]
    fn a_crate_opens_with_its_page() {
        assert!(messages(opening, "crates/a/src/lib.rs", "//! What it is.\n").is_empty());
        assert!(messages(opening, "crates/a/src/other.rs", "mod a;\n").is_empty());
        assert_eq!(messages(opening, "crates/a/src/main.rs", "mod a;\n").len(), 1);
    }
}
