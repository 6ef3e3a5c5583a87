//! What lies between hosts, and between hosts and the controller: delays, losses, cuts.
//!
//! What becomes of a packet depends on the seed, its way and its number on that way alone, so that
//! a shorter script changes as little as possible of the rest.

use crate::frames::control_kind;
use crate::host::host_of;
use crate::random::{Random, hash};
use crate::scenario::{Class, HostId};
use crate::world::{Meta, Task, World};
use mizar_packet::memory::MemoryFrame;
use mizar_packet::wire::geneve::{FORWARD_COST, Outer, TTL};
use mizar_packet::wire::oam;
use mizar_proto::ControllerMessage;
use std::collections::{BTreeMap, BTreeSet};

/// Most times that a frame is sent out of a NIC, departure included.
const MOST_SENDS: u32 = 1 + (TTL / FORWARD_COST) as u32;
/// Most control messages that a host may be sent by another in a second: echoes, which ticks and
/// events call for, and all others, which agents limit to 200.
const MOST_CONTROL: u32 = 2 * (50 + 14) + 200;

/// The underlay.
#[derive(Debug)]
pub(crate) struct Underlay {
    seed: u64,
    /// Delay of a packet in µs: at least, and below.
    delay: (u64, u64),
    /// Of a thousand.
    pub(crate) loss: u64,
    /// Frames of a thousand that come again.
    pub(crate) replay: u64,
    /// What one host sends another is lost.
    cuts: BTreeSet<(HostId, HostId)>,
    /// Hosts that the controller does not hear, and that do not hear it.
    muted: BTreeSet<HostId>,
    /// Messages of a stream that have a generation may come twice, or overtake others: streams do
    /// not do that to them, and nothing that they say depends on it.
    disorder: bool,
    /// How many packets took each way.
    sent: BTreeMap<(HostId, HostId), u64>,
    /// Control messages on each way, and the second in which they were counted.
    control: BTreeMap<(HostId, HostId), (u64, u32)>,
    /// When the last message on a stream's way arrives: none overtakes it.
    clear: BTreeMap<(u64, bool), u64>,
    messages: u64,
}

impl Underlay {
    pub(crate) fn new(seed: u64, class: Class) -> Self {
        let mut random = Random::new(seed, 3);
        let least = random.range(10, 200);
        let spread = *random.pick(&[1, 20, 200, 2_000]);
        Self {
            seed,
            delay: (least, least + spread),
            loss: 0,
            replay: 0,
            cuts: BTreeSet::new(),
            muted: BTreeSet::new(),
            disorder: !class.is_strict() && random.chance(30),
            sent: BTreeMap::new(),
            control: BTreeMap::new(),
            clear: BTreeMap::new(),
            messages: 0,
        }
    }

    /// What is lost between two hosts, one way.
    pub(crate) fn cut(&mut self, from: HostId, to: HostId, is_cut: bool) {
        if is_cut {
            self.cuts.insert((from, to));
        } else {
            self.cuts.remove(&(from, to));
        }
    }

    pub(crate) fn mute(&mut self, id: HostId, is_mute: bool) {
        if is_mute {
            self.muted.insert(id);
        } else {
            self.muted.remove(&id);
        }
    }

    pub(crate) fn is_muted(&self, id: HostId) -> bool {
        self.muted.contains(&id)
    }

    /// All is well again.
    pub(crate) fn heal(&mut self) {
        self.loss = 0;
        self.replay = 0;
        self.cuts.clear();
        self.muted.clear();
        self.disorder = false;
    }

    /// How long a packet takes; None: it is lost.
    fn carry(&mut self, from: HostId, to: HostId) -> Option<u64> {
        let number = self.sent.entry((from, to)).or_default();
        *number += 1;
        let chance = hash(&[self.seed, from as u64, to as u64, *number]);
        let is_lost = chance % 1000 < self.loss || self.cuts.contains(&(from, to));
        let (least, below) = self.delay;
        (!is_lost).then(|| least + (chance >> 32) % (below - least))
    }

    /// Counts a control message; whether there are too many.
    fn is_storm(&mut self, from: HostId, to: HostId, now: u64) -> bool {
        let second = now / 1_000_000;
        let (at, count) = self.control.entry((from, to)).or_default();
        if *at != second {
            (*at, *count) = (second, 0);
        }
        *count += 1;
        // A second by the clock is parts of two of those in which agents count.
        *count > 2 * MOST_CONTROL
    }

    /// When messages on a stream that are sent at a time arrive: once, or twice in disorder.
    fn arrivals(&mut self, (stream, up): (u64, bool), sent: u64, disorder: bool) -> Vec<u64> {
        self.messages += 1;
        let chance = hash(&[self.seed, 9, stream, self.messages]);
        let arrives = sent + 100 + chance % 5_000;
        let clear = self.clear.entry((stream, up)).or_default();
        let overtakes = disorder && chance >> 60 == 0;
        let at = if overtakes { arrives } else { arrives.max(*clear + 1) };
        *clear = at.max(*clear);
        let twice = disorder && (chance >> 56) & 15 == 1;
        let again = twice.then_some(at + (chance >> 20) % 20_000);
        [at].into_iter().chain(again).collect()
    }
}

impl World {
    /// A host sends a frame out of its NIC.
    pub(crate) fn transmit(&mut self, from: HostId, frame: MemoryFrame, meta: Option<Meta>) {
        let Some(to) = frame.bytes.get(30..34) else {
            return self.fail(format!("{} sent a frame without headers", self.hosts[from].name));
        };
        let to = to.try_into().ok().and_then(host_of).filter(|to| *to < self.hosts.len());
        let Some(to) = to else {
            return self.fail(format!("{} sent a frame to nobody", self.hosts[from].name));
        };
        if let Some(kind) = control_kind(&frame.bytes) {
            if matches!(kind, oam::NOTICE | oam::INVALIDATE) {
                self.stats.words += 1;
            }
            self.note(|| format!("h{} says {} to h{}", from + 1, kind_name(kind), to + 1));
            if self.underlay.is_storm(from, to, self.now) {
                let names = (&self.hosts[from].name, &self.hosts[to].name);
                return self
                    .fail(format!("{} sends {} a storm of control messages", names.0, names.1));
            }
        }
        let meta = meta.map(|meta| Meta {
            sends: meta.sends + 1,
            options: meta.options
                || frame.bytes.get(Outer::LEN - 8).is_some_and(|it| it & 0x3f != 0),
            ..meta
        });
        if let Some(meta) = meta.filter(|meta| meta.sends > MOST_SENDS) {
            return self.fail(format!("{meta:?} was sent more than {MOST_SENDS} times"));
        }
        self.stats.frames += 1;
        if self.underlay.replay > 0 && self.random.below(1000) < self.underlay.replay {
            let later = self.random.range(1_000, 4_000_000);
            self.after(later, Task::Frame { to, frame: frame.clone(), meta });
        }
        match self.underlay.carry(from, to) {
            Some(delay) => self.after(delay, Task::Frame { to, frame, meta }),
            None => self.lost(meta, || format!("between h{} and h{}", from + 1, to + 1)),
        }
    }

    /// An agent says something on its stream.
    pub(crate) fn send_up(&mut self, host: HostId, stream: u64, (at, message): crate::agent::Said) {
        let disorder = self.underlay.disorder;
        for arrival in self.underlay.arrivals((stream, true), at, disorder) {
            self.at(arrival, Task::Up { host, stream, message: Box::new(message.clone()) });
        }
    }

    /// The controller tells a host something on its stream.
    pub(crate) fn send_down(&mut self, host: HostId, stream: u64, message: &ControllerMessage) {
        // What has no generation is in its place because streams keep their order.
        let disorder = self.underlay.disorder && matches!(message, ControllerMessage::Update(_));
        for arrival in self.underlay.arrivals((stream, false), self.now, disorder) {
            self.at(arrival, Task::Down { host, stream, message: Box::new(message.clone()) });
        }
    }

    /// A stream breaks: both ends notice, each in its own time.
    pub(crate) fn break_stream(&mut self, host: HostId, longest: u64) {
        if let Some(stream) = self.agents[host].stream {
            let [agent, controller] = [(); 2].map(|()| self.random.below(longest));
            self.after(agent, Task::Closed { host, stream });
            self.after(controller, Task::HungUp { host, stream });
        }
    }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        oam::ECHO => "echo",
        oam::ECHO_REPLY => "echo reply",
        oam::NOTICE => "notice",
        oam::INVALIDATE => "invalidate",
        oam::UNKNOWN => "unknown",
        oam::KNOWN => "known",
        _ => "something else",
    }
}
