//! Deleting: refused while others use what goes, or with all of them.

use super::change::check_version;
use super::{Catalog, Changed, Record, Refused};
use crate::{Generation, Kind, Ref};

/// Most resources that one cascade deletes.
const MOST: u64 = 10_000;
/// Users that a refusal names.
const NAMED: usize = 5;

impl Catalog {
    /// Deletes a resource; with all that uses it if that is asked for, users first.
    ///
    /// # Errors
    /// There is none, it was written since `version`, or others use it; nothing has changed then.
    pub fn delete(
        &mut self,
        reference: &Ref,
        cascade: bool,
        version: Option<Generation>,
    ) -> Result<Vec<Changed>, Refused> {
        if reference.kind == Kind::SlotMap {
            return Err(Refused::ReadOnly(reference.clone()));
        }
        let before = self.record(reference);
        let before = before.ok_or_else(|| Refused::NotFound(reference.clone()))?;
        check_version(reference, Some(&before), version)?;
        let (mut by, count) = self.users(reference);
        let roles = self.roles_of(reference);
        if !roles.is_empty() {
            let more = roles.len().saturating_sub(NAMED) as u64;
            let by = roles.into_iter().take(NAMED).collect();
            return Err(Refused::InUse { reference: reference.clone(), by, more });
        }
        // The fleet is not deleted by mistake.
        if count > 0 && (!cascade || reference.kind == Kind::Fleet) {
            by.truncate(NAMED);
            let more = count - by.len() as u64;
            return Err(Refused::InUse { reference: reference.clone(), by, more });
        }
        if count > MOST {
            let reference = reference.clone();
            return Err(Refused::TooMany { reference, count, most: MOST });
        }
        by.push(reference.clone());
        let gone = by.into_iter().filter_map(|reference| {
            let before = self.record(&reference)?;
            let last_choice = self.last_choice(&before);
            self.take(&reference);
            if let Record::Vpc(vpc) = &before {
                self.release_vni(vpc.vni);
            }
            Some(Changed { reference, before: Some(before), after: None, last_choice })
        });
        Ok(gone.collect())
    }

    /// What cannot be without a resource, in an order in which it can go: all of it, unless that is
    /// more than a cascade may delete; and how much it is.
    fn users(&self, reference: &Ref) -> (Vec<Ref>, u64) {
        let Ref { kind, vpc, name } = reference;
        let most = MOST as usize;
        match kind {
            Kind::Fleet => {
                let hosts = self.hosts().map(|it| Ref::global(Kind::Host, it.record.name.clone()));
                (hosts.take(NAMED).collect(), self.hosts.len() as u64)
            }
            Kind::Host => {
                let Some(host) = self.host(name) else { return (Vec::new(), 0) };
                let endpoints = host.vpcs().filter_map(|vni| self.vpc(vni)).flat_map(|vpc| {
                    let ids = host.endpoints(vpc.record().vni);
                    let live = ids.filter_map(|id| vpc.endpoint(id)).filter(|it| it.host == *name);
                    live.map(|it| self.endpoint_ref(vpc, it))
                });
                let mut endpoints: Vec<_> = endpoints.collect();
                let count = endpoints.len() as u64;
                endpoints.truncate(most);
                (endpoints, count)
            }
            Kind::Tenant => {
                let vpcs = self.vpcs_of(name);
                let vpcs: Vec<_> =
                    vpcs.map(|it| Ref::global(Kind::Vpc, it.record().name.clone())).collect();
                let within = vpcs.iter().map(|vpc| self.users(vpc));
                let (mut all, mut count) = (Vec::new(), vpcs.len() as u64);
                for (vpc, (users, more)) in vpcs.iter().zip(within) {
                    all.extend(users);
                    all.push(vpc.clone());
                    count += more;
                }
                (all, count)
            }
            Kind::Vpc => {
                let Some(vpc) = self.vpc_named(name) else { return (Vec::new(), 0) };
                let networks = vpc.networks().map(|it| it.record().name.clone());
                let networks = networks.map(|it| Ref::in_vpc(Kind::Network, name.clone(), it));
                let endpoints = vpc.endpoints_after(None).map(|it| self.endpoint_ref(vpc, it));
                let count = vpc.endpoint_count() + vpc.networks().count() as u64;
                (endpoints.take(most).chain(networks).collect(), count)
            }
            Kind::Network => {
                let vpc = vpc.as_ref().and_then(|vpc| self.vpc_named(vpc));
                let Some(vpc) = vpc else { return (Vec::new(), 0) };
                let Some(network) = vpc.network_named(name) else { return (Vec::new(), 0) };
                let slots = crate::Slot::all().flat_map(|slot| {
                    let ids = network.slot(slot).filter_map(|id| vpc.endpoint(id));
                    ids.filter(move |it| it.slots().next() == Some(slot))
                });
                let endpoints = slots.map(|it| self.endpoint_ref(vpc, it));
                (endpoints.take(most).collect(), network.endpoint_count())
            }
            Kind::Endpoint | Kind::SlotMap => (Vec::new(), 0),
        }
    }

    /// What names a host for a role, or as the one that it is about to move to: it has to be
    /// changed, not deleted.
    fn roles_of(&self, reference: &Ref) -> Vec<Ref> {
        let name = &reference.name;
        let host = (reference.kind == Kind::Host).then(|| self.host(name)).flatten();
        let Some(host) = host else { return Vec::new() };
        let vpcs = host.vpcs().filter_map(|vni| self.vpc(vni));
        let migrating = vpcs.flat_map(|vpc| {
            let endpoints = host.endpoints(vpc.record().vni).filter_map(|id| vpc.endpoint(id));
            let migrating = endpoints.filter(|endpoint| endpoint.migrates_to(name));
            migrating.map(|it| self.endpoint_ref(vpc, it))
        });
        host.named_by().cloned().chain(migrating).collect()
    }

    fn endpoint_ref(&self, vpc: &super::VpcEntry, endpoint: &super::EndpointRecord) -> Ref {
        Ref::in_vpc(Kind::Endpoint, vpc.record().name.clone(), endpoint.name.clone())
    }
}
