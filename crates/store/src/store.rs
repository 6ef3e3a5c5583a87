//! What every store does.

use crate::{Conflict, Revision, StoreError, Transaction, Watch};
use std::fmt::Debug;

/// Values under keys, changed by transactions, each with a revision of its own.
///
/// Every call blocks until it is done: async code calls from a thread where that is allowed. All
/// calls may be made from several threads at once; reading never waits for the disk of a commit.
/// What a call has told is never taken back by a later one: `revision` is at least every revision
/// that reading has returned, and a watch from such a revision misses nothing.
pub trait Store: Send + Sync + Debug + 'static {
    /// Tells histories apart: a store restored from a backup, or made anew, has another, larger
    /// one.
    fn epoch(&self) -> u16;

    /// The last durable commit; [`Revision::ZERO`] if there has been none.
    fn revision(&self) -> Revision;

    /// Commits many transactions at once, with one flush of the disk for all.
    ///
    /// They take effect in order, each seeing what the earlier ones did. Each has a revision of its
    /// own, without gaps in between, or a [`Conflict`] and changes nothing. All are durable on
    /// return.
    ///
    /// # Errors
    ///
    /// None of them is durable then, and none will be, except after [`StoreError::Unsettled`].
    fn commit(
        &self,
        transactions: &[Transaction],
    ) -> Result<Vec<Result<Revision, Conflict>>, StoreError>;

    /// What the key has.
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError>;

    /// What begins with `prefix`, in the order of keys, from the first key after `after` on, at
    /// most `limit` entries, all of one point in time.
    fn range(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, StoreError>;

    /// Visits what begins with `prefix`, in the order of keys, without collecting it. Returns
    /// the point in time of which it all is.
    fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<Revision, StoreError>;

    /// Changes of keys that begin with `prefix`, with a revision after `from`, in order, without
    /// gaps: first those that are remembered, then as they come.
    ///
    /// # Errors
    ///
    /// [`StoreError::Compacted`] if some are forgotten, [`StoreError::Ahead`] if `from` is yet to
    /// come.
    fn watch(&self, prefix: &[u8], from: Revision) -> Result<Watch, StoreError>;

    /// Forgets the changes of revisions before `before`; present values stay. Watches that have not
    /// read so far yet are ended.
    fn compact(&self, before: Revision) -> Result<(), StoreError>;
}

/// Is told of an entry: key, value, and the revision of the last write.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8], Revision) + 'a;

/// What a key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
    /// When it was last written.
    pub revision: Revision,
}

/// Some entries of one point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of keys.
    pub entries: Vec<Entry>,
    /// The point in time.
    pub revision: Revision,
    /// Whether there are entries after the last one.
    pub more: bool,
}
