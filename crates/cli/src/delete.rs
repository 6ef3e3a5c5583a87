//! `mizar delete`: resources go.

use crate::apply::refused;
use crate::exit::Status;
use crate::files::{self, Found};
use crate::output;
use crate::remote;
use crate::resource;
use crate::wait::{self, Goal};
use anyhow::Result;
use mizar_controller::api::body::{ChangeBody, DeleteBody, MOST_CHANGES};
use mizar_controller::client::Client;
use mizar_vpc::{Kind, Name, Ref};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kind of resources
    #[arg(value_parser = resource::kind, required_unless_present = "files")]
    kind: Option<Kind>,
    /// Names of resources
    #[arg(required_unless_present = "files")]
    names: Vec<String>,
    /// The VPC; names may also be written as VPC/NAME
    #[arg(long, value_name = "VPC")]
    vpc: Option<Name>,
    /// What these manifests name, in place of KIND and NAMES
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    #[arg(conflicts_with_all = ["kind", "vpc"])]
    files: Vec<PathBuf>,
    /// Delete what uses them too
    #[arg(long)]
    cascade: bool,
    /// Pass over those that do not exist
    #[arg(long)]
    ignore_missing: bool,
    /// Check, and say what would go, but change nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until they are gone
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    patience: wait::Patience,
    #[command(flatten)]
    remote: remote::Remote,
}

const EXAMPLES: &str = "\
All go together or none does.

Examples:
  mizar delete endpoint blue/web-1 blue/web-2
  mizar delete vpc blue --cascade --dry-run
  mizar delete -f examples/manifests/a-vpc-with-two-networks.yaml";

pub(crate) async fn run(args: &Args) -> Result<()> {
    let (mut references, mut found) = args.references()?;
    let client = args.remote.client()?;
    if args.ignore_missing {
        let there = existing(&client, &references).await?;
        found.retain(|found| there.contains(&found.manifest.reference()));
        references = there;
    }
    if references.len() > MOST_CHANGES {
        let count = references.len();
        let message = format!("{count} resources cannot go at once: try at most {MOST_CHANGES}");
        return Err(Status::Failed.error(message));
    }
    if references.is_empty() {
        return Ok(());
    }
    let change = |reference: &Ref| {
        let (reference, cascade, resource_version) = (reference.clone(), args.cascade, None);
        ChangeBody::Delete(DeleteBody { reference, cascade, resource_version })
    };
    let answer = client.batch(references.iter().map(change).collect(), args.dry_run).await;
    let written = match answer {
        Err(error) if references.len() == 1 && found.is_empty() => {
            remote::found(&client, &references[0], Err(error)).await?
        }
        answer => answer.map_err(|error| refused(error, &found))?,
    };
    let dry = if args.dry_run { " (dry run)" } else { "" };
    let line = |reference: &Ref| format!("{reference} deleted{dry}");
    let lines: Vec<_> = written.outcomes.iter().map(|outcome| line(&outcome.reference)).collect();
    output::print(&lines.join("\n"))?;
    if args.wait {
        wait::until(&client, references, Goal::Deleted, args.patience.duration()).await?;
    }
    Ok(())
}

impl Args {
    /// What is to go, and the manifests that say so. What others refer to comes last.
    fn references(&self) -> Result<(Vec<Ref>, Vec<Found>)> {
        if let Some(kind) = self.kind {
            let references = resource::references(kind, self.vpc.as_ref(), &self.names)?;
            return Ok((references, Vec::new()));
        }
        let mut found = files::read(&self.files)?;
        found.reverse();
        Ok((found.iter().map(|found| found.manifest.reference()).collect(), found))
    }
}

async fn existing(client: &Client, references: &[Ref]) -> Result<Vec<Ref>> {
    let mut there = Vec::new();
    for reference in references {
        match client.get(reference).await {
            Ok(_) => there.push(reference.clone()),
            Err(error) if error.is_not_found() => {
                output::progress(&format!("{reference} does not exist"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(there)
}
