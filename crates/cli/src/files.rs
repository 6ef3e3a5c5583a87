//! Manifests in files: all of them read and checked before anything is sent.

mod document;

use crate::exit::Status;
use anyhow::{Context, Result};
use document::documents;
use mizar_vpc::{Manifest, Ref};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What stands for standard input.
const STDIN: &str = "-";
/// What manifests are in, in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Most errors that are shown at once.
const MOST_ERRORS: usize = 20;

/// The option that names the files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Files {
    /// Manifests: a file, a folder with .yaml, .yml and .json files, or - for standard input; may
    /// be given several times
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// A manifest, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What is asked for.
    pub(crate) manifest: Manifest,
    /// Where it begins.
    pub(crate) place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file as it was named.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
}

/// Something that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    place: Place,
    column: Option<usize>,
    field: Option<String>,
    problem: String,
}

/// All manifests of the files, in an order in which nothing refers to what comes later.
///
/// # Errors
/// A file cannot be read, or manifests are wrong: all that are, with file, line and field.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Found>> {
    let mut texts = Vec::new();
    for file in files {
        collect(file, &mut texts)?;
    }
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for (file, text) in &texts {
        for document in documents(file, text) {
            match document.read() {
                Ok(manifest) => found.push(Found { manifest, place: document.place() }),
                Err(error) => wrong.push(error),
            }
        }
    }
    wrong.extend(twice(&found));
    if !wrong.is_empty() {
        return Err(Status::Failed.error(list(&wrong)));
    }
    if found.is_empty() {
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let message = format!("there is no manifest in {}: check the path", names.join(", "));
        return Err(Status::Failed.error(message));
    }
    found.sort_by_key(|found| found.manifest.kind());
    Ok(found)
}

fn collect(path: &Path, texts: &mut Vec<(String, String)>) -> Result<()> {
    if path == Path::new(STDIN) {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.context("cannot read standard input")?;
        texts.push(("standard input".to_owned(), text));
        return Ok(());
    }
    let name = path.display().to_string();
    let cannot = || format!("cannot read {name}");
    if !path.is_dir() {
        let text = fs::read_to_string(path).with_context(cannot)?;
        texts.push((name, text));
        return Ok(());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        let extension = file.extension().and_then(|it| it.to_str());
        if file.is_file() && extension.is_some_and(|it| EXTENSIONS.contains(&it)) {
            files.push(file);
        }
    }
    files.sort();
    files.iter().try_for_each(|file| collect(file, texts))
}

/// Resources that stand in two places: nobody knows which one is meant.
fn twice(found: &[Found]) -> Vec<Wrong> {
    let mut first: BTreeMap<Ref, &Place> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Found { manifest, place } in found {
        let reference = manifest.reference();
        if let Some(other) = first.get(&reference) {
            let problem = format!("{reference} stands at {other} already: remove one of them");
            let (place, column, field) = (place.clone(), None, None);
            wrong.push(Wrong { place, column, field, problem });
        } else {
            first.insert(reference, place);
        }
    }
    wrong
}

fn list(wrong: &[Wrong]) -> String {
    let mut lines: Vec<_> = wrong.iter().take(MOST_ERRORS).map(Wrong::to_string).collect();
    let more = wrong.len().saturating_sub(MOST_ERRORS);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    if wrong.len() > 1 {
        lines.insert(0, format!("{} manifests are wrong, and nothing was sent", wrong.len()));
    }
    lines.join("\n  ")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, column, field, problem } = self;
        write!(f, "{place}")?;
        if let Some(column) = column {
            write!(f, ":{column}")?;
        }
        write!(f, ": ")?;
        if let Some(field) = field {
            write!(f, "{field}: ")?;
        }
        f.write_str(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VPC: &str = "kind: Vpc\nmetadata: {name: blue}\nspec: {}\n";
    const NETWORK: &str =
        "kind: Network\nmetadata:\n  name: front\n  vpc: blue\nspec:\n  v4: 10.0.1.0/24\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn errors(text: &str) -> String {
        let folder = folder(&[("a.yaml", text)]);
        let error = read(&[folder.path().to_owned()]).unwrap_err().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_folder_is_read_in_an_order_that_can_be_applied() {
        let both = format!("# comment\n---\n{NETWORK}---\n---\n{VPC}...\n");
        let folder = folder(&[
            ("a.yaml", &both),
            (
                "b.json",
                "{\"kind\":\"Host\",\"metadata\":{\
            \"name\":\"h1\"},\"spec\":{\"underlay\":\"100.64.0.1\"}}",
            ),
            ("notes.txt", "{"),
        ]);
        let found = read(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|it| it.manifest.reference().to_string()).collect();
        assert_eq!(names, ["host h1", "vpc blue", "network blue/front"]);
        assert_eq!(found[2].place.line, 3);
    }

    #[test]
    fn an_error_says_file_line_column_field_and_value() {
        let wrong = format!("{VPC}---\n{}", NETWORK.replace("10.0.1.0/24", "10.0.1.0/33"));
        let said = errors(&wrong);
        assert!(said.starts_with("a.yaml:10:7: spec.v4: "), "{said}");
        let said = errors(&NETWORK.replace("v4:", "v44:"));
        assert!(
            said.starts_with("a.yaml:6:3: spec.v44: unknown field `v44`, expected one of v4"),
            "{said}"
        );
        assert_eq!(
            errors("kind: Pod\n"),
            "a.yaml:1: kind: kind \"Pod\" is unknown: it must be one of Fleet, Host, Tenant, Vpc, \
             Network, Endpoint, SlotMap"
        );
        assert!(errors("- 1\n").starts_with("a.yaml:1:1: "));
        assert!(errors("metadata: {}\n").contains("missing field `kind`"));
    }

    #[test]
    fn all_errors_are_shown_at_once() {
        let said =
            errors(&format!("{}---\n{}", VPC.replace("blue", "B"), VPC.replace("spec", "x")));
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0], "2 manifests are wrong, and nothing was sent");
        assert!(lines[1].contains("a.yaml:2:") && lines[1].contains("metadata.name: name \"B\""));
        assert!(lines[2].contains("a.yaml:7:"), "{said}");
    }

    #[test]
    fn a_resource_stands_in_one_place() {
        let said = errors(&format!("{VPC}---\n{VPC}"));
        assert_eq!(said, "a.yaml:5: vpc blue stands at a.yaml:1 already: remove one of them");
    }

    #[test]
    fn what_must_be_in_a_vpc_says_in_which_and_nothing_else_does() {
        let said = errors(&NETWORK.replace("  vpc: blue\n", ""));
        assert_eq!(said, "a.yaml:1: metadata.vpc: a network is in a VPC: say in which");
        let said = errors(&VPC.replace("name: blue", "name: blue, vpc: red"));
        assert_eq!(said, "a.yaml:1: metadata.vpc: a vpc is in no VPC: leave it out");
    }

    #[test]
    fn a_name_that_looks_like_a_boolean_is_a_name() {
        let folder = folder(&[("a.yaml", &VPC.replace("blue", "on"))]);
        let found = read(&[folder.path().to_owned()]).unwrap();
        assert_eq!(found[0].manifest.reference().to_string(), "vpc on");
    }

    #[test]
    fn a_file_without_manifests_is_an_error() {
        assert!(errors("# nothing\n").contains("there is no manifest in"));
        assert!(read(&["/nonexistent.yaml".into()]).is_err());
    }
}
