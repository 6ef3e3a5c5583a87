//! `mizar`, the one program: what it can do, and who does it.
//!
//! Exit status: 0 if it worked, 1 if not, 2 if the command line is wrong; [`exit`] has the others.
//! `mizar lab exec` passes on the status of what it ran. What was asked for goes to standard
//! output, everything else to standard error.

mod agent;
mod apply;
mod change;
mod client;
mod completion;
mod config;
mod controller;
mod counters;
mod delete;
mod describe;
mod diff;
mod endpoint;
mod exit;
mod files;
mod get;
mod host;
mod keys;
mod lab;
mod logging;
mod output;
mod pki;
mod remote;
mod resource;
mod suggest;
mod top;
mod trace;
mod wait;
mod watch;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use exit::Status;
use std::process::ExitCode;

/// The network of a cloud: VPCs with their own, overlapping address spaces, in the kernel.
#[derive(Debug, Parser)]
#[command(name = "mizar", version, arg_required_else_help = true)]
#[command(after_help = [EXAMPLES, exit::HELP].concat())]
struct Cli {
    #[command(flatten)]
    log: logging::Options,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sudo mizar lab demo                             watch a cloud of four hosts prove itself
  sudo mizar lab up examples/four-hosts.yaml      bring one up
  sudo mizar lab exec blue/client -- ping 10.0.1.3
  sudo mizar trace blue/client blue/web           which way does a packet take, and why?
  sudo mizar lab down
  mizar apply -f examples/manifests/a-vpc-with-two-networks.yaml --wait
  mizar get endpoints --vpc blue -o wide

";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent of this host, or ask one how it stands
    Agent(agent::Args),
    /// Run a controller: it keeps what is asked for, and tells the hosts
    Controller(controller::Args),
    /// A cloud in a box: hosts and guests as network namespaces of this machine
    #[command(subcommand)]
    Lab(lab::Command),
    /// Show which way a packet takes between two endpoints, and which rows decide it
    Trace(trace::Args),
    /// Make things as manifests say
    Apply(apply::Args),
    /// Show what applying manifests would change
    Diff(diff::Args),
    /// Show resources as tables or manifests
    Get(get::Args),
    /// Show all that is known of a resource
    Describe(describe::Args),
    /// Delete resources
    Delete(delete::Args),
    /// Show changes of resources as they come
    Watch(watch::Args),
    /// Wait until resources are ready, degraded or deleted
    Wait(wait::Args),
    /// Move endpoints from host to host
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// List hosts, take them out of service, and let new ones join
    #[command(subcommand)]
    Host(host::Command),
    /// Show which hosts carry most
    Top(top::Args),
    /// Have hosts sign with other keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Make a CA, and certificates for people and hosts
    #[command(subcommand)]
    Pki(pki::Command),
    /// Choose which controller to ask
    #[command(subcommand)]
    Config(config::Command),
    /// Print what a shell completes
    Completion(completion::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli.log, matches!(cli.command, Command::Agent(_) | Command::Controller(_)));
    match run(cli.command) {
        Ok(status) => status,
        Err(error) => {
            output::error(&error);
            Status::of(&error).into()
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        match command {
            Command::Agent(args) => agent::run(args).await,
            Command::Controller(args) => controller::run(args).await,
            Command::Lab(command) => lab::run(command).await,
            Command::Trace(args) => trace::run(&args).await,
            Command::Diff(args) => diff::run(&args).await,
            Command::Apply(args) => apply::run(&args).await.map(done),
            Command::Get(args) => get::run(&args).await.map(done),
            Command::Describe(args) => describe::run(&args).await.map(done),
            Command::Delete(args) => delete::run(&args).await.map(done),
            Command::Watch(args) => watch::run(&args).await.map(done),
            Command::Wait(args) => wait::run(&args).await.map(done),
            Command::Endpoint(command) => endpoint::run(&command).await.map(done),
            Command::Host(command) => host::run(&command).await.map(done),
            Command::Top(args) => top::run(&args).await.map(done),
            Command::Keys(command) => keys::run(&command).await.map(done),
            Command::Pki(command) => pki::run(&command).await.map(done),
            Command::Config(command) => config::run(&command).map(done),
            Command::Completion(args) => completion::run(&args, Cli::command()).map(done),
        }
    })
}

/// Most commands have worked if nothing went wrong.
fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn refusal(line: &str) -> ErrorKind {
        Cli::try_parse_from(line.split_whitespace()).unwrap_err().kind()
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_agent_is_told_all_it_needs_or_asked_and_not_both() {
        let line = "mizar agent --host h1 --nic nic0 --controller unix:/c --socket /s --pins /p \
                    --mode auto --instance h1";
        assert!(Cli::try_parse_from(line.split_whitespace()).is_ok());
        assert!(Cli::try_parse_from("mizar agent status".split_whitespace()).is_ok());
        assert_eq!(refusal("mizar agent --host h1"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("mizar agent"), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        let mode = "mizar agent --host h1 --nic n --controller unix:/c --mode xdp";
        assert_eq!(refusal(mode), ErrorKind::ValueValidation);
    }

    #[test]
    fn a_command_in_a_guest_stands_after_two_hyphens() {
        assert!(Cli::try_parse_from("mizar lab exec a -- ping -c 1 b".split_whitespace()).is_ok());
        assert_eq!(refusal("mizar lab exec a"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refusal("mizar lab exec a ping"), ErrorKind::UnknownArgument);
    }

    #[test]
    fn a_trace_refuses_what_has_no_ports() {
        assert!(Cli::try_parse_from("mizar trace a b --port 80".split_whitespace()).is_ok());
        assert_eq!(refusal("mizar trace a b --protocol sctp"), ErrorKind::InvalidValue);
        assert_eq!(refusal("mizar trace a b --port 0"), ErrorKind::ValueValidation);
        assert_eq!(refusal("mizar trace a b --size 70000"), ErrorKind::ValueValidation);
        assert_eq!(refusal("mizar trace a"), ErrorKind::MissingRequiredArgument);
    }
}
