//! One YAML document of a file.

use super::{Place, Wrong};
use mizar_vpc::manifest::Head;
use mizar_vpc::{Kind, Manifest};
use serde::de::IgnoredAny;
use serde_path_to_error::{Deserializer, Track};
use serde_saphyr::Error;

/// A document, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    /// Lines before it.
    before: usize,
}

/// The documents of a file that hold something.
///
/// They are cut apart here, and not by the parser, since each is read by its own kind. A line that
/// begins with three hyphens begins a document wherever it stands (YAML 1.2, 9.1.2).
pub(super) fn documents<'a>(file: &'a str, text: &'a str) -> Vec<Document<'a>> {
    let mut documents = Vec::new();
    let (mut begin, mut before, mut line, mut at) = (0, 0, 0, 0);
    for content in text.split_inclusive('\n') {
        let marker = content.trim_end();
        if marker == "---" || marker.starts_with("--- ") || marker.starts_with("---\t") {
            documents.push(Document { file, text: &text[begin..at], before });
            (begin, before) = (at, line);
        }
        at += content.len();
        line += 1;
    }
    documents.push(Document { file, text: &text[begin..], before });
    documents.retain(|document| document.holds_something());
    documents
}

impl Document<'_> {
    /// Where its first line with something on it is.
    pub(super) fn place(&self) -> Place {
        let skipped = self.text.lines().take_while(|line| !says_something(line)).count();
        self.at(skipped + 1)
    }

    /// Its manifest.
    pub(super) fn read(&self) -> Result<Manifest, Wrong> {
        // The whole is looked at first: what is no YAML is wrong whatever its kind.
        serde_saphyr::from_str_with_options::<IgnoredAny>(self.text, options())
            .map_err(|it| self.wrong(&it, None))?;
        let head = serde_saphyr::from_str_with_options::<Head>(self.text, options());
        let head = head.map_err(|error| self.wrong(&error, None))?;
        let kind = head.kind::<serde_json::Error>();
        let kind = kind.map_err(|error| self.wrong_field("kind", &error.to_string()))?;
        let mut track = Track::new();
        let read =
            serde_saphyr::with_deserializer_from_str_with_options(self.text, options(), |from| {
                Manifest::read(kind, Deserializer::new(from, &mut track))
            });
        let path = track.path().to_string();
        let manifest = read.map_err(|error| {
            self.wrong(&error, Some(path).filter(|path| !matches!(path.as_str(), "." | "?")))
        })?;
        self.check_vpc(kind, &manifest)?;
        Ok(manifest)
    }

    fn check_vpc(&self, kind: Kind, manifest: &Manifest) -> Result<(), Wrong> {
        let one = kind.singular();
        let article = if one.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let problem = match (kind.is_in_vpc(), &manifest.metadata().vpc) {
            (true, None) => format!("{article} {one} is in a VPC: say in which"),
            (false, Some(_)) => format!("{article} {one} is in no VPC: leave it out"),
            _ => return Ok(()),
        };
        Err(self.wrong_field("metadata.vpc", &problem))
    }

    fn holds_something(&self) -> bool {
        self.text.lines().any(says_something)
    }

    fn at(&self, line: usize) -> Place {
        Place { file: self.file.to_owned(), line: self.before + line }
    }

    fn wrong_field(&self, field: &str, problem: &str) -> Wrong {
        let (field, problem) = (Some(field.to_owned()), problem.to_owned());
        Wrong { place: self.place(), column: None, field, problem }
    }

    fn wrong(&self, error: &Error, field: Option<String>) -> Wrong {
        let error = error.without_snippet();
        let text = error.to_string();
        let Some(at) = error.location() else {
            return Wrong { place: self.place(), column: None, field, problem: text };
        };
        // The place comes first, as compilers write it, so that editors find it.
        let suffix = format!(" at line {}, column {}", at.line(), at.column());
        let problem = text.strip_suffix(&suffix).unwrap_or(&text).to_owned();
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let place = self.at(number(at.line()));
        Wrong { place, column: Some(number(at.column())), field, problem }
    }
}

/// As YAML 1.2 has it: a network named `n` or `on` is one, and not a boolean.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

/// Whether a line is more than blanks, a comment or a marker.
fn says_something(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line.starts_with('#') || matches!(line, "---" | "..."))
}
