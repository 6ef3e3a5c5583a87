//! Copies between packets and values by words.
//!
//! Headers need no alignment, so plain reads and writes of them would be compiled to single bytes.
//! The machines that BPF runs on here take unaligned words, and so does their verifier.

use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU64;

/// Always 0, which neither compiler nor verifier know.
#[unsafe(link_section = ".bss")]
static NOTHING: AtomicU64 = AtomicU64::new(0);

/// The same offset below 8192, of which the verifier knows no more than that.
#[inline(always)]
pub fn forget(at: usize) -> usize {
    // SAFETY: it is there for ever.
    let nothing = unsafe { NOTHING.as_ptr().read_volatile() };
    (at + nothing as usize) & 8191
}

/// A value in memory that words may be written to.
#[repr(C, align(8))]
pub struct Aligned<T>(MaybeUninit<T>);

impl<T> Aligned<T> {
    /// Not initialised yet.
    #[inline(always)]
    pub const fn uninit() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Where it is.
    #[inline(always)]
    pub const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    /// The value.
    ///
    /// # Safety
    /// All its bytes must have been written, and be a `T`.
    #[inline(always)]
    pub const unsafe fn assume_init(self) -> T {
        unsafe { self.0.assume_init() }
    }
}

/// Copies `len` bytes by the widest words.
///
/// # Safety
/// Both pointers must be good for `len` bytes, which must not overlap.
#[inline(always)]
pub unsafe fn copy(len: usize, from: *const u8, to: *mut u8) {
    let mut at = 0;
    // SAFETY: every access is within `len` bytes; BPF has no alignment rule on these machines.
    unsafe {
        while at + 8 <= len {
            *to.add(at).cast::<u64>() = *from.add(at).cast::<u64>();
            at += 8;
        }
        if at + 4 <= len {
            *to.add(at).cast::<u32>() = *from.add(at).cast::<u32>();
            at += 4;
        }
        if at + 2 <= len {
            *to.add(at).cast::<u16>() = *from.add(at).cast::<u16>();
            at += 2;
        }
        if at < len {
            *to.add(at) = *from.add(at);
        }
    }
}
