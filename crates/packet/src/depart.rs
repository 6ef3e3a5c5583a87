//! A frame leaves a guest: check it, find where it goes, wrap it.

use crate::choose::{self, Choice};
use crate::count::{Counter, Path};
use crate::flow::Flow;
use crate::tables::{Config, Endpoint, EndpointKey, Host, Learned, Port};
use crate::wire::geneve::{self, Location, OPTION_ROOM, OVERHEAD, Outer, OuterSpec};
use crate::wire::{
    Ethernet, Ipv4, Ipv6, Udp, checksum, dhcp, ethernet, icmpv4, icmpv6, ipv4, ipv6,
};
use crate::{Address, Case, Delivery, Frame, Reason, Tables, Verdict, mss};

/// Handles a frame that a guest sent into the interface whose host end is `interface`.
#[inline(always)]
pub fn depart<F: Frame, T: Tables>(frame: &mut F, tables: &T, interface: u32) -> Verdict {
    let Some(port) = tables.port(interface) else {
        tables.count(0, Counter::Dropped(Reason::NoPort));
        return Verdict::Drop(Reason::NoPort);
    };
    match admit(frame, tables, port) {
        Ok(verdict) => verdict,
        Err(reason) => {
            tables.count(port.vpc, Counter::Dropped(reason));
            Verdict::Drop(reason)
        }
    }
}

/// Lets pass only what this guest may send.
#[inline(always)]
fn admit<F: Frame, T: Tables>(frame: &mut F, tables: &T, port: &Port) -> Result<Verdict, Reason> {
    if frame.has_vlan_tag() {
        return Err(Reason::GuestVlan);
    }
    let eth: Ethernet = frame.load(0)?;
    if eth.src != port.mac {
        return Err(Reason::SpoofedMac);
    }
    let ethertype = eth.ethertype.get();
    if ethertype == ethernet::ARP {
        return Ok(Case::Arp.refer());
    }
    let flow = Flow::parse(frame, Ethernet::LEN, ethertype)?;
    if flow.is_v4() {
        if flow.src != Address::v4(port.v4) || port.v4 == [0; 4] {
            return dhcp_or(frame, &flow, Reason::SpoofedAddress);
        }
        let dst = flow.dst.v4_octets();
        if ipv4::is_link_local(dst) {
            return Err(Reason::LinkLocal);
        }
        if !ipv4::is_unicast(dst) {
            return dhcp_or(frame, &flow, Reason::Multicast);
        }
        if dst == port.v4_gateway {
            return to_gateway(frame, &flow);
        }
        if port.is_v4_broadcast(dst) {
            return dhcp_or(frame, &flow, Reason::Multicast);
        }
        if flow.is_icmpv4_of_router(frame) {
            return Err(Reason::RouterMessage);
        }
    } else if let Some(verdict) = admit_v6(frame, port, &flow)? {
        return Ok(verdict);
    }
    if flow.is_for_dhcp_client(frame) {
        return Err(Reason::DhcpServer);
    }
    route(frame, tables, port, &flow)
}

/// What IPv6 adds to [`admit`]: neighbour discovery and what could pass for it.
#[inline(always)]
fn admit_v6<F: Frame>(frame: &F, port: &Port, flow: &Flow) -> Result<Option<Verdict>, Reason> {
    let kind = flow.icmpv6_kind(frame);
    let discovery = match kind {
        Some(icmpv6::ROUTER_SOLICITATION | icmpv6::NEIGHBOUR_SOLICITATION) => {
            return Ok(Some(Case::Neighbour.refer()));
        }
        Some(kind) => icmpv6::is_neighbour_discovery(kind),
        None => false,
    };
    let dst = flow.dst.octets();
    if discovery {
        // A guest's own advertisements are of no use to anyone, and harm nobody here.
        let own = kind == Some(icmpv6::NEIGHBOUR_ADVERTISEMENT);
        return Err(if own { Reason::LinkLocal } else { Reason::RouterMessage });
    }
    if ipv6::is_multicast(dst) {
        return Err(Reason::Multicast);
    }
    if ipv6::is_link_local(dst) || ipv6::is_reserved(dst) {
        return Err(Reason::LinkLocal);
    }
    if flow.src != port.v6 || port.v6.is_none() {
        return Err(Reason::SpoofedAddress);
    }
    if flow.opaque && flow.ttl == icmpv6::HOP_LIMIT {
        return Err(Reason::HiddenNeighbour);
    }
    if flow.dst == port.v6_gateway {
        return to_gateway(frame, flow).map(Some);
    }
    Ok(None)
}

/// Echo requests to the gateway are answered; anything else has no business there.
#[inline(always)]
fn to_gateway<F: Frame>(frame: &F, flow: &Flow) -> Result<Verdict, Reason> {
    let echo = match (flow.is_v4(), flow.protocol) {
        (true, ipv4::ICMP) => icmpv4::ECHO,
        (false, ipv6::ICMPV6) => icmpv6::ECHO,
        _ => return dhcp_or(frame, flow, Reason::GatewayTraffic),
    };
    // Kind and code: the kernel's verifier cannot follow a bounds check for a single byte.
    if flow.opaque || frame.load::<[u8; 2]>(flow.l4)?[0] != echo {
        return Err(Reason::GatewayTraffic);
    }
    Ok(Case::GatewayEcho.refer())
}

/// DHCP requests are answered, whatever they are addressed to.
#[inline(always)]
fn dhcp_or<F: Frame>(frame: &F, flow: &Flow, otherwise: Reason) -> Result<Verdict, Reason> {
    let request = flow.is_v4()
        && flow.protocol == ipv4::UDP
        && !flow.opaque
        && frame.load::<Udp>(flow.l4).is_ok_and(|udp| {
            udp.src.get() == dhcp::CLIENT_PORT && udp.dst.get() == dhcp::SERVER_PORT
        });
    if request { Ok(Case::Dhcp.refer()) } else { Err(otherwise) }
}

/// Finds where an admitted packet goes, and sends it there.
#[inline(always)]
fn route<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    port: &Port,
    flow: &Flow,
) -> Result<Verdict, Reason> {
    let same_network = is_same_network(port, flow);
    if !same_network && flow.ttl <= 1 {
        tables.count(port.vpc, Counter::Dropped(Reason::TtlExceeded));
        return Ok(Case::TtlExceeded.refer());
    }
    let packet_len = match frame.segment_payload() {
        0 => frame.len() - Ethernet::LEN,
        payload => flow.segment_len(frame, payload)?,
    };
    if packet_len > usize::from(port.mtu) {
        return Ok(too_big(tables, port, port.mtu));
    }
    let config = tables.config();
    let key = EndpointKey::new(port.vni, flow.dst);
    let known = tables.endpoint(&key);
    if let Some(endpoint) = known
        && endpoint.kind == Endpoint::LOCAL
    {
        return deliver_here(frame, tables, port, flow, &endpoint, same_network);
    }
    let now = tables.now();
    let (choice, teach) = match known {
        Some(endpoint) if endpoint.kind == Endpoint::HELD => {
            held(tables, config, &key, &endpoint, now)
        }
        _ => look_up(tables, config, port, &key, same_network, now)?,
    };
    let host = tables.host(choice.host).ok_or(Reason::NoHost)?;
    choose::touch(tables, config, choice.host, &host, now);
    if !host.is_resolved() {
        return Err(Reason::NoNextHop);
    }
    // Rows for hosts always leave room for the smallest IPv6 packet.
    if packet_len + OVERHEAD > usize::from(host.mtu) {
        let mtu = host.mtu.saturating_sub(OVERHEAD as u16);
        return Ok(too_big(tables, port, mtu));
    }
    if mss::clamp(frame, flow, port.mtu)? {
        tables.count(port.vpc, Counter::Path(Path::ClampedMss));
    }
    if !same_network {
        decrement_ttl(frame, flow)?;
    }
    send(frame, config, port, flow, &host, &choice, teach)?;
    tables.count(port.vpc, Counter::Path(choice.path));
    Ok(Verdict::Transmit)
}

/// What was learned of an address that is not known for certain; whom to ask if nothing was.
#[inline(always)]
fn look_up<T: Tables>(
    tables: &T,
    config: &Config,
    port: &Port,
    key: &EndpointKey,
    same_network: bool,
    now: u64,
) -> Result<(Choice, bool), Reason> {
    if let Some(row) = tables.learned(key) {
        if row.host == 0 {
            if now < row.teach_until {
                return Err(Reason::NoEndpoint);
            }
        } else if let Some(host) = tables.host(row.host) {
            keep(tables, config, key, &row, now);
            if now < host.alive_until && host.is_resolved() {
                return Ok((Choice::direct(row.host), now < row.teach_until));
            }
            choose::touch(tables, config, row.host, &host, now);
        }
    }
    if !tables.take_token(port.interface) {
        return Err(Reason::Throttled);
    }
    let choice = if same_network {
        choose::bouncer(tables, config, port.network, key.address.slot(), now)?
    } else {
        choose::divider(tables, config, port.vni, &key.address, now)?
    };
    Ok((Choice { marks: choice.marks | geneve::ASKS, ..choice }, true))
}

/// Where an endpoint is that this host bounces for, and whether it should be told where its peers
/// here are: one of which nothing was learned is asked to teach, so that this comes to an end. One
/// that was heard of later than the controller told of it has moved.
#[inline(always)]
fn held<T: Tables>(
    tables: &T,
    config: &Config,
    key: &EndpointKey,
    endpoint: &Endpoint,
    now: u64,
) -> (Choice, bool) {
    let Some(row) = tables.learned(key) else {
        return (Choice { marks: geneve::ASKS, ..Choice::direct(endpoint.host) }, true);
    };
    keep(tables, config, key, &row, now);
    let newer = row.generation > endpoint.generation && row.host != 0;
    let host = if newer { row.host } else { endpoint.host };
    (Choice::direct(host), now < row.teach_until)
}

/// Stamps a learned row as used, so that it is kept.
#[inline(always)]
fn keep<T: Tables>(tables: &T, config: &Config, key: &EndpointKey, row: &Learned, now: u64) {
    if now.wrapping_sub(row.used) > u64::from(config.hz) * Learned::USED_SECONDS {
        tables.touch_learned(key, now);
    }
}

/// Guest to guest on one host: nothing is wrapped.
#[inline(always)]
fn deliver_here<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    port: &Port,
    flow: &Flow,
    endpoint: &Endpoint,
    same_network: bool,
) -> Result<Verdict, Reason> {
    if !same_network {
        decrement_ttl(frame, flow)?;
    }
    frame.store(0, &Ethernet::new(endpoint.mac, ethernet::GATEWAY, flow.ethertype))?;
    tables.count(port.vpc, Counter::Path(Path::SentLocal));
    let Endpoint { interface, flags, .. } = *endpoint;
    Ok(Verdict::Deliver(Delivery { interface, vni: port.vni, flags }))
}

/// Wraps the frame for a host: with the sender's location unless the receiver knows it.
#[inline(always)]
fn send<F: Frame>(
    frame: &mut F,
    config: &Config,
    port: &Port,
    flow: &Flow,
    host: &Host,
    choice: &Choice,
    teach: bool,
) -> Result<(), Reason> {
    let spec = OuterSpec {
        src_mac: config.nic_mac,
        dst_mac: host.next_hop,
        src: config.underlay.v4_octets(),
        dst: host.address.v4_octets(),
        tos: config.tos | (flow.tos & ipv4::ECN_MASK),
        hash: flow.hash(frame),
        vni: port.vni,
        options_len: if teach { OPTION_ROOM } else { 0 },
        payload_len: frame.len(),
    };
    let inner = Ethernet::new(ethernet::GATEWAY, port.mac, flow.ethertype);
    let outer = Outer::new(&spec);
    if !teach {
        frame.wrap(Outer::LEN)?;
        return frame.store(0, &Wrapped { outer, inner });
    }
    let mut location = Location::new(spec.src, port.generation);
    location.header.kind |= choice.marks;
    location.tag = if flow.is_v4() { port.v4_tag } else { port.v6_tag };
    frame.wrap(Outer::LEN + OPTION_ROOM)?;
    frame.store(0, &WrappedTeaching { outer, location, inner })
}

wire! {
    /// All headers of a direct packet, in one store.
    pub struct Wrapped {
        /// Outer headers.
        pub outer: Outer,
        /// The inner Ethernet header.
        pub inner: Ethernet,
    }

    /// All headers of a packet that says where its sender is.
    pub struct WrappedTeaching {
        /// Outer headers.
        pub outer: Outer,
        /// The only option.
        pub location: Location,
        /// The inner Ethernet header.
        pub inner: Ethernet,
    }
}

#[inline(always)]
fn too_big<T: Tables>(tables: &T, port: &Port, mtu: u16) -> Verdict {
    tables.count(port.vpc, Counter::Dropped(Reason::TooBig));
    Case::TooBig.refer_with(u32::from(mtu))
}

#[inline(always)]
fn is_same_network(port: &Port, flow: &Flow) -> bool {
    if flow.is_v4() { port.contains_v4(flow.dst.v4_octets()) } else { port.contains_v6(&flow.dst) }
}

/// Takes one off the TTL or hop limit of a packet that crosses networks.
#[inline(always)]
fn decrement_ttl<F: Frame>(frame: &mut F, flow: &Flow) -> Result<(), Reason> {
    if flow.is_v4() {
        let mut ip: Ipv4 = frame.load(flow.l3)?;
        let old = u16::from_be_bytes([ip.ttl, ip.protocol]);
        ip.ttl -= 1;
        let new = u16::from_be_bytes([ip.ttl, ip.protocol]);
        ip.checksum = checksum::replace(ip.checksum.get(), old, new).into();
        frame.store(flow.l3, &ip)
    } else {
        let mut ip: Ipv6 = frame.load(flow.l3)?;
        ip.hop_limit -= 1;
        frame.store(flow.l3, &ip)
    }
}
