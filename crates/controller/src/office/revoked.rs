//! The records of revocations, in the store beside the resources: `r` and the identity; the value is
//! the moment, in seconds since 1970, up to which its certificates are not believed.

use mizar_identity::Identity;
use mizar_identity::revocation::Revocations;
use mizar_store::{Entry, Revision, Store, StoreError, Transaction};
use std::sync::Arc;

/// The version of all values.
const VERSION: u8 = 1;
/// What keys begin with.
const PREFIX: &[u8] = b"r";
/// Entries of one look at the store.
const PAGE: usize = 1000;

/// Those that are stored.
pub(super) fn read(store: &dyn Store) -> Result<Revocations, StoreError> {
    let (mut all, mut after) = (Vec::new(), None::<Box<[u8]>>);
    loop {
        let page = store.range(PREFIX, after.as_deref(), PAGE)?;
        all.extend(page.entries.iter().filter_map(entry));
        after = page.entries.last().map(|entry| entry.key.clone());
        if page.entries.len() < PAGE {
            return Ok(Revocations::new(all));
        }
    }
}

/// Stores one. Blocks until it is on disk.
pub(super) fn write(
    store: &Arc<dyn Store>,
    who: &Identity,
    until: u64,
) -> Result<Option<Revision>, StoreError> {
    let key = [PREFIX, who.to_string().as_bytes()].concat();
    let value = [&[VERSION][..], &until.to_be_bytes()].concat();
    let results = store.commit(&[Transaction::new().put(key, value)])?;
    Ok(results.into_iter().next().and_then(Result::ok))
}

fn entry(entry: &Entry) -> Option<(Identity, u64)> {
    let who = std::str::from_utf8(&entry.key[PREFIX.len()..]).ok().and_then(|it| it.parse().ok());
    let until = match entry.value.split_first() {
        Some((&VERSION, until)) => until.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    };
    let read = who.zip(until);
    if read.is_none() {
        tracing::error!(key = %entry.key.escape_ascii(), "a revocation cannot be read");
    }
    read
}
