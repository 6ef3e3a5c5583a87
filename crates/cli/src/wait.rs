//! `mizar wait`: until resources are as they should be.

use crate::exit::Status;
use crate::output;
use crate::remote;
use crate::resource::{self, Selection};
use crate::watch::{filter_of, parts};
use anyhow::Result;
use clap::ValueEnum;
use indicatif::ProgressBar;
use mizar_controller::api::body::EventBody;
use mizar_controller::client::{Client, ClientError};
use mizar_controller::engine::{Filter, Watch};
use mizar_vpc::manifest::{Condition, ConditionStatus, EndpointStatus, Phase};
use mizar_vpc::{Kind, Manifest, Ref};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long to wait before a watch that has ended is begun anew.
const PAUSE: Duration = Duration::from_millis(200);
/// Most resources that are named where it took too long.
const MOST_NAMED: usize = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Kind of resources
    #[arg(value_parser = resource::kind)]
    kind: Kind,
    /// Names of resources; without, all that exist now are waited for
    names: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t, value_name = "STATE")]
    goal: Goal,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    remote: remote::Remote,
}

const EXAMPLES: &str = "\
An endpoint is ready once its host and its bouncers have it and the VPC's dividers know its network,
a host while it is alive. What is named and does not exist yet is waited for.

Examples:
  mizar wait endpoint blue/web-1
  mizar wait host h1 h2 --timeout 30s
  mizar wait endpoints --vpc blue -l app=web
  mizar wait endpoint blue/web-1 --for deleted";

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// It works, and nothing is missing.
    #[default]
    Ready,
    /// Something is missing.
    Degraded,
    /// It is about to move, and its new host has its interface.
    Prepared,
    /// It is gone.
    Deleted,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Patience {
    /// How long to wait, as in 500ms, 30s or 5m
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    timeout: Duration,
}

impl Patience {
    /// As a duration.
    pub(crate) const fn duration(self) -> Duration {
        self.timeout
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let found = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
    let found = found.filter(|_| millis > 0).map(Duration::from_millis);
    found.ok_or_else(|| "it must be a number with a unit, as in 500ms, 30s or 5m".to_owned())
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let is_known = args.goal == Goal::Deleted || matches!(args.kind, Kind::Endpoint | Kind::Host);
    if !is_known {
        let plural = args.kind.plural();
        let message =
            format!("{plural} are always ready: wait for endpoints, hosts, or --for deleted");
        return Err(Status::Usage.error(message));
    }
    args.selection.check(args.kind, &args.names)?;
    let client = args.remote.client()?;
    let references = args.references(&client).await?;
    until(&client, references.clone(), args.goal, args.patience.timeout).await?;
    let word = args.goal.word();
    let lines: Vec<_> = references.iter().map(|it| format!("{it} {word}")).collect();
    if !lines.is_empty() {
        output::print(&lines.join("\n"))?;
    }
    Ok(())
}

impl Args {
    /// What is waited for: what is named, or else all that is selected.
    async fn references(&self, client: &Client) -> Result<Vec<Ref>> {
        let named = resource::references(self.kind, self.selection.vpc.as_ref(), &self.names)?;
        if !named.is_empty() {
            return Ok(named);
        }
        let (items, _) = resource::all(client, self.selection.filter(self.kind)).await?;
        if items.is_empty() && self.goal != Goal::Deleted {
            let message =
                format!("there are no such {}: there is nothing to wait for", self.kind.plural());
            return Err(Status::NotFound.error(message));
        }
        Ok(items.iter().map(Manifest::reference).collect())
    }
}

/// Waits until all resources are as they should be.
///
/// # Errors
/// It takes longer than that, with the state of those that are not; or the controller refuses.
pub(crate) async fn until(
    client: &Client,
    references: Vec<Ref>,
    goal: Goal,
    patience: Duration,
) -> Result<()> {
    let mut groups: BTreeMap<_, BTreeSet<Ref>> = BTreeMap::new();
    for reference in references {
        groups.entry((reference.kind, reference.vpc.clone())).or_default().insert(reference);
    }
    let deadline = tokio::time::Instant::now() + patience;
    for ((kind, _), missing) in groups {
        let mut waiting = Waiting::new(kind, goal, missing);
        match tokio::time::timeout_at(deadline, waiting.wait(client)).await {
            Ok(done) => done?,
            Err(_) => return Err(waiting.late(patience)),
        }
    }
    Ok(())
}

/// Resources of one kind and VPC that are waited for.
struct Waiting {
    kind: Kind,
    goal: Goal,
    missing: BTreeSet<Ref>,
    /// How those that are missing were when last seen.
    states: BTreeMap<Ref, String>,
    /// How many there were, and how far it is, for whoever looks, from when not all were right.
    total: usize,
    bar: Option<ProgressBar>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Waiting {
    fn new(kind: Kind, goal: Goal, missing: BTreeSet<Ref>) -> Self {
        let total = missing.len();
        Self { kind, goal, missing, states: BTreeMap::new(), total, bar: None }
    }

    /// Looks at each, and at what changes; anew when the watch ends.
    async fn wait(&mut self, client: &Client) -> Result<(), ClientError> {
        loop {
            let from = Some(resource::version(client).await?);
            let filter = self.filter();
            // How something stands changes without any write, so what happens between looking and
            // watching could not be asked for later: the watch comes first.
            let watching = client.watch(&Watch { filter, from }).await;
            self.look(client).await?;
            if self.missing.is_empty() {
                return Ok(());
            }
            self.show();
            if let Ok(mut watching) = watching {
                // However the watch ends, everything is looked at again.
                while let Ok(Some(event)) = watching.next().await {
                    if let Some((_, object)) = parts(&event) {
                        let is_there = !matches!(event, EventBody::Deleted { .. });
                        self.see(&object.reference(), is_there.then_some(object));
                        self.show();
                    }
                    if self.missing.is_empty() {
                        return Ok(());
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Shows how many are as they should be, from when not all are.
    fn show(&mut self) {
        let (total, word) = (self.total, self.goal.word());
        let bar = self.bar.get_or_insert_with(|| {
            let template = format!("{{bar:30}} {{pos}}/{{len}} {word} after {{elapsed}}");
            output::progress_bar(total, &template)
        });
        bar.set_position((total - self.missing.len()) as u64);
    }

    fn filter(&self) -> Filter {
        filter_of(self.kind, &self.missing.iter().cloned().collect::<Vec<_>>())
    }

    async fn look(&mut self, client: &Client) -> Result<(), ClientError> {
        for reference in self.missing.clone() {
            match client.get(&reference).await {
                Ok(manifest) => self.see(&reference, Some(&manifest)),
                Err(error) if error.is_not_found() => self.see(&reference, None),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn see(&mut self, reference: &Ref, manifest: Option<&Manifest>) {
        if !self.missing.contains(reference) {
            return;
        }
        if self.goal.is_reached(manifest) {
            self.missing.remove(reference);
            self.states.remove(reference);
        } else {
            self.states.insert(reference.clone(), state(manifest));
        }
    }

    fn late(&self, patience: Duration) -> anyhow::Error {
        let word = self.goal.word();
        let named = self.missing.iter().take(MOST_NAMED).map(|reference| {
            let state = self.states.get(reference).map_or("not seen", String::as_str);
            format!("{reference}: {state}")
        });
        let mut lines: Vec<_> = named.collect();
        let more = self.missing.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let what = output::count(self.missing.len(), self.kind.singular(), self.kind.plural());
        Status::TimedOut.error(format!(
            "{what} not {word} within {} s:\n  {}",
            patience.as_secs_f64(),
            lines.join("\n  ")
        ))
    }
}

impl Goal {
    const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Prepared => "prepared",
            Self::Deleted => "deleted",
        }
    }

    fn is_reached(self, manifest: Option<&Manifest>) -> bool {
        let Some(manifest) = manifest else { return self == Self::Deleted };
        match (self, manifest) {
            (Self::Deleted, _) => false,
            (Self::Prepared, Manifest::Endpoint(it)) => {
                it.status.as_ref().is_some_and(EndpointStatus::is_prepared)
            }
            (_, Manifest::Endpoint(it)) => {
                let phase = it.status.as_ref().map(|status| status.phase);
                let wanted = if self == Self::Ready { Phase::Ready } else { Phase::Degraded };
                phase == Some(wanted)
            }
            (_, Manifest::Host(it)) => {
                let alive = it.status.as_ref().is_some_and(|it| it.alive && it.connected);
                alive == (self == Self::Ready)
            }
            // Others work as soon as they are there.
            _ => self == Self::Ready,
        }
    }
}

/// How a resource is, with the reason where something is not as it should be.
fn state(manifest: Option<&Manifest>) -> String {
    match manifest {
        None => "does not exist".to_owned(),
        Some(Manifest::Endpoint(it)) => {
            let status = it.status.clone().unwrap_or_default();
            let why = status.conditions.iter().filter(|it| it.status != ConditionStatus::True);
            let why = why.map(|Condition { r#type, reason, message, .. }| {
                let text = if message.is_empty() { reason } else { message };
                format!(", not {type}: {text}")
            });
            format!("{}{}", status.phase, why.collect::<String>())
        }
        Some(Manifest::Host(it)) => {
            let status = it.status.clone().unwrap_or_default();
            let word = |is_so: bool, word: &str| {
                if is_so { word.to_owned() } else { format!("not {word}") }
            };
            format!("{}, {}", word(status.connected, "connected"), word(status.alive, "alive"))
        }
        Some(_) => "exists".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for text in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    fn endpoint(status: &str) -> Manifest {
        let text = format!(
            "{{kind: Endpoint, metadata: {{name: a, vpc: v}}, spec: {{network: net, host: h1, \
             attachment: {{veth: {{netns: /n, interface: e}}}}}}, status: {status}}}"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_goal_is_reached_in_its_phase_only() {
        let ready = endpoint("{phase: Ready}");
        let degraded = endpoint("{phase: Degraded}");
        assert!(Goal::Ready.is_reached(Some(&ready)) && !Goal::Ready.is_reached(Some(&degraded)));
        assert!(Goal::Degraded.is_reached(Some(&degraded)));
        assert!(Goal::Deleted.is_reached(None) && !Goal::Deleted.is_reached(Some(&ready)));
        assert!(!Goal::Ready.is_reached(None));
    }

    #[test]
    fn who_waited_in_vain_learns_why() {
        let pending = endpoint(
            "{phase: Pending, conditions: [{type: Attached, status: 'False', reason: Silent, \
             message: h1 was not heard of for 12 s}, {type: Bounced, status: 'True'}]}",
        );
        let reference = pending.reference();
        let missing = BTreeSet::from([reference.clone()]);
        let mut waiting = Waiting::new(Kind::Endpoint, Goal::Ready, missing);
        waiting.see(&reference, Some(&pending));
        let error = waiting.late(Duration::from_secs(5));
        assert_eq!(
            error.to_string(),
            "1 endpoint not ready within 5 s:\n  endpoint v/a: Pending, not Attached: h1 was not \
             heard of for 12 s"
        );
        assert_eq!(Status::of(&error), Status::TimedOut);
    }
}
