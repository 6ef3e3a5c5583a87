//! `cargo xtask tidy`: the workspace's own rules, which no compiler and no lint checks.
//!
//! A rule is a function from a file to findings; it knows nothing but the file, so that it is
//! tested with good and bad text. What a rule lets pass by name stands in a constant beside it,
//! with the reason.

mod boundary;
mod form;
mod manifest;
mod size;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::source::code_of;

/// Every rule; each looks at the files that concern it.
const RULES: [fn(&File) -> Vec<Finding>; 13] = [
    size::file,
    size::functions,
    size::lines,
    form::markers,
    form::exceptions,
    form::opening,
    form::examples,
    boundary::unsafe_code,
    boundary::purity,
    boundary::generated_types,
    manifest::lints,
    manifest::pure_crates,
    manifest::reserved,
];

/// Written by tools, or made of arbitrary bytes.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", "corpus", "artifacts"];
const EXTENSIONS: [&str; 7] = ["rs", "toml", "proto", "md", "yaml", "yml", "sh"];

/// # Errors
/// When a rule is broken; every finding has been printed by then.
pub(crate) fn run() -> Result<()> {
    let root = shell::workspace()?;
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));

    let mut findings: Vec<_> =
        files.iter().flat_map(|file| RULES.iter().flat_map(|rule| rule(file))).collect();
    findings.extend(boundary::stale_exceptions(&files));
    for finding in &findings {
        println!("{}:{}: {}", finding.path, finding.line, finding.message);
    }
    if !findings.is_empty() {
        bail!("{} findings in {} files", findings.len(), files.len());
    }
    println!("tidy: {} files", files.len());
    Ok(())
}

/// A text file of the workspace.
pub(crate) struct File {
    /// From the workspace's root, with slashes.
    path: String,
    text: String,
    /// Rust source without comments and literals, line for line; empty for other files.
    code: String,
}

impl File {
    fn new(path: &str, text: String) -> Self {
        let code = if has_extension(path, "rs") { code_of(&text) } else { String::new() };
        Self { path: path.to_owned(), text, code }
    }

    fn is(&self, extension: &str) -> bool {
        has_extension(&self.path, extension)
    }

    /// The name of the crate's folder, for a file below `crates/`.
    fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    fn finding(&self, line: usize, message: String) -> Finding {
        Finding { path: self.path.clone(), line, message }
    }
}

/// A broken rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    path: String,
    /// From 1.
    line: usize,
    message: String,
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let path = entry.path();
        let kind = entry.file_type().with_context(|| format!("look at {}", path.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(root, &path, files)?;
        } else if kind.is_file() && EXTENSIONS.iter().any(|e| has_extension(&name, e)) {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("read {} as text", path.display()))?;
            let from_root = path.strip_prefix(root).unwrap_or(&path);
            files.push(File::new(&from_root.to_string_lossy(), text));
        }
    }
    Ok(())
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// What a rule says about text at a path, for the rules' own tests.
#[cfg(test)]
fn messages(rule: fn(&File) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    let found = rule(&File::new(path, text.to_owned()));
    found.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
}
