//! Programs on the NIC.

use crate::guest::{deliver, transmit};
use crate::maps::{Maps, WIRE_SLOTS, WIRE_TC_SLOTS};
use crate::tc::TcFrame;
use crate::xdp::XdpFrame;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use mizar_packet::count::Counter;
use mizar_packet::programs::{SLOT_CONTROL, SLOT_STRAY, Tag};
use mizar_packet::wire::geneve;
use mizar_packet::wire::{Ethernet, Ipv4, Udp, ethernet, ipv4};
use mizar_packet::{
    Case, Delivery, Frame, Reason, Referral, Tables, Verdict, function, wire_in as journey,
};

/// A frame from the wire, in the driver: forwarded without ever being an skb, or unwrapped and
/// tagged for `wire_tc` to deliver after GRO.
#[xdp(frags)]
#[inline(always)]
pub fn wire_xdp(ctx: XdpContext) -> u32 {
    wire::<false>(&ctx)
}

/// The same for drivers without XDP: frames for guests are left to `wire_tc`.
#[xdp(frags)]
#[inline(always)]
pub fn wire_xdp_generic(ctx: XdpContext) -> u32 {
    wire::<true>(&ctx)
}

#[inline(always)]
fn wire<const GENERIC: bool>(ctx: &XdpContext) -> u32 {
    let verdict = journey::wire_in(&mut XdpFrame::<GENERIC>(ctx), &Maps);
    if let Verdict::Refer(referral) = verdict {
        // SAFETY: a tail call leaves nothing behind that needs dropping.
        unsafe { WIRE_SLOTS.tail_call(ctx, slot(referral)) };
        Maps.count(0, Counter::Dropped(Reason::NoProgram));
        return XDP_DROP;
    }
    act_xdp(ctx, verdict)
}

/// Which program handles a rare case.
#[inline(always)]
fn slot(referral: Referral) -> u32 {
    if referral.case == Case::Stray { SLOT_STRAY } else { SLOT_CONTROL }
}

/// Control messages, in the driver.
#[xdp(frags)]
#[inline(always)]
pub fn control_xdp(ctx: XdpContext) -> u32 {
    let mut frame = XdpFrame::<false>(&ctx);
    let referral = function::control::case(&frame);
    let verdict = function::control::control(&mut frame, &Maps, referral);
    act_xdp(&ctx, verdict)
}

/// Packets that went astray, in the driver.
#[xdp(frags)]
#[inline(always)]
pub fn stray_xdp(ctx: XdpContext) -> u32 {
    let verdict = function::stray::stray(&mut XdpFrame::<false>(&ctx), &Maps);
    act_xdp(&ctx, verdict)
}

#[inline(always)]
fn act_xdp(ctx: &XdpContext, verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => XDP_PASS,
        Verdict::Transmit => XDP_TX,
        Verdict::Deliver(delivery) => match XdpFrame::<false>(ctx).tag(Tag::new(&delivery)) {
            Ok(()) => XDP_PASS,
            Err(reason) => {
                Maps.count(0, Counter::Dropped(reason));
                XDP_DROP
            }
        },
        Verdict::Drop(_) | Verdict::Consumed | Verdict::Answer | Verdict::Refer(_) => XDP_DROP,
    }
}

/// A frame from the wire, above the driver: one that XDP has tagged is delivered; any other goes
/// the whole way, for NICs without XDP and while XDP is being replaced.
#[classifier]
#[inline(always)]
pub fn wire_tc(ctx: TcContext) -> i32 {
    let mut frame = TcFrame::from_wire(&ctx);
    // Other metadata is some driver's own, before a frame that went no way of ours yet.
    if let Some((tag, vni)) = frame.tag().and_then(|tag| Some((tag, tag.vni()?))) {
        return deliver_tagged(&ctx, &frame, &tag, vni);
    }
    let verdict = journey::wire_in(&mut frame, &Maps);
    if let Verdict::Refer(referral) = verdict {
        // SAFETY: a tail call leaves nothing behind that needs dropping.
        unsafe { WIRE_TC_SLOTS.tail_call(&ctx, slot(referral)) };
        Maps.count(0, Counter::Dropped(Reason::NoProgram));
        return TC_ACT_SHOT;
    }
    act_tc(&ctx, verdict)
}

/// Control messages, above the driver.
#[classifier]
#[inline(always)]
pub fn control_tc(ctx: TcContext) -> i32 {
    let mut frame = TcFrame::from_wire(&ctx);
    let referral = function::control::case(&frame);
    let verdict = function::control::control(&mut frame, &Maps, referral);
    act_tc(&ctx, verdict)
}

/// Packets that went astray, above the driver.
#[classifier]
#[inline(always)]
pub fn stray_tc(ctx: TcContext) -> i32 {
    let verdict = function::stray::stray(&mut TcFrame::from_wire(&ctx), &Maps);
    act_tc(&ctx, verdict)
}

#[inline(always)]
fn act_tc(ctx: &TcContext, verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Transmit => transmit(ctx),
        Verdict::Deliver(delivery) => deliver(ctx, &delivery),
        Verdict::Drop(_) | Verdict::Consumed | Verdict::Answer | Verdict::Refer(_) => TC_ACT_SHOT,
    }
}

/// Delivers what XDP has unwrapped, if the guest that it found is still there.
#[inline(always)]
fn deliver_tagged(ctx: &TcContext, frame: &TcFrame<'_>, tag: &Tag, vni: u32) -> i32 {
    let eth = frame.load::<Ethernet>(0);
    match (Maps.port(tag.interface), eth) {
        (Some(port), Ok(eth)) if port.vni == vni && port.mac == eth.dst => {
            deliver(ctx, &Delivery { interface: tag.interface, vni, flags: port.flags })
        }
        _ => {
            Maps.count(0, Counter::Dropped(Reason::TagMismatch));
            TC_ACT_SHOT
        }
    }
}

/// Lets nothing out of the NIC to the tunnel's port but what our own programs and the agent send.
#[classifier]
#[inline(always)]
pub fn guard(ctx: TcContext) -> i32 {
    let config = Maps.config();
    // SAFETY: the context is the kernel's.
    if unsafe { (*ctx.skb.skb).mark } == config.mark {
        return TC_ACT_UNSPEC;
    }
    if is_tunnel(&TcFrame::from_guest(&ctx)) {
        Maps.count(0, Counter::Dropped(Reason::ForgedTunnel));
        return TC_ACT_SHOT;
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn is_tunnel(frame: &TcFrame<'_>) -> bool {
    let Ok(eth) = frame.load::<Ethernet>(0) else { return false };
    if eth.ethertype.get() != ethernet::IPV4 {
        return false;
    }
    let Ok(ip) = frame.load::<Ipv4>(Ethernet::LEN) else { return false };
    // A later fragment has no port: without the first one, which is dropped, it comes to nothing.
    if ip.protocol != ipv4::UDP || ip.fragment.get() & 0x1fff != 0 {
        return false;
    }
    let at = Ethernet::LEN + ip.header_len();
    frame.load::<Udp>(at).is_ok_and(|udp| udp.dst.get() == geneve::PORT)
}
