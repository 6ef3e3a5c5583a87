//! What reading returns.

use super::{Subject, all, done, open, put, revision, value};
use crate::{Page, Revision, Transaction};

fn keys(page: &Page) -> Vec<Vec<u8>> {
    page.entries.iter().map(|entry| entry.key.to_vec()).collect()
}

/// Whatever the size of the pages.
pub fn pages_cover_everything_once_in_order<S: Subject>() {
    let (_subject, store) = open::<S>();
    let mut group: Vec<_> = (0..50).map(|n| put(format!("p/{:02}", n * 7 % 50), "x")).collect();
    group.extend([put("o", ""), put("p", ""), put("p0", ""), put("q", "")]);
    store.commit(&group).unwrap();
    let expected: Vec<_> = (0..50).map(|n| format!("p/{n:02}").into_bytes()).collect();
    for limit in [1, 3, 25, 49, 50, 51] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.range(b"p/", after.as_deref(), limit).unwrap();
            assert!(page.entries.len() <= limit);
            assert_eq!(page.revision, revision(54));
            found.extend(keys(&page));
            after = found.last().cloned();
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}

/// Exactly: a last page that is full is the last.
pub fn a_page_says_whether_there_is_more<S: Subject>() {
    let (_subject, store) = open::<S>();
    done(&*store, put("a", "").put(b"b".as_slice(), b"".as_slice()));
    done(&*store, put("c", ""));
    for (prefix, after, limit, count, more) in [
        ("", None, 2, 2, true),
        ("", None, 3, 3, false),
        ("", None, usize::MAX, 3, false),
        ("", Some("a"), 2, 2, false),
        ("", Some("c"), 2, 0, false),
        ("a", None, 1, 1, false),
        ("", None, 0, 0, true),
        ("x", None, 0, 0, false),
    ] {
        let after = after.map(str::as_bytes);
        let page = store.range(prefix.as_bytes(), after, limit).unwrap();
        assert_eq!((page.entries.len(), page.more), (count, more), "{prefix} {after:?} {limit}");
    }
}

/// `after` need not be there, nor within the prefix.
pub fn paging_starts_within_the_prefix<S: Subject>() {
    let (_subject, store) = open::<S>();
    let group = ["a", "b/1", "b/3", "c"].map(|key| put(key, ""));
    store.commit(&group).unwrap();
    for (after, expected) in [
        ("", 2),
        ("a", 2),
        ("b", 2),
        ("b/", 2),
        ("b/1", 1),
        ("b/2", 1),
        ("b/3", 0),
        ("b0", 0),
        ("c", 0),
    ] {
        let page = store.range(b"b/", Some(after.as_bytes()), 10).unwrap();
        assert_eq!(page.entries.len(), expected, "after {after:?}");
    }
}

/// Also if the prefix ends with 0xff, or is nothing else.
pub fn prefixes_end_where_they_should<S: Subject>() {
    let (_subject, store) = open::<S>();
    let written: [&[u8]; 10] = [
        b"a",
        b"a\xfe",
        b"a\xff",
        b"a\xff\0",
        b"a\xff\xff",
        b"b",
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\xff",
        b"\xfe\xff",
    ];
    store.commit(&written.map(|key| put(key, ""))).unwrap();
    let prefixes: [&[u8]; 9] =
        [b"", b"a", b"a\xff", b"a\xff\xff", b"\xff", b"\xff\xff", b"\xfe", b"\xfe\xff", b"c"];
    for prefix in prefixes {
        let mut expected: Vec<_> =
            written.iter().filter(|k| k.starts_with(prefix)).map(|k| k.to_vec()).collect();
        expected.sort();
        let scanned: Vec<_> = all(&*store, prefix).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(scanned, expected, "{prefix:?}");
        assert_eq!(keys(&store.range(prefix, None, 100).unwrap()), expected, "{prefix:?}");
        let mut watch = store.watch(prefix, Revision::ZERO).unwrap();
        let mut watched = Vec::new();
        while let Some(change) = watch.try_next().unwrap() {
            watched.push(change.key.to_vec());
        }
        watched.sort();
        assert_eq!(watched, expected, "{prefix:?}");
    }
}

/// Keys, values and revisions.
pub fn a_scan_visits_in_order_and_says_when<S: Subject>() {
    let (_subject, store) = open::<S>();
    store.commit(&[put("b", "1"), put("a", "2"), put("b", "3"), put("c", "4")]).unwrap();
    let last = done(&*store, Transaction::new().delete(b"c".as_slice()));
    let mut count = 0;
    assert_eq!(store.scan(b"", &mut |_, _, _| count += 1).unwrap(), last);
    assert_eq!(count, 2);
    assert_eq!(
        all(&*store, b""),
        [(b"a".to_vec(), b"2".to_vec(), 2), (b"b".to_vec(), b"3".to_vec(), 3)]
    );
}

/// Commits in the middle are not seen, and are possible.
pub fn a_scan_sees_one_point_in_time<S: Subject>() {
    let (_subject, store) = open::<S>();
    let group: Vec<_> = (0..100).map(|n| put(format!("{n:02}"), "old")).collect();
    store.commit(&group).unwrap();
    let mut seen = 0;
    let at = store
        .scan(b"", &mut |_, value, _| {
            if seen == 10 {
                let group: Vec<_> = (0..100).map(|n| put(format!("{n:02}"), "new")).collect();
                store.commit(&group).unwrap();
            }
            assert_eq!(value, b"old");
            seen += 1;
        })
        .unwrap();
    assert_eq!((seen, at), (100, revision(100)));
    assert_eq!(value(&*store, b"50").unwrap(), b"new");
}

/// A visitor may look something up.
pub fn reading_within_a_scan_is_possible<S: Subject>() {
    let (_subject, store) = open::<S>();
    store.commit(&[put("a", "b"), put("b", "c")]).unwrap();
    let mut found = Vec::new();
    store.scan(b"", &mut |_, at, _| found.push(value(&*store, at))).unwrap();
    assert_eq!(found, [Some(b"c".to_vec()), None]);
}
