//! A packet for a destination of which nothing is known here, and that goes no usual way: it was
//! sent back already, or no network of this host's is for it.

use crate::count::Path;
use crate::tables::Config;
use crate::wire::geneve::STALE;
use crate::wire_in::{Dropped, Incoming, parse, transmit};
use crate::{Frame, Reason, Tables, Verdict, bounce, divide, learn};

/// Handles a packet that went astray.
///
/// # Errors
/// The reason to drop it, and the VPC it is counted for.
#[inline(always)]
pub fn stray<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Result<Verdict, Dropped> {
    let config = tables.config();
    let outer = frame.load(0)?;
    let incoming = parse(frame, config, outer)?;
    match tables.route(incoming.vni, &incoming.flow.dst) {
        Some(route) => {
            if incoming.marks() & STALE != 0 {
                learn::doubt(tables, config, &incoming);
            }
            divide::onward(frame, tables, config, &incoming, route)
        }
        None => give_back(frame, tables, config, &incoming),
    }
}

/// A host without the VPC is nobody's divider: whatever the packet carries, its sender believes
/// that the destination is here. It is told; and as that takes the agent, it gets the packet back,
/// once, since it knows whom else to ask.
#[inline(always)]
fn give_back<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
) -> Result<Verdict, Dropped> {
    let known = tables.vpc(incoming.vni);
    if known.is_none() || incoming.location.is_none() {
        bounce::invalidate(tables, incoming, u64::MAX);
    }
    if let Some(vpc) = known {
        return Err(Dropped { reason: Reason::NoRoute, vpc: vpc.index });
    }
    let sender = tables.host_index(&incoming.sender());
    let Some(sender) = sender.filter(|_| incoming.marks() & STALE == 0) else {
        return Err(Reason::UnknownVpc.into());
    };
    let host = bounce::remote(tables, config, sender)?;
    bounce::forward(frame, config, incoming, &host, STALE)?;
    Ok(transmit(tables, 0, Path::Returned))
}
