//! A program at an interface's ingress or egress: a qdisc that only classifies, with a cls_bpf
//! filter.
//!
//! A filter is attached in a few hundredths of a millisecond, where a tcx link waits for a grace
//! period. Its fixed priority and handle make attaching idempotent: a second time replaces the
//! program in place, and no frame passes without one.
//!
//! All guests that are attached with the same program share one block with one filter. For a block
//! that is new the kernel goes through all blocks of the machine, 0.2 ms at a thousand of them, and
//! filters take time to make.

use super::Worker;
use super::endpoint::fnv;
use super::error::{Result, unless};
use super::socket::{Socket, failed};
use super::wire::{Attributes, Request, tc_header};
use crate::kernel::program_id;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `TC_H_CLSACT` and `TC_H_INGRESS`: as a parent, the place of the qdisc that classifies.
const QDISC_PARENT: u32 = 0xffff_fff1;
/// The handle of every such qdisc.
const QDISC_HANDLE: u32 = 0xffff_0000;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`: the parent of ingress filters.
const INGRESS: u32 = 0xffff_fff2;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`: the parent of egress filters.
const EGRESS: u32 = 0xffff_fff3;
/// Priority 1, `ETH_P_ALL` in network byte order.
const INFO: u32 = (1 << 16) | (libc::ETH_P_ALL as u16).to_be() as u32;

/// `TCA_INGRESS_BLOCK`.
const TCA_INGRESS_BLOCK: u16 = 13;
/// `TCM_IFINDEX_MAGIC_BLOCK`: instead of an interface, so that a filter's parent is a block.
const BLOCK: u32 = u32::MAX;
/// Bytes of `struct tcmsg`.
const HEADER: usize = 20;

const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

/// Where a program hangs, and what tells its filter from others there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What comes from a guest, on the host's end of its link, which is ours.
    Guest,
    /// What comes in by the NIC, which may have filters of others.
    NicIn,
    /// What goes out by it.
    NicOut,
}

impl Hook {
    /// Parent and handle.
    const fn place(self) -> (u32, u32) {
        const NIC: u32 = u32::from_be_bytes(*b"\0\0mz");
        match self {
            Self::Guest => (INGRESS, 1),
            Self::NicIn => (INGRESS, NIC),
            Self::NicOut => (EGRESS, NIC),
        }
    }
}

/// The number of the block of guests that an agent attaches with a program: other agents in the
/// same namespace, and the next layout while this one's program is at work, have others.
fn shared_block(instance: &str, program: BorrowedFd<'_>) -> Result<u32> {
    let id = program_id(program).map_err(failed("look at the program"))?;
    let name = b"mizar:".iter().chain(instance.as_bytes()).copied();
    Ok((fnv(name.chain(id.to_be_bytes())) as u32).clamp(1, BLOCK - 1))
}

/// What becomes of a program that an earlier call attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// This one takes its place.
    Replaced,
    /// It stays.
    Kept,
}

/// Attaches the program, unless an earlier call attached one that is kept.
///
/// A guest's new interface shares the block of others that were attached with this program, and
/// runs what they run.
///
/// # Errors
/// [`Error::Refused`](super::Error::Refused): no such interface, or no classifier program.
pub(super) fn attach(
    worker: &mut Worker,
    index: u32,
    hook: Hook,
    (program, earlier): (BorrowedFd<'_>, Earlier),
) -> Result<()> {
    // Of guests, the block that a new interface shares.
    let ours = match hook {
        Hook::Guest => Some(shared_block(&worker.instance, program)?),
        Hook::NicIn | Hook::NicOut => None,
    };
    let socket = &mut worker.host;
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let header = tc_header(index, QDISC_HANDLE, QDISC_PARENT, 0);
    let qdisc = Request::new("add the qdisc for filters", libc::RTM_NEWQDISC, flags, &header);
    let qdisc = match ours {
        Some(block) => qdisc.text(libc::TCA_KIND, "ingress").number(TCA_INGRESS_BLOCK, block),
        None => qdisc.text(libc::TCA_KIND, "clsact"),
    };
    let is_new = unless(socket.execute(qdisc), &[libc::EEXIST])?;
    let earlier = if is_new { Earlier::Kept } else { earlier };

    let (parent, handle) = hook.place();
    let shared = if ours.is_none() || is_new { ours } else { block(socket, index)? };
    let (index, parent) = shared.map_or((index, parent), |block| (BLOCK, block));
    let header = tc_header(index, handle, parent, INFO);
    let (flags, allowed): (_, &[i32]) = match earlier {
        Earlier::Replaced => (libc::NLM_F_CREATE, &[]),
        Earlier::Kept => (libc::NLM_F_CREATE | libc::NLM_F_EXCL, &[libc::EEXIST]),
    };
    let what = "attach the filter's program";
    let filter = Request::new(what, libc::RTM_NEWTFILTER, flags, &header)
        .text(libc::TCA_KIND, "bpf")
        .nested(libc::TCA_OPTIONS, &[], |options| {
            options
                .number(TCA_BPF_FD, program.as_raw_fd().cast_unsigned())
                .text(TCA_BPF_NAME, "mizar")
                .number(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT)
        });
    unless(socket.execute(filter), allowed).map(drop)
}

/// The block that an interface shares with others; none if it has one of its own, as earlier builds
/// gave it.
fn block(socket: &mut Socket, index: u32) -> Result<Option<u32>> {
    let header = tc_header(index, QDISC_HANDLE, QDISC_PARENT, 0);
    let what = "find the qdisc for filters";
    // Without that flag the kernel tells all but who asks.
    let request = Request::new(what, libc::RTM_GETQDISC, libc::NLM_F_ECHO, &header);
    socket
        .get(request, |payload| Some(Attributes::after(payload, HEADER).number(TCA_INGRESS_BLOCK)))
}

/// Removes the filter that [`attach`] attached to the NIC; whether it was there. The qdisc stays,
/// since others may use it. That of guests goes with the last of their interfaces.
///
/// # Errors
/// [`Error::Refused`](super::Error::Refused).
pub(super) fn detach(socket: &mut Socket, index: u32, hook: Hook) -> Result<bool> {
    let (parent, handle) = hook.place();
    let header = tc_header(index, handle, parent, INFO);
    let request = Request::new("remove the filter", libc::RTM_DELTFILTER, 0, &header);
    // EINVAL: the interface has no such qdisc. ENODEV: there is no interface.
    let gone = [libc::ENOENT, libc::EINVAL, libc::ENODEV];
    unless(socket.execute(request.text(libc::TCA_KIND, "bpf")), &gone)
}
