//! A packet for a destination of which nothing is known here, and that goes no usual way: it was
//! sent back already, or no network of this host's is for it.

use crate::count::{Counter, Path};
use crate::tables::{Config, HostIndex, VpcIndex};
use crate::wire::geneve::{ASKS, MISSED, STALE};
use crate::wire_in::{Dropped, Incoming, parse, transmit};
use crate::{Frame, Reason, Tables, Verdict, bounce, choose, divide, learn};

/// Handles a packet that went astray.
#[inline(always)]
pub fn stray<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    match lead(frame, tables) {
        Ok(verdict) => verdict,
        Err(Dropped { reason, vpc }) => {
            tables.count(vpc, Counter::Dropped(reason));
            Verdict::Drop(reason)
        }
    }
}

#[inline(always)]
fn lead<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Result<Verdict, Dropped> {
    let config = tables.config();
    let outer = frame.load(0)?;
    let incoming = parse(frame, config, outer)?;
    let is_stale = incoming.marks() & STALE != 0;
    if is_stale {
        learn::doubt(tables, config, &incoming);
    }
    if let Some(route) = tables.route(incoming.vni, &incoming.flow.dst) {
        return divide::onward(frame, tables, config, &incoming, route);
    }
    let Some(vpc) = tables.vpc(incoming.vni) else {
        let host = sender(tables, &incoming).ok_or(Reason::UnknownVpc)?;
        return send(frame, tables, config, &incoming, (host, STALE, Path::Returned), 0);
    };
    let dropped = |reason| Dropped { reason, vpc: vpc.index };
    let way = if !is_stale && incoming.marks() & ASKS == 0 {
        let host = sender(tables, &incoming).ok_or(dropped(Reason::NoRoute))?;
        (host, STALE, Path::Returned)
    } else if !is_stale && incoming.marks() & MISSED != 0 {
        return Err(dropped(Reason::NoRoute));
    } else {
        // Back from a host that its sender here believed in: a guest of this host sent it. Or its
        // sender asks this host, which held a part once: whoever holds it now is asked, once.
        let now = tables.now();
        let choice = choose::divider(tables, config, incoming.vni, &incoming.flow.dst, now);
        if is_stale {
            let choice = choice.map_err(dropped)?;
            (choice.host, 0, choice.path)
        } else {
            // A divider, or who knows none, says what is missing here.
            let choice = choice.map_err(|_| dropped(Reason::NoRoute))?;
            (choice.host, MISSED, Path::Missed)
        }
    };
    send(frame, tables, config, &incoming, way, vpc.index)
}

/// Whoever sent the packet believes that its destination is here. It is told; and as that takes the
/// agent, it gets the packet back, once, since it knows whom else to ask.
#[inline(always)]
fn sender<T: Tables>(tables: &T, incoming: &Incoming) -> Option<HostIndex> {
    bounce::invalidate(tables, incoming, u64::MAX);
    let sender = tables.host_index(&incoming.sender());
    sender.filter(|_| incoming.marks() & STALE == 0)
}

#[inline(always)]
fn send<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    (host, marks, path): (HostIndex, u8, Path),
    vpc: VpcIndex,
) -> Result<Verdict, Dropped> {
    let dropped = |reason| Dropped { reason, vpc };
    let host = bounce::remote(tables, config, host).map_err(dropped)?;
    bounce::forward(frame, config, incoming, &host, marks).map_err(dropped)?;
    Ok(transmit(tables, vpc, path))
}
