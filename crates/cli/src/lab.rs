//! `mizar lab`: a cloud in a box.

mod apply;
mod counters;
mod demo;
mod down;
mod env;
mod exec;
mod guest;
mod list;
mod status;
mod up;

use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use mizar_lab::Topology;
use std::path::Path;
use std::process::ExitCode;

/// What one can do with a lab.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Build a lab and wait until it works
    Up(up::Args),
    /// Show the hosts and guests of a lab
    Status(status::Args),
    /// Run a command inside a host or guest
    Exec(exec::Args),
    /// Show what the hosts of a lab have counted, side by side
    Counters(counters::Args),
    /// Change a lab that is up: add, remove and move networks and endpoints
    Apply(apply::Args),
    /// Remove a lab, whatever state it is in
    Down(down::Args),
    /// List the labs of this machine
    List(list::Args),
    /// Build a cloud of four hosts and show that it does what it promises
    Demo(demo::Args),
    /// Measure Mizar on this machine, beside what one would use instead
    Bench(mizar_bench::Options),
    /// Print how to ask a lab's controller, for a shell to evaluate
    Env(env::Args),
    /// Make a namespace for another guest, and print the manifest of its endpoint
    Guest(guest::Args),
}

const EXAMPLES: &str = "\
A lab takes root. NAME may be left out while just one lab is up.

Examples:
  mizar lab up examples/four-hosts.yaml
  mizar lab status
  mizar lab exec blue/client -- ping -c 3 10.0.1.3
  mizar lab exec h1 -- ip route
  mizar lab counters
  eval \"$(mizar lab env)\"; mizar get endpoints
  mizar lab bench packet rtt --quick
  mizar lab down";

/// Does what the command line says.
///
/// # Errors
/// What does not work, with its causes.
pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(&args).await?,
        Command::Status(args) => status::run(&args).await?,
        Command::Exec(args) => return exec::run(&args),
        Command::Counters(args) => counters::run(&args).await?,
        Command::Apply(args) => apply::run(&args).await?,
        Command::Down(args) => down::run(&args).await?,
        Command::List(args) => list::run(&args)?,
        Command::Demo(args) => return demo::run(&args).await,
        Command::Bench(options) => bench(options)?,
        Command::Env(args) => env::run(&args).await?,
        Command::Guest(args) => guest::run(&args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a topology, and checks it before anything else is done.
fn topology(file: &Path) -> Result<Topology> {
    let topology = Topology::read(file)?;
    mizar_lab::check(&topology).with_context(|| file.display().to_string())?;
    Ok(topology)
}

/// Measures on a thread that is in no runtime, since it starts its own, and that ends with the
/// namespaces that it moves to.
fn bench(options: mizar_bench::Options) -> Result<()> {
    mizar_lab::check_root()?;
    let measured = std::thread::spawn(move || mizar_bench::run(&options)).join();
    measured.map_err(|_| anyhow!("measuring has panicked"))?
}
