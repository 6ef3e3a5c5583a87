//! Slots of a network's endpoint table.

use mizar_packet::{Address, tables::SLOTS};
use std::fmt;
use std::net::IpAddr;

/// One of the 256 hash classes of a network's endpoint addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

const _: () = assert!(SLOTS == 1 << u8::BITS);

impl Slot {
    /// How many there are.
    pub const COUNT: usize = SLOTS;

    /// The slot that an address falls into: the same as in the kernel programs of every host.
    pub fn of(address: impl Into<IpAddr>) -> Self {
        Self(Address::from(address.into()).slot())
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// The number, 0 to 255.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number as an index into a list of [`Slot::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u8> for Slot {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_slot_is_the_data_plane_s() {
        let address = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(Slot::of(address).get(), Address::from(address).slot());
        assert_eq!(Slot::all().count(), Slot::COUNT);
    }
}
