//! Where things are pinned, and what another layout has left there.
//!
//! Tables, slots and the guests' program lie in a folder of their layout, so that a new layout's
//! are set up beside the old ones. Links do not: what hangs on the NIC is found and replaced
//! whichever layout it is of.

use super::attach::NicMode;
use super::maps::CONFIG;
use super::sys;
use mizar_packet::carried::Carried;
use mizar_packet::programs::{WIRE_XDP, WIRE_XDP_GENERIC};
use mizar_packet::tables::LAYOUT;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of pins, and the layout of what is made there.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    layout: u32,
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Pins {
    /// Those of this build's layout.
    fn from(root: &P) -> Self {
        Self::of_layout(root.as_ref(), LAYOUT)
    }
}

impl Pins {
    /// Those that bear this number. Their layout is this build's all the same: a test has two
    /// numbers for it, to go from one to the other.
    pub fn of_layout(root: &Path, layout: u32) -> Self {
        Self { root: root.to_owned(), layout }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) const fn layout(&self) -> u32 {
        self.layout
    }

    /// The folder of the tables, slots and the guests' program.
    pub(crate) fn tables(&self) -> PathBuf {
        self.root.join(format!("v{}", self.layout))
    }

    /// The folder of what hangs on the NIC.
    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// The layouts, other than this one, of which something is there.
    pub(crate) fn others(&self) -> Vec<u32> {
        // A folder that is not there has none.
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let layouts = entries.filter_map(|entry| layout(entry.file_name().to_str()?));
        layouts.filter(|layout| *layout != self.layout).collect()
    }

    /// What a host has once and for all, from another layout's tables.
    pub(crate) fn carried(&self) -> Option<Carried> {
        let others = self.others().into_iter();
        others.filter_map(|other| read(&Self::of_layout(&self.root, other).tables())).next()
    }

    /// How the programs that hang there take frames from the NIC.
    pub(crate) fn mode(&self) -> NicMode {
        let is_there = |name: &str| self.links().join(name).exists();
        match (is_there(WIRE_XDP), is_there(WIRE_XDP_GENERIC)) {
            (true, _) => NicMode::Native,
            (false, true) => NicMode::Generic,
            (false, false) => NicMode::Tc,
        }
    }

    /// Removes all pins of other layouts. Goes on after errors.
    pub(crate) fn remove_others(&self) -> Vec<(PathBuf, io::Error)> {
        let others = self.others().into_iter();
        others.flat_map(|other| Self::of_layout(&self.root, other).remove_tables()).collect()
    }

    /// Removes all pins of this layout. Goes on after errors.
    pub(crate) fn remove_tables(&self) -> Vec<(PathBuf, io::Error)> {
        let folder = self.tables();
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut errors = Vec::new();
        for path in entries.map(|entry| entry.path()) {
            errors.extend(std::fs::remove_file(&path).err().map(|error| (path, error)));
        }
        if folder.exists() {
            errors.extend(std::fs::remove_dir(&folder).err().map(|error| (folder, error)));
        }
        errors
    }
}

/// The layout whose folder has this name.
fn layout(name: &str) -> Option<u32> {
    let number = name.strip_prefix('v')?;
    // As it is written: no sign, no zeros before it.
    number.parse().ok().filter(|layout: &u32| layout.to_string() == number)
}

fn read(folder: &Path) -> Option<Carried> {
    // A folder without that table was given up before anything of it was at work, or after.
    let config = sys::open_pin(&folder.join(CONFIG)).and_then(sys::Map::new).ok()?;
    let mut row = vec![0; config.row_size];
    config.get(&0u32.to_ne_bytes(), &mut row).ok().filter(|found| *found)?;
    Carried::read(&row).filter(|carried| carried.mark != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_layouts_are_told_from_others() {
        assert_eq!(layout("v4"), Some(4));
        assert_eq!(["v", "v04", "v+4", "vx", "4", "links"].map(layout), [None; 6]);
    }
}
