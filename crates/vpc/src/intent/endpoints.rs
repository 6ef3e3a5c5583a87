//! Admits endpoints: explicit addresses first, then those that are left open.

use super::{Intent, endpoint_path, networks::check_usable};
use crate::allocate::Addresses;
use crate::{
    Attachment, Endpoint, EndpointSpec, Generation, Invalid, Name, Network, Problem, VpcIntent,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn admit(
    intent: &mut Intent,
    specs: &[EndpointSpec],
    mut addresses: BTreeMap<Name, Addresses>,
    generation: Generation,
) -> Result<(), Invalid> {
    let mut attachments = BTreeMap::new();
    let mut names = BTreeMap::new();
    for spec in specs {
        let path = endpoint_path(&spec.vpc, &spec.network, &spec.name);
        if let Some(by) = names.insert((&spec.vpc, &spec.name), path.clone()) {
            let taken = Problem::Taken { value: spec.name.to_string(), by };
            return Err(taken.at(&path, "name"));
        }
        claim_attachment(&mut attachments, spec, &path)?;
        let (_, network) = context(intent, spec, &path)?;
        let addresses = addresses.entry(spec.vpc.clone()).or_default();
        claim_explicit(addresses, spec, network, &path)?;
    }
    for spec in specs {
        let path = endpoint_path(&spec.vpc, &spec.network, &spec.name);
        let (vpc, network) = context(intent, spec, &path)?;
        let addresses = addresses.entry(spec.vpc.clone()).or_default();
        let endpoint = complete(addresses, spec, (vpc, network), generation, &path)?;
        if let Some(vpc) = intent.vpcs.get_mut(&spec.vpc) {
            vpc.endpoints.insert(spec.name.clone(), endpoint);
        }
    }
    Ok(())
}

/// The VPC and the network of an endpoint whose host exists.
fn context<'a>(
    intent: &'a Intent,
    spec: &EndpointSpec,
    path: &str,
) -> Result<(&'a VpcIntent, &'a Network), Invalid> {
    let unknown = |kind, name: &Name, field| {
        Problem::Unknown { kind, name: name.to_string() }.at(path, field)
    };
    let vpc = intent.vpc(&spec.vpc).ok_or_else(|| unknown("VPC", &spec.vpc, "vpc"))?;
    let network = vpc.network(&spec.network);
    let network = network.ok_or_else(|| unknown("network", &spec.network, "network"))?;
    intent.host(&spec.host).ok_or_else(|| unknown("host", &spec.host, "host"))?;
    Ok((vpc, network))
}

fn claim_attachment<'a>(
    attachments: &mut BTreeMap<(&'a Name, &'a Attachment), String>,
    spec: &'a EndpointSpec,
    path: &str,
) -> Result<(), Invalid> {
    let at = |problem: Problem| problem.at(path, "attachment");
    spec.attachment.check().map_err(|error| at(error.into()))?;
    match attachments.insert((&spec.host, &spec.attachment), path.to_owned()) {
        None => Ok(()),
        Some(by) => {
            let Attachment::Veth { netns, interface } = &spec.attachment;
            let value = format!("interface {interface} in {}", netns.display());
            Err(at(Problem::Taken { value, by }))
        }
    }
}

fn claim_explicit(
    addresses: &mut Addresses,
    spec: &EndpointSpec,
    network: &Network,
    path: &str,
) -> Result<(), Invalid> {
    let v4 = spec.v4.map(|v4| (IpAddr::V4(v4), network.v4.map(IpNet::V4), "v4", "IPv4"));
    let v6 = spec.v6.map(|v6| (IpAddr::V6(v6), network.v6.map(IpNet::V6), "v6", "IPv6"));
    for (address, prefix, field, family) in v4.into_iter().chain(v6) {
        let claimed = match prefix {
            None => Err(Problem::NoFamily { address, family }),
            Some(prefix) => check_usable(address, prefix)
                .and_then(|()| check_gateway(address, network, prefix))
                .and_then(|()| addresses.claim(address, path)),
        };
        claimed.map_err(|problem| problem.at(path, field))?;
    }
    if let Some(mac) = spec.mac {
        addresses.claim_mac(mac, path).map_err(|problem| problem.at(path, "mac"))?;
    }
    Ok(())
}

fn check_gateway(address: IpAddr, network: &Network, prefix: IpNet) -> Result<(), Problem> {
    let v4 = network.v4_gateway.map(IpAddr::V4);
    let v6 = network.v6_gateway.map(IpAddr::V6);
    if Some(address) == v4 || Some(address) == v6 {
        Err(Problem::ReservedAddress { address, role: "gateway", prefix })
    } else {
        Ok(())
    }
}

fn complete(
    addresses: &mut Addresses,
    spec: &EndpointSpec,
    (vpc, network): (&VpcIntent, &Network),
    generation: Generation,
    path: &str,
) -> Result<Endpoint, Invalid> {
    let at = |field| move |problem: Problem| problem.at(path, field);
    let v4 = match (spec.v4, network.v4) {
        (None, Some(prefix)) => {
            let v4 = addresses.free_v4(prefix).map_err(at("v4"))?;
            addresses.claim(v4.into(), path).map_err(at("v4"))?;
            Some(v4)
        }
        (explicit, _) => explicit,
    };
    let v6 = match (spec.v6, network.v6) {
        (None, Some(prefix)) => {
            let v6 = addresses.free_v6(prefix, v4).map_err(at("v6"))?;
            addresses.claim(v6.into(), path).map_err(at("v6"))?;
            Some(v6)
        }
        (explicit, _) => explicit,
    };
    let address = v4.map(IpAddr::V4).or(v6.map(IpAddr::V6));
    let mac = match (spec.mac, address) {
        (Some(mac), _) => mac,
        (None, None) => return Err(at("mac")(Problem::NoPrefix)),
        (None, Some(address)) => {
            let mac = addresses.free_mac(vpc.vpc().vni, address).map_err(at("mac"))?;
            addresses.claim_mac(mac, path).map_err(at("mac"))?;
            mac
        }
    };
    Ok(Endpoint {
        vpc: spec.vpc.clone(),
        network: spec.network.clone(),
        name: spec.name.clone(),
        host: spec.host.clone(),
        v4,
        v6,
        mac,
        generation: spec.generation.unwrap_or(generation),
        attachment: spec.attachment.clone(),
    })
}
