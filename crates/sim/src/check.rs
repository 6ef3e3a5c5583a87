//! What must hold once nothing goes wrong any more and time enough has passed.
//!
//! All faults end, but for one host at most that stays dead. After [`quiet`] of them:
//!
//! 1. flows between endpoints that are there lose nothing, and are direct and without options;
//! 2. every host's tables are what its rows of the intent are, and every endpoint is ready;
//! 3. every endpoint of a VPC reaches every other, at once, and directly after 4 s.

use crate::controller;
use crate::host::underlay;
use crate::scenario::{ADDRESSES, Action, Class, EndpointId, Flow, HostId};
use crate::streams::Stream;
use crate::world::{Meta, RunningFlow, Task, World};
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{Endpoint, EndpointKey};
use mizar_vpc::tables::{self, VpcTables};
use mizar_vpc::{Vni, VpcRows};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// A part of the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Faults end.
    Restore,
    /// Flows send as often as they did.
    Flows,
    /// What arrives of flows is recorded.
    Record,
    /// Tables, flows and readiness are checked; so many attempts are left.
    Check(u32),
    /// It is over.
    End,
}

/// How long after the last fault everything must be well, in ms. A host that stays dead has to be
/// missed first, by a controller that may have started only now.
pub(crate) const fn quiet(class: Class) -> u64 {
    match class {
        Class::Calm | Class::Moves | Class::Hostile => 20_000,
        Class::Deaths | Class::Storm => 45_000,
    }
}

/// A quota of learned locations below this is no room for all.
const AMPLE: u32 = 16;
/// Packets of everybody to everybody, and their pause in ms.
const ROUNDS: u32 = 18;
const PAUSE: u64 = 250;

impl World {
    /// The next part of the end.
    pub(crate) fn phase(&mut self, phase: Phase) {
        let seconds = |seconds: u64| seconds * 1_000_000;
        match phase {
            Phase::Restore => {
                self.restore();
                self.traffic.slow = true;
                let quiet = quiet(self.scenario.class) * 1000;
                self.after(quiet, Task::Phase(Phase::Flows));
            }
            Phase::Flows => {
                // A flow that is slow gets the news with its next packet.
                self.traffic.slow = false;
                // Those that send seldom never are direct, and have others teach now and then.
                let seldom = |it: &&mut RunningFlow| it.flow.every >= 1000;
                let flows = self.traffic.flows.iter_mut();
                flows.filter(seldom).for_each(|running| running.most = 0);
                self.after(seconds(2 + 3), Task::Phase(Phase::Record));
            }
            Phase::Record => {
                self.traffic.record = Some(Vec::new());
                self.stats.words = 0;
                self.after(seconds(1), Task::Phase(Phase::Check(5)));
            }
            Phase::Check(left) => {
                self.check_flows();
                self.check_streams();
                if let Err(problem) = self.check_tables() {
                    if left == 0 {
                        return self.fail(problem);
                    }
                    // A step of the planner may be on its way.
                    return self.after(seconds(1), Task::Phase(Phase::Check(left - 1)));
                }
                self.begin_pairs();
                let rounds = u64::from(ROUNDS + 1) * PAUSE * 1000;
                self.after(rounds, Task::Phase(Phase::End));
            }
            Phase::End => {}
        }
    }

    /// All faults end, but for the first host that is dead.
    fn restore(&mut self) {
        self.underlay.heal();
        self.start_controller();
        let dead = (0..self.hosts.len()).find(|id| !self.hosts[*id].alive);
        for id in (0..self.hosts.len()).filter(|id| Some(*id) != dead) {
            self.act(&Action::StartHost(id));
            self.start_agent(id);
            self.act(&Action::Cordon(id, false));
        }
        if let Some(dead) = dead {
            self.note(|| format!("h{} stays dead", dead + 1));
            // What was asked to be on it alone would be nowhere.
            for vpc in 0..self.scenario.vpcs {
                self.act(&Action::Dividers(vpc, Vec::new()));
                for network in 0..self.scenario.networks {
                    self.act(&Action::Bouncers(vpc, network, Vec::new()));
                }
            }
        }
    }

    /// Where an endpoint is, if its host lives.
    pub(crate) fn home(&self, endpoint: EndpointId) -> Option<HostId> {
        let view = self.controller.core()?.view();
        let vpc = view.catalog.vpc(controller::vni(endpoint.vpc))?;
        let (_, record) = vpc.endpoint_named(&endpoint.name())?;
        let home = self.hosts.iter().position(|host| host.name == record.host)?;
        self.hosts[home].alive.then_some(home)
    }

    /// The endpoint that has an address of a number now.
    fn owner(&self, vpc: usize, number: usize) -> Option<(EndpointId, HostId)> {
        let same = (number % ADDRESSES..3 * ADDRESSES).step_by(ADDRESSES);
        let mut owners = same.map(|number| EndpointId { vpc, number });
        owners.find_map(|it| Some((it, self.home(it)?)))
    }

    /// What was recorded of flows between endpoints that are there.
    fn check_flows(&mut self) {
        let Some(record) = self.traffic.record.take() else { return };
        let flows: Vec<_> = self.traffic.flows.iter().map(|running| running.flow).collect();
        for (number, flow) in flows.into_iter().enumerate() {
            let to = self.owner(flow.from.vpc, flow.to);
            let (Some(from), Some((_, to))) = (self.home(flow.from), to) else { continue };
            let mine = |it: &&Meta| it.flow as usize == number;
            let (answers, packets): (Vec<_>, Vec<_>) =
                record.iter().filter(mine).partition(|it| it.answer);
            // What was sent last may be on its way.
            let expected = (1000 / flow.every).saturating_sub(1) as usize;
            let all = packets.iter().chain(&answers);
            if packets.len() < expected || (flow.answered && answers.len() < expected) {
                let (got, back) = (packets.len(), answers.len());
                self.fail(format!("{flow:?}: {got} packets and {back} answers of {expected}"));
            }
            if self.scenario.quota >= AMPLE
                && let Some(meta) = all.clone().find(|it| !is_direct(it, from, to))
            {
                self.fail(format!("{flow:?} is not direct and without options: {meta:?}"));
            }
        }
        if self.scenario.quota >= AMPLE && self.stats.words > 0 {
            let what = format!("{} notices or invalidations in silence", self.stats.words);
            self.fail(what);
        }
    }

    /// Streams between endpoints that are there have come to their end.
    fn check_streams(&mut self) {
        let there = |it: &Stream| it.ends().into_iter().all(|end| self.home(end).is_some());
        let late = self.traffic.streams.iter().find(|it| there(it) && !it.is_complete());
        if let Some((read, total)) = late.map(Stream::progress) {
            self.fail(format!("only {read} of {total} bytes of a stream have come"));
        }
    }

    /// Whether each host's tables are what its rows of the intent are, and endpoints are ready.
    fn check_tables(&self) -> Result<(), String> {
        let Some(core) = self.controller.core() else { return Err("no controller".to_owned()) };
        for (id, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.alive) {
            for vpc in 0..self.scenario.vpcs {
                let vni = controller::vni(vpc);
                let rows = core.view().vpc_rows(vni, &host.name);
                let told = self.agents[id].applier.rows(vni).keys;
                let rows = VpcRows { keys: told, ..rows };
                self.check_vpc(id, vni, &rows)
                    .map_err(|problem| format!("h{} in VPC {vni}: {problem}", id + 1))?;
            }
            if host.before.is_some() && self.is_member(id) {
                return Err(format!("h{} still has programs of another layout", id + 1));
            }
            if !self.agents[id].applier.is_idle() {
                return Err(format!("h{} still applies updates", id + 1));
            }
        }
        self.check_keys()?;
        for endpoint in self.endpoints().filter(|it| self.home(*it).is_some()) {
            let phase = self.controller.phase(endpoint, self.now);
            if phase.as_ref().is_none_or(|(phase, _)| *phase != mizar_vpc::manifest::Phase::Ready) {
                return Err(format!("{endpoint} is not ready: {phase:?}"));
            }
        }
        Ok(())
    }

    /// Whether all hosts of the fleet have the same keys, and believe nothing that is not signed.
    fn check_keys(&self) -> Result<(), String> {
        let (mut of_fleet, mut of_vpcs) = (None, BTreeMap::new());
        let there = |id: &usize| self.hosts[*id].alive && self.is_member(*id);
        for id in (0..self.hosts.len()).filter(there) {
            let rows = &self.hosts[id].tables.rows;
            if !rows.config.keys.are_required() {
                return Err(format!("h{} does not require tags", id + 1));
            }
            same("keys", &rows.config.keys, of_fleet.get_or_insert(rows.config.keys))?;
            for (vni, vpc) in &rows.vpcs {
                same("keys of a VPC", &vpc.keys, of_vpcs.entry(vni).or_insert(vpc.keys))?;
            }
        }
        Ok(())
    }

    fn check_vpc(&self, id: HostId, vni: Vni, rows: &VpcRows) -> Result<(), String> {
        let host = &self.hosts[id];
        let told = self.agents[id].applier.rows(vni);
        same("dividers", &told.dividers, &rows.dividers)?;
        same("quota", &told.quota, &rows.quota)?;
        same("ports", &told.ports, &rows.ports)?;
        let networks: Vec<_> = rows.networks.keys().collect();
        same("networks", &told.networks.keys().collect(), &networks)?;
        if told.networks != rows.networks {
            return Err("knows other holders of slots".to_owned());
        }
        let guests = host.guests.keys().filter(|(of, _)| *of == vni).map(|(_, name)| name);
        if !guests.eq(rows.ports.keys()) {
            return Err(format!("guests {:?} instead of {:?}", host.guests, rows.ports));
        }
        let hosts = host.tables.rows.hosts.borrow();
        let held: BTreeMap<Address, _> = host
            .held(vni.get())
            .into_iter()
            .map(|(at, row)| (at, (hosts.get(&row.host).map(|host| host.address), row.generation)))
            .collect();
        let should = rows.held.iter().map(|(at, row)| {
            (Address::from(*at), (Some(Address::from(row.host)), row.generation.get()))
        });
        same("held endpoints", &held, &should.collect())?;
        let moved = |(key, row): (EndpointKey, Endpoint)| {
            (key.vni == vni.get() && row.kind == Endpoint::MOVED).then_some(key)
        };
        if let Some(key) = host.tables.endpoints().find_map(moved) {
            return Err(format!("{} is still said to have moved", key.address));
        }
        let (has, should) = (host.installed(vni.get()), self.desired(id, vni, rows));
        same("rows of ports", &has.ports, &should.ports)?;
        same("rows of guests", &has.endpoints, &should.endpoints)?;
        same("routes", &has.routes, &should.routes)?;
        same("row of the VPC", &has.vpc, &should.vpc)?;
        if has.holders != should.holders {
            return Err("has other rows of holders".to_owned());
        }
        Ok(())
    }

    /// What tables must have of a VPC's rows, held endpoints apart.
    fn desired(&self, id: HostId, vni: Vni, rows: &VpcRows) -> VpcTables {
        let host = &self.hosts[id];
        let is_told = !rows.networks.is_empty();
        let Some(vpc) = host.vpcs.get(&vni.get()).filter(|_| is_told) else {
            return VpcTables::default();
        };
        let networks = rows.networks.iter().filter_map(|(network, row)| {
            Some((*network, host.networks.get(&tables::network_key(vni.get(), row)?)?))
        });
        let dividers = rows.dividers.iter();
        let known: BTreeSet<_> =
            rows.networks.values().flat_map(|it| &it.holders.hosts).chain(dividers).collect();
        let hosts = known.into_iter().filter_map(|it| Some((*it, host.hosts.get(it)?)));
        let assigned =
            tables::Assigned { vpc, networks: networks.collect(), hosts: hosts.collect() };
        let mut desired = tables::tables(vni.get(), rows, &assigned);
        for (name, port) in &rows.ports {
            let guest = host.guests.get(&(vni, name.clone()));
            let network = rows.networks.get(&port.network);
            let index = assigned.networks.get(&port.network);
            let (Some(guest), Some(network), Some(index)) = (guest, network, index) else {
                continue;
            };
            let guest_mtu = crate::host::GUEST_MTU;
            let place = tables::Place {
                vpc,
                network: *index,
                guest_mtu,
                underlay: underlay(id).into(),
                keys: rows.keys.map_or(Keys::NONE, Keys::from),
            };
            let (row, endpoints) = tables::port(vni.get(), port, network, guest.interface, place);
            desired.ports.insert(row.interface, row);
            desired.endpoints.extend(endpoints);
        }
        desired
    }

    fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        let numbers = |vpc| (0..3 * ADDRESSES).map(move |number| EndpointId { vpc, number });
        (0..self.scenario.vpcs).flat_map(numbers)
    }

    /// Everybody sends to everybody, and everything that arrives is recorded.
    fn begin_pairs(&mut self) {
        self.traffic.flows.iter_mut().for_each(|running| running.most = 0);
        self.traffic.record = Some(Vec::new());
        let there: Vec<_> = self.endpoints().filter(|it| self.home(*it).is_some()).collect();
        for &from in &there {
            for to in there.iter().filter(|to| to.vpc == from.vpc && **to != from) {
                for v6 in [false, true].into_iter().take(1 + usize::from(self.scenario.dual)) {
                    let to = to.number;
                    let flow = Flow { from, to, every: PAUSE, answered: false, v6 };
                    self.begin_flow(flow, ROUNDS);
                }
            }
        }
    }

    /// What was recorded of everybody to everybody.
    pub(crate) fn check_pairs(&mut self) {
        let record = self.traffic.record.take().unwrap_or_default();
        let mut arrived: BTreeMap<u32, Vec<Meta>> = BTreeMap::new();
        for meta in record {
            arrived.entry(meta.flow).or_default().push(meta);
        }
        let flows: Vec<_> = self.traffic.flows.clone();
        for (number, running) in (0..).zip(flows).filter(|(_, running)| running.most > 0) {
            let flow = running.flow;
            let to = self.owner(flow.from.vpc, flow.to);
            let (Some(from), Some((_, to))) = (self.home(flow.from), to) else { continue };
            let none = Vec::new();
            let packets = arrived.get(&number).unwrap_or(&none);
            if packets.len() < ROUNDS as usize {
                let numbers: Vec<_> = packets.iter().map(|it| it.number).collect();
                self.fail(format!(
                    "{flow:?} from h{} to h{}: only {numbers:?} arrived",
                    from + 1,
                    to + 1
                ));
            }
            let last = packets.iter().max_by_key(|it| it.number).copied();
            let is_direct = last.is_some_and(|it| is_direct(&it, from, to));
            if self.scenario.quota >= AMPLE && !is_direct {
                self.fail(format!("{flow:?} is not direct and without options: {last:?}"));
            }
        }
    }
}

fn same<T: PartialEq + Debug>(what: &str, has: &T, should: &T) -> Result<(), String> {
    if has == should { Ok(()) } else { Err(format!("{what} {has:?} instead of {should:?}")) }
}

/// Whether a packet took one step and carried nothing beside.
fn is_direct(meta: &Meta, from: HostId, to: HostId) -> bool {
    meta.sends == u32::from(from != to) && !meta.options
}
