//! `mizar controller`: runs a controller.

use crate::remote::SOCKET;
use anyhow::Result;
use mizar_controller::Options;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the store
    #[arg(long, default_value = "/var/lib/mizar", value_name = "FOLDER")]
    data: PathBuf,
    /// Local socket; whoever may use it is an operator
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
    /// Memory for the store's cache, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    cache: usize,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Args { data, socket, cache } = args;
    mizar_controller::run(Options { data, socket, cache: cache << 20 }).await?;
    Ok(ExitCode::SUCCESS)
}
