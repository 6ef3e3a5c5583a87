//! `cargo xtask demo`: from a fresh clone to a running cloud on this machine.

use anyhow::Result;
use clap::Args;

use crate::{setup, shell};

#[derive(Args)]
pub(crate) struct Options {
    /// Leaves the cloud running and prints what to try next
    #[arg(long)]
    keep: bool,
}

/// # Errors
/// When the set-up is incomplete, the build fails, or the demo finds something that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::everything()?;
    let mut arguments = vec!["lab".to_owned(), "demo".to_owned()];
    if options.keep {
        arguments.push("--keep".to_owned());
    }
    shell::build_and_run_as_root("release", &arguments)
}
