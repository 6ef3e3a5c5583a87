//! `mizar watch`: changes of resources as they come.

use crate::output;
use crate::remote;
use crate::resource::{self, Selection, View, cells, header};
use anyhow::Result;
use mizar_controller::api::body::EventBody;
use mizar_controller::api::problem::ProblemKind;
use mizar_controller::client::{Client, ClientError};
use mizar_controller::engine::{Filter, Version, Watch};
use mizar_vpc::{Kind, Manifest, Ref};
use std::time::Duration;

/// How long to wait before a watch that has ended is begun anew.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kind of resources
    #[arg(value_parser = resource::kind)]
    kind: Kind,
    /// Names of resources; without, all are watched
    names: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// How the resources look
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: View,
    #[command(flatten)]
    remote: remote::Remote,
}

const EXAMPLES: &str = "\
What is there comes first, as Added. With -o json each line is one event.

Examples:
  mizar watch endpoints --vpc blue
  mizar watch hosts -o json";

pub(crate) async fn run(args: &Args) -> Result<()> {
    // Names and a selection may go together here.
    args.selection.check(args.kind, &[])?;
    let references = resource::references(args.kind, args.selection.vpc.as_ref(), &args.names)?;
    let mut filter = args.selection.filter(args.kind);
    if filter.vpc.is_none() {
        filter.vpc = filter_of(args.kind, &references).vpc;
    }
    let client = args.remote.client()?;
    changes(&client, filter, None, &references, args.output, &[]).await
}

/// The narrowest filter that lets all of these pass.
pub(crate) fn filter_of(kind: Kind, references: &[Ref]) -> Filter {
    let first = references.first().and_then(|reference| reference.vpc.clone());
    let same = references.iter().all(|reference| reference.vpc == first);
    Filter { vpc: first.filter(|_| same), ..Filter::all(kind) }
}

/// Shows changes until the user has seen enough. A watch that ends is begun anew where it was; if
/// the controller has forgotten from where, what is there comes once more.
///
/// # Errors
/// The controller refuses, or cannot be reached.
pub(crate) async fn changes(
    client: &Client,
    filter: Filter,
    mut from: Option<Version>,
    only: &[Ref],
    view: View,
    shown: &[Manifest],
) -> Result<()> {
    let mut lines = Lines::new(filter.kind, view, shown);
    let concerns = |object: &Manifest| only.is_empty() || only.contains(&object.reference());
    loop {
        let since = match from {
            Some(since) => since,
            None => {
                let (present, version) = resource::all(client, filter.clone()).await?;
                for object in present.into_iter().filter(|object| concerns(object)) {
                    lines.show(&EventBody::Added { resource_version: version, object })?;
                }
                version
            }
        };
        from = Some(since);
        let mut watching = match client.watch(&Watch { filter: filter.clone(), from }).await {
            Ok(watching) => watching,
            Err(error) if is_gone(&error) => {
                from = None;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let ended = loop {
            let event = match watching.next().await {
                Ok(Some(event)) => event,
                Ok(None) => break "the connection has ended".to_owned(),
                Err(error) => break error.to_string(),
            };
            if let EventBody::Bookmark { resource_version } = event {
                from = resource_version.or(from);
            }
            let Some((version, object)) = parts(&event) else { continue };
            from = Some(version);
            if concerns(object) {
                lines.show(&event)?;
            }
        };
        output::progress(&format!("{ended}; watching again"));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the events from there on are forgotten.
pub(crate) fn is_gone(error: &ClientError) -> bool {
    error.problem().and_then(|problem| problem.kind()) == Some(ProblemKind::Gone)
}

/// The version and the resource of an event that has one.
pub(crate) fn parts(event: &EventBody) -> Option<(Version, &Manifest)> {
    match event {
        EventBody::Added { resource_version, object }
        | EventBody::Modified { resource_version, object }
        | EventBody::Deleted { resource_version, object } => Some((*resource_version, object)),
        EventBody::Bookmark { .. } | EventBody::Error { .. } => None,
    }
}

/// Rows that come one after another, below one another.
struct Lines {
    kind: Kind,
    view: View,
    widths: Vec<usize>,
    has_header: bool,
}

impl Lines {
    /// Columns are as wide as those of the rows that are shown already.
    fn new(kind: Kind, view: View, shown: &[Manifest]) -> Self {
        let mut lines = Self { kind, view, widths: Vec::new(), has_header: !shown.is_empty() };
        if let Some(wide) = view.table() {
            lines.widen(&header(kind, wide));
            shown.iter().for_each(|item| lines.widen(&cells(item, wide)));
        }
        lines
    }

    fn show(&mut self, event: &EventBody) -> Result<()> {
        let Some((_, object)) = parts(event) else { return Ok(()) };
        let word = match event {
            EventBody::Added { .. } => "added",
            EventBody::Modified { .. } => "changed",
            EventBody::Deleted { .. } => "deleted",
            EventBody::Bookmark { .. } | EventBody::Error { .. } => return Ok(()),
        };
        let Some(wide) = self.view.table() else {
            return output::print(&match self.view {
                View::Json => serde_json::to_string(event)?,
                View::Name => format!("{} {word}", object.reference()),
                view => format!("# {word}\n{}", view.one(object)?),
            });
        };
        let row = cells(object, wide);
        self.widen(&row);
        if !self.has_header {
            self.has_header = true;
            let header = header(self.kind, wide);
            output::print(&self.line("EVENT", &header))?;
        }
        output::print(&self.line(word, &row))
    }

    fn widen<T: AsRef<str>>(&mut self, row: &[T]) {
        let wanted = row.iter().map(|cell| cell.as_ref().chars().count());
        let had = self.widths.iter().copied().chain(std::iter::repeat(0));
        self.widths = wanted.zip(had).map(|(wanted, had)| wanted.max(had)).collect();
    }

    fn line<T: AsRef<str>>(&self, word: &str, row: &[T]) -> String {
        let cells = row.iter().zip(&self.widths);
        let cells = cells.map(|(cell, width)| format!("{:width$}", cell.as_ref(), width = *width));
        format!("{word:8} {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    }
}
