//! A store in memory.

use crate::apply::{Rows, apply};
use crate::history::{History, HistoryLimits};
use crate::{Conflict, Entry, Page, Revision, Store, StoreError, Transaction, Visit, Watch};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A store in memory, for simulators and tests: it ends with the process.
#[derive(Debug)]
pub struct Memory {
    /// Shared with who reads: a commit in the middle of a scan works on a copy.
    state: Mutex<Arc<State>>,
    history: History,
}

type Values = BTreeMap<Arc<[u8]>, (Arc<[u8]>, Revision)>;

#[derive(Clone, Debug, Default)]
struct State {
    values: Values,
    revision: Revision,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::with_history(HistoryLimits::default())
    }

    /// An empty one that remembers so much.
    pub fn with_history(limits: HistoryLimits) -> Self {
        Self { state: Mutex::default(), history: History::new(limits, Revision::ZERO) }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for Memory {
    /// Always 1: there is nothing to restore it from.
    fn epoch(&self) -> u16 {
        1
    }

    fn revision(&self) -> Revision {
        self.history.revision()
    }

    fn commit(
        &self,
        transactions: &[Transaction],
    ) -> Result<Vec<Result<Revision, Conflict>>, StoreError> {
        let mut state = self.lock();
        let state = Arc::make_mut(&mut state);
        // Published before the lock is given up, so that nobody reads what is not yet history.
        let applied = apply(&mut state.values, transactions, state.revision)?;
        state.revision = applied.revision;
        Ok(self.history.publish(applied))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let state = self.lock();
        Ok(state
            .values
            .get_key_value(key)
            .map(|(key, (value, revision))| entry(key, value, *revision)))
    }

    fn range(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        let state = Arc::clone(&self.lock());
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = state
            .values
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let entries =
            found.by_ref().take(limit).map(|(key, (value, revision))| entry(key, value, *revision));
        let entries = entries.collect();
        Ok(Page { entries, revision: state.revision, more: found.next().is_some() })
    }

    fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<Revision, StoreError> {
        let state = Arc::clone(&self.lock());
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (key, (value, revision)) in state.values.range::<[u8], _>(from) {
            if !key.starts_with(prefix) {
                break;
            }
            visit(key, value, *revision);
        }
        Ok(state.revision)
    }

    fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError> {
        self.history.watch(prefix, from)
    }

    fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.history.compact(before);
        Ok(())
    }
}

impl Rows for Values {
    fn written_at(&self, key: &[u8]) -> Result<Option<Revision>, StoreError> {
        Ok(self.get(key).map(|(_, revision)| *revision))
    }

    fn put(&mut self, key: &[u8], value: &[u8], revision: Revision) -> Result<(), StoreError> {
        self.insert(key.into(), (value.into(), revision));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.remove(key).is_some())
    }
}

fn entry(key: &[u8], value: &[u8], revision: Revision) -> Entry {
    Entry { key: key.into(), value: value.into(), revision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Subject;

    struct InMemory(Arc<Memory>);

    impl Subject for InMemory {
        fn open(limits: HistoryLimits) -> Self {
            Self(Arc::new(Memory::with_history(limits)))
        }

        fn store(&self) -> Arc<dyn Store> {
            self.0.clone()
        }
    }

    crate::store_tests!(InMemory);
}
