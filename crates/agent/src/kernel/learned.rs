//! The pinned table of learned rows, read and written without system calls.

use super::endpoints::{lines_of, seed};
use super::mapping::Mapping;
use super::sys;
use super::table::{TableError, memory};
use mizar_packet::table::learned;
use mizar_packet::tables::{EndpointKey, Learned};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The table of learned rows, which the kernel programs write at any time.
#[derive(Debug)]
pub struct LearnedTable {
    name: &'static str,
    map: sys::Map,
    lines: Mapping,
}

impl LearnedTable {
    /// Takes an array of lines, and makes it a table if it is none yet.
    pub fn new(name: &'static str, map: OwnedFd) -> Result<Self, TableError> {
        let (map, lines) = lines_of(name, map)?;
        learned::open(&&*lines, map.entries, seed());
        Ok(Self { name, map, lines })
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many rows it is made for.
    pub fn capacity(&self) -> u32 {
        learned::capacity(self.map.entries)
    }

    /// The row of `key`.
    pub fn get(&self, key: &EndpointKey) -> Option<Learned> {
        learned::find(&&*self.lines, key)
    }

    /// Writes a row.
    pub fn put(&self, key: &EndpointKey, row: &Learned) -> Result<(), TableError> {
        if learned::put(&&*self.lines, key, row) {
            return Ok(());
        }
        Err(TableError::Full { table: self.name, capacity: self.capacity() })
    }

    /// Removes a row; whether there was one.
    pub fn remove(&self, key: &EndpointKey) -> bool {
        learned::remove(&&*self.lines, key)
    }

    /// All rows. What changes meanwhile may be missed.
    pub fn rows(&self) -> impl Iterator<Item = (EndpointKey, Learned)> {
        learned::rows(&*self.lines)
    }

    /// Frees the slots of rows that two CPUs wrote at once, which are nobody's.
    pub fn clear(&self) {
        learned::clear(&&*self.lines);
    }

    /// Kernel memory of the table, in bytes.
    pub fn memory(&self) -> io::Result<u64> {
        memory(self.map.as_fd())
    }
}
