//! A simulated agent: what it does for the programs, and its stream to the controller.
//!
//! This follows `agent::{events, control, probe, sweep, driver}`, which are bound to sockets and
//! kernel maps. What they decide by is shared in `packet::upkeep`; the pauses between messages are
//! repeated here.

use crate::apply::{Applier, PATIENCE};
use crate::host::{nic_mac, underlay};
use crate::scenario::HostId;
use crate::takeover::Heard;
use crate::world::{Task, World};
use mizar_packet::keys::Keys;
use mizar_packet::memory::MemoryFrame;
use mizar_packet::tables::{Config, Endpoint, EndpointKey, Event, Host as HostRow};
use mizar_packet::upkeep::{DENIAL, IN_USE, LEASE, PROBE_TICK, UNUSED, is_over, is_probe_due};
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use mizar_packet::{Address, Tables};
use mizar_proto::{AgentMessage, Beat, ControllerMessage, Hello, PROTOCOL, TAGS};
use mizar_vpc::{Assembly, Batch, Digest, Generation, HeldRow, HostConfig, Vni};
use std::collections::BTreeMap;
use std::net::IpAddr;
use zerocopy::IntoBytes;

/// As `agent::events` has it, in µs.
const PROBE_PAUSE: u64 = 20_000;
/// As `agent::control` has them.
const PAUSE: u64 = 100_000;
const PER_HOST: u32 = 200;
/// As `agent::lib` and `agent::sweep` have them.
pub(crate) const BEAT: u64 = 5_000_000;
pub(crate) const SWEEP: u64 = 5_000_000;

/// An agent; not there while its host's is down.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) runs: bool,
    /// How often it has started or stopped: what it was about to do dies with it.
    pub(crate) life: u32,
    pub(crate) applier: Applier,
    /// Its stream to the controller.
    pub(crate) stream: Option<u64>,
    assembly: Assembly,
    pub(crate) refusal: Option<String>,
    pub(crate) heard: Heard,
    /// It is replacing the programs of another layout.
    pub(crate) takes_over: bool,
    /// Attempts to dial since the last stream.
    tries: u32,
    /// No message is said before one that was to be said earlier.
    said_at: u64,
    probed: BTreeMap<u32, u64>,
    told: BTreeMap<(Address, u8, u32, Address), u64>,
    per_host: BTreeMap<Address, (u64, u32)>,
    /// Who was told of which endpoint that it does not exist, and when: VNI, endpoint, host.
    denials: BTreeMap<(u32, Address, Address), u64>,
}

impl Agent {
    fn may_tell(&mut self, about: (Address, u8, u32, Address), now: u64) -> bool {
        if self.told.get(&about).is_some_and(|last| now - last < PAUSE) {
            return false;
        }
        let (start, count) = self.per_host.entry(about.0).or_insert((now, 0));
        if now - *start >= 1_000_000 {
            (*start, *count) = (now, 0);
        }
        if *count >= PER_HOST {
            return false;
        }
        *count += 1;
        self.told.insert(about, now);
        true
    }
}

impl World {
    /// An agent starts on what it finds.
    pub(crate) fn start_agent(&mut self, id: HostId) {
        if self.agents[id].runs || !self.hosts[id].alive {
            return;
        }
        let host = &self.hosts[id];
        let vpcs = host.tables.rows.vpcs.keys().map(|vni| (*vni, 0));
        let guests = host.guests.keys().map(|(vni, _)| (vni.get(), 0));
        let rows = host.tables.endpoints().map(|(key, row)| (key.vni, row.generation));
        let applier = Applier::recover(vpcs.chain(guests).chain(rows));
        let life = self.agents[id].life + 1;
        self.agents[id] = Agent { runs: true, life, applier, ..Agent::default() };
        let moved = self.hosts[id].tables.endpoints();
        let moved: Vec<_> = moved.filter(|(_, row)| row.kind == Endpoint::MOVED).collect();
        for (key, row) in moved {
            self.forget_later(id, key, row);
        }
        let ticks = [
            (PROBE_TICK.as_micros() as u64, Task::Tick { host: id, life }),
            (BEAT, Task::Beat { host: id, life }),
            (SWEEP, Task::Sweep { host: id, life }),
            (5_000, Task::Dial { host: id, life }),
        ];
        for (period, task) in ticks {
            let first = self.random.below(period);
            self.after(first, task);
        }
    }

    /// An agent dies. Whatever it has set up stays.
    pub(crate) fn stop_agent(&mut self, id: HostId) {
        if !self.agents[id].runs {
            return;
        }
        let life = self.agents[id].life + 1;
        if let Some(stream) = self.agents[id].stream {
            let later = self.random.below(50_000);
            self.after(later, Task::HungUp { host: id, stream });
        }
        self.agents[id] = Agent { life, ..Agent::default() };
    }

    /// Does what the programs ask for.
    pub(crate) fn handle(&mut self, id: HostId, event: &Event) {
        let key = EndpointKey::new(event.vni, event.remote);
        match event.kind {
            Event::NEW_HOST => drop(self.ensure(id, event.underlay.into())),
            Event::PROBE => {
                let now = self.now;
                let last = self.agents[id].probed.get(&event.host);
                if last.is_none_or(|last| now - last >= PROBE_PAUSE) {
                    self.agents[id].probed.insert(event.host, now);
                    self.probe(id, event.host);
                }
            }
            Event::NOTICE => {
                let local = EndpointKey::new(event.vni, event.local);
                let row = self.hosts[id].tables.endpoint(&local);
                if let Some(row) = row.filter(|row| row.kind == Endpoint::LOCAL) {
                    let own = underlay(id).into();
                    self.tell(id, event, oam::NOTICE, event.local, own, row.generation);
                }
            }
            Event::INVALIDATE => {
                let row = self.hosts[id].tables.endpoint(&key);
                let generation = row.map_or(0, |row| row.generation).max(event.generation);
                let nobody = Address::NONE;
                self.tell(id, event, oam::INVALIDATE, event.remote, nobody, generation);
            }
            _ => self.tell(id, event, oam::UNKNOWN, event.remote, Address::NONE, 0),
        }
    }

    fn tell(
        &mut self,
        id: HostId,
        event: &Event,
        kind: u8,
        about: Address,
        on: Address,
        generation: u64,
    ) {
        let now = self.now;
        if !self.agents[id].may_tell((event.underlay, kind, event.vni, about), now) {
            return;
        }
        if kind == oam::UNKNOWN {
            let key = EndpointKey::new(event.vni, about);
            if self.hosts[id].tables.endpoint(&key).is_some() {
                return;
            }
            self.agents[id].denials.insert((event.vni, about, event.underlay), now);
        }
        if let Some(row) = self.hosts[id].resolved(event.underlay) {
            self.control(id, &row, Message::about(kind, event.vni, about, on, generation));
        }
    }

    /// Tells hosts that were just told that an endpoint does not exist that it does.
    pub(crate) fn tell_known(&mut self, id: HostId, vni: u32, endpoint: Address) {
        let (now, last) = (self.now, Address::from_octets([u8::MAX; 16]));
        let who = (vni, endpoint, Address::NONE)..=(vni, endpoint, last);
        let denials: Vec<_> = self.agents[id].denials.extract_if(who, |_, _| true).collect();
        for ((.., to), _) in
            denials.into_iter().filter(|(_, at)| now - *at < DENIAL.as_micros() as u64)
        {
            if self.agents[id].may_tell((to, oam::KNOWN, vni, endpoint), now)
                && let Some(row) = self.hosts[id].resolved(to)
            {
                let message = Message::about(oam::KNOWN, vni, endpoint, Address::NONE, 0);
                self.control(id, &row, message);
            }
        }
    }

    pub(crate) fn probe(&mut self, id: HostId, index: u32) {
        let host = &self.hosts[id];
        let row = host.tables.rows.hosts.borrow().get(&index).copied();
        if let Some(row) = row.filter(HostRow::is_resolved) {
            let jiffies = host.jiffies_at(self.now);
            let cookie = host.tables.rows.config.echo_cookie;
            self.control(id, &row, Message::echo(cookie, jiffies));
        }
    }

    fn control(&mut self, id: HostId, to: &HostRow, message: Message) {
        let source = (nic_mac(id), underlay(id).octets());
        let destination = (to.next_hop, to.address.v4_octets());
        let mut frame = ControlFrame::new(source, destination, 0, message);
        let rows = &self.hosts[id].tables.rows;
        let keys = if oam::is_of_vpc(message.kind) {
            rows.vpcs.get(&message.vni.get()).map_or(Keys::NONE, |vpc| vpc.keys)
        } else {
            rows.config.keys
        };
        keys.sign_control(&mut frame);
        self.transmit(id, MemoryFrame::new(frame.as_bytes()), None);
    }

    /// The row of a host, whose next hop is then looked for.
    pub(crate) fn ensure(&mut self, id: HostId, address: IpAddr) -> u32 {
        let (index, is_new) = self.hosts[id].row_of(address);
        if is_new {
            let took = self.random.range(200, 3_000);
            let host = &mut self.hosts[id];
            host.settled_at = host.settled_at.max(self.now + took);
            let (boot, layout) = (host.boots, host.layout);
            self.after(took, Task::Resolved { host: id, boot, layout, index });
        }
        index
    }

    /// A next hop is known: the underlay is routed, by one router for all.
    pub(crate) fn resolved(&mut self, id: HostId, layout: u32, index: u32) {
        let host = &self.hosts[id];
        let is_present = host.layout == layout;
        let before = host.before.as_ref().map(|before| &before.tables);
        let Some(tables) = (if is_present { Some(&host.tables) } else { before }) else { return };
        if let Some(row) = tables.rows.hosts.borrow_mut().get_mut(&index) {
            row.next_hop = [2, 0xee, 0, 0, 0, 1];
        }
        if self.agents[id].runs && is_present {
            self.probe(id, index);
        }
    }

    /// Asks the hosts in use whose proof runs out.
    pub(crate) fn tick(&mut self, id: HostId) {
        let host = &self.hosts[id];
        let now = host.jiffies_at(self.now);
        let (in_use, lease) = (host.jiffies(IN_USE), host.jiffies(LEASE));
        let rows = host.tables.rows.hosts.borrow();
        let due = rows.iter().filter(|(_, row)| is_probe_due(row, now, in_use, lease));
        let due: Vec<_> = due.map(|(index, _)| *index).collect();
        drop(rows);
        due.into_iter().for_each(|index| self.probe(id, index));
    }

    /// Forgets learned rows that serve nobody, and sets the counts to what is left.
    pub(crate) fn sweep(&mut self, id: HostId) {
        let host = &mut self.hosts[id];
        let (now, unused) = (host.jiffies_at(self.now), host.jiffies(UNUSED));
        let mut learned = host.tables.rows.learned.borrow_mut();
        learned.retain(|_, row| !is_over(row, now, unused));
        let mut counts = BTreeMap::new();
        for row in learned.values() {
            *counts.entry(row.vpc).or_default() += 1;
        }
        host.tables.rows.learned_count.replace(counts);
    }

    /// Dials the controller, or tries again later.
    pub(crate) fn dial(&mut self, id: HostId) {
        let agent = &mut self.agents[id];
        if agent.stream.is_some() {
            return;
        }
        if !self.controller.runs() || self.underlay.is_muted(id) {
            // From 0.1 s to 5 s, each time between half and one and a half of it.
            let pause = (100_000 << agent.tries.min(6)).min(5_000_000);
            agent.tries += 1;
            let (life, pause) = (agent.life, self.random.range(pause / 2, pause * 3 / 2));
            return self.after(pause, Task::Dial { host: id, life });
        }
        let stream = self.controller.next_stream();
        agent.tries = 0;
        agent.stream = Some(stream);
        (agent.assembly, agent.heard) = (Assembly::default(), Heard::default());
        agent.applier.forget_backlog();
        let host = &self.hosts[id];
        let held = |vni: Vni| held_digest(host.held(vni.get()), &host.tables.rows.hosts.borrow());
        let hello = Hello {
            host: host.name.clone(),
            protocol: PROTOCOL,
            version: "sim".to_owned(),
            underlay: Some(underlay(id).into()),
            tags: TAGS,
            positions: match host.before {
                // Its tables are not at work: it begins from nothing.
                Some(_) => self.agents[id].applier.unknown_positions(),
                None => self.agents[id].applier.positions(held),
            },
        };
        self.say(id, AgentMessage::Hello(hello));
        self.say(id, AgentMessage::Beat(Beat::default()));
    }

    /// Says something, once what the host was told of can be reached, unless there is no stream.
    pub(crate) fn say(&mut self, id: HostId, message: AgentMessage) {
        let Some(stream) = self.agents[id].stream else { return };
        let settled = self.hosts[id].settled_at.min(self.now + PATIENCE);
        let agent = &mut self.agents[id];
        agent.said_at = agent.said_at.max(self.now).max(settled);
        self.send_up(id, stream, (self.agents[id].said_at, message));
    }

    /// A stream has ended.
    pub(crate) fn closed(&mut self, id: HostId, stream: u64) {
        let agent = &mut self.agents[id];
        if agent.stream == Some(stream) {
            agent.stream = None;
            let life = agent.life;
            let pause = self.random.range(50_000, 150_000);
            self.after(pause, Task::Dial { host: id, life });
        }
    }

    /// A message of the controller has come.
    pub(crate) fn told(&mut self, id: HostId, message: ControllerMessage) {
        match message {
            ControllerMessage::Config(config) => {
                self.agents[id].refusal = self.configure(id, &config).err();
            }
            ControllerMessage::Update(batch) => self.batch(id, batch),
            ControllerMessage::Complete => self.agents[id].heard.all = true,
            // Nobody traces here.
            ControllerMessage::Question(_) => {}
        }
        self.take_over(id);
    }

    fn configure(&mut self, id: HostId, config: &HostConfig) -> Result<(), String> {
        let host = &mut self.hosts[id];
        if config.name != host.name || config.underlay != IpAddr::V4(underlay(id)) {
            return Err(format!("{config:?} is not for {}", host.name));
        }
        let mut fleet = Config::EMPTY.fleet;
        for (place, prefix) in fleet.iter_mut().zip(&config.fleet) {
            if let (IpAddr::V4(network), IpAddr::V4(mask)) = (prefix.network(), prefix.netmask()) {
                place.network = u32::from_ne_bytes(network.octets());
                place.mask = u32::from_ne_bytes(mask.octets());
            }
        }
        host.tables.rows.config.fleet = fleet;
        host.tables.rows.config.keys = config.keys.map_or(Keys::NONE, Keys::from);
        Ok(())
    }

    fn batch(&mut self, id: HostId, batch: Batch) {
        let (vni, generation) = (batch.update.vni, batch.update.generation);
        let agent = &mut self.agents[id];
        let problem = match agent.refusal.clone() {
            Some(refusal) => refusal,
            None => match agent.assembly.push(batch) {
                Ok(Some(update)) => return self.submit(id, update),
                Ok(None) => return,
                Err(problem) => problem.to_string(),
            },
        };
        self.refuse(id, vni, generation, problem);
    }
}

/// A message and when it is said, in µs.
pub(crate) type Said = (u64, AgentMessage);

/// The digest of held endpoints as they stand in the table.
fn held_digest(held: BTreeMap<Address, Endpoint>, hosts: &BTreeMap<u32, HostRow>) -> Digest {
    let row = |(address, row): (Address, Endpoint)| {
        let host = hosts.get(&row.host)?.address.into();
        let generation = Generation::try_from(row.generation).ok()?;
        Some(Digest::of_held(address.into(), &HeldRow { host, generation }))
    };
    held.into_iter().filter_map(row).sum()
}
