//! A store as one stream of bytes: what a backup is, whichever store it is of.
//!
//! ```text
//! "mizar backup 1\n", epoch: 2 bytes
//! 1, revision: 6, length of key: 4, length of value: 4, key, value      of each row, by key
//! 0, revision: 6, number of rows: 8                                     of the store
//! SHA-256 of everything before: 32
//! ```
//!
//! Numbers have their most significant byte first. What is cut off anywhere, or was changed, is no
//! backup.

use crate::file::failed_io;
use crate::{Revision, Store, StoreError};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// What a backup begins with.
const MAGIC: &[u8; 15] = b"mizar backup 1\n";
/// Precedes a row.
const ROW: u8 = 1;
/// Precedes what is said of the store.
const END: u8 = 0;
/// Longest key or value that is believed.
const LONGEST: u32 = 64 << 20;

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The store's epoch.
    pub epoch: u16,
    /// The last commit that is in it.
    pub revision: Revision,
    /// How many keys have a value.
    pub rows: u64,
}

impl Backup {
    /// Writes one point in time of a store, while others read and commit.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or `to` not be written to.
    pub fn write(store: &dyn Store, to: &mut dyn Write) -> Result<Self, BackupError> {
        let mut to = Hashing::new(to);
        to.write_all(MAGIC)?;
        to.write_all(&store.epoch().to_be_bytes())?;
        let (mut rows, mut result) = (0, Ok(()));
        let revision = store.scan(b"", &mut |key, value, revision| {
            if result.is_ok() {
                rows += 1;
                result = to.write_row(key, value, revision);
            }
        })?;
        result?;
        to.write_all(&[END])?;
        to.write_all(&revision.to_bytes())?;
        to.write_all(&u64::to_be_bytes(rows))?;
        let hash = to.hash.finish();
        to.inner.write_all(hash.as_ref())?;
        to.inner.flush()?;
        Ok(Self { epoch: store.epoch(), revision, rows })
    }

    /// Whether a file is none, by how it begins.
    pub(crate) fn is_other(file: &mut File) -> io::Result<bool> {
        let mut begins = Vec::new();
        io::Seek::rewind(file)?;
        file.take(MAGIC.len() as u64).read_to_end(&mut begins)?;
        Ok(begins != MAGIC)
    }

    /// Reads the backup in a file, named `path` in errors, row by row. The rows are believed only
    /// once it has been read to its end.
    pub(crate) fn read(
        file: &mut File,
        path: &Path,
        visit: &mut VisitRow<'_>,
    ) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::NoBackup { path: path.to_owned(), reason };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("it is cut off".to_owned()),
            io::ErrorKind::InvalidData => wrong(error.to_string()),
            _ => failed_io(path, "read", error),
        };
        io::Seek::rewind(file).map_err(failed)?;
        let mut from = Hashing::new(BufReader::with_capacity(1 << 16, file));
        if from.read_array().map_err(failed)? != *MAGIC {
            return Err(wrong("it does not begin like one".to_owned()));
        }
        let epoch = u16::from_be_bytes(from.read_array().map_err(failed)?);
        let (mut rows, mut key, mut value) = (0, Vec::new(), Vec::new());
        while let Some(revision) = from.read_row(&mut key, &mut value).map_err(failed)? {
            rows += 1;
            visit(&key, &value, revision)?;
        }
        let revision = Revision::from_bytes(from.read_array().map_err(failed)?);
        let counted = u64::from_be_bytes(from.read_array().map_err(failed)?);
        let Hashing { mut inner, hash } = from;
        let mut said = [0; 32];
        inner.read_exact(&mut said).map_err(failed)?;
        let more = inner.read(&mut [0]).map_err(failed)? > 0;
        if hash.finish().as_ref() != said || counted != rows || more {
            return Err(wrong("it was changed: its checksum is another".to_owned()));
        }
        Ok(Self { epoch, revision, rows })
    }
}

/// Is told of a row: key, value, and the revision of its last write.
pub(crate) type VisitRow<'a> = dyn FnMut(&[u8], &[u8], Revision) -> Result<(), StoreError> + 'a;

/// Why no backup was written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written.
    #[error("the backup cannot be written on")]
    Write(#[from] io::Error),
}

/// Remembers what goes through it.
struct Hashing<T> {
    inner: T,
    hash: Context,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Context::new(&SHA256) }
    }
}

impl Hashing<&mut dyn Write> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }

    fn write_row(&mut self, key: &[u8], value: &[u8], revision: Revision) -> io::Result<()> {
        let length = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).ok().filter(|it| *it <= LONGEST);
            length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a row is too long"))
        };
        self.write_all(&[ROW])?;
        self.write_all(&revision.to_bytes())?;
        self.write_all(&length(key)?.to_be_bytes())?;
        self.write_all(&length(value)?.to_be_bytes())?;
        self.write_all(key)?;
        self.write_all(value)
    }
}

impl<R: Read> Hashing<R> {
    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    /// The next row's revision; `None`: there are no more.
    fn read_row(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> io::Result<Option<Revision>> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        match self.read_array()? {
            [ROW] => {}
            [END] => return Ok(None),
            _ => return Err(damaged("there is something between its rows")),
        }
        let revision = Revision::from_bytes(self.read_array()?);
        let lengths = [self.read_array()?, self.read_array()?].map(u32::from_be_bytes);
        for (bytes, length) in [key, value].into_iter().zip(lengths) {
            if length > LONGEST {
                return Err(damaged("a row is too long"));
            }
            bytes.clear();
            // Room is made as it comes: a length is only a number.
            self.inner.by_ref().take(length.into()).read_to_end(bytes)?;
            if bytes.len() != length as usize {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.hash.update(bytes);
        }
        Ok(Some(revision))
    }
}
