//! Admits the fleet's prefixes and hosts.

use super::{Intent, host_path};
use crate::{Invalid, Name, Problem, Resources};
use ipnet::IpNet;
use mizar_packet::tables::FLEET_PREFIXES;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn admit(intent: &mut Intent, resources: &Resources) -> Result<(), Invalid> {
    admit_fleet(&resources.fleet)?;
    let mut underlays = BTreeMap::new();
    for host in &resources.hosts {
        let path = host_path(&host.name);
        if intent.hosts.insert(host.name.clone(), host.clone()).is_some() {
            let taken = Problem::Taken { value: host.name.to_string(), by: path.clone() };
            return Err(taken.at(&path, "name"));
        }
        check_underlay(host.underlay, &resources.fleet)
            .map_err(|problem| problem.at(&path, "underlay"))?;
        if let Some(by) = underlays.insert(host.underlay, path.clone()) {
            let taken = Problem::Taken { value: host.underlay.to_string(), by };
            return Err(taken.at(&path, "underlay"));
        }
    }
    intent.fleet.clone_from(&resources.fleet);
    Ok(())
}

/// Refuses a list of hosts that is too short or too long, or has unknown or repeated entries.
pub(super) fn check_roles(
    intent: &Intent,
    (path, field): (&str, &str),
    hosts: &[Name],
    most: usize,
) -> Result<(), Invalid> {
    Problem::check_count(hosts.len(), 1, most).map_err(|problem| problem.at(path, field))?;
    for (index, name) in hosts.iter().enumerate() {
        let entry = format!("{field}[{index}]");
        if !intent.hosts.contains_key(name) {
            let unknown = Problem::Unknown { kind: "host", name: name.to_string() };
            return Err(unknown.at(path, &entry));
        }
        if let Some(first) = hosts[..index].iter().position(|other| other == name) {
            let by = format!("{path}.{field}[{first}]");
            return Err(Problem::Taken { value: name.to_string(), by }.at(path, &entry));
        }
    }
    Ok(())
}

fn admit_fleet(fleet: &[IpNet]) -> Result<(), Invalid> {
    let invalid = |path, problem| Err(Invalid { path, problem });
    if let Err(problem) = Problem::check_count(fleet.len(), 1, FLEET_PREFIXES) {
        return invalid("fleet".to_owned(), problem);
    }
    for (index, &prefix) in fleet.iter().enumerate() {
        if prefix != prefix.trunc() {
            return invalid(format!("fleet[{index}]"), Problem::HostBits { prefix });
        }
    }
    Ok(())
}

fn check_underlay(address: IpAddr, fleet: &[IpNet]) -> Result<(), Problem> {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some() || v6.is_unicast_link_local(),
    };
    if special || address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(Problem::NotUnicast(address));
    }
    if fleet.iter().any(|prefix| prefix.contains(&address)) {
        Ok(())
    } else {
        Err(Problem::OutsideFleet(address))
    }
}
