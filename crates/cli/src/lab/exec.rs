//! `mizar lab exec`: runs a command inside a host or guest.

use anyhow::{Result, anyhow};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit status is the command's own; 127 if there is no such command. `mizar lab down` ends what
still runs then.

Examples:
  mizar lab exec blue/client -- ping -c 3 10.0.1.3
  mizar lab exec h1 -- tcpdump -ni nic0 udp port 6081")]
pub(crate) struct Args {
    /// The lab; the only one by default
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// A host, or a guest as VPC/ENDPOINT; ENDPOINT alone if it is the only one of that name
    target: String,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the command. Returns only if that fails.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let lab = mizar_lab::choose(args.lab.as_deref())?;
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| anyhow!("there is no command to run"))?;
    let mut command = mizar_lab::command(&lab, &args.target, program)?;
    let error = command.args(arguments).exec();
    let is_missing = error.kind() == ErrorKind::NotFound;
    let error = anyhow!(error).context(format!("cannot run {}", program.display()));
    if is_missing {
        crate::output::error(&error);
        return Ok(ExitCode::from(127));
    }
    Err(error)
}
