//! `mizar lab guest`: a namespace for a guest that `mizar apply` attaches.

use crate::output;
use anyhow::{Context, Result, anyhow};
use mizar_vpc::manifest::{EndpointSpec, Metadata, Object};
use mizar_vpc::{Manifest, Name};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It makes the guest's network namespace and prints the manifest of its endpoint, to be applied. The
namespace goes with the lab, and when `mizar lab apply` takes the endpoint away.

Example:
  mizar lab guest blue/extra --network front --host h4 | mizar apply -f - --wait")]
pub(crate) struct Args {
    /// The lab; the only one by default
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// The guest, as VPC/ENDPOINT
    #[arg(value_name = "VPC/ENDPOINT", value_parser = guest)]
    guest: (Name, Name),
    /// Its network
    #[arg(long, value_name = "NAME")]
    network: Name,
    /// Its host
    #[arg(long, value_name = "NAME")]
    host: Name,
}

fn guest(text: &str) -> Result<(Name, Name)> {
    let (vpc, name) = text.split_once('/').ok_or_else(|| {
        anyhow!("{text:?} is no guest: write it as VPC/ENDPOINT, as in blue/extra")
    })?;
    Ok((vpc.parse()?, name.parse()?))
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let lab = mizar_lab::choose(args.lab.as_deref())?;
    let manifest = make(&lab, &args.guest, &args.network, &args.host).await?;
    let text = serde_saphyr::to_string(&manifest).context("cannot write the manifest")?;
    output::print(text.trim_end())
}

/// Makes a guest; the manifest that attaches it.
///
/// # Errors
/// There is no such lab, or the guest has its namespace already.
pub(super) async fn make(
    lab: &str,
    (vpc, name): &(Name, Name),
    network: &Name,
    host: &Name,
) -> Result<Manifest> {
    let attachment = mizar_lab::add_guest(lab, vpc, name).await?;
    let (v4, v6, mac) = (None, None, None);
    let (network, host) = (network.clone(), host.clone());
    let spec = EndpointSpec { network, host, v4, v6, mac, attachment, migration: None };
    let metadata = Metadata::new(Some(vpc.clone()), name.clone());
    Ok(Manifest::Endpoint(Object::new(metadata, spec)))
}
