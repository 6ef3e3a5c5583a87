//! How far one host has come in one VPC.

use super::RowState;
use mizar_proto::Applied;
use mizar_vpc::{Generation, RowKey};
use std::collections::{BTreeMap, BTreeSet};

/// Most keys that are remembered one by one; beyond, everything is sent.
const MOST_KEYS: usize = 65_536;

/// Rows by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// These.
    Some(BTreeSet<RowKey>),
    /// All, those that the host has and should not have included.
    All,
}

/// What is sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Where the host stands; None: anywhere, since it is sent everything.
    pub(crate) base: Option<Generation>,
    /// Where it stands then.
    pub(crate) generation: Generation,
    /// The rows.
    pub(crate) keys: Keys,
    /// Those of them that have to wait.
    pub(crate) except: BTreeSet<RowKey>,
    /// These are all, for a host that had them before.
    pub(crate) is_resync: bool,
}

/// How far one host has come in one VPC.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What it has acknowledged last.
    pub(crate) at: Option<Generation>,
    /// What was sent and not acknowledged.
    flying: Option<(Generation, Keys)>,
    /// That takes everything of the VPC away.
    removes: bool,
    /// It has never been told anything of the VPC: what it is told first is for what comes to it.
    is_fresh: bool,
    /// Where it said that it stood when its stream began, if that was of no use.
    said: Option<Generation>,
    /// What was not sent, or has changed since.
    pub(super) dirty: Dirty,
    /// Rows that the host has as far as anybody waits for them, though they became others.
    amended: BTreeSet<RowKey>,
    /// What it could not do, by row; for the update as a whole under no row.
    pub(crate) errors: BTreeMap<RowKey, String>,
    /// Why it refused what it was sent.
    pub(crate) refusal: Option<String>,
}

/// Rows to be sent.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    keys: BTreeSet<RowKey>,
    all: bool,
    /// Something apart from rows.
    frame: bool,
}

impl Progress {
    /// A host that stands there and misses nothing.
    pub(super) fn standing(at: Generation) -> Self {
        Self { at: Some(at), ..Self::default() }
    }

    /// A host of which nothing is known but where it says that it stands: it gets everything.
    pub(super) fn lost(said: Option<Generation>) -> Self {
        let dirty = Dirty { all: true, ..Dirty::default() };
        Self { dirty, said, ..Self::default() }
    }

    /// A host that has nothing of the VPC.
    pub(super) fn untold() -> Self {
        Self { is_fresh: true, ..Self::lost(None) }
    }

    /// Whether the host may go on where it says it stands.
    pub(super) fn resumes_at(&self, generation: Generation) -> bool {
        let flew = self.flying.as_ref().is_some_and(|(flying, _)| *flying == generation);
        self.at == Some(generation) || flew && self.said != Some(generation)
    }

    /// The host goes on there.
    pub(super) fn resume(&mut self, at: Generation) {
        let has_all = self.at != Some(at) && matches!(self.flying, Some((_, Keys::All)));
        if has_all {
            // It says what it could not do when it is told something again.
            self.flying = None;
            self.dirty.touch();
        }
        self.at = Some(at);
        self.reopen();
    }

    /// What was under way when a stream ended has to be sent again.
    pub(super) fn reopen(&mut self) {
        match self.flying.take() {
            Some((_, Keys::Some(keys))) => {
                keys.into_iter().for_each(|key| self.dirty.insert(key));
                // What it said apart from rows may have been lost with it.
                self.dirty.touch();
            }
            Some((_, Keys::All)) => self.dirty.all = true,
            None => {}
        }
    }

    /// A row became another.
    pub(super) fn mark(&mut self, key: RowKey) {
        self.amended.remove(&key);
        self.dirty.insert(key);
    }

    /// A row became another, in what nobody waits for.
    pub(super) fn amend(&mut self, key: RowKey) {
        if self.row(&key) == RowState::There {
            self.amended.insert(key.clone());
        }
        self.dirty.insert(key);
    }

    pub(super) fn send(
        &mut self,
        after: impl FnOnce(Option<Generation>) -> Generation,
        waits: impl Fn(&RowKey) -> bool,
    ) -> Option<Sent> {
        if self.flying.is_some() || self.dirty.is_empty() {
            return None;
        }
        let whole = self.is_whole();
        let (except, ready): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.dirty.keys).into_iter().partition(waits);
        let frame = std::mem::take(&mut self.dirty.frame);
        let is_resync = whole && !self.is_fresh;
        self.dirty = Dirty { keys: except.clone(), ..Dirty::default() };
        if !whole && !frame && ready.is_empty() {
            return None;
        }
        let (keys, base) = if whole { (Keys::All, None) } else { (Keys::Some(ready), self.at) };
        let generation = after(self.at.or(self.said));
        self.flying = Some((generation, keys.clone()));
        (self.removes, self.is_fresh) = (false, false);
        Some(Sent { base, generation, keys, except, is_resync })
    }

    /// Whether what is sent next is everything, for a host that had it before: that can wait.
    pub(super) fn has_to_resync(&self) -> bool {
        self.flying.is_none() && !self.dirty.is_empty() && self.is_whole() && !self.is_fresh
    }

    /// What became another since what is under way was begun: it goes with it, so that the host
    /// ends with what is so at the end. None: there is too much of it.
    pub(super) fn late(&mut self, waits: impl Fn(&RowKey) -> bool) -> Option<BTreeSet<RowKey>> {
        if self.dirty.all {
            return None;
        }
        let (except, ready): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.dirty.keys).into_iter().partition(waits);
        self.dirty.keys = except;
        if let Some((_, Keys::Some(keys))) = &mut self.flying {
            keys.extend(ready.iter().cloned());
        }
        Some(ready)
    }

    /// What is under way will never be sent to its end: everything is sent instead.
    pub(super) fn abandon(&mut self) {
        self.flying = None;
        self.dirty.all = true;
    }

    fn is_whole(&self) -> bool {
        self.dirty.all || self.at.is_none()
    }

    /// What is under way takes everything away: there is nothing to go on from then.
    pub(super) fn remove(&mut self) {
        self.removes = true;
    }

    pub(super) fn acknowledge(
        &mut self,
        generation: Generation,
        applied: &Applied,
    ) -> Option<Keys> {
        self.errors =
            applied.errors.iter().map(|error| (error.row.clone(), error.reason.clone())).collect();
        let (_, keys) = self.flying.take_if(|(flying, _)| *flying == generation)?;
        self.amended.retain(|key| self.dirty.keys.contains(key));
        self.at = Some(generation).filter(|_| !self.removes);
        self.dirty.all |= self.removes && !self.dirty.is_empty();
        self.refusal = None;
        Some(keys)
    }

    /// Whether that was under way.
    pub(super) fn refuse(&mut self, generation: Generation, reason: String) -> bool {
        let Some((_, keys)) = self.flying.take_if(|(flying, _)| *flying == generation) else {
            return false;
        };
        // After everything there is nothing better to send: it waits for the next change.
        self.dirty.all = keys != Keys::All;
        self.at = None;
        self.refusal = Some(reason);
        true
    }

    pub(super) fn row(&self, key: &RowKey) -> RowState {
        if let Some(reason) = self.refusal.as_ref().or_else(|| self.errors.get(key)) {
            return RowState::Failed(reason.clone());
        }
        let is_in = |keys: &BTreeSet<RowKey>| keys.contains(key) && !self.amended.contains(key);
        let in_flight = match &self.flying {
            Some((_, Keys::All)) => true,
            Some((_, Keys::Some(keys))) => is_in(keys),
            None => false,
        };
        if in_flight || self.dirty.all || is_in(&self.dirty.keys) || self.at.is_none() {
            return RowState::Missing;
        }
        RowState::There
    }

    /// Whether nothing is to be sent or under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.flying.is_none() && self.dirty.is_empty()
    }
}

impl Dirty {
    pub(super) fn insert(&mut self, key: RowKey) {
        // Which rows wait for another host has to be known even if all are sent.
        if self.all && !matches!(key, RowKey::Port(_)) {
            return;
        }
        self.keys.insert(key);
        if self.keys.len() > MOST_KEYS {
            *self = Self { all: true, ..Self::default() };
        }
    }

    pub(super) fn touch(&mut self) {
        self.frame = true;
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all && !self.frame
    }
}
