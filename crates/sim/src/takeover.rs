//! An agent whose tables have another layout: it fills tables of its own from its stream, while the
//! programs that it has found go on by theirs, and replaces them once it has been told everything.
//!
//! This follows `agent::driver::takeover` and decision 0023. Learned locations, proofs that hosts
//! live, and rows that say "moved" stay behind.

use crate::apply::PATIENCE;
use crate::defect::Defect;
use crate::host::Host;
use crate::random::hash;
use crate::scenario::HostId;
use crate::tables::HostTables;
use crate::world::{Task, World};
use mizar_packet::tables::Host as HostRow;
use mizar_proto::{Ack, AgentMessage, Applied, Outcome};
use mizar_vpc::{Generation, Vni};
use std::collections::{BTreeMap, BTreeSet};

/// As `agent::driver::takeover` has them, in µs.
const PROOF: u64 = 200_000;
const GLANCE: u64 = 20_000;
const UNDER_WAY: u64 = 100_000;

/// The tables of another layout, whose programs are at work somewhere.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) tables: HostTables,
    /// They are on the NIC.
    on_nic: bool,
    /// The interfaces of guests that they are on.
    interfaces: BTreeSet<u32>,
}

/// What the controller has said since the stream began.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// All that there was to say.
    pub(crate) all: bool,
    /// VPCs of which it was not taken.
    refused: BTreeSet<Vni>,
    /// What is acknowledged once the tables are at work.
    prepared: BTreeMap<Vni, Generation>,
}

/// A step of a takeover.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takeover {
    /// The programs on the NIC are replaced.
    Nic,
    /// Hosts are asked for a proof that they live, until a time in µs; then those of guests are.
    Prove(u64),
    /// The tables of the other layout go.
    Over,
}

impl Host {
    /// Tables of another layout are laid out, unless that has been done and is not over.
    pub(crate) fn lay_out(&mut self, id: HostId, seed: u64, defect: Defect) {
        let seed = hash(&[seed, 79, u64::from(self.layout)]);
        let new = Self::new(id, self.name.clone(), self.clock.clone(), seed, defect);
        let Some(new) = new.filter(|_| self.before.is_none()) else { return };
        let interfaces = self.guests.values().map(|guest| guest.interface).collect();
        let tables = std::mem::replace(&mut self.tables, new.tables);
        self.tables.rows.config.echo_cookie = tables.rows.config.echo_cookie;
        (self.hosts, self.networks, self.vpcs) = (new.hosts, new.networks, new.vpcs);
        self.layout += 1;
        self.before = Some(Before { tables, on_nic: true, interfaces });
    }

    /// The tables by which the NIC's programs go.
    pub(crate) fn at_nic(&self) -> &HostTables {
        let before = self.before.as_ref().filter(|it| it.on_nic);
        before.map_or(&self.tables, |it| &it.tables)
    }

    /// The tables by which those of a guest's interface go.
    pub(crate) fn at_guest(&self, interface: u32) -> &HostTables {
        let before = self.before.as_ref().filter(|it| it.interfaces.contains(&interface));
        before.map_or(&self.tables, |it| &it.tables)
    }

    /// All tables that there are.
    pub(crate) fn all_tables(&self) -> impl Iterator<Item = &HostTables> {
        self.before.iter().map(|before| &before.tables).chain([&self.tables])
    }
}

impl World {
    /// An update has been applied, which counts once the tables are at work.
    pub(crate) fn applied(&mut self, id: HostId, vni: Vni, generation: Generation) {
        let prepared = self.hosts[id].before.is_some();
        let heard = &mut self.agents[id].heard;
        heard.refused.remove(&vni);
        if prepared {
            heard.prepared.insert(vni, generation);
        }
        let outcome = Outcome::Applied(Applied { prepared, ..Applied::default() });
        self.say(id, AgentMessage::Ack(Ack { vni, generation, outcome }));
    }

    /// An update is refused.
    pub(crate) fn refuse(&mut self, id: HostId, vni: Vni, generation: Generation, why: String) {
        self.agents[id].heard.refused.insert(vni);
        let outcome = Outcome::Refused(why);
        self.say(id, AgentMessage::Ack(Ack { vni, generation, outcome }));
    }

    /// The programs of another layout are replaced, if there are any and tables are as they must
    /// be.
    pub(crate) fn take_over(&mut self, id: HostId) {
        let (host, agent) = (&self.hosts[id], &mut self.agents[id]);
        let is_told = agent.heard.all && agent.heard.refused.is_empty() && agent.refusal.is_none();
        let is_ready = is_told && agent.applier.is_idle() || self.defect == Defect::HastyTakeovers;
        if host.before.is_none() || agent.takes_over || !is_ready {
            return;
        }
        agent.takes_over = true;
        let (life, at) = (agent.life, host.settled_at.min(self.now + PATIENCE));
        self.at(at, Task::TakeOver { host: id, life, step: Takeover::Nic });
    }

    /// The next step of a takeover.
    pub(crate) fn go_on(&mut self, id: HostId, step: Takeover) {
        self.note(|| format!("h{} takes over: {step:?}", id + 1));
        let Some(before) = &mut self.hosts[id].before else { return };
        let (pause, next) = match step {
            Takeover::Nic => {
                before.on_nic = false;
                (0, Takeover::Prove(self.now + PROOF))
            }
            Takeover::Prove(until) => {
                let rows = self.hosts[id].tables.rows.hosts.borrow();
                let is_asked = |row: &HostRow| row.is_resolved() && row.alive_until == 0;
                let asked = rows.iter().filter(|(_, row)| is_asked(row));
                let asked: Vec<_> = asked.map(|(index, _)| *index).collect();
                drop(rows);
                if asked.is_empty() || self.now >= until {
                    self.hosts[id].before.iter_mut().for_each(|it| it.interfaces.clear());
                    (UNDER_WAY, Takeover::Over)
                } else {
                    asked.into_iter().for_each(|index| self.probe(id, index));
                    (GLANCE, step)
                }
            }
            Takeover::Over => {
                self.hosts[id].before = None;
                self.agents[id].takes_over = false;
                let prepared = std::mem::take(&mut self.agents[id].heard.prepared);
                return prepared.into_iter().for_each(|(vni, at)| self.applied(id, vni, at));
            }
        };
        let life = self.agents[id].life;
        self.after(pause, Task::TakeOver { host: id, life, step: next });
    }
}
