//! What hosts tell each other, and what the underlay tells them.

use crate::bounce::remote;
use crate::count::{Counter, Path};
use crate::tables::{Config, EndpointKey, Event};
use crate::wire::geneve::{self, CONTROL, Outer};
use crate::wire::icmpv4::Icmpv4;
use crate::wire::oam::{self, ControlFrame, Message};
use crate::wire::{Ethernet, Ipv4, Udp, ipv4};
use crate::wire_in::{check_outer, transmit};
use crate::{Address, Case, Frame, Reason, Referral, Tables, Verdict, learn};

/// Handles a control message, or an ICMP error about a packet of this host.
#[inline(always)]
pub fn control<F: Frame, T: Tables>(frame: &mut F, tables: &T, referral: Referral) -> Verdict {
    if referral.case == Case::UnderlayTooBig {
        // The host's own stack is told too: it may have sent the packet.
        let _ = lower_mtu(frame, tables);
        return Verdict::Pass;
    }
    match message(frame, tables) {
        Ok(verdict) => verdict,
        Err(reason) => {
            tables.count(0, Counter::Dropped(reason));
            Verdict::Drop(reason)
        }
    }
}

/// Which of the two a frame is: the kernel's tail calls carry no argument.
#[inline(always)]
pub fn case<F: Frame>(frame: &F) -> Referral {
    let icmp = frame.load::<Outer>(0).is_ok_and(|outer| outer.ip.protocol == ipv4::ICMP);
    let case = if icmp { Case::UnderlayTooBig } else { Case::Oam };
    Referral { case, argument: 0 }
}

#[inline(always)]
fn message<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Result<Verdict, Reason> {
    let config = tables.config();
    let outer: Outer = frame.load(0)?;
    check_outer(frame, config, &outer)?;
    let control: ControlFrame = frame.load(0)?;
    let Message { version, kind, .. } = control.message;
    let ours = outer.geneve.protocol.get() == CONTROL
        && outer.geneve.options_len() == 0
        && outer.geneve.vni() == 0
        && usize::from(outer.udp.len.get()) == Udp::LEN + crate::wire::Geneve::LEN + Message::LEN
        && version == oam::VERSION;
    if !ours {
        return Err(Reason::BadOam);
    }
    if kind == oam::ECHO {
        if !F::RESOLVES && !config.is_vouched(tables.now()) {
            return Ok(Verdict::Pass);
        }
        return reply(frame, tables, config, &control);
    }
    let of_endpoint = oam::is_of_vpc(kind) || kind == oam::INVALIDATE;
    if of_endpoint && !is_signed(tables, config, &control) {
        return Err(Reason::BadTag);
    }
    let done = match kind {
        oam::ECHO_REPLY => proven(tables, config, &control),
        oam::NOTICE => notice(tables, config, &control),
        oam::INVALIDATE => invalidate(tables, &control),
        oam::UNKNOWN => {
            learn::learn_unknown(tables, config, &key(&control.message));
            Ok(())
        }
        oam::KNOWN => {
            learn::learn_known(tables, &key(&control.message));
            Ok(())
        }
        _ => Err(Reason::BadOam),
    };
    done.map(|()| {
        tables.count(0, Counter::Path(Path::OamIn));
        // It has done its work; there is nobody to deliver it to.
        Verdict::Consumed
    })
}

/// Whether a message comes from a host that may send it. What is to be believed of locations, only
/// hosts of the VPC may say; that an endpoint is not with it, any of the fleet, since it may have
/// no part in the VPC any more.
#[inline(always)]
fn is_signed<T: Tables>(tables: &T, config: &Config, control: &ControlFrame) -> bool {
    let Message { kind, vni, .. } = control.message;
    if !oam::is_of_vpc(kind) {
        return config.keys.believe_control(control);
    }
    // Whatever is said of a VPC that is not here changes nothing.
    tables.vpc(vni.get()).is_none_or(|vpc| vpc.keys.believe_control(control))
}

#[inline(always)]
const fn key(message: &Message) -> EndpointKey {
    EndpointKey::new(message.vni.get(), Address::from_octets(message.endpoint))
}

/// Sends an echo back to whom it came from, by the next hop that this host has for it. While it has
/// none, as at first contact, nothing is lost: whoever wants to know asks again.
#[inline(always)]
fn reply<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    echo: &ControlFrame,
) -> Result<Verdict, Reason> {
    let sender = Address::v4(echo.outer.ip.src);
    let Some(index) = tables.host_index(&sender) else {
        if !config.keys.believe_control(echo) {
            return Err(Reason::BadTag);
        }
        tables.tell(&Event { kind: Event::NEW_HOST, underlay: sender, ..Event::NOTHING });
        tables.count(0, Counter::Path(Path::OamIn));
        return Ok(Verdict::Consumed);
    };
    let host = match remote(tables, config, index) {
        Ok(host) => host,
        Err(Reason::NoNextHop) => {
            tables.count(0, Counter::Path(Path::OamIn));
            return Ok(Verdict::Consumed);
        }
        Err(reason) => return Err(reason),
    };
    let pause = config.echo_pause.min(u32::from(u16::MAX)) as u16;
    let message = Message { kind: oam::ECHO_REPLY, pause: pause.into(), ..echo.message };
    let src = (config.nic_mac, config.underlay.v4_octets());
    let dst = (host.next_hop, echo.outer.ip.src);
    frame.store(0, &ControlFrame::new(src, dst, config.tos, message))?;
    tables.count(0, Counter::Path(Path::Echoed));
    Ok(transmit(tables, 0, Path::OamIn))
}

/// Our own echo has come back: the path works both ways. One that many ask may say for how much
/// longer than the lease it need not be asked; whatever it says, it is not believed to be alive for
/// longer than lease and longest pause after it was last heard of.
///
/// The agent's clock runs on while a kernel is late in counting ticks, so a stamp may be of a tick
/// that is still to come, which is as good as this one; of one a lease ahead nobody's clock is.
#[inline(always)]
fn proven<T: Tables>(tables: &T, config: &Config, reply: &ControlFrame) -> Result<(), Reason> {
    let (now, sent) = (tables.now(), reply.message.stamp.get());
    let ahead = sent.saturating_sub(now) >= u64::from(config.lease);
    if reply.message.cookie.get() != config.echo_cookie || ahead {
        return Err(Reason::BadOam);
    }
    let sent = sent.min(now);
    let sender = Address::v4(reply.outer.ip.src);
    let index = tables.host_index(&sender).ok_or(Reason::NoHost)?;
    let pause = u64::from(reply.message.pause.get()) * u64::from(config.hz) / 1000;
    let until = sent + u64::from(config.lease) + pause.min(u64::from(config.longest_pause));
    // A reply may have been overtaken by that to a later echo.
    if tables.host(index).is_some_and(|host| host.alive_until < until) {
        tables.prove_host(index, until);
    }
    Ok(())
}

/// A remote endpoint's host says where it is. Only for itself.
#[inline(always)]
fn notice<T: Tables>(tables: &T, config: &Config, control: &ControlFrame) -> Result<(), Reason> {
    let message = &control.message;
    let host = Address::from_octets(message.host);
    let generation = message.stamp.get();
    if host != Address::v4(control.outer.ip.src) || generation == 0 {
        return Err(Reason::BadOam);
    }
    learn::learn_notice(tables, config, &key(message), host, generation);
    Ok(())
}

/// A host says that an endpoint is not, or no longer, on it. Only for itself.
#[inline(always)]
fn invalidate<T: Tables>(tables: &T, control: &ControlFrame) -> Result<(), Reason> {
    let sender = Address::v4(control.outer.ip.src);
    let index = tables.host_index(&sender).ok_or(Reason::NoHost)?;
    learn::forget(tables, &key(&control.message), index, control.message.stamp.get());
    Ok(())
}

/// Smallest MTU of an underlay that lets the smallest IPv6 packet through.
const MIN_MTU: u16 = 1280 + geneve::OVERHEAD as u16;

/// A router of the underlay could not forward a tunnelled packet of ours: remember its MTU.
#[inline(always)]
fn lower_mtu<F: Frame, T: Tables>(frame: &F, tables: &T) -> Result<(), Reason> {
    const ICMP: usize = Ethernet::LEN + Ipv4::LEN;
    let icmp: Icmpv4 = frame.load(ICMP)?;
    let ip: Ipv4 = frame.load(ICMP + Icmpv4::LEN)?;
    let udp: Udp = frame.load(ICMP + Icmpv4::LEN + Ipv4::LEN)?;
    let config = tables.config();
    let ours = Address::v4(ip.src) == config.underlay
        && ip.version_ihl == ipv4::NO_OPTIONS
        && ip.protocol == ipv4::UDP
        && udp.dst.get() == geneve::PORT;
    let index = tables.host_index(&Address::v4(ip.dst)).ok_or(Reason::NoHost)?;
    let host = tables.host(index).ok_or(Reason::NoHost)?;
    let mtu = icmp.low.get().max(MIN_MTU);
    if ours && mtu < host.mtu {
        tables.lower_mtu(index, mtu);
    }
    Ok(())
}
