//! `cargo xtask bench`: `mizar lab bench`, built as it is shipped, with the programs of others.

use anyhow::Result;
use clap::Args;

use crate::{peers, setup, shell};

#[derive(Args)]
pub(crate) struct Options {
    /// As `mizar lab bench` takes them: which benchmarks, --quick, --json FILE, --report FILE
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// # Errors
/// When the set-up is incomplete, the build fails, or a benchmark does.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::everything()?;
    peers::unpack(&[peers::CNI, peers::OVN])?;
    let mut arguments = vec!["lab".to_owned(), "bench".to_owned()];
    arguments.extend(options.arguments.iter().cloned());
    shell::build_and_run_as_root("dist", &arguments)
}
