//! Networks: prefixes that do not overlap, gateways inside them.

use super::change::{Asked, check_fixed};
use super::{Catalog, NetworkRecord, Record, Refused, VpcEntry};
use crate::manifest::{NetworkSpec, RoleSpec};
use crate::prefix::{check_prefix, check_usable, overlap};
use crate::{Kind, Name, Problem, Ref, Slot, Vni};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mizar_packet::tables::REPLICAS;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As many hosts as there are replicas of slots at most; more could hold nothing.
const MOST_BOUNCERS: usize = Slot::COUNT * REPLICAS;

impl Catalog {
    pub(super) fn admit_network(
        &self,
        asked: &Asked,
        vpc: &VpcEntry,
        spec: &NetworkSpec,
    ) -> Result<Record, Refused> {
        let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
        let before = vpc.network_named(&asked.reference.name).map(|it| it.record());
        check_fixed(asked, "spec.v4", before.map(|it| it.spec.v4.as_ref()), spec.v4.as_ref())?;
        check_fixed(asked, "spec.v6", before.map(|it| it.spec.v6.as_ref()), spec.v6.as_ref())?;
        self.check_role(asked, "spec.bouncers", &spec.bouncers, MOST_BOUNCERS)?;
        if before.is_none() {
            // A prefix that is wrong has no gateway to speak of.
            check_prefixes(asked, vpc, spec)?;
        }
        let (v4_gateway, v6_gateway) = gateways(asked, spec)?;
        let (name, labels, revision) = asked.common();
        let vni = vpc.record().vni;
        if let Some(before) = before {
            let was = Some(before.v4_gateway.as_ref());
            check_fixed(asked, "spec.v4Gateway", was, v4_gateway.as_ref())?;
            let was = Some(before.v6_gateway.as_ref());
            check_fixed(asked, "spec.v6Gateway", was, v6_gateway.as_ref())?;
            let (id, spec) = (before.id, spec.clone());
            let record =
                NetworkRecord { name, labels, revision, spec, vni, id, v4_gateway, v6_gateway };
            return Ok(record.into());
        }
        let id = vpc.free_network_id();
        let id = id.ok_or_else(|| at("metadata.name", Problem::NoneLeft("network ids")))?;
        let spec = spec.clone();
        Ok(NetworkRecord { name, labels, revision, spec, vni, id, v4_gateway, v6_gateway }.into())
    }

    pub(super) fn put_network(&mut self, record: NetworkRecord) {
        let Some(vpc) = self.vpcs.get_mut(&record.vni) else { return };
        let vpc_name = vpc.record().name.clone();
        let reference = Ref::in_vpc(Kind::Network, vpc_name, record.name.clone());
        let bouncers = record.spec.bouncers.clone();
        vpc.set_network(record);
        self.name_hosts(&bouncers, &reference, true);
    }

    pub(super) fn take_network(&mut self, vni: Vni, name: &Name) -> Option<NetworkRecord> {
        let vpc = self.vpcs.get_mut(&vni)?;
        let vpc_name = vpc.record().name.clone();
        let record = vpc.remove_network(name)?;
        let bouncers: &RoleSpec = &record.spec.bouncers;
        self.name_hosts(bouncers, &Ref::in_vpc(Kind::Network, vpc_name, name.clone()), false);
        Some(record)
    }
}

fn check_prefixes(asked: &Asked, vpc: &VpcEntry, spec: &NetworkSpec) -> Result<(), Refused> {
    let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
    let v4 = spec.v4.map(|v4| (IpNet::V4(v4), "spec.v4"));
    let v6 = spec.v6.map(|v6| (IpNet::V6(v6), "spec.v6"));
    if v4.is_none() && v6.is_none() {
        return Err(at("spec.v4", Problem::NoPrefix));
    }
    for (prefix, field) in v4.into_iter().chain(v6) {
        let free = check_prefix(prefix).and_then(|()| check_free(prefix, vpc));
        free.map_err(|problem| at(field, problem))?;
    }
    Ok(())
}

fn check_free(prefix: IpNet, vpc: &VpcEntry) -> Result<(), Problem> {
    for network in vpc.networks().map(|network| network.record()) {
        let prefixes = network.spec.v4.map(IpNet::V4).into_iter();
        let mut prefixes = prefixes.chain(network.spec.v6.map(IpNet::V6));
        if let Some(other) = prefixes.find(|other| overlap(*other, prefix)) {
            let vpc = vpc.record().name.clone();
            let by = Ref::in_vpc(Kind::Network, vpc, network.name.clone()).to_string();
            return Err(Problem::Overlap { prefix, other, by });
        }
    }
    Ok(())
}

type Gateways = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// The gateways: those that are asked for, or the first addresses.
fn gateways(asked: &Asked, spec: &NetworkSpec) -> Result<Gateways, Refused> {
    let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
    let v4 = spec.v4_gateway.or_else(|| Some(first_v4(spec.v4?)));
    let v6 = spec.v6_gateway.or_else(|| Some(first_v6(spec.v6?)));
    let checks = [
        (v4.map(IpAddr::V4), spec.v4.map(IpNet::V4), "spec.v4Gateway", "IPv4"),
        (v6.map(IpAddr::V6), spec.v6.map(IpNet::V6), "spec.v6Gateway", "IPv6"),
    ];
    for (address, prefix, field, family) in checks {
        match (address, prefix) {
            (None, _) => {}
            (Some(address), None) => {
                return Err(at(field, Problem::NoFamily { value: address.to_string(), family }));
            }
            (Some(address), Some(prefix)) => {
                check_usable(address, prefix).map_err(|problem| at(field, problem))?;
            }
        }
    }
    Ok((v4, v6))
}

fn first_v4(prefix: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(prefix.network()) + 1)
}

fn first_v6(prefix: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(prefix.network()) + 1)
}
