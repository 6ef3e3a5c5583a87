//! The data plane in the kernel: programs, maps and links, all of which outlive the agent.
//!
//! ```text
//! <pins>/v<LAYOUT>/MAP          the tables, by name
//! <pins>/v<LAYOUT>/trampoline   the program of guests' interfaces
//! <pins>/links/…                what hangs on the NIC
//! ```
//!
//! A start finds these and takes them over: it reads the tables back, loads its own copy of the
//! programs with the same maps, and replaces slots and links one by one, each atomically. A pinned
//! map keeps the size that it has, until everything is removed ([`detach`]) or the layout changes.
//!
//! Where it finds another layout, it makes its own tables beside, and attaches its programs only
//! when these tables are as they must be. The old ones are never read, but for [`Carried`].

mod attach;
mod endpoints;
mod filter;
mod learned;
mod look;
mod mapping;
mod maps;
mod pins;
mod ports;
mod program;
mod require;
mod sys;
mod table;

pub use attach::{AttachError, NicMode, UnknownMode};
pub use endpoints::EndpointTable;
pub use learned::LearnedTable;
pub use maps::{Maps, MapsError, Sizes, memory_by_map};
pub use pins::Pins;
pub use ports::PortTable;
pub use program::{LoadError, OBJECT};
pub use require::Missing;
pub use table::{CounterTable, Table, TableError};

pub(crate) use attach::Nic;
pub use sys::jiffies;
pub(crate) use sys::{program_id, release_memory};

use crate::netlink::Netlink;
use aya::maps::{Map, MapData, RingBuf};
use mizar_packet::carried::Carried;
use program::Programs;
use std::os::fd::{AsFd, BorrowedFd};
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tracing::warn;

/// Events from the kernel programs.
pub(crate) type EventQueue = AsyncFd<RingBuf<MapData>>;

/// The loaded programs and their tables.
#[derive(Debug)]
pub struct Kernel {
    pins: Pins,
    programs: Programs,
}

/// Why the data plane cannot be taken over.
#[derive(Debug, Error)]
pub enum KernelError {
    /// This host cannot run it.
    #[error(transparent)]
    Missing(#[from] Missing),
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
    pub fn load(pins: impl Into<Pins>, sizes: &Sizes) -> Result<(Self, Maps), KernelError> {
        let pins = pins.into();
        require::check(pins.root())?;
        let programs = Programs::load(&pins, sizes)?;
        let maps = Maps::open(pins.clone())?;
        Ok((Self { pins, programs }, maps))
    }

    /// The layouts, other than this one, of which something is there and may be at work.
    pub(crate) fn others(&self) -> Vec<u32> {
        self.pins.others()
    }

    /// What the host has once and for all, if another layout is there.
    pub(crate) fn carried(&self) -> Option<Carried> {
        self.pins.carried()
    }

    /// How the programs that are at work take frames from the NIC.
    pub(crate) fn mode_at_work(&self) -> NicMode {
        self.pins.mode()
    }

    /// Has the guests' program call this copy's programs; nothing calls it yet.
    pub(crate) fn prepare(&self) -> Result<(), KernelError> {
        Ok(self.programs.fill_slots(&self.pins)?)
    }

    /// Removes the tables of other layouts, which no program at work has any more. Those that
    /// cannot be removed are tried again by the next start.
    pub(crate) fn remove_others(&self) {
        for (path, error) in self.pins.remove_others() {
            warn!(path = %path.display(), %error, "pin of another layout not removed");
        }
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
        Ok(attach::attach(netlink, &mut self.programs, nic, mode, &self.pins.links()).await?)
    }

    /// The program that every guest's interface runs.
    pub fn trampoline(&self) -> BorrowedFd<'_> {
        self.programs.trampoline().as_fd()
    }

    /// The queue of events from the kernel programs. Only one reader may use it.
    pub(crate) fn events(&self) -> Result<EventQueue, KernelError> {
        let map = maps::open(&self.pins.tables(), maps::EVENTS)?;
        let queue = Map::from_map_data(map).and_then(RingBuf::try_from);
        let queue = queue.map_err(|source| KernelError::Events(Box::new(source)))?;
        sys::waitable(queue).map_err(|source| KernelError::Events(Box::new(source)))
    }
}

/// Takes everything off the NIC, what delivers last, and removes all pins. Goes on after errors.
///
/// Interfaces of guests stay; their filters drop what they send, since the slots are empty then.
pub async fn detach(netlink: &Netlink, pins: impl Into<Pins>) -> Vec<AttachError> {
    let pins = pins.into();
    let mut errors = attach::detach(netlink, &pins.links()).await;
    let mut left = pins.remove_others();
    left.extend(pins.remove_tables());
    if pins.root().exists() {
        let removed = std::fs::remove_dir(pins.root());
        left.extend(removed.err().map(|error| (pins.root().to_owned(), error)));
    }
    let failed = |(path, source)| AttachError::Pin { action: "remove", path, source };
    errors.extend(left.into_iter().map(failed));
    errors
}
