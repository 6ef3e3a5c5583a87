//! The next slot map of one network.

use super::balance::{Before, Has, balance};
use super::members::{self, Member};
use super::slots::{Facts, SlotStep};
use super::{Bouncers, Limits, Needs, Progress, Step, Stuck};
use crate::HolderState::{Active, Doubtful, Draining, Filling, Leaving};
use crate::rendezvous::{hash, mix};
use crate::slot_map::{Keeper, Known};
use crate::{Fleet, Name, Slot, SlotMap};
use std::collections::BTreeSet;

/// The next step of a network's slot map, a pure function of its arguments.
///
/// Called again with what hosts have acknowledged meanwhile, it comes to rest: then every slot is
/// held by as many hosts as the network asks for, spread over zones, in proportion to weights.
/// No step leaves a slot without a host that senders are told of, and none tells senders of a host
/// that has not acknowledged the slot's rows as long as there is one that has. A slot that all its
/// keepers have left for good goes to a host that takes no slots, if there is no other.
pub fn assign_network(
    needs: &Needs,
    current: Option<&SlotMap>,
    fleet: &Fleet,
    limits: &Limits,
    progress: &impl Progress,
) -> Step {
    let size = members::size(needs, current, limits);
    let members = members::of_network(needs, current, fleet, size);
    let Some(map) = current else {
        return match members.is_empty() {
            true => Step::Stuck(Stuck::NoHost),
            false => Step::Change(first(needs, &members, size)),
        };
    };
    let next = Draft::new(needs, map, &members, fleet, progress).next(size).or_else(|| {
        let anybody = members::anybody(needs.key, fleet)?;
        Draft::new(needs, map, &[anybody], fleet, progress).next(size)
    });
    match next {
        None => Step::Stuck(Stuck::NoHost),
        Some(next) if !next.has_same_keepers(map) => Step::Change(next),
        Some(_) if members.is_empty() => Step::Stuck(Stuck::NoHost),
        Some(_) => Step::Keep,
    }
}

/// The map of a network that has none: nobody has rows yet, so nobody has to be waited for.
fn first(needs: &Needs, members: &[Member<'_>], size: usize) -> SlotMap {
    let before = vec![Before::default(); Slot::COUNT];
    let targets = balance(needs.key, needs.replicas.get(), members, &before);
    let hosts: Vec<_> =
        members.iter().map(|member| Known { name: member.name.clone(), since: 1 }).collect();
    let slots = targets.into_iter().enumerate().map(|(slot, mut target)| {
        target.sort_by_key(|&member| taste(needs.key, slot, members[member].hash));
        target.into_iter().map(|host| Keeper { host: host as u16, state: Active }).collect()
    });
    finish(1, size, hosts, slots.collect(), |_| false)
}

/// A map in the making. Hosts are those that the current map speaks of, and the members.
struct Draft<'a> {
    needs: &'a Needs,
    map: &'a SlotMap,
    members: &'a [Member<'a>],
    hosts: Vec<Known>,
    hashes: Vec<u64>,
    facts: Vec<Facts>,
    /// The member that each host is.
    member_of: Vec<Option<usize>>,
    /// The host that each member is.
    host_of: Vec<u16>,
    /// The current map's keepers by the draft's hosts.
    slots: Vec<Vec<Keeper>>,
}

impl<'a> Draft<'a> {
    fn new(
        needs: &'a Needs,
        map: &'a SlotMap,
        members: &'a [Member<'a>],
        fleet: &Fleet,
        progress: &impl Progress,
    ) -> Self {
        let mut hosts = map.known().to_vec();
        let is_new = |member: &&Member<'_>| {
            map.known().binary_search_by(|known| known.name.cmp(member.name)).is_err()
        };
        let new = members.iter().filter(is_new);
        hosts.extend(new.map(|member| Known { name: member.name.clone(), since: 0 }));
        hosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let find = |name: &Name| hosts.partition_point(|known| known.name < *name) as u16;
        let host_of: Vec<_> = members.iter().map(|member| find(member.name)).collect();
        let mut member_of = vec![None; hosts.len()];
        for (member, &host) in host_of.iter().enumerate() {
            member_of[usize::from(host)] = Some(member);
        }
        let moved: Vec<_> = map.known().iter().map(|known| find(&known.name)).collect();
        let keeper = |keeper: &Keeper| Keeper { host: moved[usize::from(keeper.host)], ..*keeper };
        let slots = map.slots().iter().map(|slot| slot.iter().map(keeper).collect()).collect();
        let asked = match &needs.bouncers {
            Bouncers::Hosts(hosts) => Some(hosts.iter().collect::<BTreeSet<_>>()),
            Bouncers::Auto | Bouncers::Count(_) => None,
        };
        let facts = hosts.iter().map(|known| {
            let is_asked_for = asked.as_ref().is_none_or(|asked| asked.contains(&known.name));
            facts(known, is_asked_for, fleet, progress)
        });
        let facts = facts.collect();
        let hashes = hosts.iter().map(|known| hash(&known.name)).collect();
        Self { needs, map, members, hosts, hashes, facts, member_of, host_of, slots }
    }

    /// The next map; nothing if a slot would be left to nobody.
    fn next(mut self, size: usize) -> Option<SlotMap> {
        let before: Vec<_> = self.slots.iter().map(|slot| self.before(slot)).collect();
        let replicas = self.needs.replicas.get();
        let targets = balance(self.needs.key, replicas, self.members, &before);
        let mut slots = Vec::with_capacity(Slot::COUNT);
        for (slot, target) in targets.into_iter().enumerate() {
            let target: Vec<_> = target.into_iter().map(|member| self.host_of[member]).collect();
            let tastes = self.hashes.iter().map(|&hash| taste(self.needs.key, slot, hash));
            let taste: Vec<_> = tastes.collect();
            let step = SlotStep { target: &target, replicas, facts: &self.facts, taste: &taste };
            let keepers = step.next(&self.slots[slot]);
            if keepers.is_empty() {
                return None;
            }
            slots.push(keepers);
        }
        let epoch = self.map.epoch() + 1;
        self.date_changes(epoch, &slots);
        let facts = self.facts;
        let is_former = |host: usize| {
            facts[host].exists && (self.hosts[host].since == epoch || !facts[host].is_forgotten)
        };
        let is_former: Vec<_> = (0..self.hosts.len()).map(is_former).collect();
        Some(finish(epoch, size, self.hosts, slots, |host| is_former[host]))
    }

    /// The members that have a slot already.
    fn before(&self, slot: &[Keeper]) -> Before {
        let members = slot
            .iter()
            .filter_map(|keeper| Some((self.member_of[usize::from(keeper.host)]?, keeper.state)));
        let members: Vec<_> = members.collect();
        let wanted = [Active, Doubtful, Filling].into_iter().flat_map(|wanted| {
            let such = members.iter().filter(move |(_, state)| *state == wanted);
            such.map(|&(member, state)| Has { member, has_rows: state == Active })
        });
        let spare = members.iter().filter(|(_, state)| matches!(state, Leaving | Draining));
        Before { wanted: wanted.collect(), spare: spare.map(|&(member, _)| member).collect() }
    }

    /// Notes the epoch at hosts that begin to fill or drain a slot, or lose the last one.
    fn date_changes(&mut self, epoch: u64, slots: &[Vec<Keeper>]) {
        let mut kept = (vec![false; self.hosts.len()], vec![false; self.hosts.len()]);
        for (before, after) in self.slots.iter().zip(slots) {
            for keeper in before {
                kept.0[usize::from(keeper.host)] = true;
            }
            for keeper in after {
                let host = usize::from(keeper.host);
                kept.1[host] = true;
                let old = before.iter().find(|old| old.host == keeper.host).map(|old| old.state);
                let begins = match keeper.state {
                    Active | Leaving => false,
                    Draining => old != Some(Draining),
                    Filling | Doubtful => !matches!(old, Some(Filling | Doubtful)),
                };
                if begins {
                    self.hosts[host].since = epoch;
                }
            }
        }
        for (host, known) in self.hosts.iter_mut().enumerate() {
            if kept.0[host] && !kept.1[host] {
                known.since = epoch;
            }
        }
    }
}

fn facts(known: &Known, is_asked_for: bool, fleet: &Fleet, progress: &impl Progress) -> Facts {
    let Some(host) = fleet.get(&known.name) else { return Facts::default() };
    let is_told = progress.told() >= known.since;
    Facts {
        exists: true,
        is_alive: host.is_alive(),
        may_return: !host.is_alive() && host.may_hold() && is_asked_for,
        is_proven: host.is_alive() && progress.synced(&known.name) >= known.since,
        is_released: is_told || progress.waited(),
        is_forgotten: (is_told && !progress.has_unreachable()) || progress.waited(),
    }
}

/// The order of a slot's holders. It does not depend on weights: who has more weight has more
/// slots, and is asked first in as large a part of them as anybody else.
fn taste(key: u64, slot: usize, hash: u64) -> u64 {
    mix(mix(key ^ slot as u64) ^ hash)
}

/// Leaves out the hosts that keep nothing, unless they are former holders, and numbers the others
/// anew.
fn finish(
    epoch: u64,
    size: usize,
    hosts: Vec<Known>,
    mut slots: Vec<Vec<Keeper>>,
    is_former: impl Fn(usize) -> bool,
) -> SlotMap {
    let mut keeps = vec![false; hosts.len()];
    for keeper in slots.iter().flatten() {
        keeps[usize::from(keeper.host)] = true;
    }
    let mut numbers = vec![0; hosts.len()];
    let mut left = Vec::new();
    for (index, known) in hosts.into_iter().enumerate() {
        if keeps[index] || (known.since > 0 && is_former(index)) {
            numbers[index] = left.len() as u16;
            left.push(Known { since: known.since.max(1), ..known });
        }
    }
    for keeper in slots.iter_mut().flatten() {
        keeper.host = numbers[usize::from(keeper.host)];
    }
    SlotMap::of(epoch, u16::try_from(size).unwrap_or(u16::MAX), left, slots)
}
