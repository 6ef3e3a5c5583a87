//! The next dividers of one VPC.

use super::members::{Member, Search, present};
use super::{Bouncers, Stuck};
use crate::{Fleet, Name, VpcSlotMaps};
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
        /// As in [`VpcSlotMaps::former_dividers`].
        former_dividers: Vec<Name>,
    },
    /// Nothing can be done.
    Stuck(Stuck),
}

/// The next step of a VPC's dividers: 2 in different zones unless asked for otherwise, at most 8.
///
/// Dividers stay as long as they may. One that leaves keeps the VPC's networks as a former divider
/// until `all_told`: every host that may send to it has acknowledged the present dividers, or has
/// been waited for long enough.
///
/// If nobody takes the place of dividers that are silent or cordoned, they stay.
pub fn assign_dividers(
    key: u64,
    asked: &Bouncers,
    current: &VpcSlotMaps,
    fleet: &Fleet,
    all_told: bool,
) -> DividerStep {
    let before = &current.dividers;
    let wanted = match asked {
        Bouncers::Auto => searched(key, USUAL, before, fleet),
        Bouncers::Count(count) => searched(key, usize::from(*count), before, fleet),
        Bouncers::Hosts(hosts) => present(hosts.iter().take(DIVIDERS), fleet),
    };
    let mut dividers: Vec<_> = wanted.iter().map(|member| member.name.clone()).collect();
    let is_stuck = dividers.is_empty();
    if is_stuck {
        dividers = before.iter().filter(|name| fleet.get(name).is_some()).cloned().collect();
        if dividers.is_empty() {
            return DividerStep::Stuck(Stuck::NoHost);
        }
    }
    let mut former = before.clone();
    if !all_told {
        former.extend(current.former_dividers.iter().cloned());
    }
    former.retain(|name| !dividers.contains(name) && fleet.get(name).is_some());
    former.sort_unstable();
    former.dedup();
    match (&dividers, &former) == (before, &current.former_dividers) {
        false => DividerStep::Change { dividers, former_dividers: former },
        true if is_stuck => DividerStep::Stuck(Stuck::NoHost),
        true => DividerStep::Keep,
    }
}

/// So many dividers, by name.
fn searched<'a>(key: u64, size: usize, before: &[Name], fleet: &'a Fleet) -> Vec<Member<'a>> {
    let size = size.clamp(1, DIVIDERS);
    let mut members = Search { key, size, zones: size, fleet }.sticky(before);
    members.sort_unstable_by_key(|member| member.name);
    members
}
