//! A trace as it is shown.

use super::explain::{Hop, Role, Sent, hop};
use super::fleet::Fleet;
use super::hint::hint;
use super::rows::Row;
use super::walk::{End, Step, Walk};
use crate::output;
use mizar_packet::wire::icmpv4::{self, Icmpv4};
use mizar_packet::wire::icmpv6::{self, Icmpv6};
use mizar_packet::wire::{Ethernet, Ipv4, Ipv6, ethernet};
use mizar_packet::{Address, Frame};
use serde::Serialize;
use std::fmt::Write;

/// Which way a packet takes, and why.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trace {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lab: Option<String>,
    pub(super) vpc: String,
    pub(super) vni: u32,
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) packet: String,
    /// What one should know before believing the rest.
    pub(super) notes: Vec<String>,
    pub(super) there: Way,
    /// The way of the answer, if it was asked for and there is one.
    pub(super) back: Option<Way>,
    /// The hosts that later packets visit, if theirs is another way.
    pub(super) later: Option<Vec<String>>,
}

/// One end.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Place {
    pub(super) endpoint: Option<String>,
    pub(super) address: String,
    pub(super) host: Option<String>,
}

/// One way.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Way {
    pub(super) packet: String,
    pub(super) hops: Vec<Hop>,
    pub(super) verdict: Verdict,
    /// The verdict in a sentence.
    pub(super) text: String,
    /// Why it is dropped, as the counters call it.
    pub(super) reason: Option<&'static str>,
    pub(super) hint: Option<&'static str>,
}

/// How a way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// A guest gets the packet.
    Delivered,
    /// The network answers it as was asked.
    Answered,
    /// The network tells the sender that it cannot go on.
    Refused,
    /// It is dropped.
    Dropped,
    /// It cannot be followed any further.
    Unknown,
}

impl Verdict {
    /// Whether the packet has reached what it was for.
    pub(super) fn is_arrival(self) -> bool {
        matches!(self, Self::Delivered | Self::Answered)
    }
}

/// Puts a walk into words.
pub(super) fn way(fleet: &Fleet, packet: String, walk: &Walk) -> Way {
    let hops = walk.steps.iter().enumerate().map(|(at, step)| hop(fleet, step, at == 0)).collect();
    let last = walk.steps.last().map_or_else(String::new, |step| fleet.host_name(step.host));
    let (verdict, text) = match &walk.end {
        End::Delivered { host, delivery } => {
            let guest = guest_behind(fleet, *host, delivery.interface);
            let guest = guest.unwrap_or_else(|| format!("interface {}", delivery.interface));
            (
                Verdict::Delivered,
                format!("delivered to {guest} on {last}{}", by_way_of(fleet, walk)),
            )
        }
        End::Answered => answer(walk.steps.last(), &last),
        End::Dropped(reason) => (Verdict::Dropped, format!("dropped on {last}: {}", reason.text())),
        End::Beyond(host) => {
            let text = format!(
                "cannot be followed any further: the host {host} is none of the fleet, or one too \
                 many to be looked into"
            );
            (Verdict::Unknown, text)
        }
        End::Lost(why) => (Verdict::Unknown, format!("cannot be followed any further: {why}")),
    };
    let reason = if let End::Dropped(reason) = walk.end { Some(reason) } else { None };
    Way { packet, hops, verdict, text, reason: reason.map(|it| it.name()), hint: reason.map(hint) }
}

/// The name of the guest behind an interface of a host.
fn guest_behind(fleet: &Fleet, host: Address, interface: u32) -> Option<String> {
    let tables = fleet.at(host)?.tables.as_ref().ok()?;
    let port = tables.ports.get(&interface)?;
    let addresses = [Address::v4(port.v4), port.v6];
    addresses.iter().find_map(|it| fleet.endpoint_name(port.vni, *it)).map(str::to_owned)
}

/// How it came there, as the end of a sentence.
fn by_way_of(fleet: &Fleet, walk: &Walk) -> String {
    if walk.steps.len() == 1 {
        return ", without leaving the host".to_owned();
    }
    if walk.between().is_empty() {
        return if walk.is_direct() { ", direct" } else { "" }.to_owned();
    }
    let names = walk.between().iter().map(|step| {
        let role = match hop(fleet, step, false).role {
            Role::Divide => "divider",
            Role::Depart | Role::Bounce | Role::Arrive => "bouncer",
        };
        format!("{role} {}", fleet.host_name(step.host))
    });
    format!(", by way of {}", names.collect::<Vec<_>>().join(" and "))
}

/// What the network answers the guest.
fn answer(last: Option<&Step>, host: &str) -> (Verdict, String) {
    let answered = last.and_then(|step| icmp(&step.frame));
    match answered {
        Some(Answer::Echo) => {
            (Verdict::Answered, format!("answered by the network's gateway, on {host}"))
        }
        Some(Answer::TooBig(mtu)) => {
            let text = format!("refused on {host}: the guest is told that {mtu} bytes fit");
            (Verdict::Refused, text)
        }
        Some(Answer::TimeExceeded) => (
            Verdict::Refused,
            format!("refused on {host}: the guest is told that its TTL is used up"),
        ),
        None => (Verdict::Refused, format!("refused on {host}: the guest is told by ICMP")),
    }
}

enum Answer {
    Echo,
    TooBig(u32),
    TimeExceeded,
}

fn icmp(frame: &impl Frame) -> Option<Answer> {
    let eth: Ethernet = frame.load(0).ok()?;
    if eth.ethertype.get() == ethernet::IPV4 {
        let icmp: Icmpv4 = frame.load(Ethernet::LEN + Ipv4::LEN).ok()?;
        return match icmp.kind {
            icmpv4::ECHO_REPLY => Some(Answer::Echo),
            icmpv4::UNREACHABLE => Some(Answer::TooBig(icmp.low.get().into())),
            icmpv4::TIME_EXCEEDED => Some(Answer::TimeExceeded),
            _ => None,
        };
    }
    let icmp: Icmpv6 = frame.load(Ethernet::LEN + Ipv6::LEN).ok()?;
    match icmp.kind {
        icmpv6::ECHO_REPLY => Some(Answer::Echo),
        icmpv6::PACKET_TOO_BIG => Some(Answer::TooBig(icmp.data.get())),
        icmpv6::TIME_EXCEEDED => Some(Answer::TimeExceeded),
        _ => None,
    }
}

/// The whole trace for people.
pub(super) fn text(trace: &Trace) -> String {
    let mut text = format!("{} → {}\n", place(&trace.from), place(&trace.to));
    let _ = writeln!(text, "{}, in VPC {} (VNI {})", trace.packet, trace.vpc, trace.vni);
    for note in &trace.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.push('\n');
    write_way(&mut text, &trace.there);
    if let Some(hosts) = &trace.later {
        let _ = writeln!(text, "  once both hosts have learned: {}", hosts.join(" → "));
    }
    if let Some(back) = &trace.back {
        let _ = writeln!(text, "\nand back: {}\n", back.packet);
        write_way(&mut text, back);
    }
    text
}

fn place(place: &Place) -> String {
    match (&place.endpoint, &place.host) {
        (Some(endpoint), Some(host)) => format!("{endpoint} ({} on {host})", place.address),
        (Some(endpoint), None) => format!("{endpoint} ({})", place.address),
        (None, _) => place.address.clone(),
    }
}

fn write_way(text: &mut String, way: &Way) {
    for (number, hop) in way.hops.iter().enumerate() {
        write_hop(text, number + 1, hop);
    }
    let mark = match way.verdict {
        verdict if verdict.is_arrival() => "✓",
        Verdict::Unknown => "?",
        _ => "✗",
    };
    let _ = writeln!(text, "{mark} {}", way.text);
    if let Some(hint) = way.hint {
        let _ = writeln!(text, "  hint: {hint}");
    }
}

fn write_hop(text: &mut String, number: usize, hop: &Hop) {
    let role = match hop.role {
        Role::Depart => "depart",
        Role::Bounce => "bounce",
        Role::Divide => "divide",
        Role::Arrive => "arrive",
    };
    let _ = writeln!(text, "{number}. {} {role}: {}", hop.host, hop.action);
    let width = |part: fn(&Row) -> usize| hop.rows.iter().map(part).max().unwrap_or_default();
    let (tables, keys) = (width(|row| row.table.len()), width(|row| row.key.chars().count()));
    for row in &hop.rows {
        let mark = if row.decides { "▸" } else { " " };
        let found = row.found.as_deref().unwrap_or("no row");
        let _ = writeln!(text, "   {mark} {:tables$}  {:keys$}  {found}", row.table, row.key);
    }
    for effect in &hop.effects {
        let _ = writeln!(text, "     {effect}");
    }
    if let Some(sent) = &hop.sent {
        let _ = writeln!(text, "   → {}", sent_text(sent));
    }
}

fn sent_text(sent: &Sent) -> String {
    let options = match sent.options.as_slice() {
        [] => "no option".to_owned(),
        options => options.join("; "),
    };
    let Sent { to, src, dst, ttl, size, .. } = sent;
    format!(
        "{to}: {src} → {dst}, TTL {ttl}, {}, {options}",
        output::count((*size).into(), "byte", "bytes")
    )
}
