//! What a host did with a packet, in words: its role, the rows it looked up, and what it sent.

use super::fleet::{Fleet, Host};
use super::record::Seen;
use super::rows;
use super::walk::Step;
use mizar_packet::count::{Counter, Path};
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{Endpoint, Event};
use mizar_packet::wire::geneve::{ASKS, Location, MISSED, OptionHeader, Outer, STALE};
use mizar_packet::{Address, Frame, Reason, Verdict};
use serde::Serialize;
use std::net::Ipv4Addr;

/// One host's part in a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Hop {
    pub(super) host: String,
    pub(super) role: Role,
    /// What it did.
    pub(super) action: String,
    /// What it looked up, in order.
    pub(super) rows: Vec<rows::Row>,
    /// What it wrote, and what it asked its agent for.
    pub(super) effects: Vec<String>,
    /// What it sent, if it did.
    pub(super) sent: Option<Sent>,
    /// The counters that it raised.
    pub(super) counted: Vec<&'static str>,
}

/// What a host is for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// The sender's host.
    Depart,
    /// A bouncer of the destination's network, or a host that the destination has left.
    Bounce,
    /// A divider of the VPC.
    Divide,
    /// The destination's host.
    Arrive,
}

/// A packet on its way between two hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    /// The next host.
    pub(super) to: String,
    /// Outer source.
    pub(super) src: Ipv4Addr,
    /// Outer destination.
    pub(super) dst: Ipv4Addr,
    /// Outer TTL.
    pub(super) ttl: u8,
    /// Length of the outer IP packet in bytes.
    pub(super) size: u16,
    /// Options, with what they say.
    pub(super) options: Vec<String>,
}

/// Explains a step; the first one is the sender's host's.
pub(super) fn hop(fleet: &Fleet, step: &Step, is_first: bool) -> Hop {
    let host = fleet.at(step.host);
    let tables = host.and_then(|host| host.tables.as_ref().ok());
    let counted: Vec<Counter> = step
        .seen
        .iter()
        .filter_map(|seen| if let Seen::Count(it) = seen { Some(*it) } else { None })
        .collect();
    let deciding = deciding(step);
    let rows = tables.map_or_else(Vec::new, |tables| {
        let row = |(at, seen)| rows::row(fleet, tables, seen, deciding == Some(at));
        step.seen.iter().enumerate().filter_map(row).collect()
    });
    let effects = tables.map_or_else(Vec::new, |tables| {
        step.seen.iter().filter_map(|seen| effect(fleet, tables, step, seen)).collect()
    });
    Hop {
        host: fleet.host_name(step.host),
        role: if is_first { Role::Depart } else { role(step) },
        action: action(step, host),
        rows,
        effects,
        sent: sent(fleet, step),
        counted: counted.iter().map(|counter| counter.name()).collect(),
    }
}

/// The way that was counted last of those that say where the packet goes.
fn path(step: &Step) -> Option<Path> {
    let paths = step.seen.iter().rev().filter_map(|seen| match seen {
        Seen::Count(Counter::Path(path)) => Some(*path),
        _ => None,
    });
    paths.into_iter().find(|path| {
        !matches!(
            path,
            Path::ArrivedBounced
                | Path::Learned
                | Path::LearnRefused
                | Path::ClampedMss
                | Path::OamIn
                | Path::Echoed
        )
    })
}

fn role(step: &Step) -> Role {
    match path(step) {
        Some(Path::Bounced | Path::Missed | Path::Returned) => return Role::Bounce,
        Some(Path::Divided) => return Role::Divide,
        Some(Path::Arrived) => return Role::Arrive,
        _ => {}
    }
    // It was dropped: what it looked up says what it would have been.
    let kind = step.seen.iter().find_map(|seen| match seen {
        Seen::Endpoint(_, Some(row)) => Some(row.kind),
        _ => None,
    });
    match kind {
        Some(Endpoint::LOCAL) => Role::Arrive,
        Some(_) => Role::Bounce,
        None => Role::Divide,
    }
}

fn action(step: &Step, host: Option<&Host>) -> String {
    match step.verdict {
        Verdict::Drop(reason) => format!("dropped: {}", reason.text()),
        Verdict::Answer => "answered on behalf of the network".to_owned(),
        Verdict::Transmit | Verdict::Deliver(_) => {
            path(step).map_or("forwarded", Path::text).to_owned()
        }
        Verdict::Pass | Verdict::Consumed | Verdict::Refer(_) => {
            format!("left to {}'s own stack", host.map_or("the host", |host| &host.name))
        }
    }
}

/// Where in what was seen the row is that decided.
fn deciding(step: &Step) -> Option<usize> {
    let is_held =
        |seen: &Seen| matches!(seen, Seen::Endpoint(_, Some(row)) if row.kind == Endpoint::HELD);
    let wanted: fn(&Seen) -> bool = match step.verdict {
        Verdict::Drop(reason) => decides_drop(reason)?,
        Verdict::Answer => |seen| matches!(seen, Seen::Port(..)),
        _ => match path(step)? {
            Path::SentDirect if !step.seen.iter().any(is_held) => {
                |seen| matches!(seen, Seen::Learned(_, Some(_)))
            }
            Path::SentToDivider => |seen| matches!(seen, Seen::Vpc(..)),
            Path::SentToBouncer | Path::Divided | Path::Missed => {
                |seen| matches!(seen, Seen::Holders(..))
            }
            _ => |seen| matches!(seen, Seen::Endpoint(_, Some(_))),
        },
    };
    // That an endpoint does not exist is said by a learned row, or for want of another holder.
    let holders = || step.seen.iter().rposition(|seen| matches!(seen, Seen::Holders(..)));
    step.seen.iter().position(wanted).or_else(holders)
}

/// Which row a drop comes from; None if the packet itself is the reason.
fn decides_drop(reason: Reason) -> Option<fn(&Seen) -> bool> {
    Some(match reason {
        Reason::NoPort | Reason::SpoofedMac | Reason::SpoofedAddress | Reason::GatewayTraffic => {
            |seen| matches!(seen, Seen::Port(..))
        }
        Reason::TooBig => |seen| matches!(seen, Seen::Host(_, Some(_))),
        Reason::NoEndpoint => |seen| matches!(seen, Seen::Learned(_, Some(row)) if row.host == 0),
        Reason::NoRoute => |seen| matches!(seen, Seen::Route(..)),
        Reason::NoDivider | Reason::UnknownVpc => |seen| matches!(seen, Seen::Vpc(..)),
        Reason::NoBouncer => |seen| matches!(seen, Seen::Holders(..)),
        Reason::NoHost => |seen| matches!(seen, Seen::Host(_, None)),
        Reason::NoNextHop => |seen| matches!(seen, Seen::Host(_, Some(row)) if !row.is_resolved()),
        Reason::Throttled => |seen| matches!(seen, Seen::Token(_, false)),
        Reason::StaleTwice | Reason::TagMismatch => {
            |seen| matches!(seen, Seen::Endpoint(_, Some(_)))
        }
        _ => return None,
    })
}

/// What was written, or asked for, in words; None for anything else.
fn effect(fleet: &Fleet, tables: &MemoryTables, step: &Step, seen: &Seen) -> Option<String> {
    match seen {
        Seen::Learn(key, row, written) => {
            let host = rows::host_name(fleet, tables, row.host);
            let address = key.address;
            let is_known = step.seen.iter().any(|seen| {
                matches!(seen, Seen::Learned(found, Some(old))
                    if found == key && old.host == row.host && old.generation == row.generation)
            });
            Some(match (written, is_known) {
                (true, true) => format!("goes on teaching {host} for {address}"),
                (true, false) => format!("learns that {address} is on {host}"),
                (false, _) => format!("has no room to learn that {address} is on {host}"),
            })
        }
        Seen::Tell(event) => request(fleet, tables, event),
        Seen::Count(Counter::Path(Path::ClampedMss)) => {
            Some("lowers TCP's maximum segment size to what fits".to_owned())
        }
        _ => None,
    }
}

/// What the kernel programs ask the agent for.
fn request(fleet: &Fleet, tables: &MemoryTables, event: &Event) -> Option<String> {
    let Event { local, remote, .. } = event;
    let underlay = fleet.host_name(event.underlay);
    let what = match event.kind {
        Event::NEW_HOST => format!("to prepare for {underlay}"),
        Event::PROBE => {
            format!("whether {} is alive", rows::host_name(fleet, tables, event.host))
        }
        Event::NOTICE => format!("to tell {underlay} where {local} is"),
        Event::INVALIDATE => format!("to tell {underlay} that {remote} is not here"),
        Event::UNKNOWN => format!("to tell {underlay} that {remote} does not exist"),
        _ => return None,
    };
    Some(format!("asks its agent {what}"))
}

fn sent(fleet: &Fleet, step: &Step) -> Option<Sent> {
    if step.verdict != Verdict::Transmit {
        return None;
    }
    let outer: Outer = step.frame.load(0).ok()?;
    Some(Sent {
        to: fleet.host_name(Address::v4(outer.ip.dst)),
        src: outer.ip.src.into(),
        dst: outer.ip.dst.into(),
        ttl: outer.ip.ttl,
        size: outer.ip.len.get(),
        options: options(fleet, step, &outer),
    })
}

fn options(fleet: &Fleet, step: &Step, outer: &Outer) -> Vec<String> {
    let mut options = Vec::new();
    let end = Outer::LEN + outer.geneve.options_len();
    let mut at = Outer::LEN;
    while at + OptionHeader::LEN <= end {
        let Ok(header) = step.frame.load::<OptionHeader>(at) else { break };
        if header.is_location()
            && let Ok(location) = step.frame.load::<Location>(at)
        {
            let host = fleet.host_name(Address::v4(location.host));
            options.push(format!("location {host}{}", marks(header.kind)));
        }
        at += header.option_len();
    }
    options
}

fn marks(kind: u8) -> String {
    let names = [(ASKS, ", asks"), (MISSED, ", missed"), (STALE, ", stale")];
    names.iter().filter(|(mark, _)| kind & mark != 0).map(|(_, name)| *name).collect()
}
