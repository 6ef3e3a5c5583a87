//! `mizar apply`: makes things as manifests say.

mod batches;

use crate::exit::Status;
use crate::files::{self, Found};
use crate::output;
use crate::remote;
use crate::wait::{self, Goal};
use anyhow::Result;
use batches::{Batch, batches};
use indicatif::ProgressBar;
use mizar_controller::api::body::{MOST_CHANGES, OutcomeBody};
use mizar_controller::client::{Client, ClientError};
use mizar_vpc::Kind;

/// What a bar of progress looks like.
const BAR: &str = "{bar:30} {pos}/{len} {per_sec} {eta} left";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: remote::Remote,
    #[command(flatten)]
    files: files::Files,
    /// Check, and say what would change, but change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until the endpoints are ready
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    patience: wait::Patience,
}

const EXAMPLES: &str = "\
All manifests are read and checked before the first is sent. Up to 1,000 are applied together or
not at all; more are applied in several steps, and applying them again goes on where it stopped. A
dry run takes no more than 1,000.

Examples:
  mizar apply -f examples/manifests/a-vpc-with-two-networks.yaml
  mizar apply -f cloud/ --dry-run
  generate-manifests | mizar apply -f - --wait --timeout 5m";

pub(crate) async fn run(args: &Args) -> Result<()> {
    let found = files::read(&args.files.files)?;
    let client = args.remote.client()?;
    let total = found.len();
    let endpoints: Vec<_> = found
        .iter()
        .map(|found| found.manifest.reference())
        .filter(|reference| reference.kind == Kind::Endpoint)
        .collect();
    let batches = batches(found);
    if args.dry_run && batches.len() > 1 {
        let message = format!(
            "a dry run of {total} manifests takes several steps, and the later ones cannot see \
             what the earlier ones would make: try at most {MOST_CHANGES} at once"
        );
        return Err(Status::Failed.error(message));
    }
    let bar =
        if batches.len() > 1 { output::progress_bar(total, BAR) } else { ProgressBar::hidden() };
    let mut done = 0;
    for batch in &batches {
        let outcomes = match send(&client, batch, args.dry_run).await {
            Ok(outcomes) => outcomes,
            // With one batch it goes without saying that nothing was changed.
            Err(error) if batches.len() == 1 => return Err(error),
            Err(error) => {
                let message = format!("{done} of {total} manifests were applied, the others not");
                return Err(error.context(message));
            }
        };
        done += batch.found.len();
        bar.inc(batch.found.len() as u64);
        let lines = outcomes.iter().map(|outcome| line(outcome, args.dry_run));
        let lines = lines.collect::<Vec<_>>().join("\n");
        bar.suspend(|| output::print(&lines))?;
    }
    bar.finish_and_clear();
    if args.wait {
        wait::until(&client, endpoints, Goal::Ready, args.patience.duration()).await?;
    }
    Ok(())
}

async fn send(client: &Client, batch: &Batch, dry_run: bool) -> Result<Vec<OutcomeBody>> {
    let manifests = batch.found.iter().map(|found| found.manifest.clone().without_status());
    let written = client.apply(manifests.collect(), dry_run).await;
    let written = written.map_err(|error| refused(error, &batch.found))?;
    Ok(written.outcomes)
}

/// A refusal of manifests, with where in the files it is.
pub(crate) fn refused(error: ClientError, found: &[Found]) -> anyhow::Error {
    let errors = error.problem().map(|problem| problem.errors.as_slice()).unwrap_or_default();
    let place = |change: Option<usize>| change.and_then(|change| found.get(change));
    let lines = errors.iter().filter_map(|error| {
        let Found { place, manifest } = place(error.change)?;
        let reference = manifest.reference();
        Some(format!("{place}: {reference}: {}: {}", error.field, error.problem))
    });
    let lines: Vec<_> = lines.collect();
    let error = anyhow::Error::new(error);
    if lines.is_empty() { error } else { Status::of(&error).error(lines.join("\n  ")) }
}

fn line(outcome: &OutcomeBody, dry_run: bool) -> String {
    let dry = if dry_run { " (dry run)" } else { "" };
    format!("{} {}{dry}", outcome.reference, outcome.effect.as_str())
}
