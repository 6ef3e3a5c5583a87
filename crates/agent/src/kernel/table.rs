//! A pinned map as a table of typed rows.

use super::sys;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Why a table could not be read or written.
#[derive(Debug, Error)]
pub enum TableError {
    /// There is no room for one more row.
    #[error("table {table} is full: it has room for {capacity} rows; start the agent with more")]
    Full {
        /// The table's name.
        table: &'static str,
        /// Its size.
        capacity: u32,
    },
    /// A pinned map has rows of another size than this build's.
    #[error(
        "pinned map {table} has keys of {key} and values of {value} bytes, not {wanted_key} and \
         {wanted_value}: it was made by another build; remove it with `mizar agent remove`"
    )]
    Layout {
        /// The table's name.
        table: &'static str,
        /// Bytes of a key of the pinned map.
        key: usize,
        /// Bytes of a value of the pinned map.
        value: usize,
        /// Bytes of a key of this build.
        wanted_key: usize,
        /// Bytes of a value of this build.
        wanted_value: usize,
    },
    /// The kernel refused.
    #[error("cannot {action} table {table}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// The table's name.
        table: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// A map whose keys are `K` and whose rows are `V`.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    map: sys::Map,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V>
where
    K: FromBytes + IntoBytes + Immutable,
    V: FromBytes + IntoBytes + Immutable,
{
    /// Takes a map; its sizes must be those of `K` and `V`.
    pub(crate) fn new(name: &'static str, fd: OwnedFd) -> Result<Self, TableError> {
        let map = sys::Map::new(fd).map_err(call(name, "open"))?;
        if map.key_size != size_of::<K>() || map.row_size != size_of::<V>() {
            return Err(TableError::Layout {
                table: name,
                key: map.key_size,
                value: map.row_size,
                wanted_key: size_of::<K>(),
                wanted_value: size_of::<V>(),
            });
        }
        Ok(Self { name, map, types: PhantomData })
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many rows it can have.
    pub fn capacity(&self) -> u32 {
        self.map.entries
    }

    /// The row of `key`.
    pub fn get(&self, key: &K) -> Result<Option<V>, TableError> {
        let mut row = V::new_zeroed();
        let found = self.map.get(key.as_bytes(), row.as_mut_bytes());
        Ok(found.map_err(call(self.name, "read"))?.then_some(row))
    }

    /// Writes a row.
    pub fn put(&self, key: &K, row: &V) -> Result<(), TableError> {
        self.map.put(key.as_bytes(), row.as_bytes()).map_err(|e| self.not_written(e))
    }

    /// Writes many rows, in batches. Goes on after a row that cannot be written.
    ///
    /// # Errors
    ///
    /// Those rows, by their position, each with its reason.
    pub fn put_all(&self, rows: &[(K, V)]) -> Vec<(usize, TableError)> {
        let mut failed = Vec::new();
        let mut start = 0;
        while start < rows.len() {
            let batch = &rows[start..rows.len().min(start + BATCH)];
            let keys: Vec<u8> = batch.iter().flat_map(|(k, _)| k.as_bytes()).copied().collect();
            let values: Vec<u8> = batch.iter().flat_map(|(_, v)| v.as_bytes()).copied().collect();
            match self.map.put_all(&keys, &values) {
                Ok(()) => start += batch.len(),
                Err((written, error)) => {
                    failed.push((start + written, self.not_written(error)));
                    start += written + 1;
                }
            }
        }
        failed.retain(|&(at, _)| at < rows.len());
        failed
    }

    /// Removes a row; whether there was one.
    pub fn remove(&self, key: &K) -> Result<bool, TableError> {
        self.map.remove(key.as_bytes()).map_err(call(self.name, "remove a row of"))
    }

    /// All rows. What the kernel changes meanwhile may be missed.
    pub fn rows(&self) -> Result<Vec<(K, V)>, TableError> {
        self.first(usize::MAX)
    }

    /// The first rows, at most so many: those of an array whose keys are smaller.
    pub fn first(&self, most: usize) -> Result<Vec<(K, V)>, TableError> {
        let (keys, rows) = self.map.dump(most).map_err(call(self.name, "list"))?;
        let rows = rows.chunks_exact(size_of::<V>());
        let rows = keys.chunks_exact(size_of::<K>()).zip(rows);
        Ok(rows
            .filter_map(|(k, v)| Some((K::read_from_bytes(k).ok()?, V::read_from_bytes(v).ok()?)))
            .collect())
    }

    /// Kernel memory of the table, in bytes.
    pub fn memory(&self) -> io::Result<u64> {
        memory(self.map.as_fd())
    }

    fn not_written(&self, source: io::Error) -> TableError {
        match source.raw_os_error() {
            // Hash tables say E2BIG, tries ENOSPC; ENOMEM is what a hash says between two grace
            // periods.
            Some(libc::E2BIG | libc::ENOSPC | libc::ENOMEM) => {
                TableError::Full { table: self.name, capacity: self.map.entries }
            }
            _ => TableError::Call { action: "write", table: self.name, source },
        }
    }
}

/// Rows of a per-CPU array of counters.
#[derive(Debug)]
pub struct CounterTable {
    name: &'static str,
    map: sys::Map,
}

impl CounterTable {
    /// Takes a per-CPU array of `u64`.
    pub(crate) fn new(name: &'static str, fd: OwnedFd) -> Result<Self, TableError> {
        let map = sys::Map::new(fd).map_err(call(name, "open"))?;
        let cpus = sys::possible_cpus().map_err(call(name, "count the CPUs of"))?;
        if map.key_size != 4 || map.row_size != 8 * cpus {
            return Err(TableError::Layout {
                table: name,
                key: map.key_size,
                value: map.row_size,
                wanted_key: 4,
                wanted_value: 8 * cpus,
            });
        }
        Ok(Self { name, map })
    }

    /// How many counters it has.
    pub fn capacity(&self) -> u32 {
        self.map.entries
    }

    /// The sum over all CPUs of one counter.
    pub fn sum(&self, row: u32) -> Result<u64, TableError> {
        let mut values = vec![0; self.map.row_size];
        self.map.get(row.as_bytes(), &mut values).map_err(call(self.name, "read"))?;
        Ok(sum(&values))
    }

    /// Sets a counter to zero on all CPUs.
    pub fn clear(&self, row: u32) -> Result<(), TableError> {
        let zeros = vec![0; self.map.row_size];
        self.map.put(row.as_bytes(), &zeros).map_err(call(self.name, "write"))
    }

    /// Kernel memory of the table, in bytes.
    pub fn memory(&self) -> io::Result<u64> {
        memory(self.map.as_fd())
    }
}

/// Kernel memory of a map, in bytes, as its descriptor's information states it.
pub(crate) fn memory(map: impl AsFd) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.and_then(|n| n.trim().parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Rows of one batch: small enough to keep the buffers in the cache.
const BATCH: usize = 1024;

fn sum(values: &[u8]) -> u64 {
    let words = values.chunks_exact(8).filter_map(|word| u64::read_from_bytes(word).ok());
    words.fold(0, u64::wrapping_add)
}

pub(super) fn call(
    table: &'static str,
    action: &'static str,
) -> impl FnOnce(io::Error) -> TableError {
    move |source| TableError::Call { action, table, source }
}
