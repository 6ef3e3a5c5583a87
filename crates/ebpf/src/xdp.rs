//! A frame in XDP.

use crate::words::{Aligned, copy, forget};
use aya_ebpf::helpers::generated::{
    bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
};
use aya_ebpf::programs::XdpContext;
use mizar_packet::programs::Tag;
use mizar_packet::wire::checksum;
use mizar_packet::{Frame, Reason};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A frame in XDP: its first piece can be read and written, which has all headers.
///
/// Resizing takes `&mut self`, so that the compiler refuses what the verifier would.
///
/// `GENERIC` is for XDP above the driver. Where the kernel has to copy a frame to give that
/// headroom, a frame whose head has moved reaches tc without its Ethernet header and with wrong
/// metadata (seen with 6.18): such frames are forwarded, but unwrapped by `wire_tc`.
pub struct XdpFrame<'a, const GENERIC: bool>(pub &'a XdpContext);

/// No driver's first piece is shorter, where there are others.
const PIECE: usize = 2048;

impl<const GENERIC: bool> XdpFrame<'_, GENERIC> {
    /// Puts a tag before the frame.
    #[inline(always)]
    pub fn tag(&mut self, tag: Tag) -> Result<(), Reason> {
        const LEN: usize = size_of::<Tag>();
        // SAFETY: the context is the kernel's.
        if unsafe { bpf_xdp_adjust_meta(self.0.ctx, -(LEN as i32)) } != 0 {
            return Err(Reason::NoRoom);
        }
        let (start, end) = (self.0.metadata(), self.0.metadata_end());
        if start + LEN > end {
            return Err(Reason::NoRoom);
        }
        // SAFETY: the kernel keeps [data_meta, data) for this program alone, and it is long enough.
        unsafe { (start as *mut Tag).write(tag) };
        Ok(())
    }

    /// Bytes of the first piece. Lengths that a frame says are compared with that: verifiers before
    /// that of Linux 6.18 do not know how large a number is whose bytes have been swapped, and
    /// refuse to add it to a pointer.
    #[inline(always)]
    fn first(&self) -> usize {
        self.0.data_end() - self.0.data()
    }

    /// A pointer to `len` bytes at an offset, which the verifier has seen to be in the frame.
    #[inline(always)]
    fn at(&self, at: usize, len: usize) -> Result<*mut u8, Reason> {
        let start = self.0.data() + at;
        if start + len > self.0.data_end() {
            return Err(Reason::Short);
        }
        Ok(start as *mut u8)
    }

    #[inline(always)]
    fn adjust_head(&mut self, by: i32) -> Result<(), Reason> {
        // SAFETY: the context is the kernel's.
        let done = unsafe { bpf_xdp_adjust_head(self.0.ctx, by) } == 0;
        if done { Ok(()) } else { Err(Reason::NoRoom) }
    }
}

impl<const GENERIC: bool> Frame for XdpFrame<'_, GENERIC> {
    const HANDS_UP: bool = GENERIC;
    const RESOLVES: bool = false;

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as usize }
    }

    #[inline(always)]
    fn has(&self, len: usize) -> bool {
        self.first() >= len || self.len() >= len
    }

    #[inline(always)]
    fn exceeds(&self, len: usize) -> bool {
        let first = self.first();
        if first > len {
            return true;
        }
        // A frame that ends where its first piece does has no other one, unless it is long.
        (first < len || len >= PIECE) && self.len() > len
    }

    #[inline(always)]
    fn load<T: FromBytes>(&self, at: usize) -> Result<T, Reason> {
        let from = self.at(at, size_of::<T>())?;
        let mut value = Aligned::<T>::uninit();
        // SAFETY: `at` gives as many bytes as `T` has, and any bytes are a `T`.
        unsafe {
            copy(size_of::<T>(), from, value.as_mut_ptr());
            Ok(value.assume_init())
        }
    }

    #[inline(always)]
    fn forget(&self, at: usize) -> usize {
        forget(at)
    }

    #[inline(always)]
    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: &T) -> Result<(), Reason> {
        let to = self.at(at, size_of::<T>())?;
        // SAFETY: `at` gives as many bytes as `T` has.
        unsafe { copy(size_of::<T>(), core::ptr::from_ref(value).cast(), to) };
        Ok(())
    }

    #[inline(always)]
    fn wrap(&mut self, by: usize) -> Result<(), Reason> {
        self.adjust_head(-(by as i32))
    }

    #[inline(always)]
    fn unwrap(&mut self, by: usize, _ethertype: u16) -> Result<(), Reason> {
        self.adjust_head(by as i32)
    }

    #[inline(always)]
    fn extend(&mut self, by: usize) -> Result<(), Reason> {
        self.adjust_head(-(by as i32))
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> Result<(), Reason> {
        let by = len as i32 - self.len() as i32;
        // SAFETY: the context is the kernel's.
        let done = unsafe { bpf_xdp_adjust_tail(self.0.ctx, by) } == 0;
        if done { Ok(()) } else { Err(Reason::NoRoom) }
    }

    #[inline(always)]
    fn has_vlan_tag(&self) -> bool {
        false
    }

    #[inline(always)]
    fn segment_payload(&self) -> usize {
        0
    }

    /// Checksums of frames on a wire are finished.
    #[inline(always)]
    fn replace_l4(
        &mut self,
        checksum_at: usize,
        at: usize,
        old: u16,
        new: u16,
    ) -> Result<(), Reason> {
        let sum = u16::from_be_bytes(self.load(checksum_at)?);
        self.store(checksum_at, &checksum::replace(sum, old, new).to_be_bytes())?;
        self.store(at, &new.to_be_bytes())
    }
}
