//! A frame in tc: an skb, which may be a buffer of many segments with an unfinished checksum.

use crate::words::{Aligned, copy, forget};
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
    BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
    BPF_F_ADJ_ROOM_FIXED_GSO, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
};
use aya_ebpf::bpf_f_adj_room_encap_l2;
use aya_ebpf::helpers::generated::{
    bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_change_tail,
};
use aya_ebpf::programs::TcContext;
use mizar_packet::programs::Tag;
use mizar_packet::wire::geneve::Outer;
use mizar_packet::wire::tcp::Tcp;
use mizar_packet::wire::{Ethernet, Ipv6, ethernet};
use mizar_packet::{Frame, Reason};
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A tunnel around an Ethernet frame: one buffer stays one, cut into segments at the NIC.
const WRAP: u64 = (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    | BPF_F_ADJ_ROOM_ENCAP_L4_UDP
    | BPF_F_ADJ_ROOM_ENCAP_L2_ETH
    | BPF_F_ADJ_ROOM_FIXED_GSO) as u64
    | bpf_f_adj_room_encap_l2(Ethernet::LEN as u64);

/// The start of a frame, up to where an IPv4 header says how long it is.
#[derive(FromBytes)]
#[repr(C)]
struct EthernetAndMore {
    macs: [u8; 12],
    ethertype: U16,
    version_ihl: u8,
}

/// Room for the IPv6 extension headers of almost any packet that has some.
const EXTENSIONS: usize = 128;

/// What the kernel says of a frame that is inside a guest's own tunnel already.
const EALREADY: i64 = -114;

/// A frame in tc, whose headers are in the linear part of the skb.
pub struct TcFrame<'a>(&'a TcContext);

impl<'a> TcFrame<'a> {
    /// A frame from a guest: Ethernet, IP with its options, and as much as a TCP header.
    #[inline(always)]
    pub fn from_guest(ctx: &'a TcContext) -> Self {
        let mut frame = Self(ctx);
        frame.require(Ethernet::LEN + 1);
        let inner = frame.inner_len(0);
        frame.require(inner);
        frame
    }

    /// A frame from the wire: outer headers with options, and the same of the inner frame.
    #[inline(always)]
    pub fn from_wire(ctx: &'a TcContext) -> Self {
        let mut frame = Self(ctx);
        frame.require(Outer::LEN);
        let geneve = frame.load::<Outer>(0).map_or(0, |outer| outer.geneve.options_len());
        let inner = Outer::LEN + geneve;
        frame.require(inner + Ethernet::LEN + 1);
        let end = inner + frame.inner_len(inner);
        frame.require(end);
        frame
    }

    /// Length of the headers of the Ethernet frame at `at`, as far as anyone looks at them.
    #[inline(always)]
    fn inner_len(&self, at: usize) -> usize {
        match self.load::<EthernetAndMore>(at) {
            Ok(start) if start.ethertype.get() == ethernet::IPV4 => {
                Ethernet::LEN + (start.version_ihl & 0x0f) as usize * 4 + Tcp::LEN
            }
            _ => {
                let ip = self.load::<Ipv6>(at + Ethernet::LEN);
                let more = ip.is_ok_and(|ip| ip.has_extensions());
                Ethernet::LEN + Ipv6::LEN + Tcp::LEN + if more { EXTENSIONS } else { 0 }
            }
        }
    }

    /// Moves bytes into the linear part until it has so many, or all. Sockets' buffers and NICs'
    /// have theirs there.
    #[inline(always)]
    fn require(&mut self, len: usize) {
        let linear = self.0.data_end() - self.0.data();
        if linear < len && linear < self.len() {
            let len = if len < self.len() { len } else { self.len() };
            // If it fails, loads do.
            let _ = self.0.pull_data(len as u32);
        }
    }

    #[inline(always)]
    fn skb(&self) -> &__sk_buff {
        // SAFETY: the context is the kernel's, and lives as long as the program runs.
        unsafe { &*self.0.skb.skb }
    }

    /// What XDP put before the frame.
    #[inline(always)]
    pub fn tag(&self) -> Option<Tag> {
        let start = self.skb().data_meta as usize;
        if start + size_of::<Tag>() > self.0.data() {
            return None;
        }
        // SAFETY: the kernel keeps [data_meta, data) for programs, and it is long enough.
        Some(unsafe { (start as *const Tag).read() })
    }

    /// A pointer to `len` bytes at an offset, if they are in the linear part.
    #[inline(always)]
    fn at(&self, at: usize, len: usize) -> Option<*mut u8> {
        let start = self.0.data() + at;
        if start + len > self.0.data_end() { None } else { Some(start as *mut u8) }
    }

    #[inline(always)]
    fn adjust_room(&mut self, by: i32, flags: u64) -> i64 {
        // SAFETY: the context is the kernel's.
        unsafe { bpf_skb_adjust_room(self.0.skb.skb, by, BPF_ADJ_ROOM_MAC, flags) }
    }
}

impl Frame for TcFrame<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len() as usize
    }

    #[inline(always)]
    fn has(&self, len: usize) -> bool {
        self.len() >= len
    }

    #[inline(always)]
    fn exceeds(&self, len: usize) -> bool {
        self.len() > len
    }

    #[inline(always)]
    fn load<T: FromBytes>(&self, at: usize) -> Result<T, Reason> {
        let from = self.at(at, size_of::<T>()).ok_or(Reason::Short)?;
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
        let to = self.at(at, size_of::<T>()).ok_or(Reason::Short)?;
        // SAFETY: `at` gives as many bytes as `T` has.
        unsafe { copy(size_of::<T>(), core::ptr::from_ref(value).cast(), to) };
        Ok(())
    }

    #[inline(always)]
    fn wrap(&mut self, by: usize) -> Result<(), Reason> {
        match self.adjust_room(by as i32, WRAP) {
            0 => Ok(()),
            // A guest's own tunnel: the kernel nests no segmentation, but single packets can be
            // wrapped.
            EALREADY if self.segment_payload() == 0 => {
                // SAFETY: the context is the kernel's.
                let done = unsafe { bpf_skb_change_head(self.0.skb.skb, by as u32, 0) } == 0;
                if done { Ok(()) } else { Err(Reason::NoRoom) }
            }
            _ => Err(Reason::NoRoom),
        }
    }

    #[inline(always)]
    fn unwrap(&mut self, by: usize, ethertype: u16) -> Result<(), Reason> {
        let family = if ethertype == ethernet::IPV4 {
            BPF_F_ADJ_ROOM_DECAP_L3_IPV4
        } else {
            BPF_F_ADJ_ROOM_DECAP_L3_IPV6
        };
        let flags = u64::from(family | BPF_F_ADJ_ROOM_FIXED_GSO);
        if self.adjust_room(-(by as i32), flags) == 0 { Ok(()) } else { Err(Reason::NoRoom) }
    }

    #[inline(always)]
    fn extend(&mut self, by: usize) -> Result<(), Reason> {
        let flags = u64::from(BPF_F_ADJ_ROOM_FIXED_GSO);
        if self.adjust_room(by as i32, flags) == 0 { Ok(()) } else { Err(Reason::NoRoom) }
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: the context is the kernel's.
        let done = unsafe { bpf_skb_change_tail(self.0.skb.skb, len as u32, 0) } == 0;
        if done { Ok(()) } else { Err(Reason::NoRoom) }
    }

    #[inline(always)]
    fn has_vlan_tag(&self) -> bool {
        self.skb().vlan_present != 0
    }

    #[inline(always)]
    fn segment_payload(&self) -> usize {
        self.skb().gso_size as usize
    }

    #[inline(always)]
    fn replace_l4(
        &mut self,
        checksum_at: usize,
        at: usize,
        old: u16,
        new: u16,
    ) -> Result<(), Reason> {
        let (from, to) = (u64::from(old.to_be()), u64::from(new.to_be()));
        // SAFETY: the context is the kernel's. It leaves an unfinished checksum alone, which does
        // not cover these bytes yet.
        let done =
            unsafe { bpf_l4_csum_replace(self.0.skb.skb, checksum_at as u32, from, to, 2) } == 0;
        if !done {
            return Err(Reason::Short);
        }
        self.store(at, &new.to_be_bytes())
    }
}
