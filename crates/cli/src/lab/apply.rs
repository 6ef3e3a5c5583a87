//! `mizar lab apply`: changes a lab that is up.

use crate::output;
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab as it should become; its name says which lab is changed
    file: PathBuf,
    /// How long the change may take to become ready, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let topology = super::topology(&args.file)?;
    let timeout = Duration::from_secs(args.timeout);
    let progress = |step: &mizar_lab::Progress| output::progress(&step.to_string());
    let status = mizar_lab::apply(&topology, timeout, progress).await?;
    output::print(&super::status::text(&status))
}
