//! What transactions do, whatever holds the rows.

use crate::{Change, Conflict, Revision, StoreError, Transaction, Write};
use std::collections::HashMap;
use std::sync::Arc;

/// What holds values, in the middle of a commit.
pub(crate) trait Rows {
    /// When the key's value was last written; none if it has no value.
    fn written_at(&self, key: &[u8]) -> Result<Option<Revision>, StoreError>;
    /// Gives the key a value.
    fn put(&mut self, key: &[u8], value: &[u8], revision: Revision) -> Result<(), StoreError>;
    /// Takes the key's value away; says whether there was one.
    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError>;
}

/// What a group of transactions did.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Of each transaction.
    pub(crate) outcomes: Vec<Result<Revision, Conflict>>,
    /// Of all, in order.
    pub(crate) changes: Vec<Arc<Change>>,
    /// The last one's revision, or what was before.
    pub(crate) revision: Revision,
}

/// Does what the transactions say, after what `revision` is the last of.
///
/// After an error of the rows they are in disorder, and to be thrown away. There is no other, once
/// the first transaction was looked at.
pub(crate) fn apply(
    rows: &mut impl Rows,
    transactions: &[Transaction],
    revision: Revision,
) -> Result<Applied, StoreError> {
    let left = Revision::MAX.get() - revision.get();
    if transactions.len() as u64 > left {
        return Err(StoreError::Exhausted);
    }
    let outcomes = Vec::with_capacity(transactions.len());
    let mut applied = Applied { outcomes, changes: Vec::new(), revision };
    for transaction in transactions {
        let outcome = match conflict(rows, transaction)? {
            Some(conflict) => Err(conflict),
            None => {
                applied.revision = applied.revision.next().map_err(|_| StoreError::Exhausted)?;
                write(rows, &transaction.writes, applied.revision, &mut applied.changes)?;
                Ok(applied.revision)
            }
        };
        applied.outcomes.push(outcome);
    }
    Ok(applied)
}

/// Does the writes of one transaction. A key that is written twice changes once, to the last value;
/// what is not there is not deleted.
fn write(
    rows: &mut impl Rows,
    writes: &[Write],
    revision: Revision,
    changes: &mut Vec<Arc<Change>>,
) -> Result<(), StoreError> {
    let last: HashMap<_, _> = match writes {
        [_] => HashMap::new(),
        _ => writes.iter().enumerate().map(|(at, write)| (write.key(), at)).collect(),
    };
    for (at, write) in writes.iter().enumerate() {
        if last.get(write.key()).is_some_and(|last| *last != at) {
            continue;
        }
        let value = match write {
            Write::Put { key, value } => {
                rows.put(key, value, revision)?;
                Some(value.clone())
            }
            Write::Delete { key } if rows.delete(key)? => None,
            Write::Delete { .. } => continue,
        };
        changes.push(Arc::new(Change { key: write.key().into(), value, revision }));
    }
    Ok(())
}

fn conflict(rows: &impl Rows, transaction: &Transaction) -> Result<Option<Conflict>, StoreError> {
    for required in &transaction.requires {
        let found = rows.written_at(required.key())?;
        if !required.holds(found) {
            return Ok(Some(Conflict { required: required.clone(), found }));
        }
    }
    Ok(None)
}
