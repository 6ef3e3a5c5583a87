//! The kernel programs: loaded from the object inside this binary, with the pinned maps.

use super::maps::{GUEST_SLOTS, MapsError, PINNED, Sizes, WIRE_SLOTS, WIRE_TC_SLOTS, open};
use super::pins::Pins;
use aya::maps::{Map, MapData, ProgramArray};
use aya::programs::{Program, ProgramError, ProgramFd, ProgramInfo, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use mizar_packet::programs::{self, TRAMPOLINE};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The kernel programs as built with this crate: an ELF object, for tools that run them elsewhere.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mizar.bpf.o"));

/// Why the programs cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The object or its maps.
    #[error("cannot load the kernel object")]
    Object(#[source] Box<aya::EbpfError>),
    /// A program that the object should have is not there.
    #[error("the kernel object has no program {name}")]
    NoProgram {
        /// Its name.
        name: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refuses program {name}")]
    Program {
        /// Its name.
        name: String,
        /// The verifier's reason.
        #[source]
        source: Box<ProgramError>,
    },
    /// A program array cannot be written.
    #[error("cannot put program {name} into slot {slot} of {map}")]
    Slot {
        /// The program.
        name: &'static str,
        /// The slot.
        slot: u32,
        /// The program array.
        map: &'static str,
        /// The kernel's reason.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A pin cannot be made.
    #[error("cannot pin {}", path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<aya::pin::PinError>,
    },
    /// A descriptor cannot be copied.
    #[error("cannot copy a program's descriptor")]
    Descriptor {
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A pinned map.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The folder of the pins.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// One copy of the programs in the kernel, sharing the pinned maps with any other copy.
#[derive(Debug)]
pub(crate) struct Programs {
    object: Ebpf,
    trampoline: ProgramFd,
}

impl Programs {
    /// Creates the maps that are not pinned yet, and loads all programs. Nothing is attached.
    pub(crate) fn load(pins: &Pins, sizes: &Sizes) -> Result<Self, LoadError> {
        let folder = pins.tables();
        std::fs::create_dir_all(&folder)
            .map_err(|source| LoadError::Folder { path: folder.clone(), source })?;
        let mut loader = EbpfLoader::new();
        for name in PINNED {
            loader.map_pin_path(name, folder.join(name));
        }
        for (name, entries) in sizes.by_map() {
            loader.map_max_entries(name, entries);
        }
        let mut object =
            loader.load(OBJECT).map_err(|source| LoadError::Object(Box::new(source)))?;
        for (name, program) in object.programs_mut().filter(|(name, _)| *name != TRAMPOLINE) {
            load(program).map_err(|source| refused(name, source))?;
        }
        let trampoline = trampoline(&mut object, &folder)?;
        Ok(Self { object, trampoline })
    }

    /// The program of guests' interfaces.
    pub(crate) fn trampoline(&self) -> &ProgramFd {
        &self.trampoline
    }

    /// Puts this copy's programs into the slots, which replaces any other copy's for all guests.
    pub(crate) fn fill_slots(&self, pins: &Pins) -> Result<(), LoadError> {
        self.fill(pins, GUEST_SLOTS, programs::GUEST)?;
        self.fill(pins, WIRE_SLOTS, programs::WIRE)?;
        self.fill(pins, WIRE_TC_SLOTS, programs::WIRE_IN_TC)
    }

    /// A program for tc.
    pub(crate) fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, LoadError> {
        program(&mut self.object, name)
    }

    /// A program for XDP.
    pub(crate) fn xdp(&mut self, name: &str) -> Result<&mut Xdp, LoadError> {
        program(&mut self.object, name)
    }

    fn fill(
        &self,
        pins: &Pins,
        map: &'static str,
        slots: &[(u32, &'static str)],
    ) -> Result<(), LoadError> {
        let mut array = program_array(pins, map)?;
        for &(slot, name) in slots {
            let program = self.object.program(name).ok_or_else(|| absent(name))?;
            let fd = program.fd().map_err(|source| refused(name, source))?;
            array.set(slot, fd, 0).map_err(|source| LoadError::Slot {
                name,
                slot,
                map,
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}

/// The pinned trampoline, to which all guests' filters refer; the object's own if none is pinned.
fn trampoline(object: &mut Ebpf, folder: &Path) -> Result<ProgramFd, LoadError> {
    let path = folder.join(TRAMPOLINE);
    if path.exists() {
        let pinned = ProgramInfo::from_pin(&path).and_then(|info| info.fd());
        return pinned.map_err(|source| refused(TRAMPOLINE, source));
    }
    let program: &mut SchedClassifier = program(object, TRAMPOLINE)?;
    program.load().map_err(|source| refused(TRAMPOLINE, source))?;
    program.pin(&path).map_err(|source| LoadError::Pin { path, source: Box::new(source) })?;
    let fd = program.fd().map_err(|source| refused(TRAMPOLINE, source))?;
    fd.try_clone().map_err(|source| LoadError::Descriptor { source })
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::SchedClassifier(classifier) => classifier.load(),
        Program::Xdp(xdp) => xdp.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn program<'a, P>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = object.program_mut(name).ok_or_else(|| absent(name))?;
    program.try_into().map_err(|source| refused(name, source))
}

fn program_array(pins: &Pins, name: &'static str) -> Result<ProgramArray<MapData>, LoadError> {
    let map = open(&pins.tables(), name)?;
    Map::from_map_data(map)
        .and_then(ProgramArray::try_from)
        .map_err(|source| LoadError::Object(Box::new(source.into())))
}

fn absent(name: &str) -> LoadError {
    LoadError::NoProgram { name: name.to_owned() }
}

fn refused(name: &str, source: ProgramError) -> LoadError {
    LoadError::Program { name: name.to_owned(), source: Box::new(source) }
}
