//! Several threads at once.

use super::{Subject, commit, done, open, put, value};
use crate::{Revision, Store};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const THREADS: usize = 4;
const ROUNDS: usize = 25;

fn count(store: &dyn Store) -> usize {
    value(store, b"count")
        .map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse::<usize>().unwrap())
}

/// Each adds by reading and compare-and-swap.
pub fn threads_count_without_losing<S: Subject>() {
    let (_subject, store) = open::<S>();
    let add = || loop {
        let now = store.get(b"count").unwrap();
        let number = now.as_ref().map_or(0, |entry| {
            std::str::from_utf8(&entry.value).unwrap().parse::<usize>().unwrap()
        });
        let next = put("count", format!("{}", number + 1));
        let next = match now {
            Some(entry) => next.at(b"count".as_slice(), entry.revision),
            None => next.absent(b"count".as_slice()),
        };
        if commit(&*store, next).is_ok() {
            break;
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..ROUNDS).for_each(|_| add()));
        }
    });
    assert_eq!(count(&*store), THREADS * ROUNDS);
    assert_eq!(store.revision().get(), (THREADS * ROUNDS) as u64);
}

/// Two keys that change together are never read apart, and what reading has told is not taken back.
pub fn readers_see_whole_transactions<S: Subject>() {
    let (_subject, store) = open::<S>();
    done(&*store, put("a", "0").put(b"b".as_slice(), b"0".as_slice()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| {
                let mut last = Revision::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let page = store.range(b"", None, 10).unwrap();
                    assert_eq!(page.entries[0].value, page.entries[1].value);
                    assert!(page.revision >= last && store.revision() >= page.revision);
                    let entry = store.get(b"a").unwrap().expect("it stays");
                    assert!(entry.revision >= page.entries[0].revision);
                    assert!(store.revision() >= entry.revision);
                    last = page.revision;
                }
            });
        }
        for n in 0..ROUNDS * 4 {
            let n = format!("{n}");
            done(&*store, put("a", &n).put(b"b".as_slice(), n.as_bytes()));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// In order, without gaps, while several commit.
pub fn a_watcher_on_another_thread_sees_every_change<S: Subject>() {
    let (_subject, store) = open::<S>();
    let watch = |prefix: &'static [u8]| {
        let mut watch = store.watch(prefix, Revision::ZERO).unwrap();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut seen = Vec::new();
                loop {
                    let change = watch.next().await.unwrap();
                    if *change.key == *b"all/end" {
                        return seen;
                    }
                    seen.push((change.key.to_vec(), change.revision.get()));
                }
            })
        }
    };
    thread::scope(|scope| {
        let watchers = [scope.spawn(watch(b"")), scope.spawn(watch(b"all/"))];
        let committers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..ROUNDS {
                        let group = [put(format!("all/{thread}/{n}"), ""), put("all/same", "")];
                        store.commit(&group).unwrap();
                    }
                })
            })
            .collect();
        committers.into_iter().for_each(|thread| thread.join().unwrap());
        done(&*store, put("all/end", ""));
        for watcher in watchers {
            let seen = watcher.join().unwrap();
            let revisions: Vec<_> = seen.iter().map(|(_, revision)| *revision).collect();
            let expected: Vec<_> = (1..=(2 * THREADS * ROUNDS) as u64).collect();
            assert_eq!(revisions, expected);
        }
    });
}

/// At once, although its author may not have returned yet.
pub fn what_was_read_can_be_watched_from<S: Subject>() {
    let (_subject, store) = open::<S>();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = store.scan(b"", &mut |_, _, _| ()).unwrap();
                    store.watch(b"", at).expect("it can be watched from");
                    if let Some(entry) = store.get(b"a").unwrap() {
                        store.watch(b"", entry.revision).expect("it can be watched from");
                    }
                }
            });
        }
        for n in 0..ROUNDS * 4 {
            done(&*store, put("a", format!("{n}")));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
