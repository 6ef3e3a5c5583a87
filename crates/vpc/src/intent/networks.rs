//! Admits VPCs and their networks.

use super::{Intent, VpcIntent, hosts, network_path, vpc_path};
use crate::allocate::Addresses;
use crate::{Invalid, Name, Network, NetworkId, NetworkSpec, Problem, Slot, Vni, Vpc, VpcSpec};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mizar_packet::tables::{DIVIDERS, REPLICAS};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Lengths that leave room for a gateway and an endpoint.
const V4_LENGTHS: (u8, u8) = (8, 30);
const V6_LENGTHS: (u8, u8) = (16, 126);
/// As many hosts as there are replicas of slots at most; more could hold nothing.
const MOST_BOUNCERS: usize = Slot::COUNT * REPLICAS;

pub(super) fn admit_vpcs(intent: &mut Intent, specs: &[VpcSpec]) -> Result<(), Invalid> {
    let mut taken = BTreeMap::new();
    for (spec, vni) in specs.iter().filter_map(|spec| Some((spec, spec.vni?))) {
        let path = vpc_path(&spec.name);
        if let Some(by) = taken.insert(vni, path.clone()) {
            return Err(Problem::Taken { value: format!("VNI {vni}"), by }.at(&path, "vni"));
        }
    }
    let mut free = (Vni::MIN.get()..=Vni::MAX.get()).filter_map(|vni| Vni::try_from(vni).ok());
    for spec in specs {
        let path = vpc_path(&spec.name);
        hosts::check_roles(intent, (&path, "dividers"), &spec.dividers, DIVIDERS)?;
        let vni = spec.vni.or_else(|| free.find(|vni| !taken.contains_key(vni)));
        let vpc = Vpc {
            name: spec.name.clone(),
            vni: vni.ok_or_else(|| Problem::NoneLeft("VNIs").at(&path, "vni"))?,
            quota: spec.quota.unwrap_or(Vpc::DEFAULT_QUOTA),
            dividers: spec.dividers.clone(),
        };
        let vpc = VpcIntent { vpc, networks: BTreeMap::new(), endpoints: BTreeMap::new() };
        if intent.vpcs.insert(spec.name.clone(), vpc).is_some() {
            let taken = Problem::Taken { value: spec.name.to_string(), by: path.clone() };
            return Err(taken.at(&path, "name"));
        }
    }
    Ok(())
}

/// Admits all networks; returns the addresses of each VPC, the gateways' claimed.
pub(super) fn admit_networks(
    intent: &mut Intent,
    specs: &[NetworkSpec],
) -> Result<BTreeMap<Name, Addresses>, Invalid> {
    let mut addresses = BTreeMap::new();
    let mut ids = explicit_ids(specs)?;
    let mut prefixes: BTreeMap<&Name, Vec<(IpNet, String)>> = BTreeMap::new();
    for spec in specs {
        let path = network_path(&spec.vpc, &spec.name);
        hosts::check_roles(intent, (&path, "bouncers"), &spec.bouncers, MOST_BOUNCERS)?;
        let Some(vpc) = intent.vpcs.get_mut(&spec.vpc) else {
            let unknown = Problem::Unknown { kind: "VPC", name: spec.vpc.to_string() };
            return Err(unknown.at(&path, "vpc"));
        };
        check_prefixes(spec, &path, prefixes.entry(&spec.vpc).or_default())?;
        let used = ids.entry(&spec.vpc).or_default();
        let network = complete(spec, &path, used)?;
        let gateways: &mut Addresses = addresses.entry(spec.vpc.clone()).or_default();
        let v4 = network.v4_gateway.map(|v4| (IpAddr::V4(v4), "v4_gateway"));
        let v6 = network.v6_gateway.map(|v6| (IpAddr::V6(v6), "v6_gateway"));
        for (gateway, field) in v4.into_iter().chain(v6) {
            let claimed = gateways.claim(gateway, &format!("{path}.{field}"));
            claimed.map_err(|problem| problem.at(&path, field))?;
        }
        if vpc.networks.insert(spec.name.clone(), network).is_some() {
            let taken = Problem::Taken { value: spec.name.to_string(), by: path.clone() };
            return Err(taken.at(&path, "name"));
        }
    }
    Ok(addresses)
}

/// The ids of a VPC's networks, with the paths of those who have them.
type Ids = BTreeMap<NetworkId, String>;

fn explicit_ids(specs: &[NetworkSpec]) -> Result<BTreeMap<&Name, Ids>, Invalid> {
    let mut ids = BTreeMap::<_, Ids>::new();
    for (spec, id) in specs.iter().filter_map(|spec| Some((spec, spec.id?))) {
        let path = network_path(&spec.vpc, &spec.name);
        if let Some(by) = ids.entry(&spec.vpc).or_default().insert(id, path.clone()) {
            return Err(Problem::Taken { value: format!("network id {id}"), by }.at(&path, "id"));
        }
    }
    Ok(ids)
}

fn complete(spec: &NetworkSpec, path: &str, used: &mut Ids) -> Result<Network, Invalid> {
    let free = || {
        std::iter::successors(Some(NetworkId::MIN), |id| id.next())
            .find(|id| !used.contains_key(id))
    };
    let id = spec.id.or_else(free);
    let id = id.ok_or_else(|| Problem::NoneLeft("network ids").at(path, "id"))?;
    used.insert(id, path.to_owned());
    let v4_gateway = v4_gateway(spec).map_err(|problem| problem.at(path, "v4_gateway"))?;
    let v6_gateway = v6_gateway(spec).map_err(|problem| problem.at(path, "v6_gateway"))?;
    Ok(Network {
        vpc: spec.vpc.clone(),
        name: spec.name.clone(),
        id,
        v4: spec.v4,
        v6: spec.v6,
        v4_gateway,
        v6_gateway,
        replicas: spec.replicas,
        bouncers: spec.bouncers.clone(),
    })
}

fn check_prefixes(
    spec: &NetworkSpec,
    path: &str,
    others: &mut Vec<(IpNet, String)>,
) -> Result<(), Invalid> {
    let v4 = spec.v4.map(|v4| (IpNet::V4(v4), "v4", V4_LENGTHS));
    let v6 = spec.v6.map(|v6| (IpNet::V6(v6), "v6", V6_LENGTHS));
    if v4.is_none() && v6.is_none() {
        return Err(Problem::NoPrefix.at(path, "v4"));
    }
    for (prefix, field, lengths) in v4.into_iter().chain(v6) {
        check_prefix(prefix, lengths, others).map_err(|problem| problem.at(path, field))?;
        others.push((prefix, path.to_owned()));
    }
    Ok(())
}

fn check_prefix(
    prefix: IpNet,
    (shortest, longest): (u8, u8),
    others: &[(IpNet, String)],
) -> Result<(), Problem> {
    if prefix != prefix.trunc() {
        return Err(Problem::HostBits { prefix });
    }
    if !(shortest..=longest).contains(&prefix.prefix_len()) {
        return Err(Problem::PrefixLength { prefix, shortest, longest });
    }
    if let Some(reserved) = reserved().into_iter().find(|other| overlap(*other, prefix)) {
        return Err(Problem::ReservedPrefix { prefix, reserved });
    }
    match others.iter().find(|(other, _)| overlap(*other, prefix)) {
        Some((other, by)) => Err(Problem::Overlap { prefix, other: *other, by: by.clone() }),
        None => Ok(()),
    }
}

/// What no guest's packet may carry as its source (RFC 6890), and IPv4-mapped IPv6 addresses,
/// which the tables use for IPv4.
fn reserved() -> [IpNet; 7] {
    let v4 = |octets: [u8; 4], length| IpNet::V4(Ipv4Net::new_assert(octets.into(), length));
    let v6 = |first, length| {
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length))
    };
    [
        v4([0, 0, 0, 0], 8),
        v4([127, 0, 0, 0], 8),
        v4([169, 254, 0, 0], 16),
        v4([224, 0, 0, 0], 3),
        v6(0, 8),
        v6(0xfe80, 10),
        v6(0xff00, 8),
    ]
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn v4_gateway(spec: &NetworkSpec) -> Result<Option<Ipv4Addr>, Problem> {
    match (spec.v4, spec.v4_gateway) {
        (Some(prefix), Some(gateway)) => {
            check_usable(gateway.into(), prefix.into())?;
            Ok(Some(gateway))
        }
        (Some(prefix), None) => Ok(Some(Ipv4Addr::from(u32::from(prefix.network()) + 1))),
        (None, Some(gateway)) => Err(Problem::NoFamily { address: gateway.into(), family: "IPv4" }),
        (None, None) => Ok(None),
    }
}

fn v6_gateway(spec: &NetworkSpec) -> Result<Option<Ipv6Addr>, Problem> {
    match (spec.v6, spec.v6_gateway) {
        (Some(prefix), Some(gateway)) => {
            check_usable(gateway.into(), prefix.into())?;
            Ok(Some(gateway))
        }
        (Some(prefix), None) => Ok(Some(Ipv6Addr::from(u128::from(prefix.network()) + 1))),
        (None, Some(gateway)) => Err(Problem::NoFamily { address: gateway.into(), family: "IPv6" }),
        (None, None) => Ok(None),
    }
}

/// Refuses an address that is outside of `prefix` or that no interface there may have.
pub(super) fn check_usable(address: IpAddr, prefix: IpNet) -> Result<(), Problem> {
    if !prefix.contains(&address) {
        return Err(Problem::Outside { address, prefix });
    }
    let role = match prefix {
        IpNet::V4(_) if address == prefix.network() => "network address",
        IpNet::V4(_) if address == prefix.broadcast() => "broadcast address",
        IpNet::V6(_) if address == prefix.network() => "router anycast address (RFC 4291, 2.6.1)",
        _ => return Ok(()),
    };
    Err(Problem::ReservedAddress { address, role, prefix })
}
