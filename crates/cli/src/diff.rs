//! `mizar diff`: what applying manifests would change.

use crate::apply::refused;
use crate::exit::Status;
use crate::files;
use crate::output;
use crate::remote;
use anyhow::{Context, Result};
use mizar_controller::api::body::{EffectBody, MOST_CHANGES, OutcomeBody};
use mizar_vpc::Manifest;
use similar::TextDiff;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: remote::Remote,
    #[command(flatten)]
    files: files::Files,
}

const EXAMPLES: &str = "\
Nothing is changed. The exit status is 0 if nothing would change, 1 if something would, and above 1
if that is not known. At most 1,000 manifests are compared at once.

Examples:
  mizar diff -f cloud/";

/// As diff(1): what is in doubt does not end the program as what differs.
pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    match compare(args).await {
        Err(error) if Status::of(&error) == Status::Failed => {
            output::error(&error);
            Ok(Status::Usage.into())
        }
        compared => compared,
    }
}

async fn compare(args: &Args) -> Result<ExitCode> {
    let found = files::read(&args.files.files)?;
    let client = args.remote.client()?;
    if found.len() > MOST_CHANGES {
        let message = format!(
            "{} manifests cannot be compared at once: try at most {MOST_CHANGES}",
            found.len()
        );
        return Err(Status::Failed.error(message));
    }
    let manifests = found.iter().map(|found| found.manifest.clone().without_status());
    let written = client.apply(manifests.collect(), true).await;
    let written = written.map_err(|error| refused(error, &found))?;
    let mut differs = false;
    for outcome in written.outcomes.iter().filter(|it| it.effect != EffectBody::Unchanged) {
        differs = true;
        output::print(&output::diff(&text(outcome)?))?;
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The difference of what is asked for, as `diff -u` writes it.
fn text(outcome: &OutcomeBody) -> Result<String> {
    let (before, after) = (asked(outcome.before.as_ref())?, asked(outcome.after.as_ref())?);
    let name = |side: &str, is_there: bool| {
        if is_there { format!("{side}/{}", outcome.reference) } else { "/dev/null".to_owned() }
    };
    let names = (name("a", outcome.before.is_some()), name("b", outcome.after.is_some()));
    let diff = TextDiff::from_lines(&before, &after);
    Ok(diff.unified_diff().header(&names.0, &names.1).to_string())
}

/// What is asked for, without what changes by itself.
fn asked(manifest: Option<&Manifest>) -> Result<String> {
    let Some(manifest) = manifest else { return Ok(String::new()) };
    let mut manifest = manifest.clone().without_status();
    manifest.metadata_mut().resource_version = None;
    serde_saphyr::to_string(&manifest).context("cannot write YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_vpc::{Kind, Ref};

    fn outcome(before: Option<&str>, after: Option<&str>) -> OutcomeBody {
        let vpc = |quota: &str| {
            let text = format!(
                "{{kind: Vpc, metadata: {{name: blue, resourceVersion: '1.9'}}, spec: {{quota: \
                 {quota}}}, status: {{vni: 1}}}}"
            );
            serde_saphyr::from_str(&text).unwrap()
        };
        OutcomeBody {
            reference: Ref::global(Kind::Vpc, "blue".parse().unwrap()),
            effect: EffectBody::Changed,
            before: before.map(vpc),
            after: after.map(vpc),
        }
    }

    #[test]
    fn a_change_is_one_of_what_is_asked_for() {
        let text = text(&outcome(Some("10"), Some("20"))).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["--- a/vpc blue", "+++ b/vpc blue"]);
        let changes: Vec<_> = lines[3..].iter().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(changes, [&"-  quota: 10", &"+  quota: 20"]);
    }

    #[test]
    fn what_is_new_comes_from_nowhere() {
        let text = text(&outcome(None, Some("20"))).unwrap();
        assert!(text.starts_with("--- /dev/null\n+++ b/vpc blue\n"), "{text}");
        assert!(!text.contains("resourceVersion") && !text.contains("status"), "{text}");
    }
}
