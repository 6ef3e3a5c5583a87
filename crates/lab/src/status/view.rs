//! What is said about a lab: by its controller and by its agents.

use crate::layout::Layout;
use crate::plan::Plan;
use crate::topology::Topology;
use crate::{agents, controller};
use mizar_proto::{PortStatus, Status as AgentStatus};
use mizar_vpc::manifest::{EndpointSpec, EndpointStatus, HostStatus, NetworkStatus, Object};
use mizar_vpc::manifest::{RoleSpec, VpcStatus};
use mizar_vpc::{Kind, Manifest, Name, Vni};
use std::collections::BTreeMap;

/// What is said about a lab.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Why the controller says nothing, if it does not.
    pub(super) problem: Option<String>,
    /// The endpoints that the controller has.
    pub(super) endpoints: Vec<Object<EndpointSpec, EndpointStatus>>,
    hosts: BTreeMap<Name, HostStatus>,
    vpcs: BTreeMap<Name, VpcStatus>,
    networks: BTreeMap<(Name, Name), NetworkStatus>,
    agents: BTreeMap<Name, AgentStatus>,
    /// Names of VPCs by their numbers, those of the topology among them.
    names: BTreeMap<Vni, Name>,
}

impl View {
    /// Asks everybody. A lab whose controller is gone still has hosts and guests to show.
    pub(super) async fn of(layout: &Layout, topology: &Topology, plan: &Plan) -> Self {
        let client = controller::client(layout);
        let kinds = [Kind::Host, Kind::Vpc, Kind::Network, Kind::Endpoint];
        let (said, agents) = tokio::join!(
            controller::resources(&client, kinds),
            agents::statuses(layout, &plan.hosts),
        );
        let mut view = Self { agents, ..Self::default() };
        for vpc in &topology.vpcs {
            let vni = u32::try_from(vpc.vni).ok().and_then(|vni| Vni::try_from(vni).ok());
            if let (Some(vni), Ok(name)) = (vni, vpc.name.parse()) {
                view.names.insert(vni, name);
            }
        }
        match said {
            Ok(said) => said.into_iter().flatten().for_each(|manifest| view.admit(manifest)),
            Err(error) => view.problem = Some(crate::chain(&error)),
        }
        view
    }

    fn admit(&mut self, manifest: Manifest) {
        match manifest {
            Manifest::Host(it) => {
                self.hosts.insert(it.metadata.name, it.status.unwrap_or_default());
            }
            Manifest::Vpc(it) => {
                let (name, status) = (it.metadata.name, it.status.unwrap_or_default());
                self.names.extend(status.vni.map(|vni| (vni, name.clone())));
                self.vpcs.insert(name, status);
            }
            Manifest::Network(it) => {
                let (vpc, name) = (it.metadata.vpc, it.metadata.name);
                if let Some(vpc) = vpc {
                    self.networks.insert((vpc, name), it.status.unwrap_or_default());
                }
            }
            Manifest::Endpoint(it) => self.endpoints.push(it),
            Manifest::Fleet(_) | Manifest::Tenant(_) | Manifest::SlotMap(_) => {}
        }
    }

    /// What the controller says of a host.
    pub(super) fn host(&self, name: &Name) -> Option<&HostStatus> {
        self.hosts.get(name)
    }

    /// What the agent of a host says.
    pub(super) fn agent(&self, host: &Name) -> Option<&AgentStatus> {
        self.agents.get(host)
    }

    /// What the agent of a host says of a guest.
    pub(super) fn port(&self, host: &Name, vni: Vni, guest: &Name) -> Option<&PortStatus> {
        let ports = &self.agent(host)?.ports;
        ports.iter().find(|port| port.vni == vni && port.name == *guest)
    }

    /// The number of a VPC.
    pub(super) fn vni(&self, vpc: &Name) -> Option<Vni> {
        self.names.iter().find(|(_, name)| *name == vpc).map(|(vni, _)| *vni)
    }

    /// The name of a VPC, or its number if it is no more.
    pub(super) fn vpc_name(&self, vni: Vni) -> String {
        self.names.get(&vni).map_or_else(|| format!("VNI {vni}"), Name::to_string)
    }

    /// What is planned of bouncers and dividers and has yet to become so.
    pub(super) fn unsettled(&self, plan: &Plan) -> Vec<String> {
        if self.problem.is_some() {
            return Vec::new();
        }
        plan.manifests.iter().filter_map(|manifest| self.has_yet_to_settle(manifest)).collect()
    }

    fn has_yet_to_settle(&self, manifest: &Manifest) -> Option<String> {
        match manifest {
            Manifest::Network(it) => {
                let (vpc, name) = (it.metadata.vpc.clone()?, it.metadata.name.clone());
                let line = format!("network {vpc}/{name}");
                let Some(status) = self.networks.get(&(vpc, name)) else {
                    return Some(format!("{line} does not exist"));
                };
                let (has, wanted) = (&status.bouncers, &it.spec.bouncers);
                let is_so = status.settled && !has.is_empty() && is_within(has, wanted);
                let list = list(has);
                (!is_so).then(|| format!("{line} is being handed over: it is held by {list}"))
            }
            Manifest::Vpc(it) => {
                let name = &it.metadata.name;
                let Some(status) = self.vpcs.get(name) else {
                    return Some(format!("VPC {name} does not exist"));
                };
                let (has, wanted) = (&status.dividers, &it.spec.dividers);
                let is_so = !has.is_empty() && is_within(has, wanted);
                (!is_so).then(|| format!("VPC {name} is still divided by {}", list(has)))
            }
            _ => None,
        }
    }
}

/// Whether only those have a role that shall.
fn is_within(has: &[Name], wanted: &RoleSpec) -> bool {
    match wanted {
        RoleSpec::Hosts(hosts) => has.iter().all(|host| hosts.contains(host)),
        RoleSpec::Auto | RoleSpec::Count(_) => true,
    }
}

fn list(hosts: &[Name]) -> String {
    let names: Vec<_> = hosts.iter().map(Name::as_str).collect();
    if names.is_empty() { "no host".to_owned() } else { names.join(", ") }
}
