//! A slot map as bytes, as the store keeps it.
//!
//! ```text
//! version 1 │ epoch │ size │ hosts: count, each: length, name, epochs since its change │ slots
//! ```
//!
//! Numbers are LEB128, of seven bits a byte. A slot is its keepers, each a number: whether it is
//! the slot's last (bit 0), whether a byte with its state follows since it is not active (bit 1),
//! its host (from bit 2). So a map of up to 32 hosts in which nothing moves has one byte a replica.

use super::{HolderState, Keeper, Known, SlotMap, SlotMapError};
use crate::{Name, NameError, Slot};
use thiserror::Error;

const VERSION: u8 = 1;
const LAST: u64 = 1;
const HAS_STATE: u64 = 2;
const HOST_SHIFT: u32 = 2;

/// Why bytes are no slot map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SlotMapBytesError {
    /// Written by somebody newer.
    #[error("a slot map of version {0}: version {VERSION} is what this program reads")]
    Version(u8),
    /// They end too early.
    #[error("the slot map ends after {0} bytes, within a value: it must be whole")]
    Truncated(usize),
    /// They go on.
    #[error("{0} bytes follow the slot map: there must be none")]
    Trailing(usize),
    /// A number that does not fit.
    #[error("the number at byte {0} is too large: the store's record is damaged")]
    Number(usize),
    /// A host's name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// They say what no slot map may say.
    #[error(transparent)]
    Map(#[from] SlotMapError),
}

impl SlotMap {
    /// The map as bytes: about 1 KB with two replicas and a dozen hosts.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.epoch);
        put(&mut bytes, self.size.into());
        put(&mut bytes, self.hosts.len() as u64);
        for Known { name, since } in &self.hosts {
            put(&mut bytes, name.as_str().len() as u64);
            bytes.extend_from_slice(name.as_str().as_bytes());
            put(&mut bytes, self.epoch - since);
        }
        for slot in &self.slots {
            for (position, keeper) in slot.iter().enumerate() {
                let last = if position + 1 == slot.len() { LAST } else { 0 };
                let active = keeper.state == HolderState::Active;
                let state = if active { 0 } else { HAS_STATE };
                put(&mut bytes, u64::from(keeper.host) << HOST_SHIFT | state | last);
                if !active {
                    bytes.push(keeper.state as u8);
                }
            }
        }
        bytes
    }

    /// The map that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// Says what is wrong with other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SlotMapBytesError> {
        let mut reader = Reader { bytes, at: 0 };
        match reader.byte()? {
            VERSION => {}
            other => return Err(SlotMapBytesError::Version(other)),
        }
        let epoch = reader.number()?;
        let size = reader.small()?;
        let mut hosts = Vec::new();
        for _ in 0..reader.small()? {
            hosts.push(reader.host(epoch)?);
        }
        let mut slots = Vec::with_capacity(Slot::COUNT);
        for slot in 0..Slot::COUNT {
            slots.push(reader.slot(slot)?);
        }
        match bytes.len() - reader.at {
            0 => {}
            left => return Err(SlotMapBytesError::Trailing(left)),
        }
        let map = Self { epoch, size, hosts, slots };
        map.check()?;
        Ok(map)
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn host(&mut self, epoch: u64) -> Result<Known, SlotMapBytesError> {
        let len = self.small()?.into();
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        let name = Name::try_from(text)?;
        let at = self.at;
        let since = epoch.checked_sub(self.number()?).ok_or(SlotMapBytesError::Number(at))?;
        Ok(Known { name, since })
    }

    fn slot(&mut self, slot: usize) -> Result<Vec<Keeper>, SlotMapBytesError> {
        let mut keepers = Vec::new();
        loop {
            let at = self.at;
            let number = self.number()?;
            let host = u16::try_from(number >> HOST_SHIFT);
            let host = host.map_err(|_| SlotMapBytesError::Number(at))?;
            let state = if number & HAS_STATE == 0 { 0 } else { self.byte()? };
            let known = HolderState::ALL.get(usize::from(state)).copied();
            let state = known.ok_or(SlotMapError::State { slot, state })?;
            keepers.push(Keeper { host, state });
            if keepers.len() > SlotMap::MOST_KEEPERS {
                let keepers = keepers.len();
                return Err(SlotMapError::Keepers { slot, keepers }.into());
            }
            if number & LAST != 0 {
                return Ok(keepers);
            }
        }
    }

    fn small(&mut self) -> Result<u16, SlotMapBytesError> {
        let at = self.at;
        u16::try_from(self.number()?).map_err(|_| SlotMapBytesError::Number(at))
    }

    fn number(&mut self) -> Result<u64, SlotMapBytesError> {
        let at = self.at;
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(SlotMapBytesError::Number(at))
    }

    fn byte(&mut self) -> Result<u8, SlotMapBytesError> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, len: usize) -> Result<&[u8], SlotMapBytesError> {
        let truncated = SlotMapBytesError::Truncated(self.bytes.len());
        let taken = self.bytes[self.at..].get(..len).ok_or(truncated)?;
        self.at += len;
        Ok(taken)
    }
}
