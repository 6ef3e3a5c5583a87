//! What transactions do.

use super::{Subject, all, commit, done, open, put, revision, value};
use crate::{Conflict, Entry, Requirement, Revision, Transaction};

/// Nothing is there, and nothing has happened.
pub fn a_new_store_is_empty<S: Subject>() {
    let (_subject, store) = open::<S>();
    assert_eq!(store.revision(), Revision::ZERO);
    assert!(store.epoch() >= 1);
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.scan(b"", &mut |_, _, _| panic!("an entry")).unwrap(), Revision::ZERO);
    let page = store.range(b"", None, 10).unwrap();
    assert!(page.entries.is_empty() && !page.more && page.revision == Revision::ZERO);
}

/// Values, their revisions, overwriting, deleting.
pub fn what_is_written_is_read<S: Subject>() {
    let (_subject, store) = open::<S>();
    assert_eq!(done(&*store, put("a", "1")), revision(1));
    assert_eq!(done(&*store, put("b", "2").put(b"c".as_slice(), b"3".as_slice())), revision(2));
    assert_eq!(done(&*store, put("a", "4")), revision(3));
    assert_eq!(store.revision(), revision(3));
    let entry =
        Entry { key: b"a".as_slice().into(), value: b"4".as_slice().into(), revision: revision(3) };
    assert_eq!(store.get(b"a").unwrap(), Some(entry));
    assert_eq!(store.get(b"c").unwrap().unwrap().revision, revision(2));
    assert_eq!(done(&*store, Transaction::new().delete(b"a".as_slice())), revision(4));
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(value(&*store, b"b").unwrap(), b"2");
}

/// Each kind of requirement, and what its conflict says.
pub fn a_requirement_that_fails_changes_nothing<S: Subject>() {
    let (_subject, store) = open::<S>();
    let at = done(&*store, put("a", "1"));
    let (a, b) = (Box::from(b"a".as_slice()), Box::from(b"b".as_slice()));
    let cases = [
        (Requirement::Absent(a), Some(at)),
        (Requirement::Present(Box::clone(&b)), None),
        (Requirement::At(Box::clone(&b), at), None),
        (Requirement::At(b"a".as_slice().into(), revision(9)), Some(at)),
    ];
    for (required, found) in cases {
        let mut transaction = put("a", "2").put(b"b".as_slice(), b"2".as_slice());
        transaction.requires.push(required.clone());
        assert_eq!(commit(&*store, transaction), Err(Conflict { required, found }));
    }
    assert_eq!(all(&*store, b""), [(b"a".to_vec(), b"1".to_vec(), 1)]);
    assert_eq!(store.revision(), at);
    done(&*store, put("b", "2").absent(b).present(b"a".as_slice()).at(b"a".as_slice(), at));
}

/// A transaction's own writes do not satisfy its requirements.
pub fn requirements_are_about_what_was_before<S: Subject>() {
    let (_subject, store) = open::<S>();
    assert!(commit(&*store, put("a", "1").present(b"a".as_slice())).is_err());
    done(&*store, put("a", "1").absent(b"a".as_slice()));
    done(&*store, Transaction::new().delete(b"a".as_slice()).present(b"a".as_slice()));
}

/// The first that fails is named, wherever it stands.
pub fn every_requirement_counts<S: Subject>() {
    let (_subject, store) = open::<S>();
    done(&*store, put("a", "1"));
    let transaction = put("c", "1")
        .present(b"a".as_slice())
        .absent(b"b".as_slice())
        .present(b"x".as_slice())
        .present(b"y".as_slice());
    let conflict = commit(&*store, transaction).unwrap_err();
    assert_eq!(conflict.required, Requirement::Present(b"x".as_slice().into()));
}

/// Of two who read the same, the second conflicts, and can try again.
pub fn compare_and_swap_lets_one_win<S: Subject>() {
    let (_subject, store) = open::<S>();
    let first = done(&*store, put("a", "1"));
    let second = done(&*store, put("a", "2").at(b"a".as_slice(), first));
    let conflict = commit(&*store, put("a", "3").at(b"a".as_slice(), first)).unwrap_err();
    assert_eq!(conflict.found, Some(second));
    done(&*store, put("a", "3").at(b"a".as_slice(), second));
    assert_eq!(value(&*store, b"a").unwrap(), b"3");
}

/// Requirements may be of revisions in the same group.
pub fn each_transaction_of_a_group_sees_the_earlier_ones<S: Subject>() {
    let (_subject, store) = open::<S>();
    let a = b"a".as_slice();
    let group = [
        put("a", "1").absent(a),
        put("a", "2").at(a, revision(1)),
        put("a", "3").absent(a),
        Transaction::new().delete(a).at(a, revision(2)),
        put("a", "4").absent(a),
    ];
    let outcomes = store.commit(&group).unwrap();
    let revisions: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().ok()).collect();
    let expected =
        [Some(&revision(1)), Some(&revision(2)), None, Some(&revision(3)), Some(&revision(4))];
    assert_eq!(revisions, expected);
    assert_eq!(outcomes[2].as_ref().unwrap_err().found, Some(revision(2)));
    assert_eq!(all(&*store, b""), [(b"a".to_vec(), b"4".to_vec(), 4)]);
}

/// Revisions have no gaps, and a group of conflicts has none.
pub fn conflicts_within_a_group_use_no_revision<S: Subject>() {
    let (_subject, store) = open::<S>();
    let refused = || put("x", "").present(b"missing".as_slice());
    let outcomes = store.commit(&[refused(), put("a", "1"), refused(), put("b", "2")]).unwrap();
    assert_eq!(outcomes[1], Ok(revision(1)));
    assert_eq!(outcomes[3], Ok(revision(2)));
    assert!(outcomes[0].is_err() && outcomes[2].is_err());
    assert!(store.commit(&[refused(), refused()]).unwrap().iter().all(Result::is_err));
    assert_eq!(store.revision(), revision(2));
    assert_eq!(store.get(b"x").unwrap(), None);
    assert_eq!(done(&*store, put("c", "3")), revision(3));
}

/// A key changes once in a transaction.
pub fn the_last_write_of_a_key_counts<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut watch = store.watch(b"", Revision::ZERO).unwrap();
    let (a, b) = (b"a".as_slice(), b"b".as_slice());
    done(&*store, put("a", "1").delete(a).put(b, a).put(a, b"2".as_slice()));
    done(&*store, put("a", "3").delete(a).put(b"c".as_slice(), b).delete(b"c".as_slice()));
    assert_eq!(all(&*store, b""), [(b"b".to_vec(), b"a".to_vec(), 1)]);
    let mut changes = Vec::new();
    while let Some(change) = watch.try_next().unwrap() {
        changes.push((change.key.to_vec(), change.value.is_some(), change.revision.get()));
    }
    assert_eq!(
        changes,
        [(b"b".to_vec(), true, 1), (b"a".to_vec(), true, 1), (b"a".to_vec(), false, 2)]
    );
}

/// Empty ones, and those that delete what is not there.
pub fn transactions_without_effect_have_revisions<S: Subject>() {
    let (_subject, store) = open::<S>();
    assert_eq!(done(&*store, Transaction::new()), revision(1));
    assert_eq!(done(&*store, Transaction::new().delete(b"a".as_slice())), revision(2));
    assert_eq!(done(&*store, Transaction::new().absent(b"a".as_slice())), revision(3));
    assert!(commit(&*store, Transaction::new().present(b"a".as_slice())).is_err());
    assert_eq!(store.revision(), revision(3));
}

/// An empty group is nothing.
pub fn no_transactions_are_no_commit<S: Subject>() {
    let (_subject, store) = open::<S>();
    assert_eq!(store.commit(&[]).unwrap(), []);
    assert_eq!(store.revision(), Revision::ZERO);
}

/// The empty key is a key, the first of all; an empty value is one.
pub fn keys_and_values_may_be_empty<S: Subject>() {
    let (_subject, store) = open::<S>();
    done(&*store, put("", "").put(b"\0".as_slice(), b"".as_slice()));
    assert_eq!(value(&*store, b""), Some(Vec::new()));
    assert_eq!(all(&*store, b"").len(), 2);
    assert!(commit(&*store, put("", "1").absent(b"".as_slice())).is_err());
    let page = store.range(b"", Some(b""), 10).unwrap();
    assert_eq!(page.entries.len(), 1);
}

/// Of several sizes around those of pages, up to megabytes.
pub fn large_values_are_kept<S: Subject>() {
    let (_subject, store) = open::<S>();
    let sizes = [4_000, 4_090, 4_096, 5_000, 70_000, 3 << 20];
    let of = |size: usize| (0..size).map(|at| (at * 31 + size) as u8).collect::<Vec<_>>();
    for size in sizes {
        done(&*store, put(format!("{size}"), of(size)));
    }
    let long_key = vec![0xab; 10_000];
    done(&*store, put(&long_key, "x"));
    for size in sizes {
        assert_eq!(value(&*store, format!("{size}").as_bytes()), Some(of(size)), "{size}");
    }
    assert_eq!(value(&*store, &long_key).unwrap(), b"x");
    done(&*store, put(format!("{}", 3 << 20), "small"));
    assert_eq!(value(&*store, format!("{}", 3 << 20).as_bytes()).unwrap(), b"small");
}

/// Each transaction has its revision.
pub fn a_group_of_thousands_commits<S: Subject>() {
    let (_subject, store) = open::<S>();
    let group: Vec<_> = (0..5_000).map(|n| put(format!("{:04}", n * 7 % 5_000), "x")).collect();
    let outcomes = store.commit(&group).unwrap();
    assert!(outcomes.into_iter().enumerate().all(|(at, o)| o == Ok(revision(at as u64 + 1))));
    assert_eq!(all(&*store, b"").len(), 5_000);
}
