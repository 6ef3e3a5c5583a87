//! The pinned table of endpoints, read and written without system calls.

use super::mapping::Mapping;
use super::sys;
use super::table::{TableError, call, memory};
use mizar_packet::table::{self, Line, Shape};
use mizar_packet::tables::{Endpoint, EndpointKey};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// The table of endpoints. One process may write to it at a time: the agent.
#[derive(Debug)]
pub struct EndpointTable {
    name: &'static str,
    map: sys::Map,
    lines: Mapping,
    /// Made by the first write: who only reads changes nothing.
    writer: Mutex<Option<table::Table<Mapping>>>,
}

impl EndpointTable {
    /// Takes an array of lines.
    pub fn new(name: &'static str, map: OwnedFd) -> Result<Self, TableError> {
        let (map, lines) = lines_of(name, map)?;
        Ok(Self { name, map, lines, writer: Mutex::default() })
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many rows it can have.
    pub fn capacity(&self) -> u32 {
        Shape::capacity(self.map.entries)
    }

    /// The row of `key`.
    pub fn get(&self, key: &EndpointKey) -> Option<Endpoint> {
        table::find(&&*self.lines, key)
    }

    /// Writes a row.
    pub fn put(&self, key: &EndpointKey, row: &Endpoint) -> Result<(), TableError> {
        self.with_writer(|writer| writer.put(key, row).map_err(|table::Full| self.full()))?
    }

    /// Writes many rows. Goes on after a row that cannot be written.
    ///
    /// # Errors
    ///
    /// Those rows, by their position, each with its reason.
    pub fn put_all(&self, rows: &[(EndpointKey, Endpoint)]) -> Vec<(usize, TableError)> {
        let written = rows.iter().map(|(key, row)| self.put(key, row));
        written.enumerate().filter_map(|(at, written)| Some((at, written.err()?))).collect()
    }

    /// Removes a row; whether there was one.
    pub fn remove(&self, key: &EndpointKey) -> Result<bool, TableError> {
        self.with_writer(|writer| writer.remove(key).is_some())
    }

    /// All rows. What changes meanwhile may be missed.
    pub fn rows(&self) -> impl Iterator<Item = (EndpointKey, Endpoint)> {
        table::rows(&*self.lines)
    }

    /// Kernel memory of the table, in bytes.
    pub fn memory(&self) -> io::Result<u64> {
        memory(self.map.as_fd())
    }

    fn with_writer<T>(
        &self,
        act: impl FnOnce(&mut table::Table<Mapping>) -> T,
    ) -> Result<T, TableError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = table::Table::open(self.lines.clone(), seed());
        }
        // None: the map has not as many lines as its first one says.
        let invalid = || call(self.name, "use")(io::ErrorKind::InvalidData.into());
        writer.as_mut().map(act).ok_or_else(invalid)
    }

    fn full(&self) -> TableError {
        TableError::Full { table: self.name, capacity: self.capacity() }
    }
}

/// An array of lines, and those as memory.
pub(super) fn lines_of(
    name: &'static str,
    map: OwnedFd,
) -> Result<(sys::Map, Mapping), TableError> {
    let map = sys::Map::new(map).map_err(call(name, "open"))?;
    if (map.key_size, map.row_size) != (size_of::<u32>(), size_of::<Line>()) {
        return Err(TableError::Layout {
            table: name,
            key: map.key_size,
            value: map.row_size,
            wanted_key: size_of::<u32>(),
            wanted_value: size_of::<Line>(),
        });
    }
    let lines = Mapping::new(map.as_fd(), map.entries as usize).map_err(call(name, "map"))?;
    Ok((map, lines))
}

/// Not to be guessed by those who choose addresses.
pub(super) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
