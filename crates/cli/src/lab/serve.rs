//! `mizar lab serve`: the server of a lab, which `up` starts.

use anyhow::Result;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab's folder
    #[arg(long)]
    state: PathBuf,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    Ok(mizar_lab::serve(&args.state).await?)
}
