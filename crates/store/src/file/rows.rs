//! Rows of the table: six bytes of revision, then the value.

use super::disk::Disk;
use crate::apply::Rows;
use crate::{Revision, StoreError};
use redb::{ReadableTable, Table};

/// The table in the middle of a commit.
pub(super) struct RedbRows<'a, 'txn> {
    disk: &'a Disk,
    table: Table<'txn, &'static [u8], &'static [u8]>,
    /// The row to be written, to be reused.
    row: Vec<u8>,
}

impl<'a, 'txn> RedbRows<'a, 'txn> {
    pub(super) fn new(disk: &'a Disk, table: Table<'txn, &'static [u8], &'static [u8]>) -> Self {
        Self { disk, table, row: Vec::new() }
    }
}

impl Rows for RedbRows<'_, '_> {
    fn written_at(&self, key: &[u8]) -> Result<Option<Revision>, StoreError> {
        let row = self.table.get(key).map_err(|e| self.disk.failed("read", e))?;
        row.map(|row| split(self.disk, row.value()).map(|(revision, _)| revision)).transpose()
    }

    fn put(&mut self, key: &[u8], value: &[u8], revision: Revision) -> Result<(), StoreError> {
        self.row.clear();
        self.row.extend(revision.to_bytes());
        self.row.extend(value);
        self.table.insert(key, self.row.as_slice()).map_err(|e| self.disk.failed("write to", e))?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        let row = self.table.remove(key).map_err(|e| self.disk.failed("write to", e))?;
        Ok(row.is_some())
    }
}

pub(super) fn split<'a>(disk: &Disk, row: &'a [u8]) -> Result<(Revision, &'a [u8]), StoreError> {
    let (revision, value) =
        row.split_first_chunk().ok_or_else(|| disk.damaged("a row is cut off"))?;
    Ok((Revision::from_bytes(*revision), value))
}
