//! `mizar lab env`: how to ask the controller of a lab.

use crate::output;
use anyhow::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  eval \"$(mizar lab env)\"
  mizar get endpoints")]
pub(crate) struct Args {
    /// The lab; the only one by default
    name: Option<String>,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let lab = mizar_lab::choose(args.name.as_deref())?;
    let socket = mizar_lab::status(&lab).await?.controller.socket;
    output::print(&format!("export MIZAR_CONTROLLER=unix:{}", socket.display()))
}
