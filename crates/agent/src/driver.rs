//! Follows the controller: takes its messages, applies them, answers; retries what failed
//! meanwhile.
//!
//! Any message may come twice, late, or not at all: an update says where it starts and where it
//! leads, what does not fit is refused, and each new stream begins with where this host stands.
//! Nothing here grows without bound: no more is read from the stream while updates or answers wait.

use crate::apply::{Applier, Finished, Outcome, held_digests};
use crate::clock::Clock;
use crate::config::fleet;
use crate::error_chain;
use crate::hosts::Hosts;
use crate::kernel::{self, Maps};
use crate::metrics::Metrics;
use crate::netlink::{Event, Events};
use crate::node::StartError;
use crate::standing::Standing;
use crate::stream::StreamEvent;
use crate::usage::Used;
use mizar_packet::Reason;
use mizar_packet::count::Counter;
use mizar_packet::keys::Keys;
use mizar_packet::tables::Config;
use mizar_proto::{Ack, AgentMessage, Applied, ControllerMessage, Hello, PROTOCOL, RowError, TAGS};
use mizar_vpc::{Assembly, Batch, Generation, HostConfig, Name, Vni};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

mod answer;
mod beat;
mod takeover;

pub(crate) use answer::NOT_AT_WORK;
pub(crate) use takeover::{Awaits, Takeover};

use takeover::Heard;

/// How often rows that failed are tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Updates that wait for others of their VPC before no more are read.
const BACKLOG: usize = 64;
/// Answers that wait for the controller before nothing more is read.
const UNSAID: usize = 64;
/// Rows of an update whose memory is given back once they are in the tables.
const MANY_ROWS: usize = 1000;

/// What the driver works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) host: Name,
    pub(crate) underlay: Ipv4Addr,
    pub(crate) clock: Clock,
    pub(crate) maps: Arc<Maps>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) used: Arc<Used>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) applier: Applier,
    /// How often it gives a sign of life.
    pub(crate) beat: Duration,
    /// What is done once all is told, if the programs of another layout are at work.
    pub(crate) takeover: Option<Takeover>,
}

/// Follows the controller.
#[derive(Debug)]
pub(crate) struct Driver {
    parts: Parts,
    assembly: Assembly,
    /// Where answers go, while there is a stream.
    say: Option<mpsc::Sender<AgentMessage>>,
    unsaid: VecDeque<AgentMessage>,
    /// Why updates are refused, if the controller takes this host for another.
    refusal: Option<String>,
    heard: Heard,
    standing: watch::Sender<Standing>,
    /// One for each question that may be looked into.
    looks: Arc<Semaphore>,
}

impl Driver {
    pub(crate) fn new(parts: Parts, standing: Standing) -> (Self, watch::Receiver<Standing>) {
        let (standing, watching) = watch::channel(standing);
        let (assembly, say, unsaid, refusal, heard) = Default::default();
        let looks = Arc::new(Semaphore::new(answer::AT_ONCE));
        (Self { parts, assembly, say, unsaid, refusal, heard, standing, looks }, watching)
    }

    /// Follows for ever.
    ///
    /// # Errors
    /// The kernel's events cannot be read any longer, or the programs of another layout cannot be
    /// replaced.
    pub(crate) async fn run(
        mut self,
        mut stream: mpsc::Receiver<StreamEvent>,
        mut events: Events,
    ) -> Result<(), StartError> {
        let mut retries = ticks(RETRY);
        let mut beats = ticks(self.parts.beat);
        let positions = self.parts.applier.positions();
        self.standing.send_modify(|standing| standing.positions = positions);
        loop {
            let reads = self.unsaid.len() < UNSAID && self.parts.applier.backlog() < BACKLOG;
            let room = room(self.say.as_ref(), &self.parts.hosts, !self.unsaid.is_empty());
            // Only waiting may be given up here: what is begun is finished below.
            tokio::select! {
                finished = self.parts.applier.next() => self.on_finished(finished),
                permit = room => self.on_room(permit),
                event = stream.recv(), if reads => match event {
                    Some(event) => self.on_stream(event).await,
                    None => return Ok(()),
                },
                event = events.next() => if let Event::LinkGone(link) = event? {
                    self.on_link_gone(link.index);
                },
                _ = retries.tick() => self.retry_failed(),
                _ = beats.tick() => self.beat(),
            }
            self.take_over().await?;
        }
    }

    async fn on_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opening(say) => self.on_opening(say).await,
            StreamEvent::Open => {
                info!("connected to the controller");
                self.heard.since = Some(Instant::now());
                self.standing.send_modify(|standing| standing.connected = true);
            }
            StreamEvent::Message(message) => match *message {
                ControllerMessage::Config(config) => self.on_config(config),
                ControllerMessage::Update(batch) => self.on_batch(batch),
                ControllerMessage::Complete => self.heard.all = true,
                ControllerMessage::Question(question) => self.answer(question),
            },
            StreamEvent::Malformed { about, problem } => {
                error!(problem, "message refused");
                if let Some(about) = about {
                    self.refuse(about, problem);
                }
            }
            StreamEvent::Closed(reason) => {
                self.say = None;
                self.unsaid.clear();
                let was = self.standing.borrow().connected;
                self.standing.send_modify(|standing| standing.connected = false);
                if was {
                    warn!(reason, "stream to the controller closed");
                } else {
                    debug!(reason, "controller not reached");
                }
            }
        }
    }

    /// Says who this is, where it stands, and what is not as it should be.
    async fn on_opening(&mut self, say: mpsc::Sender<AgentMessage>) {
        (self.assembly, self.heard) = (Assembly::default(), Heard::default());
        self.parts.applier.forget_backlog();
        self.unsaid.clear();
        let (maps, but) = (Arc::clone(&self.parts.maps), self.parts.applier.unwritten());
        // A look at all rows: not on a thread that serves others.
        let held = tokio::task::spawn_blocking(move || held_digests(&maps, &but)).await;
        let held = held.ok().and_then(|held| {
            held.inspect_err(|error| warn!(%error, "held endpoints not digested")).ok()
        });
        let hello = Hello {
            host: self.parts.host.clone(),
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            underlay: Some(self.parts.underlay.into()),
            tags: TAGS,
            positions: match self.parts.takeover {
                // Its tables are not at work: it begins from nothing.
                Some(_) => self.parts.applier.unknown_positions(),
                None => self.parts.applier.positions_with(held.as_ref()),
            },
        };
        self.say = Some(say);
        self.say(AgentMessage::Hello(hello));
        self.say_beat();
        for vni in self.parts.applier.failed() {
            if let Some(generation) = self.parts.applier.position(vni) {
                let errors = self.parts.applier.errors(vni).cloned().unwrap_or_default();
                self.say_applied(
                    (vni, generation),
                    Applied { errors: rows(errors), ..Applied::default() },
                );
            }
        }
    }

    fn on_config(&mut self, config: HostConfig) {
        self.refusal = self.take_config(&config).err();
        match &self.refusal {
            None => info!(underlay = %config.underlay, fleet = ?config.fleet, "configured"),
            Some(problem) => error!(problem, "configuration refused"),
        }
        // Nobody who asks how this host stands is told keys.
        let shown = HostConfig { keys: None, ..config };
        self.standing.send_modify(|standing| standing.config = Some(shown));
    }

    fn take_config(&self, config: &HostConfig) -> Result<(), String> {
        let Parts { host, underlay, maps, .. } = &self.parts;
        if config.name != *host {
            return Err(format!("name is {}, but this is host {host}", config.name));
        }
        if config.underlay != IpAddr::V4(*underlay) {
            return Err(format!(
                "underlay is {}, but this host's is {underlay}: correct either, or name the right \
                 one when starting the agent",
                config.underlay
            ));
        }
        let fleet = fleet(&config.fleet).map_err(|error| error.to_string())?;
        let mut first = false;
        let changed = maps.change_config(|row| {
            first = row.fleet == Config::EMPTY.fleet && row.fleet != fleet;
            row.fleet = fleet;
            row.keys = config.keys.map_or(Keys::NONE, Keys::from);
        });
        changed.map_err(|error| error_chain(&error))?;
        if first {
            // Up to here every source was foreign, which says nothing about anybody.
            let counter = Counter::Dropped(Reason::ForeignSource).row();
            maps.counters.clear(counter).map_err(|error| error_chain(&error))?;
        }
        Ok(())
    }

    fn on_batch(&mut self, batch: Batch) {
        let about = (batch.update.vni, batch.update.generation);
        if let Some(refusal) = self.refusal.clone() {
            return self.refuse(about, refusal);
        }
        match self.assembly.push(batch) {
            Ok(Some(update)) => self.parts.applier.submit(update),
            Ok(None) => {}
            Err(problem) => self.refuse(about, problem.to_string()),
        }
    }

    fn on_finished(&mut self, finished: Finished) {
        let Finished { vni, generation, rows, took, result } = finished;
        match (generation, result) {
            (Some(generation), Ok(outcome)) => {
                let errors = outcome.errors.len();
                info!(%vni, %generation, rows, errors, ?took, "update applied");
                self.parts.metrics.applied(took);
                self.applied((vni, generation), outcome, took);
            }
            (Some(generation), Err(problem)) => self.refuse((vni, generation), problem.to_string()),
            (None, Ok(outcome)) => {
                if let Some(generation) = self.parts.applier.position(vni).filter(|_| outcome.news)
                {
                    self.applied((vni, generation), outcome, took);
                }
            }
            // A retry continues from where it stands.
            (None, Err(_)) => {}
        }
        if rows >= MANY_ROWS {
            kernel::release_memory();
        }
    }

    fn on_link_gone(&mut self, interface: u32) {
        if let Some(vni) = self.parts.applier.interface_gone(interface) {
            warn!(%vni, interface, "a guest's interface is gone");
            self.parts.applier.retry(vni);
        }
    }

    fn retry_failed(&mut self) {
        if self.unsaid.len() < UNSAID {
            for vni in self.parts.applier.failed() {
                self.parts.applier.retry(vni);
            }
        }
    }

    fn applied(&mut self, about: (Vni, Generation), outcome: Outcome, took: Duration) {
        let Outcome { errors, ports, held, touched, .. } = outcome;
        for (row, reason) in &errors {
            warn!(vni = %about.0, %row, reason, "row not installed");
        }
        self.parts.metrics.attached(&ports);
        self.heard.refused.remove(&about.0);
        self.publish(about.0, &touched);
        let errors = rows(errors);
        let applied = Applied { errors, ports, held, total: took, prepared: false };
        self.say_applied(about, applied);
    }

    fn say_applied(&mut self, (vni, generation): (Vni, Generation), applied: Applied) {
        let outcome = mizar_proto::Outcome::Applied(applied);
        let ack = Ack { vni, generation, outcome };
        let ack = if self.parts.takeover.is_some() { self.heard.prepare(ack) } else { ack };
        self.say(AgentMessage::Ack(ack));
    }

    fn refuse(&mut self, (vni, generation): (Vni, Generation), reason: String) {
        warn!(%vni, %generation, reason, "update refused");
        self.heard.refused.insert(vni);
        self.parts.metrics.refused();
        let outcome = mizar_proto::Outcome::Refused(reason);
        self.say(AgentMessage::Ack(Ack { vni, generation, outcome }));
    }

    /// Says something, unless the stream has ended: the next one begins with where this host
    /// stands.
    fn say(&mut self, message: AgentMessage) {
        if self.say.is_some() {
            self.unsaid.push_back(message);
        }
    }

    fn on_room(&mut self, permit: Option<OwnedPermit<AgentMessage>>) {
        match (permit, self.unsaid.pop_front()) {
            (Some(permit), Some(message)) => drop(permit.send(message)),
            (Some(_), None) => {}
            (None, _) => {
                self.say = None;
                self.unsaid.clear();
            }
        }
    }

    /// Shows how a VPC and some of its guests stand.
    fn publish(&self, vni: Vni, touched: &BTreeSet<Name>) {
        let applier = &self.parts.applier;
        self.standing.send_modify(|standing| standing.follow(applier, vni, touched));
    }
}

/// Waits until the controller takes one more message and what it told of can be reached: for ever,
/// if there is nothing to say or nobody to say it to. None if nobody takes messages any longer.
async fn room(
    say: Option<&mpsc::Sender<AgentMessage>>,
    hosts: &Hosts,
    something: bool,
) -> Option<OwnedPermit<AgentMessage>> {
    match say.filter(|_| something) {
        Some(say) => {
            hosts.settled().await;
            say.clone().reserve_owned().await.ok()
        }
        None => std::future::pending().await,
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn rows(errors: BTreeMap<mizar_vpc::RowKey, String>) -> Vec<RowError> {
    errors.into_iter().map(|(row, reason)| RowError { row, reason }).collect()
}
