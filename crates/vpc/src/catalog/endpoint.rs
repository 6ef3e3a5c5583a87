//! Endpoints: addresses that are asked for and free, or chosen.

use super::change::{Asked, check_fixed};
use super::{Catalog, EndpointRecord, NetworkEntry, NetworkRecord, Record, Refused, VpcEntry};
use crate::manifest::{EndpointSpec, Migration};
use crate::prefix::{check_usable, overlap};
use crate::{AttachmentError, Kind, Mac, Name, Problem, Ref, Slot};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many steps are tried for an IPv6 address of one slot: 2¹⁶, where 2⁸ are expected.
const SLOT_SEARCH_BITS: u32 = 16;

impl Catalog {
    pub(super) fn admit_endpoint(
        &self,
        asked: &Asked,
        vpc: &VpcEntry,
        spec: &EndpointSpec,
    ) -> Result<Record, Refused> {
        let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
        let before = vpc.endpoint_named(&asked.reference.name).map(|(_, record)| record);
        let was = before.and_then(|it| vpc.network(it.network)).map(|it| &it.record().name);
        check_fixed(asked, "spec.network", was.map(Some), Some(&spec.network))?;
        let unknown = |kind, name: &Name| Problem::Unknown { kind, name: name.to_string() };
        let network = vpc.network_named(&spec.network);
        let network =
            network.ok_or_else(|| at("spec.network", unknown("network", &spec.network)))?;
        let had = |host: &Name| before.is_some_and(|before| before.hosts().any(|it| it == host));
        self.check_host(asked, vpc, "spec.host", &spec.host, had(&spec.host))?;
        self.check_attachment(asked, network.record(), spec)?;
        if let Some(migration) = &spec.migration {
            let had = had(&migration.host);
            self.check_host(asked, vpc, "spec.migration.host", &migration.host, had)?;
            check_migration(asked, network.record(), spec, migration)?;
        }
        self.check_grant(asked, vpc, spec, before)?;
        let choice = Choice { asked, vpc, network, before, spec };
        let (v4, v6) = (choice.v4()?, choice.v6()?);
        let v6 = choice.complete_v6(v4, v6)?;
        let mac = choice.mac(v4, v6)?;
        let (name, labels, revision) = asked.common();
        let mut record = EndpointRecord {
            name,
            labels,
            revision,
            vni: vpc.record().vni,
            network: network.record().id,
            host: spec.host.clone(),
            v4,
            v6,
            mac,
            asked: asked_bits(spec),
            generation: asked.at,
            attachment: spec.attachment.clone(),
            migration: spec.migration.clone(),
        };
        if let Some(before) = before.filter(|before| before.is_where(&record)) {
            record.generation = before.generation;
        }
        Ok(record.into())
    }

    /// Refuses a host that there is not, and one that takes no endpoints or that the tenant may not
    /// use, unless the endpoint has an interface there already.
    fn check_host(
        &self,
        asked: &Asked,
        vpc: &VpcEntry,
        field: &str,
        name: &Name,
        had: bool,
    ) -> Result<(), Refused> {
        let at = |problem| Err(Refused::field(&asked.reference, field, problem));
        let Some(host) = self.host(name) else {
            return at(Problem::Unknown { kind: "host", name: name.to_string() });
        };
        if had {
            return Ok(());
        }
        if host.record.spec.cordoned {
            return at(Problem::Cordoned(name.clone()));
        }
        let tenant = vpc.record().spec.tenant.as_ref();
        let granted = tenant.and_then(|tenant| self.tenants.get(tenant));
        match granted.map(|entry| &entry.record) {
            Some(tenant) if !tenant.spec.hosts.selects(&host.record.labels) => {
                at(Problem::NotGranted {
                    host: name.clone(),
                    tenant: tenant.name.clone(),
                    selector: tenant.spec.hosts.to_string(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses an attachment that cannot be, or that would cut a host off from the underlay.
    fn check_attachment(
        &self,
        asked: &Asked,
        network: &NetworkRecord,
        spec: &EndpointSpec,
    ) -> Result<(), Refused> {
        let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
        let attachment = &spec.attachment;
        let checked = attachment.check(network.spec.v4.is_some(), network.spec.v6.is_some());
        checked.map_err(|error| at("spec.attachment", error.into()))?;
        if !attachment.is_host() {
            return Ok(());
        }
        let own = [network.spec.v4.map(IpNet::V4), network.spec.v6.map(IpNet::V6)];
        for prefix in own.into_iter().flatten() {
            let remedy = "use another network, or attach a guest (veth)";
            self.check_fleet(prefix, remedy).map_err(|problem| at("spec.network", problem))?;
        }
        for (index, &prefix) in attachment.routes().iter().enumerate() {
            let own = own.into_iter().flatten().find(|own| own.contains(&prefix));
            let checked = match own {
                Some(own) => Err(Problem::OwnNetwork { prefix, own }),
                None => self.check_fleet(prefix, "leave it out"),
            };
            checked.map_err(|problem| {
                let problem = Box::new(problem);
                at("spec.attachment", AttachmentError::Route { index, problem }.into())
            })?;
        }
        Ok(())
    }

    /// Refuses a prefix that a host must reach by the underlay.
    fn check_fleet(&self, prefix: IpNet, remedy: &'static str) -> Result<(), Problem> {
        let mut fleet = self.fleet.iter().flat_map(|fleet| &fleet.spec.prefixes);
        match fleet.find(|fleet| overlap(**fleet, prefix)) {
            Some(&fleet) => Err(Problem::CutOff { prefix, fleet, remedy }),
            None => Ok(()),
        }
    }

    /// Refuses what the VPC's tenant was not granted, where the endpoint is new or another.
    fn check_grant(
        &self,
        asked: &Asked,
        vpc: &VpcEntry,
        spec: &EndpointSpec,
        before: Option<&EndpointRecord>,
    ) -> Result<(), Refused> {
        let at = |field: &str, problem| Err(Refused::field(&asked.reference, field, problem));
        let is_new = before.is_none();
        let attaches = before
            .is_none_or(|before| before.host != spec.host || before.attachment != spec.attachment);
        let Some(tenant) = vpc.record().spec.tenant.as_ref() else { return Ok(()) };
        let Some(entry) = self.tenants.get(tenant) else { return Ok(()) };
        let granted = &entry.record.spec;
        if attaches && spec.attachment.is_host() && !granted.host_endpoints {
            return at("spec.attachment", Problem::NoHostEndpoints(tenant.clone()));
        }
        let count: u64 = self.vpcs_of(tenant).map(VpcEntry::endpoint_count).sum();
        match granted.max_endpoints.filter(|most| is_new && count >= *most) {
            Some(most) => at("metadata.name", Problem::Quota { tenant: tenant.clone(), most }),
            None => Ok(()),
        }
    }
}

impl EndpointRecord {
    /// Whether the other record says the same of where the endpoint is.
    fn is_where(&self, other: &Self) -> bool {
        (&self.host, self.v4, self.v6, self.mac, &self.attachment)
            == (&other.host, other.v4, other.v6, other.mac, &other.attachment)
    }
}

/// Refuses a migration that leads nowhere, or of what cannot move.
fn check_migration(
    asked: &Asked,
    network: &NetworkRecord,
    spec: &EndpointSpec,
    migration: &Migration,
) -> Result<(), Refused> {
    let at = |field: &str, problem| Refused::field(&asked.reference, field, problem);
    if migration.host == spec.host {
        return Err(at("spec.migration.host", Problem::LivesThere(spec.host.clone())));
    }
    if spec.attachment.is_host() {
        return Err(at("spec.migration", Problem::HostMoves));
    }
    if migration.attachment.is_host() {
        return Err(at("spec.migration.attachment", Problem::HostMoves));
    }
    let checked = migration.attachment.check(network.spec.v4.is_some(), network.spec.v6.is_some());
    checked.map_err(|error| at("spec.migration.attachment", error.into()))
}

/// What the addresses of one endpoint are chosen from.
struct Choice<'a> {
    asked: &'a Asked,
    vpc: &'a VpcEntry,
    network: &'a NetworkEntry,
    before: Option<&'a EndpointRecord>,
    spec: &'a EndpointSpec,
}

impl Choice<'_> {
    fn v4(&self) -> Result<Option<Ipv4Addr>, Refused> {
        let prefix = self.network.record().spec.v4;
        if let Some(v4) = self.kept("spec.v4", |it| it.v4, self.spec.v4)? {
            return Ok(Some(v4));
        }
        match (self.spec.v4, prefix) {
            (Some(v4), prefix) => {
                self.check(v4.into(), prefix.map(IpNet::V4), "spec.v4", "IPv4").map(|()| Some(v4))
            }
            (None, None) => Ok(None),
            (None, Some(prefix)) => {
                let exhausted = || Problem::Exhausted { prefix: prefix.into() };
                let free = self.free_v4(prefix);
                free.ok_or_else(|| self.at("spec.v4", exhausted())).map(Some)
            }
        }
    }

    /// The IPv6 address that is asked for, or was chosen before.
    fn v6(&self) -> Result<Option<Ipv6Addr>, Refused> {
        if let Some(v6) = self.kept("spec.v6", |it| it.v6, self.spec.v6)? {
            return Ok(Some(v6));
        }
        let Some(v6) = self.spec.v6 else { return Ok(None) };
        let prefix = self.network.record().spec.v6.map(IpNet::V6);
        self.check(v6.into(), prefix, "spec.v6", "IPv6").map(|()| Some(v6))
    }

    /// An IPv6 address in any case, if the network has such.
    fn complete_v6(
        &self,
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) -> Result<Option<Ipv6Addr>, Refused> {
        match (v6, self.network.record().spec.v6) {
            (None, Some(prefix)) => {
                let free = self.free_v6(prefix, v4);
                free.map(Some).map_err(|problem| self.at("spec.v6", problem))
            }
            (v6, _) => Ok(v6),
        }
    }

    /// The address that the endpoint has. Another one cannot be asked for.
    fn kept<A: Copy + PartialEq + ToString>(
        &self,
        field: &str,
        of: impl Fn(&EndpointRecord) -> Option<A>,
        wanted: Option<A>,
    ) -> Result<Option<A>, Refused> {
        let Some(has) = self.before.and_then(of) else { return Ok(None) };
        match wanted {
            Some(wanted) if wanted != has => {
                let problem = Problem::Fixed { was: has.to_string(), wanted: wanted.to_string() };
                Err(self.at(field, problem))
            }
            _ => Ok(Some(has)),
        }
    }

    fn check(
        &self,
        address: IpAddr,
        prefix: Option<IpNet>,
        field: &str,
        family: &'static str,
    ) -> Result<(), Refused> {
        let at = |problem| self.at(field, problem);
        let prefix =
            prefix.ok_or_else(|| at(Problem::NoFamily { value: address.to_string(), family }))?;
        check_usable(address, prefix).map_err(at)?;
        if self.is_gateway(address) {
            return Err(at(Problem::ReservedAddress { address, role: "gateway", prefix }));
        }
        self.check_free(self.vpc.endpoint_at(address), address.to_string()).map_err(at)
    }

    fn check_free(&self, other: Option<&EndpointRecord>, value: String) -> Result<(), Problem> {
        let other = other.filter(|other| self.before.is_none_or(|it| it.name != other.name));
        other.map_or(Ok(()), |other| {
            let vpc = self.vpc.record().name.clone();
            let by = Ref::in_vpc(Kind::Endpoint, vpc, other.name.clone()).to_string();
            Err(Problem::Taken { value, by })
        })
    }

    fn is_gateway(&self, address: IpAddr) -> bool {
        let network = self.network.record();
        Some(address) == network.v4_gateway.map(IpAddr::V4)
            || Some(address) == network.v6_gateway.map(IpAddr::V6)
    }

    fn free_v4(&self, prefix: Ipv4Net) -> Option<Ipv4Addr> {
        self.network.pool.free(prefix)
    }

    /// A free IPv6 address: one in the slot of `v4`, or the next one.
    ///
    /// The one in the slot shows `v4`, 16 bits from the right: `fd00::a00:5:7b` for 10.0.0.5.
    fn free_v6(&self, prefix: Ipv6Net, v4: Option<Ipv4Addr>) -> Result<Ipv6Addr, Problem> {
        let base = u128::from(prefix.network());
        let mask = u128::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0);
        let is_free = |v6: &Ipv6Addr| {
            !self.is_gateway((*v6).into()) && self.vpc.endpoint_at((*v6).into()).is_none()
        };
        let Some(v4) = v4 else {
            let start = u128::from(self.network.last_v6) + 1;
            let offsets = (start..=mask).chain(1..start.min(mask.saturating_add(1)));
            let mut found = offsets.take(1 << SLOT_SEARCH_BITS).map(|it| Ipv6Addr::from(base + it));
            return found.find(is_free).ok_or(Problem::Exhausted { prefix: prefix.into() });
        };
        let start = u128::from(u32::from(v4)) << SLOT_SEARCH_BITS;
        (0..=mask.min((1 << SLOT_SEARCH_BITS) - 1))
            .map(|step| start.wrapping_add(step) & mask)
            .filter(|&offset| offset != 0)
            .map(|offset| Ipv6Addr::from(base + offset))
            .find(|v6| Slot::of(*v6) == Slot::of(v4) && is_free(v6))
            .ok_or(Problem::SlotExhausted { prefix: prefix.into(), v4: v4.into() })
    }

    fn mac(&self, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<Mac, Refused> {
        if let Some(mac) = self.kept("spec.mac", |it| Some(it.mac), self.spec.mac)? {
            return Ok(mac);
        }
        let at = |problem| self.at("spec.mac", problem);
        if let Some(mac) = self.spec.mac {
            let free = self.check_free(self.vpc.endpoint_with(mac), mac.to_string());
            return free.map(|()| mac).map_err(at);
        }
        let address = v4.map(IpAddr::V4).or(v6.map(IpAddr::V6));
        let address = address.ok_or_else(|| at(Problem::NoPrefix))?;
        let vni = self.vpc.record().vni;
        (0..=u8::MAX)
            .map(|attempt| Mac::derive(vni, address, attempt))
            .find(|mac| self.vpc.endpoint_with(*mac).is_none())
            .ok_or_else(|| at(Problem::NoneLeft("MAC addresses")))
    }

    fn at(&self, field: &str, problem: Problem) -> Refused {
        Refused::field(&self.asked.reference, field, problem)
    }
}

fn asked_bits(spec: &EndpointSpec) -> u8 {
    let bit = |asked: bool, bit| if asked { bit } else { 0 };
    bit(spec.v4.is_some(), EndpointRecord::ASKED_V4)
        | bit(spec.v6.is_some(), EndpointRecord::ASKED_V6)
        | bit(spec.mac.is_some(), EndpointRecord::ASKED_MAC)
}
