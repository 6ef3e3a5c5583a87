//! JSON bodies, read so that an error says where it is.

use super::body::{ChangeBody, DeleteBody, MOST_CHANGES};
use super::problem::{Problem, ProblemKind};
use mizar_vpc::manifest::Head;
use mizar_vpc::{Kind, Manifest};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Error};
use serde_path_to_error::Track;

/// Manifests, each to be read by its kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApply<'a> {
    #[serde(borrow)]
    manifests: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBatch<'a> {
    #[serde(borrow)]
    changes: Vec<RawChange<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawChange<'a> {
    #[serde(borrow)]
    Create(&'a RawValue),
    Replace(&'a RawValue),
    Apply(&'a RawValue),
    Delete(&'a RawValue),
}

/// Reads one manifest. Where the path says the kind, the manifest must be of that one.
///
/// # Errors
/// [`ProblemKind::Malformed`] for what is no JSON, [`ProblemKind::Invalid`] for wrong fields.
pub(super) fn manifest(json: &[u8], expected: Option<Kind>) -> Result<Manifest, Problem> {
    let head: Head = value(json)?;
    let kind =
        head.kind::<Error>().map_err(|error| Problem::of_field("kind", error.to_string()))?;
    if let Some(expected) = expected.filter(|expected| *expected != kind) {
        let problem = format!("{kind:?} is not of this path: it must be {expected:?}");
        return Err(Problem::of_field("kind", problem));
    }
    tracked(json, |from| Manifest::read(kind, from))
}

/// Reads the body of `/v1/apply`.
pub(super) fn manifests(json: &[u8]) -> Result<Vec<Manifest>, Problem> {
    let RawApply { manifests } = value(json)?;
    check_count("manifests", manifests.len())?;
    let read = |(index, raw): (usize, &RawValue)| {
        let read = manifest(raw.get().as_bytes(), None);
        read.map_err(|problem| problem.in_change("manifests", index))
    };
    manifests.into_iter().enumerate().map(read).collect()
}

/// Reads the body of `/v1/batch`.
pub(super) fn changes(json: &[u8]) -> Result<Vec<ChangeBody>, Problem> {
    let RawBatch { changes } = value(json)?;
    check_count("changes", changes.len())?;
    let read = |change: &RawChange<'_>| -> Result<ChangeBody, Problem> {
        let manifest = |raw: &RawValue| manifest(raw.get().as_bytes(), None);
        Ok(match change {
            RawChange::Create(raw) => ChangeBody::Create(manifest(raw)?),
            RawChange::Replace(raw) => ChangeBody::Replace(manifest(raw)?),
            RawChange::Apply(raw) => ChangeBody::Apply(manifest(raw)?),
            RawChange::Delete(raw) => {
                ChangeBody::Delete(value::<DeleteBody>(raw.get().as_bytes())?)
            }
        })
    };
    let numbered = changes.iter().enumerate();
    numbered
        .map(|(index, change)| read(change).map_err(|problem| problem.in_change("changes", index)))
        .collect()
}

/// A value of a type that serde derives.
pub(super) fn value<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Problem> {
    tracked(json, |from| T::deserialize(from))
}

type Tracked<'a, 'b, 'de> =
    serde_path_to_error::Deserializer<'a, 'b, &'a mut Deserializer<serde_json::de::SliceRead<'de>>>;

/// Reads all of the text, and says of an error in which field it is.
fn tracked<'de, T>(
    json: &'de [u8],
    read: impl for<'a, 'b> FnOnce(Tracked<'a, 'b, 'de>) -> Result<T, Error>,
) -> Result<T, Problem> {
    // What serde derives for an object takes a list of its fields too, which nobody means.
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if let Some(b'[' | b'"' | b'0'..=b'9' | b'-' | b't' | b'f' | b'n') = first {
        return Err(Problem::of_field(
            "body",
            "it is no object: it must be one, as in {\"kind\": …}",
        ));
    }
    let mut from = Deserializer::from_slice(json);
    let mut track = Track::new();
    let value = read(serde_path_to_error::Deserializer::new(&mut from, &mut track))
        .map_err(|error| wrong(&error, &track.path().to_string()))?;
    from.end().map_err(|error| wrong(&error, "."))?;
    Ok(value)
}

fn wrong(error: &Error, path: &str) -> Problem {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    if !error.is_data() {
        let detail = format!("the body is no JSON: {message} at line {line}, column {column}");
        return Problem::new(ProblemKind::Malformed, detail);
    }
    // The path of the whole is a dot.
    let field = if path == "." { "body" } else { path };
    Problem::of_field(field, format!("{message} (line {line}, column {column})"))
}

fn check_count(list: &str, count: usize) -> Result<(), Problem> {
    if (1..=MOST_CHANGES).contains(&count) {
        return Ok(());
    }
    let problem = format!("the list has {count} entries: it must have from 1 to {MOST_CHANGES}");
    let mut problem = Problem::of_field(list, problem);
    if count > MOST_CHANGES {
        problem = Problem {
            errors: problem.errors,
            ..Problem::new(ProblemKind::TooLarge, problem.detail)
        };
    }
    Err(problem)
}
