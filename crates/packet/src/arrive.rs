//! A packet has come to its destination's host: check, unwrap, learn, deliver.

use crate::count::{Counter, Path};
use crate::flow::Flow;
use crate::learn;
use crate::tables::{Config, Endpoint};
use crate::wire::geneve::Outer;
use crate::wire::{Ethernet, Ipv4, Ipv6, checksum, ethernet, icmpv6, ipv4, ipv6};
use crate::wire_in::Incoming;
use crate::{Delivery, Frame, Reason, Tables, Verdict};

/// Delivers to an endpoint of this host.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn arrive<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    endpoint: &Endpoint,
) -> Result<Verdict, Reason> {
    let flow = &incoming.flow;
    check_inner(frame, flow)?;
    propagate_ecn(frame, incoming)?;
    frame.unwrap(Outer::LEN + incoming.outer.geneve.options_len(), flow.ethertype)?;
    frame.store(0, &Ethernet::new(endpoint.mac, ethernet::GATEWAY, flow.ethertype))?;
    // Last, when least else has to be kept: the kernel programs' stack is short.
    if let Some(located) = &incoming.location {
        learn::learn(tables, config, incoming, &located.option, endpoint.vpc)?;
    }
    tables.count(endpoint.vpc, Counter::Path(Path::Arrived));
    let Endpoint { interface, flags, .. } = *endpoint;
    Ok(Verdict::Deliver(Delivery { interface, vni: incoming.vni, flags }))
}

/// What no endpoint may receive from another one.
#[inline(always)]
fn check_inner<F: Frame>(frame: &F, flow: &Flow) -> Result<(), Reason> {
    if flow.is_for_dhcp_client(frame) {
        return Err(Reason::InnerRouterMessage);
    }
    if flow.is_v4() {
        let src = flow.src.v4_octets();
        if !ipv4::is_unicast(src) || ipv4::is_link_local(src) {
            return Err(Reason::InnerSource);
        }
        if flow.is_icmpv4_of_router(frame) {
            return Err(Reason::InnerRouterMessage);
        }
        return Ok(());
    }
    if ipv6::is_reserved(flow.dst.octets()) {
        // An IPv4-mapped destination would have the key of the IPv4 endpoint.
        return Err(Reason::LinkLocal);
    }
    let src = flow.src.octets();
    if ipv6::is_multicast(src) || ipv6::is_link_local(src) || ipv6::is_reserved(src) {
        return Err(Reason::InnerSource);
    }
    let hidden = flow.opaque && flow.ttl == icmpv6::HOP_LIMIT;
    if hidden || flow.is_neighbour_discovery(frame) {
        return Err(Reason::InnerRouterMessage);
    }
    Ok(())
}

/// Carries congestion marks of the underlay into the inner packet (RFC 6040, figure 4).
#[inline(always)]
fn propagate_ecn<F: Frame>(frame: &mut F, incoming: &Incoming) -> Result<(), Reason> {
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    let inner = incoming.flow.tos & ipv4::ECN_MASK;
    let ecn = match (incoming.outer.ip.tos & ipv4::ECN_MASK, inner) {
        (CE, 0) => return Err(Reason::EcnNotCapable),
        (CE, _) => CE,
        (ECT1, ECT0) => ECT1,
        _ => return Ok(()),
    };
    if ecn == inner {
        return Ok(());
    }
    let at = incoming.flow.l3;
    if incoming.flow.is_v4() {
        let mut ip: Ipv4 = frame.load(at)?;
        let old = u16::from_be_bytes([ip.version_ihl, ip.tos]);
        ip.tos = ip.tos & !ipv4::ECN_MASK | ecn;
        let new = u16::from_be_bytes([ip.version_ihl, ip.tos]);
        ip.checksum = checksum::replace(ip.checksum.get(), old, new).into();
        frame.store(at, &ip)
    } else {
        let mut ip: Ipv6 = frame.load(at)?;
        ip.set_class(ip.class() & !ipv4::ECN_MASK | ecn);
        frame.store(at, &ip)
    }
}
