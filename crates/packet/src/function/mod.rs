//! The rare cases: what the network answers by itself, and what hosts tell each other.
//!
//! In the kernel each of these is a program of its own, called when [`Verdict::Refer`] says so.

pub mod arp;
pub mod control;
pub mod dhcp;
pub mod icmp;
pub mod neighbour;
pub mod stray;

use crate::count::{Counter, Path};
use crate::tables::Port;
use crate::{Case, Frame, Reason, Referral, Tables, Verdict, depart, wire_in};

/// Answers ARP and neighbour discovery for the guest behind `interface`.
#[inline(always)]
pub fn answer_link<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    interface: u32,
    referral: Referral,
) -> Verdict {
    answer(tables, interface, |port| match referral.case {
        Case::Arp => arp::answer(frame, port),
        Case::Neighbour => neighbour::answer(frame, port),
        _ => Err(Reason::NoProgram),
    })
}

/// Answers by ICMP, for the guest behind `interface`: echo requests to the gateway, and errors.
#[inline(always)]
pub fn answer_icmp<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    interface: u32,
    referral: Referral,
) -> Verdict {
    let error = match referral.case {
        Case::TooBig => icmp::Error::TooBig(referral.argument),
        Case::TtlExceeded => icmp::Error::TtlExceeded,
        _ => return answer(tables, interface, |port| icmp::echo(frame, port)),
    };
    let Some(port) = tables.port(interface) else { return Verdict::Drop(Reason::NoPort) };
    // The packet that it is about has been counted as dropped, whether an error can be sent or not.
    match icmp::error(frame, port, error) {
        Ok(()) => {
            tables.count(port.vpc, Counter::Path(Path::Answered));
            Verdict::Answer
        }
        Err(reason) => Verdict::Drop(reason),
    }
}

/// Answers DHCP for the guest behind `interface`.
#[inline(always)]
pub fn answer_dhcp<F: Frame, T: Tables>(frame: &mut F, tables: &T, interface: u32) -> Verdict {
    answer(tables, interface, |port| dhcp::answer(frame, port))
}

#[inline(always)]
fn answer<T: Tables>(
    tables: &T,
    interface: u32,
    respond: impl FnOnce(&Port) -> Result<(), Reason>,
) -> Verdict {
    let Some(port) = tables.port(interface) else {
        tables.count(0, Counter::Dropped(Reason::NoPort));
        return Verdict::Drop(Reason::NoPort);
    };
    match respond(port) {
        Ok(()) => {
            tables.count(port.vpc, Counter::Path(Path::Answered));
            Verdict::Answer
        }
        Err(reason) => {
            tables.count(port.vpc, Counter::Dropped(reason));
            Verdict::Drop(reason)
        }
    }
}

/// The whole way of a guest's frame, rare cases included: what the kernel does by tail calls.
pub fn from_guest<F: Frame, T: Tables>(frame: &mut F, tables: &T, interface: u32) -> Verdict {
    match depart::depart(frame, tables, interface) {
        Verdict::Refer(referral) => match referral.case {
            Case::Arp | Case::Neighbour => answer_link(frame, tables, interface, referral),
            Case::Dhcp => answer_dhcp(frame, tables, interface),
            Case::GatewayEcho | Case::TooBig | Case::TtlExceeded => {
                answer_icmp(frame, tables, interface, referral)
            }
            Case::Oam | Case::UnderlayTooBig | Case::Stray => Verdict::Drop(Reason::NoProgram),
        },
        verdict => verdict,
    }
}

/// The whole way of a frame from the wire, rare cases included.
pub fn from_wire<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    match wire_in::wire_in(frame, tables) {
        Verdict::Refer(Referral { case: Case::Stray, .. }) => stray::stray(frame, tables),
        Verdict::Refer(referral) => control::control(frame, tables, referral),
        verdict => verdict,
    }
}
