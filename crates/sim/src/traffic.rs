//! Guests, and the way of their packets through hosts.

use crate::controller;
use crate::defect::Defect;
use crate::frames::{self, Payload};
use crate::host::{Guest, host_of};
use crate::scenario::{ADDRESSES, Class, EndpointId, Flow, GRACE, HostId};
use crate::tables::HostTables;
use crate::world::{Meta, RunningFlow, Task, World};
use mizar_packet::function::{from_guest, from_wire};
use mizar_packet::memory::MemoryFrame;
use mizar_packet::wire::oam;
use mizar_packet::{Delivery, Reason, Verdict};
use mizar_vpc::manifest::Phase;
use mizar_vpc::{Name, Vni};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// While flows are slow, they send this seldom, in ms.
const SLOWLY: u64 = 2_000;
/// Longer than a packet takes, in µs.
const ON_ITS_WAY: u64 = 20_000;

impl World {
    /// A flow begins. Where nothing may be lost, it does so only between endpoints that are ready.
    pub(crate) fn begin_flow(&mut self, flow: Flow, most: u32) {
        let to = EndpointId { number: flow.to, ..flow.from };
        let ready = |it| self.controller.phase(it, self.now).is_some_and(|it| it.0 == Phase::Ready);
        if self.scenario.class.is_strict() && !(ready(flow.from) && ready(to)) {
            return;
        }
        self.traffic.flows.push(RunningFlow { flow, sent: 0, most });
        self.after(0, Task::Send { flow: self.traffic.flows.len() - 1 });
    }

    /// The next packet of a flow, from wherever its guest is.
    pub(crate) fn send_flow(&mut self, number: usize) {
        let running = &mut self.traffic.flows[number];
        let (flow, sent) = (running.flow, running.sent);
        if sent >= running.most {
            return;
        }
        running.sent += 1;
        if running.sent < running.most {
            let every = if self.traffic.slow { flow.every.max(SLOWLY) } else { flow.every };
            self.after(every * 1000, Task::Send { flow: number });
        }
        let vni = controller::vni(flow.from.vpc);
        let to = self.address(flow.to, flow.v6);
        let key = (vni, flow.from.name());
        let runs = |id: &HostId| self.hosts[*id].alive && self.hosts[*id].guests.contains_key(&key);
        let mut places: Vec<_> = (0..self.hosts.len()).filter(runs).collect();
        // One that moves may have an interface at both ends; it is used where it lives.
        if let Some(home) = self.home(flow.from).filter(|home| places.contains(home)) {
            places = vec![home];
        }
        for id in places {
            let Some(guest) = self.hosts[id].guests.get(&key).cloned() else { continue };
            let payload =
                Payload { vni: vni.get(), flow: number as u32, number: sent, answer: false };
            self.send_packet(id, &guest, to, payload);
        }
    }

    /// The address of the endpoints of a number.
    pub(crate) fn address(&self, number: usize, v6: bool) -> IpAddr {
        let place = number % ADDRESSES;
        let network = place % self.scenario.networks;
        let last = 10 + place;
        if v6 {
            let last = u16::from_str_radix(&last.to_string(), 16).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, network as u16, 0, 0, 0, last))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 0, network as u8, last as u8))
        }
    }

    fn send_packet(&mut self, id: HostId, guest: &Guest, to: IpAddr, payload: Payload) {
        let Some(from) = guest.address(to.is_ipv6()) else { return };
        let Some(bytes) = frames::udp(guest.mac.octets(), from, to, &payload) else { return };
        let Payload { flow, number, answer, .. } = payload;
        let meta = Meta { flow, number, answer, at: self.now, sends: 0, options: false };
        self.stats.sent += 1;
        self.set_time(id);
        let mut frame = MemoryFrame::new(bytes);
        let verdict =
            from_guest(&mut frame, self.hosts[id].at_guest(guest.interface), guest.interface);
        self.note(|| {
            let answer = if answer { "answer" } else { "packet" };
            format!("h{} guest {from} to {to}: {answer} {flow}/{number}: {verdict:?}", id + 1)
        });
        self.obey(id, verdict, frame, Some(meta));
    }

    /// A frame arrives at a host's NIC.
    pub(crate) fn arrive(&mut self, id: HostId, mut frame: MemoryFrame, meta: Option<Meta>) {
        if !self.hosts[id].alive {
            return self
                .lost_at_dead(id, &frame, meta, || format!("at h{}, which is dead", id + 1));
        }
        self.trace(&[1, id as u64, frames::digest(&frame.bytes)]);
        if self.defect == Defect::DeafToInvalidations && is_invalidation(&frame) {
            return;
        }
        self.set_time(id);
        let verdict = from_wire(&mut frame, self.hosts[id].at_nic());
        self.note(|| match meta {
            Some(Meta { flow, number, .. }) => {
                format!("h{} gets {flow}/{number}: {verdict:?}", id + 1)
            }
            None => format!("h{} gets a control message: {verdict:?}", id + 1),
        });
        self.obey(id, verdict, frame, meta);
    }

    /// Does with a frame what a host's programs say.
    pub(crate) fn obey(
        &mut self,
        id: HostId,
        verdict: Verdict,
        frame: MemoryFrame,
        meta: Option<Meta>,
    ) {
        let broken = self.hosts[id].all_tables().find_map(|it| it.broken.take());
        if let Some(broken) = broken {
            self.fail(format!("h{}: {broken}", id + 1));
        }
        let events = self.hosts[id].tables.rows.events.take();
        if !events.is_empty() && self.agents[id].runs {
            let life = self.agents[id].life;
            let later = self.random.range(20, 400);
            self.after(later, Task::Events { host: id, life, events });
        }
        match verdict {
            Verdict::Transmit => self.transmit(id, frame, meta),
            Verdict::Deliver(delivery) => self.deliver(id, delivery, &frame, meta),
            Verdict::Drop(reason) => {
                let place = || format!("at h{}: {}", id + 1, reason.name());
                match reason {
                    // It has been told nothing since it started, and answers no echo either.
                    Reason::ForeignSource => self.lost_at_dead(id, &frame, meta, place),
                    _ => self.lost(meta, place),
                }
            }
            Verdict::Consumed | Verdict::Answer => {}
            Verdict::Pass | Verdict::Refer(_) => {
                self.fail(format!("h{}: {verdict:?} of a frame of the network", id + 1));
            }
        }
    }

    /// A host gives a frame to a guest.
    fn deliver(&mut self, id: HostId, to: Delivery, frame: &MemoryFrame, meta: Option<Meta>) {
        let host = &self.hosts[id];
        let has_port =
            |it: &HostTables| it.rows.ports.get(&to.interface).is_some_and(|it| it.vni == to.vni);
        let is_expected = host.all_tables().any(has_port);
        if !is_expected {
            return self.lost(meta, || format!("at h{}: tag_mismatch", id + 1));
        }
        let Some(((vni, name), guest)) = host.guest_at(to.interface) else {
            return self.lost(meta, || format!("at h{}, whose guest is gone", id + 1));
        };
        let (vni, name, guest) = (*vni, name.clone(), guest.clone());
        // Tables that nobody writes know less.
        let told = Some(&self.agents[id].applier).filter(|_| host.before.is_none());
        let known = told.and_then(|applier| applier.port(vni, &name));
        if known.is_some_and(|port| !port.lives_here()) {
            let what = format!("h{}: {name} got a packet, and is only about to move here", id + 1);
            return self.fail(what);
        }
        let for_guest = frame.bytes.first_chunk() == Some(&guest.mac.octets());
        if for_guest && self.give_segment(vni.get(), name.as_str(), frame) {
            return;
        }
        let Some(received) = frames::read(&frame.bytes) else {
            return self.fail(format!("h{}: {name} got what nobody sent: {frame:x?}", id + 1));
        };
        if let Some(problem) = wrong((vni, &name, &guest), &received) {
            return self.fail(format!("h{}: {problem}", id + 1));
        }
        self.stats.delivered += 1;
        if let Some(record) = &mut self.traffic.record {
            record.extend(meta);
        }
        let payload = received.payload;
        if payload.flow == frames::FORGED {
            return;
        }
        let flow = self.traffic.flows.get(payload.flow as usize);
        if flow.is_some_and(|it| it.flow.answered) && !payload.answer {
            let answer = Payload { vni: vni.get(), answer: true, ..payload };
            self.send_packet(id, &guest, received.src.into(), answer);
        }
    }

    /// A packet is lost at a host that is as good as dead.
    fn lost_at_dead(
        &mut self,
        id: HostId,
        frame: &MemoryFrame,
        meta: Option<Meta>,
        place: impl Fn() -> String,
    ) {
        let missed = meta.filter(|meta| self.is_missed(meta));
        if missed.is_some_and(|meta| self.finds_dead(id, frame, meta)) {
            return self.note(|| format!("lost {}: it shows who lives", place()));
        }
        self.lost(meta, place);
    }

    /// Whether somebody finds out by what he has sent to a dead host that it is, or sent it before
    /// he could: he had not sent since he believed in it, and so asked nobody else.
    fn finds_dead(&mut self, dead: HostId, frame: &MemoryFrame, meta: Meta) -> bool {
        let from = frame.bytes.get(26..30).and_then(|it| it.try_into().ok());
        let Some(by) = from.and_then(host_of) else { return false };
        let host = &self.hosts[dead];
        let Some(boot) = host.boots.checked_sub(u32::from(host.alive)) else { return false };
        let about = ((dead, boot), by, meta.flow, meta.answer);
        let first = *self.traffic.found_dead.entry(about).or_insert(meta.at);
        meta.at < first + ON_ITS_WAY
    }

    /// A packet is lost. Where nothing may be, that is the end.
    pub(crate) fn lost(&mut self, meta: Option<Meta>, place: impl Fn() -> String) {
        self.note(|| format!("lost {}", place()));
        if let Some(meta) = meta.filter(|meta| self.is_missed(meta)) {
            self.fail(format!("{meta:?} was lost {}, and nothing may be", place()));
        }
    }

    /// Whether a guest misses a packet that is lost, and nobody can help it.
    fn is_missed(&self, meta: &Meta) -> bool {
        // Somebody has sent it once more, long after it came: no guest misses that one.
        let again = self.scenario.class == Class::Hostile && self.now > meta.at + ON_ITS_WAY;
        // What was on its way is lost too.
        let excuses =
            |died: &u64| (*died..*died + ON_ITS_WAY + GRACE).contains(&(meta.at + ON_ITS_WAY));
        self.scenario.class.is_strict() && !again && !self.traffic.deaths.iter().any(excuses)
    }
}

/// What is wrong with what a guest received.
fn wrong((vni, name, guest): (Vni, &Name, &Guest), received: &frames::Received) -> Option<String> {
    if received.payload.vni != vni.get() {
        return Some(format!("{name} of VPC {vni} got a packet of another VPC: {received:?}"));
    }
    if !guest.has(received.dst) || received.mac != guest.mac.octets() {
        return Some(format!("{name} got a packet for another endpoint: {received:?}"));
    }
    None
}

fn is_invalidation(frame: &MemoryFrame) -> bool {
    frames::control_kind(&frame.bytes) == Some(oam::INVALIDATE)
}
