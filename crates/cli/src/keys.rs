//! `mizar keys`: by which hosts prove to each other what they say of locations.

use crate::change::change;
use crate::exit::Status;
use crate::output;
use crate::remote;
use crate::wait::Patience;
use anyhow::Result;
use clap::Subcommand;
use mizar_controller::client::Client;
use mizar_vpc::manifest::TagsStatus;
use mizar_vpc::{Kind, Manifest, Ref};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How often it is looked how far hosts are.
const LOOK: Duration = Duration::from_millis(200);

/// What one can do with keys.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Have all hosts sign with the next key now, instead of at the end of its day
    Rotate {
        /// Wait until all hosts do
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        patience: Patience,
        #[command(flatten)]
        remote: remote::Remote,
    },
}

const EXAMPLES: &str = "\
Hosts believe what is signed with the key before the present one, too: a key that somebody may have
is of no use to him after two rotations.

Examples:
  mizar keys rotate --wait && mizar keys rotate --wait
  mizar get fleet -o wide       which key is signed with, and by whom not yet";

pub(crate) async fn run(command: &Command) -> Result<()> {
    let Command::Rotate { wait, patience, remote } = command;
    let client = remote.client()?;
    let before = rotate(&client).await?;
    if !wait {
        return output::print("the next key is signed with as soon as all hosts have it");
    }
    let until = Instant::now() + patience.duration();
    loop {
        let now = tags(&client).await?;
        if now.epoch > before.epoch && now.waiting.is_empty() {
            return output::print(&format!("all hosts sign with key {}", now.epoch));
        }
        if Instant::now() >= until {
            return Err(late(&now));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Not all hosts have taken the key in time.
fn late(now: &TagsStatus) -> anyhow::Error {
    let waiting: Vec<_> = now.waiting.iter().map(ToString::to_string).collect();
    Status::TimedOut.error(format!(
        "key {} is signed with; not taken yet by: {}",
        now.epoch,
        if waiting.is_empty() { "nobody".to_owned() } else { waiting.join(", ") }
    ))
}

/// Asks for another turn; how far tags were before.
async fn rotate(client: &Client) -> Result<TagsStatus> {
    let before = RefCell::new(TagsStatus::default());
    change(client, &reference()?, |manifest| {
        let Manifest::Fleet(fleet) = manifest else { return Ok(false) };
        if !fleet.spec.tags.enabled {
            let message = "hosts sign nothing: set spec.tags.enabled of the fleet";
            return Err(Status::Failed.error(message));
        }
        before.replace(fleet.status.clone().unwrap_or_default().tags);
        fleet.spec.tags.turn = fleet.spec.tags.turn.checked_add(1).unwrap_or(1);
        Ok(true)
    })
    .await?;
    Ok(before.into_inner())
}

fn reference() -> Result<Ref> {
    Ok(Ref::global(Kind::Fleet, "fleet".parse()?))
}

/// How far tags are.
async fn tags(client: &Client) -> Result<TagsStatus> {
    let reference = reference()?;
    let answer = client.get(&reference).await;
    Ok(match remote::found(client, &reference, answer).await? {
        Manifest::Fleet(fleet) => fleet.status.unwrap_or_default().tags,
        _ => TagsStatus::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_some_hosts_have_not_taken_in_time_names_them() {
        let waiting = vec!["h1".parse().unwrap(), "h2".parse().unwrap()];
        let error = late(&TagsStatus { epoch: 7, waiting, ..TagsStatus::default() });
        assert_eq!(error.to_string(), "key 7 is signed with; not taken yet by: h1, h2");
        assert_eq!(Status::of(&error), Status::TimedOut);
    }
}
