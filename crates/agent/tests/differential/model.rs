//! The same programs in user space: `mizar_packet` over tables in memory.

use crate::hosts::INTERFACE;
use crate::kernel::Skb;
use crate::outcome::Outcome;
use mizar_packet::memory::{MemoryFrame, MemoryTables};
use mizar_packet::programs::Tag;
use mizar_packet::wire::geneve;
use mizar_packet::wire::{Ethernet, Ipv4, Udp, ethernet, ipv4};
use mizar_packet::{Case, Frame, Reason, Referral, Verdict, function};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const TC_UNSPEC: u32 = u32::MAX;
const TC_SHOT: u32 = 2;
const TC_REDIRECT: u32 = 7;

/// A kernel program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Guest,
    AnswerLink,
    AnswerIcmp,
    AnswerDhcp,
    WireXdp,
    WireXdpGeneric,
    ControlXdp,
    StrayXdp,
    WireTc,
    ControlTc,
    StrayTc,
    Guard,
}

impl Entry {
    /// Its name in the object.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guest => "trampoline",
            Self::AnswerLink => "answer_link",
            Self::AnswerIcmp => "answer_icmp",
            Self::AnswerDhcp => "answer_dhcp",
            Self::WireXdp => "wire_xdp",
            Self::WireXdpGeneric => "wire_xdp_generic",
            Self::ControlXdp => "control_xdp",
            Self::StrayXdp => "stray_xdp",
            Self::StrayTc => "stray_tc",
            Self::WireTc => "wire_tc",
            Self::ControlTc => "control_tc",
            Self::Guard => "guard",
        }
    }

    /// Whether it hangs in XDP, where a frame has nothing beside its bytes.
    pub(crate) fn is_xdp(self) -> bool {
        use Entry::{ControlXdp, StrayXdp, WireXdp, WireXdpGeneric};
        matches!(self, WireXdp | WireXdpGeneric | ControlXdp | StrayXdp)
    }
}

/// What should become of a frame, and the verdict behind it (of `guard`, the nearest one).
pub(crate) fn run(
    entry: Entry,
    tables: &MemoryTables,
    bytes: &[u8],
    skb: &Skb,
) -> (Verdict, Outcome) {
    match entry {
        Entry::WireXdpGeneric => run_with::<true, true>(entry, tables, bytes, skb),
        entry if entry.is_xdp() => run_with::<true, false>(entry, tables, bytes, skb),
        _ => run_with::<false, false>(entry, tables, bytes, skb),
    }
}

fn run_with<const XDP: bool, const GENERIC: bool>(
    entry: Entry,
    tables: &MemoryTables,
    bytes: &[u8],
    skb: &Skb,
) -> (Verdict, Outcome) {
    let mut frame = Buffer::<XDP, GENERIC>(MemoryFrame::new(bytes));
    frame.0.segment_payload = skb.segment_payload as usize;
    let case = Case::from_number(skb.scratch[0]);
    let referral = case.map(|case| Referral { case, argument: skb.scratch[1] });
    let verdict = match entry {
        Entry::Guest => function::from_guest(&mut frame, tables, INTERFACE),
        Entry::AnswerLink => answered(referral, |referral| {
            function::answer_link(&mut frame, tables, INTERFACE, referral)
        }),
        Entry::AnswerIcmp => answered(referral, |referral| {
            function::answer_icmp(&mut frame, tables, INTERFACE, referral)
        }),
        Entry::AnswerDhcp => function::answer_dhcp(&mut frame, tables, INTERFACE),
        Entry::WireXdp | Entry::WireXdpGeneric | Entry::WireTc => {
            function::from_wire(&mut frame, tables)
        }
        Entry::ControlXdp | Entry::ControlTc => {
            let referral = function::control::case(&frame);
            function::control::control(&mut frame, tables, referral)
        }
        Entry::StrayXdp | Entry::StrayTc => function::stray::stray(&mut frame, tables),
        Entry::Guard => guard(tables, bytes, skb),
    };
    let sent = verdict == Verdict::Transmit && !entry.is_xdp();
    let outcome = Outcome {
        code: if entry.is_xdp() { code_xdp(verdict) } else { code_tc(verdict) },
        bytes: frame.0.bytes,
        mark: if sent { tables.config.mark } else { skb.mark },
        tag: match verdict {
            Verdict::Deliver(delivery) if entry.is_xdp() => Some(Tag::new(&delivery)),
            _ => None,
        },
    };
    (verdict, outcome)
}

/// A referral that is none is dropped without a word.
fn answered(referral: Option<Referral>, answer: impl FnOnce(Referral) -> Verdict) -> Verdict {
    referral.map_or(Verdict::Consumed, answer)
}

fn code_xdp(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass | Verdict::Deliver(_) => XDP_PASS,
        Verdict::Transmit => XDP_TX,
        Verdict::Drop(_) | Verdict::Consumed => XDP_DROP,
        Verdict::Answer | Verdict::Refer(_) => panic!("{verdict:?} of a frame from the wire"),
    }
}

fn code_tc(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => TC_UNSPEC,
        Verdict::Transmit | Verdict::Deliver(_) | Verdict::Answer => TC_REDIRECT,
        Verdict::Drop(_) | Verdict::Consumed => TC_SHOT,
        Verdict::Refer(_) => panic!("{verdict:?} after all programs"),
    }
}

/// Nothing without the mark goes to the tunnel's port.
fn guard(tables: &MemoryTables, bytes: &[u8], skb: &Skb) -> Verdict {
    let marked = skb.mark == tables.config.mark;
    if marked || !is_tunnel(bytes).unwrap_or(false) {
        return Verdict::Pass;
    }
    let dropped = mizar_packet::count::Counter::Dropped(Reason::ForgedTunnel);
    mizar_packet::Tables::count(tables, 0, dropped);
    Verdict::Drop(Reason::ForgedTunnel)
}

fn is_tunnel(bytes: &[u8]) -> Option<bool> {
    let (eth, rest) = Ethernet::read_from_prefix(bytes).ok()?;
    let (ip, _) = Ipv4::read_from_prefix(rest).ok()?;
    let first = ip.fragment.get() & 0x1fff == 0;
    let (udp, _) = Udp::read_from_prefix(rest.get(ip.header_len()..)?).ok()?;
    let is_udp = eth.ethertype.get() == ethernet::IPV4 && ip.protocol == ipv4::UDP;
    Some(is_udp && first && udp.dst.get() == geneve::PORT)
}

/// A frame in memory that nothing can be wrapped around if it is a buffer of segments: test runs
/// make such buffers without a type, and the kernel refuses room in front of those.
struct Buffer<const XDP: bool, const GENERIC: bool>(MemoryFrame);

impl<const XDP: bool, const GENERIC: bool> Buffer<XDP, GENERIC> {
    fn single(&mut self) -> Result<&mut MemoryFrame, Reason> {
        if self.0.segment_payload == 0 { Ok(&mut self.0) } else { Err(Reason::NoRoom) }
    }
}

impl<const XDP: bool, const GENERIC: bool> Frame for Buffer<XDP, GENERIC> {
    const HANDS_UP: bool = GENERIC;
    const RESOLVES: bool = !XDP;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn has(&self, len: usize) -> bool {
        self.0.has(len)
    }

    fn exceeds(&self, len: usize) -> bool {
        self.0.exceeds(len)
    }

    fn load<T: FromBytes>(&self, at: usize) -> Result<T, Reason> {
        self.0.load(at)
    }

    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: &T) -> Result<(), Reason> {
        self.0.store(at, value)
    }

    fn wrap(&mut self, by: usize) -> Result<(), Reason> {
        self.single()?.wrap(by)
    }

    fn unwrap(&mut self, by: usize, ethertype: u16) -> Result<(), Reason> {
        self.single()?.unwrap(by, ethertype)
    }

    fn extend(&mut self, by: usize) -> Result<(), Reason> {
        self.single()?.extend(by)
    }

    fn resize(&mut self, len: usize) -> Result<(), Reason> {
        // The kernel makes one packet of a buffer whose length changes.
        self.0.segment_payload = 0;
        self.0.resize(len)
    }

    fn has_vlan_tag(&self) -> bool {
        self.0.has_vlan_tag()
    }

    fn segment_payload(&self) -> usize {
        self.0.segment_payload()
    }

    fn replace_l4(
        &mut self,
        checksum_at: usize,
        at: usize,
        old: u16,
        new: u16,
    ) -> Result<(), Reason> {
        self.0.replace_l4(checksum_at, at, old, new)
    }
}
