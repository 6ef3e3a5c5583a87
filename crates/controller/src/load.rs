//! How much hosts forward for others: from what their beats have counted, packets a second.

use crate::time::Time;
use mizar_proto::Beat;
use mizar_vpc::{Name, Vni};
use std::collections::BTreeMap;

/// The load of all hosts.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    hosts: BTreeMap<Name, Counted>,
    /// Packets bounced in a second, by VPC.
    rates: BTreeMap<Vni, u64>,
}

/// What a host has counted, and when it said so.
#[derive(Debug)]
struct Counted {
    at: Time,
    bounced: BTreeMap<Vni, u64>,
    rates: BTreeMap<Vni, u64>,
}

impl Loads {
    /// A host has said what it counted. The VPCs whose rates are others than before, and what these
    /// were.
    pub(crate) fn take(&mut self, host: &Name, beat: &Beat, now: Time) -> Vec<(Vni, u64)> {
        let bounced: BTreeMap<_, _> =
            beat.vpcs.iter().map(|(vni, load)| (*vni, load.bounced)).collect();
        let before = self.hosts.remove(host);
        let mut rates = BTreeMap::new();
        if let Some(before) = &before {
            let millis = now.since(before.at).as_millis().max(1) as u64;
            for (vni, count) in &bounced {
                // A host that was set up anew counts from zero.
                let more = before.bounced.get(vni).map_or(0, |was| count.saturating_sub(*was));
                rates.insert(*vni, more * 1000 / millis);
            }
        }
        let old = before.map(|before| before.rates).unwrap_or_default();
        let mut changed = Vec::new();
        for vni in
            old.keys().chain(rates.keys()).copied().collect::<std::collections::BTreeSet<_>>()
        {
            let (was, is) = (old.get(&vni).unwrap_or(&0), rates.get(&vni).unwrap_or(&0));
            if was != is {
                let rate = self.rates.entry(vni).or_default();
                changed.push((vni, *rate));
                *rate = (*rate + is).saturating_sub(*was);
            }
        }
        self.hosts.insert(host.clone(), Counted { at: now, bounced, rates });
        changed
    }

    /// A host is gone or silent, and its load with it: others have it by then, and it would count
    /// twice. The VPCs whose rates are others than before, and what these were.
    pub(crate) fn forget(&mut self, host: &Name) -> Vec<(Vni, u64)> {
        let mut changed = Vec::new();
        for (vni, was) in self.hosts.remove(host).into_iter().flat_map(|it| it.rates) {
            if let Some(rate) = self.rates.get_mut(&vni).filter(|_| was > 0) {
                changed.push((vni, *rate));
                *rate = rate.saturating_sub(was);
            }
        }
        changed
    }

    /// Packets of a VPC that its bouncers forward in a second.
    pub(crate) fn rate(&self, vni: Vni) -> u64 {
        self.rates.get(&vni).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_proto::Load;
    use std::time::Duration;

    #[test]
    fn rates_are_what_was_counted_since_the_last_beat() {
        let mut loads = Loads::default();
        let (host, vni): (Name, Vni) = ("h1".parse().unwrap(), Vni::MIN);
        let beat = |bounced| {
            let vpcs = BTreeMap::from([(vni, Load { bounced, divided: 0 })]);
            Beat { vpcs, ..Beat::default() }
        };
        let at = |seconds| Time::after(Duration::from_secs(seconds));
        loads.take(&host, &beat(1_000_000), at(0));
        assert_eq!(loads.rate(vni), 0, "nobody knows since when");
        assert_eq!(loads.take(&host, &beat(1_050_000), at(5)), [(vni, 0)]);
        assert_eq!(loads.rate(vni), 10_000);
        loads.take(&host, &beat(10), at(10));
        assert_eq!(loads.rate(vni), 0, "it counts anew");
        loads.take(&host, &beat(5_010), at(15));
        assert_eq!(loads.forget(&host), [(vni, 1_000)]);
        assert_eq!(loads.rate(vni), 0);
        loads.take(&host, &beat(10_000), at(60));
        assert_eq!((loads.rate(vni), loads.forget(&host)), (0, vec![]), "it begins anew");
    }
}
