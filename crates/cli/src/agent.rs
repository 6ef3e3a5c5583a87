//! `mizar agent`: runs the agent of this host, asks one, or removes what one has set up.

use crate::client::Client;
use crate::{counters, output};
use anyhow::{Result, bail};
use clap::Subcommand;
use mizar_agent::{ModeChoice, kernel};
use mizar_packet::tables::LAYOUT;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

mod status;

/// Where the agent of a host listens unless told otherwise.
const SOCKET: &str = "/run/mizar/agent.sock";
/// Where an agent pins unless told otherwise.
const PINS: &str = "/sys/fs/bpf/mizar";
/// The name of the only agent of a network namespace.
const INSTANCE: &str = "mizar";

/// What `mizar agent` is told.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArgs>,
}

const EXAMPLES: &str = "\
The agent runs in the foreground until SIGTERM or SIGINT. Its programs, tables and the guests'
interfaces stay when it ends, and traffic goes on: the next one takes them over.

Examples:
  mizar agent --host h1 --nic eth0 --controller unix:/run/mizar/controller.sock
  mizar agent --host h1 --nic eth0 --controller https://controller.example:6443 \\
      --credentials /etc/mizar/host.pem --ca /etc/mizar/ca.crt --metrics 192.0.2.7:6082
  mizar agent status
  mizar agent counters -o json
  mizar agent metrics
  mizar agent remove";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the agent of this host stands
    Status(AskArgs),
    /// Show what this host has counted, by VPC
    Counters(AskArgs),
    /// Show what a monitoring system collects, in the text format of Prometheus
    Metrics(SocketArgs),
    /// Remove all that agents have set up on this host, guests' interfaces included
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// This host's name, by which the controller knows it
    #[arg(long, required = true)]
    host: String,
    /// The interface to the underlay
    #[arg(long, required = true)]
    nic: String,
    /// This host's underlay address [default: the NIC's first IPv4 address]
    #[arg(long, value_name = "ADDRESS")]
    underlay: Option<std::net::Ipv4Addr>,
    /// The controller, as unix:PATH or https://HOST:PORT
    #[arg(long, required = true, value_name = "ADDRESS")]
    controller: String,
    /// This host's key and certificate, as `mizar host join` writes them; they renew by themselves
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Certificates of the CA that the controller is believed by
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where this agent answers questions
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
    /// Serve the metrics here, over TLS with this host's certificate, to monitors and operators
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Folder on a BPF file system for what outlives the agent
    #[arg(long, default_value = PINS, value_name = "FOLDER")]
    pins: PathBuf,
    /// How frames are taken from the NIC: auto, native, generic or tc
    #[arg(long, default_value = "auto")]
    mode: ModeChoice,
    /// Tells several agents of one network namespace apart
    #[arg(long, default_value = INSTANCE, value_name = "NAME")]
    instance: String,
    /// Most rows of a table, as in endpoints=131072; repeat it for several. Tables: endpoints,
    /// learned, ports, hosts, vpcs, networks, routes
    #[arg(long = "rows", value_name = "TABLE=ROWS", value_parser = rows)]
    rows: Vec<Rows>,
    /// The number of the tables' layout among the pins, for tests of how it changes
    #[arg(long, hide = true, default_value_t = LAYOUT)]
    layout: u32,
}

#[derive(Debug, clap::Args)]
struct SocketArgs {
    /// Where the agent listens
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
}

#[derive(Debug, clap::Args)]
struct AskArgs {
    #[command(flatten)]
    agent: SocketArgs,
    #[command(flatten)]
    output: output::Options,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// Where the agents pinned
    #[arg(long, default_value = PINS, value_name = "FOLDER")]
    pins: PathBuf,
    /// Whose guests' interfaces are removed
    #[arg(long, default_value = INSTANCE, value_name = "NAME")]
    instance: String,
}

/// Does what the command line says.
///
/// # Errors
/// What does not work, with its causes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match (args.command, args.run) {
        (Some(Command::Status(args)), _) => {
            let status = Client::connect(&args.agent.socket).await?.status().await?;
            args.output.show(&status::View::from(status), status::text)?;
        }
        (Some(Command::Counters(args)), _) => show_counters(&args).await?,
        (Some(Command::Metrics(args)), _) => {
            output::print(&Client::connect(&args.socket).await?.metrics().await?)?;
        }
        (Some(Command::Remove(args)), _) => remove(&args).await?,
        (None, Some(args)) => mizar_agent::run(args.into()).await?,
        (None, None) => bail!("nothing to do: see `mizar agent --help`"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_counters(args: &AskArgs) -> Result<()> {
    let mut client = Client::connect(&args.agent.socket).await?;
    let host = client.status().await?.host.to_string();
    let hosts = BTreeMap::from([(host, client.counters().await?)]);
    let vpcs = counters::by_vpc(&hosts, |vni| format!("with VNI {vni}"));
    args.output.show(&vpcs, |vpcs| counters::text(vpcs))
}

async fn remove(args: &RemoveArgs) -> Result<()> {
    if let Err(remnants) = mizar_agent::remove(&args.pins, &args.instance).await {
        let remnants = remnants.join("\n  - ");
        bail!("what could not be removed, the rest is:\n  - {remnants}");
    }
    Ok(())
}

/// The size of one table.
#[derive(Clone, Copy, Debug)]
struct Rows {
    table: fn(&mut kernel::Sizes) -> &mut u32,
    rows: u32,
}

fn rows(text: &str) -> Result<Rows, String> {
    let (name, rows) = text.split_once('=').ok_or("it must be TABLE=ROWS")?;
    let table: fn(&mut kernel::Sizes) -> &mut u32 = match name {
        "endpoints" => |sizes| &mut sizes.endpoints,
        "learned" => |sizes| &mut sizes.learned,
        "ports" => |sizes| &mut sizes.ports,
        "hosts" => |sizes| &mut sizes.hosts,
        "vpcs" => |sizes| &mut sizes.vpcs,
        "networks" => |sizes| &mut sizes.networks,
        "routes" => |sizes| &mut sizes.routes,
        _ => {
            let tables = "endpoints, learned, ports, hosts, vpcs, networks or routes";
            return Err(format!("there is no table {name:?}: it must be {tables}"));
        }
    };
    match rows.parse() {
        Ok(rows) if rows > 0 => Ok(Rows { table, rows }),
        _ => Err(format!("{rows:?} is no number of rows: it must be from 1 to {}", u32::MAX)),
    }
}

impl From<RunArgs> for mizar_agent::Options {
    fn from(args: RunArgs) -> Self {
        let mut sizes = kernel::Sizes::default();
        for Rows { table, rows } in args.rows {
            *table(&mut sizes) = rows;
        }
        Self {
            host: args.host,
            nic: args.nic,
            underlay: args.underlay,
            controller: args.controller,
            credentials: args.credentials,
            ca: args.ca,
            socket: args.socket,
            metrics: args.metrics,
            pins: args.pins,
            mode: args.mode,
            instance: args.instance,
            sizes,
            layout: args.layout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_tables_are_read_and_others_refused_with_what_there_is() {
        let mut sizes = kernel::Sizes::default();
        let Rows { table, rows: number } = rows("learned=9").unwrap();
        *table(&mut sizes) = number;
        assert_eq!(sizes, kernel::Sizes { learned: 9, ..kernel::Sizes::default() });
        assert!(rows("learned=0").unwrap_err().contains("from 1 to"));
        assert!(rows("flows=5").unwrap_err().contains("\"flows\""));
        assert!(rows("ports").is_err());
    }
}
