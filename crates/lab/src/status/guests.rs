//! The guests of a lab as they are.

use super::view::View;
use super::{GuestState, GuestStatus};
use crate::layout::Layout;
use crate::plan::Plan;
use crate::topology::Attach;
use mizar_proto::PortState;
use mizar_vpc::manifest::{Condition, ConditionStatus, EndpointSpec, EndpointStatus, Object};
use mizar_vpc::{Attachment, Manifest};

type Endpoint = Object<EndpointSpec, EndpointStatus>;

/// All guests, by VPC and name: those of the controller or, while it does not answer, those that
/// were asked for last.
pub(super) fn of(layout: &Layout, plan: &Plan, view: &View) -> Vec<GuestStatus> {
    let mut guests: Vec<_> = if view.problem.is_none() {
        view.endpoints.iter().filter_map(|it| guest(layout, it, view)).collect()
    } else {
        let planned = plan.manifests.iter().filter_map(|manifest| match manifest {
            Manifest::Endpoint(it) => guest(layout, it, view),
            _ => None,
        });
        planned.collect()
    };
    guests.sort_by(|a, b| (&a.vpc, &a.name).cmp(&(&b.vpc, &b.name)));
    guests
}

/// What the controller has not said, the agent of the host may know.
fn guest(layout: &Layout, endpoint: &Endpoint, view: &View) -> Option<GuestStatus> {
    let Object { metadata, spec, status, .. } = endpoint;
    let (vpc, name) = (metadata.vpc.as_ref()?, &metadata.name);
    let vni = view.vni(vpc)?;
    let (attach, namespace, interface) = match &spec.attachment {
        // Also that of one that somebody has declared by hand.
        Attachment::Veth { netns, interface } => (Attach::Veth, netns.clone(), interface),
        Attachment::Host { interface, .. } => {
            (Attach::Host, layout.host_namespace(spec.host.as_str()).path(), interface)
        }
    };
    let port = view.port(&spec.host, vni, name);
    let (v4, v6, mac) = match (status, port) {
        (Some(status), _) => (status.v4, status.v6, status.mac),
        (None, Some(port)) => (port.v4, port.v6, Some(port.mac)),
        (None, None) => (spec.v4, spec.v6, spec.mac),
    };
    Some(GuestStatus {
        vpc: vpc.to_string(),
        vni,
        network: spec.network.to_string(),
        name: name.to_string(),
        host: spec.host.to_string(),
        attach,
        namespace,
        interface: interface.clone(),
        mac,
        v4,
        v6,
        state: match status {
            Some(status) => state(status),
            None => port.map_or(GuestState::Pending, |port| state_of_port(&port.state)),
        },
        phase: status.as_ref().map(|status| status.phase),
        lacks: status.as_ref().and_then(lacks),
    })
}

/// Whether the host has attached it.
fn state(status: &EndpointStatus) -> GuestState {
    let attached = status.conditions.iter().find(|it| it.r#type == "Attached");
    match attached {
        Some(it) if it.status == ConditionStatus::True => GuestState::Attached,
        // It was, and nobody says that it is not.
        Some(it) if it.reason == EndpointStatus::SILENT => GuestState::Attached,
        Some(it) if it.reason == "Failed" => GuestState::Failed(it.message.clone()),
        _ => GuestState::Pending,
    }
}

fn state_of_port(state: &PortState) -> GuestState {
    match state {
        PortState::Ready => GuestState::Attached,
        PortState::Failed(why) => GuestState::Failed(why.clone()),
        PortState::Attaching => GuestState::Pending,
    }
}

fn lacks(status: &EndpointStatus) -> Option<String> {
    let is_missing = |it: &&Condition| it.status != ConditionStatus::True && !it.message.is_empty();
    let missing = status.conditions.iter().filter(is_missing).map(|it| it.message.as_str());
    let missing: Vec<_> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}
