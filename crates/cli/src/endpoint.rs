//! `mizar endpoint`: what is done with endpoints beside declaring them.

use crate::change::change;
use crate::exit::Status;
use crate::output;
use crate::remote;
use crate::resource;
use crate::wait::{self, Goal};
use anyhow::{Context, Result};
use clap::Subcommand;
use mizar_controller::client::Client;
use mizar_vpc::manifest::{EndpointSpec, EndpointStatus, Migration, Object};
use mizar_vpc::{Attachment, Kind, Manifest, Name, Ref};
use std::path::PathBuf;

/// What one can do with endpoints.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Move an endpoint to another host, with its addresses, without losing packets
    Migrate(Migrate),
}

const EXAMPLES: &str = "\
Examples:
  mizar endpoint migrate blue/vm-1 --to h3            prepare, switch, and wait until it is ready
  mizar endpoint migrate blue/vm-1 --to h3 --prepare  before its memory is copied
  mizar endpoint migrate blue/vm-1 --switch           as soon as it stands still here
  mizar endpoint migrate blue/vm-1 --cancel           it stays after all";

/// Which endpoint, where, and which steps.
#[derive(Debug, clap::Args)]
#[command(after_help = MIGRATE_EXAMPLES)]
#[command(group = clap::ArgGroup::new("step").args(["prepare", "switch", "cancel"]))]
pub(crate) struct Migrate {
    /// Its name, as VPC/NAME
    name: String,
    /// The VPC; the name may also be written as VPC/NAME
    #[arg(long, value_name = "VPC")]
    vpc: Option<Name>,
    /// The host that it moves to
    #[arg(long, value_name = "HOST", required_unless_present_any = ["switch", "cancel"])]
    #[arg(conflicts_with_all = ["switch", "cancel"])]
    to: Option<Name>,
    /// Path of its network namespace there [default: as here]
    #[arg(long, value_name = "PATH", requires = "to")]
    netns: Option<PathBuf>,
    /// Name of its interface there [default: as here]
    #[arg(long, value_name = "NAME", requires = "to")]
    interface: Option<String>,
    /// Only prepare: the new host gets its interface, and it goes on living here
    #[arg(long)]
    prepare: bool,
    /// Only switch to the host that is prepared
    #[arg(long)]
    switch: bool,
    /// Take back what was prepared
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    patience: wait::Patience,
    #[command(flatten)]
    remote: remote::Remote,
}

const MIGRATE_EXAMPLES: &str = "\
Who moves a machine with its memory prepares, copies, and switches while the machine stands still:
what comes for it afterwards reaches the new host, directly or by way of the old one.

Examples:
  mizar endpoint migrate blue/web-1 --to h3
  mizar endpoint migrate blue/vm-1 --to h3 --netns /run/netns/vm-1 --interface tap1 --prepare
  mizar endpoint migrate blue/vm-1 --switch
  mizar endpoint migrate blue/vm-1 --cancel";

pub(crate) async fn run(command: &Command) -> Result<()> {
    let Command::Migrate(args) = command;
    let reference = resource::reference(Kind::Endpoint, args.vpc.as_ref(), &args.name)?;
    let client = args.remote.client()?;
    if args.cancel {
        return cancel(&client, &reference).await;
    }
    if let Some(to) = &args.to {
        if !prepare(&client, &reference, args, to).await? {
            return output::print(&format!("{reference} lives on host {to} already"));
        }
        let patience = args.patience.duration();
        let prepared = wait::until(&client, vec![reference.clone()], Goal::Prepared, patience);
        prepared.await.with_context(|| {
            format!("{reference} stays where it is; take the preparation back with --cancel")
        })?;
        output::print(&format!("{reference} prepared on host {to}"))?;
    }
    if !args.prepare {
        let host = switch(&client, &reference).await?;
        let patience = args.patience.duration();
        wait::until(&client, vec![reference.clone()], Goal::Ready, patience).await?;
        output::print(&format!("{reference} lives on host {host}"))?;
    }
    Ok(())
}

/// Whether there is anything to do.
async fn prepare(client: &Client, reference: &Ref, args: &Migrate, to: &Name) -> Result<bool> {
    let lives_there = std::cell::Cell::new(false);
    let changed = change(client, reference, |manifest| {
        let Some(endpoint) = endpoint_of(manifest) else { return Ok(false) };
        let spec = &mut endpoint.spec;
        lives_there.set(spec.host == *to);
        let migration = Migration { host: to.clone(), attachment: args.attachment(spec) };
        let migration = Some(Box::new(migration));
        if lives_there.get() || spec.migration == migration {
            return Ok(false);
        }
        spec.migration = migration;
        Ok(true)
    });
    changed.await?;
    Ok(!lives_there.get())
}

impl Migrate {
    fn attachment(&self, spec: &EndpointSpec) -> Attachment {
        let mut attachment = spec.attachment.clone();
        if let Attachment::Veth { netns, interface } = &mut attachment {
            if let Some(there) = &self.netns {
                netns.clone_from(there);
            }
            if let Some(there) = &self.interface {
                interface.clone_from(there);
            }
        }
        attachment
    }
}

/// The host that the endpoint lives on from now on.
async fn switch(client: &Client, reference: &Ref) -> Result<Name> {
    let host = std::cell::OnceCell::new();
    change(client, reference, |manifest| {
        let Some(Object { spec, status, .. }) = endpoint_of(manifest) else { return Ok(false) };
        let Some(migration) = spec.migration.take() else {
            let message = format!("{reference} is not about to move: prepare that with --to HOST");
            return Err(Status::Failed.error(message));
        };
        if !status.as_ref().is_some_and(EndpointStatus::is_prepared) {
            let message = format!(
                "host {} does not have the interface of {reference} yet: wait with `mizar wait \
                 endpoint {} --for prepared`",
                migration.host,
                path(reference)
            );
            return Err(Status::Failed.error(message));
        }
        let Migration { host: to, attachment } = *migration;
        spec.host = host.get_or_init(|| to).clone();
        spec.attachment = attachment;
        Ok(true)
    })
    .await?;
    host.into_inner().with_context(|| format!("{reference} is no endpoint"))
}

async fn cancel(client: &Client, reference: &Ref) -> Result<()> {
    let changed = change(client, reference, |manifest| {
        Ok(endpoint_of(manifest).is_some_and(|endpoint| endpoint.spec.migration.take().is_some()))
    });
    let stays = if changed.await? { "stays where it is" } else { "was not about to move" };
    output::print(&format!("{reference} {stays}"))
}

fn endpoint_of(manifest: &mut Manifest) -> Option<&mut Object<EndpointSpec, EndpointStatus>> {
    match manifest {
        Manifest::Endpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

fn path(Ref { vpc, name, .. }: &Ref) -> String {
    vpc.as_ref().map_or_else(|| name.to_string(), |vpc| format!("{vpc}/{name}"))
}
