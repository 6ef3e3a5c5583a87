//! `mizar top`: which hosts carry most.

use crate::output;
use crate::remote;
use crate::resource;
use anyhow::Result;
use clap::ValueEnum;
use mizar_controller::engine::Filter;
use mizar_vpc::manifest::HostStatus;
use mizar_vpc::{Kind, Manifest};
use std::cmp::Reverse;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

/// Width of the longest bar.
const WIDTH: u64 = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What comes first
    #[arg(long, value_enum, default_value_t, value_name = "COLUMN")]
    sort: Sort,
    /// How many hosts
    #[arg(short = 'n', long, default_value_t = 20, value_name = "NUMBER")]
    count: usize,
    /// Look again and again
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_name = "SECONDS", requires = "watch")]
    interval: u64,
    #[command(flatten)]
    remote: remote::Remote,
}

const EXAMPLES: &str = "\
Examples:
  mizar top
  mizar top --sort endpoints -n 5 --watch";

/// A column to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Slots that it holds.
    #[default]
    Slots,
    /// Endpoints that live on it.
    Endpoints,
    /// Its name.
    Name,
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let client = args.remote.client()?;
    loop {
        let (hosts, _) = resource::all(&client, Filter::all(Kind::Host)).await?;
        let text = text(&hosts, args.sort, args.count);
        if args.watch && stdout().is_terminal() {
            output::redraw(&text)?;
        } else {
            output::print(&text)?;
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(args.interval.max(1))).await;
    }
}

fn text(hosts: &[Manifest], sort: Sort, count: usize) -> String {
    let host = |manifest: &Manifest| match manifest {
        Manifest::Host(it) => {
            Some((it.metadata.name.clone(), it.status.clone().unwrap_or_default()))
        }
        _ => None,
    };
    let mut hosts: Vec<_> = hosts.iter().filter_map(host).collect();
    let alive = hosts.iter().filter(|(_, status)| status.alive).count();
    let sum = |of: fn(&HostStatus) -> u64| hosts.iter().map(|(_, status)| of(status)).sum::<u64>();
    let all = output::count(hosts.len(), "host", "hosts");
    let (slots, endpoints) = (sum(|it| it.slots), sum(|it| it.endpoints));
    let most = |of: fn(&HostStatus) -> u64| hosts.iter().map(|(_, it)| of(it)).max().unwrap_or(0);
    let (most_slots, most_endpoints) = (most(|it| it.slots), most(|it| it.endpoints));
    match sort {
        Sort::Slots => hosts.sort_by_key(|(_, it)| Reverse(it.slots)),
        Sort::Endpoints => hosts.sort_by_key(|(_, it)| Reverse(it.endpoints)),
        Sort::Name => {}
    }
    let mut table = output::table(["HOST", "ALIVE", "SLOTS", "", "ENDPOINTS", ""]);
    for (name, status) in hosts.iter().take(count) {
        table.add_row([
            name.to_string(),
            if status.alive { "yes".to_owned() } else { "no".to_owned() },
            status.slots.to_string(),
            bar(status.slots, most_slots),
            status.endpoints.to_string(),
            bar(status.endpoints, most_endpoints),
        ]);
    }
    let summary = format!("{all}, {alive} alive, {slots} slots held, {endpoints} endpoints");
    format!("{summary}\n\n{}", output::text(&table))
}

fn bar(value: u64, most: u64) -> String {
    let width = u128::from(value) * u128::from(WIDTH) / u128::from(most.max(1));
    "█".repeat(usize::try_from(width).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_carry_most_come_first() {
        let host = |name: &str, slots: u64, endpoints: u64| {
            let text = format!(
                "{{kind: Host, metadata: {{name: {name}}}, spec: {{underlay: 100.64.0.1}}, status: \
                 {{alive: true, slots: {slots}, endpoints: {endpoints}}}}}"
            );
            serde_saphyr::from_str(&text).unwrap()
        };
        let hosts = [host("h1", 128, 2), host("h2", 256, 1), host("h3", 0, 4)];
        let shown = text(&hosts, Sort::Slots, 2);
        assert!(
            shown.starts_with("3 hosts, 3 alive, 384 slots held, 7 endpoints\n\nHOST"),
            "{shown}"
        );
        let rows: Vec<_> = shown.lines().skip(3).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].starts_with("h2") && rows[1].starts_with("h1"), "{shown}");
        assert!(text(&hosts, Sort::Endpoints, 1).lines().nth(3).unwrap().starts_with("h3"));
    }
}
