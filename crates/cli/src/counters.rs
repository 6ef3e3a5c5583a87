//! Counters of hosts as tables.

use crate::output;
use mizar_packet::count::{Counter, PER_VPC};
use mizar_proto::{Counters, VpcCounters};
use serde::Serialize;
use std::collections::BTreeMap;

/// What several hosts have counted for one VPC, as far as it is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OfVpc {
    /// The VPC's name or VNI; None for packets whose VPC is not known.
    pub(crate) vpc: Option<String>,
    /// Packets by host and name of the counter.
    pub(crate) hosts: BTreeMap<String, VpcCounters>,
}

/// The counters of several hosts by VPC; `name` names a VPC by its VNI.
pub(crate) fn by_vpc(
    hosts: &BTreeMap<String, Counters>,
    name: impl Fn(u32) -> String,
) -> Vec<OfVpc> {
    let mut vpcs: BTreeMap<u32, BTreeMap<String, VpcCounters>> = BTreeMap::new();
    for (host, counters) in hosts {
        let known = counters.vpcs.iter().map(|(vni, packets)| (vni.get(), packets));
        for (vni, packets) in known.chain([(0, &counters.unknown)]) {
            let counted = packets.iter().filter(|(_, packets)| **packets != 0);
            let counted: VpcCounters = counted.map(|(name, n)| (name.clone(), *n)).collect();
            vpcs.entry(vni).or_default().insert(host.clone(), counted);
        }
    }
    let of_vpc = |(vni, hosts)| OfVpc { vpc: (vni != 0).then(|| name(vni)), hosts };
    vpcs.into_iter().map(of_vpc).collect()
}

/// The counters of each VPC as a table: a row for each counter, a column for each host.
pub(crate) fn text(vpcs: &[OfVpc]) -> String {
    let is_empty = |vpc: &&OfVpc| vpc.hosts.values().all(BTreeMap::is_empty);
    let shown: Vec<_> = vpcs.iter().filter(|vpc| !is_empty(vpc)).map(of_vpc).collect();
    if shown.is_empty() {
        return "Nothing has been counted yet.".to_owned();
    }
    shown.join("\n\n")
}

fn of_vpc(vpc: &OfVpc) -> String {
    let hosts = vpc.hosts.keys().map(String::as_str);
    let mut table = output::table(["PACKETS"].into_iter().chain(hosts).chain(["MEANING"]));
    for counter in (0..PER_VPC).filter_map(Counter::from_row) {
        let of_host = |packets: &VpcCounters| packets.get(counter.name()).copied();
        if vpc.hosts.values().all(|packets| of_host(packets).is_none()) {
            continue;
        }
        let numbers = vpc.hosts.values().map(|packets| output::or_none(of_host(packets)));
        let name = std::iter::once(counter.name().to_owned());
        table.add_row(name.chain(numbers).chain([meaning(counter)]));
    }
    let title =
        vpc.vpc.as_ref().map_or_else(|| "of no known VPC".to_owned(), |it| format!("VPC {it}"));
    format!("{title}\n{}", output::text(&table))
}

/// What a counter says about the packets it counts.
fn meaning(counter: Counter) -> String {
    match counter {
        Counter::Path(path) => path.text().to_owned(),
        Counter::Dropped(reason) => format!("dropped: {}", reason.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(vni: u32, packets: &[(&str, u64)]) -> Counters {
        let packets = packets.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let vni = vni.try_into().unwrap();
        Counters { vpcs: BTreeMap::from([(vni, packets)]), unknown: VpcCounters::new() }
    }

    #[test]
    fn counters_of_all_hosts_stand_side_by_side_with_what_they_mean() {
        let hosts = BTreeMap::from([
            ("h1".to_owned(), host(7, &[("sent_to_bouncer", 2), ("throttled", 0)])),
            ("h2".to_owned(), host(7, &[("bounced", 2), ("no_endpoint", 1)])),
        ]);
        let vpcs = by_vpc(&hosts, |vni| format!("{vni}"));
        assert_eq!(
            text(&vpcs),
            "VPC 7\n\
             PACKETS          h1  h2  MEANING\n\
             sent_to_bouncer  2   -   sent to a bouncer of the destination's network\n\
             bounced          -   2   re-addressed by this host as a bouncer\n\
             no_endpoint      -   1   dropped: the destination does not exist"
        );
        assert_eq!(
            text(&by_vpc(&BTreeMap::new(), |_| String::new())),
            "Nothing has been counted yet."
        );
    }
}
