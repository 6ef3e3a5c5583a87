//! Keyed tags: which keys hosts are told, and when the next step is taken.

use super::Core;
use super::write::{Draft, next_generation};
use crate::desk::HostState;
use crate::keyring::Keyring;
use crate::time::Time;
use mizar_proto::TAGS;
use mizar_vpc::manifest::{Kind, TagsStage, TagsStatus};
use mizar_vpc::{Generation, Name, Ref, TagKeys, Vni};
use std::time::Duration;
use tracing::{error, info};

/// How long hosts are waited for that do not take a step. They go on by way of bouncers then.
const PATIENCE: Duration = Duration::from_secs(600);
/// Most hosts that a status names.
const NAMED: usize = 10;

/// The fleet's keyring, and since when hosts are told of it.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) ring: Option<Keyring>,
    /// Whoever has everything up to there has these keys.
    generation: Generation,
    told: Time,
    /// Whether all hosts have taken them. Those that come later get them with all else.
    are_everywhere: bool,
    /// What the controller's time is at its beginning, since 1970.
    began: Duration,
}

impl Keys {
    /// As they were stored.
    pub(super) fn new(ring: Option<Keyring>, generation: Generation, now: Time) -> Self {
        let (are_everywhere, began) = (false, Duration::ZERO);
        Self { ring, generation, told: now, are_everywhere, began }
    }

    /// The keys of a VPC; None: nothing is signed.
    pub(super) fn of_vpc(&self, vni: Vni) -> Option<TagKeys> {
        self.ring.as_ref()?.keys(vni.get())
    }

    /// Those of the fleet.
    pub(super) fn of_fleet(&self) -> Option<TagKeys> {
        self.ring.as_ref()?.keys(0)
    }

    /// Whether hosts that lack them are waited for no longer.
    fn are_late(&self, now: Time) -> bool {
        now.since(self.told) >= PATIENCE
    }

    fn since_1970(&self, now: Time) -> Duration {
        self.began + now.since(Time::default())
    }
}

impl Core {
    /// Says what time it is at `now`, since 1970.
    pub(crate) fn set_clock(&mut self, since_1970: Duration, now: Time) {
        self.keys.began = since_1970.saturating_sub(now.since(Time::default()));
    }

    /// A fleet that is new has keys from its beginning, so that no host has to be told twice.
    pub(super) fn first_keys(&self, draft: &mut Draft, now: Time) {
        let asked = self.catalog.fleet().map(|fleet| &fleet.spec.tags);
        let Some(asked) = asked.filter(|it| it.enabled && self.keys.ring.is_none()) else { return };
        match Keyring::new(asked, self.keys.since_1970(now)) {
            Ok(ring) => draft.keyring = Some(ring),
            Err(problem) => error!(%problem, "no keys"),
        }
    }

    /// Takes the next step, if there is one and hosts have taken the last.
    pub(super) fn turn_keys(&mut self, now: Time) {
        let mut draft = Draft::default();
        self.first_keys(&mut draft, now);
        // A look at all hosts, until the first that lacks them; and not for ever.
        if !self.keys.are_everywhere && !self.keys.are_late(now) {
            let lacks = self.without_keys().next().is_some();
            self.keys.are_everywhere = !lacks;
        }
        if draft.keyring.is_none() {
            draft.keyring = self.next_ring(now);
        }
        if draft.keyring.is_some()
            && let Ok(at) = next_generation(self.generation, &*self.store)
        {
            // What could not be stored is tried again at the next tick.
            self.store(vec![(at, draft)], now);
        }
    }

    /// These are the keys, and they are on disk.
    pub(super) fn set_keys(&mut self, ring: Keyring, at: Generation, now: Time) {
        info!(epoch = ring.epoch, stage = ?ring.stage, "keyed tags");
        self.keys.ring = Some(ring);
        (self.keys.generation, self.keys.told) = (at, now);
        self.keys.are_everywhere = false;
        for (host, vnis) in self.desk.mark_frames() {
            if self.outgoing.contains_key(&host) {
                self.unsent.extend(vnis.into_iter().map(|vni| (host.clone(), vni)));
            }
        }
        self.send_configs();
        if let Some(fleet) = self.catalog.fleet() {
            let reference = Ref::global(Kind::Fleet, fleet.name.clone());
            self.tell_status(&reference, now);
        }
    }

    /// How far keyed tags are.
    pub(super) fn tags_status(&self) -> TagsStatus {
        let Some(ring) = &self.keys.ring else { return TagsStatus::default() };
        let named = if self.keys.are_everywhere { 0 } else { NAMED };
        let waiting = self.without_keys().take(named).cloned().collect();
        TagsStatus { epoch: ring.epoch, stage: ring.stage, waiting }
    }

    fn next_ring(&self, now: Time) -> Option<Keyring> {
        let (ring, fleet) = (self.keys.ring.as_ref()?, self.catalog.fleet()?);
        let next = ring.next(&fleet.spec.tags, self.keys.since_1970(now));
        let next = next.inspect_err(|problem| error!(%problem, "keys do not turn")).ok()??;
        // Those of whom it would be required to sign must know how, however long that takes.
        let cannot = |state: &HostState| state.session.is_some() && !state.knows_tags();
        if next.requires(ring) && self.desk.hosts().any(|(_, state)| cannot(state)) {
            return None;
        }
        (self.keys.are_everywhere || self.keys.are_late(now)).then_some(next)
    }

    /// The hosts that have not taken the last step.
    fn without_keys(&self) -> impl Iterator<Item = &Name> {
        let hosts = self.catalog.hosts().map(|host| &host.record().name);
        hosts.filter(|name| {
            let state = self.desk.host(name).filter(|state| state.session.is_some());
            !state.is_some_and(|state| self.has_keys(name, state))
        })
    }

    fn has_keys(&self, host: &Name, state: &HostState) -> bool {
        let signs = self.keys.ring.as_ref().is_some_and(|it| it.stage != TagsStage::Off);
        (!signs || state.knows_tags())
            && self.outgoing.get(host).is_some_and(|outlet| !outlet.lacks_config)
            && state.vpcs.keys().all(|vni| {
                self.desk.position(host, *vni).is_some_and(|at| at >= self.keys.generation)
            })
    }
}

impl HostState {
    /// Whether its agent signs and checks tags.
    fn knows_tags(&self) -> bool {
        self.tags >= TAGS
    }
}
