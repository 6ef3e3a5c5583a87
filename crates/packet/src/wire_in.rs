//! A frame comes in from the wire: is it a tunnel's, is it sound, and which role does it ask for?
//!
//! A packet names no role: its destination's row decides whether it arrives, is bounced or divided.

use crate::count::{Counter, Path};
use crate::flow::Flow;
use crate::tables::{Config, Endpoint, EndpointKey, VpcIndex};
use crate::wire::geneve::{self, Location, OptionHeader, Outer};
use crate::wire::{Ethernet, Ipv4, Udp, ethernet, icmpv4, ipv4};
use crate::{Address, Case, Frame, Reason, Tables, Verdict, arrive, bounce, divide};

/// A tunnelled frame whose outer headers have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// The outer headers.
    pub outer: Outer,
    /// The VPC.
    pub vni: u32,
    /// Where the sender is, if the packet says so.
    pub location: Option<Located>,
    /// The inner packet.
    pub flow: Flow,
}

/// A location option and where in the frame it stands.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    /// Its offset.
    pub at: usize,
    /// The option.
    pub option: Location,
}

impl Incoming {
    /// The host that sent the frame, which may be a bouncer.
    #[inline(always)]
    pub const fn sender(&self) -> Address {
        Address::v4(self.outer.ip.src)
    }

    /// The key of the inner destination.
    #[inline(always)]
    pub const fn key(&self) -> EndpointKey {
        EndpointKey::new(self.vni, self.flow.dst)
    }

    /// The marks on the location option.
    #[inline(always)]
    pub const fn marks(&self) -> u8 {
        match &self.location {
            Some(located) => located.option.header.kind & geneve::MARKS,
            None => 0,
        }
    }
}

/// A drop, and the VPC that it is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: Reason,
    /// Row of the counters.
    pub vpc: VpcIndex,
}

impl From<Reason> for Dropped {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self { reason, vpc: 0 }
    }
}

/// Handles a frame from the NIC.
#[inline(always)]
pub fn wire_in<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let outer = match classify(frame, tables) {
        Class::Tunnel(outer) => outer,
        Class::Verdict(verdict) => return verdict,
        Class::Drop(reason) => {
            tables.count(0, Counter::Dropped(reason));
            return Verdict::Drop(reason);
        }
    };
    match receive(frame, tables, outer) {
        Ok(verdict) => verdict,
        Err(Dropped { reason, vpc }) => {
            tables.count(vpc, Counter::Dropped(reason));
            Verdict::Drop(reason)
        }
    }
}

enum Class {
    Tunnel(Outer),
    Verdict(Verdict),
    Drop(Reason),
}

/// Tells tunnelled frames from the host's own traffic, at the smallest cost to the latter.
#[inline(always)]
fn classify<F: Frame, T: Tables>(frame: &F, tables: &T) -> Class {
    const PASS: Class = Class::Verdict(Verdict::Pass);
    if frame.has_vlan_tag() {
        // Of another link than the underlay's.
        return PASS;
    }
    let Ok(outer) = frame.load::<Outer>(0) else { return PASS };
    if outer.eth.ethertype.get() != ethernet::IPV4 {
        return PASS;
    }
    if outer.ip.protocol != ipv4::UDP || outer.ip.version_ihl != ipv4::NO_OPTIONS {
        return classify_other(frame, tables, &outer);
    }
    if outer.udp.dst.get() != geneve::PORT || Address::v4(outer.ip.dst) != tables.config().underlay
    {
        return PASS;
    }
    if outer.ip.is_fragment() {
        // Later fragments have no port to tell them by; without the first they come to nothing.
        let later = outer.ip.is_later_fragment();
        return if later { PASS } else { Class::Drop(Reason::OuterFragment) };
    }
    Class::Tunnel(outer)
}

/// Packets with IP options, and errors about packets that this host sent.
#[inline(always)]
fn classify_other<F: Frame, T: Tables>(frame: &F, tables: &T, outer: &Outer) -> Class {
    const PASS: Class = Class::Verdict(Verdict::Pass);
    let header = outer.ip.header_len();
    if outer.ip.version_ihl >> 4 != 4 || header < Ipv4::LEN {
        return PASS;
    }
    match outer.ip.protocol {
        ipv4::UDP => {
            let udp = frame.load::<Udp>(Ethernet::LEN + header);
            let ours = Address::v4(outer.ip.dst) == tables.config().underlay;
            if ours && udp.is_ok_and(|udp| udp.dst.get() == geneve::PORT) {
                return Class::Drop(Reason::OuterOptions);
            }
            PASS
        }
        ipv4::ICMP if header == Ipv4::LEN => {
            match frame.load::<[u8; 2]>(Ethernet::LEN + Ipv4::LEN) {
                Ok([icmpv4::UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED]) => {
                    Class::Verdict(Case::UnderlayTooBig.refer())
                }
                _ => PASS,
            }
        }
        _ => PASS,
    }
}

/// Checks a tunnelled frame and hands it to the role that it asks for.
#[inline(always)]
fn receive<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    outer: Outer,
) -> Result<Verdict, Dropped> {
    let config = tables.config();
    check_outer(frame, config, &outer)?;
    if outer.geneve.flags & geneve::OAM != 0 {
        return Ok(Case::Oam.refer());
    }
    let incoming = read(frame, outer)?;
    let endpoint = tables.endpoint(&incoming.key());
    let stays = endpoint.is_some_and(|endpoint| endpoint.kind == Endpoint::LOCAL);
    if !F::RESOLVES && !stays && !config.is_vouched(tables.now()) {
        return Ok(Verdict::Pass);
    }
    match endpoint {
        Some(endpoint) => role(frame, tables, config, &incoming, &endpoint)
            .map_err(|reason| Dropped { reason, vpc: endpoint.vpc }),
        None => divide::divide(frame, tables, config, &incoming),
    }
}

/// Checks and reads a tunnelled frame that is no control message.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn parse<F: Frame>(frame: &mut F, config: &Config, outer: Outer) -> Result<Incoming, Reason> {
    check_outer(frame, config, &outer)?;
    read(frame, outer)
}

#[inline(always)]
fn read<F: Frame>(frame: &F, outer: Outer) -> Result<Incoming, Reason> {
    if outer.geneve.protocol.get() != geneve::ETHERNET {
        return Err(Reason::BadGeneve);
    }
    if outer.geneve.flags & geneve::CRITICAL != 0 {
        return Err(Reason::CriticalOption);
    }
    let options_len = outer.geneve.options_len();
    let location =
        if options_len == 0 { None } else { find_location(frame, Outer::LEN + options_len)? };
    let inner = Outer::LEN + options_len;
    let eth: Ethernet = frame.load(inner)?;
    let flow =
        Flow::parse(frame, inner + Ethernet::LEN, eth.ethertype.get()).map_err(|reason| {
            match reason {
                Reason::NotIp => Reason::InnerNotIp,
                other => other,
            }
        })?;
    Ok(Incoming { vni: outer.geneve.vni(), outer, location, flow })
}

#[inline(always)]
fn role<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    config: &Config,
    incoming: &Incoming,
    endpoint: &Endpoint,
) -> Result<Verdict, Reason> {
    match endpoint.kind {
        Endpoint::LOCAL if F::HANDS_UP => Ok(Verdict::Pass),
        Endpoint::LOCAL => arrive::arrive(frame, tables, config, incoming, endpoint),
        Endpoint::HELD => bounce::bounce(frame, tables, config, incoming, endpoint),
        _ => bounce::give_back(frame, tables, config, incoming, endpoint),
    }
}

/// What must hold of the outer headers of any tunnelled frame, control messages included. Bytes
/// beyond the UDP length are cut off.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn check_outer<F: Frame>(frame: &mut F, config: &Config, outer: &Outer) -> Result<(), Reason> {
    if frame.segment_payload() == 0 {
        let len = usize::from(outer.ip.len.get());
        let end = Ethernet::LEN + len;
        if len != usize::from(outer.udp.len.get()) + Ipv4::LEN || !frame.has(end) {
            return Err(Reason::OuterLength);
        }
        if frame.exceeds(end) {
            frame.resize(end)?;
        }
    }
    if !is_fleet(config, outer.ip.src) {
        return Err(Reason::ForeignSource);
    }
    if outer.geneve.version_len >> 6 != 0 {
        return Err(Reason::BadGeneve);
    }
    Ok(())
}

/// Whether an underlay address belongs to the fleet.
#[inline(always)]
pub fn is_fleet(config: &Config, address: [u8; 4]) -> bool {
    let address = u32::from_ne_bytes(address);
    let mut found = false;
    for prefix in &config.fleet {
        found |= address & prefix.mask == prefix.network;
    }
    found
}

/// Most options before ours that are skipped.
const OPTIONS: usize = 4;

#[inline(always)]
fn find_location<F: Frame>(frame: &F, end: usize) -> Result<Option<Located>, Reason> {
    let (mut at, mut found) = (Outer::LEN, 0);
    for _ in 0..OPTIONS {
        if at + OptionHeader::LEN > end {
            break;
        }
        let header: OptionHeader = frame.load(at)?;
        let len = header.option_len();
        if at + len > end {
            return Err(Reason::BadOption);
        }
        if header.kind & 0x80 != 0 {
            return Err(Reason::CriticalOption);
        }
        if header.is_location() {
            found = at;
            break;
        }
        at += len;
    }
    let at = frame.forget(found);
    let option = frame.load(at)?;
    Ok(if at == 0 { None } else { Some(Located { at, option }) })
}

/// Counts a way for a VPC and says where the frame goes.
#[inline(always)]
pub(crate) fn transmit<T: Tables>(tables: &T, vpc: VpcIndex, path: Path) -> Verdict {
    tables.count(vpc, Counter::Path(path));
    Verdict::Transmit
}
