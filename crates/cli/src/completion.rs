//! `mizar completion`: what shells complete.

use crate::output;
use anyhow::{Context, Result};
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  mizar completion bash > /etc/bash_completion.d/mizar
  source <(mizar completion zsh)";

pub(crate) fn run(args: &Args, mut command: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "mizar", &mut script);
    output::print(std::str::from_utf8(&script).context("the script is no text")?)
}
