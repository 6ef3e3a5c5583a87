//! `mizar lab up`: builds a lab.

use crate::output;
use anyhow::{Context, Result};
use mizar_lab::Options;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topology, in YAML: see examples/
    file: PathBuf,
    /// How long hosts and guests may take to become ready, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let topology = super::topology(&args.file)?;
    let options = Options::new().context("cannot find this very program")?;
    let options = Options { timeout: Duration::from_secs(args.timeout), ..options };
    let status =
        mizar_lab::up(&topology, &options, |step| output::progress(&step.to_string())).await?;
    output::print(&super::status::text(&status))
}
