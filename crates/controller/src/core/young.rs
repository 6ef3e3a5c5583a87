//! Networks of which it was not heard yet that all dividers know them.
//!
//! Who is in another network of the VPC reaches an endpoint by way of a divider, so an endpoint is
//! ready once the dividers know its network. They are told when it is made; whoever becomes a
//! divider later knows all networks before. What they acknowledged to an earlier controller is not
//! stored, so at the start all networks are young, until the dividers have come and have said what
//! they have.

use super::Core;
use super::status::Fact;
use crate::time::Time;
use mizar_vpc::catalog::EndpointRecord;
use mizar_vpc::{Catalog, Generation, Name, NetworkId, RowKey, Vni};
use std::collections::BTreeMap;

/// Endpoints of which watchers are told before other work is done.
const FOLLOWED: usize = 64;

/// VPCs with networks that not all dividers know.
pub(super) type YoungVpcs = BTreeMap<Vni, Young>;

/// The networks of a VPC that not all dividers know.
#[derive(Debug, Default)]
pub(super) struct Young {
    /// When each was made that the controller has seen.
    made: BTreeMap<NetworkId, Generation>,
    /// When the controller started, for those that were there; None: all dividers know them.
    started: Option<Generation>,
    /// Up to when each divider has heard of all networks.
    heard: BTreeMap<Name, Generation>,
}

/// All networks are young when the controller starts.
pub(super) fn at_start(catalog: &Catalog, started: Generation) -> YoungVpcs {
    let vpcs = catalog.vpcs().filter(|vpc| vpc.networks().next().is_some());
    let young = || Young { started: Some(started), ..Young::default() };
    vpcs.map(|vpc| (vpc.record().vni, young())).collect()
}

impl Young {
    /// Since when dividers can have heard of a network; None: all know it.
    fn since(&self, id: NetworkId) -> Option<Generation> {
        self.made.get(&id).copied().or(self.started)
    }

    /// Whether a divider has heard of what there was at that time.
    fn has_heard(&self, divider: &Name, made: Generation) -> bool {
        self.heard.get(divider).is_some_and(|heard| *heard >= made)
    }

    fn is_over(&self) -> bool {
        self.made.is_empty() && self.started.is_none()
    }
}

impl Core {
    /// A network was made by the last write.
    pub(super) fn is_made(&mut self, vni: Vni, id: NetworkId) {
        self.young.entry(vni).or_default().made.insert(id, self.generation);
    }

    /// A network is gone.
    pub(super) fn is_unmade(&mut self, vni: Vni, id: NetworkId) {
        let is_last = self.catalog.vpc(vni).is_none_or(|vpc| vpc.networks().next().is_none());
        if let Some(young) = self.young.get_mut(&vni) {
            young.made.remove(&id);
            if young.is_over() || is_last {
                self.young.remove(&vni);
            }
        }
    }

    /// A divider may have heard of networks: their endpoints may have become ready.
    pub(super) fn divider_heard(&mut self, host: &Name, vni: Vni, now: Time) {
        let Some(young) = self.young.get(&vni) else { return };
        if !self.dividers(vni).contains(host) {
            return;
        }
        let Some(at) = self.desk.position(host, vni) else { return };
        let is_news = |made: &Generation| *made <= at && !young.has_heard(host, *made);
        if young.made.values().chain(&young.started).any(is_news) {
            self.look_at_young(vni, now);
        }
    }

    /// Other hosts are dividers of a VPC now, or are counted on, or have heard more.
    pub(super) fn look_at_young(&mut self, vni: Vni, now: Time) {
        let dividers = self.dividers(vni).to_vec();
        let Some(young) = self.young.get_mut(&vni) else { return };
        for divider in &dividers {
            // Who has all that there is has all that there is until now.
            let at = self.desk.position(divider, vni).map(|at| at.min(self.generation));
            if let Some(at) = at.filter(|at| !young.has_heard(divider, *at)) {
                young.heard.insert(divider.clone(), at);
            }
        }
        let of = young.made.clone();
        let had_started = young.started.is_some();
        // Up to when all have heard of everything.
        let heard = dividers.iter().map(|it| young.heard.get(it).copied()).min().flatten();
        let is_young = |made: &Generation| heard.is_none_or(|heard| heard < *made);
        young.made.retain(|_, made| is_young(made));
        young.started = young.started.filter(is_young);
        if young.is_over() {
            self.young.remove(&vni);
        }
        if had_started {
            self.follow_vpc(vni, now);
        }
        let Some(vpc) = self.catalog.vpc(vni).filter(|_| !of.is_empty()) else { return };
        let waits = |key: RowKey| {
            let RowKey::Port(name) = key else { return None };
            let (_, endpoint) = vpc.endpoint_named(&name)?;
            of.contains_key(&endpoint.network).then_some(name)
        };
        let waiting: Vec<Name> = self.timings.awaited(vni).into_iter().filter_map(waits).collect();
        for name in waiting {
            self.progress_of(vni, &name, now);
        }
    }

    /// Watchers have to hear of all endpoints of a VPC, little by little.
    fn follow_vpc(&mut self, vni: Vni, now: Time) {
        if self.watchers.is_anybody_interested(now) {
            self.routes.insert(vni, None);
        } else {
            self.watchers.skip();
        }
    }

    /// Tells watchers of some more endpoints.
    pub(super) fn follow_routes(&mut self, now: Time) {
        let Some((vni, after)) = self.routes.pop_first() else { return };
        if !self.watchers.is_anybody_interested(now) {
            self.watchers.skip();
            return self.routes.clear();
        }
        let Some(vpc) = self.catalog.vpc(vni) else { return };
        let names = vpc.endpoints_after(after.as_ref()).map(|it| it.name.clone());
        let names: Vec<_> = names.take(FOLLOWED).collect();
        for name in &names {
            self.progress_of(vni, name, now);
        }
        if let Some(last) = names.into_iter().nth(FOLLOWED - 1) {
            self.routes.insert(vni, Some(last));
        }
    }

    /// Whether the dividers know an endpoint's network: every active one, and one at least.
    pub(super) fn routed(&self, endpoint: &EndpointRecord, now: Time) -> Fact {
        let young = self.young.get(&endpoint.vni);
        let Some((young, made)) = young.and_then(|it| Some((it, it.since(endpoint.network)?)))
        else {
            return Fact::yes();
        };
        let mut knows = false;
        let mut missing = Vec::new();
        for divider in self.dividers(endpoint.vni) {
            match young.has_heard(divider, made) {
                true if self.is_alive(divider, now) => knows = true,
                true => missing.push(format!("divider {divider} is silent")),
                false if self.desk.host(divider).is_none() => {
                    missing.push(format!("divider {divider} was not heard of yet"));
                }
                false if !self.outgoing.contains_key(divider) => {
                    missing.push(format!("divider {divider} has no stream"));
                }
                false => {
                    missing.push(format!("divider {divider} has not acknowledged the network"));
                }
            }
        }
        match (missing.is_empty(), knows) {
            (true, true) => Fact::yes(),
            (true, false) => Fact::no("NoDividers", "no host divides for the VPC".to_owned()),
            (false, true) => Fact::no(Fact::PARTLY, missing.join(", ")),
            (false, false) => Fact::no("Unrouted", missing.join(", ")),
        }
    }

    /// The hosts that divide a VPC's traffic.
    pub(super) fn dividers(&self, vni: Vni) -> &[Name] {
        self.maps.get(&vni).map_or(&[], |maps| &maps.dividers)
    }
}
