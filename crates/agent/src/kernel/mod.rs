//! The data plane in the kernel: programs, maps and links, all of which outlive the agent.
//!
//! ```text
//! <pins>/v<LAYOUT>/MAP          the tables, by name
//! <pins>/v<LAYOUT>/trampoline   the program of guests' interfaces
//! <pins>/links/…                what hangs on the NIC
//! ```
//!
//! A start finds these and takes them over: it reads the tables back, loads its own copy of the
//! programs with the same maps, and replaces slots and links one by one, each atomically. Pins of
//! another layout are refused rather than migrated, and a pinned map keeps the size that it has:
//! both are changed by removing everything ([`detach`]) and starting again.

mod attach;
mod endpoints;
mod filter;
mod learned;
mod mapping;
mod maps;
mod ports;
mod program;
mod require;
mod sys;
mod table;

pub use attach::{AttachError, NicMode, UnknownMode};
pub use endpoints::EndpointTable;
pub use learned::LearnedTable;
pub use maps::{DUMPED, Maps, MapsError, Sizes, memory_by_map};
pub use ports::PortTable;
pub use program::{LoadError, OBJECT};
pub use require::Missing;
pub use table::{CounterTable, RawRows, Table, TableError};

pub(crate) use attach::Nic;
pub use sys::jiffies;
pub(crate) use sys::release_memory;

use crate::netlink::Netlink;
use aya::maps::{Map, MapData, RingBuf};
use mizar_packet::programs::TRAMPOLINE;
use mizar_packet::tables::LAYOUT;
use program::Programs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::io::unix::AsyncFd;

/// Events from the kernel programs.
pub(crate) type EventQueue = AsyncFd<RingBuf<MapData>>;

/// The loaded programs and their tables.
#[derive(Debug)]
pub struct Kernel {
    pins: PathBuf,
    programs: Programs,
}

/// Why the data plane cannot be taken over.
#[derive(Debug, Error)]
pub enum KernelError {
    /// This host cannot run it.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Pins of another layout are there.
    #[error(
        "{} holds the tables of another layout, and this build has v{LAYOUT}: run \
         `mizar agent remove` with the build that made them, then start again", path.display()
    )]
    OtherLayout {
        /// The folder of the other layout.
        path: PathBuf,
    },
    /// Programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Maps.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// Links.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The queue of events.
    #[error("cannot open the queue of events")]
    Events(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Kernel {
    /// Checks the host, takes over or creates the maps, and loads the programs. Attaches nothing.
    pub fn load(pins: &Path, sizes: &Sizes) -> Result<(Self, Maps), KernelError> {
        require::check(pins)?;
        refuse_other_layouts(pins)?;
        let programs = Programs::load(pins, sizes)?;
        let maps = Maps::open(pins)?;
        Ok((Self { pins: pins.to_owned(), programs }, maps))
    }

    /// Puts the programs to work: slots first, then the NIC, deliver first and XDP last.
    pub(crate) async fn attach(
        &mut self,
        netlink: &Netlink,
        nic: Nic<'_>,
        mode: NicMode,
    ) -> Result<(), KernelError> {
        require::check_mode(mode)?;
        self.programs.fill_slots(&self.pins)?;
        Ok(attach::attach(netlink, &mut self.programs, nic, mode, &self.pins).await?)
    }

    /// The program that every guest's interface runs.
    pub fn trampoline(&self) -> BorrowedFd<'_> {
        self.programs.trampoline().as_fd()
    }

    /// The queue of events from the kernel programs. Only one reader may use it.
    pub(crate) fn events(&self) -> Result<EventQueue, KernelError> {
        let map = maps::open(&maps::folder(&self.pins), maps::EVENTS)?;
        let queue = Map::from_map_data(map).and_then(RingBuf::try_from);
        let queue = queue.map_err(|source| KernelError::Events(Box::new(source)))?;
        sys::waitable(queue).map_err(|source| KernelError::Events(Box::new(source)))
    }
}

/// Takes everything off the NIC, what delivers last, and removes all pins. Goes on after errors.
///
/// Interfaces of guests stay; their filters drop what they send, since the slots are empty then.
pub async fn detach(netlink: &Netlink, pins: &Path) -> Vec<AttachError> {
    let mut errors = attach::detach(netlink, pins).await;
    let folder = maps::folder(pins);
    for name in maps::PINNED.into_iter().chain([TRAMPOLINE]) {
        let path = folder.join(name);
        if path.exists() {
            let removed = std::fs::remove_file(&path);
            errors.extend(
                removed.map_err(|source| AttachError::Pin { action: "remove", path, source }).err(),
            );
        }
    }
    for path in [folder, pins.to_owned()] {
        if path.exists() {
            let removed = std::fs::remove_dir(&path);
            errors.extend(
                removed.map_err(|source| AttachError::Pin { action: "remove", path, source }).err(),
            );
        }
    }
    errors
}

fn refuse_other_layouts(pins: &Path) -> Result<(), KernelError> {
    let own = maps::folder(pins);
    // A folder that is not there yet holds none.
    for entry in std::fs::read_dir(pins).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_layout =
            name.to_str().and_then(|name| name.strip_prefix('v')).is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            });
        if is_layout && entry.path() != own {
            return Err(KernelError::OtherLayout { path: entry.path() });
        }
    }
    Ok(())
}
