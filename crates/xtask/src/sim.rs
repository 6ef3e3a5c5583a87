//! `cargo xtask sim`: fleets in virtual time, as `mizar-sim` plays them.

use anyhow::Result;
use clap::Args;

use crate::shell;

#[derive(Args)]
pub(crate) struct Options {
    /// As `mizar-sim` takes them: --seconds N, --seeds N, --from N, --seed N, --class CLASS, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds it so that a panic is a failure like any other, which is made short.
///
/// # Errors
/// When the build fails, or a seed does.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut cargo = shell::cargo(&["run", "--quiet", "--package", "mizar-sim", "--"])?;
    shell::run(cargo.args(&options.arguments))
}
