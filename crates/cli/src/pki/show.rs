//! What stands in a file of certificates.

use super::time;
use crate::output;
use anyhow::{Context, Result};
use mizar_identity::certificate::{self, Summary};
use serde::Serialize;
use std::path::Path;
use std::time::SystemTime;

/// One certificate, as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    /// Whose it is, or that it is a CA's.
    identity: String,
    from: String,
    until: String,
    fingerprint: String,
    /// Whether it is within its time.
    valid: bool,
}

/// Shows all certificates of a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub(super) fn show(file: &Path, output: output::Options) -> Result<()> {
    let path = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {path}"))?;
    let found = certificate::summaries(&text);
    let found = found.with_context(|| format!("{path} holds no certificates in PEM"))?;
    let now = SystemTime::now();
    let views: Vec<_> = found.iter().map(|summary| view(summary, now)).collect();
    output.show(&views, |views| {
        let texts: Vec<_> = views.iter().map(one).collect();
        texts.join("\n\n")
    })
}

fn view(summary: &Summary, now: SystemTime) -> View {
    View {
        identity: summary.identity.as_ref().map_or_else(|| "CA".to_owned(), ToString::to_string),
        from: time(summary.not_before),
        until: time(summary.not_after),
        fingerprint: summary.fingerprint.to_string(),
        valid: (summary.not_before..=summary.not_after).contains(&now),
    }
}

fn one(view: &View) -> String {
    let View { identity, from, until, fingerprint, valid } = view;
    let remark = if *valid { "" } else { "  (not valid at this time)" };
    format!(
        "identity:     {identity}\nvalid:        {from} to {until}{remark}\n\
         fingerprint:  {fingerprint}"
    )
}
