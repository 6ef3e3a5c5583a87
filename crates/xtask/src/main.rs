//! `cargo xtask`: what is done to this workspace rather than with it.
//!
//! Each subcommand is a file; the same commands serve a newcomer, a developer and CI.
#![expect(clippy::print_stdout, reason = "a command-line tool answers on standard output")]
#![expect(clippy::print_stderr, reason = "and says on standard error why it failed")]

mod bench;
mod check;
mod demo;
mod fuzz;
mod kernels;
mod peers;
mod setup;
mod shell;
mod sim;
mod source;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo, tests and benchmarks of Mizar")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what is missing to build, test and demonstrate Mizar
    Setup,
    /// Shows a cloud of four hosts and two VPCs on this machine
    Demo(demo::Options),
    /// Runs every check and every test, and counts them
    Test(test::Options),
    /// Measures, and prints a table
    Bench(bench::Options),
    /// Tries Mizar in Debian's kernels, in virtual machines
    Kernels(kernels::Options),
    /// Plays fleets in virtual time, each decided by a seed, and checks what must hold
    Sim(sim::Options),
    /// Checks the form and the lints of the code: rustfmt, clippy
    Check,
    /// Checks the workspace's own rules: sizes, unsafe code, who may use what
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Setup => setup::everything(),
        Command::Demo(options) => demo::run(&options),
        // Its last line is the count, whether tests failed or not.
        Command::Test(options) => return test::run(&options).unwrap_or_else(|error| fail(&error)),
        Command::Bench(options) => bench::run(&options),
        Command::Kernels(options) => kernels::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Check => check::run(),
        Command::Tidy => tidy::run(),
    };
    done.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
