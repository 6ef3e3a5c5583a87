//! The hosts of a lab as they are.

use super::view::View;
use super::{HostStatus, HostVpcStatus};
use crate::fabric::{NIC, host_address};
use crate::layout::Layout;
use crate::plan::Plan;
use crate::process::Process;
use mizar_vpc::Name;
use std::collections::BTreeMap;
use std::path::Path;

/// All hosts, in the order of their links.
pub(super) fn of(layout: &Layout, plan: &Plan, view: &View) -> Vec<HostStatus> {
    (0..).zip(&plan.hosts).map(|(index, host)| status(layout, index, host, view)).collect()
}

fn status(layout: &Layout, index: u16, host: &Name, view: &View) -> HostStatus {
    let name = host.as_str();
    let (told, agent) = (view.host(host), view.agent(host));
    // Who has failed at a guest tries again, and the guest's own state says so.
    let is_general = |row: &str| agent.is_none() || !row.contains(": ports[");
    let errors = told.into_iter().flat_map(|told| &told.errors);
    let errors = errors.filter(|(row, _)| is_general(row));
    HostStatus {
        name: name.to_owned(),
        underlay: host_address(index).into(),
        namespace: layout.host_namespace(name).path(),
        nic: NIC,
        agent: pid(&layout.agent_record(name)),
        socket: layout.agent_socket(name),
        log: layout.agent_log(name),
        pins: layout.pins(name),
        connected: told.map_or_else(|| agent.is_some_and(|it| it.connected), |it| it.connected),
        nic_mode: agent.map(|agent| agent.nic_mode.to_string()),
        vpcs: vpcs(host, view),
        errors: errors.map(|(row, why)| format!("{row}: {why}")).collect(),
    }
}

/// Those that its agent has, and those that the controller waits for.
fn vpcs(host: &Name, view: &View) -> Vec<HostVpcStatus> {
    let positions = view.agent(host).into_iter().flat_map(|agent| &agent.positions);
    let mut vpcs: BTreeMap<String, HostVpcStatus> = positions
        .map(|(vni, at)| {
            let vpc = view.vpc_name(*vni);
            (vpc.clone(), HostVpcStatus { vpc, at: Some(*at), behind: false })
        })
        .collect();
    for vpc in view.host(host).into_iter().flat_map(|told| &told.behind) {
        let fresh = HostVpcStatus { vpc: vpc.clone(), at: None, behind: true };
        vpcs.entry(vpc.clone()).or_insert(fresh).behind = true;
    }
    vpcs.into_values().collect()
}

/// The process id in a record, if that process runs.
pub(super) fn pid(record: &Path) -> Option<i32> {
    Process::read(record).filter(|process| process.is_alive()).map(|process| process.pid)
}
