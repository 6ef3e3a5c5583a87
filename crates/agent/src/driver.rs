//! Follows the controller: takes its messages, applies them, answers; retries what failed
//! meanwhile.

use crate::apply::{Applier, Outcome};
use crate::config::fleet;
use crate::error_chain;
use crate::kernel::{self, Maps};
use crate::netlink::{self, Event, Events, host_interface};
use crate::stream::StreamEvent;
use mizar_packet::Reason;
use mizar_packet::count::Counter;
use mizar_packet::tables::Config;
use mizar_proto::{
    Ack, AgentMessage, ControllerMessage, Hello, PROTOCOL, PortState, PortStatus, RowError,
};
use mizar_vpc::{Assembly, Batch, Generation, HostConfig, Name, RowKey, Vni};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

/// How often rows that failed are tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Rows of an update whose memory is given back once they are in the tables.
const MANY_ROWS: usize = 1000;

/// How the agent stands, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) connected: bool,
    pub(crate) config: Option<HostConfig>,
    pub(crate) positions: BTreeMap<Vni, Generation>,
    pub(crate) ports: Vec<PortStatus>,
    /// Rows of the VPCs among the counters.
    pub(crate) counters: BTreeMap<Vni, u32>,
}

/// Follows the controller.
#[derive(Debug)]
pub(crate) struct Driver {
    host: Name,
    underlay: Ipv4Addr,
    maps: Arc<Maps>,
    applier: Applier,
    assembly: Assembly,
    /// Where answers go, while there is a stream.
    say: Option<mpsc::Sender<AgentMessage>>,
    /// Why updates are refused, if the controller takes this host for another.
    refusal: Option<String>,
    standing: watch::Sender<Standing>,
}

impl Driver {
    pub(crate) fn new(
        host: Name,
        underlay: Ipv4Addr,
        maps: Arc<Maps>,
        applier: Applier,
    ) -> (Self, watch::Receiver<Standing>) {
        let (standing, watching) = watch::channel(Standing::default());
        let (assembly, say, refusal) = Default::default();
        let driver = Self { host, underlay, maps, applier, assembly, say, refusal, standing };
        (driver, watching)
    }

    /// Follows for ever.
    ///
    /// # Errors
    /// The kernel's events cannot be read any longer.
    pub(crate) async fn run(
        mut self,
        mut stream: mpsc::Receiver<StreamEvent>,
        mut events: Events,
    ) -> netlink::Result<()> {
        let mut retries: Interval = interval(RETRY);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.publish();
        loop {
            // Only waiting may be given up here: what is begun is finished below.
            tokio::select! {
                event = stream.recv() => match event {
                    Some(event) => self.on_stream(event).await,
                    None => return Ok(()),
                },
                event = events.next() => if let Event::LinkGone(link) = event? {
                    self.on_link_gone(link.index).await;
                },
                _ = retries.tick() => self.retry_failed().await,
            }
        }
    }

    async fn on_stream(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opening(say) => {
                self.assembly = Assembly::default();
                self.say = Some(say);
                let hello = Hello {
                    host: self.host.clone(),
                    protocol: PROTOCOL,
                    positions: self.applier.positions(),
                };
                self.say(AgentMessage::Hello(hello)).await;
            }
            StreamEvent::Open => {
                info!("connected to the controller");
                self.standing.send_modify(|standing| standing.connected = true);
            }
            StreamEvent::Message(ControllerMessage::Config(config)) => self.on_config(config),
            StreamEvent::Message(ControllerMessage::Update(batch)) => self.on_batch(batch).await,
            StreamEvent::Malformed { about, problem } => {
                error!(problem, "message refused");
                if let Some(about) = about {
                    self.refuse(about, problem).await;
                }
            }
            StreamEvent::Closed(reason) => {
                self.say = None;
                let was = self.standing.borrow().connected;
                self.standing.send_modify(|standing| standing.connected = false);
                if was {
                    warn!(reason, "stream to the controller closed");
                } else {
                    tracing::debug!(reason, "controller not reached");
                }
            }
        }
    }

    fn on_config(&mut self, config: HostConfig) {
        self.refusal = self.take_config(&config).err();
        match &self.refusal {
            None => info!(underlay = %config.underlay, fleet = ?config.fleet, "configured"),
            Some(problem) => error!(problem, "configuration refused"),
        }
        self.standing.send_modify(|standing| standing.config = Some(config));
    }

    fn take_config(&self, config: &HostConfig) -> Result<(), String> {
        if config.name != self.host {
            return Err(format!("name is {}, but this is host {}", config.name, self.host));
        }
        if config.underlay != IpAddr::V4(self.underlay) {
            return Err(format!(
                "underlay is {}, but this host's is {}: correct either, or name the right one \
                 when starting the agent",
                config.underlay, self.underlay
            ));
        }
        let fleet = fleet(&config.fleet).map_err(|error| error.to_string())?;
        let row = self.maps.config.get(&0).map_err(|error| error_chain(&error))?;
        match row {
            Some(mut row) if row.fleet != fleet => {
                let first = row.fleet == Config::EMPTY.fleet;
                row.fleet = fleet;
                self.maps.config.put(&0, &row).map_err(|error| error_chain(&error))?;
                if first {
                    // Up to here every source was foreign, which says nothing about anybody.
                    let counter = Counter::Dropped(Reason::ForeignSource).row();
                    self.maps.counters.clear(counter).map_err(|error| error_chain(&error))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn on_batch(&mut self, batch: Batch) {
        let about = (batch.update.vni, batch.update.generation);
        if let Some(refusal) = self.refusal.clone() {
            return self.refuse(about, refusal).await;
        }
        let update = match self.assembly.push(batch) {
            Ok(Some(update)) => update,
            Ok(None) => return,
            Err(problem) => return self.refuse(about, problem.to_string()).await,
        };
        let (rows, full) = (update.len(), update.base.is_none());
        let start = tokio::time::Instant::now();
        match self.applier.apply(update).await {
            Ok(outcome) => {
                let (errors, took) = (outcome.errors.len(), start.elapsed());
                let (vni, generation) = about;
                info!(%vni, %generation, rows, full, errors, ?took, "update applied");
                self.applied(about, outcome).await;
            }
            Err(problem) => self.refuse(about, problem.to_string()).await,
        }
        if rows >= MANY_ROWS {
            kernel::release_memory();
        }
    }

    async fn on_link_gone(&mut self, interface: u32) {
        if let Some(vni) = self.applier.interface_gone(interface) {
            warn!(%vni, interface, "a guest's interface is gone");
            self.retry(vni).await;
        }
    }

    async fn retry_failed(&mut self) {
        for vni in self.applier.failed() {
            self.retry(vni).await;
        }
    }

    /// Tries again what failed, and tells if something has changed.
    async fn retry(&mut self, vni: Vni) {
        let outcome = self.applier.retry(vni).await;
        let generation = self.applier.positions().get(&vni).copied();
        if let (Some(outcome), Some(generation)) = (outcome, generation) {
            self.applied((vni, generation), outcome).await;
        }
    }

    async fn applied(&mut self, (vni, generation): (Vni, Generation), outcome: Outcome) {
        for (row, reason) in &outcome.errors {
            warn!(%vni, %row, reason, "row not installed");
        }
        self.publish();
        let errors = outcome.errors.into_iter().map(|(row, reason)| RowError { row, reason });
        let outcome = mizar_proto::Outcome::Applied(errors.collect());
        self.say(AgentMessage::Ack(Ack { vni, generation, outcome })).await;
    }

    async fn refuse(&mut self, (vni, generation): (Vni, Generation), reason: String) {
        warn!(%vni, %generation, reason, "update refused");
        let outcome = mizar_proto::Outcome::Refused(reason);
        self.say(AgentMessage::Ack(Ack { vni, generation, outcome })).await;
    }

    /// Says something, unless the stream has ended: the next one begins with where this host
    /// stands.
    async fn say(&mut self, message: AgentMessage) {
        if let Some(say) = &self.say
            && say.send(message).await.is_err()
        {
            self.say = None;
        }
    }

    fn publish(&self) {
        let ports = self.port_statuses();
        let positions = self.applier.positions();
        let counters =
            self.applier.rows().filter_map(|(vni, _)| Some((vni, self.applier.vpc_index(vni)?)));
        let counters = counters.collect();
        self.standing.send_modify(|standing| {
            (standing.positions, standing.ports, standing.counters) = (positions, ports, counters);
        });
    }

    fn port_statuses(&self) -> Vec<PortStatus> {
        let errors: BTreeMap<Vni, _> = self.applier.errors().collect();
        let mut statuses = Vec::new();
        for (vni, rows) in self.applier.rows() {
            for (name, port) in &rows.ports {
                let error = errors.get(&vni).and_then(|e| e.get(&RowKey::Port(name.clone())));
                let there = self.applier.ports().interface(vni, name).is_some();
                statuses.push(PortStatus {
                    vni,
                    name: name.clone(),
                    interface: there.then(|| host_interface(vni.get(), name.as_str())),
                    mac: port.mac,
                    v4: port.v4,
                    v6: port.v6,
                    generation: port.generation,
                    state: error.map_or(PortState::Ready, |e| PortState::Failed(e.clone())),
                });
            }
        }
        statuses
    }
}
