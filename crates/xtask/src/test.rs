//! `cargo xtask test`: every check and every test, counted in one last line.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::{env, thread};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::{check, fuzz, kernels, peers, setup, shell, tidy};

/// How many cases each property is tried with in a full run, instead of proptest's 256.
const FULL_CASES: &str = "4096";
/// How many tests are run at once, for the test harness.
const TEST_THREADS: &str = "RUST_TEST_THREADS";
/// Most tests that take long wait for packets and timers rather than compute.
const TESTS_PER_PROCESSOR: usize = 3;

#[derive(Args)]
pub(crate) struct Options {
    /// Runs the long tests too, and every property with more cases
    #[arg(long)]
    full: bool,
}

/// Runs everything, whatever fails, and returns a failure if anything did.
///
/// # Errors
/// When the set-up is incomplete, or the tests cannot be run at all.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if shell::is_root()? {
        setup::everything()?;
    } else {
        setup::build_tools()?;
    }
    let mut tally = Tally::default();
    tally.step("rustfmt", shell::run(&mut check::formatting()?));
    tally.step("tidy", tidy::run());
    if options.full {
        peers::unpack(&[peers::PROMETHEUS])?;
        fuzz::run(&mut tally)?;
    }
    let built = shell::run(check::lint(&mut cargo_test(&["--no-run"], options)?));
    let is_clean = built.is_ok();
    tally.step("build by clippy", built);
    let mut cargo = cargo_test(&["--", "--show-output"], options)?;
    if is_clean {
        // What clippy has built; else what it refuses is tested all the same.
        check::lint(&mut cargo);
    }
    tests(&mut cargo, check::kernel_clippy()?, &mut tally)?;
    if options.full {
        other_kernels(&mut tally)?;
    }

    if !shell::is_root()? {
        println!("not root: tests that need network namespaces or the kernel were skipped");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command whose output is part of the error if it fails.
fn quietly(mut command: Command) -> Result<()> {
    let line = shell::line_of(&command);
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(anyhow!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(anyhow!("cannot start `{line}`: {error}")),
    }
}

/// `cargo test` of the workspace, with more arguments.
fn cargo_test(arguments: &[&str], options: &Options) -> Result<Command> {
    let mut cargo = shell::cargo(&["test", "--workspace", "--no-fail-fast"])?;
    cargo.args(arguments);
    if options.full {
        cargo.env("MIZAR_TEST_FULL", "1").env("PROPTEST_CASES", FULL_CASES);
        cargo.env("PATH", peers::path()?);
    }
    if env::var_os(TEST_THREADS).is_none() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        cargo.env(TEST_THREADS, (processors * TESTS_PER_PROCESSOR).to_string());
    }
    Ok(cargo)
}

/// Runs the tests, and clippy of the kernel programs beside them: most tests wait for packets and
/// timers.
fn tests(cargo: &mut Command, clippy: Command, tally: &mut Tally) -> Result<()> {
    println!("$ {}", shell::line_of(cargo));
    let mut tests = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `cargo test`")?;
    let output = tests.stdout.take().context("`cargo test` has no standard output")?;
    let clippy = thread::spawn(|| quietly(clippy));

    let failed_before = tally.failed;
    let mut suite = Suite::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("read the output of `cargo test`")?;
        if let Some(shown) = suite.read(&String::from_utf8_lossy(&line), tally) {
            println!("{shown}");
        }
    }
    let status = tests.wait().context("wait for `cargo test`")?;
    if !status.success() && tally.failed == failed_before {
        // A suite that does not compile, or that died, has no result to count.
        tally.step("cargo test", Err(anyhow!("{status}")));
    }
    let clippy = clippy.join().map_err(|_| anyhow!("the thread of clippy panicked"))?;
    tally.step("clippy of the kernel programs", clippy);
    Ok(())
}

/// Tries Mizar in other kernels, after all else, since machines need the processors.
fn other_kernels(tally: &mut Tally) -> Result<()> {
    match kernels::obstacle() {
        None => tally.step("kernels", kernels::run(&kernels::Options::default())),
        Some(obstacle) => {
            println!("SKIPPED kernels: {obstacle}");
            tally.skipped += 1;
        }
    }
    Ok(())
}

/// What the last line says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Counts a step, and says why it failed if it did.
    pub(crate) fn step(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("FAILED {name}: {error:#}");
                self.failed += 1;
            }
        }
    }
}

/// Reads what one test binary after the other prints with `--show-output`.
///
/// That option is the only way to see what passing tests say, and so which of them skipped
/// themselves; the rest of what they say is left out of the report.
#[derive(Default)]
struct Suite {
    /// The passing test whose output is being read.
    speaker: Option<String>,
    in_successes: bool,
    skipped: usize,
}

impl Suite {
    /// Reads a line; returns what of it the user should see.
    fn read(&mut self, line: &str, tally: &mut Tally) -> Option<String> {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.finish(counts, tally);
            return Some(line.to_owned());
        }
        match line {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if !self.in_successes {
            return Some(line.to_owned());
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----"))
        {
            self.speaker = Some(name.to_owned());
        }
        let reason = line.trim_start().strip_prefix("SKIPPED:")?;
        // Taken, so that a test that says it twice is counted once.
        let speaker = self.speaker.take()?;
        self.skipped += 1;
        Some(format!("SKIPPED {speaker}:{reason}"))
    }

    fn finish(&mut self, counts: &str, tally: &mut Tally) {
        let passed = number_before(counts, "passed");
        tally.passed += passed.saturating_sub(self.skipped);
        tally.failed += number_before(counts, "failed");
        tally.skipped += number_before(counts, "ignored") + self.skipped;
        *self = Self::default();
    }
}

/// The number before a word, as in `ok. 5 passed; 0 failed; 1 ignored`.
fn number_before(counts: &str, word: &str) -> usize {
    let words: Vec<_> = counts.split([' ', ';']).collect();
    let at = words.iter().position(|found| *found == word);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> (Tally, Vec<String>) {
        let mut tally = Tally::default();
        let mut suite = Suite::default();
        let shown = output.lines().filter_map(|line| suite.read(line, &mut tally)).collect();
        (tally, shown)
    }

    #[test]
    fn suites_are_summed() {
        let output = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\n\
                      test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured\n";
        assert_eq!(read(output).0, Tally { passed: 17, failed: 3, skipped: 1 });
    }

    #[test]
    fn a_test_that_skips_itself_has_not_passed_and_is_shown() {
        let output = "test attaches ... ok\n\
                      \nsuccesses:\n\n---- attaches stdout ----\nSKIPPED: needs root\n\
                      SKIPPED: needs root\nchatter\n\nsuccesses:\n    attaches\n    wraps\n\n\
                      test result: ok. 2 passed; 0 failed; 0 ignored\n";
        let (tally, shown) = read(output);
        assert_eq!(tally, Tally { passed: 1, failed: 0, skipped: 1 });
        assert!(shown.contains(&"SKIPPED attaches: needs root".to_owned()));
        assert!(!shown.contains(&"chatter".to_owned()));
    }

    #[test]
    fn what_a_failing_test_says_is_shown() {
        let output = "\nsuccesses:\n\nsuccesses:\n    wraps\n\nfailures:\n\n\
                      ---- bounces stdout ----\nleft: 1\n\nfailures:\n    bounces\n\n\
                      test result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        let (tally, shown) = read(output);
        assert_eq!(tally, Tally { passed: 1, failed: 1, skipped: 0 });
        assert!(shown.contains(&"left: 1".to_owned()));
    }

    #[test]
    fn a_failed_step_is_counted_as_one_failure() {
        let mut tally = Tally::default();
        tally.step("rustfmt", Ok(()));
        tally.step("clippy", Err(anyhow!("exit status: 101")));
        assert_eq!(tally, Tally { passed: 1, failed: 1, skipped: 0 });
    }
}
