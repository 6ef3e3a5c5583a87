//! Who has been told what: the state of the lab's server, without any I/O.

use crate::control::{HostView, View, VpcView};
use crate::plan::Plan;
use mizar_vpc::{Generation, HostConfig, Name, Vni, VpcRows, VpcUpdate};
use std::collections::{BTreeMap, BTreeSet};

/// One stream of an agent; a later one of the same host replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(u64);

/// The plan, and how far each host has followed it.
#[derive(Debug)]
pub(crate) struct Desk {
    plan: Plan,
    hosts: BTreeMap<Name, HostState>,
    sessions: u64,
}

#[derive(Debug, Default)]
struct HostState {
    session: Option<SessionId>,
    vpcs: BTreeMap<Vni, Progress>,
}

/// How far a host has come in a VPC.
#[derive(Debug, Default)]
struct Progress {
    /// Where the host said that it stands.
    at: Option<State>,
    /// What it was sent last on its present stream.
    sent: Option<State>,
    /// What it could not do, by row.
    errors: BTreeMap<String, String>,
}

/// A state of one VPC on one host.
#[derive(Clone, Debug)]
struct State {
    generation: Generation,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Rows(VpcRows),
    /// The VPC has nothing to do on the host.
    Nothing,
    /// The state is older than what the server remembers.
    Forgotten,
}

impl Desk {
    /// Nobody has been told anything.
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, hosts: BTreeMap::new(), sessions: 0 }
    }

    /// What is planned.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Plans something else from now on.
    pub(crate) fn replace_plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// A host opens a stream and says where it stands; nothing if there is no such host.
    pub(crate) fn open(
        &mut self,
        host: &Name,
        positions: &BTreeMap<Vni, Generation>,
    ) -> Option<(SessionId, HostConfig)> {
        let config = self.plan.intent.host_config(host)?;
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let before = self.hosts.remove(host).unwrap_or_default();
        let vpcs = positions.iter().map(|(&vni, &generation)| {
            let known = before.vpcs.get(&vni).into_iter();
            let remembered = known
                .flat_map(|progress| [progress.sent.clone(), progress.at.clone()])
                .flatten()
                .chain([self.target(host, vni)])
                .find(|state| state.generation == generation);
            let forgotten = State { generation, content: Content::Forgotten };
            (vni, Progress { at: Some(remembered.unwrap_or(forgotten)), ..Progress::default() })
        });
        let state = HostState { session: Some(session), vpcs: vpcs.collect() };
        self.hosts.insert(host.clone(), state);
        Some((session, config))
    }

    /// A host's stream has ended.
    pub(crate) fn close(&mut self, host: &Name, session: SessionId) {
        if let Some(state) = self.hosts.get_mut(host).filter(|it| it.session == Some(session)) {
            state.session = None;
        }
    }

    /// What to send on a stream next; nothing at all once another stream has replaced it.
    pub(crate) fn updates(&mut self, host: &Name, session: SessionId) -> Option<Vec<VpcUpdate>> {
        let state = self.hosts.get(host).filter(|it| it.session == Some(session))?;
        let planned = self.plan.rows.get(host).into_iter().flat_map(|rows| rows.keys());
        let vnis: BTreeSet<Vni> = planned.chain(state.vpcs.keys()).copied().collect();
        let mut updates = Vec::new();
        for vni in vnis {
            let target = self.target(host, vni);
            let progress = self.hosts.get(host).and_then(|state| state.vpcs.get(&vni));
            let sent = progress.and_then(|progress| progress.sent.as_ref());
            let is_sent = sent.is_some_and(|sent| sent.generation == target.generation);
            if is_sent || self.must_wait(host, vni, &target) {
                continue;
            }
            let base = sent.or_else(|| progress.and_then(|progress| progress.at.as_ref()));
            updates.push(update(vni, base, &target));
            if let Some(state) = self.hosts.get_mut(host) {
                state.vpcs.entry(vni).or_default().sent = Some(target);
            }
        }
        Some(updates)
    }

    /// A host has reached a generation of a VPC, but for these rows.
    pub(crate) fn acknowledge(
        &mut self,
        host: &Name,
        session: SessionId,
        (vni, generation): (Vni, Generation),
        errors: BTreeMap<String, String>,
    ) {
        let Some(progress) = self.progress(host, session, vni) else { return };
        if let Some(sent) = progress.sent.clone().filter(|sent| sent.generation == generation) {
            progress.at = Some(sent);
            progress.errors = errors;
        }
        let is_gone = matches!(progress.at, Some(State { content: Content::Nothing, .. }));
        if is_gone && let Some(state) = self.hosts.get_mut(host) {
            state.vpcs.remove(&vni);
        }
    }

    /// A host has refused what it was sent of a VPC. It gets everything, once.
    pub(crate) fn refuse(&mut self, host: &Name, session: SessionId, vni: Vni, why: String) {
        let Some(progress) = self.progress(host, session, vni) else { return };
        // After a full update there is nothing better to send: it waits for the next change.
        if progress.at.take().is_some() {
            progress.sent = None;
        }
        progress.errors = BTreeMap::from([(String::new(), why)]);
    }

    /// What all hosts have told.
    pub(crate) fn view(&self) -> View {
        let hosts = self.plan.intent.hosts();
        hosts.map(|host| (host.name.clone(), self.host_view(&host.name))).collect()
    }

    fn host_view(&self, host: &Name) -> HostView {
        let unknown = HostState::default();
        let state = self.hosts.get(host).unwrap_or(&unknown);
        let planned = self.plan.rows.get(host).into_iter().flat_map(|rows| rows.keys());
        let vnis: BTreeSet<Vni> = planned.chain(state.vpcs.keys()).copied().collect();
        let vpcs = vnis.into_iter().map(|vni| {
            let progress = state.vpcs.get(&vni);
            let at = progress.and_then(|progress| progress.at.as_ref());
            let view = VpcView {
                wanted: self.plan.generation_of(vni),
                acked: at.map(|at| at.generation),
                errors: progress.map(|progress| progress.errors.clone()).unwrap_or_default(),
            };
            (vni, view)
        });
        HostView { connected: state.session.is_some(), vpcs: vpcs.collect() }
    }

    /// What a host should have of a VPC.
    fn target(&self, host: &Name, vni: Vni) -> State {
        let rows = self.plan.rows.get(host).and_then(|rows| rows.get(&vni));
        let content = rows.map_or(Content::Nothing, |rows| Content::Rows(rows.clone()));
        State { generation: self.plan.generation_of(vni), content }
    }

    /// Whether a guest that moves to this host is still attached by the one it leaves: both would
    /// call its interface the same.
    fn must_wait(&self, host: &Name, vni: Vni, target: &State) -> bool {
        let Content::Rows(rows) = &target.content else { return false };
        let others = self.hosts.iter().filter(|(name, it)| *name != host && it.session.is_some());
        others.filter_map(|(_, state)| state.vpcs.get(&vni)?.at.as_ref()).any(|at| {
            matches!(&at.content, Content::Rows(theirs)
                if theirs.ports.keys().any(|port| rows.ports.contains_key(port)))
        })
    }

    fn progress(&mut self, host: &Name, session: SessionId, vni: Vni) -> Option<&mut Progress> {
        let state = self.hosts.get_mut(host).filter(|it| it.session == Some(session))?;
        state.vpcs.get_mut(&vni)
    }
}

/// What leads from where a host stands to where it should.
fn update(vni: Vni, base: Option<&State>, target: &State) -> VpcUpdate {
    match (&target.content, base) {
        (Content::Rows(new), Some(State { generation, content: Content::Rows(old) })) => {
            VpcUpdate::diff(vni, (*generation, old), (target.generation, new))
        }
        (Content::Rows(new), _) => VpcUpdate::full(vni, target.generation, new.clone()),
        (Content::Nothing | Content::Forgotten, _) => VpcUpdate::removal(vni, target.generation),
    }
}

#[cfg(test)]
mod tests;
