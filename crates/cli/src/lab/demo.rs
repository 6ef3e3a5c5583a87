//! `mizar lab demo`: builds a cloud of four hosts and shows that it does what it promises.

mod checks;
mod declare;
mod paths;
mod reach;
mod transfer;
mod world;

use crate::output;
use anyhow::{Context, Result, anyhow, bail};
use checks::Checks;
use mizar_lab::{Options, Topology};
use std::env;
use std::process::ExitCode;
use std::time::Instant;
use world::World;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes root and about half a minute; needs busybox, curl, iperf3 and ping, which run in the guests.
The exit status is 1 if anything does not work.")]
pub(crate) struct Args {
    /// Leave the cloud running, and say what to try next
    #[arg(long)]
    keep: bool,
}

/// Four hosts, two VPCs with the same addresses, two dual-stack networks each.
const TOPOLOGY: &str = include_str!("../../../../examples/four-hosts.yaml");

/// What the guests run.
const PROGRAMS: [&str; 4] = ["busybox", "curl", "iperf3", "ping"];

pub(super) async fn run(args: &Args) -> Result<ExitCode> {
    check_programs()?;
    let started = Instant::now();
    let mut topology: Topology = TOPOLOGY.parse()?;
    // Several demos can run at once.
    topology.lab = format!("demo-{}", std::process::id());
    let mut checks = Checks::default();
    output::print(&format!("A cloud in a box, as lab {}:\n", topology.lab))?;

    let shown = tokio::select! {
        shown = show(&topology, &mut checks) => shown,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    let is_up = shown.is_ok() || mizar_lab::labs()?.contains(&topology.lab);
    if is_up && !args.keep {
        checks.run("everything removed again", remove(&topology.lab)).await?;
    }
    shown?;
    output::print(&checks.summary(started.elapsed()))?;
    if args.keep {
        output::print(&next(&topology.lab))?;
    }
    Ok(if checks.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything there is to see, in the order in which it is easiest to follow.
async fn show(topology: &Topology, checks: &mut Checks) -> Result<()> {
    let options = Options::new().context("cannot find this very program")?;
    let world = async {
        let status = mizar_lab::up(topology, &options, |_| {}).await?;
        let (guests, hosts) = (status.guests.len(), status.hosts.len());
        Ok((World::new(status), format!("{guests} endpoints attached on {hosts} hosts")))
    };
    let Some(world) = checks.run_for("a cloud from one file", world).await? else {
        bail!("there is no cloud to look at");
    };
    declare::show(&world, checks).await?;
    let trace = paths::show(&world, checks).await?;
    reach::show(&world, checks).await?;
    transfer::show(&world, checks).await?;
    if let Some(trace) = trace {
        let indented = indented(&trace);
        output::print(&format!(
            "\nWhich way the first of these packets took, by `mizar trace`:\n\n{indented}"
        ))?;
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}

async fn remove(lab: &str) -> Result<String> {
    let removed = mizar_lab::down(lab).await?;
    Ok(format!("{} processes and {} namespaces", removed.processes, removed.namespaces))
}

fn check_programs() -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|name| !is_there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("the guests need {}: `cargo xtask setup` installs what is missing", missing.join(", "))
}

fn next(lab: &str) -> String {
    let program = env::current_exe().unwrap_or_else(|_| "mizar".into());
    format!(
        "\nIt is still up. Try (mizar is {}):\n\n  \
         mizar lab status {lab}\n  \
         mizar lab exec --lab {lab} blue/client -- ping 10.0.1.3\n  \
         mizar lab exec --lab {lab} red/client -- curl http://10.0.1.3:8080/vpc\n  \
         mizar trace --lab {lab} blue/web-2 blue/db --both\n  \
         mizar lab counters {lab}\n  \
         eval \"$(mizar lab env {lab})\"; mizar get endpoints\n\n\
         and in the end:\n\n  mizar lab down {lab}",
        program.display()
    )
}
