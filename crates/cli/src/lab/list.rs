//! `mizar lab list`: the labs of this machine.

use crate::output;
use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: output::Options,
}

pub(super) fn run(args: &Args) -> Result<()> {
    args.output.show(&mizar_lab::labs()?, |labs| match labs.as_slice() {
        [] => "No lab is up: `mizar lab up FILE` starts one.".to_owned(),
        labs => labs.join("\n"),
    })
}
