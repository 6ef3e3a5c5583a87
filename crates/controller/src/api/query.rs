//! What the query and the conditions of a request say: each parameter checked, none passed over.

use super::problem::{Problem, ProblemKind};
use super::target::Target;
use crate::engine::{Filter, List, Watch};
use axum::http::{HeaderMap, Uri, header};
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Generation, Kind, Manifest};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Resources of a page that does not say.
pub(super) const DEFAULT_LIMIT: usize = 100;
/// Most resources of a page.
pub(super) const MOST_ITEMS: usize = 500;
/// Longest place where a page begins.
const LONGEST_AFTER: usize = 256;

/// What parameters there are at a request.
pub(super) const OF_LISTS: &[&str] =
    &["selector", "host", "network", "phase", "limit", "after", "watch", "from"];
/// Those of the fleet.
pub(super) const OF_FLEET: &[&str] = &["watch", "from"];
/// Those of a write.
pub(super) const OF_WRITES: &[&str] = &["dryRun"];
/// Those of a deletion.
pub(super) const OF_DELETIONS: &[&str] = &["cascade", "dryRun"];
/// Those of what has none.
pub(super) const NONE: &[&str] = &[];

/// The parameters of a request, by name.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

/// A list, or a watch of what would be in it.
#[derive(Debug)]
pub(super) enum Reading {
    /// A page.
    List(List),
    /// The changes.
    Watch(Watch),
}

impl Query {
    /// The parameters of a request that may have those.
    ///
    /// # Errors
    /// There is another one, or one twice.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        for (name, value) in pairs {
            if !known.contains(&&*name) {
                let right = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let detail = format!("parameter {name:?} is unknown: here there may be {right}");
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
            if parameters.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                let detail = format!("parameter {name:?} is there twice: give it once");
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
        }
        Ok(Self(parameters))
    }

    /// Whether nothing shall change.
    pub(super) fn dry_run(&self) -> Result<bool, Problem> {
        self.is_set("dryRun")
    }

    /// Whether what uses a resource shall be deleted with it.
    pub(super) fn cascade(&self) -> Result<bool, Problem> {
        self.is_set("cascade")
    }

    /// What is read of the resources that a path names.
    pub(super) fn reading(&self, target: &Target) -> Result<Reading, Problem> {
        if target.kind() != Kind::Endpoint {
            let of_endpoints = ["host", "network", "phase"];
            self.refuse(&of_endpoints, "lists of endpoints, and this is another one")?;
        }
        let filter = Filter {
            kind: target.kind(),
            vpc: target.vpc().cloned(),
            selector: self.value("selector")?.unwrap_or_default(),
            host: self.value("host")?,
            network: self.value("network")?,
            phase: self.phase()?,
        };
        if self.is_set("watch")? {
            self.refuse(&["limit", "after"], "lists, and this is a watch")?;
            return Ok(Reading::Watch(Watch { filter, from: self.value("from")? }));
        }
        self.refuse(&["from"], "watches, and this is a list")?;
        let after = self.0.get("after").cloned();
        if let Some(long) = after.as_ref().filter(|after| after.len() > LONGEST_AFTER) {
            let count = long.len();
            return Err(malformed("after", &format_args!("{count} characters"), "a page's next"));
        }
        Ok(Reading::List(List { filter, limit: self.limit()?, after }))
    }

    /// Refuses parameters that mean nothing here.
    fn refuse(&self, names: &[&str], what: &str) -> Result<(), Problem> {
        let found = names.iter().find(|name| self.0.contains_key(**name));
        found.map_or(Ok(()), |name| {
            let detail = format!("parameter {name:?} is of {what}: leave it out");
            Err(Problem::new(ProblemKind::Malformed, detail))
        })
    }

    fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.0.get("limit") else { return Ok(DEFAULT_LIMIT) };
        let number = text.parse().ok().filter(|number| (1..=MOST_ITEMS).contains(number));
        let right = format_args!("a number from 1 to {MOST_ITEMS}").to_string();
        number.ok_or_else(|| malformed("limit", &format_args!("{text:?}"), &right))
    }

    fn phase(&self) -> Result<Option<Phase>, Problem> {
        const ALL: [Phase; 4] = [Phase::Pending, Phase::Ready, Phase::Degraded, Phase::Failed];
        let Some(text) = self.0.get("phase") else { return Ok(None) };
        let found = ALL.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(text));
        let right = "one of Pending, Ready, Degraded, Failed";
        found.map(Some).ok_or_else(|| malformed("phase", &format_args!("{text:?}"), right))
    }

    fn is_set(&self, name: &str) -> Result<bool, Problem> {
        match self.0.get(name).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(malformed(name, &format_args!("{other:?}"), "true or false")),
        }
    }

    /// A parameter whose own error says what would be right.
    fn value<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: &String| {
            text.parse().map_err(|error| {
                let detail = format!("parameter {name:?}: {error}");
                Problem::new(ProblemKind::Malformed, detail)
            })
        };
        self.0.get(name).map(read).transpose()
    }
}

/// The version that `If-Match` asks for.
///
/// # Errors
/// It is no entity tag that this API gives.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Generation>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let tag = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match tag.map(str::parse) {
        _ if values.next().is_some() || text.contains(',') => Err(Problem::new(
            ProblemKind::Malformed,
            "If-Match has several entity tags: give one, the ETag that was read",
        )),
        // Any version will do, so nothing is asked for.
        None if text.trim() == "*" => Ok(None),
        Some(Ok(version)) => Ok(Some(version)),
        _ => Err(Problem::new(
            ProblemKind::Malformed,
            format!("If-Match {text:?} is no entity tag of this API: it must be as in \"1.42\""),
        )),
    }
}

/// Puts the version that `If-Match` asks for into a manifest.
///
/// # Errors
/// The manifest asks for another one.
pub(super) fn expect(manifest: &mut Manifest, version: Option<Generation>) -> Result<(), Problem> {
    let found = &mut manifest.metadata_mut().resource_version;
    match (*found, version) {
        (Some(found), Some(version)) if found != version => Err(Problem::of_field(
            "metadata.resourceVersion",
            format!("{found} is not the one of If-Match: it must be {version}, or be left out"),
        )),
        (None, Some(version)) => {
            *found = Some(version);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn malformed(name: &str, value: &dyn Display, right: &str) -> Problem {
    let detail = format!("parameter {name:?} is {value}: it must be {right}");
    Problem::new(ProblemKind::Malformed, detail)
}
