//! `mizar describe`: all that is known of a resource.

use crate::output;
use crate::remote;
use crate::resource::{self, View, show};
use anyhow::Result;
use mizar_controller::client::Client;
use mizar_controller::engine::Filter;
use mizar_vpc::{Kind, Name, Ref};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kind of resources
    #[arg(value_parser = resource::kind)]
    kind: Kind,
    /// Names of resources; the fleet needs none
    names: Vec<String>,
    /// The VPC; names may also be written as VPC/NAME
    #[arg(long, value_name = "VPC")]
    vpc: Option<Name>,
    #[command(flatten)]
    remote: remote::Remote,
}

const EXAMPLES: &str = "\
Examples:
  mizar describe endpoint blue/web-1     its addresses, what is missing, and how long each step took
  mizar describe vpc blue                with its networks
  mizar describe network blue/front      with who holds its slots";

pub(crate) async fn run(args: &Args) -> Result<()> {
    let references = resource::references(args.kind, args.vpc.as_ref(), &args.names)?;
    let client = args.remote.client()?;
    let mut pages = Vec::with_capacity(references.len());
    for reference in &references {
        let answer = client.get(reference).await;
        let manifest = remote::found(&client, reference, answer).await?;
        let mut page = resource::describe(&manifest)?;
        if let Some(more) = related(&client, reference).await? {
            page.push_str("\n\n");
            page.push_str(&more);
        }
        pages.push(page);
    }
    output::print(&pages.join("\n\n"))
}

/// What belongs to a resource and is one by itself.
async fn related(client: &Client, reference: &Ref) -> Result<Option<String>> {
    let name = reference.name.clone();
    let items = match (reference.kind, &reference.vpc) {
        (Kind::Vpc, _) => {
            let filter = Filter { vpc: Some(name), ..Filter::all(Kind::Network) };
            resource::all(client, filter).await?.0
        }
        (Kind::Network, Some(vpc)) => {
            let map = Ref::in_vpc(Kind::SlotMap, vpc.clone(), name);
            // It is made a moment after its network.
            client.get(&map).await.into_iter().collect()
        }
        _ => Vec::new(),
    };
    let Some(first) = items.first() else { return Ok(None) };
    show(first.kind(), &items, View::Table, true).map(Some)
}
