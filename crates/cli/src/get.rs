//! `mizar get`: resources as tables and as manifests.

use crate::exit::Status;
use crate::output;
use crate::remote;
use crate::resource::{self, Selection, View, show};
use crate::watch;
use anyhow::Result;
use mizar_controller::client::Client;
use mizar_vpc::{Kind, Manifest, Ref};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kind of resources, or `all` of a VPC
    #[arg(value_parser = what)]
    kind: What,
    /// Names of resources; without, all are shown
    names: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Then show changes as they come
    #[arg(short, long)]
    watch: bool,
    /// How the resources look
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: View,
    #[command(flatten)]
    remote: remote::Remote,
}

const EXAMPLES: &str = "\
KIND is fleet, host, tenant, vpc, network, endpoint or slotmap, or one of their plurals.

Examples:
  mizar get hosts
  mizar get endpoints --vpc blue -l app=web -o wide
  mizar get endpoint blue/web-1 -o yaml
  mizar get all --vpc blue
  mizar get endpoints --vpc blue --phase degraded --watch";

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A VPC with all that is in it.
    All,
    /// Resources of a kind.
    Kind(Kind),
}

fn what(text: &str) -> Result<What, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(What::All);
    }
    resource::kind(text).map(What::Kind)
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let client = args.remote.client()?;
    let kind = match args.what()? {
        What::All => return all(&client, args).await,
        What::Kind(kind) => kind,
    };
    let references = resource::references(kind, args.selection.vpc.as_ref(), &args.names)?;
    if references.is_empty() {
        let filter = args.selection.filter(kind);
        let (items, version) = resource::all(&client, filter.clone()).await?;
        if items.is_empty() && args.output.table().is_some() && !args.watch {
            output::progress(&format!("there are no {}", kind.plural()));
            return Ok(());
        }
        let text = show(kind, &items, args.output, true)?;
        if !text.is_empty() {
            output::print(&text)?;
        }
        if args.watch {
            return watch::changes(&client, filter, Some(version), &[], args.output, &items).await;
        }
        return Ok(());
    }
    let items = those(&client, &references).await?;
    output::print(&show(kind, &items, args.output, items.len() > 1)?)?;
    if args.watch {
        let filter = watch::filter_of(kind, &references);
        return watch::changes(&client, filter, None, &references, args.output, &items).await;
    }
    Ok(())
}

impl Args {
    /// What is asked for, if it can be.
    fn what(&self) -> Result<What> {
        let refuse = |message: &str| Err(Status::Usage.error(message));
        match self.kind {
            What::All if !self.names.is_empty() => {
                refuse("`get all` takes no names: leave them out")
            }
            What::All if self.watch => refuse("`get all` shows several kinds: watch one of them"),
            What::All if self.selection.vpc.is_none() => {
                refuse("`get all` shows one VPC: say which with --vpc VPC")
            }
            What::Kind(kind) => self.selection.check(kind, &self.names).map(|()| self.kind),
            What::All => Ok(What::All),
        }
    }
}

async fn those(client: &Client, references: &[Ref]) -> Result<Vec<Manifest>> {
    let mut items = Vec::with_capacity(references.len());
    for reference in references {
        let answer = client.get(reference).await;
        items.push(remote::found(client, reference, answer).await?);
    }
    Ok(items)
}

/// A VPC and all that is in it, kind by kind.
async fn all(client: &Client, args: &Args) -> Result<()> {
    let Some(vpc) = args.selection.vpc.clone() else { return Ok(()) };
    let reference = Ref::global(Kind::Vpc, vpc);
    let items = those(client, &[reference]).await?;
    let mut texts = vec![show(Kind::Vpc, &items, args.output, true)?];
    for kind in [Kind::Network, Kind::SlotMap, Kind::Endpoint] {
        let (items, _) = resource::all(client, args.selection.filter(kind)).await?;
        if !items.is_empty() {
            texts.push(show(kind, &items, args.output, true)?);
        }
    }
    let between = if args.output.table().is_some() { "\n\n" } else { "\n" };
    output::print(&texts.join(between))
}
