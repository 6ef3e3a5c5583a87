//! What watches tell.

use super::{Subject, done, open, put, revision};
use crate::{Change, HistoryLimits, Revision, Store, StoreError, Transaction, Watch, WatchEnd};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Enough for every wait that ends, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs what waits for a watch.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it ends") })
}

fn next(watch: &mut Watch) -> Result<Arc<Change>, WatchEnd> {
    wait(watch.next())
}

/// What there is, as key and revision.
fn changes(watch: &mut Watch) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    while let Some(change) = watch.try_next().expect("the watch goes on") {
        let key = String::from_utf8(change.key.to_vec()).unwrap();
        found.push((key, change.revision.get()));
    }
    found
}

fn numbered(store: &dyn Store, count: u64) {
    for n in 0..count {
        done(store, put(format!("{n}"), "x"));
    }
}

fn limited<S: Subject>(changes: usize) -> (S, Arc<dyn Store>) {
    let subject = S::open(HistoryLimits { changes, ..HistoryLimits::default() });
    let store = subject.store();
    (subject, store)
}

/// From every revision that there was.
pub fn a_watch_from_the_past_misses_nothing<S: Subject>() {
    let (_subject, store) = open::<S>();
    store.commit(&[put("a", "1").put(b"b".as_slice(), b"1".as_slice()), put("c", "1")]).unwrap();
    done(&*store, Transaction::new().delete(b"a".as_slice()));
    let all = [("a", 1), ("b", 1), ("c", 2), ("a", 3)].map(|(key, at)| (key.to_owned(), at));
    for (from, skipped) in [(0, 0), (1, 2), (2, 3), (3, 4)] {
        let mut watch = store.watch(b"", revision(from)).unwrap();
        assert_eq!(changes(&mut watch), all[skipped..], "from {from}");
    }
    let mut watch = store.watch(b"", revision(1)).unwrap();
    assert_eq!(next(&mut watch).unwrap().value.as_deref(), Some(b"1".as_slice()));
    assert_eq!(next(&mut watch).unwrap().value, None);
    done(&*store, put("d", "1"));
    assert_eq!(next(&mut watch).unwrap().revision, revision(4));
}

/// Until another thread commits.
pub fn a_watch_from_the_present_waits<S: Subject>() {
    let (_subject, store) = open::<S>();
    let now = done(&*store, put("a", "1"));
    let mut watch = store.watch(b"", now).unwrap();
    assert_eq!(watch.try_next(), Ok(None));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| next(&mut watch));
        std::thread::sleep(Duration::from_millis(20));
        done(&*store, put("b", "1"));
        assert_eq!(*waiting.join().unwrap().unwrap().key, *b"b");
    });
}

/// Whatever else happens.
pub fn a_watch_sees_only_its_prefix<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"b/", Revision::ZERO).unwrap();
    for key in ["a", "b", "b/1", "b0", "b/2", "c"] {
        done(&*store, put(key, "x"));
    }
    assert_eq!(changes(&mut watch), [("b/1".to_owned(), 3), ("b/2".to_owned(), 5)]);
    let mut none = store.watch(b"x", Revision::ZERO).unwrap();
    assert_eq!(changes(&mut none), []);
    assert_eq!(none.seen(), revision(6));
}

/// No conflicts, and nothing that was not there to be deleted.
pub fn a_watch_sees_what_changed_and_no_more<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    let refused = put("a", "1").present(b"a".as_slice());
    let group = [refused, Transaction::new().delete(b"b".as_slice()), put("c", "1"), put("c", "1")];
    store.commit(&group).unwrap();
    assert_eq!(changes(&mut watch), [("c".to_owned(), 2), ("c".to_owned(), 3)]);
}

/// Whole transactions count, and those that changed nothing below the prefix.
pub fn a_watch_knows_how_far_it_has_seen<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"a", Revision::ZERO).unwrap();
    let (a1, a2) = (b"a1".as_slice(), b"a2".as_slice());
    store.commit(&[put("b", ""), put("a", "").put(a1, a1).put(a2, a2), put("b", "")]).unwrap();
    assert_eq!(watch.seen(), Revision::ZERO);
    for expected in [1, 1, 3] {
        watch.try_next().unwrap().expect("a change");
        assert_eq!(watch.seen(), revision(expected));
    }
    done(&*store, Transaction::new());
    assert_eq!(watch.try_next(), Ok(None));
    assert_eq!(watch.seen(), revision(4));
    assert!(store.watch(b"a", watch.seen()).is_ok());
}

/// It would wait for a history that is not this store's.
pub fn a_watch_from_the_future_is_refused<S: Subject>() {
    let (_subject, store) = open::<S>();
    let last = done(&*store, put("a", ""));
    let error = store.watch(b"", revision(2)).unwrap_err();
    assert!(
        matches!(error, StoreError::Ahead { from, last: l } if from == revision(2) && l == last)
    );
}

/// By limit and by request; the error says from where it can.
pub fn a_compacted_past_cannot_be_watched<S: Subject>() {
    let oldest_of = |store: &dyn Store, from| match store.watch(b"", revision(from)) {
        Err(StoreError::Compacted { oldest }) => Some(oldest.get()),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    };
    let (_subject, store) = limited::<S>(4);
    numbered(&*store, 10);
    assert_eq!(oldest_of(&*store, 5), Some(6));
    assert_eq!(changes(&mut store.watch(b"", revision(6)).unwrap()).len(), 4);
    store.compact(revision(9)).unwrap();
    assert_eq!(oldest_of(&*store, 7), Some(8));
    assert_eq!(changes(&mut store.watch(b"", revision(8)).unwrap()).len(), 2);
    // What is forgotten is forgotten, and what is yet to come cannot be.
    store.compact(revision(3)).unwrap();
    assert_eq!(oldest_of(&*store, 7), Some(8));
    store.compact(Revision::MAX).unwrap();
    assert_eq!(oldest_of(&*store, 9), Some(10));
    assert_eq!(oldest_of(&*store, 10), None);
    numbered(&*store, 2);
    assert_eq!(changes(&mut store.watch(b"", revision(10)).unwrap()).len(), 2);
    // A transaction is remembered as a whole.
    let (_subject, store) = limited::<S>(3);
    done(&*store, put("a", "").put(b"b".as_slice(), b"".as_slice()));
    done(&*store, put("c", "").put(b"d".as_slice(), b"".as_slice()));
    assert_eq!(oldest_of(&*store, 0), Some(1));
}

/// What they miss cannot be told any more.
pub fn compaction_ends_watches_that_have_not_read<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    numbered(&*store, 5);
    store.compact(revision(4)).unwrap();
    let lagged = WatchEnd::Lagged { oldest: revision(3) };
    assert_eq!(next(&mut watch), Err(lagged));
    assert_eq!(watch.try_next(), Err(lagged), "it says so again");
}

/// Present values, and watches that are up to date.
pub fn compaction_spares_who_has_read_and_what_is_there<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    numbered(&*store, 5);
    assert_eq!(changes(&mut watch).len(), 5);
    store.compact(revision(6)).unwrap();
    assert_eq!(watch.try_next(), Ok(None));
    numbered(&*store, 1);
    assert_eq!(changes(&mut watch), [("0".to_owned(), 6)]);
    assert_eq!(super::all(&*store, b"").len(), 5);
}

/// While one that reads in time sees everything.
pub fn a_slow_watcher_is_ended_and_holds_nobody_back<S: Subject>() {
    let (_subject, store) = limited::<S>(16);
    let mut slow = store.watch(b"", Revision::ZERO).unwrap();
    let mut elsewhere = store.watch(b"x", Revision::ZERO).unwrap();
    let mut quick = store.watch(b"", Revision::ZERO).unwrap();
    numbered(&*store, 16);
    assert_eq!(changes(&mut quick).len(), 16);
    assert!(next(&mut slow).is_ok());
    numbered(&*store, 16);
    assert_eq!(changes(&mut quick).len(), 16);
    // It had looked at sixteen, and may still return those; then it must not skip any.
    numbered(&*store, 1);
    let read = std::iter::from_fn(|| next(&mut slow).ok()).count();
    assert_eq!(read, 15);
    assert_eq!(next(&mut slow), Err(WatchEnd::Lagged { oldest: revision(17) }));
    assert_eq!(next(&mut elsewhere), Err(WatchEnd::Lagged { oldest: revision(17) }));
    assert_eq!(changes(&mut quick), [("0".to_owned(), 33)]);
}

/// However few changes that are.
pub fn history_is_bounded_in_bytes<S: Subject>() {
    let subject = S::open(HistoryLimits { changes: 1000, bytes: 10_000 });
    let store = subject.store();
    for n in 0..10 {
        done(&*store, put(format!("{n}"), vec![0; 3_000]));
    }
    assert!(store.watch(b"", revision(7)).is_ok());
    assert!(store.watch(b"", revision(6)).is_err());
}

/// Everybody has to read anew then; nobody is told half of it.
pub fn a_group_larger_than_history_ends_watches<S: Subject>() {
    let (_subject, store) = limited::<S>(8);
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    let group: Vec<_> = (0..9).map(|n| put(format!("{n}"), "")).collect();
    store.commit(&group).unwrap();
    assert_eq!(next(&mut watch), Err(WatchEnd::Lagged { oldest: revision(1) }));
    assert_eq!(changes(&mut store.watch(b"", revision(1)).unwrap()).len(), 8);
}

/// After everything that it has to tell.
pub fn a_watch_ends_with_its_store<S: Subject>() {
    let (subject, store) = open::<S>();
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    numbered(&*store, 2);
    drop((subject, store));
    assert!(next(&mut watch).is_ok() && next(&mut watch).is_ok());
    assert_eq!(next(&mut watch), Err(WatchEnd::Closed));
}

/// As in a `select!` that goes another way.
pub fn a_cancelled_wait_loses_nothing<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    for n in 0..3 {
        {
            let waiting = pin!(watch.next());
            let polled = waiting.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
        }
        done(&*store, put(format!("{n}"), ""));
        assert_eq!(next(&mut watch).unwrap().revision, revision(n + 1));
    }
}
