//! `mizar controller`: runs a controller, backs its store up, and restores it.

mod store;

use crate::host::token::time;
use crate::remote::SOCKET;
use anyhow::Result;
use clap::Subcommand;
use mizar_controller::{Options, Secure};
use mizar_identity::pki::Lifetimes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Where a controller keeps what it has to keep.
const DATA: &str = "/var/lib/mizar";

/// What `mizar controller` is told.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write what a running controller of this machine has in its store to a file
    Backup(store::BackupArgs),
    /// Make a backup the store of a controller that does not run
    Restore(store::RestoreArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Folder of the store and of the audit log
    #[arg(long, default_value = DATA, value_name = "FOLDER")]
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
    /// How long the certificates last that it gives, as in host=1d; repeat it for several. Roles:
    /// controller, host, operator [default: controller=1d, host=7d, operator=90d]
    #[arg(long = "lifetime", value_name = "ROLE=TIME", value_parser = lifetime)]
    #[arg(requires = "listen")]
    lifetimes: Vec<Lifetime>,
}

/// How long the certificates of a role last.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    of: fn(&mut Lifetimes) -> &mut Duration,
    lasts: Duration,
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    let malformed = || format!("{text:?} must be as in host=1d");
    let (role, lasts) = text.split_once('=').ok_or_else(malformed)?;
    let lasts = time(lasts)?;
    if lasts < Lifetimes::SHORTEST {
        return Err(format!(
            "{lasts:?} is too short: it must be {:?} at least",
            Lifetimes::SHORTEST
        ));
    }
    let of: fn(&mut Lifetimes) -> &mut Duration = match role {
        "controller" => |it| &mut it.controller,
        "host" => |it| &mut it.host,
        "operator" => |it| &mut it.operator,
        _ => return Err(format!("{role:?} is no role: it must be controller, host or operator")),
    };
    Ok(Lifetime { of, lasts })
}

const EXAMPLES: &str = "\
Every write is in FOLDER/audit.log: a line of JSON when it is asked for, and one when it is done.

Examples:
  mizar controller
  mizar pki init --pki /etc/mizar/pki
  mizar controller --listen 0.0.0.0:6443 --pki /etc/mizar/pki --name controller.example
  mizar controller backup /backup/mizar-$(date +%F)
  mizar controller restore /backup/mizar-2026-05-01 --replace";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let RunArgs { data, socket, cache, listen, pki, names, lifetimes: given } = match args.command {
        Some(Command::Backup(args)) => return store::backup(&args).await,
        Some(Command::Restore(args)) => return store::restore(args).await,
        None => args.run,
    };
    let mut lifetimes = Lifetimes::default();
    for Lifetime { of, lasts } in given {
        *of(&mut lifetimes) = lasts;
    }
    let secure = listen.zip(pki).map(|(listen, pki)| Secure { listen, pki, names, lifetimes });
    mizar_controller::run(Options { data, socket, cache: cache << 20, secure }).await?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_and_others_refused_with_what_would_be_right() {
        let mut lifetimes = Lifetimes::default();
        let Lifetime { of, lasts } = lifetime("host=12h").unwrap();
        *of(&mut lifetimes) = lasts;
        let host = Duration::from_secs(12 * 3600);
        assert_eq!(lifetimes, Lifetimes { host, ..Lifetimes::default() });
        assert!(lifetime("host=5s").unwrap_err().contains("20s at least"));
        assert!(lifetime("tenant=1d").unwrap_err().contains("\"tenant\""));
        assert!(lifetime("host").unwrap_err().contains("host=1d"));
    }
}
