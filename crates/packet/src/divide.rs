//! Nothing is known of the destination itself: send the packet to a bouncer of its network.
//!
//! This is what a divider does, a bouncer without a row, and a host that a sender took for the
//! destination's.

use crate::count::Path;
use crate::tables::{Config, Event, Route};
use crate::wire::geneve::{MISSED, STALE};
use crate::wire_in::{Dropped, Incoming, transmit};
use crate::{Case, Frame, Reason, Tables, Verdict, bounce, choose};

/// Sends a packet on to a bouncer of its destination's slot. One that was sent back already, or
/// that no network of this host's is for, is another program's ([`crate::function::stray`]).
///
/// # Errors
/// The reason to drop it, and the VPC it is counted for.
#[inline(always)]
pub fn divide<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
) -> Result<Verdict, Dropped> {
    match tables.route(incoming.vni, &incoming.flow.dst) {
        Some(route) if incoming.marks() & STALE == 0 => {
            onward(frame, tables, config, incoming, route)
        }
        _ => Ok(Case::Stray.refer()),
    }
}

/// Sends a packet on to a bouncer of its destination's slot.
///
/// # Errors
/// The reason to drop it, and the VPC it is counted for.
#[inline(always)]
pub fn onward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    route: Route,
) -> Result<Verdict, Dropped> {
    let Route { network, vpc } = route;
    let dropped = |reason| Dropped { reason, vpc };
    let slot = incoming.flow.dst.slot();
    let choice = match choose::bouncer(tables, config, network, slot, tables.now()) {
        Ok(choice) if choice.marks & incoming.marks() & MISSED == 0 => choice,
        Err(reason) if reason != Reason::NoEndpoint => return Err(dropped(reason)),
        Ok(_) | Err(_) => {
            unknown(tables, incoming);
            return Err(dropped(Reason::NoEndpoint));
        }
    };
    let direct = incoming.location.is_none();
    if direct {
        // The sender believes that the destination is here.
        bounce::invalidate(tables, incoming, u64::MAX);
    }
    let (path, marks) = if choice.path == Path::Missed {
        (Path::Missed, choice.marks)
    } else if direct {
        (Path::Returned, STALE)
    } else {
        (Path::Divided, 0)
    };
    let host = bounce::remote(tables, config, choice.host).map_err(dropped)?;
    bounce::forward(frame, config, incoming, &host, marks).map_err(dropped)?;
    Ok(transmit(tables, vpc, path))
}

/// Tells the host of the sender that the destination does not exist.
#[inline(always)]
fn unknown<T: Tables>(tables: &T, incoming: &Incoming) {
    if let Some(located) = &incoming.location {
        tables.tell(&Event {
            kind: Event::UNKNOWN,
            vni: incoming.vni,
            underlay: bounce::teacher(&located.option),
            remote: incoming.flow.dst,
            ..Event::NOTHING
        });
    }
}
