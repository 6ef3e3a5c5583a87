//! The next dividers of one VPC.

use super::members::{Member, Search, anybody, present};
use super::{Bouncers, Stuck};
use crate::{Candidate, Fleet, Name, VpcSlotMaps};
use mizar_packet::tables::DIVIDERS;

/// Dividers of a VPC that does not say.
const USUAL: usize = 2;

/// What to do with a VPC's dividers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum DividerStep {
    /// Nothing, until something else changes.
    Keep,
    /// Store these, and tell the hosts.
    Change {
        /// As in [`VpcSlotMaps::dividers`].
        dividers: Vec<Name>,
        /// As in [`VpcSlotMaps::spare_dividers`].
        spare_dividers: Vec<Name>,
    },
    /// Nothing can be done.
    Stuck(Stuck),
}

/// The next step of a VPC's dividers: 2 in different zones unless asked for otherwise, at most 8.
///
/// Dividers stay as long as they may. Those that are to take the place of others are told the
/// VPC's networks first, as spare ones; once `knows` says of each that it has acknowledged that,
/// senders are told of them. Those that leave keep the networks, as spare ones, until `all_told`:
/// every host that may send to them has acknowledged the present dividers, or was waited for long
/// enough.
///
/// If nobody takes the place of dividers that are silent or cordoned, they stay; if there are none,
/// or they are gone for good, a host that takes nothing otherwise does, one of those that are asked
/// for before others: endpoints of a VPC without dividers would not reach its other networks.
pub fn assign_dividers(
    key: u64,
    asked: &Bouncers,
    current: &VpcSlotMaps,
    fleet: &Fleet,
    knows: impl Fn(&Name) -> bool,
    all_told: bool,
) -> DividerStep {
    let VpcSlotMaps { dividers: before, spare_dividers: spare, .. } = current;
    let wanted = match asked {
        Bouncers::Auto => searched(key, USUAL, current, fleet),
        Bouncers::Count(count) => searched(key, usize::from(*count), current, fleet),
        Bouncers::Hosts(hosts) => present(hosts.iter().take(DIVIDERS), fleet),
    };
    let wanted: Vec<_> = wanted.iter().map(|member| member.name.clone()).collect();
    let left: Vec<_> = before.iter().filter(|host| fleet.get(host).is_some()).cloned().collect();
    let is_new = |host: &&Name| !(before.contains(host) || (spare.contains(host) && knows(host)));
    let is_heard = |host: &Name| fleet.get(host).is_some_and(Candidate::is_alive);
    let dividers = if wanted.is_empty() && left.is_empty() {
        let somebody = named(asked, fleet).or_else(|| Some(anybody(key, fleet)?.name));
        somebody.into_iter().cloned().collect()
    } else if wanted.is_empty()
        || (wanted.iter().any(|it| is_new(&it)) && left.iter().any(is_heard))
    {
        left
    } else {
        wanted.clone()
    };
    if dividers.is_empty() {
        return DividerStep::Stuck(Stuck::NoHost);
    }
    let is_stuck = wanted.is_empty();
    let mut spares = [wanted, before.clone()].concat();
    if !all_told {
        spares.extend(spare.iter().cloned());
    }
    spares.retain(|name| !dividers.contains(name) && fleet.get(name).is_some());
    spares.sort_unstable();
    spares.dedup();
    match (&dividers, &spares) == (before, spare) {
        false => DividerStep::Change { dividers, spare_dividers: spares },
        true if is_stuck => DividerStep::Stuck(Stuck::NoHost),
        true => DividerStep::Keep,
    }
}

/// One of the hosts that are asked for, though it takes nothing: one that is heard, if any is.
fn named<'a>(asked: &Bouncers, fleet: &'a Fleet) -> Option<&'a Name> {
    let Bouncers::Hosts(hosts) = asked else { return None };
    let there = hosts.iter().filter_map(|host| fleet.get(host));
    there.min_by_key(|host| !host.is_alive()).map(|host| &host.name)
}

/// So many dividers, by name: those that divide, or are spare ones, before others.
fn searched<'a>(key: u64, size: usize, current: &VpcSlotMaps, fleet: &'a Fleet) -> Vec<Member<'a>> {
    let size = size.clamp(1, DIVIDERS);
    let known = current.dividers.iter().chain(&current.spare_dividers);
    let mut members = Search { key, size, zones: size, fleet }.sticky(known);
    members.sort_unstable_by_key(|member| member.name);
    members
}
