//! Random lives of a store, against a model.

use super::disk::{Aftermath, Fault, TestDisk};
use crate::{Redb, Requirement, Revision, Store, Transaction, Watch, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Values = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// What a store should be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    values: Values,
    revision: u64,
}

/// An event of a store's life.
#[derive(Clone, Debug)]
enum Event {
    Commit(Vec<Intent>),
    Reopen,
    /// The power goes so many operations later, and leaves what the second number chooses.
    Crash(u64, u64),
    /// The next commit finds the disk in this state.
    Fault(bool),
    Compact(u64),
    Page(Vec<u8>, Option<Vec<u8>>, usize),
}

/// A transaction, whose revisions are yet to be chosen.
#[derive(Clone, Debug)]
struct Intent {
    requires: Vec<(Vec<u8>, u8)>,
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Model {
    /// What `At` means in a transaction: often what is, sometimes not.
    fn transaction(&self, intent: &Intent) -> Transaction {
        let requires = intent.requires.iter().map(|(key, kind)| {
            let at = self.values.get(key).map_or(1, |(_, at)| *at);
            let key = key.as_slice().into();
            match kind % 4 {
                0 => Requirement::Absent(key),
                1 => Requirement::Present(key),
                2 => Requirement::At(key, Revision::new(at).unwrap()),
                _ => Requirement::At(key, Revision::new(at + 1).unwrap()),
            }
        });
        let writes = intent.writes.iter().map(|(key, value)| {
            let key = key.as_slice().into();
            match value {
                Some(value) => Write::Put { key, value: value.as_slice().into() },
                None => Write::Delete { key },
            }
        });
        Transaction { requires: requires.collect(), writes: writes.collect() }
    }

    fn commit(&mut self, transactions: &[Transaction]) -> Vec<Option<u64>> {
        transactions.iter().map(|transaction| self.apply(transaction)).collect()
    }

    fn apply(&mut self, transaction: &Transaction) -> Option<u64> {
        let holds = |required: &Requirement| {
            let found = self.values.get(required.key()).map(|(_, at)| *at);
            match required {
                Requirement::Absent(_) => found.is_none(),
                Requirement::Present(_) => found.is_some(),
                Requirement::At(_, at) => found == Some(at.get()),
            }
        };
        if !transaction.requires.iter().all(holds) {
            return None;
        }
        self.revision += 1;
        for write in &transaction.writes {
            match write {
                Write::Put { key, value } => {
                    self.values.insert(key.to_vec(), (value.to_vec(), self.revision));
                }
                Write::Delete { key } => drop(self.values.remove(&**key)),
            }
        }
        Some(self.revision)
    }

    fn of(store: &Redb) -> Self {
        let mut values = Values::new();
        let visit = &mut |key: &[u8], value: &[u8], at: Revision| {
            values.insert(key.to_vec(), (value.to_vec(), at.get()));
        };
        let revision = store.scan(b"", visit).unwrap().get();
        Self { values, revision }
    }
}

/// A store, what it should be, and what a watch has told of it.
struct Life {
    disk: TestDisk,
    store: Option<Redb>,
    model: Model,
    told: Values,
    watch: Watch,
    /// Chooses what the next crash leaves.
    left: u64,
}

impl Life {
    fn new() -> Self {
        let disk = TestDisk::with_store();
        let store = disk.open().unwrap();
        let watch = store.watch(b"", Revision::ZERO).unwrap();
        let (model, told) = (Model::default(), Values::new());
        Self { disk, store: Some(store), model, told, watch, left: 0 }
    }

    fn store(&self) -> &Redb {
        self.store.as_ref().unwrap()
    }

    fn live(&mut self, event: &Event) {
        match event {
            Event::Commit(intents) => self.commit(intents),
            Event::Reopen => self.reopen(),
            Event::Crash(after, left) => {
                self.disk.stop_at(self.disk.operations() + after);
                self.left = *left;
            }
            Event::Fault(full) => {
                self.disk.set_fault(Some(if *full { Fault::Full } else { Fault::Flush }));
            }
            Event::Compact(before) => {
                self.listen();
                self.store().compact(Revision::new(*before).unwrap()).unwrap();
            }
            Event::Page(prefix, after, limit) => self.page(prefix, after.as_deref(), *limit),
        }
    }

    fn commit(&mut self, intents: &[Intent]) {
        let group: Vec<_> = intents.iter().map(|i| self.model.transaction(i)).collect();
        let mut next = self.model.clone();
        let expected = next.commit(&group);
        let outcomes = match self.store().commit(&group) {
            Ok(outcomes) => outcomes,
            Err(_) if self.disk.is_stopped() => return self.recover(&next),
            Err(error) => {
                // Once more, on a disk that works.
                self.disk.set_fault(None);
                match self.store().commit(&group) {
                    Ok(outcomes) => outcomes,
                    Err(_) if self.disk.is_stopped() => return self.recover(&next),
                    Err(again) => panic!("{error}, then {again}"),
                }
            }
        };
        let outcomes: Vec<_> = outcomes.into_iter().map(|o| o.ok().map(Revision::get)).collect();
        assert_eq!(outcomes, expected);
        self.model = next;
        self.listen();
    }

    /// Takes what is there after a crash, in the middle of what would have made it `next`.
    fn recover(&mut self, next: &Model) {
        let chosen = usize::try_from(self.left % 13).unwrap();
        let aftermath = Aftermath::ALL.get(chosen).copied();
        let aftermath = aftermath.unwrap_or(Aftermath::Some(self.left));
        drop(self.store.take());
        self.disk = self.disk.after(aftermath);
        let store = self.disk.open().unwrap();
        let found = Model::of(&store);
        assert!(found == self.model || found == *next, "{aftermath:?}");
        self.settle(store, found);
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        let opened = self.disk.open().or_else(|_| {
            self.disk.set_fault(None);
            self.disk.open()
        });
        match opened {
            Ok(store) => self.settle(store, self.model.clone()),
            Err(_) if self.disk.is_stopped() => self.recover(&self.model.clone()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Goes on with a store that was opened.
    fn settle(&mut self, store: Redb, model: Model) {
        assert_eq!(Model::of(&store), model);
        self.watch = store.watch(b"", Revision::new(model.revision).unwrap()).unwrap();
        self.told = model.values.clone();
        self.model = model;
        self.store = Some(store);
    }

    /// Does what the watch tells; it ends with what is there.
    fn listen(&mut self) {
        while let Some(change) = self.watch.try_next().unwrap() {
            match &change.value {
                Some(value) => {
                    let value = (value.to_vec(), change.revision.get());
                    self.told.insert(change.key.to_vec(), value);
                }
                None => assert!(self.told.remove(&*change.key).is_some()),
            }
        }
        assert_eq!(self.told, self.model.values);
        assert_eq!(self.watch.seen().get(), self.model.revision);
    }

    fn page(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) {
        if self.disk.is_stopped() {
            return;
        }
        let page = self.store().range(prefix, after, limit).unwrap();
        let mut expected = self.model.values.iter().filter(|(key, _)| {
            key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after)
        });
        let found =
            page.entries.iter().map(|e| (e.key.to_vec(), (e.value.to_vec(), e.revision.get())));
        let wanted: Vec<_> =
            expected.by_ref().take(limit).map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(found.collect::<Vec<_>>(), wanted);
        assert_eq!(page.more, expected.next().is_some());
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..4),
        1 => vec(any::<u8>(), 0..40),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..200),
        1 => (any::<u8>(), 1_000_usize..20_000).prop_map(|(byte, size)| vec![byte; size]),
    ]
}

fn intent() -> impl Strategy<Value = Intent> {
    let requires = vec((key(), any::<u8>()), 0..2);
    let writes = vec((key(), proptest::option::weighted(0.7, value())), 0..4);
    (requires, writes).prop_map(|(requires, writes)| Intent { requires, writes })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => vec(intent(), 0..6).prop_map(Event::Commit),
        1 => Just(Event::Reopen),
        2 => (0_u64..30, any::<u64>()).prop_map(|(after, seed)| Event::Crash(after, seed)),
        1 => any::<bool>().prop_map(Event::Fault),
        1 => (0_u64..60).prop_map(Event::Compact),
        2 => (key(), proptest::option::of(key()), 0_usize..5)
            .prop_map(|(prefix, after, limit)| Event::Page(prefix, after, limit)),
    ]
}

proptest! {
    #[test]
    fn a_store_lives_as_its_model(events in vec(event(), 1..40)) {
        let mut life = Life::new();
        for event in &events {
            life.live(event);
        }
    }
}
