//! The keys by which hosts sign what they say of locations.

use mizar_packet::keys::Keys;

pub use mizar_packet::keys::Key as TagKey;

/// The keys of a VPC, or those between all hosts of the fleet, at one epoch.
///
/// A host signs with the key of its epoch, and believes also what is signed with those of the
/// epochs before and after: hosts that are one step apart understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagKeys {
    /// Which keys these are. Each epoch is one later than that before.
    pub epoch: u64,
    /// The key of the epoch before; none at the first one.
    pub before: TagKey,
    /// The key to sign with.
    pub present: TagKey,
    /// The key of the next epoch.
    pub after: TagKey,
    /// Whether what is not signed is not believed. Before that, all hosts have to sign.
    pub required: bool,
}

impl TagKeys {
    /// The three keys, in order of their epochs.
    pub const fn keys(&self) -> [TagKey; 3] {
        [self.before, self.present, self.after]
    }
}

impl From<TagKeys> for Keys {
    fn from(keys: TagKeys) -> Self {
        Self::new(keys.epoch, keys.keys(), keys.required)
    }
}
