//! The file: whole lines only, and never larger than agreed.

use super::Rotation;
use crate::file;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Lines, on disk.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    rotation: Rotation,
    /// `None` after an error: what is in the file is looked at anew before more is written.
    file: Option<File>,
    /// Of whole lines on disk.
    length: u64,
    /// Held for as long as this is, so that no two processes repair and rotate one log.
    _lock: File,
}

/// Why the log cannot be used.
#[derive(Debug, Error)]
pub enum LogError {
    /// The operating system refuses.
    #[error("cannot {what} the audit log {}", .path.display())]
    Io {
        /// What was wanted.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another process writes the audit log {}: stop it, or name another log", .0.display())]
    Taken(PathBuf),
}

impl Log {
    /// Longest line. A torn one is not longer either, so that many bytes at the end are looked at.
    pub(super) const LONGEST: usize = 1 << 20;

    pub(super) fn open(path: &Path, rotation: Rotation) -> Result<Self, LogError> {
        let lock = lock(path)?;
        let mut log = Self { path: path.to_owned(), rotation, file: None, length: 0, _lock: lock };
        log.reopen()?;
        Ok(log)
    }

    /// Appends lines. They are on disk when this comes back; after an error, some may be.
    pub(super) fn append<'a>(
        &mut self,
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), LogError> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let mut pending = Vec::new();
        for line in lines {
            let size = self.length + (pending.len() + line.len()) as u64;
            if size > self.rotation.bytes && self.length + pending.len() as u64 > 0 {
                self.flush(&pending)?;
                pending.clear();
                self.rotate()?;
            }
            pending.extend_from_slice(line);
        }
        self.flush(&pending)
    }

    fn flush(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        if let Err(source) = written {
            // What is half written goes away again; if it cannot, it does when the file is opened
            // next. After a failed sync nothing is known of what this handle has written.
            let _ = file.set_len(self.length);
            self.file = None;
            return Err(self.failed("write", source));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        let moved = |from: &Path, to: &Path| match fs::rename(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        };
        let aside = |number: u32| aside(&self.path, number);
        let shift = || -> io::Result<()> {
            for number in (1..self.rotation.keep).rev() {
                moved(&aside(number), &aside(number + 1))?;
            }
            if self.rotation.keep == 0 {
                fs::remove_file(&self.path)
            } else {
                moved(&self.path, &aside(1))
            }
        };
        let shifted = shift().map_err(|source| self.failed("rotate", source));
        self.file = None;
        shifted?;
        self.reopen()
    }

    /// Opens the file, and cuts off what comes after its last whole line.
    fn reopen(&mut self) -> Result<(), LogError> {
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(file::SECRET);
        let opened = options.open(&self.path).map_err(|source| self.failed("open", source))?;
        self.length = self.repair(&opened).map_err(|source| self.failed("repair", source))?;
        let synced = file::sync_folder(file::folder_of(&self.path));
        synced.map_err(|source| self.failed("open", source))?;
        self.file = Some(opened);
        Ok(())
    }

    fn repair(&self, mut file: &File) -> io::Result<u64> {
        let length = file.metadata()?.len();
        let looked_at = length.min(Self::LONGEST as u64);
        file.seek(SeekFrom::End(-i64::try_from(looked_at).unwrap_or(0)))?;
        let mut tail = Vec::new();
        file.take(looked_at).read_to_end(&mut tail)?;
        let torn = tail.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
        if torn == looked_at && torn < length {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is no audit log: no line ends"));
        }
        if torn > 0 {
            let path = self.path.display();
            tracing::warn!(%path, bytes = torn, "the last line was torn by a crash: cut off");
            file.set_len(length - torn)?;
            file.sync_data()?;
        }
        Ok(length - torn)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> LogError {
        LogError::Io { what, path: self.path.clone(), source }
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    suffixed(path, &number.to_string())
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn lock(path: &Path) -> Result<File, LogError> {
    let beside = suffixed(path, "lock");
    let failed = |source| LogError::Io { what: "lock", path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(file::SECRET);
    let file = options.open(&beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Taken(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
