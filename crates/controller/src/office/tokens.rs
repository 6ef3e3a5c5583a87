//! The records of join tokens, in the store beside the resources: `j` and the token's number.
//!
//! The engine knows nothing of them. That they raise the store's revision is no harm to it: its own
//! generations only have to grow, and after a restart they go on behind the store's last revision.

use mizar_identity::pki::PkiError;
use mizar_identity::token::{Refusal, Secret, TokenRecord};
use mizar_store::{Entry, Revision, Store, StoreError, Transaction};
use mizar_vpc::Name;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::OrderError;

/// The version of all values.
const VERSION: u8 = 1;
/// What keys begin with.
const PREFIX: &[u8] = b"j";
/// Most tokens at a time.
const MOST: usize = 1000;
/// How long a record stays after its token has ended, for those who wonder.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How often a token is read again that others spend at the same time.
const ATTEMPTS: usize = 64;

/// The records.
#[derive(Debug)]
pub(super) struct Tokens {
    store: Arc<dyn Store>,
}

/// A record, and when it was written.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) record: TokenRecord,
    revision: Revision,
}

/// Why a host is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpendError {
    #[error("there is no such token: it was deleted, or has ended long ago; ask for a new one")]
    Unknown,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("too many join with this token at once: try again")]
    Crowded,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl Tokens {
    pub(super) const fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds one, and forgets those that ended long ago.
    pub(super) fn add(
        &self,
        record: &TokenRecord,
        now: SystemTime,
    ) -> Result<Revision, OrderError> {
        let all = self.all()?;
        let (old, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|it| ends(it) + REMEMBERED < now);
        if kept.len() >= MOST {
            return Err(OrderError::TooMany(kept.len()));
        }
        let put = Transaction::new().absent(key(&record.id)).put(key(&record.id), value(record));
        let transaction = old.iter().fold(put, |all, it| all.delete(key(&it.id)));
        Ok(self.commit(transaction)?.ok_or(mizar_identity::token::TokenError::Random)?)
    }

    pub(super) fn all(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let page = self.store.range(PREFIX, None, 2 * MOST)?;
        Ok(page.entries.iter().filter_map(read).collect())
    }

    pub(super) fn find(&self, id: &Name) -> Result<Option<Found>, StoreError> {
        let found = self.store.get(&key(id))?;
        Ok(found.and_then(|entry| {
            read(&entry).map(|record| Found { record, revision: entry.revision })
        }))
    }

    pub(super) fn remove(&self, id: &Name) -> Result<Option<Revision>, StoreError> {
        self.commit(Transaction::new().present(key(id)).delete(key(id)))
    }

    /// Writes that one more host has joined; only then it may.
    pub(super) fn spend(
        &self,
        id: &Name,
        secret: &Secret,
        host: &Name,
        now: SystemTime,
    ) -> Result<Revision, SpendError> {
        for _ in 0..ATTEMPTS {
            let found = self.find(id)?.ok_or(SpendError::Unknown)?;
            let spent = found.record.spend(secret, host, now)?;
            let swap = Transaction::new().at(key(id), found.revision).put(key(id), value(&spent));
            if let Some(revision) = self.commit(swap)? {
                return Ok(revision);
            }
        }
        Err(SpendError::Crowded)
    }

    pub(super) fn text(&self, revision: Revision) -> String {
        format!("{}.{revision}", self.store.epoch())
    }

    /// None: what it requires is not so.
    fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, StoreError> {
        let results = self.store.commit(&[transaction])?;
        Ok(results.into_iter().next().and_then(Result::ok))
    }
}

/// When a token ends.
fn ends(record: &TokenRecord) -> SystemTime {
    let since = Duration::from_secs(record.expires);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

fn key(id: &Name) -> Box<[u8]> {
    [PREFIX, id.as_str().as_bytes()].concat().into()
}

fn value(record: &TokenRecord) -> Box<[u8]> {
    let mut bytes = vec![VERSION];
    // Strings and numbers can always be written.
    bytes.extend(serde_json::to_vec(record).unwrap_or_default());
    bytes.into()
}

/// A record that cannot be read lets nobody in, and holds up nobody else.
fn read(entry: &Entry) -> Option<TokenRecord> {
    let record = match entry.value.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).ok(),
        _ => None,
    };
    if record.is_none() {
        tracing::warn!(key = %entry.key.escape_ascii(), "a join token's record cannot be read");
    }
    record
}

#[cfg(test)]
mod tests;
