//! The real core of the controller, its store in memory, and the streams that it serves.

use crate::host::underlay;
use crate::scenario::{ADDRESSES, EndpointId, HostId, Scenario};
use crate::world::{Task, World};
use anyhow::{Context, Result, anyhow};
use mizar_controller::core::{Core, Messages, SessionId, Time};
use mizar_controller::engine::{Change, Write};
use mizar_identity::Identity;
use mizar_proto::AgentMessage;
use mizar_store::{Memory, Store};
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Kind, Manifest, Name, Ref, Vni};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the core looks at time itself, in µs.
pub(crate) const TICK: u64 = 1_000_000;

/// A controller, and what outlives it.
#[derive(Debug)]
pub(crate) struct Controller {
    store: Arc<dyn Store>,
    core: Option<Core>,
    streams: BTreeMap<HostId, Stream>,
    last_stream: u64,
    /// When it next has something to do by itself.
    turn_at: Option<u64>,
    /// How often keys were asked to turn.
    pub(crate) turns: u32,
}

/// A stream that it has accepted.
#[derive(Debug)]
struct Stream {
    id: u64,
    session: SessionId,
    messages: Messages,
}

impl Controller {
    pub(crate) fn new() -> Self {
        let store = Arc::new(Memory::new());
        let (core, streams, turn_at) = Default::default();
        Self { store, core, streams, last_stream: 0, turn_at, turns: 0 }
    }

    pub(crate) fn runs(&self) -> bool {
        self.core.is_some()
    }

    pub(crate) fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    pub(crate) fn next_stream(&mut self) -> u64 {
        self.last_stream += 1;
        self.last_stream
    }

    /// What an endpoint's status says.
    pub(crate) fn phase(&self, endpoint: EndpointId, now: u64) -> Option<(Phase, String)> {
        let reference = Ref::in_vpc(Kind::Endpoint, vpc_name(endpoint.vpc), endpoint.name());
        match self.core.as_ref()?.get(&Identity::local(), &reference, time(now)) {
            Ok(Manifest::Endpoint(it)) => {
                let status = it.status?;
                Some((status.phase, format!("{:?}", status.conditions)))
            }
            _ => None,
        }
    }
}

impl World {
    /// A controller starts, with what is in the store.
    pub(crate) fn start_controller(&mut self) {
        if self.controller.runs() {
            return;
        }
        match Core::load(Arc::clone(&self.controller.store), time(self.now)) {
            Ok(core) => self.controller.core = Some(core),
            Err(error) => return self.fail(format!("the controller does not start: {error}")),
        }
        self.turn();
    }

    /// The controller dies; agents notice.
    pub(crate) fn stop_controller(&mut self) {
        self.controller.core = None;
        self.controller.streams.clear();
        for id in 0..self.hosts.len() {
            self.break_stream(id, 500_000);
        }
    }

    /// Writes to the controller, if there is one; what it refuses changes nothing.
    pub(crate) fn write(&mut self, changes: Vec<Change>) {
        let now = time(self.now);
        let Some(core) = &mut self.controller.core else { return };
        let write = Write { changes, dry_run: false };
        let answers = core.write(vec![(Identity::local(), write)], now);
        for refusal in answers.into_iter().filter_map(Result::err) {
            self.note(|| format!("refused: {refusal} {:?}", refusal.fields));
        }
        self.turn();
    }

    /// The core's turn, as its thread takes it; what it has to tell is sent.
    pub(crate) fn turn(&mut self) {
        let now = time(self.now);
        let Some(core) = &mut self.controller.core else { return };
        while core.plan(now) {}
        core.flush();
        core.work(now);
        let mut told = Vec::new();
        for (id, stream) in &mut self.controller.streams {
            while let Some(message) = stream.messages.try_next() {
                told.push((*id, stream.id, message));
            }
            if stream.messages.has_to_ask() {
                core.drained(&self.hosts[*id].name);
            }
        }
        if let Some(pause) = core.pause(now) {
            let at = self.now + (pause.as_micros() as u64).max(100);
            if self.controller.turn_at.is_none_or(|turn| turn <= self.now || at < turn) {
                self.controller.turn_at = Some(at);
                self.at(at, Task::Turn);
            }
        }
        for (id, stream, message) in told {
            self.send_down(id, stream, &message);
        }
    }

    /// What is not at rest is looked at again.
    pub(crate) fn tick_controller(&mut self) {
        let now = time(self.now);
        if let Some(core) = &mut self.controller.core {
            core.tick(now);
        }
        self.turn();
    }

    /// Something has come on a stream.
    pub(crate) fn heard(&mut self, id: HostId, stream: u64, message: AgentMessage) {
        let now = time(self.now);
        let Controller { core: Some(core), streams, .. } = &mut self.controller else { return };
        let name = &self.hosts[id].name;
        let end = match message {
            AgentMessage::Hello(hello) => {
                // A hello that comes twice, or late, is of no stream.
                if streams.get(&id).is_some_and(|it| it.id >= stream) {
                    return;
                }
                match core.open(&hello, now) {
                    Ok(opened) => {
                        let (session, messages) = (opened.session, opened.messages);
                        streams.insert(id, Stream { id: stream, session, messages });
                        None
                    }
                    Err(reason) => Some(reason),
                }
            }
            message => {
                let Some(open) = streams.get(&id).filter(|it| it.id == stream) else { return };
                core.hear(name, open.session, message, now).err()
            }
        };
        if let Some(reason) = end {
            self.note(|| format!("turned away: {reason}"));
            self.hang_up(id, stream);
            self.after(1_000, Task::Closed { host: id, stream });
        }
        self.turn();
    }

    /// A stream has ended at the controller's end.
    pub(crate) fn hang_up(&mut self, id: HostId, stream: u64) {
        let now = time(self.now);
        let Controller { core: Some(core), streams, .. } = &mut self.controller else { return };
        if let Some(ended) = streams.get(&id).filter(|it| it.id == stream) {
            core.close(&self.hosts[id].name, ended.session, now);
            streams.remove(&id);
            self.turn();
        }
    }

    /// The resources that there are from the beginning.
    pub(crate) fn found(&mut self, scenario: &Scenario) -> Result<()> {
        let mut changes = vec![fleet_manifest(0)];
        let present = scenario.hosts.iter().enumerate().filter(|(_, host)| host.present);
        changes.extend(present.map(|(id, _)| host_manifest(id, false)));
        for vpc in 0..scenario.vpcs {
            changes.push(vpc_manifest(scenario, vpc, &[]));
            let networks = 0..scenario.networks;
            changes.extend(networks.map(|network| network_manifest(scenario, vpc, network, &[])));
        }
        let changes = changes.into_iter().map(apply).collect::<Result<_>>()?;
        let write = Write { changes, dry_run: false };
        let core = self.controller.core.as_mut().context("no controller")?;
        let mut answers = core.write(vec![(Identity::local(), write)], time(self.now));
        let answer = answers.pop().context("no answer")?;
        answer.map_err(|refusal| anyhow!("{refusal} {:?}", refusal.fields))?;
        self.turn();
        Ok(())
    }
}

/// A time of the run as the core has it.
pub(crate) fn time(now: u64) -> Time {
    Time::after(Duration::from_micros(now))
}

/// A manifest as a change.
pub(crate) fn apply(manifest: Value) -> Result<Change> {
    Ok(Change::Apply(serde_json::from_value(manifest)?))
}

/// The end of an endpoint.
pub(crate) fn delete(endpoint: EndpointId) -> Change {
    let reference = Ref::in_vpc(Kind::Endpoint, vpc_name(endpoint.vpc), endpoint.name());
    Change::Delete { reference, cascade: false, resource_version: None }
}

/// The fleet's, whose keys have been asked so often to turn.
pub(crate) fn fleet_manifest(turns: u32) -> Value {
    json!({"kind": "Fleet", "metadata": {"name": "fleet"},
           "spec": {"tags": {"turn": turns}, "prefixes": ["192.0.2.0/24"]}})
}

pub(crate) fn host_manifest(id: HostId, cordoned: bool) -> Value {
    json!({"kind": "Host", "metadata": {"name": host_name(id)},
           "spec": {"underlay": underlay(id), "cordoned": cordoned}})
}

pub(crate) fn vpc_manifest(scenario: &Scenario, vpc: usize, dividers: &[HostId]) -> Value {
    json!({"kind": "Vpc", "metadata": {"name": vpc_name(vpc)},
           "spec": {"vni": vni(vpc), "quota": scenario.quota, "dividers": role(dividers)}})
}

pub(crate) fn network_manifest(
    scenario: &Scenario,
    vpc: usize,
    network: usize,
    bouncers: &[HostId],
) -> Value {
    let mut spec = json!({"v4": format!("10.0.{network}.0/24"), "replicas": scenario.replicas,
                          "bouncers": role(bouncers)});
    if scenario.dual {
        spec["v6"] = format!("fd00:0:0:{network}::/64").into();
    }
    json!({"kind": "Network", "metadata": {"vpc": vpc_name(vpc), "name": format!("n{network}")},
           "spec": spec})
}

pub(crate) fn endpoint_manifest(scenario: &Scenario, endpoint: EndpointId, on: HostId) -> Value {
    let place = endpoint.number % ADDRESSES;
    let network = place % scenario.networks;
    let attachment = json!({"veth": {"netns": "/run/netns/guest", "interface": "eth0"}});
    let mut spec = json!({"network": format!("n{network}"), "host": host_name(on),
                          "v4": format!("10.0.{network}.{}", 10 + place),
                          "attachment": attachment});
    if scenario.dual {
        spec["v6"] = format!("fd00:0:0:{network}::{}", 10 + place).into();
    }
    json!({"kind": "Endpoint", "metadata": {"vpc": vpc_name(endpoint.vpc),
           "name": endpoint.name()}, "spec": spec})
}

/// The manifest of an endpoint that is about to move.
pub(crate) fn migration_manifest(
    scenario: &Scenario,
    endpoint: EndpointId,
    on: HostId,
    to: HostId,
) -> Value {
    let mut manifest = endpoint_manifest(scenario, endpoint, on);
    let attachment = manifest["spec"]["attachment"].clone();
    manifest["spec"]["migration"] = json!({"host": host_name(to), "attachment": attachment});
    manifest
}

fn role(hosts: &[HostId]) -> Value {
    match hosts {
        [] => json!("auto"),
        hosts => json!({"hosts": hosts.iter().map(|id| host_name(*id)).collect::<Vec<_>>()}),
    }
}

/// The VNI of a VPC.
pub(crate) fn vni(vpc: usize) -> Vni {
    Vni::try_from(100 + vpc as u32).unwrap_or(Vni::MIN)
}

/// The name of a host.
pub(crate) fn host_name(id: HostId) -> Name {
    name(&format!("h{}", id + 1))
}

fn vpc_name(vpc: usize) -> Name {
    name(&format!("v{vpc}"))
}

impl EndpointId {
    pub(crate) fn name(self) -> Name {
        name(&format!("e{}", self.number))
    }
}

#[expect(clippy::unwrap_used, reason = "a letter and a number are a name")]
fn name(text: &str) -> Name {
    text.parse().unwrap()
}
