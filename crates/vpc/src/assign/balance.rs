//! Divides slots among members: by weight, over zones, moving as few as possible.

use super::members::Member;
use crate::rendezvous::mix;
use crate::{Name, Slot};
use mizar_packet::tables::REPLICAS;
use std::collections::BTreeMap;

/// A member, by its index, that has a slot already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Has {
    pub(super) member: usize,
    /// It has the slot's rows, so moving the slot elsewhere costs more.
    pub(super) has_rows: bool,
}

/// Who has one slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// Those who shall have it for good, the dearest first.
    pub(super) wanted: Vec<Has>,
    /// Those who have its rows but are giving it up.
    pub(super) spare: Vec<usize>,
}

/// The members that shall have each slot: `replicas` of them, or all if they are fewer.
pub(super) fn balance(
    key: u64,
    replicas: usize,
    members: &[Member<'_>],
    before: &[Before],
) -> Vec<Vec<usize>> {
    let mut division = Division::new(key, replicas, members);
    for (slot, before) in before.iter().enumerate() {
        division.keep(slot, &before.wanted);
    }
    for (slot, before) in before.iter().enumerate() {
        division.fill(slot, &before.spare);
    }
    if division.is_unbalanced() {
        division.rebalance();
    }
    division.slots.into_iter().map(|slot| slot.iter().map(|has| has.member).collect()).collect()
}

struct Division<'a> {
    key: u64,
    members: &'a [Member<'a>],
    /// Holders of each slot.
    each: usize,
    /// The zone of each member, by number.
    zones: Vec<usize>,
    /// The most holders that a slot may have in one zone.
    per_zone: usize,
    /// In how many zones a slot's holders are.
    spread: usize,
    /// How many slots each member ought to have.
    shares: Vec<f64>,
    counts: Vec<usize>,
    slots: Vec<Vec<Has>>,
}

impl<'a> Division<'a> {
    fn new(key: u64, replicas: usize, members: &'a [Member<'a>]) -> Self {
        let each = replicas.min(members.len());
        let mut numbers = BTreeMap::<Option<&Name>, usize>::new();
        for member in members {
            let next = numbers.len();
            numbers.entry(member.zone).or_insert(next);
        }
        let zones: Vec<_> = members.iter().map(|member| numbers[&member.zone]).collect();
        let mut sizes = vec![0; numbers.len()];
        for &zone in &zones {
            sizes[zone] += 1;
        }
        let fits = |per: &usize| sizes.iter().map(|size: &usize| *per.min(size)).sum::<usize>();
        let per_zone = (1..each).find(|per| fits(per) >= each).unwrap_or(each.max(1));
        let shares = shares(members, &zones, &sizes, (each, per_zone));
        let counts = vec![0; members.len()];
        let slots = vec![Vec::new(); Slot::COUNT];
        let spread = sizes.len().min(each);
        Self { key, members, each, zones, per_zone, spread, shares, counts, slots }
    }

    /// Leaves a slot with those who have it, but for surplus holders and those in a full zone.
    fn keep(&mut self, slot: usize, wanted: &[Has]) {
        for has in wanted {
            if self.slots[slot].len() < self.each && self.has_room(slot, has.member, None) {
                self.counts[has.member] += 1;
                self.slots[slot].push(*has);
            }
        }
    }

    /// Adds the holders that a slot lacks: those who still have its rows unless they have more
    /// than their share, else those who have the smallest part of their share.
    fn fill(&mut self, slot: usize, spare: &[usize]) {
        while self.slots[slot].len() < self.each {
            let fits = |member: &usize| self.has_room(slot, *member, None);
            let again = spare.iter().copied().filter(fits);
            let again = again.min_by_key(|&member| self.level(member, 1));
            let member = again.filter(|&m| self.counts[m] as f64 <= self.most(m)).or_else(|| {
                let all = (0..self.members.len()).filter(fits);
                all.min_by_key(|&member| (self.level(member, 1), self.taste(slot, member)))
            });
            let Some(member) = member else { return };
            self.counts[member] += 1;
            self.slots[slot].push(Has { member, has_rows: false });
        }
    }

    /// Whether anybody is so far from its share that moving slots is worth it.
    fn is_unbalanced(&self) -> bool {
        (0..self.members.len()).any(|member| {
            let count = self.counts[member] as f64;
            count > self.most(member) || count < self.shares[member] * 0.75 - 1.0
        })
    }

    /// Moves slots one by one from the fullest to the emptiest members, as long as that evens out.
    fn rebalance(&mut self) {
        let mut open: Vec<_> = (0..self.members.len()).collect();
        while let Some(&to) = open.iter().min_by_key(|&&member| (self.level(member, 1), member)) {
            match self.best_move(to) {
                None => open.retain(|&member| member != to),
                Some((slot, position)) => {
                    self.counts[self.slots[slot][position].member] -= 1;
                    self.counts[to] += 1;
                    self.slots[slot][position] = Has { member: to, has_rows: false };
                }
            }
        }
    }

    /// The slot and position that `to` had best take over: from the fullest member, rather one that
    /// has no rows yet.
    fn best_move(&self, to: usize) -> Option<(usize, usize)> {
        let level = self.level(to, 1);
        let all = self.slots.iter().enumerate().flat_map(|(slot, holders)| {
            holders.iter().enumerate().map(move |(position, has)| (slot, position, has))
        });
        let better = all.filter(|(slot, _, has)| {
            self.level(has.member, 0) > level && self.has_room(*slot, to, Some(has.member))
        });
        let best = better.min_by_key(|(slot, _, has)| {
            let fullest = std::cmp::Reverse(self.level(has.member, 0));
            (fullest, has.has_rows, self.taste(*slot, to), has.member)
        });
        best.map(|(slot, position, _)| (slot, position))
    }

    /// Whether a member may hold a slot beside its holders but for `instead`.
    fn has_room(&self, slot: usize, member: usize, instead: Option<usize>) -> bool {
        let zone = self.zones[member];
        let (mut in_zone, mut count, mut zones) = (0, 1, [usize::MAX; REPLICAS]);
        zones[0] = zone;
        let others = self.slots[slot].iter().map(|has| has.member);
        for other in others.filter(|&other| Some(other) != instead) {
            if other == member {
                return false;
            }
            in_zone += usize::from(self.zones[other] == zone);
            zones[count] = self.zones[other];
            count += 1;
        }
        let zones = &zones[..count];
        let distinct = (0..count).filter(|&at| !zones[..at].contains(&zones[at])).count();
        in_zone < self.per_zone && distinct + (self.each - count) >= self.spread
    }

    /// The part of its share that a member would have with `more` slots, in millionths, its last
    /// slot counted half: dividing by this favours neither large nor small shares (Webster's
    /// method).
    fn level(&self, member: usize, more: usize) -> u64 {
        (((self.counts[member] + more) as f64 - 0.5) * 1e6 / self.shares[member]) as u64
    }

    /// The most slots that a member keeps without others being asked.
    fn most(&self, member: usize) -> f64 {
        self.shares[member] * 1.25 + 1.0
    }

    fn taste(&self, slot: usize, member: usize) -> u64 {
        mix(mix(self.key ^ slot as u64) ^ self.members[member].hash)
    }
}

/// How many of the slots' holders each member ought to be: in proportion to the weights, as far as
/// every zone has a holder of each slot or at least no two, and no member is a holder twice.
fn shares(
    members: &[Member<'_>],
    zones: &[usize],
    sizes: &[usize],
    (each, per_zone): (usize, usize),
) -> Vec<f64> {
    let count = Slot::COUNT as f64;
    let weights: Vec<_> = members.iter().map(|member| f64::from(member.weight.max(1))).collect();
    let mut totals = vec![0.0; sizes.len()];
    for (&zone, weight) in zones.iter().zip(&weights) {
        totals[zone] += weight;
    }
    let least = if sizes.len() <= each { count } else { 0.0 };
    let limits = sizes.iter().map(|&size| (least, size.min(per_zone) as f64 * count));
    let of_zones = divide(each as f64 * count, &totals, &limits.collect::<Vec<_>>());
    let mut shares = vec![0.0; members.len()];
    for (zone, total) in of_zones.into_iter().enumerate() {
        let inside: Vec<_> = (0..members.len()).filter(|&member| zones[member] == zone).collect();
        let weights: Vec<_> = inside.iter().map(|&member| weights[member]).collect();
        let of_members = divide(total, &weights, &vec![(0.0, count); inside.len()]);
        for (member, share) in inside.into_iter().zip(of_members) {
            shares[member] = share;
        }
    }
    shares
}

/// Divides `total` in proportion to weights of at least 1, as far as everybody's limits allow.
fn divide(total: f64, weights: &[f64], limits: &[(f64, f64)]) -> Vec<f64> {
    let at = |rate: f64| {
        let shares = weights.iter().zip(limits);
        shares.map(move |(weight, &(least, most))| (rate * weight).clamp(least, most))
    };
    // The sum grows with the rate, and at this one everybody has all of it.
    let (mut low, mut high) = (0.0, total);
    for _ in 0..f64::MANTISSA_DIGITS {
        let middle = (low + high) / 2.0;
        if at(middle).sum::<f64>() < total { low = middle } else { high = middle }
    }
    at(high).collect()
}
