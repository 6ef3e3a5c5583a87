//! From a topology to the manifests that a controller is asked for.
//!
//! [`Plan::new`] checks them before anything is created, with the very catalog that a controller
//! checks them with, and says what is wrong in the topology's own terms.

use crate::fabric::host_address;
use crate::layout::Layout;
use crate::topology::{self, Attach, Hosts, Topology};
use mizar_vpc::manifest::{
    EndpointSpec, FleetSpec, HostSpec, Metadata, NetworkSpec, Object, RoleSpec, TagsSpec, VpcSpec,
};
use mizar_vpc::{Attachment, Labels, Manifest, Mtu, Name, Replicas};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

mod paths;
pub(crate) use paths::Paths;
use paths::Place;

/// Name of a guest's interface.
pub const GUEST_INTERFACE: &str = "eth0";

/// The underlay's addresses.
const FLEET: &str = "100.64.0.0/16";
/// The label that says of which lab a host is.
const LAB_LABEL: &str = "lab";
/// As many hosts as one machine can sensibly carry.
const MOST_HOSTS: usize = 1024;
/// Longest names: sockets lie in folders named so, and a socket's path has at most 107 bytes.
const LONGEST_LAB: usize = 32;
/// An agent also takes its host's name as its instance.
const LONGEST_HOST: usize = 32;

/// Why a topology is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that is wrong, by itself or beside the others.
    #[error("{path}: {problem}")]
    Field {
        /// The path of the field, as in `vpcs[blue].networks[web].endpoints[a].v4`.
        path: String,
        /// The value, what is wrong with it, and what would be right.
        problem: String,
    },
    /// Something that cannot change while the lab is up.
    #[error("{path}: cannot change while the lab is up: take the lab down and up again")]
    Fixed {
        /// The path of the field.
        path: &'static str,
    },
    /// The controller refuses it, for a reason that is about no field.
    #[error("the lab's controller refuses it: {0}")]
    Refused(String),
}

/// What a topology asks for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The hosts, in the order of their links.
    pub(crate) hosts: Vec<Name>,
    /// Everything, in an order in which nothing refers to what comes later. What is asked for
    /// explicitly comes before what is left open, which is chosen from the rest.
    pub(crate) manifests: Vec<Manifest>,
    /// Where in the topology each of them is.
    pub(crate) paths: Paths,
}

impl Plan {
    /// Checks a topology.
    pub(crate) fn new(topology: &Topology) -> Result<Self, Error> {
        let planned = manifests(topology)?;
        let paths = Paths::check(&planned)?;
        let manifests = planned.into_iter().map(|(manifest, _)| manifest).collect();
        Ok(Self { hosts: host_names(topology)?, manifests, paths })
    }
}

/// Checks a topology without creating anything.
///
/// # Errors
///
/// Name the first field that is wrong, its value, and what would be right.
pub fn check(topology: &Topology) -> Result<(), Error> {
    Plan::new(topology).map(drop)
}

/// Refuses a topology that changes what a lab that is up cannot change.
pub(crate) fn refuse_fixed(old: &Topology, new: &Topology) -> Result<(), Error> {
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

/// How a guest is attached: in the namespace that the lab makes for it.
pub(crate) fn guest_attachment(layout: &Layout, vpc: &Name, endpoint: &Name) -> Attachment {
    Attachment::Veth {
        netns: layout.guest_namespace(vpc.as_str(), endpoint.as_str()).path(),
        interface: GUEST_INTERFACE.to_owned(),
    }
}

/// A manifest and where in the topology it is.
type Planned = (Manifest, Place);

fn manifests(topology: &Topology) -> Result<Vec<Planned>, Error> {
    let lab = lab_name(&topology.lab)?;
    mtu(topology)?;
    let mut planned = Vec::new();
    let (mut networks, mut endpoints) = (Vec::new(), Vec::new());
    let fleet =
        FleetSpec { prefixes: vec![value("fleet", FLEET, "prefix")?], tags: TagsSpec::default() };
    let metadata = Metadata::new(None, parse("fleet", "fleet")?);
    planned.push((Manifest::Fleet(Object::new(metadata, fleet)), place(0, "fleet")));
    for (index, name) in (0..).zip(host_names(topology)?) {
        planned.push(host(&lab, name, index)?);
    }
    let layout = Layout::new(lab.as_str());
    for vpc in &topology.vpcs {
        let path = format!("vpcs[{}]", vpc.name);
        let name = label(&path, &vpc.name)?;
        let spec = VpcSpec {
            vni: Some(number(&format!("{path}.vni"), vpc.vni)?),
            dividers: role(&format!("{path}.dividers"), vpc.dividers.as_deref())?,
            ..VpcSpec::default()
        };
        for network in &vpc.networks {
            let path = format!("{path}.networks[{}]", network.name);
            let network_name = label(&path, &network.name)?;
            let manifest = network_manifest(&name, &network_name, network, &path)?;
            networks.push((manifest, place(networks.len(), &path)));
            for endpoint in &network.endpoints {
                let path = format!("{path}.endpoints[{}]", endpoint.name);
                let network = (&name, &network_name);
                let manifest = endpoint_manifest(&layout, network, endpoint, &path)?;
                endpoints.push((manifest, place(endpoints.len(), &path)));
            }
        }
        let place = place(planned.len(), &path);
        planned.push((Manifest::Vpc(Object::new(Metadata::new(None, name), spec)), place));
    }
    endpoints.sort_by_key(|(manifest, _)| left_open(manifest));
    planned.extend(networks.into_iter().chain(endpoints));
    Ok(planned)
}

fn host(lab: &Name, name: Name, index: u16) -> Result<Planned, Error> {
    let path = format!("hosts[{name}]");
    let labels = BTreeMap::from([(LAB_LABEL.to_owned(), lab.to_string())]);
    let labels = Labels::try_from(labels);
    let labels =
        labels.map_err(|error| Error::Field { path: path.clone(), problem: error.to_string() })?;
    let metadata = Metadata { labels, ..Metadata::new(None, name) };
    let spec = HostSpec {
        underlay: host_address(index).into(),
        zone: None,
        weight: HostSpec::DEFAULT_WEIGHT,
        cordoned: false,
    };
    Ok((Manifest::Host(Object::new(metadata, spec)), place(index.into(), &path)))
}

fn network_manifest(
    vpc: &Name,
    name: &Name,
    network: &topology::Network,
    path: &str,
) -> Result<Manifest, Error> {
    let replicas = network.replicas.map(|replicas| number(&format!("{path}.replicas"), replicas));
    let spec = NetworkSpec {
        v4: optional(path, "v4", network.v4.as_deref(), "IPv4 prefix, as in 10.0.0.0/24")?,
        v6: optional(path, "v6", network.v6.as_deref(), "IPv6 prefix, as in fd00::/64")?,
        replicas: replicas.transpose()?.unwrap_or_else(Replicas::default),
        bouncers: role(&format!("{path}.bouncers"), network.bouncers.as_deref())?,
        ..NetworkSpec::default()
    };
    let metadata = Metadata::new(Some(vpc.clone()), name.clone());
    Ok(Manifest::Network(Object::new(metadata, spec)))
}

fn endpoint_manifest(
    layout: &Layout,
    (vpc, network): (&Name, &Name),
    endpoint: &topology::Endpoint,
    path: &str,
) -> Result<Manifest, Error> {
    let name = label(path, &endpoint.name)?;
    let mac = endpoint.mac.as_deref().map(|text| parse(&format!("{path}.mac"), text));
    let spec = EndpointSpec {
        network: network.clone(),
        host: parse(&format!("{path}.host"), &endpoint.host)?,
        v4: optional(path, "v4", endpoint.v4.as_deref(), "IPv4 address, as in 10.0.0.5")?,
        v6: optional(path, "v6", endpoint.v6.as_deref(), "IPv6 address, as in fd00::5")?,
        mac: mac.transpose()?,
        attachment: attachment(layout, (vpc, &name), endpoint, path)?,
        migration: None,
    };
    let metadata = Metadata::new(Some(vpc.clone()), name);
    Ok(Manifest::Endpoint(Object::new(metadata, spec)))
}

fn attachment(
    layout: &Layout,
    (vpc, name): (&Name, &Name),
    endpoint: &topology::Endpoint,
    path: &str,
) -> Result<Attachment, Error> {
    if endpoint.attach == Attach::Veth {
        return match endpoint.routes.first() {
            None => Ok(guest_attachment(layout, vpc, name)),
            Some(route) => {
                let problem = format!("{route} is for hosts: leave it out, or attach: host");
                Err(Error::Field { path: format!("{path}.routes[0]"), problem })
            }
        };
    }
    let routes = endpoint.routes.iter().enumerate().map(|(index, text)| {
        value(&format!("{path}.routes[{index}]"), text, "prefix, as in 10.0.2.0/24")
    });
    let routes = routes.collect::<Result<_, _>>()?;
    Ok(Attachment::Host { interface: name.to_string(), routes })
}

fn place(number: usize, path: &str) -> Place {
    Place { path: path.to_owned(), number }
}

/// How much of an endpoint has to be chosen.
fn left_open(manifest: &Manifest) -> usize {
    let Manifest::Endpoint(endpoint) = manifest else { return 0 };
    let spec = &endpoint.spec;
    [spec.v4.is_none(), spec.v6.is_none(), spec.mac.is_none()].into_iter().filter(|it| *it).count()
}

/// The hosts of a role; without any word of them, the planner chooses.
fn role(path: &str, hosts: Option<&[String]>) -> Result<RoleSpec, Error> {
    let Some(hosts) = hosts else { return Ok(RoleSpec::Auto) };
    let hosts = hosts.iter().enumerate();
    let hosts = hosts.map(|(index, text)| parse(&format!("{path}[{index}]"), text));
    hosts.collect::<Result<_, _>>().map(RoleSpec::Hosts)
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
