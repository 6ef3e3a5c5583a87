//! `mizar host token`: join tokens.

use crate::{output, remote};
use anyhow::Result;
use clap::Subcommand;
use http::Method;
use mizar_controller::api::body::{TokenBody, TokenListBody, TokenMadeBody, TokenOrderBody};
use mizar_identity::token::HostPattern;
use mizar_identity::{Address, clock};
use std::time::{Duration, UNIX_EPOCH};

/// What token, or what of those that there are.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Which host may join: its name, or the beginning of names and '*'
    #[arg(required = true)]
    host: Option<HostPattern>,
    /// How many hosts may join with it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: u32,
    /// How long it is good for: 10m, 1h, 2d
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = time)]
    valid: Duration,
    /// Where the host finds the controller [default: the controller's first --name]
    #[arg(long, value_name = "ADDRESS")]
    at: Option<Address>,
    #[command(flatten)]
    remote: remote::Remote,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the tokens that there are
    List {
        #[command(flatten)]
        output: output::Options,
        #[command(flatten)]
        remote: remote::Remote,
    },
    /// Delete a token: nobody joins with it any longer
    Delete {
        /// Its number, as in the list
        id: mizar_vpc::Name,
        #[command(flatten)]
        remote: remote::Remote,
    },
}

const EXAMPLES: &str = "\
The token goes to standard output, once: the controller keeps only a hash of it. Who has it can be
the host that it is for, so give it to nobody else.

Examples:
  mizar host token h4
  mizar host token 'rack1-*' --uses 40 --valid 8h
  mizar host token list
  mizar host token delete 0123456789abcdef";

pub(super) async fn run(args: &Args) -> Result<()> {
    match (&args.command, &args.host) {
        (Some(Command::List { output, remote }), _) => list(*output, remote).await,
        (Some(Command::Delete { id, remote }), _) => delete(id, remote).await,
        (None, Some(host)) => make(args, host).await,
        (None, None) => anyhow::bail!("no host is named: see `mizar host token --help`"),
    }
}

async fn make(args: &Args, host: &HostPattern) -> Result<()> {
    let order = TokenOrderBody {
        host: host.to_string(),
        uses: args.uses,
        valid_seconds: args.valid.as_secs(),
        controller: args.at.as_ref().map(ToString::to_string),
    };
    let client = args.remote.client()?;
    let made: TokenMadeBody = client.ask(Method::POST, "/v1/tokens", Some(&order)).await?;
    let TokenBody { id, uses_left, .. } = &made.record;
    let uses = output::count(*uses_left as usize, "host", "hosts");
    output::progress(&format!(
        "token {id} lets {uses} ({host}) join until {}. On the host, as root:\n  \
         mizar host join TOKEN --name NAME",
        until(&made.record)
    ));
    output::print(&made.token)
}

async fn list(output: output::Options, remote: &remote::Remote) -> Result<()> {
    let client = remote.client()?;
    let tokens: TokenListBody = client.ask(Method::GET, "/v1/tokens", None::<&()>).await?;
    output.show(&tokens, |tokens| {
        let mut table = output::table(["ID", "HOST", "USES LEFT", "EXPIRES"]);
        for token in &tokens.items {
            let TokenBody { id, host, uses_left, .. } = token;
            table.add_row([id.to_string(), host.clone(), uses_left.to_string(), until(token)]);
        }
        output::text(&table)
    })
}

async fn delete(id: &mizar_vpc::Name, remote: &remote::Remote) -> Result<()> {
    let path = format!("/v1/tokens/{id}");
    let _: TokenBody = remote.client()?.ask(Method::DELETE, &path, None::<&()>).await?;
    output::print(&format!("token {id} deleted"))
}

fn until(token: &TokenBody) -> String {
    let since = Duration::from_secs(token.expires);
    UNIX_EPOCH.checked_add(since).map_or_else(|| "never".to_owned(), clock::text)
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no time: it must be as in 10m, 1h or 2d");
    let unit = text.chars().last().ok_or_else(malformed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(malformed()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| malformed())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_others_refused() {
        assert_eq!(time("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(time("2d"), Ok(Duration::from_secs(48 * 3600)));
        for text in ["", "1", "h", "-1h", "1.5h", "1w", "99999999999999999999d", "1é"] {
            assert!(time(text).unwrap_err().contains("10m, 1h or 2d"), "{text}");
        }
    }
}
