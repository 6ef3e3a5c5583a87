//! What outlives closing a store.

use super::{Subject, all, commit, done, open, put, revision};
use crate::{Revision, StoreError, Transaction};

/// Values, revisions and the epoch.
pub fn what_is_committed_outlives_closing<S: Subject>() {
    let (mut subject, store) = open::<S>();
    let epoch = store.epoch();
    store.commit(&[put("a", "1"), put("b", "2"), put("a", "3")]).unwrap();
    done(&*store, Transaction::new());
    let before = all(&*store, b"");
    drop(store);
    for round in 0..3 {
        if !subject.reopen() {
            return;
        }
        let store = subject.store();
        assert_eq!((store.epoch(), store.revision()), (epoch, revision(4 + round)));
        assert_eq!(all(&*store, b"")[..2], before[..]);
        assert!(commit(&*store, put("a", "").at(b"a".as_slice(), revision(9))).is_err());
        assert_eq!(done(&*store, put(format!("c{round}"), "")), revision(5 + round));
    }
}

/// At the present revision: a watch that resumes from it misses nothing, one from before is told.
pub fn history_begins_anew_after_reopening<S: Subject>() {
    let (mut subject, store) = open::<S>();
    let last = done(&*store, put("a", "1"));
    drop(store);
    if !subject.reopen() {
        return;
    }
    let store = subject.store();
    let error = store.watch(b"", Revision::ZERO).unwrap_err();
    assert!(matches!(error, StoreError::Compacted { oldest } if oldest == last), "{error}");
    let mut watch = store.watch(b"", last).unwrap();
    let next = done(&*store, put("b", "1"));
    assert_eq!(watch.try_next().unwrap().unwrap().revision, next);
}
