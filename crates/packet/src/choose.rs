//! Which host a packet goes to when nobody here knows where its destination is.
//!
//! Every list is in order of preference. The first host that is known to be alive is taken; if none
//! is, the first one, unless another has been known to be alive since: not knowing is no reason to
//! drop.

use crate::count::Path;
use crate::tables::{Config, Event, Holders, Host, HostIndex, NetworkIndex};
use crate::wire::geneve;
use crate::{Address, Reason, Tables};

/// Where to, and how that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its row.
    pub host: HostIndex,
    /// What is counted.
    pub path: Path,
    /// Marks for the location option.
    pub marks: u8,
}

impl Choice {
    /// Straight to the destination's host.
    #[inline(always)]
    pub const fn direct(host: HostIndex) -> Self {
        Self { host, path: Path::SentDirect, marks: 0 }
    }
}

/// A bouncer of a slot, other than this host.
///
/// If this host holds the slot itself, it has no row for the destination: the packet is marked, so
/// that a second miss ends it.
///
/// # Errors
/// [`Reason::NoBouncer`] if nobody holds the slot, [`Reason::NoEndpoint`] if nobody else does.
#[inline(always)]
pub fn bouncer<T: Tables>(
    tables: &T,
    config: &Config,
    network: NetworkIndex,
    slot: u8,
    now: u64,
) -> Result<Choice, Reason> {
    let Holders { hosts } = tables.holders(network, slot).ok_or(Reason::NoBouncer)?;
    let found = first_alive(tables, config, &hosts, now);
    match (found.host, found.own) {
        (0, false) => Err(Reason::NoBouncer),
        (0, true) => Err(Reason::NoEndpoint),
        (host, false) => Ok(Choice { host, path: Path::SentToBouncer, marks: 0 }),
        (host, true) => Ok(Choice { host, path: Path::Missed, marks: geneve::MISSED }),
    }
}

/// A divider of a VPC; a bouncer of the destination's network if this host is a divider itself.
///
/// # Errors
/// [`Reason::UnknownVpc`], [`Reason::NoDivider`], and on a divider [`Reason::NoRoute`] and those of
/// [`bouncer`].
#[inline(always)]
pub fn divider<T: Tables>(
    tables: &T,
    config: &Config,
    vni: u32,
    dst: &Address,
    now: u64,
) -> Result<Choice, Reason> {
    let vpc = tables.vpc(vni).ok_or(Reason::UnknownVpc)?;
    let found = first_alive(tables, config, &vpc.dividers, now);
    if found.own {
        let route = tables.route(vni, dst).ok_or(Reason::NoRoute)?;
        return bouncer(tables, config, route.network, dst.slot(), now);
    }
    if found.host == 0 {
        return Err(Reason::NoDivider);
    }
    Ok(Choice { host: found.host, path: Path::SentToDivider, marks: 0 })
}

/// Stamps a host as wanted, and asks for a probe if it is not known to be alive.
#[inline(always)]
pub fn touch<T: Tables>(tables: &T, config: &Config, index: HostIndex, host: &Host, now: u64) {
    if now.wrapping_sub(host.used) < u64::from(config.stamp) {
        return;
    }
    tables.touch_host(index, now);
    if now >= host.alive_until {
        tables.tell(&Event { kind: Event::PROBE, host: index, ..Event::NOTHING });
    }
}

struct Found {
    /// The choice, or 0.
    host: HostIndex,
    /// Whether this host is in the list.
    own: bool,
}

/// Nothing is carried from one entry to the next: the kernel's verifier would follow each history
/// on its own, and there would be twice as many with each entry.
#[inline(always)]
fn first_alive<T: Tables>(tables: &T, config: &Config, list: &[HostIndex], now: u64) -> Found {
    let own = contains(list, config.own_host);
    let host = alive(tables, config, list, now);
    Found { host: if host == 0 { likeliest(tables, config, list) } else { host }, own }
}

/// Whether a host is in a list, found without a branch for the same reason.
#[inline(always)]
fn contains(list: &[HostIndex], host: HostIndex) -> bool {
    let mut found = 0;
    for &index in list {
        // Only 0 - 1 has the topmost bit.
        found |= u64::from(index ^ host).wrapping_sub(1) >> 63;
    }
    found != 0
}

/// The first host that is known to be alive, or 0. All that are tried are wanted, that one too:
/// unless it is known to be in use, its proof is not renewed.
#[inline(always)]
fn alive<T: Tables>(tables: &T, config: &Config, list: &[HostIndex], now: u64) -> HostIndex {
    for &index in list {
        if index == 0 {
            break;
        }
        if index == config.own_host {
            continue;
        }
        let Some(host) = tables.host(index) else { continue };
        touch(tables, config, index, &host, now);
        if now < host.alive_until && host.is_resolved() {
            return index;
        }
    }
    0
}

/// The first host whose next hop is resolved, if there is one; but a later one that was known to be
/// alive more than a lease after it: the first may be dead, and who sends seldom would go on asking
/// it.
///
/// What is carried from one entry to the next is chosen without a branch.
#[inline(always)]
fn likeliest<T: Tables>(tables: &T, config: &Config, list: &[HostIndex]) -> HostIndex {
    // Proven later than this is better; anything is better than what is not resolved.
    let (mut best, mut bound) = (u64::from(other(config, list)), u64::MAX);
    for &index in list {
        if index == 0 {
            break;
        }
        if index == config.own_host {
            continue;
        }
        let Some(host) = tables.host(index).filter(Host::is_resolved) else { continue };
        let proven = host.alive_until;
        // All ones if it is better: times are far below 2⁶³.
        let better = 0u64.wrapping_sub(bound.wrapping_sub(proven) >> 63);
        best ^= (best ^ u64::from(index)) & better;
        bound ^= (bound ^ proven.wrapping_add(u64::from(config.lease))) & better;
    }
    best as HostIndex
}

/// The first host, or 0.
#[inline(always)]
fn other(config: &Config, list: &[HostIndex]) -> HostIndex {
    for &index in list {
        if index != config.own_host {
            return index;
        }
    }
    0
}
