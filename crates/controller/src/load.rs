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
    /// A host has said what it counted; the VPCs whose rates are others than before.
    pub(crate) fn take(&mut self, host: &Name, beat: &Beat, now: Time) -> Vec<Vni> {
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
                *rate = (*rate + is).saturating_sub(*was);
                changed.push(vni);
            }
        }
        self.hosts.insert(host.clone(), Counted { at: now, bounced, rates });
        changed
    }

    /// A host is gone, and its load with it.
    pub(crate) fn forget(&mut self, host: &Name) {
        for (vni, was) in self.hosts.remove(host).into_iter().flat_map(|it| it.rates) {
            if let Some(rate) = self.rates.get_mut(&vni) {
                *rate = rate.saturating_sub(was);
            }
        }
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
        assert_eq!(loads.take(&host, &beat(1_050_000), at(5)), [vni]);
        assert_eq!(loads.rate(vni), 10_000);
        loads.take(&host, &beat(10), at(10));
        assert_eq!(loads.rate(vni), 0, "it counts anew");
        loads.take(&host, &beat(5_010), at(15));
        loads.forget(&host);
        assert_eq!(loads.rate(vni), 0);
    }
}
