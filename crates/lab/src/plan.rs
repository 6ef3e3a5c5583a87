//! From a topology to what the planner of the real control plane works on.
//!
//! [`Store`] is the lab's whole intent and all that was decided about it: addresses, slot maps,
//! generations. It is what a controller would keep in its store.

use crate::fabric::host_address;
use crate::layout::Layout;
use crate::topology::{self, Hosts, Topology};
use mizar_vpc::{
    Attachment, EndpointSpec, Generation, GenerationError, Host, HostRows, Intent, Invalid, Mtu,
    Name, NetworkId, NetworkSpec, Replicas, Resources, RowsError, SlotMaps, Vni, VpcIntent,
    VpcSpec, assign, rows,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Name of a guest's interface.
pub const GUEST_INTERFACE: &str = "eth0";

/// The underlay's addresses.
const FLEET: &str = "100.64.0.0/16";
/// As many hosts as one machine can sensibly carry.
const MOST_HOSTS: usize = 1024;
/// Longest names: sockets lie in folders named so, and a socket's path has at most 107 bytes.
const LONGEST_LAB: usize = 32;
/// An agent also takes its host's name as its instance.
const LONGEST_HOST: usize = 32;

/// Why a topology is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that is wrong by itself.
    #[error("{path}: {problem}")]
    Field {
        /// The path of the field, as in `vpcs[blue].networks[web].endpoints[a].v4`.
        path: String,
        /// The value, what is wrong with it, and what would be right.
        problem: String,
    },
    /// A value that does not fit the others.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Something that cannot change while the lab is up.
    #[error("{path}: cannot change while the lab is up: take the lab down and up again")]
    Fixed {
        /// The path of the field.
        path: &'static str,
    },
    /// The planner failed on its own results.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Nobody applies that often.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

/// The lab's intent, and all that was decided about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// What was asked for last.
    pub(crate) topology: Topology,
    /// Counts the changes of the whole lab.
    pub(crate) generation: Generation,
    /// The generation in which each VPC changed last.
    pub(crate) vpc_generations: BTreeMap<Vni, Generation>,
    /// The same as the topology, with nothing left open.
    pub(crate) resources: Resources,
    /// Who holds which slots.
    slot_maps: SlotMaps,
}

/// What follows from a [`Store`].
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) intent: Intent,
    pub(crate) rows: BTreeMap<Name, HostRows>,
}

impl Plan {
    /// Checks a topology, and decides what it leaves open; what was decided before stays.
    pub(crate) fn new(topology: &Topology, previous: Option<&Self>) -> Result<Self, Error> {
        let generation = match previous {
            None => Generation::new(1, 1)?,
            Some(previous) => {
                refuse_fixed(&previous.store.topology, topology)?;
                previous.store.generation.next()?
            }
        };
        let mut wanted = resources(topology)?;
        if let Some(previous) = previous {
            keep_decisions(&mut wanted, &previous.intent);
        }
        let intent = Intent::build(&wanted, generation)?;
        let no_maps = SlotMaps::new();
        let current = previous.map_or(&no_maps, |previous| &previous.store.slot_maps);
        let slot_maps = assign(&intent, current);

        let vpc_generations = intent.vpcs().map(|vpc| {
            let vni = vpc.vpc().vni;
            let same = previous.filter(|previous| {
                previous.intent.vpc(&vpc.vpc().name) == Some(vpc)
                    && previous.store.slot_maps.get(&vni) == slot_maps.get(&vni)
            });
            let before = same.and_then(|previous| previous.store.vpc_generations.get(&vni));
            (vni, before.copied().unwrap_or(generation))
        });
        Self::of(Store {
            topology: topology.clone(),
            generation,
            vpc_generations: vpc_generations.collect(),
            resources: intent.resources(),
            slot_maps,
        })
    }

    /// What follows from a store.
    pub(crate) fn of(store: Store) -> Result<Self, Error> {
        let intent = Intent::build(&store.resources, store.generation)?;
        let rows = rows(&intent, &store.slot_maps)?;
        Ok(Self { store, intent, rows })
    }

    /// All guests.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&VpcIntent, &mizar_vpc::Endpoint)> {
        self.intent.vpcs().flat_map(|vpc| vpc.endpoints().map(move |endpoint| (vpc, endpoint)))
    }

    /// The generation in which a VPC changed last; for one that is gone, that of the lab.
    pub(crate) fn generation_of(&self, vni: Vni) -> Generation {
        self.store.vpc_generations.get(&vni).copied().unwrap_or(self.store.generation)
    }
}

/// Checks a topology without creating anything.
///
/// # Errors
///
/// Name the first field that is wrong, its value, and what would be right.
pub fn check(topology: &Topology) -> Result<(), Error> {
    Plan::new(topology, None).map(drop)
}

/// Checks a lab's name.
pub(crate) fn lab_name(text: &str) -> Result<Name, Error> {
    name("lab", text, LONGEST_LAB)
}

/// The underlay's MTU.
pub(crate) fn mtu(topology: &Topology) -> Result<Mtu, Error> {
    number("underlay.mtu", topology.underlay.mtu)
}

/// The names of the hosts, in the order of their links.
pub(crate) fn host_names(topology: &Topology) -> Result<Vec<Name>, Error> {
    let names: Vec<String> = match &topology.hosts {
        Hosts::Names(names) => names.clone(),
        // One more than there may be is refused below like any longer list.
        Hosts::Count(count) => {
            (1..=*count).take(MOST_HOSTS + 1).map(|number| format!("h{number}")).collect()
        }
    };
    if names.is_empty() || names.len() > MOST_HOSTS {
        let count = match topology.hosts {
            Hosts::Count(count) => count.to_string(),
            Hosts::Names(_) => names.len().to_string(),
        };
        let problem = format!("there are {count} hosts: there must be from 1 to {MOST_HOSTS}");
        return Err(Error::Field { path: "hosts".to_owned(), problem });
    }
    let names = names.iter().enumerate();
    names.map(|(index, text)| name(&format!("hosts[{index}]"), text, LONGEST_HOST)).collect()
}

fn refuse_fixed(old: &Topology, new: &Topology) -> Result<(), Error> {
    let fixed = [
        ("lab", old.lab == new.lab),
        ("underlay", old.underlay == new.underlay),
        ("hosts", host_names(old)? == host_names(new)?),
    ];
    match fixed.into_iter().find(|(_, same)| !same) {
        Some((path, _)) => Err(Error::Fixed { path }),
        None => Ok(()),
    }
}

/// Fills what the resources leave open with what was decided before, and gives what stays as it was
/// its generation back.
fn keep_decisions(wanted: &mut Resources, before: &Intent) {
    let vnis: BTreeMap<Name, Option<Vni>> =
        wanted.vpcs.iter().map(|vpc| (vpc.name.clone(), vpc.vni)).collect();
    let vpc_before =
        |name: &Name| before.vpc(name).filter(|vpc| vnis.get(name) == Some(&Some(vpc.vpc().vni)));
    for network in &mut wanted.networks {
        if let Some(before) = vpc_before(&network.vpc).and_then(|vpc| vpc.network(&network.name)) {
            network.id = Some(before.id);
        }
    }
    let networks: BTreeMap<_, _> =
        wanted.networks.iter().map(|it| ((&it.vpc, &it.name), it)).collect();
    for endpoint in &mut wanted.endpoints {
        let before = vpc_before(&endpoint.vpc).and_then(|vpc| vpc.endpoint(&endpoint.name));
        let network = networks.get(&(&endpoint.vpc, &endpoint.network));
        let (Some(before), Some(network)) = (before, network) else { continue };
        if before.network != endpoint.network {
            continue;
        }
        let v4 = before.v4.filter(|v4| network.v4.is_some_and(|prefix| prefix.contains(v4)));
        let v6 = before.v6.filter(|v6| network.v6.is_some_and(|prefix| prefix.contains(v6)));
        endpoint.v4 = endpoint.v4.or(v4);
        endpoint.v6 = endpoint.v6.or(v6);
        endpoint.mac = endpoint.mac.or(Some(before.mac));
        let same = endpoint.host == before.host
            && (endpoint.v4, endpoint.v6) == (before.v4, before.v6)
            && endpoint.mac == Some(before.mac);
        endpoint.generation = same.then_some(before.generation);
    }
}

fn resources(topology: &Topology) -> Result<Resources, Error> {
    let lab = lab_name(&topology.lab)?;
    mtu(topology)?;
    let mut resources =
        Resources { fleet: vec![value("fleet", FLEET, "prefix")?], ..Resources::default() };
    for (index, name) in (0..).zip(host_names(topology)?) {
        resources.hosts.push(Host { name, underlay: host_address(index).into() });
    }
    let layout = Layout::new(lab.as_str());
    for vpc in &topology.vpcs {
        let path = format!("vpcs[{}]", vpc.name);
        let spec = VpcSpec {
            name: label(&path, &vpc.name)?,
            vni: Some(number(&format!("{path}.vni"), vpc.vni)?),
            quota: None,
            dividers: names(&format!("{path}.dividers"), &vpc.dividers)?,
        };
        for network in &vpc.networks {
            let path = format!("{path}.networks[{}]", network.name);
            let network_spec = network_spec(&spec.name, network, &path)?;
            for endpoint in &network.endpoints {
                let path = format!("{path}.endpoints[{}]", endpoint.name);
                let endpoint = endpoint_spec(&layout, &network_spec, endpoint, &path)?;
                resources.endpoints.push(endpoint);
            }
            resources.networks.push(network_spec);
        }
        resources.vpcs.push(spec);
    }
    Ok(resources)
}

fn network_spec(vpc: &Name, network: &topology::Network, path: &str) -> Result<NetworkSpec, Error> {
    let replicas = network.replicas.map(|number_| number(&format!("{path}.replicas"), number_));
    Ok(NetworkSpec {
        vpc: vpc.clone(),
        name: label(path, &network.name)?,
        id: None::<NetworkId>,
        v4: optional(path, "v4", network.v4.as_deref(), "IPv4 prefix, as in 10.0.0.0/24")?,
        v6: optional(path, "v6", network.v6.as_deref(), "IPv6 prefix, as in fd00::/64")?,
        v4_gateway: None,
        v6_gateway: None,
        replicas: replicas.transpose()?.unwrap_or_else(Replicas::default),
        bouncers: names(&format!("{path}.bouncers"), &network.bouncers)?,
    })
}

fn endpoint_spec(
    layout: &Layout,
    network: &NetworkSpec,
    endpoint: &topology::Endpoint,
    path: &str,
) -> Result<EndpointSpec, Error> {
    let name = label(path, &endpoint.name)?;
    let v4: Option<Ipv4Addr> =
        optional(path, "v4", endpoint.v4.as_deref(), "IPv4 address, as in 10.0.0.5")?;
    let v6: Option<Ipv6Addr> =
        optional(path, "v6", endpoint.v6.as_deref(), "IPv6 address, as in fd00::5")?;
    let mac = endpoint.mac.as_deref().map(|text| parse(&format!("{path}.mac"), text));
    Ok(EndpointSpec {
        vpc: network.vpc.clone(),
        network: network.name.clone(),
        host: parse(&format!("{path}.host"), &endpoint.host)?,
        v4,
        v6,
        mac: mac.transpose()?,
        generation: None,
        attachment: Attachment::Veth {
            netns: layout.guest_namespace(network.vpc.as_str(), name.as_str()).path(),
            interface: GUEST_INTERFACE.to_owned(),
        },
        name,
    })
}

fn names(path: &str, texts: &[String]) -> Result<Vec<Name>, Error> {
    let texts = texts.iter().enumerate();
    texts.map(|(index, text)| parse(&format!("{path}[{index}]"), text)).collect()
}

fn label(path: &str, text: &str) -> Result<Name, Error> {
    parse(&format!("{path}.name"), text)
}

fn name(path: &str, text: &str, longest: usize) -> Result<Name, Error> {
    if text.len() > longest {
        let problem =
            format!("name {text:?} is too long: it must have at most {longest} characters");
        return Err(Error::Field { path: path.to_owned(), problem });
    }
    parse(path, text)
}

fn number<T: FromStr<Err: Display>>(path: &str, number: u64) -> Result<T, Error> {
    parse(path, &number.to_string())
}

/// A value whose type explains itself.
fn parse<T: FromStr<Err: Display>>(path: &str, text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|error: T::Err| Error::Field { path: path.to_owned(), problem: error.to_string() })
}

fn optional<T: FromStr>(
    path: &str,
    field: &str,
    text: Option<&str>,
    what: &str,
) -> Result<Option<T>, Error> {
    text.map(|text| value(&format!("{path}.{field}"), text, what)).transpose()
}

/// A value whose type does not say what it should be.
fn value<T: FromStr>(path: &str, text: &str, what: &str) -> Result<T, Error> {
    let problem = || format!("{text:?} is no {what}");
    text.parse().map_err(|_| Error::Field { path: path.to_owned(), problem: problem() })
}
