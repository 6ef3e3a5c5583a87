//! The catalog: all resources of a fleet as they stand, checked together, with the indexes that
//! make every change and every question cost the same however many there are.
//!
//! It changes in two ways. [`apply`](Catalog::apply) and [`delete`](Catalog::delete) take what
//! somebody asks for, check it against everything else, choose what was left open, and say what
//! became another. [`put`](Catalog::put) and [`take`](Catalog::take) take records as they stand:
//! they undo what could not be stored; [`load`](Catalog::load) takes what was.

use crate::{Generation, Kind, Name, Ref, Slot, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

mod change;
mod choices;
mod delete;
mod endpoint;
mod global;
mod manifests;
mod network;
mod pool;
mod record;
mod refused;
#[cfg(test)]
mod tests;
mod vpc;

pub use change::Mode;
pub use choices::Chosen;
use choices::LastChoice;
pub use record::{
    EndpointRecord, FleetRecord, HostRecord, NetworkRecord, Record, TenantRecord, VpcRecord,
};
pub use refused::Refused;
pub use vpc::{EndpointId, NetworkEntry, VpcEntry};

/// All resources of a fleet.
#[derive(Debug, Default)]
pub struct Catalog {
    fleet: Option<FleetRecord>,
    hosts: BTreeMap<Name, HostEntry>,
    /// Hosts by underlay address.
    underlays: BTreeMap<IpAddr, Name>,
    tenants: BTreeMap<Name, TenantEntry>,
    vpcs: BTreeMap<Vni, VpcEntry>,
    vpc_names: BTreeMap<Name, Vni>,
    /// The VNI that was chosen last: the search goes on behind it.
    last_vni: Option<Vni>,
    endpoints: u64,
}

/// A host, and what lives on it.
#[derive(Debug)]
pub struct HostEntry {
    record: HostRecord,
    /// The endpoints of each VPC that live on it or are about to move to it.
    vpcs: BTreeMap<Vni, BTreeSet<EndpointId>>,
    /// Networks and VPCs that name it as a bouncer or divider.
    named: BTreeSet<Ref>,
}

#[derive(Debug)]
struct TenantEntry {
    record: TenantRecord,
    vpcs: BTreeSet<Vni>,
}

/// A resource that became another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which one.
    pub reference: Ref,
    /// How it stood before; None: it did not exist.
    pub before: Option<Record>,
    /// How it stands; None: it does not exist any more.
    pub after: Option<Record>,
    last_choice: LastChoice,
}

impl Catalog {
    /// What all hosts have in common, once somebody has said it.
    pub fn fleet(&self) -> Option<&FleetRecord> {
        self.fleet.as_ref()
    }

    /// The hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = &HostEntry> {
        self.hosts.values()
    }

    /// The hosts by name, after that one.
    pub fn hosts_after<'a>(
        &'a self,
        after: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a HostEntry> + use<'a> {
        range_after(&self.hosts, after).map(|(_, host)| host)
    }

    /// One host.
    pub fn host(&self, name: &Name) -> Option<&HostEntry> {
        self.hosts.get(name)
    }

    /// The tenants by name.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantRecord> {
        self.tenants.values().map(|entry| &entry.record)
    }

    /// The tenants by name, after that one.
    pub fn tenants_after<'a>(
        &'a self,
        after: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a TenantRecord> + use<'a> {
        range_after(&self.tenants, after).map(|(_, entry)| &entry.record)
    }

    /// One tenant.
    pub fn tenant(&self, name: &Name) -> Option<&TenantRecord> {
        self.tenants.get(name).map(|entry| &entry.record)
    }

    /// The VPCs of a tenant.
    pub fn vpcs_of<'a>(&'a self, tenant: &Name) -> impl Iterator<Item = &'a VpcEntry> + use<'a> {
        let vnis = self.tenants.get(tenant).into_iter().flat_map(|entry| &entry.vpcs);
        vnis.filter_map(|vni| self.vpcs.get(vni))
    }

    /// The VPCs by VNI.
    pub fn vpcs(&self) -> impl Iterator<Item = &VpcEntry> {
        self.vpcs.values()
    }

    /// The VPCs by name, from that name on, exclusively.
    pub fn vpcs_after<'a>(
        &'a self,
        after: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a VpcEntry> + use<'a> {
        let vnis = range_after(&self.vpc_names, after).map(|(_, vni)| vni);
        vnis.filter_map(|vni| self.vpcs.get(vni))
    }

    /// The name of the host with an underlay address.
    pub fn host_at(&self, underlay: IpAddr) -> Option<&Name> {
        self.underlays.get(&underlay)
    }

    /// One VPC.
    pub fn vpc(&self, vni: Vni) -> Option<&VpcEntry> {
        self.vpcs.get(&vni)
    }

    /// One VPC by its name.
    pub fn vpc_named(&self, name: &Name) -> Option<&VpcEntry> {
        self.vpcs.get(self.vpc_names.get(name)?)
    }

    /// How many endpoints there are in all VPCs.
    pub fn endpoint_count(&self) -> u64 {
        self.endpoints
    }

    /// One resource as it stands.
    pub fn record(&self, reference: &Ref) -> Option<Record> {
        let Ref { kind, vpc, name } = reference;
        let vpc = vpc.as_ref().and_then(|vpc| self.vpc_named(vpc));
        Some(match kind {
            Kind::Fleet => self.fleet.clone().filter(|it| it.name == *name)?.into(),
            Kind::Host => self.host(name)?.record.clone().into(),
            Kind::Tenant => self.tenant(name)?.clone().into(),
            Kind::Vpc => self.vpc_named(name)?.record().clone().into(),
            Kind::Network => vpc?.network_named(name)?.record().clone().into(),
            Kind::Endpoint => vpc?.endpoint_named(name)?.1.clone().into(),
            Kind::SlotMap => return None,
        })
    }

    /// The generation at which a resource was last written.
    pub fn version(&self, reference: &Ref) -> Option<Generation> {
        self.record(reference).map(|record| record.revision())
    }

    /// Makes a resource what a record says, without looking at anything else; how it stood before.
    /// What it refers to must be there, or the record is dropped.
    pub fn put(&mut self, record: Record) -> Option<Record> {
        let before = self.take(&self.reference(&record)?);
        match record {
            Record::Fleet(it) => self.fleet = Some(it),
            Record::Host(it) => self.put_host(it),
            Record::Tenant(it) => self.put_tenant(it),
            Record::Vpc(it) => self.put_vpc(it),
            Record::Network(it) => self.put_network(it),
            Record::Endpoint(it) => self.put_endpoint(it),
        }
        before
    }

    /// Removes a resource without looking at anything else; how it stood. What is in a VPC or on a
    /// host that is put again stays.
    pub fn take(&mut self, reference: &Ref) -> Option<Record> {
        let Ref { kind, vpc, name } = reference;
        let vni = vpc.as_ref().and_then(|vpc| self.vpc_names.get(vpc)).copied();
        Some(match kind {
            Kind::Fleet => self.fleet.take()?.into(),
            Kind::Host => self.take_host(name)?.into(),
            Kind::Tenant => self.take_tenant(name)?.into(),
            Kind::Vpc => self.take_vpc(name)?.into(),
            Kind::Network => self.take_network(vni?, name)?.into(),
            Kind::Endpoint => self.take_endpoint(vni?, name)?.into(),
            Kind::SlotMap => return None,
        })
    }

    /// Makes a change undone. Changes are undone in the reverse of their order.
    pub fn undo(&mut self, changed: Changed) {
        match changed.before {
            Some(before) => drop(self.put(before)),
            None => drop(self.take(&changed.reference)),
        }
        self.undo_choice(changed.last_choice);
    }

    /// What names the resource of a record.
    pub fn reference(&self, record: &Record) -> Option<Ref> {
        let in_vpc = |kind, vni: &Vni, name: &Name| {
            let vpc = self.vpcs.get(vni)?.record().name.clone();
            Some(Ref::in_vpc(kind, vpc, name.clone()))
        };
        match record {
            Record::Fleet(it) => Some(Ref::global(Kind::Fleet, it.name.clone())),
            Record::Host(it) => Some(Ref::global(Kind::Host, it.name.clone())),
            Record::Tenant(it) => Some(Ref::global(Kind::Tenant, it.name.clone())),
            Record::Vpc(it) => Some(Ref::global(Kind::Vpc, it.name.clone())),
            Record::Network(it) => in_vpc(Kind::Network, &it.vni, &it.name),
            Record::Endpoint(it) => in_vpc(Kind::Endpoint, &it.vni, &it.name),
        }
    }
}

impl HostEntry {
    /// The host itself.
    pub fn record(&self) -> &HostRecord {
        &self.record
    }

    /// How many endpoints live on it or are about to move to it.
    pub fn endpoint_count(&self) -> u64 {
        self.vpcs.values().map(|endpoints| endpoints.len() as u64).sum()
    }

    /// The VPCs that have endpoints on it.
    pub fn vpcs(&self) -> impl Iterator<Item = Vni> {
        self.vpcs.keys().copied()
    }

    /// The endpoints of a VPC that live on it or are about to move to it.
    pub fn endpoints(&self, vni: Vni) -> impl Iterator<Item = EndpointId> {
        self.vpcs.get(&vni).into_iter().flatten().copied()
    }

    /// The networks and VPCs that name it as a bouncer or divider.
    pub fn named_by(&self) -> impl Iterator<Item = &Ref> {
        self.named.iter()
    }
}

impl Changed {
    /// The slots and addresses that an endpoint had, if this is one that had any.
    pub fn endpoint_before(&self) -> Option<&EndpointRecord> {
        self.before.as_ref().and_then(Record::as_endpoint)
    }

    /// Those that it has.
    pub fn endpoint_after(&self) -> Option<&EndpointRecord> {
        self.after.as_ref().and_then(Record::as_endpoint)
    }
}

impl EndpointRecord {
    /// Its addresses of both families.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// The slots of its addresses; one, for addresses that share it.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        let first = self.v4.map(Slot::of);
        let second = self.v6.map(Slot::of).filter(|slot| Some(*slot) != first);
        first.into_iter().chain(second)
    }
}

/// The entries whose keys come after that one.
pub(crate) fn range_after<'a, K: Ord, V>(
    map: &'a BTreeMap<K, V>,
    after: Option<&'a K>,
) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
    use std::ops::Bound::{Excluded, Unbounded};
    map.range((after.map_or(Unbounded, Excluded), Unbounded))
}
