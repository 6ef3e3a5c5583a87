//! `cargo xtask bench`: measures, in release mode.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{peers, setup, shell};

#[derive(Args)]
pub(crate) struct Options {
    /// The benchmarks to run; all when none is named
    names: Vec<String>,
    /// Fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Writes the results to a file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes them as a page with charts, or as Markdown if the name ends in .md; can be repeated
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
}

/// # Errors
/// When the set-up is incomplete, the build fails, or a benchmark does.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::everything()?;
    peers::unpack(&[peers::CNI, peers::OVN])?;
    // The benchmarks start hosts, whose agents are `mizar` as it is shipped.
    shell::run(&mut shell::cargo(&["build", "--profile", "dist", "--package", "mizar-cli"])?)?;
    shell::build_and_run_as_root("mizar-bench", "mizar-bench", &options.passed_on())
}

impl Options {
    fn passed_on(&self) -> Vec<String> {
        let mut arguments = self.names.clone();
        if self.quick {
            arguments.push("--quick".to_owned());
        }
        if let Some(file) = &self.json {
            arguments.extend(["--json".to_owned(), file.to_string_lossy().into_owned()]);
        }
        for file in &self.report {
            arguments.extend(["--report".to_owned(), file.to_string_lossy().into_owned()]);
        }
        arguments
    }
}
