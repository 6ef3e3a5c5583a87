//! Networks that are so new that dividers have not heard of them yet.
//!
//! Who is in another network of the VPC reaches an endpoint by way of a divider, so an endpoint is
//! ready once the dividers know its network. They are told once, when it is made; whoever becomes
//! a divider later knows all networks before. So nothing needs to be kept for networks that were
//! there when the controller started.

use super::Core;
use super::status::Fact;
use crate::time::Time;
use mizar_vpc::catalog::EndpointRecord;
use mizar_vpc::{Generation, Name, NetworkId, RowKey, Vni};
use std::collections::{BTreeMap, BTreeSet};

/// Networks that not all dividers know.
pub(super) type YoungNetworks = BTreeMap<(Vni, NetworkId), Young>;

/// Who knows a network.
#[derive(Debug)]
pub(super) struct Young {
    /// When it was made.
    made: Generation,
    /// The dividers that have heard of it.
    known_by: BTreeSet<Name>,
}

impl Core {
    /// A network was made by the last write.
    pub(super) fn is_made(&mut self, vni: Vni, id: NetworkId) {
        let young = Young { made: self.generation, known_by: BTreeSet::new() };
        self.young.insert((vni, id), young);
    }

    /// A divider may have heard of networks: their endpoints may have become ready.
    pub(super) fn divider_heard(&mut self, host: &Name, vni: Vni, now: Time) {
        if self.young.is_empty() || !self.dividers(vni).contains(host) {
            return;
        }
        let at = self.desk.position(host, vni);
        let young = self.young.iter_mut().filter(|((of, _), it)| *of == vni && at >= Some(it.made));
        let news = young.map(|(_, it)| it.known_by.insert(host.clone())).filter(|it| *it).count();
        if news > 0 {
            self.look_at_young(vni, now);
        }
    }

    /// Other hosts are dividers of a VPC now, or are counted on.
    pub(super) fn look_at_young(&mut self, vni: Vni, now: Time) {
        let of: Vec<_> = self.young.keys().filter(|(of, _)| *of == vni).copied().collect();
        if of.is_empty() {
            return;
        }
        let dividers = self.dividers(vni).to_vec();
        let all_know = |it: &Young| dividers.iter().all(|divider| it.known_by.contains(divider));
        self.young.retain(|(of, _), it| *of != vni || dividers.is_empty() || !all_know(it));
        let Some(vpc) = self.catalog.vpc(vni) else { return };
        let waits = |key: RowKey| {
            let RowKey::Port(name) = key else { return None };
            let (_, endpoint) = vpc.endpoint_named(&name)?;
            of.contains(&(vni, endpoint.network)).then_some(name)
        };
        let waiting: Vec<Name> = self.timings.awaited(vni).into_iter().filter_map(waits).collect();
        for name in waiting {
            self.progress_of(vni, &name, now);
        }
    }

    /// Whether the dividers know an endpoint's network: every active one, and one at least.
    pub(super) fn routed(&self, endpoint: &EndpointRecord, now: Time) -> Fact {
        let Some(young) = self.young.get(&(endpoint.vni, endpoint.network)) else {
            return Fact::yes();
        };
        let mut knows = false;
        let mut missing = Vec::new();
        for divider in self.dividers(endpoint.vni) {
            match young.known_by.contains(divider) {
                true if self.is_alive(divider, now) => knows = true,
                true => missing.push(format!("divider {divider} is silent")),
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

    fn dividers(&self, vni: Vni) -> &[Name] {
        self.maps.get(&vni).map_or(&[], |maps| &maps.dividers)
    }
}
