//! Who has been told what: for each host and VPC, which rows still have to be sent, and which were
//! sent and not acknowledged.
//!
//! The desk knows keys only. What a row says is looked up when it is sent, so a row that changed
//! ten times meanwhile is sent once, and a message that was lost, repeated or overtaken changes
//! nothing of where it ends.

use crate::time::Time;
use mizar_proto::{Applied, Hello};
use mizar_vpc::catalog::EndpointRecord;
use mizar_vpc::{Digest, Generation, Name, RowKey, Vni};
use std::collections::{BTreeMap, BTreeSet};

mod progress;
pub(crate) use progress::{Keys, Progress, Sent};

/// One stream of an agent; a later one of the same host replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(u64);

/// All hosts that were heard of since the controller started.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    hosts: BTreeMap<Name, HostState>,
    sessions: u64,
    /// Endpoints that move.
    moving: BTreeMap<(Vni, Name), Move>,
}

/// How an endpoint moves: who is told only when another host has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Its new host waits for the host that it leaves: both would call its interface the same.
    Leaves(Name),
    /// Its new host has its interface already. All others wait for it, so that whoever sends there
    /// is not too early.
    Arrives {
        /// The new host.
        at: Name,
        /// The host that it leaves.
        from: Name,
    },
}

impl Move {
    /// Whom others wait for.
    const fn awaited(&self) -> &Name {
        match self {
            Self::Leaves(host) | Self::Arrives { at: host, .. } => host,
        }
    }
}

/// How far one host has followed.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) session: Option<SessionId>,
    pub(crate) heard: Time,
    pub(crate) version: String,
    /// Version of the keyed tags that its agent knows; 0: none.
    pub(crate) tags: u32,
    /// What it waits for while programs of another layout are at work, and since when they are.
    pub(crate) waits: Option<(String, Time)>,
    pub(crate) vpcs: BTreeMap<Vni, Progress>,
}

/// Whether a host has a row as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    /// It has acknowledged it.
    There,
    /// It has not yet.
    Missing,
    /// It could not install it, for this reason.
    Failed(String),
    /// Nothing has been heard of the host since the controller started.
    Unheard,
}

impl Desk {
    /// A host.
    pub(crate) fn host(&self, host: &Name) -> Option<&HostState> {
        self.hosts.get(host)
    }

    /// The hosts that were heard of, by name.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (&Name, &HostState)> {
        self.hosts.iter()
    }

    /// A host's stream begins: what it says it has is compared with what it should have.
    /// `digest_of` computes the digest of all rows that it should have of a VPC; None: none. The
    /// VPCs of which it has everything, as nobody knew yet; and the endpoints that it was waited
    /// for to let go, and of which it has nothing any more.
    pub(crate) fn open(
        &mut self,
        hello: &Hello,
        told: &BTreeSet<Vni>,
        digest_of: impl Fn(Vni) -> Option<Digest>,
        now: Time,
    ) -> (SessionId, Vec<Vni>, Moves) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let state = self.hosts.entry(hello.host.clone()).or_insert_with(|| HostState {
            session: None,
            heard: now,
            version: String::new(),
            tags: 0,
            waits: None,
            vpcs: BTreeMap::new(),
        });
        (state.session, state.heard) = (Some(session), now);
        state.version.clone_from(&hello.version);
        state.tags = hello.tags;
        let vnis: BTreeSet<Vni> = told.iter().chain(hello.positions.keys()).copied().collect();
        state.vpcs.retain(|vni, _| vnis.contains(vni));
        let mut known = Vec::new();
        for vni in vnis {
            let progress = state.vpcs.entry(vni).or_default();
            match hello.positions.get(&vni) {
                Some(at) if progress.resumes_at(at.generation) => progress.resume(at.generation),
                Some(at) if at.digest.is_some() && at.digest == digest_of(vni) => {
                    *progress = Progress::standing(at.generation);
                    known.push(vni);
                }
                at => *progress = Progress::lost(at.map(|at| at.generation)),
            }
        }
        // Nothing may ever be acknowledged of a VPC in which the host has no part any more.
        let has_to_go = |(vni, name): &(Vni, Name)| {
            let port = RowKey::Port(name.clone());
            state.vpcs.get(vni).is_some_and(|progress| progress.row(&port) == RowState::Missing)
        };
        let is_over =
            |place: &(Vni, Name), it: &Move| *it.awaited() == hello.host && !has_to_go(place);
        let over = self.moving.extract_if(.., |place, it| is_over(place, it));
        (session, known, over.collect())
    }

    /// A host's stream has ended, if it is the present one. The moves for which it was waited.
    pub(crate) fn close(&mut self, host: &Name, session: SessionId) -> Option<Moves> {
        let state = self.hosts.get_mut(host).filter(|it| it.session == Some(session))?;
        state.session = None;
        Some(self.moving.extract_if(.., |_, it| it.awaited() == host).collect())
    }

    /// A host is no longer one of the fleet.
    pub(crate) fn forget(&mut self, host: &Name) {
        self.hosts.remove(host);
    }

    /// Something was heard of a host.
    pub(crate) fn hear(&mut self, host: &Name, session: SessionId, now: Time) -> bool {
        let state = self.hosts.get_mut(host).filter(|it| it.session == Some(session));
        state.map(|state| state.heard = now).is_some()
    }

    /// A host has said what it waits for while programs of another layout are at work; None: its
    /// own are. Whether that is news.
    pub(crate) fn wait(&mut self, host: &Name, reason: Option<&str>, now: Time) -> bool {
        let Some(state) = self.hosts.get_mut(host) else { return false };
        if state.waits.as_ref().map(|(reason, _)| reason.as_str()) == reason {
            return false;
        }
        let since = state.waits.as_ref().map_or(now, |(_, since)| *since);
        state.waits = reason.map(|reason| (reason.to_owned(), since));
        true
    }

    /// A row of a host became another. Hosts that were not heard of get everything anyway.
    pub(crate) fn mark(&mut self, host: &Name, vni: Vni, key: RowKey) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.vpcs.entry(vni).or_insert_with(Progress::untold).mark(key);
        }
    }

    /// A row of a host became another, in what nobody waits for: if the host has it, it has it.
    pub(crate) fn amend(&mut self, host: &Name, vni: Vni, key: RowKey) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.vpcs.entry(vni).or_insert_with(Progress::untold).amend(key);
        }
    }

    /// What a host is told of a VPC apart from rows became another.
    pub(crate) fn mark_frame(&mut self, host: &Name, vni: Vni) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.vpcs.entry(vni).or_insert_with(Progress::untold).dirty.touch();
        }
    }

    /// What hosts are told of all VPCs apart from rows became another; all places.
    pub(crate) fn mark_frames(&mut self) -> Vec<(Name, Vec<Vni>)> {
        let hosts = self.hosts.iter_mut().map(|(host, state)| {
            state.vpcs.values_mut().for_each(|progress| progress.dirty.touch());
            (host.clone(), state.vpcs.keys().copied().collect())
        });
        hosts.collect()
    }

    /// An endpoint moves. A host without a stream is not waited for.
    pub(crate) fn begin_move(&mut self, vni: Vni, endpoint: Name, how: Move) {
        let place = (vni, endpoint);
        self.moving.remove(&place);
        if self.hosts.get(how.awaited()).is_some_and(|state| state.session.is_some()) {
            self.moving.insert(place, how);
        }
    }

    /// An endpoint does not exist any more.
    pub(crate) fn end_move(&mut self, vni: Vni, endpoint: &Name) {
        self.moving.remove(&(vni, endpoint.clone()));
    }

    /// The moves of a VPC's endpoints for which a host is waited.
    pub(crate) fn moving(&self, host: &Name, vni: Vni) -> Moves {
        let moving = self.moving.iter().filter(|((of, _), it)| *of == vni && it.awaited() == host);
        moving.map(|(place, it)| (place.clone(), it.clone())).collect()
    }

    /// Whether a move still has to wait.
    pub(crate) fn is_moving(&self, place: &(Vni, Name)) -> bool {
        self.moving.contains_key(place)
    }

    /// The next thing to send to a host of a VPC; None if there is nothing, or it has to wait.
    /// `after` says which generation comes after that where the host stands; `about` knows what a
    /// row is about.
    pub(crate) fn send<'a>(
        &mut self,
        host: &Name,
        vni: Vni,
        after: impl FnOnce(Option<Generation>) -> Generation,
        about: impl Fn(&RowKey) -> About<'a>,
    ) -> Option<Sent> {
        let waits = waits(&self.moving, host, vni, about);
        let state = self.hosts.get_mut(host).filter(|it| it.session.is_some())?;
        state.vpcs.get_mut(&vni)?.send(after, waits)
    }

    /// Whether what a host of a VPC is sent next is everything, though it had it before.
    pub(crate) fn has_to_resync(&self, host: &Name, vni: Vni) -> bool {
        let state = self.hosts.get(host).filter(|it| it.session.is_some());
        state.and_then(|it| it.vpcs.get(&vni)).is_some_and(Progress::has_to_resync)
    }

    /// The rows that go with what is being sent to a host of a VPC, since they changed meanwhile;
    /// None: too many, and everything is sent instead.
    pub(crate) fn late<'a>(
        &mut self,
        host: &Name,
        vni: Vni,
        about: impl Fn(&RowKey) -> About<'a>,
    ) -> Option<BTreeSet<RowKey>> {
        let waits = waits(&self.moving, host, vni, about);
        let progress = self.hosts.get_mut(host)?.vpcs.get_mut(&vni)?;
        progress.late(waits)
    }

    /// What is being sent to a host of a VPC is not sent to its end.
    pub(crate) fn abandon(&mut self, host: &Name, vni: Vni) {
        if let Some(state) = self.hosts.get_mut(host)
            && let Some(progress) = state.vpcs.get_mut(&vni)
        {
            progress.abandon();
        }
    }

    /// What was sent to a host of a VPC takes everything away.
    pub(crate) fn remove(&mut self, host: &Name, vni: Vni) {
        if let Some(state) = self.hosts.get_mut(host)
            && let Some(progress) = state.vpcs.get_mut(&vni)
        {
            progress.remove();
        }
    }

    /// A host has applied an update. The keys that it has acknowledged, if it was the one that it
    /// was sent.
    pub(crate) fn acknowledge(
        &mut self,
        host: &Name,
        (vni, generation): (Vni, Generation),
        applied: &Applied,
    ) -> Option<Keys> {
        let progress = self.hosts.get_mut(host)?.vpcs.get_mut(&vni)?;
        let keys = progress.acknowledge(generation, applied);
        if let Some(Keys::Some(keys)) = &keys {
            for key in keys {
                if let RowKey::Port(name) = key {
                    let place = (vni, name.clone());
                    if self.moving.get(&place).is_some_and(|it| it.awaited() == host) {
                        self.moving.remove(&place);
                    }
                }
            }
        } else if keys.is_some() {
            self.moving.retain(|(of, _), it| *of != vni || it.awaited() != host);
        }
        keys
    }

    /// A host has refused an update. It gets everything, once. Whether the update was under way:
    /// what was said of another, as one that came twice, changes nothing.
    pub(crate) fn refuse(
        &mut self,
        host: &Name,
        (vni, generation): (Vni, Generation),
        reason: String,
    ) -> bool {
        let state = self.hosts.get_mut(host);
        let progress = state.and_then(|state| state.vpcs.get_mut(&vni));
        progress.is_some_and(|progress| progress.refuse(generation, reason))
    }

    /// A VPC's rows of a host are gone, acknowledged.
    pub(crate) fn drop_vpc(&mut self, host: &Name, vni: Vni) {
        if let Some(state) = self.hosts.get_mut(host)
            && state.vpcs.get(&vni).is_some_and(Progress::is_settled)
        {
            state.vpcs.remove(&vni);
        }
    }

    /// Whether a host has a row as it should be.
    pub(crate) fn row(&self, host: &Name, vni: Vni, key: &RowKey) -> RowState {
        let Some(state) = self.hosts.get(host) else { return RowState::Unheard };
        state.vpcs.get(&vni).map_or(RowState::Missing, |progress| progress.row(key))
    }

    /// Up to where a host has everything of a VPC; None of one that is not heard of.
    pub(crate) fn position(&self, host: &Name, vni: Vni) -> Option<Generation> {
        match self.hosts.get(host)?.vpcs.get(&vni) {
            Some(progress) if progress.is_settled() => progress.at.map(|_| Generation::MAX),
            Some(progress) => progress.at,
            // There is nothing that it had to be told.
            None => Some(Generation::MAX),
        }
    }
}

/// Endpoints, and how they move.
pub(crate) type Moves = Vec<((Vni, Name), Move)>;

/// What a row is about.
pub(crate) enum About<'a> {
    /// An endpoint.
    Endpoint(&'a EndpointRecord),
    /// A network that the host has no part in any more.
    LeftNetwork,
    /// Nothing that anybody waits for.
    Other,
}

/// Which rows of a host have to wait for another host.
fn waits<'a, 'e>(
    moving: &'a BTreeMap<(Vni, Name), Move>,
    host: &'a Name,
    vni: Vni,
    about: impl Fn(&RowKey) -> About<'e> + 'a,
) -> impl Fn(&RowKey) -> bool + 'a {
    move |key| {
        if moving.is_empty() {
            return false;
        }
        let endpoint = match about(key) {
            About::Endpoint(endpoint) => endpoint,
            // Endpoints go with their network, or before it.
            About::LeftNetwork => {
                return moving.iter().any(|((of, _), it)| {
                    *of == vni && matches!(it, Move::Arrives { from, .. } if from == host)
                });
            }
            About::Other => return false,
        };
        match moving.get(&(vni, endpoint.name.clone())) {
            Some(Move::Leaves(left)) => {
                matches!(key, RowKey::Port(_)) && endpoint.host == *host && left != host
            }
            Some(Move::Arrives { at, .. }) => at != host,
            None => false,
        }
    }
}
