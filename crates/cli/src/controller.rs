//! `mizar controller`: runs a controller.

use crate::remote::SOCKET;
use anyhow::Result;
use mizar_controller::{Options, Secure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the store and of the audit log
    #[arg(long, default_value = "/var/lib/mizar", value_name = "FOLDER")]
    data: PathBuf,
    /// Local socket; whoever may use it is an operator
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
    /// Memory for the store's cache, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    cache: usize,
    /// Listen here too, for those who have certificates, and for hosts that join
    #[arg(long, value_name = "ADDRESS:PORT", requires = "pki")]
    listen: Option<SocketAddr>,
    /// Folder of the CA, as `mizar pki init` makes it
    #[arg(long, value_name = "FOLDER", requires = "listen")]
    pki: Option<PathBuf>,
    /// DNS name or IP address by which it is dialled; repeat it for several. Hosts that join dial
    /// the first [default: the address of --listen]
    #[arg(long = "name", value_name = "NAME", requires = "listen")]
    names: Vec<String>,
}

const EXAMPLES: &str = "\
Every write is in FOLDER/audit.log: a line of JSON when it is asked for, and one when it is done.

Examples:
  mizar controller
  mizar pki init --pki /etc/mizar/pki
  mizar controller --listen 0.0.0.0:6443 --pki /etc/mizar/pki --name controller.example";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let Args { data, socket, cache, listen, pki, names } = args;
    let secure = listen.zip(pki).map(|(listen, pki)| Secure { listen, pki, names });
    mizar_controller::run(Options { data, socket, cache: cache << 20, secure }).await?;
    Ok(ExitCode::SUCCESS)
}
