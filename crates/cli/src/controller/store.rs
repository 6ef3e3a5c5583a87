//! `mizar controller backup` and `restore`: what is kept of a store elsewhere.

use super::DATA;
use crate::output;
use crate::remote::SOCKET;
use anyhow::{Context, Result};
use mizar_controller::client::Client;
use mizar_controller::{Kept, Restore, Restored};
use mizar_identity::Connector;
use mizar_store::{Backup, BackupFile};
use std::path::PathBuf;
use std::process::ExitCode;

/// What `mizar controller backup` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = BACKUP)]
pub(super) struct BackupArgs {
    /// The file, of which there must be none yet; it has its name once it is whole
    file: PathBuf,
    /// The controller's local socket
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
}

/// What `mizar controller restore` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = RESTORE)]
pub(super) struct RestoreArgs {
    /// A backup; or a store.redb that was copied by other means
    file: PathBuf,
    /// The controller's folder; it is made if there is none
    #[arg(long, default_value = DATA, value_name = "FOLDER")]
    data: PathBuf,
    /// Replace the store that is there, and keep it under another name
    #[arg(long)]
    replace: bool,
    /// The largest epoch that hosts have seen, if neither the backup nor the store that is there
    /// knows it: versions begin with it, as the 2 of 2.1050
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "EPOCH")]
    above: u16,
}

const BACKUP: &str = "\
A backup is of one point in time; the controller goes on meanwhile. It has what is declared, who
holds what, and secrets: the keys by which hosts prove what they say, and hashes of join tokens. It
is readable for its owner only. The CA (--pki) and the audit log are not in it.

Examples:
  mizar controller backup /backup/mizar-$(date +%F)";

const RESTORE: &str = "\
The restored store begins a new epoch, so that hosts believe it though they were told more since the
backup: once the controller runs, they come to what is in the backup.

Examples:
  mizar controller restore /backup/mizar-2026-05-01 --data /var/lib/mizar
  mizar controller restore /backup/mizar-2026-05-01 --replace --above 3
  mizar controller restore /var/lib/mizar/store.redb --replace     a store that was put back";

pub(super) async fn backup(args: &BackupArgs) -> Result<ExitCode> {
    let client = Client::new(Connector::local(&args.socket));
    let file = BackupFile::create(&args.file)?;
    let Backup { epoch, revision, rows } =
        client.backup(file).await.context("there is no backup")?;
    let file = args.file.display();
    output::print(&format!("{file}: {rows} entries, as they were at {epoch}.{revision}"))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(args: RestoreArgs) -> Result<ExitCode> {
    let RestoreArgs { file: backup, data, replace, above } = args;
    let shown = data.display().to_string();
    let what = Restore { backup, data, above, replace };
    let done = tokio::task::spawn_blocking(move || mizar_controller::restore(&what)).await?;
    let Restored { store, epoch, revision, kept } = done.context("nothing was restored")?;
    let mut said = format!("{}: epoch {epoch}, revision {revision}\n", store.display());
    if let Some(Kept { path, epoch: of }) = kept {
        said += &format!("the store that was there is {}\n", path.display());
        if of.is_none() {
            said += &format!(
                "it is damaged and does not say its epoch: if hosts have seen {epoch} or a larger \
                 one, restore once more with --above\n"
            );
        }
    }
    said += &format!(
        "\nWhat was done since the backup is forgotten. Revoke certificates once more, and delete \
         join tokens that were used up or deleted since; {shown}/audit.log may know them.\n\n\
         Next:\n  mizar controller --data {shown}"
    );
    output::print(&said)?;
    Ok(ExitCode::SUCCESS)
}
