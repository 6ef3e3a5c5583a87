//! Which hosts a network's slots are divided among.

use super::{Bouncers, Limits, Needs};
use crate::rendezvous::{dislike, hash};
use crate::{Candidate, Fleet, Name, Slot, SlotMap};
use std::collections::BTreeMap;

/// A host that shall hold slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) name: &'a Name,
    pub(super) zone: Option<&'a Name>,
    pub(super) weight: u32,
    pub(super) hash: u64,
}

/// What the search for hosts goes by.
pub(super) struct Search<'a> {
    /// Different keys prefer different hosts.
    pub(super) key: u64,
    /// How many hosts are wanted.
    pub(super) size: usize,
    /// In how many zones they shall be.
    pub(super) zones: usize,
    pub(super) fleet: &'a Fleet,
}

/// How many hosts shall hold a network's slots. A set stays as it is between the size that it needs
/// and the one that it would need if hosts could bear half as much.
pub(super) fn size(needs: &Needs, current: Option<&SlotMap>, limits: &Limits) -> usize {
    let most = Slot::COUNT * needs.replicas.get();
    match &needs.bouncers {
        Bouncers::Count(count) => usize::from(*count).clamp(1, most),
        Bouncers::Hosts(hosts) => hosts.len().clamp(1, most),
        Bouncers::Auto => {
            let needed = |divisor: u64| {
                let per = |load: u64, limit: u64| load.div_ceil((limit / divisor).max(1));
                let rows = needs.rows.saturating_mul(needs.replicas.get() as u64);
                let rows = per(rows, limits.rows_per_holder);
                let packets = per(needs.packets_per_second, limits.packets_per_holder);
                let needed = usize::try_from(rows.max(packets)).unwrap_or(usize::MAX);
                needed.clamp(needs.replicas.get(), most)
            };
            let least = needed(1);
            current.map_or(least, |map| map.size().clamp(least, needed(2)))
        }
    }
}

/// The hosts that shall hold a network's slots, by name. Those that do stay unless they may not, or
/// there are too many; only if there are too few is the fleet searched.
pub(super) fn of_network<'a>(
    needs: &'a Needs,
    current: Option<&'a SlotMap>,
    fleet: &'a Fleet,
    size: usize,
) -> Vec<Member<'a>> {
    let mut members = match &needs.bouncers {
        Bouncers::Hosts(hosts) => present(hosts, fleet),
        Bouncers::Auto | Bouncers::Count(_) => {
            let zones = needs.replicas.get().min(size);
            let search = Search { key: needs.key, size, zones, fleet };
            search.sticky(current.map_or_else(Vec::new, by_merit))
        }
    };
    members.sort_unstable_by_key(|member| member.name);
    members.dedup_by_key(|member| member.name);
    members.truncate(Slot::COUNT * needs.replicas.get());
    members
}

/// A host for what is left to nobody, while no host takes anything: one that is heard, if any is.
/// None only if there is no host at all.
pub(super) fn anybody(key: u64, fleet: &Fleet) -> Option<Member<'_>> {
    let order = |(host, hash): &(&Candidate, u64)| {
        (!host.is_alive(), dislike(key, *hash, host.weight.max(1)))
    };
    let (host, hash) = fleet.hashed().min_by_key(order)?;
    Some(Member { weight: host.weight.max(1), ..member(host, hash) })
}

/// The hosts that a map wants, those with most active slots first.
fn by_merit(map: &SlotMap) -> Vec<&Name> {
    let mut merits = vec![None; map.known().len()];
    for keeper in map.slots().iter().flatten().filter(|keeper| keeper.state.is_wanted()) {
        let merit = merits[usize::from(keeper.host)].get_or_insert(0);
        *merit += usize::from(keeper.state.is_told());
    }
    let wanted = map.known().iter().zip(merits);
    let mut wanted: Vec<_> = wanted.filter_map(|(k, merit)| Some((merit?, &k.name))).collect();
    wanted.sort_by_key(|(merit, _)| std::cmp::Reverse(*merit));
    wanted.into_iter().map(|(_, name)| name).collect()
}

/// Those of `hosts` that take slots.
pub(super) fn present<'a, 'n>(
    hosts: impl IntoIterator<Item = &'n Name>,
    fleet: &'a Fleet,
) -> Vec<Member<'a>> {
    let present = hosts.into_iter().filter_map(|name| fleet.get(name));
    present.filter(|host| host.takes_slots()).map(|host| member(host, hash(&host.name))).collect()
}

fn member(host: &Candidate, hash: u64) -> Member<'_> {
    Member { name: &host.name, zone: host.zone.as_ref(), weight: host.weight, hash }
}

impl<'a> Search<'a> {
    /// The wanted number of hosts: as many as possible of `current`, the first of which are the
    /// dearest, and others by rendezvous hashing, in turn from the zones that have fewest.
    pub(super) fn sticky<'n>(
        &self,
        current: impl IntoIterator<Item = &'n Name>,
    ) -> Vec<Member<'a>> {
        let mut members = present(current, self.fleet);
        while members.len() > self.size {
            remove_last_of_largest_zone(&mut members);
        }
        let zones = self.zones.min(self.fleet.open_zones());
        if members.len() == self.size && count_zones(&members).len() < zones {
            remove_last_of_largest_zone(&mut members);
        }
        if members.len() < self.size {
            self.add(&mut members);
        }
        members
    }

    fn add(&self, members: &mut Vec<Member<'a>>) {
        let mut counts = count_zones(members);
        let is_new = |name| members.iter().all(|member| member.name != name);
        let mut zones = BTreeMap::<_, Vec<_>>::new();
        for (host, hash) in self.fleet.hashed() {
            if host.takes_slots() && is_new(&host.name) {
                let dislike = dislike(self.key, hash, host.weight);
                zones.entry(host.zone.as_ref()).or_default().push((dislike, member(host, hash)));
            }
        }
        for zone in zones.values_mut() {
            // The best at the end, and no more than could be taken.
            let best = zone.len().min(self.size) - 1;
            zone.select_nth_unstable_by_key(best, |(dislike, m)| (*dislike, m.name));
            zone.truncate(best + 1);
            zone.sort_unstable_by_key(|(dislike, m)| std::cmp::Reverse((*dislike, m.name)));
        }
        while members.len() < self.size {
            let heads = zones.iter_mut().filter(|(_, zone)| !zone.is_empty());
            let next = heads.min_by_key(|(zone, hosts)| {
                let count = counts.get(*zone).copied().unwrap_or(0);
                (count, hosts.last().map(|(dislike, m)| (*dislike, m.name)))
            });
            let Some((_, member)) = next.and_then(|(_, hosts)| hosts.pop()) else { return };
            *counts.entry(member.zone).or_default() += 1;
            members.push(member);
        }
    }
}

fn count_zones<'a>(members: &[Member<'a>]) -> BTreeMap<Option<&'a Name>, usize> {
    let mut counts = BTreeMap::new();
    for member in members {
        *counts.entry(member.zone).or_default() += 1;
    }
    counts
}

fn remove_last_of_largest_zone(members: &mut Vec<Member<'_>>) {
    let counts = count_zones(members);
    let largest = counts.values().copied().max().unwrap_or(0);
    if let Some(at) = members.iter().rposition(|member| counts[&member.zone] == largest) {
        members.remove(at);
    }
}
