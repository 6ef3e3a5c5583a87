//! Resources as rows of a table.

use crate::output::or_none;
use mizar_vpc::manifest::{
    EndpointSpec, EndpointStatus, FleetSpec, FleetStatus, HostSpec, HostStatus, NetworkSpec,
    NetworkStatus, Object, RoleSpec, SlotMapSpec, SlotMapStatus, TagsStatus, TenantSpec,
    TenantStatus, VpcSpec, VpcStatus,
};
use mizar_vpc::{Attachment, Kind, Labels, Manifest};
use std::fmt::Display;

/// The cells of a resource.
pub(super) type Row = Vec<String>;

/// The columns of a kind, and how many of them are for the narrow table too.
const fn columns(kind: Kind) -> (&'static [&'static str], usize) {
    match kind {
        Kind::Fleet => {
            (&["NAME", "PREFIXES", "HOSTS", "CONNECTED", "VPCS", "ENDPOINTS", "TAGS", "FROZEN"], 6)
        }
        Kind::Host => {
            (&["NAME", "UNDERLAY", "ZONE", "STATE", "ENDPOINTS", "SLOTS", "WEIGHT", "AGENT"], 6)
        }
        Kind::Tenant => (&["NAME", "VPCS", "ENDPOINTS", "MOST", "HOSTS"], 5),
        Kind::Vpc => (&["NAME", "VNI", "TENANT", "NETWORKS", "ENDPOINTS", "DIVIDERS", "QUOTA"], 5),
        Kind::Network => {
            (&["VPC", "NAME", "V4", "V6", "ENDPOINTS", "BOUNCERS", "REPLICAS", "EPOCH", "ROLE"], 6)
        }
        Kind::Endpoint => (
            &["VPC", "NAME", "NETWORK", "HOST", "V4", "V6", "PHASE", "MAC", "ATTACHMENT", "REASON"],
            7,
        ),
        Kind::SlotMap => (&["VPC", "NAME", "EPOCH", "HOLDERS", "FORMER"], 5),
    }
}

/// The header of a kind's table. The wide one has labels and version too.
pub(crate) fn header(kind: Kind, wide: bool) -> Vec<&'static str> {
    let (all, narrow) = columns(kind);
    if wide { [all, &["LABELS", "VERSION"]].concat() } else { all[..narrow].to_vec() }
}

/// A resource as a row below [`header`].
pub(crate) fn cells(manifest: &Manifest, wide: bool) -> Row {
    let mut row = match manifest {
        Manifest::Fleet(it) => fleet(it),
        Manifest::Host(it) => host(it),
        Manifest::Tenant(it) => tenant(it),
        Manifest::Vpc(it) => vpc(it),
        Manifest::Network(it) => network(it),
        Manifest::Endpoint(it) => endpoint(it),
        Manifest::SlotMap(it) => slot_map(it),
    };
    let metadata = manifest.metadata();
    if wide {
        row.extend([labels(&metadata.labels), or_none(metadata.resource_version)]);
    } else {
        row.truncate(columns(manifest.kind()).1);
    }
    row
}

/// As in `Required, epoch 3, not yet on h4`.
fn tags(it: &TagsStatus) -> String {
    let stage = format!("{:?}", it.stage);
    let epoch = if it.epoch == 0 { String::new() } else { format!(", epoch {}", it.epoch) };
    let waiting = list(&it.waiting);
    let waiting = if waiting == "-" { String::new() } else { format!(", not yet on {waiting}") };
    stage + &epoch + &waiting
}

fn fleet(it: &Object<FleetSpec, FleetStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    vec![
        it.metadata.name.to_string(),
        list(&it.spec.prefixes),
        status.hosts.to_string(),
        status.connected.to_string(),
        status.vpcs.to_string(),
        status.endpoints.to_string(),
        tags(&status.tags),
        list(&status.frozen_zones),
    ]
}

fn host(it: &Object<HostSpec, HostStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    vec![
        it.metadata.name.to_string(),
        it.spec.underlay.to_string(),
        or_none(it.spec.zone.as_ref()),
        host_state(it),
        status.endpoints.to_string(),
        status.slots.to_string(),
        it.spec.weight.to_string(),
        or_none(Some(status.version).filter(|version| !version.is_empty())),
    ]
}

/// A host's state in a word or two.
fn host_state(it: &Object<HostSpec, HostStatus>) -> String {
    let alive = match &it.status {
        None => "unknown",
        Some(status) if status.connected && status.alive => "alive",
        // It has no stream at the moment, but was heard of lately.
        Some(status) if status.alive => "away",
        Some(_) => "silent",
    };
    let upgrading = it.status.as_ref().is_some_and(HostStatus::is_upgrading);
    let more = [(upgrading, "upgrading"), (it.spec.cordoned, "cordoned")];
    let more = more.into_iter().filter_map(|(is_so, word)| is_so.then_some(word));
    list(&[alive].into_iter().chain(more).collect::<Vec<_>>())
}

fn tenant(it: &Object<TenantSpec, TenantStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    let hosts = if it.spec.hosts.is_empty() { "all".to_owned() } else { it.spec.hosts.to_string() };
    vec![
        it.metadata.name.to_string(),
        status.vpcs.to_string(),
        status.endpoints.to_string(),
        or_none(it.spec.max_endpoints),
        hosts,
    ]
}

fn vpc(it: &Object<VpcSpec, VpcStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    vec![
        it.metadata.name.to_string(),
        or_none(status.vni.or(it.spec.vni)),
        or_none(it.spec.tenant.as_ref()),
        status.networks.to_string(),
        status.endpoints.to_string(),
        list(&status.dividers),
        or_none(it.spec.quota),
    ]
}

fn network(it: &Object<NetworkSpec, NetworkStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    vec![
        or_none(it.metadata.vpc.as_ref()),
        it.metadata.name.to_string(),
        or_none(it.spec.v4),
        or_none(it.spec.v6),
        status.endpoints.to_string(),
        list(&status.bouncers),
        it.spec.replicas.to_string(),
        status.epoch.to_string(),
        role(&it.spec.bouncers),
    ]
}

fn endpoint(it: &Object<EndpointSpec, EndpointStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    let reason = status.conditions.iter().map(|condition| &condition.reason);
    vec![
        or_none(it.metadata.vpc.as_ref()),
        it.metadata.name.to_string(),
        it.spec.network.to_string(),
        it.spec.host.to_string(),
        or_none(status.v4.or(it.spec.v4)),
        or_none(status.v6.or(it.spec.v6)),
        status.phase.to_string(),
        or_none(status.mac.or(it.spec.mac)),
        attachment(&it.spec.attachment),
        list(&reason.filter(|reason| !reason.is_empty()).collect::<Vec<_>>()),
    ]
}

fn slot_map(it: &Object<SlotMapSpec, SlotMapStatus>) -> Row {
    let status = it.status.clone().unwrap_or_default();
    let holder = |(name, [filling, active, draining]): (_, &[u16; 3])| {
        let others = [(filling, "filling"), (draining, "draining")];
        let others = others.into_iter().filter(|(count, _)| **count > 0);
        let others: String = others.map(|(count, state)| format!("+{count} {state}")).collect();
        format!("{name}:{active}{others}")
    };
    vec![
        or_none(it.metadata.vpc.as_ref()),
        it.metadata.name.to_string(),
        it.spec.epoch.to_string(),
        list(&status.holders.iter().map(holder).collect::<Vec<_>>()),
        list(&status.former),
    ]
}

fn attachment(it: &Attachment) -> String {
    match it {
        Attachment::Veth { netns, interface } => format!("veth {}:{interface}", netns.display()),
        Attachment::Host { interface, routes } if routes.is_empty() => format!("host {interface}"),
        Attachment::Host { interface, routes } => format!("host {interface} {}", list(routes)),
    }
}

fn role(it: &RoleSpec) -> String {
    match it {
        RoleSpec::Auto => "auto".to_owned(),
        RoleSpec::Count(count) => count.to_string(),
        RoleSpec::Hosts(hosts) => list(hosts),
    }
}

fn labels(it: &Labels) -> String {
    list(&it.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
}

fn list<T: Display>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(T::to_string).collect();
    or_none(Some(texts.join(",")).filter(|text| !text.is_empty()))
}
