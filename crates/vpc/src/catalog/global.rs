//! The resources that are in no VPC: fleet, hosts, tenants, VPCs.

use super::change::{Asked, check_fixed};
use super::{
    Catalog, FleetRecord, HostEntry, HostRecord, Record, Refused, TenantEntry, TenantRecord,
    VpcEntry, VpcRecord,
};
use crate::manifest::{FleetSpec, HostSpec, RoleSpec, TenantSpec, VpcSpec};
use crate::{Kind, Name, Problem, Ref, is_underlay};
use ipnet::IpNet;
use mizar_packet::tables::{DIVIDERS, FLEET_PREFIXES};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The name of the only fleet.
const FLEET: &str = "fleet";

impl Catalog {
    pub(super) fn admit_fleet(&self, asked: &Asked, spec: &FleetSpec) -> Result<Record, Refused> {
        let at = |field: &str, problem| Err(Refused::field(&asked.reference, field, problem));
        if asked.reference.name.as_str() != FLEET {
            let problem =
                Problem::Fixed { was: FLEET.to_owned(), wanted: asked.reference.name.to_string() };
            return at("metadata.name", problem);
        }
        if let Err(problem) = Problem::check_count(spec.prefixes.len(), 1, FLEET_PREFIXES) {
            return at("spec.prefixes", problem);
        }
        for (index, &prefix) in spec.prefixes.iter().enumerate() {
            if prefix != prefix.trunc() {
                return at(&format!("spec.prefixes[{index}]"), Problem::HostBits { prefix });
            }
        }
        let outside = self.underlays.iter().find(|(it, _)| !contains(&spec.prefixes, **it));
        if let Some((&address, host)) = outside {
            let by = Ref::global(Kind::Host, host.clone()).to_string();
            return at("spec.prefixes", Problem::Excluded { address, by });
        }
        let (name, labels, revision) = asked.common();
        let mut spec = spec.clone();
        if spec.tags.turn == 0 {
            // Who does not say asks for no turn.
            spec.tags.turn = self.fleet().map_or(0, |fleet| fleet.spec.tags.turn);
        }
        Ok(FleetRecord { name, labels, revision, spec }.into())
    }

    pub(super) fn admit_host(&self, asked: &Asked, spec: &HostSpec) -> Result<Record, Refused> {
        let at = |problem| Refused::field(&asked.reference, "spec.underlay", problem);
        let before = self.host(&asked.reference.name).map(|host| &host.record.spec);
        check_fixed(
            asked,
            "spec.underlay",
            before.map(|it| Some(&it.underlay)),
            Some(&spec.underlay),
        )?;
        let prefixes = self.fleet.as_ref().map(|fleet| &*fleet.spec.prefixes);
        let Some(prefixes) = prefixes else { return Err(at(Problem::NoFleet)) };
        check_underlay(spec.underlay, prefixes).map_err(at)?;
        match self.underlays.get(&spec.underlay) {
            Some(other) if *other != asked.reference.name => {
                let by = Ref::global(Kind::Host, other.clone()).to_string();
                Err(at(Problem::Taken { value: spec.underlay.to_string(), by }))
            }
            _ => {
                let (name, labels, revision) = asked.common();
                Ok(HostRecord { name, labels, revision, spec: spec.clone() }.into())
            }
        }
    }

    pub(super) fn admit_tenant(&self, asked: &Asked, spec: &TenantSpec) -> Record {
        let (name, labels, revision) = asked.common();
        TenantRecord { name, labels, revision, spec: spec.clone() }.into()
    }

    pub(super) fn admit_vpc(&self, asked: &Asked, spec: &VpcSpec) -> Result<Record, Refused> {
        let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
        let before = self.vpc_named(&asked.reference.name).map(VpcEntry::record);
        check_fixed(
            asked,
            "spec.tenant",
            before.map(|it| it.spec.tenant.as_ref()),
            spec.tenant.as_ref(),
        )?;
        if let Some(tenant) = &spec.tenant
            && self.tenant(tenant).is_none()
        {
            let problem = Problem::Unknown { kind: "tenant", name: tenant.to_string() };
            return Err(at("spec.tenant", problem));
        }
        self.check_role(asked, "spec.dividers", &spec.dividers, DIVIDERS)?;
        let vni = match (before, spec.vni) {
            (Some(before), wanted) => {
                let wanted = wanted.unwrap_or(before.vni);
                check_fixed(asked, "spec.vni", Some(Some(&before.vni)), Some(&wanted))?;
                before.vni
            }
            (None, Some(vni)) => {
                if let Some(other) = self.vpc(vni) {
                    let by = Ref::global(Kind::Vpc, other.record().name.clone()).to_string();
                    return Err(at("spec.vni", Problem::Taken { value: format!("VNI {vni}"), by }));
                }
                vni
            }
            (None, None) => {
                self.free_vni().ok_or_else(|| at("spec.vni", Problem::NoneLeft("VNIs")))?
            }
        };
        let (name, labels, revision) = asked.common();
        Ok(VpcRecord { name, labels, revision, spec: spec.clone(), vni }.into())
    }

    /// Refuses a role that cannot be filled: unknown or repeated hosts, too few or too many.
    pub(super) fn check_role(
        &self,
        asked: &Asked,
        field: &str,
        role: &RoleSpec,
        most: usize,
    ) -> Result<(), Refused> {
        let at = |field: &str, problem| Err(Refused::field(&asked.reference, field, problem));
        let count = match role {
            RoleSpec::Auto => return Ok(()),
            RoleSpec::Count(count) => usize::from(*count),
            RoleSpec::Hosts(hosts) => hosts.len(),
        };
        let field = match role {
            RoleSpec::Hosts(_) => format!("{field}.hosts"),
            _ => format!("{field}.count"),
        };
        if let Err(problem) = Problem::check_count(count, 1, most) {
            return at(&field, problem);
        }
        let RoleSpec::Hosts(hosts) = role else { return Ok(()) };
        let mut seen = BTreeSet::new();
        for (index, host) in hosts.iter().enumerate() {
            let entry = format!("{field}[{index}]");
            if self.host(host).is_none() {
                return at(&entry, Problem::Unknown { kind: "host", name: host.to_string() });
            }
            if !seen.insert(host) {
                return at(&entry, Problem::Taken { value: host.to_string(), by: field });
            }
        }
        Ok(())
    }

    pub(super) fn put_host(&mut self, record: HostRecord) {
        self.underlays.insert(record.spec.underlay, record.name.clone());
        match self.hosts.get_mut(&record.name) {
            Some(host) => host.record = record,
            None => {
                let entry = HostEntry { vpcs: BTreeMap::new(), named: BTreeSet::new(), record };
                self.hosts.insert(entry.record.name.clone(), entry);
            }
        }
    }

    /// Removes a host; what lives on it is kept for the record that follows.
    pub(super) fn take_host(&mut self, name: &Name) -> Option<HostRecord> {
        let host = self.hosts.get(name)?;
        self.underlays.remove(&host.record.spec.underlay);
        if host.vpcs.is_empty() && host.named.is_empty() {
            return self.hosts.remove(name).map(|host| host.record);
        }
        Some(host.record.clone())
    }

    pub(super) fn put_tenant(&mut self, record: TenantRecord) {
        match self.tenants.get_mut(&record.name) {
            Some(tenant) => tenant.record = record,
            None => {
                let entry = TenantEntry { vpcs: BTreeSet::new(), record };
                self.tenants.insert(entry.record.name.clone(), entry);
            }
        }
    }

    pub(super) fn take_tenant(&mut self, name: &Name) -> Option<TenantRecord> {
        let tenant = self.tenants.get(name)?;
        if tenant.vpcs.is_empty() {
            return self.tenants.remove(name).map(|tenant| tenant.record);
        }
        Some(tenant.record.clone())
    }

    pub(super) fn put_vpc(&mut self, record: VpcRecord) {
        let reference = Ref::global(Kind::Vpc, record.name.clone());
        self.name_hosts(&record.spec.dividers, &reference, true);
        if let Some(tenant) = record.spec.tenant.as_ref().and_then(|it| self.tenants.get_mut(it)) {
            tenant.vpcs.insert(record.vni);
        }
        self.vpc_names.insert(record.name.clone(), record.vni);
        match self.vpcs.get_mut(&record.vni) {
            Some(vpc) => vpc.set_record(record),
            None => drop(self.vpcs.insert(record.vni, VpcEntry::new(record))),
        }
    }

    /// Removes a VPC; what is in it is kept for the record that follows.
    pub(super) fn take_vpc(&mut self, name: &Name) -> Option<VpcRecord> {
        let vni = *self.vpc_names.get(name)?;
        let vpc = self.vpcs.get(&vni)?;
        let record = vpc.record().clone();
        let is_empty = vpc.networks().next().is_none();
        self.name_hosts(&record.spec.dividers, &Ref::global(Kind::Vpc, name.clone()), false);
        if let Some(tenant) = record.spec.tenant.as_ref().and_then(|it| self.tenants.get_mut(it)) {
            tenant.vpcs.remove(&vni);
        }
        if is_empty {
            self.vpcs.remove(&vni);
            self.vpc_names.remove(name);
        }
        Some(record)
    }

    /// Notes at hosts who names them, or does so no longer.
    pub(super) fn name_hosts(&mut self, role: &RoleSpec, by: &Ref, names: bool) {
        let RoleSpec::Hosts(hosts) = role else { return };
        for host in hosts {
            let Some(host) = self.hosts.get_mut(host) else { continue };
            if names {
                host.named.insert(by.clone());
            } else {
                host.named.remove(by);
            }
        }
    }
}

fn contains(prefixes: &[IpNet], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(&address))
}

fn check_underlay(address: IpAddr, fleet: &[IpNet]) -> Result<(), Problem> {
    if !is_underlay(address) {
        return Err(Problem::NotUnicast(address));
    }
    if contains(fleet, address) { Ok(()) } else { Err(Problem::OutsideFleet(address)) }
}
