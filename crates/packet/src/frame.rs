//! The packet that the journey works on: bytes, and what the kernel knows beside them.

use crate::Reason;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A frame, from its Ethernet header on.
///
/// It is more than bytes, because a kernel's buffer is: a VLAN tag stands beside it, it may hold
/// many segments, and its L4 checksum may be unfinished. Every method checks its bounds.
#[expect(clippy::len_without_is_empty, reason = "a frame without a byte is none")]
pub trait Frame {
    /// Whether a frame for a guest is better passed up as it is, for a program above to unwrap.
    const HANDS_UP: bool = false;

    /// Whether the kernel can be made to find the next hop of a frame that is sent. Where not,
    /// frames are passed up while the agent does not answer for the next hops that it wrote.
    const RESOLVES: bool = true;

    /// Length in bytes; of a buffer that will be segmented, the whole buffer's.
    fn len(&self) -> usize;

    /// Whether it has at least so many bytes: cheaper than [`Frame::len`] where a frame may be in
    /// pieces.
    fn has(&self, len: usize) -> bool;

    /// Whether it has more bytes than that.
    fn exceeds(&self, len: usize) -> bool;

    /// Reads a header at an offset.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before it does.
    fn load<T: FromBytes>(&self, at: usize) -> Result<T, Reason>;

    /// The same offset, which is below 8192 and which the kernel's verifier then no longer knows:
    /// it goes on once for all offsets that a loop may have ended with, not once for each.
    fn forget(&self, at: usize) -> usize {
        debug_assert!(at < 8192, "offset {at} would become another one in the kernel");
        at
    }

    /// Writes a header at an offset.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before it does.
    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: &T) -> Result<(), Reason>;

    /// Makes room for `by` bytes of outer headers in front. The first `by` + 14 bytes are then
    /// undefined: the caller stores outer headers and the inner Ethernet header.
    ///
    /// # Errors
    /// [`Reason::NoRoom`] if there is none.
    fn wrap(&mut self, by: usize) -> Result<(), Reason>;

    /// Removes `by` bytes in front, after which a packet of the given EtherType follows the
    /// Ethernet header. The first 14 bytes are then undefined: the caller stores an Ethernet
    /// header.
    ///
    /// # Errors
    /// [`Reason::NoRoom`] if the kernel cannot.
    fn unwrap(&mut self, by: usize, ethertype: u16) -> Result<(), Reason>;

    /// Makes room for `by` bytes in front of a frame that stays wrapped. The first `by` + 14 bytes
    /// are then undefined.
    ///
    /// # Errors
    /// [`Reason::NoRoom`] if there is none.
    fn extend(&mut self, by: usize) -> Result<(), Reason>;

    /// Sets the length, by cutting or by adding zeros; never of a buffer that will be segmented.
    ///
    /// # Errors
    /// [`Reason::NoRoom`] if the kernel cannot.
    fn resize(&mut self, len: usize) -> Result<(), Reason>;

    /// Whether the sender put a VLAN tag on it, which is not among the bytes.
    fn has_vlan_tag(&self) -> bool;

    /// Payload bytes of each segment that this buffer will be cut into; 0 if it is one packet.
    fn segment_payload(&self) -> usize;

    /// Replaces the two bytes at `at`, which the L4 checksum at `checksum_at` covers. Right for
    /// finished and for unfinished checksums.
    ///
    /// # Errors
    /// [`Reason::Short`] if the frame ends before.
    fn replace_l4(
        &mut self,
        checksum_at: usize,
        at: usize,
        old: u16,
        new: u16,
    ) -> Result<(), Reason>;
}
