//! `mizar lab down`: removes a lab.

use crate::output;
use anyhow::{Result, bail};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab; the only one by default
    name: Option<String>,
}

pub(super) async fn run(args: &Args) -> Result<()> {
    let lab = mizar_lab::choose(args.name.as_deref())?;
    let removed = mizar_lab::down(&lab).await?;
    if removed.is_nothing() {
        bail!("no lab named {lab} is up: `mizar lab list` lists those that are");
    }
    output::print(&format!(
        "Lab {lab} is down: {} and {} removed.",
        output::count(removed.processes, "process", "processes"),
        output::count(removed.namespaces, "namespace", "namespaces"),
    ))
}
