//! The tests that any store must pass.
//!
//! [`store_tests!`](crate::store_tests) makes them tests of a store; what it needs is a
//! [`Subject`], which owns the store's world:
//!
//! ```text
//! use mizar_store::{HistoryLimits, Memory, Store, testing::Subject};
//! use std::sync::Arc;
//! #[derive(Default)]
//! struct InMemory(Option<Arc<dyn Store>>);
//!
//! impl Subject for InMemory {
//!     fn open(limits: HistoryLimits) -> Self {
//!         Self(Some(Arc::new(Memory::with_history(limits))))
//!     }
//!     fn store(&self) -> Arc<dyn Store> {
//!         self.0.clone().unwrap()
//!     }
//! }
//!
//! mizar_store::store_tests!(InMemory);
//! ```

mod concurrency;
mod reading;
mod reopening;
mod transactions;
mod watching;

pub use concurrency::*;
pub use reading::*;
pub use reopening::*;
pub use transactions::*;
pub use watching::*;

use crate::{Conflict, HistoryLimits, Revision, Store, Transaction};
use std::sync::Arc;

/// A store to be tested, in a world of its own.
pub trait Subject {
    /// A new, empty store that remembers so much.
    fn open(limits: HistoryLimits) -> Self;

    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store, which nobody else holds, and opens it again; says whether it is one that
    /// outlives that.
    fn reopen(&mut self) -> bool {
        false
    }
}

/// Makes every test that a store must pass a `#[test]` of this [`Subject`](testing::Subject).
///
/// [`testing::Subject`]: crate::testing::Subject
#[macro_export]
macro_rules! store_tests {
    ($subject:ty) => {
        $crate::store_tests! { $subject:
            a_new_store_is_empty
            what_is_written_is_read
            a_requirement_that_fails_changes_nothing
            requirements_are_about_what_was_before
            every_requirement_counts
            compare_and_swap_lets_one_win
            each_transaction_of_a_group_sees_the_earlier_ones
            conflicts_within_a_group_use_no_revision
            the_last_write_of_a_key_counts
            transactions_without_effect_have_revisions
            no_transactions_are_no_commit
            keys_and_values_may_be_empty
            large_values_are_kept
            a_group_of_thousands_commits
            pages_cover_everything_once_in_order
            a_page_says_whether_there_is_more
            paging_starts_within_the_prefix
            prefixes_end_where_they_should
            a_scan_visits_in_order_and_says_when
            a_scan_sees_one_point_in_time
            reading_within_a_scan_is_possible
            a_watch_from_the_past_misses_nothing
            a_watch_from_the_present_waits
            a_watch_sees_only_its_prefix
            a_watch_sees_what_changed_and_no_more
            a_watch_knows_how_far_it_has_seen
            a_watch_from_the_future_is_refused
            a_compacted_past_cannot_be_watched
            compaction_ends_watches_that_have_not_read
            compaction_spares_who_has_read_and_what_is_there
            a_slow_watcher_is_ended_and_holds_nobody_back
            history_is_bounded_in_bytes
            a_group_larger_than_history_ends_watches
            a_watch_ends_with_its_store
            a_cancelled_wait_loses_nothing
            threads_count_without_losing
            readers_see_whole_transactions
            a_watcher_on_another_thread_sees_every_change
            what_was_read_can_be_watched_from
            what_is_committed_outlives_closing
            history_begins_anew_after_reopening
        }
    };
    ($subject:ty: $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::$test::<$subject>();
            }
        )*
    };
}

/// A new store, for tests that do not mind its history.
fn open<S: Subject>() -> (S, Arc<dyn Store>) {
    let subject = S::open(HistoryLimits::default());
    let store = subject.store();
    (subject, store)
}

fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Transaction {
    Transaction::new().put(key.as_ref(), value.as_ref())
}

/// Commits one transaction.
fn commit(store: &dyn Store, transaction: Transaction) -> Result<Revision, Conflict> {
    let outcomes = store.commit(&[transaction]).expect("it commits");
    assert_eq!(outcomes.len(), 1);
    outcomes.into_iter().next().expect("an outcome")
}

/// Commits one transaction that must not conflict.
fn done(store: &dyn Store, transaction: Transaction) -> Revision {
    commit(store, transaction).expect("no conflict")
}

fn revision(number: u64) -> Revision {
    Revision::new(number).expect("a revision")
}

fn value(store: &dyn Store, key: &[u8]) -> Option<Vec<u8>> {
    store.get(key).expect("it reads").map(|entry| entry.value.into_vec())
}

/// Everything that begins with `prefix`.
fn all(store: &dyn Store, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, u64)> {
    let mut found = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8], revision: Revision| {
        found.push((key.to_vec(), value.to_vec(), revision.get()));
    };
    store.scan(prefix, visit).expect("it reads");
    found
}
