//! Hosts joined by an underlay, on which frames and control messages travel in virtual time.

use super::topology::{self, BLUE, Guest, Guests, HOSTS, RED, host_row, index};
use super::{frames, oracle};
use mizar_packet::count::Counter;
use mizar_packet::function::{from_guest, from_wire};
use mizar_packet::memory::{MemoryFrame, MemoryTables};
use mizar_packet::tables::{Endpoint, Event, Learned};
use mizar_packet::wire::geneve::{FORWARD_COST, TTL};
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use mizar_packet::{Address, Reason, Verdict};
use std::collections::BTreeSet;
use zerocopy::IntoBytes;

/// How often agents look at what is due, in jiffies.
const TICK: u64 = 50;
/// Most times that a frame is sent out of a NIC, departure included.
pub(crate) const MOST_SENDS: usize = 1 + (TTL / FORWARD_COST) as usize;

/// Where a frame's trip ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// At a guest: the host, the interface.
    Delivered(usize, u32),
    /// Back at the guest that sent it.
    Answered,
    /// On a host, for a reason.
    Dropped(usize, Reason),
    /// In a host's own stack.
    Passed(usize),
    /// As a control message that has done its work.
    Consumed(usize),
    /// On the way to a dead or unknown host.
    Lost,
}

/// A frame's way.
#[derive(Clone, Debug)]
#[must_use]
pub(crate) struct Trip {
    /// The hosts that it was sent to, in order.
    pub(crate) hosts: Vec<usize>,
    /// The frame as it was on each wire.
    pub(crate) wires: Vec<Vec<u8>>,
    /// Where it ended.
    pub(crate) fate: Fate,
    /// The frame as it was in the end.
    pub(crate) frame: MemoryFrame,
}

impl Trip {
    /// Asserts that a guest got it, by way of these hosts.
    #[track_caller]
    pub(crate) fn reached(&self, guest: &Guest, by_way_of: &[usize]) -> &Self {
        assert_eq!(self.fate, Fate::Delivered(guest.host, guest.interface), "{self:x?}");
        let (last, before) = self.hosts.split_last().map_or((None, &[][..]), |(l, b)| (Some(l), b));
        assert_eq!(before, by_way_of);
        assert!(last.is_none_or(|&last| last == guest.host));
        self
    }

    /// Asserts that a host dropped it for a reason.
    #[track_caller]
    pub(crate) fn dropped(&self, host: usize, reason: Reason) -> &Self {
        assert_eq!(self.fate, Fate::Dropped(host, reason), "{self:x?}");
        self
    }

    /// Length of the options on the first wire.
    pub(crate) fn options_len(&self) -> usize {
        oracle::options_len(&self.wires[0])
    }
}

/// A fleet.
pub(crate) struct World {
    /// The tables of each host.
    pub(crate) hosts: Vec<MemoryTables>,
    /// Hosts that answer nothing.
    pub(crate) dead: BTreeSet<usize>,
    /// Hosts whose agent is down.
    pub(crate) agentless: BTreeSet<usize>,
    /// Guests of one VPC.
    pub(crate) red: Guests,
    /// Guests of another, with the same addresses.
    pub(crate) blue: Guests,
    /// Control messages sent: (from, to, kind).
    pub(crate) told: Vec<(usize, usize, u8)>,
}

impl World {
    /// A fleet in which nothing has been sent yet.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            hosts: (0..HOSTS).map(topology::tables).collect(),
            dead: BTreeSet::new(),
            agentless: BTreeSet::new(),
            red: Guests::of(RED),
            blue: Guests::of(BLUE),
            told: Vec::new(),
        };
        for guest in world.red.all().into_iter().chain(world.blue.all()) {
            world.attach(&guest);
        }
        world
    }

    /// Puts a guest on its host and tells the bouncers.
    pub(crate) fn attach(&mut self, guest: &Guest) {
        guest.attach(&mut self.hosts[guest.host]);
        for bouncer in topology::BOUNCERS {
            guest.each_address(|key| {
                self.hosts[bouncer].endpoints.insert(key, guest.held());
            });
        }
    }

    /// Takes a guest from its host, which remembers that it had it.
    pub(crate) fn detach(&mut self, guest: &Guest) {
        self.hosts[guest.host].ports.remove(&guest.interface);
        let moved = Endpoint { kind: Endpoint::MOVED, host: 0, ..guest.held() };
        guest.each_address(|key| {
            self.hosts[guest.host].endpoints.insert(key, moved);
        });
    }

    /// Moves a guest to another host, under a new generation.
    pub(crate) fn move_guest(&mut self, guest: &Guest, host: usize) -> Guest {
        let moved = Guest { host, generation: guest.generation + 1, ..*guest };
        self.detach(guest);
        self.attach(&moved);
        moved
    }

    /// Removes what a host knows for certain of a guest.
    pub(crate) fn forget(&mut self, host: usize, guest: &Guest) {
        guest.each_address(|key| {
            self.hosts[host].endpoints.remove(&key);
        });
    }

    /// What a host learned of an address.
    pub(crate) fn learned(&self, host: usize, vni: u32, address: Address) -> Option<Learned> {
        self.hosts[host].learned.borrow().get(&(vni, address)).copied()
    }

    /// How often a host counted something.
    pub(crate) fn counted(&self, host: usize, counter: Counter) -> u64 {
        self.hosts[host].counted(counter)
    }

    /// One guest sends another a UDP packet over IPv4, and the agents do their part.
    pub(crate) fn udp(&mut self, from: &Guest, to: &Guest) -> Trip {
        self.send(from, frames::udp(from, to.v4, b"payload"))
    }

    /// The same over IPv6.
    pub(crate) fn udp6(&mut self, from: &Guest, to: &Guest) -> Trip {
        self.send(from, frames::udp6(from, to.v6, b"payload"))
    }

    /// A guest sends a frame, and the agents do their part.
    pub(crate) fn send(&mut self, from: &Guest, bytes: Vec<u8>) -> Trip {
        self.send_frame(from, MemoryFrame::new(bytes))
    }

    /// A guest sends a frame that is more than bytes.
    pub(crate) fn send_frame(&mut self, from: &Guest, mut frame: MemoryFrame) -> Trip {
        let verdict = from_guest(&mut frame, &self.hosts[from.host], from.interface);
        let trip = self.carry(from.host, verdict, frame);
        self.run_agents();
        trip
    }

    /// A frame comes to a host from the wire.
    pub(crate) fn arrive(&mut self, host: usize, bytes: Vec<u8>) -> Trip {
        let mut frame = MemoryFrame::new(bytes);
        let verdict = from_wire(&mut frame, &self.hosts[host]);
        self.carry(host, verdict, frame)
    }

    /// Carries a frame from host to host.
    fn carry(&self, host: usize, verdict: Verdict, frame: MemoryFrame) -> Trip {
        let (mut at, mut verdict) = (host, verdict);
        let mut trip = Trip { hosts: Vec::new(), wires: Vec::new(), fate: Fate::Lost, frame };
        loop {
            trip.fate = match verdict {
                Verdict::Transmit => {
                    let wire = trip.frame.bytes.clone();
                    oracle::assert_on_wire(&wire, at, trip.frame.segment_payload);
                    let to = oracle::destination(&wire);
                    trip.wires.push(wire);
                    let Some(to) = to.filter(|to| !self.dead.contains(to)) else { return trip };
                    trip.hosts.push(to);
                    assert!(trip.hosts.len() <= MOST_SENDS, "{trip:x?}");
                    verdict = from_wire(&mut trip.frame, &self.hosts[to]);
                    at = to;
                    continue;
                }
                Verdict::Deliver(delivery) => {
                    let port = self.hosts[at].ports.get(&delivery.interface);
                    match port.filter(|port| port.vni == delivery.vni) {
                        Some(_) => Fate::Delivered(at, delivery.interface),
                        None => Fate::Dropped(at, Reason::TagMismatch),
                    }
                }
                Verdict::Answer => Fate::Answered,
                Verdict::Drop(reason) => Fate::Dropped(at, reason),
                Verdict::Pass => Fate::Passed(at),
                Verdict::Consumed => Fate::Consumed(at),
                Verdict::Refer(referral) => panic!("{referral:?} was left over"),
            };
            return trip;
        }
    }

    /// Lets agents handle what they were asked for, until nobody asks for anything.
    fn run_agents(&mut self) {
        for _ in 0..1000 {
            let mut events = Vec::new();
            for host in 0..HOSTS {
                events.extend(self.hosts[host].events.take().into_iter().map(|e| (host, e)));
            }
            if events.is_empty() {
                return;
            }
            for (host, event) in events {
                if !self.agentless.contains(&host) && !self.dead.contains(&host) {
                    self.handle(host, &event);
                }
            }
        }
        panic!("agents and programs keep each other busy");
    }

    fn handle(&mut self, host: usize, event: &Event) {
        let row = |key| self.hosts[host].endpoints.get(&key).copied();
        let Event { vni, remote, local, .. } = *event;
        match event.kind {
            Event::NEW_HOST => {
                if let Some(new) = host_of(event.underlay) {
                    self.hosts[host].hosts.borrow_mut().insert(index(new), host_row(new));
                    self.probe(host, new);
                }
            }
            Event::PROBE => self.probe(host, event.host as usize - 1),
            Event::NOTICE => {
                if let Some(row) = row((vni, local)).filter(|row| row.kind == Endpoint::LOCAL) {
                    let own = self.hosts[host].config.underlay;
                    self.tell(host, event, oam::NOTICE, local, own, row.generation);
                }
            }
            Event::INVALIDATE => {
                let known = row((vni, remote)).map_or(0, |row| row.generation);
                let generation = known.max(event.generation);
                self.tell(host, event, oam::INVALIDATE, remote, Address::NONE, generation);
            }
            Event::UNKNOWN => self.tell(host, event, oam::UNKNOWN, remote, Address::NONE, 0),
            kind => panic!("event of kind {kind}"),
        }
    }

    fn tell(
        &mut self,
        host: usize,
        event: &Event,
        kind: u8,
        about: Address,
        on: Address,
        gen_: u64,
    ) {
        if let Some(to) = host_of(event.underlay) {
            self.control(host, to, Message::about(kind, event.vni, about, on, gen_));
        }
    }

    fn probe(&mut self, host: usize, to: usize) {
        let echo = Message::echo(self.hosts[host].config.echo_cookie, self.hosts[host].now);
        self.control(host, to, echo);
    }

    /// An agent sends another host a control message.
    pub(crate) fn control(&mut self, from: usize, to: usize, message: Message) {
        let end = |host| (topology::nic_mac(host), topology::underlay(host));
        let mut frame = ControlFrame::new(end(from), end(to), 0, message);
        topology::sign(&mut frame);
        self.told.push((from, to, message.kind));
        let _ = self.carry(from, Verdict::Transmit, MemoryFrame::new(frame.as_bytes()));
    }

    /// Lets time pass; agents probe the hosts in use whose proof runs out.
    pub(crate) fn advance(&mut self, jiffies: u64) {
        let mut left = jiffies;
        while left > 0 {
            let step = left.min(TICK);
            left -= step;
            for host in &mut self.hosts {
                host.now += step;
            }
            self.probe_due();
            self.run_agents();
        }
    }

    fn probe_due(&mut self) {
        for host in (0..HOSTS).filter(|host| !self.agentless.contains(host)).collect::<Vec<_>>() {
            let now = self.hosts[host].now;
            let due = self.hosts[host].hosts.borrow().clone().into_iter().filter(|(_, row)| {
                now - row.used <= 1000
                    && row.alive_until.saturating_sub(now) < topology::LEASE * 2 / 3
            });
            for (to, _) in due {
                self.probe(host, to as usize - 1);
            }
        }
    }
}

/// The host of an underlay address.
fn host_of(address: Address) -> Option<usize> {
    (0..HOSTS).find(|&host| Address::v4(topology::underlay(host)) == address)
}
