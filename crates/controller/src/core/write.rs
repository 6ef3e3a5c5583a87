//! Writes: many requests are checked one after another, stored together, and answered together.

use super::Core;
use crate::access;
use crate::desk::Move;
use crate::engine::{Change, Effect, Outcome, Refusal, RefusalKind, Write, Written};
use crate::keyring::Keyring;
use crate::marks::{self, Mark};
use crate::planner::Due;
use crate::records;
use crate::refusal::refusal_of;
use crate::time::Time;
use mizar_identity::Identity;
use mizar_store::{Store, Transaction};
use mizar_vpc::catalog::{EndpointRecord, Mode, Record};
use mizar_vpc::manifest::Kind;
use mizar_vpc::{
    Changed, Generation, GenerationError, Manifest, NetworkId, Ref, SlotMap, Standing, Vni,
    VpcSlotMaps,
};
use std::collections::BTreeSet;
use std::time::Instant;
use tracing::{error, warn};

/// A write, and whoever asks for it.
pub type Request = (Identity, Write);

/// What a write, or a step of the planner, has done to the state, before it is stored.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) changes: Vec<Changed>,
    pub(super) maps: Vec<MapChange>,
    pub(super) marks: Vec<Mark>,
    /// The keys that are used from then on, if they are others.
    pub(super) keyring: Option<Keyring>,
    outcomes: Vec<Outcome>,
}

/// A slot map, or a VPC's dividers, that became another.
#[derive(Debug)]
pub(super) enum MapChange {
    SlotMap((Vni, NetworkId), Option<SlotMap>),
    Dividers(Vni, Option<VpcSlotMaps>),
}

impl Core {
    /// Makes writes; each as a whole or not at all, and all of them on disk on return.
    pub fn write(&mut self, requests: Vec<Request>, now: Time) -> Vec<Result<Written, Refusal>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut drafts = Vec::new();
        let mut next = self.generation;
        for (who, write) in requests {
            let Ok(at) = next_generation(next, &*self.store) else {
                answers.push(Err(Refusal::new(RefusalKind::Unavailable, "no revisions are left")));
                continue;
            };
            match self.draft(&who, &write, (at, now)) {
                Err(refusal) => answers.push(Err(refusal)),
                Ok(draft) if write.dry_run || draft.is_empty() => {
                    let outcomes = self.withdraw(draft);
                    answers.push(Ok(Written { resource_version: self.generation, outcomes }));
                }
                Ok(draft) => {
                    next = at;
                    drafts.push((answers.len(), at, draft));
                    answers.push(Err(Refusal::new(RefusalKind::Unavailable, "not stored")));
                }
            }
        }
        let places: Vec<_> = drafts.iter().map(|(place, ..)| *place).collect();
        let drafts = drafts.into_iter().map(|(_, at, draft)| (at, draft)).collect();
        for (place, stored) in places.into_iter().zip(self.store(drafts, now)) {
            answers[place] = stored;
        }
        for answer in &answers {
            self.metrics.written(answer.is_ok());
        }
        answers
    }

    /// Stores drafts together, and makes known what they changed; or withdraws them.
    pub(super) fn store(
        &mut self,
        drafts: Vec<(Generation, Draft)>,
        now: Time,
    ) -> Vec<Result<Written, Refusal>> {
        if drafts.is_empty() {
            return Vec::new();
        }
        let transactions: Vec<_> =
            drafts.iter().map(|(at, draft)| self.transaction(*at, draft)).collect();
        let begun = Instant::now();
        let result = self.store.commit(&transactions);
        self.metrics.committed(drafts.len(), begun.elapsed());
        let failed = match result {
            Ok(results) => results.into_iter().find_map(|it| it.err().map(|it| it.to_string())),
            Err(problem) => Some(problem.to_string()),
        };
        if let Some(problem) = failed {
            error!(problem, "nothing stored");
            let count = drafts.len();
            for (_, draft) in drafts.into_iter().rev() {
                self.withdraw(draft);
            }
            let detail = format!("nothing was changed: {problem}");
            let refusal = Refusal::new(RefusalKind::Unavailable, detail);
            return vec![Err(refusal); count];
        }
        let publish = |(at, draft)| Ok(self.publish(at, draft, now));
        drafts.into_iter().map(publish).collect()
    }

    /// Checks a write and makes its changes; not yet on disk, and nobody is told.
    fn draft(
        &mut self,
        who: &Identity,
        write: &Write,
        (at, now): (Generation, Time),
    ) -> Result<Draft, Refusal> {
        let mut draft = Draft::default();
        for (index, change) in write.changes.iter().enumerate() {
            let made = access::check_change(&self.catalog, who, change)
                .and_then(|()| self.change(change, at, &mut draft))
                .map_err(|refusal| refusal.of_change(index));
            if let Err(refusal) = made {
                self.withdraw(draft);
                return Err(refusal);
            }
        }
        self.plan_draft(&mut draft, now);
        Ok(draft)
    }

    fn change(
        &mut self,
        change: &Change,
        at: Generation,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let (manifest, mode) = match change {
            Change::Create(manifest) => (manifest, Mode::Create),
            Change::Replace(manifest) => (manifest, Mode::Replace),
            Change::Apply(manifest) => (manifest, Mode::Apply),
            Change::Delete { reference, cascade, resource_version } => {
                let gone = self.catalog.delete(reference, *cascade, *resource_version);
                for changed in gone.map_err(refusal_of)? {
                    self.note(changed, draft);
                }
                return Ok(());
            }
        };
        match self.catalog.apply(manifest, mode, at).map_err(refusal_of)? {
            Some(changed) => self.note(changed, draft),
            None => {
                let reference = manifest.reference();
                let same = self.manifest_of(&reference);
                let (before, after) = (same.clone(), same);
                let effect = Effect::Unchanged;
                draft.outcomes.push(Outcome { reference, effect, before, after });
            }
        }
        Ok(())
    }

    /// Notes a change that was made, and what it concerns.
    fn note(&mut self, changed: Changed, draft: &mut Draft) {
        let effect = match (&changed.before, &changed.after) {
            (None, _) => Effect::Created,
            (_, None) => Effect::Deleted,
            _ => Effect::Changed,
        };
        let manifest = |record: &Option<Record>| {
            record.as_ref().and_then(|record| self.manifest_of_record(&changed.reference, record))
        };
        let (before, after) = (manifest(&changed.before), manifest(&changed.after));
        let reference = changed.reference.clone();
        draft.outcomes.push(Outcome { reference, effect, before, after });
        match changed.after.as_ref().or(changed.before.as_ref()) {
            Some(Record::Endpoint(_)) => {
                draft.marks.extend(marks::of_endpoint(self.view(), &changed));
            }
            Some(Record::Vpc(it)) if changed.before.is_some() && changed.after.is_some() => {
                draft.marks.extend(marks::of_vpc(self.view(), it.vni));
            }
            _ => {}
        }
        draft.changes.push(changed);
    }

    /// Undoes what was never stored; what would have become of it.
    fn withdraw(&mut self, draft: Draft) -> Vec<Outcome> {
        for change in draft.maps.into_iter().rev() {
            match change {
                MapChange::SlotMap((vni, id), before) => self.set_map(vni, id, before),
                MapChange::Dividers(vni, before) => drop(self.set_dividers(vni, before)),
            }
        }
        for changed in draft.changes.into_iter().rev() {
            self.catalog.undo(changed);
        }
        draft.outcomes
    }

    /// What a draft writes to the store.
    fn transaction(&self, at: Generation, draft: &Draft) -> Transaction {
        let mut transaction = self.choices(at, draft);
        if let Some(ring) = &draft.keyring {
            transaction = transaction.put(records::KEYRING, records::keyring_value(ring));
        }
        for changed in &draft.changes {
            transaction = match (&changed.after, &changed.before) {
                (Some(after), _) => transaction.put(records::key(after), records::value(after)),
                (None, Some(before)) => transaction.delete(records::key(before)),
                (None, None) => transaction,
            };
        }
        for change in &draft.maps {
            transaction = match change {
                MapChange::SlotMap((vni, id), _) => {
                    let key = records::slot_map_key(*vni, *id);
                    match self.view().map(*vni, *id) {
                        Some(map) => transaction.put(key, records::slot_map_value(map)),
                        None => transaction.delete(key),
                    }
                }
                MapChange::Dividers(vni, _) => {
                    let key = records::dividers_key(*vni);
                    match self.maps.get(vni) {
                        Some(maps) => transaction.put(key, records::dividers_value(maps)),
                        None => transaction.delete(key),
                    }
                }
            };
        }
        transaction
    }

    /// What was chosen last, where a draft changes what that follows from otherwise. An endpoint
    /// that is new needs nothing: what is chosen next follows from it.
    fn choices(&self, at: Generation, draft: &Draft) -> Transaction {
        let (mut transaction, mut networks) = (Transaction::new(), BTreeSet::new());
        for changed in &draft.changes {
            match (&changed.before, &changed.after) {
                (None, Some(Record::Vpc(_))) | (Some(Record::Vpc(_)), None) => {
                    if let Some(last) = self.catalog.last_vni() {
                        let value = records::last_vni_value(last);
                        transaction = transaction.put(records::LAST_VNI, value);
                    }
                }
                (Some(Record::Network(it)), None) => drop(networks.insert((it.vni, it.id))),
                (Some(Record::Endpoint(before)), _) => {
                    let what = |it: &EndpointRecord| (it.generation, it.asked);
                    if changed.endpoint_after().map(what) != Some(what(before)) {
                        networks.insert((before.vni, before.network));
                    }
                }
                _ => {}
            }
        }
        for (vni, id) in networks {
            let key = records::chosen_key(vni, id);
            let network = self.catalog.vpc(vni).and_then(|vpc| vpc.network(id));
            transaction = match network {
                Some(it) => transaction.put(key, records::chosen_value(it.chosen(), at)),
                None => transaction.delete(key),
            };
        }
        transaction
    }

    /// Makes known what is on disk.
    fn publish(&mut self, at: Generation, draft: Draft, now: Time) -> Written {
        self.generation = at;
        for change in &draft.maps {
            let (due, epoch) = match change {
                MapChange::SlotMap((vni, id), _) => {
                    let map = self.view().map(*vni, *id);
                    (Due::Network(*vni, *id), map.map_or(0, SlotMap::epoch))
                }
                MapChange::Dividers(vni, _) => (Due::Dividers(*vni), 0),
            };
            self.planner.changed(due, epoch, at, now);
            self.planner.look_at(due);
        }
        self.digests.follow(&draft.changes);
        for changed in &draft.changes {
            self.follow(changed, now);
        }
        self.mark(draft.marks);
        if let Some(ring) = draft.keyring {
            self.set_keys(ring, at, now);
        }
        self.tell_watchers(&draft.changes, &draft.outcomes);
        for change in &draft.maps {
            match change {
                MapChange::SlotMap((vni, id), _) => self.tell_network(*vni, *id, now),
                MapChange::Dividers(vni, _) => self.look_at_young(*vni, now),
            }
        }
        Written { resource_version: at, outcomes: draft.outcomes }
    }

    /// What follows from a change beside rows.
    fn follow(&mut self, changed: &Changed, now: Time) {
        if let (Some(before), Some(after)) = (changed.endpoint_before(), changed.endpoint_after())
            && before.host != after.host
        {
            let how = if before.migrates_to(&after.host) {
                Move::Arrives { at: after.host.clone(), from: before.host.clone() }
            } else {
                Move::Leaves(before.host.clone())
            };
            self.desk.begin_move(after.vni, after.name.clone(), how);
        }
        match (&changed.before, &changed.after) {
            (before, Some(Record::Endpoint(it))) => {
                let was = before.as_ref().and_then(Record::as_endpoint).map(|it| it.generation);
                if was != Some(it.generation) {
                    self.timings.begin(it.vni, it.name.clone(), now);
                }
                self.look_at_size(it.vni, it.network);
            }
            (Some(Record::Endpoint(it)), None) => {
                self.desk.end_move(it.vni, &it.name);
                self.timings.forget(it.vni, &it.name);
                self.look_at_size(it.vni, it.network);
            }
            (before, Some(Record::Host(it))) => {
                // One that was never heard of may yet come.
                let is_new = self.desk.host(&it.name).is_none();
                let standing = if is_new { Standing::Alive } else { self.standing(&it.name, now) };
                if self.planner.set_host(it, standing) && before.is_some() {
                    self.planner.all_due(&self.catalog);
                } else if before.is_none() {
                    self.look_at_unplaced();
                }
            }
            (Some(Record::Host(it)), None) => {
                self.planner.remove_host(&it.name);
                self.desk.forget(&it.name);
                // Everything is due below.
                self.loads.forget(&it.name);
                self.outgoing.remove(&it.name);
                self.forget_sendings(&it.name);
                self.planner.all_due(&self.catalog);
            }
            (_, Some(Record::Fleet(_))) => self.send_configs(),
            (None, Some(Record::Network(it))) => self.is_made(it.vni, it.id),
            (Some(Record::Network(it)), None) => {
                self.is_unmade(it.vni, it.id);
                self.planner.gone(Due::Network(it.vni, it.id));
            }
            (Some(Record::Vpc(it)), None) => self.planner.gone(Due::Dividers(it.vni)),
            _ => {}
        }
    }

    /// Makes a network's slot map this one.
    pub(super) fn set_map(&mut self, vni: Vni, id: NetworkId, map: Option<SlotMap>) {
        let networks = &mut self.maps.entry(vni).or_default().networks;
        if let Some(map) = &map {
            self.roles.add_slot_map(vni, map);
        }
        let before = match map {
            Some(map) => networks.insert(id, map),
            None => networks.remove(&id),
        };
        if let Some(before) = before {
            self.roles.remove_slot_map(vni, &before);
        }
    }

    /// Makes a VPC's dividers these, whatever its networks; those before.
    pub(super) fn set_dividers(
        &mut self,
        vni: Vni,
        maps: Option<VpcSlotMaps>,
    ) -> Option<VpcSlotMaps> {
        let before = self.maps.remove(&vni);
        if let Some(before) = &before {
            self.roles.remove_dividers(vni, before);
        }
        if let Some(maps) = &maps {
            self.roles.add_dividers(vni, maps);
        }
        let networks = before.as_ref().map(|it| it.networks.clone()).unwrap_or_default();
        match maps {
            Some(maps) => drop(self.maps.insert(vni, VpcSlotMaps { networks, ..maps })),
            None if networks.is_empty() => {}
            None => drop(self.maps.insert(vni, VpcSlotMaps { networks, ..VpcSlotMaps::default() })),
        }
        before
    }

    fn manifest_of(&self, reference: &Ref) -> Option<Manifest> {
        self.catalog.record(reference).and_then(|record| self.catalog.manifest(&record))
    }

    /// The manifest of a record that may be gone, with what it was in.
    fn manifest_of_record(&self, reference: &Ref, record: &Record) -> Option<Manifest> {
        let manifest = self.catalog.manifest(record);
        if manifest.is_none() && reference.kind != Kind::SlotMap {
            warn!(%reference, "a resource without the VPC that it was in");
        }
        manifest
    }
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.maps.is_empty()
    }
}

/// The generation of the next transaction: the revision that it will have, unless others write to
/// the store at the same time; then it is called after an earlier one. Either way it is greater
/// than any before.
pub(super) fn next_generation(
    last: Generation,
    store: &dyn Store,
) -> Result<Generation, GenerationError> {
    let revision = store.revision().get().max(last.revision());
    Generation::new(last.epoch(), revision)?.next()
}
