//! `mizar host`: the machines of the underlay.

mod join;
pub(crate) mod token;

use crate::output;
use crate::pki;
use crate::remote;
use crate::resource::{self, Selection, View, show};
use anyhow::Result;
use clap::Subcommand;
use http::Method;
use mizar_controller::api::problem::ProblemKind;
use mizar_controller::client::{Client, ClientError};
use mizar_identity::Identity;
use mizar_vpc::{Kind, Manifest, Ref, Selector};

/// How often a host that others write at the same time is read and written again.
const ATTEMPTS: usize = 5;

/// What one can do with hosts.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// List the hosts, with what they hold and whether they are alive
    List {
        /// With these labels
        #[arg(short = 'l', long, value_name = "SELECTOR")]
        selector: Option<Selector>,
        /// How the hosts look
        #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
        output: View,
        #[command(flatten)]
        remote: remote::Remote,
    },
    /// Take a host out of service: it gives up its slots, and gets no new endpoints
    Cordon(Names),
    /// Put hosts into service again
    Uncordon(Names),
    /// Cut hosts off whose keys may be stolen: the certificates that they have are not believed any
    /// more; they may join anew
    Revoke(Names),
    /// Make a join token, by which a host gets its first certificate
    Token(token::Args),
    /// On a host: get its first certificate, for a join token
    Join(join::Args),
}

const EXAMPLES: &str = "\
Examples:
  mizar host list -o wide
  mizar host cordon h3       before maintenance: its slots move away, its endpoints stay
  mizar host uncordon h3
  mizar host token h4               on any machine, as an operator
  mizar host join TOKEN --name h4   on h4
  mizar host revoke h4              its key is stolen: nobody is h4 until it has joined anew";

/// Which hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct Names {
    /// Names of hosts
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    remote: remote::Remote,
}

pub(crate) async fn run(command: &Command) -> Result<()> {
    match command {
        Command::List { selector, output, remote } => {
            let selection = Selection { selector: selector.clone(), ..Selection::default() };
            let client = remote.client()?;
            let (hosts, _) = resource::all(&client, selection.filter(Kind::Host)).await?;
            output::print(&show(Kind::Host, &hosts, *output, true)?)
        }
        Command::Revoke(Names { names, remote }) => {
            let hosts = resource::references(Kind::Host, None, names)?.into_iter();
            let hosts: Vec<_> = hosts.map(|host| Identity::Host(host.name)).collect();
            pki::revoke(&hosts, remote).await
        }
        Command::Token(args) => token::run(args).await,
        Command::Join(args) => join::run(args).await,
        Command::Cordon(names) => cordon(names, true).await,
        Command::Uncordon(names) => cordon(names, false).await,
    }
}

async fn cordon(Names { names, remote }: &Names, cordoned: bool) -> Result<()> {
    let references = resource::references(Kind::Host, None, names)?;
    let client = remote.client()?;
    let word = if cordoned { "cordoned" } else { "in service" };
    for reference in references {
        let changed = set(&client, &reference, cordoned).await?;
        let already = if changed { "" } else { " already" };
        output::print(&format!("{reference} {word}{already}"))?;
    }
    Ok(())
}

/// Whether the host was otherwise before.
async fn set(client: &Client, reference: &Ref, cordoned: bool) -> Result<bool> {
    for attempt in 1.. {
        let answer = client.get(reference).await;
        let mut manifest = remote::found(client, reference, answer).await?.without_status();
        if let Manifest::Host(host) = &mut manifest {
            if host.spec.cordoned == cordoned {
                return Ok(false);
            }
            host.spec.cordoned = cordoned;
        }
        // The manifest has the version that was read, so nobody's change is undone.
        let path = format!("/v1/hosts/{}", reference.name);
        let answer: Result<Manifest, _> = client.ask(Method::PUT, &path, Some(&manifest)).await;
        match answer {
            Err(error) if is_conflict(&error) && attempt < ATTEMPTS => {}
            answer => {
                answer?;
                return Ok(true);
            }
        }
    }
    Ok(true)
}

pub(crate) fn is_conflict(error: &ClientError) -> bool {
    let kind = error.problem().and_then(|problem| problem.kind());
    matches!(kind, Some(ProblemKind::Conflict | ProblemKind::Precondition))
}
