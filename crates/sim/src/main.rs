//! `mizar-sim`: plays seeds, or one seed, or a script, and says what went wrong.
#![expect(clippy::print_stdout, reason = "a command-line tool answers on standard output")]

use anyhow::{Context, Result};
use clap::Parser;
use mizar_sim::{Class, Defect, Outcome, Scenario, Stats, run, shrink};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often a scenario that fails is played to find a shorter one.
const SHRINKING: usize = 600;

/// Plays fleets in virtual time, each decided by a seed, and checks what must hold
#[derive(Parser)]
#[command(name = "mizar-sim")]
struct Options {
    /// Plays this seed alone, and tells what happens
    #[arg(long, conflicts_with_all = ["seeds", "seconds"])]
    seed: Option<u64>,
    /// Plays seeds of one class alone; by default each seed decides its class
    #[arg(long, value_enum)]
    class: Option<Class>,
    /// Reads what happens from a script, as a failure prints it, instead of making it of the seed
    #[arg(long, requires = "seed")]
    script: Option<PathBuf>,
    /// Plays so many seeds
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    seeds: u64,
    /// Plays seeds for so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Puts a defect in, which should be found
    #[arg(long, value_enum, default_value_t)]
    defect: Defect,
    /// Does not tell what happens in a single seed
    #[arg(long)]
    quiet: bool,
}

impl Options {
    fn scenario(&self, seed: u64) -> Scenario {
        match self.class {
            Some(class) => Scenario::generate_of(seed, class),
            None => Scenario::generate(seed),
        }
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    match options.seed {
        Some(seed) => one(&options, seed),
        None => many(&options),
    }
}

fn one(options: &Options, seed: u64) -> Result<ExitCode> {
    let mut scenario = options.scenario(seed);
    if let Some(path) = &options.script {
        let text = std::fs::read_to_string(path);
        scenario = scenario.with_script(&text.with_context(|| path.display().to_string())?)?;
    }
    let Outcome { failure, trace, stats, log, .. } = run(&scenario, options.defect, !options.quiet);
    print!("{scenario}");
    log.iter().for_each(|line| println!("{line}"));
    println!("trace {trace:016x}, {stats:?}");
    Ok(match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("FAILED at {:.6} s: {}", failure.at as f64 / 1e6, failure.what);
            ExitCode::FAILURE
        }
    })
}

fn many(options: &Options) -> Result<ExitCode> {
    let (begun, longest) = (Instant::now(), Duration::from_secs(options.seconds));
    let mut total = Stats::default();
    let mut played = 0;
    while played < options.seeds && begun.elapsed() < longest {
        let scenario = options.scenario(options.from + played);
        let outcome = run(&scenario, options.defect, false);
        if outcome.failure.is_some() {
            fails(&scenario, options.defect);
            return Ok(ExitCode::FAILURE);
        }
        total.add(&outcome.stats);
        played += 1;
    }
    let hours = total.host_time as f64 / 3.6e9;
    println!(
        "{played} seeds in {:.1} s: {hours:.1} host-hours; {} frames, {} packets, {} delivered",
        begun.elapsed().as_secs_f64(),
        total.frames,
        total.sent,
        total.delivered
    );
    if let Some(seconds) = cpu_seconds() {
        println!("sim.host_hours_per_cpu_s {:.2}", hours / seconds);
    }
    Ok(ExitCode::SUCCESS)
}

/// What this process's only thread has used of a CPU.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    (nanoseconds > 0).then_some(nanoseconds as f64 / 1e9)
}

/// Shrinks what fails, and says how to play it again.
fn fails(scenario: &Scenario, defect: Defect) {
    let seed = scenario.seed;
    println!("seed {seed} fails; it is made shorter");
    let (shortest, failure) = shrink(scenario, defect, SHRINKING);
    print!("{shortest}");
    if let Some(failure) = failure {
        println!("FAILED at {:.6} s: {}", failure.at as f64 / 1e6, failure.what);
    }
    let class = format!("{:?}", scenario.class).to_lowercase();
    println!("again: --seed {seed} --class {class}, and --script FILE with these lines");
}
