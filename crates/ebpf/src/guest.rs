//! Programs on guests' interfaces.

use crate::maps::{GUEST_SLOTS, Maps};
use crate::tc::TcFrame;
use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::helpers::generated::{bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use mizar_packet::count::Counter;
use mizar_packet::programs::{SLOT_ANSWER_DHCP, SLOT_ANSWER_ICMP, SLOT_ANSWER_LINK, SLOT_DEPART};
use mizar_packet::tables::Port;
use mizar_packet::{
    Case, Delivery, Reason, Referral, Tables, Verdict, depart as journey, function,
};

/// The kernel's packet type for frames to this host.
const PACKET_HOST: u32 = 0;

/// Never replaced: one write to its slot upgrades every guest. An empty slot drops.
#[classifier]
#[inline(always)]
pub fn trampoline(ctx: TcContext) -> i32 {
    call(&ctx, SLOT_DEPART)
}

/// A frame from a guest.
#[classifier]
#[inline(always)]
pub fn depart(ctx: TcContext) -> i32 {
    let verdict = journey::depart(&mut TcFrame::from_guest(&ctx), &Maps, interface(&ctx));
    act(&ctx, verdict)
}

/// ARP and neighbour discovery.
#[classifier]
#[inline(always)]
pub fn answer_link(ctx: TcContext) -> i32 {
    let Some(referral) = referral(&ctx) else { return TC_ACT_SHOT };
    act(
        &ctx,
        function::answer_link(&mut TcFrame::from_guest(&ctx), &Maps, interface(&ctx), referral),
    )
}

/// What is answered by ICMP.
#[classifier]
#[inline(always)]
pub fn answer_icmp(ctx: TcContext) -> i32 {
    let Some(referral) = referral(&ctx) else { return TC_ACT_SHOT };
    act(
        &ctx,
        function::answer_icmp(&mut TcFrame::from_guest(&ctx), &Maps, interface(&ctx), referral),
    )
}

/// DHCP.
#[classifier]
#[inline(always)]
pub fn answer_dhcp(ctx: TcContext) -> i32 {
    act(&ctx, function::answer_dhcp(&mut TcFrame::from_guest(&ctx), &Maps, interface(&ctx)))
}

/// Does what the verdict on a guest's frame says.
#[inline(always)]
fn act(ctx: &TcContext, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Transmit => transmit(ctx),
        Verdict::Deliver(delivery) => deliver(ctx, &delivery),
        Verdict::Answer => redirect(interface(ctx)),
        Verdict::Refer(referral) => refer(ctx, referral),
        Verdict::Drop(_) | Verdict::Consumed | Verdict::Pass => TC_ACT_SHOT,
    }
}

/// Gives a frame to a guest of this host.
#[inline(always)]
pub fn deliver(ctx: &TcContext, delivery: &Delivery) -> i32 {
    if ctx.change_type(PACKET_HOST).is_err() {
        return TC_ACT_SHOT;
    }
    if delivery.flags & Port::SENT_OUT != 0 {
        return redirect(delivery.interface);
    }
    // SAFETY: plain numbers.
    unsafe { bpf_redirect_peer(delivery.interface, 0) as i32 }
}

/// Sends a frame out of the NIC: to the next hop that it names if the agent answers for that, else
/// to the one that the kernel finds.
#[inline(always)]
pub fn transmit(ctx: &TcContext) -> i32 {
    let config = Maps.config();
    ctx.set_mark(config.mark);
    if config.is_vouched(Maps.now()) {
        return redirect(config.nic);
    }
    // SAFETY: without a next hop of ours, the kernel reads none.
    unsafe { bpf_redirect_neigh(config.nic, core::ptr::null_mut(), 0, 0) as i32 }
}

/// Sends a frame out of an interface.
#[inline(always)]
pub fn redirect(interface: u32) -> i32 {
    // SAFETY: plain numbers.
    unsafe { bpf_redirect(interface, 0) as i32 }
}

/// Hands a rare case to its program.
#[inline(always)]
fn refer(ctx: &TcContext, referral: Referral) -> i32 {
    let slot = match referral.case {
        Case::Arp | Case::Neighbour => SLOT_ANSWER_LINK,
        Case::GatewayEcho | Case::TooBig | Case::TtlExceeded => SLOT_ANSWER_ICMP,
        Case::Dhcp => SLOT_ANSWER_DHCP,
        Case::Oam | Case::UnderlayTooBig | Case::Stray => return TC_ACT_SHOT,
    };
    // SAFETY: the context is the kernel's; its scratch words live as long as the frame is here.
    unsafe {
        (*ctx.skb.skb).cb[0] = referral.case as u32;
        (*ctx.skb.skb).cb[1] = referral.argument;
    }
    call(ctx, slot)
}

#[inline(always)]
fn referral(ctx: &TcContext) -> Option<Referral> {
    // SAFETY: the context is the kernel's.
    let (case, argument) = unsafe { ((*ctx.skb.skb).cb[0], (*ctx.skb.skb).cb[1]) };
    Some(Referral { case: Case::from_number(case)?, argument })
}

#[inline(always)]
fn call(ctx: &TcContext, slot: u32) -> i32 {
    // SAFETY: a tail call leaves nothing behind that needs dropping. It returns if the slot is
    // empty.
    unsafe { GUEST_SLOTS.tail_call(ctx, slot) };
    Maps.count(0, Counter::Dropped(Reason::NoProgram));
    TC_ACT_SHOT
}

#[inline(always)]
fn interface(ctx: &TcContext) -> u32 {
    // SAFETY: the context is the kernel's.
    unsafe { (*ctx.skb.skb).ifindex }
}
