//! Makes a host what its controller says, in the steps in which a real agent does: networks and
//! held endpoints at once, guests as they are attached, and then what is no longer there goes.
//! Packets flow between the steps.
//!
//! This follows `agent::apply`, which writes to the kernel's maps. What it decides by is shared:
//! the checks and the assembly of updates, and the rows that they become.

use crate::defect::Defect;
use crate::host::underlay;
use crate::leave::{Successor, successors};
use crate::scenario::HostId;
use crate::world::{Task, World};
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::EndpointKey;
use mizar_proto::Position;
use mizar_vpc::tables::{self, Assigned, Gone, Place, VpcTables};
use mizar_vpc::{Changes, Digest, Generation, HeldRow, IndexedRows, Name, UpdateError, Vni};
use mizar_vpc::{PortMigration, PortRow, VpcRows, VpcUpdate};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

/// How long next hops are waited for, as `agent::hosts` has it, in µs.
pub(crate) const PATIENCE: u64 = 100_000;

/// What an agent knows of what it was told.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    known: BTreeMap<Vni, Known>,
    /// VPCs of which something was found at the start and nothing was told since, with the newest
    /// generation that their rows had.
    found: BTreeMap<u32, u64>,
    work: BTreeMap<Vni, Work>,
    queued: BTreeMap<Vni, VecDeque<VpcUpdate>>,
}

#[derive(Debug, Default)]
struct Known {
    generation: Option<Generation>,
    /// Without held endpoints, which live in the table only.
    rows: IndexedRows,
}

/// An update that is being applied.
#[derive(Debug)]
struct Work {
    generation: Generation,
    desired: VpcTables,
    /// Held endpoints that have come to live here.
    replaced: BTreeSet<IpAddr>,
    /// Where what still comes for endpoints goes, of those that may leave.
    successors: BTreeMap<Address, Successor>,
    /// What is written, and what goes, once frames can be sent to the hosts that rows name.
    late: Option<Changes<IpAddr, HeldRow>>,
    attaching: usize,
    detaching: usize,
    settled: bool,
}

/// The addresses of the endpoints that live here.
fn here(rows: &VpcRows) -> BTreeSet<IpAddr> {
    let live = rows.ports.values().filter(|port| port.lives_here());
    live.flat_map(PortRow::addresses).collect()
}

impl Applier {
    /// An agent that starts on tables that it finds.
    pub(crate) fn recover(vnis: impl Iterator<Item = (u32, u64)>) -> Self {
        let mut found = BTreeMap::new();
        for (vni, generation) in vnis {
            let newest: &mut u64 = found.entry(vni).or_default();
            *newest = (*newest).max(generation);
        }
        Self { found, ..Self::default() }
    }

    /// Whether nothing is being applied.
    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.queued.is_empty()
    }

    /// Forgets the updates that wait.
    pub(crate) fn forget_backlog(&mut self) {
        self.queued.clear();
    }

    /// Where each VPC stands; `held` are the digests of held endpoints in the tables.
    pub(crate) fn positions(&self, held: impl Fn(Vni) -> Digest) -> BTreeMap<Vni, Position> {
        let first = Generation::new(0, 1).ok();
        let found = self.found.keys().filter_map(|vni| Vni::try_from(*vni).ok());
        let found = found.filter_map(|vni| Some((vni, first?, None)));
        let known = self.known.iter().filter_map(|(vni, known)| {
            let is_still = !self.work.contains_key(vni);
            let digest = is_still.then(|| known.rows.rows().digest() + held(*vni));
            Some((*vni, known.generation?, digest))
        });
        let all = found.chain(known);
        all.map(|(vni, generation, digest)| (vni, Position { generation, digest })).collect()
    }

    /// Each VPC of which there is anything, as if nothing were known of it.
    pub(crate) fn unknown_positions(&self) -> BTreeMap<Vni, Position> {
        let first = Generation::new(0, 1).ok();
        let position = |vni| Some((vni, Position { generation: first?, digest: None }));
        self.positions(|_| Digest::default()).into_keys().filter_map(position).collect()
    }

    /// The row of an endpoint, as it was told last.
    pub(crate) fn port(&self, vni: Vni, name: &Name) -> Option<&PortRow> {
        self.known.get(&vni)?.rows.rows().ports.get(name)
    }

    /// The rows of a VPC, held endpoints apart.
    pub(crate) fn rows(&self, vni: Vni) -> VpcRows {
        self.known.get(&vni).map(|known| known.rows.rows().clone()).unwrap_or_default()
    }

    /// Takes an update into the rows; what changes of held endpoints.
    fn admit(
        &mut self,
        update: VpcUpdate,
        checks: bool,
    ) -> Result<Changes<IpAddr, HeldRow>, UpdateError> {
        let (vni, generation) = (update.vni, update.generation);
        let known = self.known.entry(vni).or_default();
        if checks {
            update.check_position(known.generation)?;
            if let Some(found) = self.found.get(&vni.get()).filter(|it| **it > generation.get())
                && let Ok(current) = Generation::try_from(*found)
            {
                return Err(UpdateError::Stale { vni, generation, current });
            }
        }
        known.rows.apply_but_held(update)
    }
}

impl World {
    /// A whole update has come.
    pub(crate) fn submit(&mut self, id: HostId, update: VpcUpdate) {
        let vni = update.vni;
        self.applier(id).queued.entry(vni).or_default().push_back(update);
        self.begin_next(id, vni);
    }

    fn applier(&mut self, id: HostId) -> &mut Applier {
        &mut self.agents[id].applier
    }

    fn begin_next(&mut self, id: HostId, vni: Vni) {
        while !self.applier(id).work.contains_key(&vni) {
            let Some(queue) = self.applier(id).queued.get_mut(&vni) else { return };
            let Some(update) = queue.pop_front() else {
                self.applier(id).queued.remove(&vni);
                return;
            };
            let (generation, full) = (update.generation, update.base.is_none());
            let checks = self.defect != Defect::UncheckedUpdates;
            let successors = successors(&self.applier(id).rows(vni));
            match self.applier(id).admit(update, checks) {
                Ok(held) => {
                    let held = if full { self.replaced_held(id, vni, held) } else { held };
                    self.start_work(id, vni, (generation, successors), held);
                }
                Err(problem) => self.refuse(id, vni, generation, problem.to_string()),
            }
        }
    }

    /// Changes that make the held endpoints of a VPC exactly those.
    fn replaced_held(
        &self,
        id: HostId,
        vni: Vni,
        held: Changes<IpAddr, HeldRow>,
    ) -> Changes<IpAddr, HeldRow> {
        let there = self.hosts[id].held(vni.get()).into_keys().map(IpAddr::from);
        let removals = there.filter(|address| !held.upserts.contains_key(address)).collect();
        Changes { upserts: held.upserts, removals }
    }

    fn start_work(
        &mut self,
        id: HostId,
        vni: Vni,
        (generation, successors): (Generation, BTreeMap<Address, Successor>),
        held: Changes<IpAddr, HeldRow>,
    ) {
        let rows = self.applier(id).rows(vni);
        let wanted = rows != VpcRows::default() || !held.upserts.is_empty();
        let mut work = Work {
            generation,
            desired: VpcTables::default(),
            replaced: BTreeSet::new(),
            successors,
            late: None,
            attaching: 0,
            detaching: 0,
            settled: false,
        };
        if wanted {
            let assigned = self.assign(id, vni, &rows);
            work.desired = tables::tables(vni.get(), &rows, &assigned);
            let is_there = self.hosts[id].tables.rows.vpcs.contains_key(&vni.get());
            if is_there && self.hosts[id].settled_at > self.now {
                work.late = Some(Changes::default());
            }
            self.write_networks(id, vni.get(), &work.desired, work.late.is_some());
            for (name, port) in &rows.ports {
                if self.hosts[id].is_attached(vni, name, port) {
                    self.write_port(id, vni, name, &rows, &mut work.desired);
                } else {
                    work.attaching += 1;
                    let took = self.random.range(800, 5_000);
                    let task = Task::Attached {
                        host: id,
                        life: self.agents[id].life,
                        vni,
                        name: name.clone(),
                    };
                    self.after(took, task);
                }
            }
        }
        let here = here(&rows);
        let (replaced, removals) =
            held.removals.into_iter().partition(|address| here.contains(address));
        match &mut work.late {
            Some(late) => late.removals = removals,
            None => self.remove_held(id, vni, &removals),
        }
        if wanted && self.defect == Defect::EarlyAcks {
            let life = self.agents[id].life;
            let task = Task::Held { host: id, life, vni, rows: held.upserts };
            self.after(2_000_000, task);
        } else if wanted {
            let late = self.write_held(id, vni, &held.upserts, &here);
            if !late.is_empty() {
                work.late.get_or_insert_default().upserts = late;
            }
        }
        if work.late.is_some() {
            self.write_later(id, vni);
        }
        work.replaced = replaced;
        self.advance(id, vni, work);
    }

    /// The indices that rows need.
    fn assign(&mut self, id: HostId, vni: Vni, rows: &VpcRows) -> Assigned {
        let (vpc, _) = self.hosts[id].vpcs.allocate(vni.get());
        let mut assigned = Assigned { vpc, ..Assigned::default() };
        for (network_id, network) in &rows.networks {
            let Some(key) = tables::network_key(vni.get(), network) else { continue };
            let (index, _) = self.hosts[id].networks.allocate(key);
            assigned.networks.insert(*network_id, index);
            for holder in &network.holders.hosts {
                assigned.hosts.insert(*holder, self.ensure(id, *holder));
            }
        }
        for divider in &rows.dividers {
            assigned.hosts.insert(*divider, self.ensure(id, *divider));
        }
        assigned
    }

    fn write_networks(&mut self, id: HostId, vni: u32, desired: &VpcTables, only_new: bool) {
        let rows = &mut self.hosts[id].tables.rows;
        for (row, holders) in &desired.holders {
            let key = (row / 256, *row as u8);
            if !(only_new && rows.holders.contains_key(&key)) {
                rows.holders.insert(key, *holders);
            }
        }
        let stays = only_new && rows.vpcs.contains_key(&vni);
        rows.vpcs.extend(desired.vpc.filter(|_| !stays).map(|vpc| (vni, vpc)));
        for (key, route) in &desired.routes {
            let network = Address::from_octets(key.address);
            rows.routes.insert((vni, network, (key.length - 32) as u8), *route);
        }
    }

    /// Writes the rows of a guest that is attached.
    fn write_port(
        &mut self,
        id: HostId,
        vni: Vni,
        name: &Name,
        rows: &VpcRows,
        desired: &mut VpcTables,
    ) {
        let Some(port) = rows.ports.get(name) else { return };
        let Some(network) = rows.networks.get(&port.network) else { return };
        if let Some(target) = port.migration.and_then(PortMigration::target) {
            self.ensure(id, target);
        }
        let host = &mut self.hosts[id];
        let key = tables::network_key(vni.get(), network);
        let index = key.and_then(|key| host.networks.get(&key));
        let guest = host.guests.get(&(vni, name.clone()));
        let (Some(index), Some(vpc), Some(guest)) = (index, host.vpcs.get(&vni.get()), guest)
        else {
            return;
        };
        let place = Place {
            vpc,
            network: index,
            guest_mtu: crate::host::GUEST_MTU,
            underlay: underlay(id).into(),
            keys: rows.keys.map_or(Keys::NONE, Keys::from),
        };
        let (row, endpoints) = tables::port(vni.get(), port, network, guest.interface, place);
        host.tables.rows.ports.insert(row.interface, row);
        for (address, endpoint) in &endpoints {
            host.tables.put_endpoint(&EndpointKey::new(vni.get(), *address), endpoint);
        }
        endpoints.keys().for_each(|address| self.tell_known(id, vni.get(), *address));
        desired.ports.insert(row.interface, row);
        desired.endpoints.extend(endpoints);
    }

    /// Writes held endpoints; those that have to wait are left.
    pub(crate) fn write_held(
        &mut self,
        id: HostId,
        vni: Vni,
        held: &BTreeMap<IpAddr, HeldRow>,
        here: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, HeldRow> {
        let mut late = BTreeMap::new();
        let Some(vpc) = self.hosts[id].vpcs.get(&vni.get()) else { return late };
        let there = self.hosts[id].held(vni.get());
        for (address, row) in held.iter().filter(|(address, _)| !here.contains(*address)) {
            let host = self.ensure(id, row.host);
            let is_expected = self.hosts[id].settled_at > self.now
                && self.hosts[id].resolved(row.host.into()).is_none();
            if is_expected && there.contains_key(&(*address).into()) {
                late.insert(*address, *row);
                continue;
            }
            let key = EndpointKey::new(vni.get(), (*address).into());
            self.hosts[id].tables.put_endpoint(&key, &tables::held(row, host, vpc));
            self.tell_known(id, vni.get(), key.address);
        }
        late
    }

    /// What has to wait for next hops is written then, or when it has waited for long enough.
    fn write_later(&mut self, id: HostId, vni: Vni) {
        let at = self.hosts[id].settled_at.min(self.now + PATIENCE);
        let life = self.agents[id].life;
        self.at(at, Task::Late { host: id, life, vni });
    }

    /// Next hops are known: what waited for them is written.
    pub(crate) fn write_late(&mut self, id: HostId, vni: Vni) {
        let Some(mut work) = self.applier(id).work.remove(&vni) else { return };
        if let Some(late) = work.late.take() {
            let rows = self.applier(id).rows(vni);
            let here = here(&rows);
            self.write_networks(id, vni.get(), &work.desired, false);
            self.remove_held(id, vni, &late.removals);
            // Hosts that still cannot be reached are waited for no longer.
            self.hosts[id].settled_at = self.now;
            self.write_held(id, vni, &late.upserts, &here);
        }
        self.advance(id, vni, work);
    }

    fn remove_held(&mut self, id: HostId, vni: Vni, removals: &BTreeSet<IpAddr>) {
        let there = self.hosts[id].held(vni.get());
        for address in removals.iter().map(|address| Address::from(*address)) {
            if there.contains_key(&address) {
                let key = EndpointKey::new(vni.get(), address);
                self.hosts[id].tables.remove_endpoint(&key);
            }
        }
    }

    /// A guest's interface is there.
    pub(crate) fn attached(&mut self, id: HostId, vni: Vni, name: &Name) {
        let Some(mut work) = self.applier(id).work.remove(&vni) else { return };
        let rows = self.applier(id).rows(vni);
        work.attaching -= 1;
        if let Some(port) = rows.ports.get(name) {
            self.hosts[id].attach(vni, name.clone(), port);
            self.write_port(id, vni, name, &rows, &mut work.desired);
        }
        self.advance(id, vni, work);
    }

    /// A guest's interface is gone.
    pub(crate) fn detached(&mut self, id: HostId, vni: Vni, name: &Name) {
        self.hosts[id].guests.remove(&(vni, name.clone()));
        let Some(mut work) = self.applier(id).work.remove(&vni) else { return };
        work.detaching -= 1;
        self.advance(id, vni, work);
    }

    fn advance(&mut self, id: HostId, vni: Vni, mut work: Work) {
        if work.attaching == 0 && work.late.is_none() && !work.settled {
            work.settled = true;
            self.settle(id, vni, &mut work);
        }
        if !work.settled || work.detaching > 0 {
            self.applier(id).work.insert(vni, work);
            return;
        }
        let applier = self.applier(id);
        applier.found.remove(&vni.get());
        let generation = work.generation;
        applier.known.entry(vni).or_default().generation = Some(generation);
        self.applied(id, vni, generation);
        self.begin_next(id, vni);
        self.take_over(id);
    }

    /// Removes what the rows no longer have.
    fn settle(&mut self, id: HostId, vni: Vni, work: &mut Work) {
        let rows = self.applier(id).rows(vni);
        let current = self.hosts[id].installed(vni.get());
        let gone = Gone::all(&current, &work.desired);
        let here = here(&rows);
        // First: from here on what comes for them is sent on, and needs nothing else.
        for address in &gone.endpoints {
            let key = EndpointKey::new(vni.get(), *address);
            let moved = !here.contains(&(*address).into());
            let to = moved.then(|| self.successor(id, work.successors.get(address), &rows));
            let left = self.hosts[id].leave(&key, &current.endpoints[address], to);
            if let Some(row) = left {
                self.forget_later(id, key, row);
            }
        }
        self.remove_installed(id, vni.get(), &gone);
        self.remove_held(id, vni, &work.replaced);
        let guests = self.hosts[id].guests.keys().filter(|(of, _)| *of == vni);
        let go = guests.filter(|(_, name)| !rows.ports.contains_key(name)).cloned();
        for (_, name) in go.collect::<Vec<_>>() {
            work.detaching += 1;
            let took = self.random.range(300, 2_000);
            let life = self.agents[id].life;
            self.after(took, Task::Detached { host: id, life, vni, name });
        }
        let host = &mut self.hosts[id];
        let kept: BTreeSet<_> = rows
            .networks
            .values()
            .filter_map(|network| tables::network_key(vni.get(), network))
            .collect();
        host.networks.retain(|key| key.vni() != vni.get() || kept.contains(key));
        if work.desired.vpc.is_none() {
            host.vpcs.retain(|of| *of != vni.get());
            host.tables.rows.learned.borrow_mut().retain(|(of, _), _| *of != vni.get());
        }
    }

    fn remove_installed(&mut self, id: HostId, vni: u32, gone: &Gone) {
        let rows = &mut self.hosts[id].tables.rows;
        rows.ports.retain(|interface, _| !gone.ports.contains(interface));
        for key in &gone.routes {
            let network = Address::from_octets(key.address);
            rows.routes.remove(&(vni, network, (key.length - 32) as u8));
        }
        if gone.vpc {
            rows.vpcs.remove(&vni);
        }
        for row in &gone.holders {
            rows.holders.remove(&(row / 256, *row as u8));
        }
    }
}
