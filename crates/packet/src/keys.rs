//! Keyed tags: proof that what a host says of locations comes from one that has the key.
//!
//! A tag is a [`siphash`] of what is said, in 62 bits, and in the two lowest the epoch of the key,
//! so that only one key is tried. Of the four keys that two bits can name, hosts have three: the
//! one of the present epoch, by which they sign, and those of the epochs before and after it. So
//! hosts that are one step apart understand each other, and keys change without a moment that all
//! would have to share.

use crate::siphash::siphash;
use crate::tables::EndpointKey;
use crate::wire::oam::{ControlFrame, Message};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A tag as it is on the wire; all zeros where nobody has signed.
pub type Tag = [u8; 8];

/// The bits of a tag that name the epoch of its key.
const EPOCH: u64 = 3;

/// A key of 128 bits. All zeros: none. It shows itself to nobody.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Key([u64; 2]);

/// The keys of a VPC, or those between all hosts of the fleet, and what they are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Keys {
    /// By epoch modulo four.
    keys: [Key; 4],
    /// The epoch of the key to sign with.
    epoch: u32,
    /// [`Keys::OFF`], [`Keys::SIGNING`] or [`Keys::REQUIRED`].
    stage: u32,
}

impl Key {
    /// No key.
    pub const NONE: Self = Self([0; 2]);

    /// The key of these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        let words = [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]];
        Self([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])])
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 16] {
        let [low, high] = self.0.map(u64::to_le_bytes);
        core::array::from_fn(|at| if at < 8 { low[at] } else { high[at - 8] })
    }

    /// Whether it is none.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.0[0] | self.0[1] == 0
    }

    /// A number by which two holders can see that they have the same key, and from which nobody
    /// learns it.
    pub fn fingerprint(self) -> u64 {
        siphash(self.0, &[u64::from_le_bytes(*b"mizarkey")])
    }

    /// The key of a VPC, or of VNI 0 for the fleet, that follows from a secret which is used for
    /// nothing else; none from none.
    pub fn derive(self, vni: u32) -> Self {
        if self.is_none() {
            return self;
        }
        Self([0, 1].map(|half| siphash(self.0, &[vni.into(), half])))
    }

    /// For one endpoint's location. The host is the underlay address that the option names.
    #[inline(always)]
    fn location(&self, key: &EndpointKey, host: [u8; 4], generation: u64) -> u64 {
        let place = u64::from(key.vni) << 32 | u64::from(u32::from_le_bytes(host));
        let [high, low] = key.address.words().map(u64::from_le);
        siphash(self.0, &[place, high, low, generation])
    }

    /// For a control message from one host to another.
    #[inline(always)]
    fn control(&self, frame: &ControlFrame) -> u64 {
        let mut words = frame.message.words();
        let [src, dst] = [frame.outer.ip.src, frame.outer.ip.dst].map(u32::from_le_bytes);
        // The tag itself is not signed; in its place stands who speaks to whom.
        words[Message::WORDS - 1] = u64::from(src) << 32 | u64::from(dst);
        siphash(self.0, &words)
    }
}

impl Keys {
    /// Nothing is signed, and everything believed.
    pub const OFF: u32 = 0;
    /// What is said is signed, and everything believed: not all hosts sign yet.
    pub const SIGNING: u32 = 1;
    /// What is said is signed, and only what is signed is believed.
    pub const REQUIRED: u32 = 2;

    /// No keys: nothing is signed, and everything believed.
    pub const NONE: Self = Self { keys: [Key::NONE; 4], epoch: 0, stage: Self::OFF };

    /// The keys of the epochs before, at and after `epoch`, which is the one to sign with.
    pub const fn new(epoch: u64, [before, present, after]: [Key; 3], required: bool) -> Self {
        let mut keys = [Key::NONE; 4];
        keys[(epoch.wrapping_sub(1) & EPOCH) as usize] = before;
        keys[(epoch & EPOCH) as usize] = present;
        keys[(epoch.wrapping_add(1) & EPOCH) as usize] = after;
        let stage = if required { Self::REQUIRED } else { Self::SIGNING };
        Self { keys, epoch: (epoch & EPOCH) as u32, stage }
    }

    /// Whether what is not signed is not believed.
    #[inline(always)]
    pub const fn are_required(&self) -> bool {
        self.stage == Self::REQUIRED
    }

    /// The tag of an endpoint's location, for the host that it is on; zeros if nothing is signed.
    pub fn sign_location(&self, key: &EndpointKey, host: [u8; 4], generation: u64) -> Tag {
        self.sign(|secret| secret.location(key, host, generation))
    }

    /// Signs a control message.
    pub fn sign_control(&self, frame: &mut ControlFrame) {
        frame.message.tag = self.sign(|secret| secret.control(frame));
    }

    /// Whether the location of an endpoint is to be believed.
    #[inline(always)]
    pub fn believe_location(
        &self,
        key: &EndpointKey,
        host: [u8; 4],
        generation: u64,
        tag: Tag,
    ) -> bool {
        if !self.are_required() {
            return true;
        }
        let secret = self.key_of(tag);
        !secret.is_none() && agree(secret.location(key, host, generation), tag)
    }

    /// Whether a control message is to be believed.
    #[inline(always)]
    pub fn believe_control(&self, frame: &ControlFrame) -> bool {
        if !self.are_required() {
            return true;
        }
        let secret = self.key_of(frame.message.tag);
        !secret.is_none() && agree(secret.control(frame), frame.message.tag)
    }

    fn sign(&self, hash: impl FnOnce(&Key) -> u64) -> Tag {
        let epoch = u64::from(self.epoch) & EPOCH;
        let key = &self.keys[epoch as usize];
        if self.stage == Self::OFF || key.is_none() {
            return [0; 8];
        }
        (hash(key) & !EPOCH | epoch).to_le_bytes()
    }

    /// The key that a tag names.
    #[inline(always)]
    fn key_of(&self, tag: Tag) -> &Key {
        &self.keys[(u64::from_le_bytes(tag) & EPOCH) as usize]
    }
}

#[inline(always)]
fn agree(hash: u64, tag: Tag) -> bool {
    (hash ^ u64::from_le_bytes(tag)) & !EPOCH == 0
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Key(none)" } else { "Key(secret)" })
    }
}

const _: () = assert!(size_of::<Keys>() == 72);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use crate::wire::oam;

    const HOST: [u8; 4] = [100, 64, 0, 1];
    const GENERATION: u64 = 0x0001_0000_0000_0007;

    fn key(number: u8) -> Key {
        Key::new([number; 16])
    }

    fn keys(epoch: u64) -> Keys {
        let of = |epoch: u64| if epoch == 0 { Key::NONE } else { key(epoch as u8) };
        Keys::new(epoch, [of(epoch - 1), of(epoch), of(epoch + 1)], true)
    }

    fn subject() -> EndpointKey {
        EndpointKey::new(0xab_cdef, Address::v4([10, 0, 0, 7]))
    }

    #[test]
    fn hosts_that_are_one_step_apart_believe_each_other_and_those_two_apart_do_not() {
        for here in 1..12 {
            for there in 1..12u64 {
                let tag = keys(there).sign_location(&subject(), HOST, GENERATION);
                let believed = keys(here).believe_location(&subject(), HOST, GENERATION, tag);
                assert_eq!(believed, here.abs_diff(there) <= 1, "{here} and {there}");
            }
        }
    }

    #[test]
    fn a_tag_is_of_one_location_only() {
        let (keys, tag) = (keys(5), keys(5).sign_location(&subject(), HOST, GENERATION));
        let believed =
            |key, host, generation, tag| keys.believe_location(&key, host, generation, tag);
        assert!(believed(subject(), HOST, GENERATION, tag));
        let other_vni = EndpointKey { vni: 1, ..subject() };
        let other_address = EndpointKey::new(0xab_cdef, Address::v4([10, 0, 0, 8]));
        assert!(!believed(other_vni, HOST, GENERATION, tag));
        assert!(!believed(other_address, HOST, GENERATION, tag));
        assert!(!believed(subject(), [100, 64, 0, 2], GENERATION, tag));
        assert!(!believed(subject(), HOST, GENERATION + 1, tag));
        for bit in 0..64 {
            let flipped = (u64::from_le_bytes(tag) ^ 1 << bit).to_le_bytes();
            assert!(!believed(subject(), HOST, GENERATION, flipped), "bit {bit}");
        }
        assert!(!believed(subject(), HOST, GENERATION, [0; 8]));
    }

    #[test]
    fn a_control_message_is_signed_whole_and_for_whom_it_is() {
        let end = |number| ([2, 0, 0, 0, 0, number], [100, 64, 0, number]);
        let message = Message::about(
            oam::NOTICE,
            0xab_cdef,
            Address::v4([10, 0, 0, 7]),
            Address::v4(HOST),
            GENERATION,
        );
        let mut frame = ControlFrame::new(end(1), end(2), 0, message);
        keys(5).sign_control(&mut frame);
        assert!(keys(5).believe_control(&frame));
        for at in 0..Message::LEN {
            let mut other = frame;
            other.message.as_mut_bytes()[at] ^= 0x80;
            assert!(!keys(5).believe_control(&other), "byte {at}");
        }
        for (src, dst) in [(3, 2), (1, 3), (2, 1)] {
            let mut other = ControlFrame::new(end(src), end(dst), 0, frame.message);
            other.message.tag = frame.message.tag;
            assert!(!keys(5).believe_control(&other), "from {src} to {dst}");
        }
    }

    #[test]
    fn unless_tags_are_required_everything_is_believed_and_without_keys_nothing_is_signed() {
        let signing = Keys::new(5, [Key::NONE, key(5), key(6)], false);
        let tag = signing.sign_location(&subject(), HOST, GENERATION);
        assert!(keys(5).believe_location(&subject(), HOST, GENERATION, tag));
        for lax in [signing, Keys::NONE] {
            assert!(lax.believe_location(&subject(), HOST, GENERATION, [0; 8]));
            assert!(lax.believe_location(&subject(), HOST, GENERATION, [9; 8]));
        }
        assert_eq!(Keys::NONE.sign_location(&subject(), HOST, GENERATION), [0; 8]);
        let empty = Keys::new(5, [Key::NONE; 3], true);
        assert_eq!(empty.sign_location(&subject(), HOST, GENERATION), [0; 8]);
        assert!(!empty.believe_location(&subject(), HOST, GENERATION, [0; 8]));
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?} {:?}", key(7), Key::NONE), "Key(secret) Key(none)");
        assert!(!format!("{:?}", keys(7)).contains("0707"));
        assert_ne!(key(7).fingerprint(), key(8).fingerprint());
        assert_eq!(Key::new(key(7).bytes()), key(7));
    }

    #[test]
    fn what_follows_from_a_secret_differs_from_vpc_to_vpc_and_none_follows_from_none() {
        let mut derived: Vec<_> = (0..100).map(|vni| key(7).derive(vni).bytes()).collect();
        derived.push(key(8).derive(0).bytes());
        derived.push(key(7).bytes());
        derived.sort_unstable();
        derived.dedup();
        assert_eq!(derived.len(), 102);
        assert!(Key::NONE.derive(5).is_none());
    }
}
