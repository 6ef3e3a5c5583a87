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
    /// What the controller's time is at its beginning, since 1970.
    began: Duration,
}

impl Keys {
    /// As they were stored.
    pub(super) fn new(ring: Option<Keyring>, generation: Generation, now: Time) -> Self {
        Self { ring, generation, told: now, began: Duration::ZERO }
    }

    /// The keys of a VPC; None: nothing is signed.
    pub(super) fn of_vpc(&self, vni: Vni) -> Option<TagKeys> {
        self.ring.as_ref()?.keys(vni.get())
    }

    /// Those of the fleet.
    pub(super) fn of_fleet(&self) -> Option<TagKeys> {
        self.ring.as_ref()?.keys(0)
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
        let waiting = self.without_keys().take(NAMED).map(|(name, _)| name.clone()).collect();
        TagsStatus { epoch: ring.epoch, stage: ring.stage, waiting }
    }

    fn next_ring(&self, now: Time) -> Option<Keyring> {
        let (ring, fleet) = (self.keys.ring.as_ref()?, self.catalog.fleet()?);
        let next = ring.next(&fleet.spec.tags, self.keys.since_1970(now));
        let next = next.inspect_err(|problem| error!(%problem, "keys do not turn")).ok()??;
        let is_late = now.since(self.keys.told) >= PATIENCE;
        let waits = |(_, state): (&Name, Option<&HostState>)| {
            // Those of which it would be required to sign must know how.
            let cannot = next.requires(ring) && state.is_some_and(|it| !it.knows_tags());
            cannot || !is_late
        };
        (!self.without_keys().any(waits)).then_some(next)
    }

    /// The hosts that have not taken the last step, with what is known of their streams.
    fn without_keys(&self) -> impl Iterator<Item = (&Name, Option<&HostState>)> {
        let hosts = self.catalog.hosts().map(|host| &host.record().name);
        let hosts = hosts.map(|name| {
            let state = self.desk.host(name).filter(|state| state.session.is_some());
            (name, state)
        });
        hosts.filter(|(name, state)| !state.is_some_and(|state| self.has_keys(name, state)))
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
