//! The intent: everything that shall be, checked together and complete.

use crate::invalid::Invalid;
use crate::{
    Endpoint, EndpointSpec, Generation, Host, HostConfig, Name, Network, NetworkSpec, Resources,
    Vpc, VpcSpec,
};
use ipnet::IpNet;
use std::collections::BTreeMap;

mod endpoints;
mod hosts;
mod networks;
#[cfg(test)]
mod tests;

/// All resources of a fleet. It exists only as a whole: hosts, networks and endpoints refer to
/// each other without gaps, and no two use the same address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    fleet: Vec<IpNet>,
    hosts: BTreeMap<Name, Host>,
    vpcs: BTreeMap<Name, VpcIntent>,
}

/// One VPC with all that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcIntent {
    vpc: Vpc,
    networks: BTreeMap<Name, Network>,
    endpoints: BTreeMap<Name, Endpoint>,
}

impl Intent {
    /// Checks resources, and fills in what they leave open. What they ask for explicitly comes
    /// first; what is left open is then chosen in their order. Endpoints without a generation get
    /// `generation`.
    ///
    /// Errors name the first field that is wrong.
    pub fn build(resources: &Resources, generation: Generation) -> Result<Self, Invalid> {
        let mut intent = Self::default();
        hosts::admit(&mut intent, resources)?;
        networks::admit_vpcs(&mut intent, &resources.vpcs)?;
        let addresses = networks::admit_networks(&mut intent, &resources.networks)?;
        endpoints::admit(&mut intent, &resources.endpoints, addresses, generation)?;
        Ok(intent)
    }

    /// The resources of this intent with nothing left open: building them gives this intent again,
    /// and what is added to them leaves what was chosen as it is.
    pub fn resources(&self) -> Resources {
        let networks = self.vpcs().flat_map(|vpc| vpc.networks().map(network_spec));
        let endpoints = self.vpcs().flat_map(|vpc| vpc.endpoints().map(endpoint_spec));
        Resources {
            fleet: self.fleet.clone(),
            hosts: self.hosts.values().cloned().collect(),
            vpcs: self.vpcs().map(|vpc| vpc_spec(vpc.vpc())).collect(),
            networks: networks.collect(),
            endpoints: endpoints.collect(),
        }
    }

    /// The underlay prefixes that hold all hosts.
    pub fn fleet(&self) -> &[IpNet] {
        &self.fleet
    }

    /// The hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// One host.
    pub fn host(&self, name: &Name) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// What a host is told about itself and the fleet.
    pub fn host_config(&self, name: &Name) -> Option<HostConfig> {
        let Host { name, underlay } = self.hosts.get(name)?.clone();
        Some(HostConfig { name, underlay, fleet: self.fleet.clone() })
    }

    /// The VPCs by name.
    pub fn vpcs(&self) -> impl Iterator<Item = &VpcIntent> {
        self.vpcs.values()
    }

    /// One VPC.
    pub fn vpc(&self, name: &Name) -> Option<&VpcIntent> {
        self.vpcs.get(name)
    }
}

impl VpcIntent {
    /// The VPC itself.
    pub fn vpc(&self) -> &Vpc {
        &self.vpc
    }

    /// Its networks by name.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values()
    }

    /// One network.
    pub fn network(&self, name: &Name) -> Option<&Network> {
        self.networks.get(name)
    }

    /// Its endpoints by name.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    /// One endpoint.
    pub fn endpoint(&self, name: &Name) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// The network of one of its endpoints.
    pub(crate) fn network_of(&self, endpoint: &Endpoint) -> &Network {
        &self.networks[&endpoint.network]
    }
}

fn vpc_spec(vpc: &Vpc) -> VpcSpec {
    let Vpc { name, vni, quota, dividers } = vpc.clone();
    VpcSpec { name, vni: Some(vni), quota: Some(quota), dividers }
}

fn network_spec(network: &Network) -> NetworkSpec {
    let Network { vpc, name, id, v4, v6, v4_gateway, v6_gateway, replicas, bouncers } =
        network.clone();
    let id = Some(id);
    NetworkSpec { vpc, name, id, v4, v6, v4_gateway, v6_gateway, replicas, bouncers }
}

fn endpoint_spec(endpoint: &Endpoint) -> EndpointSpec {
    let Endpoint { vpc, network, name, host, v4, v6, mac, generation, attachment } =
        endpoint.clone();
    let (mac, generation) = (Some(mac), Some(generation));
    EndpointSpec { vpc, network, name, host, v4, v6, mac, generation, attachment }
}

fn host_path(name: &Name) -> String {
    format!("hosts[{name}]")
}

fn vpc_path(name: &Name) -> String {
    format!("vpcs[{name}]")
}

fn network_path(vpc: &Name, name: &Name) -> String {
    format!("vpcs[{vpc}].networks[{name}]")
}

fn endpoint_path(vpc: &Name, network: &Name, name: &Name) -> String {
    format!("vpcs[{vpc}].networks[{network}].endpoints[{name}]")
}
