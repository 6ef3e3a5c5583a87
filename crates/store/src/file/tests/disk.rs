//! A disk in memory that can stop, fail and forget.

use crate::file::database::{Database, Meta};
use crate::file::disk::Disk;
use crate::{Options, Redb, StoreError};
use redb::StorageBackend;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

const CACHE: usize = 1 << 20;

/// As real disks write: a sector is there or not.
const SECTOR: usize = 512;

/// What is done to a disk.
#[derive(Clone, Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    Length(u64),
    Flush,
}

/// What is left of the operations since the last flush when the power comes back, and of the one
/// during which it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aftermath {
    /// All but the last one.
    LastLost,
    /// All, and half of the last one.
    LastTorn,
    /// All.
    Complete,
    /// None.
    AllLost,
    /// Only the last one.
    OnlyLast,
    /// All but the first one.
    FirstLost,
    /// Some of them, and sectors of others.
    Some(u64),
}

impl Aftermath {
    pub(super) const ALL: [Self; 10] = [
        Self::LastLost,
        Self::LastTorn,
        Self::Complete,
        Self::AllLost,
        Self::OnlyLast,
        Self::FirstLost,
        Self::Some(1),
        Self::Some(2),
        Self::Some(3),
        Self::Some(4),
    ];
}

/// What goes wrong while the power is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No room for what is not there yet; the header can be written.
    Full,
    /// Nothing can be written.
    ReadOnly,
    /// One flush fails, and the next says that all is well: what was to be flushed is shown, and
    /// lost.
    Flush,
    /// One flush fails after it has done its work.
    FlushLate,
    /// The same, and then nothing can be written.
    FlushThenReadOnly,
    /// One read fails.
    Read,
}

#[derive(Clone, Debug)]
pub(super) struct TestDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What is read.
    shown: Vec<u8>,
    /// What is there after a crash.
    flushed: Vec<u8>,
    unflushed: Vec<Operation>,
    operations: u64,
    stop_at: Option<u64>,
    /// What was to be done when it stopped.
    stopped: Option<Operation>,
    fault: Option<Fault>,
    /// How many flushes go well before one fails.
    spared: u64,
}

impl TestDisk {
    /// With a new store.
    pub(super) fn with_store() -> Self {
        let disk = Self::of(Vec::new());
        drop(Database::create(&disk.lend(), CACHE, Meta::NEW).unwrap());
        disk
    }

    pub(super) fn of(image: Vec<u8>) -> Self {
        let state = State { shown: image.clone(), flushed: image, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn open(&self) -> Result<Redb, StoreError> {
        Redb::on(self.lend(), &Options { cache: CACHE, ..Options::default() })
    }

    fn lend(&self) -> Disk {
        Disk::lent(Path::new("a test disk"), Box::new(self.clone()))
    }

    /// How many operations there have been.
    pub(super) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets the power go at this operation.
    pub(super) fn stop_at(&self, operation: u64) {
        self.lock().stop_at = Some(operation);
    }

    /// Lets the power go.
    pub(super) fn stop(&self) {
        self.lock().stopped.get_or_insert(Operation::Flush);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped.is_some()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// Lets the flush after the next so many fail.
    pub(super) fn fail_flush_after(&self, spared: u64) {
        let mut state = self.lock();
        (state.fault, state.spared) = (Some(Fault::Flush), spared);
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    /// The disk when the power is back.
    pub(super) fn after(&self, aftermath: Aftermath) -> Self {
        let state = self.lock();
        let mut image = state.flushed.clone();
        let last = state.stopped.as_ref();
        let before = state.unflushed.iter();
        match aftermath {
            Aftermath::LastLost => before.for_each(|operation| operation.apply(&mut image)),
            Aftermath::LastTorn => {
                before.for_each(|operation| operation.apply(&mut image));
                if let Some(Operation::Write(offset, data)) = last {
                    Operation::Write(*offset, data[..data.len() / 2].to_vec()).apply(&mut image);
                }
            }
            Aftermath::Complete => {
                before.chain(last).for_each(|operation| operation.apply(&mut image));
            }
            Aftermath::AllLost => {}
            Aftermath::OnlyLast => last.into_iter().for_each(|op| op.apply(&mut image)),
            Aftermath::FirstLost => {
                before.skip(1).chain(last).for_each(|operation| operation.apply(&mut image));
            }
            Aftermath::Some(seed) => {
                let mut random = Random(seed.wrapping_mul(0x9e37_79b9) ^ state.operations);
                for operation in before.chain(last) {
                    operation.apply_some(&mut image, &mut random);
                }
            }
        }
        Self::of(image)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn operate(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.lock();
        if state.stopped.is_some() {
            return Err(io::Error::other("the power is off"));
        }
        if let Some(error) = state.fail(&operation) {
            return Err(error);
        }
        let number = state.operations;
        state.operations += 1;
        if state.stop_at == Some(number) {
            state.stopped = Some(operation);
            return Err(io::Error::other("the power went off"));
        }
        match operation {
            Operation::Flush => state.flush(),
            operation => {
                operation.apply(&mut state.shown);
                state.unflushed.push(operation);
            }
        }
        Ok(())
    }
}

impl State {
    fn flush(&mut self) {
        for operation in self.unflushed.drain(..) {
            operation.apply(&mut self.flushed);
        }
    }

    fn fail(&mut self, operation: &Operation) -> Option<io::Error> {
        match (self.fault?, operation) {
            (_, Operation::Flush) if self.spared > 0 => {
                self.spared -= 1;
                None
            }
            (Fault::Full, Operation::Write(offset, _)) if *offset >= 4096 => {
                Some(io::ErrorKind::StorageFull.into())
            }
            (Fault::ReadOnly, Operation::Write(..) | Operation::Length(_)) => {
                Some(io::ErrorKind::ReadOnlyFilesystem.into())
            }
            (fault @ (Fault::Flush | Fault::FlushThenReadOnly), Operation::Flush) => {
                self.unflushed.clear();
                self.fault = (fault == Fault::FlushThenReadOnly).then_some(Fault::ReadOnly);
                Some(io::Error::other("the disk failed"))
            }
            (Fault::FlushLate, Operation::Flush) => {
                self.flush();
                self.fault = None;
                Some(io::Error::other("the disk failed late"))
            }
            _ => None,
        }
    }
}

impl Operation {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Flush => {}
            Self::Length(length) => image.resize(usize::try_from(*length).unwrap(), 0),
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap();
                image.resize(image.len().max(start + data.len()), 0);
                image[start..start + data.len()].copy_from_slice(data);
            }
        }
    }

    /// All of it, nothing, or some sectors.
    fn apply_some(&self, image: &mut Vec<u8>, random: &mut Random) {
        match (random.next() % 4, self) {
            (0, _) => {}
            (1, Self::Write(offset, data)) => {
                for (at, sector) in data.chunks(SECTOR).enumerate() {
                    if random.next().is_multiple_of(2) {
                        let offset = offset + (at * SECTOR) as u64;
                        Self::Write(offset, sector.to_vec()).apply(image);
                    }
                }
            }
            _ => self.apply(image),
        }
    }
}

impl StorageBackend for TestDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.stopped.is_some() {
            return Err(io::Error::other("the power is off"));
        }
        if state.fault == Some(Fault::Read) {
            state.fault = None;
            return Err(io::Error::other("the disk cannot read"));
        }
        let start = usize::try_from(offset).unwrap();
        let found = state.shown.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(Operation::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(Operation::Flush)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(Operation::Write(offset, data.to_vec()))
    }
}

/// Xorshift: numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}
