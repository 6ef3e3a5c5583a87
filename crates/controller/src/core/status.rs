//! How resources stand: derived from what hosts have acknowledged, never stored.

use super::Core;
use crate::desk::{HostState, RowState};
use crate::planner;
use crate::time::Time;
use mizar_vpc::catalog::{EndpointRecord, HostRecord, NetworkRecord, Record, VpcRecord};
use mizar_vpc::manifest::{
    Condition, ConditionStatus, EndpointStatus, FleetStatus, HostStatus, Metadata, NetworkStatus,
    Object, Phase, SlotMapSpec, SlotMapStatus, TenantStatus, VpcStatus,
};
use mizar_vpc::{
    Guard, HolderState, Kind, Manifest, Name, NetworkId, Ref, RowKey, Slot, SlotMap, Vni,
};
use std::collections::BTreeMap;

impl Core {
    /// How far an endpoint has come: that is told.
    pub(super) fn progress_of(&mut self, vni: Vni, name: &Name, now: Time) {
        let Some(endpoint) = self.endpoint(vni, name).cloned() else { return };
        let (attached, bounced) = (self.attached(&endpoint, now), self.bounced(&endpoint, now));
        let (attached, bounced) = (attached.is_so(), bounced.is_so());
        let is_ready = attached && bounced && self.routed(&endpoint, now).is_so();
        let steps = [("attached", attached), ("bounced", bounced), ("ready", is_ready)];
        self.timings.reach(vni, name, steps, now);
        for (step, took) in self.timings.take_reached() {
            self.metrics.reached(step, took);
        }
        if !self.watchers.is_anybody_interested(now) {
            self.watchers.skip();
        } else if let Some(object) = self.manifest_with_status(&endpoint.into(), now) {
            self.announce(object);
        }
    }

    /// A host has come, gone, or fallen silent: that is told.
    pub(super) fn tell_host(&mut self, host: &Name, now: Time) {
        self.tell_status(&Ref::global(Kind::Host, host.clone()), now);
    }

    /// The slots of a network are with others: that is told.
    pub(super) fn tell_network(&mut self, vni: Vni, id: NetworkId, now: Time) {
        let Some(vpc) = self.catalog.vpc(vni) else { return };
        let Some(network) = vpc.network(id) else { return };
        let (vpc, network) = (vpc.record().name.clone(), network.record().name.clone());
        for kind in [Kind::Network, Kind::SlotMap] {
            self.tell_status(&Ref::in_vpc(kind, vpc.clone(), network.clone()), now);
        }
    }

    /// Tells a resource's status, if anybody may want to know.
    pub(super) fn tell_status(&mut self, reference: &Ref, now: Time) {
        if !self.watchers.is_anybody_interested(now) {
            return self.watchers.skip();
        }
        let object = match reference.kind {
            Kind::SlotMap => self.slot_map_manifest(reference),
            _ => self.catalog.record(reference).and_then(|it| self.manifest_with_status(&it, now)),
        };
        if let Some(object) = object {
            self.announce(object);
        }
    }

    pub(super) fn add_status(&self, manifest: &mut Manifest, record: &Record, now: Time) {
        match (manifest, record) {
            (Manifest::Fleet(it), Record::Fleet(_)) => it.status = Some(self.fleet_status()),
            (Manifest::Host(it), Record::Host(host)) => {
                it.status = Some(self.host_status(host, now));
            }
            (Manifest::Tenant(it), Record::Tenant(tenant)) => {
                let vpcs: Vec<_> = self.catalog.vpcs_of(&tenant.name).collect();
                let endpoints = vpcs.iter().map(|vpc| vpc.endpoint_count()).sum();
                it.status = Some(TenantStatus { vpcs: vpcs.len() as u64, endpoints });
            }
            (Manifest::Vpc(it), Record::Vpc(vpc)) => it.status = Some(self.vpc_status(vpc)),
            (Manifest::Network(it), Record::Network(network)) => {
                it.status = Some(self.network_status(network));
            }
            (Manifest::Endpoint(it), Record::Endpoint(endpoint)) => {
                it.status = Some(self.endpoint_status(endpoint, now));
            }
            _ => {}
        }
    }

    /// A slot map as a resource.
    pub(super) fn slot_map_manifest(&self, reference: &Ref) -> Option<Manifest> {
        let vpc = self.catalog.vpc_named(reference.vpc.as_ref()?)?;
        let network = vpc.network_named(&reference.name)?.record();
        let map = self.view().map(network.vni, network.id)?;
        let tally = |of: [usize; HolderState::ALL.len()]| {
            let count = |is: fn(HolderState) -> bool| {
                let of = HolderState::ALL.into_iter().zip(of);
                of.filter(|(state, _)| is(*state)).map(|(_, n)| n as u16).sum()
            };
            [
                count(|it| it == HolderState::Filling),
                count(|it| it.is_told()),
                count(|it| it == HolderState::Draining),
            ]
        };
        let former: Vec<Name> = map.former().cloned().collect();
        let holders = map.tally().into_iter().filter(|(host, _)| !former.contains(host));
        let holders = holders.map(|(host, of)| (host.clone(), tally(of))).collect();
        let metadata = Metadata::new(reference.vpc.clone(), reference.name.clone());
        let mut object = Object::new(metadata, SlotMapSpec { epoch: map.epoch() });
        object.status = Some(SlotMapStatus { holders, former });
        Some(Manifest::SlotMap(object))
    }

    fn fleet_status(&self) -> FleetStatus {
        let frozen = match &self.planner.guard {
            Guard::Free => None,
            frozen => Some(frozen.to_string()),
        };
        FleetStatus {
            hosts: self.catalog.hosts().count() as u64,
            connected: self.outgoing.len() as u64,
            vpcs: self.catalog.vpcs().count() as u64,
            endpoints: self.catalog.endpoint_count(),
            frozen_zones: frozen.into_iter().collect(),
            tags: self.tags_status(),
        }
    }

    fn host_status(&self, record: &HostRecord, now: Time) -> HostStatus {
        let state = self.desk.host(&record.name);
        let (mut errors, mut behind) = (BTreeMap::new(), Vec::new());
        for (vni, progress) in state.into_iter().flat_map(|state| &state.vpcs) {
            let vpc = self.catalog.vpc(*vni).map(|it| it.record().name.to_string());
            // One that is gone has no name any more.
            let vpc = vpc.unwrap_or_else(|| format!("VNI {vni}"));
            if !progress.is_settled() || progress.refusal.is_some() {
                behind.push(vpc.clone());
            }
            errors.extend(
                progress.errors.iter().map(|(key, why)| (format!("{vpc}: {key}"), why.clone())),
            );
            errors.extend(progress.refusal.iter().map(|why| (vpc.clone(), why.clone())));
        }
        let maps = self.roles.vpcs(&record.name).filter_map(|vni| self.maps.get(&vni));
        let maps = maps.flat_map(|maps| maps.networks.values());
        let slots = maps.map(|map| map.tally().get(&record.name).map_or(0, |of| of.iter().sum()));
        HostStatus {
            connected: state.is_some_and(|state| state.session.is_some()),
            alive: state.is_some() && self.is_alive(&record.name, now),
            version: state.map(|state| state.version.clone()).unwrap_or_default(),
            endpoints: self.catalog.host(&record.name).map_or(0, |host| host.endpoint_count()),
            slots: slots.sum::<usize>() as u64,
            behind,
            errors,
            conditions: state.and_then(|state| upgrading(state, now)).into_iter().collect(),
        }
    }

    fn vpc_status(&self, record: &VpcRecord) -> VpcStatus {
        let vpc = self.catalog.vpc(record.vni);
        VpcStatus {
            vni: Some(record.vni),
            dividers: self.maps.get(&record.vni).map(|it| it.dividers.clone()).unwrap_or_default(),
            networks: vpc.map_or(0, |vpc| vpc.networks().count() as u64),
            endpoints: vpc.map_or(0, |vpc| vpc.endpoint_count()),
        }
    }

    fn network_status(&self, record: &NetworkRecord) -> NetworkStatus {
        let network = self.catalog.vpc(record.vni).and_then(|vpc| vpc.network(record.id));
        let map = self.view().map(record.vni, record.id);
        NetworkStatus {
            id: Some(record.id),
            v4_gateway: record.v4_gateway,
            v6_gateway: record.v6_gateway,
            bouncers: map.into_iter().flat_map(SlotMap::hosts).cloned().collect(),
            epoch: map.map_or(0, SlotMap::epoch),
            settled: map.is_some_and(planner::is_at_rest),
            endpoints: network.map_or(0, |network| network.endpoint_count()),
        }
    }

    fn endpoint_status(&self, record: &EndpointRecord, now: Time) -> EndpointStatus {
        let (attached, bounced) = (self.attached(record, now), self.bounced(record, now));
        let routed = self.routed(record, now);
        let prepared = record.migration.as_ref().map(|it| self.has_port(record, &it.host, now));
        let phase = phase(&attached, [&bounced, &routed]);
        let ready = Fact {
            status: if phase == Phase::Ready {
                ConditionStatus::True
            } else {
                ConditionStatus::False
            },
            reason: if phase == Phase::Ready { "" } else { phase.as_str() },
            message: String::new(),
        };
        EndpointStatus {
            phase,
            generation: Some(record.generation),
            v4: record.v4,
            v6: record.v6,
            mac: Some(record.mac),
            conditions: [
                Some(attached.condition("Attached")),
                Some(bounced.condition("Bounced")),
                Some(routed.condition("Routed")),
                prepared.map(|prepared| prepared.condition(EndpointStatus::PREPARED)),
                Some(ready.condition("Ready")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            timings: self.timings.of(record.vni, &record.name),
        }
    }

    /// Whether programs of another layout are at work on a host.
    fn is_upgrading(&self, host: &Name) -> bool {
        self.desk.host(host).is_some_and(|state| state.waits.is_some())
    }

    /// Whether the endpoint's host has it.
    fn attached(&self, endpoint: &EndpointRecord, now: Time) -> Fact {
        self.has_port(endpoint, &endpoint.host, now)
    }

    /// Whether a host has the endpoint's interface.
    fn has_port(&self, endpoint: &EndpointRecord, host: &Name, now: Time) -> Fact {
        let key = RowKey::Port(endpoint.name.clone());
        match self.desk.row(host, endpoint.vni, &key) {
            RowState::There if !self.is_alive(host, now) => {
                let message = format!("host {host} is silent: see to its agent");
                Fact {
                    status: ConditionStatus::Unknown,
                    ..Fact::no(EndpointStatus::SILENT, message)
                }
            }
            RowState::There => Fact::yes(),
            RowState::Failed(why) => Fact::no("Failed", format!("host {host}: {why}")),
            RowState::Unheard => {
                let message =
                    format!("nothing was heard of host {host} since the controller started");
                Fact { status: ConditionStatus::Unknown, ..Fact::no("Unheard", message) }
            }
            RowState::Missing if !self.outgoing.contains_key(host) => {
                Fact::no("Disconnected", format!("host {host} has no stream: see to its agent"))
            }
            RowState::Missing if self.is_upgrading(host) => {
                Fact::no(HostStatus::UPGRADING, format!("host {host} is being upgraded"))
            }
            RowState::Missing => Fact::no("Attaching", format!("host {host} is at it")),
        }
    }

    /// Whether the bouncers of its addresses have it: every active one, and one for each slot.
    fn bounced(&self, endpoint: &EndpointRecord, now: Time) -> Fact {
        let Some(map) = self.view().map(endpoint.vni, endpoint.network) else {
            return Fact::no("NoBouncers", "no host takes the network's slots".to_owned());
        };
        let (mut missing, mut bare) = (Vec::<String>::new(), false);
        for address in endpoint.addresses() {
            let key = RowKey::Held(address);
            let mut have = 0;
            for holder in map.holders(Slot::of(address)) {
                if *holder == endpoint.host {
                    have += 1;
                    continue;
                }
                let problem = match self.desk.row(holder, endpoint.vni, &key) {
                    RowState::There if self.is_alive(holder, now) => {
                        have += 1;
                        continue;
                    }
                    RowState::There => format!("{holder} is silent"),
                    RowState::Missing if !self.outgoing.contains_key(holder) => {
                        format!("{holder} has no stream")
                    }
                    RowState::Missing if self.is_upgrading(holder) => {
                        format!("{holder} is being upgraded")
                    }
                    RowState::Missing => format!("{holder} has not acknowledged it"),
                    RowState::Failed(why) => format!("{holder}: {why}"),
                    RowState::Unheard => format!("{holder} was not heard of yet"),
                };
                // Both addresses have the same bouncers.
                if !missing.contains(&problem) {
                    missing.push(problem);
                }
            }
            bare |= have == 0;
        }
        match (missing.is_empty(), bare) {
            (true, false) => Fact::yes(),
            (_, true) => Fact::no("Bare", missing.join(", ")),
            (false, false) => Fact::no(Fact::PARTLY, missing.join(", ")),
        }
    }
}

/// That programs of another layout are at work on a host, if they are.
fn upgrading(state: &HostState, now: Time) -> Option<Condition> {
    let (reason, since) = state.waits.as_ref()?;
    let seconds = now.since(*since).as_secs();
    let message = format!("has waited {seconds} s for {reason}");
    let fact = Fact { status: ConditionStatus::True, ..Fact::no("Waiting", message) };
    Some(fact.condition(HostStatus::UPGRADING))
}

/// All in one word.
fn phase(attached: &Fact, known: [&Fact; 2]) -> Phase {
    let works = |fact: &&Fact| fact.is_so() || fact.reason == Fact::PARTLY;
    let was_attached = attached.is_so() || attached.reason == EndpointStatus::SILENT;
    match attached.is_so() {
        true if known.iter().all(|fact| fact.is_so()) => Phase::Ready,
        _ if was_attached && known.iter().all(works) => Phase::Degraded,
        false if attached.reason == "Failed" => Phase::Failed,
        _ => Phase::Pending,
    }
}

/// Whether something is so, and why not.
pub(super) struct Fact {
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl Fact {
    /// Some of those who should know do.
    pub(super) const PARTLY: &'static str = "Partly";

    pub(super) fn yes() -> Self {
        Self { status: ConditionStatus::True, reason: "", message: String::new() }
    }

    pub(super) fn no(reason: &'static str, message: String) -> Self {
        Self { status: ConditionStatus::False, reason, message }
    }

    fn is_so(&self) -> bool {
        self.status == ConditionStatus::True
    }

    fn condition(self, r#type: &str) -> Condition {
        let Self { status, reason, message } = self;
        Condition { r#type: r#type.to_owned(), status, reason: reason.to_owned(), message }
    }
}
