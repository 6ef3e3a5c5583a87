//! The world of a run: what is there, what is about to happen, and what has become of packets.

use crate::agent::{self, Agent};
use crate::check::Phase;
use crate::controller::{self, Controller};
use crate::defect::Defect;
use crate::host::Host;
use crate::random::{Random, hash};
use crate::scenario::{Flow, HostId, Scenario};
use crate::streams::Stream;
use crate::takeover::Takeover;
use crate::underlay::Underlay;
use mizar_packet::memory::MemoryFrame;
use mizar_packet::tables::{Endpoint, EndpointKey, Event};
use mizar_proto::{AgentMessage, ControllerMessage};
use mizar_vpc::{HeldRow, Name, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

/// A fleet, and what happens to it. Time is in µs since the beginning.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Rc<Scenario>,
    pub(crate) defect: Defect,
    pub(crate) now: u64,
    tasks: BTreeMap<(u64, u64), Task>,
    count: u64,
    pub(crate) random: Random,
    pub(crate) hosts: Vec<Host>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) controller: Controller,
    pub(crate) underlay: Underlay,
    pub(crate) traffic: Traffic,
    pub(crate) stats: Stats,
    failure: Option<Failure>,
    /// What stands for all that has happened.
    trace: u64,
    /// What has happened, in words, if anybody wants to read it.
    log: Option<Vec<String>>,
}

/// What guests send, and what arrived of it.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) flows: Vec<RunningFlow>,
    pub(crate) streams: Vec<Stream>,
    /// Flows send now and then only.
    pub(crate) slow: bool,
    /// When hosts died, in µs.
    pub(crate) deaths: Vec<u64>,
    /// When the packet was sent by which a host found out that another one is dead, in µs: by the
    /// death, the host, and the flow with its direction.
    pub(crate) found_dead: BTreeMap<((HostId, u32), HostId, u32, bool), u64>,
    /// What arrived while it is recorded.
    pub(crate) record: Option<Vec<Meta>>,
}

/// A flow that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningFlow {
    pub(crate) flow: Flow,
    /// Packets sent.
    pub(crate) sent: u32,
    /// It stops by itself after so many.
    pub(crate) most: u32,
}

/// What is known of a guest's packet beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) flow: u32,
    pub(crate) number: u32,
    pub(crate) answer: bool,
    /// When its guest sent it, in µs.
    pub(crate) at: u64,
    /// How often it was sent out of a NIC.
    pub(crate) sends: u32,
    /// It carried options.
    pub(crate) options: bool,
}

/// What there was of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames on the underlay.
    pub frames: u64,
    /// Packets that guests sent.
    pub sent: u64,
    /// Of those, and of answers, what guests received.
    pub delivered: u64,
    /// Notices and invalidations.
    pub words: u64,
    /// Things that happened.
    pub tasks: u64,
    /// Time in µs, of all hosts together.
    pub host_time: u64,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, in µs since the beginning.
    pub at: u64,
    /// What.
    pub what: String,
}

/// What is about to happen. `life` is that of the agent it depends on, `boot` that of the host.
#[derive(Debug)]
pub(crate) enum Task {
    /// A frame arrives from the underlay.
    Frame {
        to: HostId,
        frame: MemoryFrame,
        meta: Option<Meta>,
    },
    /// The guest of a flow sends.
    Send {
        flow: usize,
    },
    /// One end of a TCP stream does what there is to do.
    Poll {
        stream: usize,
        sends: bool,
    },
    /// The agent looks at what the programs asked for.
    Events {
        host: HostId,
        life: u32,
        events: Vec<Event>,
    },
    /// The agent replaces the programs of another layout.
    TakeOver {
        host: HostId,
        life: u32,
        step: Takeover,
    },
    Tick {
        host: HostId,
        life: u32,
    },
    Sweep {
        host: HostId,
        life: u32,
    },
    Beat {
        host: HostId,
        life: u32,
    },
    Dial {
        host: HostId,
        life: u32,
    },
    Resolved {
        host: HostId,
        boot: u32,
        layout: u32,
        index: u32,
    },
    Attached {
        host: HostId,
        life: u32,
        vni: Vni,
        name: Name,
    },
    Detached {
        host: HostId,
        life: u32,
        vni: Vni,
        name: Name,
    },
    /// What had to wait for next hops is written.
    Late {
        host: HostId,
        life: u32,
        vni: Vni,
    },
    /// Held endpoints are written late, by a defect.
    Held {
        host: HostId,
        life: u32,
        vni: Vni,
        rows: BTreeMap<IpAddr, HeldRow>,
    },
    /// A row that says "moved" is forgotten.
    Moved {
        host: HostId,
        boot: u32,
        life: u32,
        key: EndpointKey,
        row: Endpoint,
    },
    Up {
        host: HostId,
        stream: u64,
        message: Box<AgentMessage>,
    },
    Down {
        host: HostId,
        stream: u64,
        message: Box<ControllerMessage>,
    },
    /// The agent notices that its stream has ended.
    Closed {
        host: HostId,
        stream: u64,
    },
    /// The controller notices it.
    HungUp {
        host: HostId,
        stream: u64,
    },
    /// The controller has something to do by itself.
    Turn,
    /// The controller looks at the time.
    Second,
    /// Somebody sends a frame who may not.
    Forge,
    /// A step of the script.
    Step(usize),
    Phase(Phase),
}

impl World {
    /// A world in which nothing has happened yet. None: hosts cannot be made.
    pub(crate) fn new(scenario: Scenario, defect: Defect, logs: bool) -> Option<Self> {
        let seed = scenario.seed;
        let hosts =
            scenario.hosts.iter().enumerate().map(|(id, spec)| {
                Host::new(id, controller::host_name(id), spec.clone(), seed, defect)
            });
        let hosts = hosts.collect::<Option<Vec<_>>>()?;
        let agents = hosts.iter().map(|_| Agent::default()).collect();
        let underlay = Underlay::new(seed, scenario.class);
        let mut world = Self {
            scenario: Rc::new(scenario),
            defect,
            now: 0,
            tasks: BTreeMap::new(),
            count: 0,
            random: Random::new(seed, 2),
            hosts,
            agents,
            controller: Controller::new(),
            underlay,
            traffic: Traffic::default(),
            stats: Stats::default(),
            failure: None,
            trace: 0,
            log: logs.then(Vec::new),
        };
        world.begin();
        Some(world)
    }

    fn begin(&mut self) {
        let scenario = Rc::clone(&self.scenario);
        self.start_controller();
        if let Err(error) = self.found(&scenario) {
            self.fail(format!("the fleet is refused: {error:#}"));
        }
        (0..self.hosts.len()).for_each(|id| self.start_agent(id));
        for (number, step) in scenario.script.iter().enumerate() {
            self.at(step.at * 1000, Task::Step(number));
        }
        self.after(controller::TICK, Task::Second);
        self.at(scenario.end() * 1000, Task::Phase(Phase::Restore));
    }

    /// Lets everything happen, up to the end or what must not be.
    pub(crate) fn run(mut self) -> Outcome {
        while self.failure.is_none() {
            let Some(((at, _), task)) = self.tasks.pop_first() else { break };
            self.now = at;
            self.stats.tasks += 1;
            if matches!(task, Task::Phase(Phase::End)) {
                self.check_pairs();
                break;
            }
            self.happen(task);
        }
        self.stats.host_time = self.now * self.hosts.len() as u64;
        let streams = self.traffic.streams.iter().filter(|it| it.is_complete()).count();
        let Self { failure, trace, stats, log, .. } = self;
        Outcome { failure, trace, stats, streams, log: log.unwrap_or_default() }
    }

    fn happen(&mut self, task: Task) {
        match task {
            Task::Frame { to, frame, meta } => self.arrive(to, frame, meta),
            Task::Send { flow } => self.send_flow(flow),
            Task::Poll { stream, sends } => self.poll(stream, sends),
            Task::Step(number) => self.step(number),
            Task::Phase(phase) => self.phase(phase),
            Task::Turn => self.turn(),
            Task::Forge => self.forge(),
            Task::Second => {
                self.tick_controller();
                self.after(controller::TICK, Task::Second);
            }
            Task::Resolved { host, boot, layout, index } => {
                if self.hosts[host].boots == boot && self.hosts[host].alive {
                    self.resolved(host, layout, index);
                }
            }
            Task::Up { host, stream, message } => {
                if !self.underlay.is_muted(host) {
                    self.trace(&[3, host as u64, stream]);
                    self.note(|| format!("h{} to controller: {}", host + 1, short(&message)));
                    self.heard(host, stream, *message);
                }
            }
            Task::Down { host, stream, message } => {
                let is_there = self.agents[host].stream == Some(stream);
                if is_there && !self.underlay.is_muted(host) {
                    self.trace(&[4, host as u64, stream]);
                    self.note(|| format!("controller to h{}: {}", host + 1, short(&message)));
                    self.told(host, *message);
                }
            }
            Task::Closed { host, stream } => self.closed(host, stream),
            Task::HungUp { host, stream } => self.hang_up(host, stream),
            task => self.happen_to_agent(task),
        }
    }

    /// What an agent does, if it still lives.
    fn happen_to_agent(&mut self, task: Task) {
        let lives = |host: HostId, life: u32| self.agents[host].life == life;
        match task {
            Task::Events { host, life, events } if lives(host, life) => {
                self.set_time(host);
                events.iter().for_each(|event| self.handle(host, event));
            }
            Task::Tick { host, life } if lives(host, life) => {
                self.tick(host);
                let period = mizar_packet::upkeep::PROBE_TICK.as_micros() as u64;
                self.after(period, Task::Tick { host, life });
            }
            Task::Sweep { host, life } if lives(host, life) => {
                self.sweep(host);
                self.after(agent::SWEEP, Task::Sweep { host, life });
            }
            Task::Beat { host, life } if lives(host, life) => {
                self.say(host, AgentMessage::Beat(mizar_proto::Beat::default()));
                self.after(agent::BEAT, Task::Beat { host, life });
            }
            Task::Dial { host, life } if lives(host, life) => self.dial(host),
            Task::TakeOver { host, life, step } if lives(host, life) => self.go_on(host, step),
            Task::Attached { host, life, vni, name } if lives(host, life) => {
                self.attached(host, vni, &name);
            }
            Task::Detached { host, life, vni, name } if lives(host, life) => {
                self.detached(host, vni, &name);
            }
            Task::Late { host, life, vni } if lives(host, life) => self.write_late(host, vni),
            Task::Held { host, life, vni, rows } if lives(host, life) => {
                self.write_held(host, vni, &rows, &BTreeSet::new());
            }
            Task::Moved { host, boot, life, key, row }
                if lives(host, life) && self.hosts[host].boots == boot =>
            {
                use mizar_packet::Tables;
                if self.hosts[host].tables.endpoint(&key) == Some(row) {
                    self.hosts[host].tables.remove_endpoint(&key);
                }
            }
            _ => {}
        }
    }

    /// Something will happen at a time.
    pub(crate) fn at(&mut self, time: u64, task: Task) {
        self.count += 1;
        self.tasks.insert((time.max(self.now), self.count), task);
    }

    /// Something will happen in a while.
    pub(crate) fn after(&mut self, while_: u64, task: Task) {
        self.at(self.now + while_, task);
    }

    /// Something must not be: the run ends.
    pub(crate) fn fail(&mut self, what: String) {
        self.note(|| format!("FAILED: {what}"));
        let at = self.now;
        self.failure.get_or_insert(Failure { at, what });
    }

    /// Adds to what stands for all that has happened.
    pub(crate) fn trace(&mut self, what: &[u64]) {
        let what = hash(what);
        self.trace = hash(&[self.trace, self.now, what]);
    }

    /// Notes what happens, if anybody wants to read it.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now as f64 / 1e6;
        if let Some(log) = &mut self.log {
            log.push(format!("{now:11.6} {}", text()));
        }
    }

    /// Tells a host's tables what time it is.
    pub(crate) fn set_time(&mut self, id: HostId) {
        let host = &mut self.hosts[id];
        let now = host.jiffies_at(self.now);
        host.tables.rows.now = now;
        if let Some(before) = &mut host.before {
            before.tables.rows.now = now;
            // Nobody reads what its programs ask for.
            before.tables.rows.events.take();
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What must not be, if it was.
    pub failure: Option<Failure>,
    /// Stands for all that has happened: equal for equal runs.
    pub trace: u64,
    /// What there was of what.
    pub stats: Stats,
    /// TCP streams of which all has come.
    pub streams: usize,
    /// What has happened, in words, if that was asked for.
    pub log: Vec<String>,
}

/// A message in few words.
fn short(message: &impl std::fmt::Debug) -> String {
    let mut text = format!("{message:?}");
    // The tables of slots' holders are long.
    while let Some(start) = text.find("slots: [[") {
        let Some(len) = text[start..].find("]]") else { break };
        text.replace_range(start..start + len + 2, "slots: …");
    }
    text
}

impl Stats {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.words += other.words;
        self.tasks += other.tasks;
        self.host_time += other.host_time;
    }
}
