//! What has to change for a controller to have what a topology asks for, and nothing else.

use crate::plan::Plan;
use mizar_controller::api::body::{ChangeBody, DeleteBody};
use mizar_vpc::manifest::{EndpointSpec, EndpointStatus, NetworkSpec, NetworkStatus, Object};
use mizar_vpc::manifest::{VpcSpec, VpcStatus};
use mizar_vpc::{Kind, Manifest, Ref};
use std::collections::{BTreeMap, BTreeSet};

/// What can change while a lab is up, containers first.
pub(crate) const KINDS: [Kind; 3] = [Kind::Vpc, Kind::Network, Kind::Endpoint];

/// What leads from the VPCs, networks and endpoints that there are to those that are planned:
/// first what goes, endpoints before their networks, then what stays or comes.
///
/// What differs in a way that cannot change goes too, with all that is in it, and comes anew.
pub(crate) fn changes(plan: &Plan, present: &[Manifest]) -> Vec<ChangeBody> {
    let wanted: BTreeMap<Ref, &Manifest> =
        plan.manifests.iter().map(|it| (it.reference(), it)).collect();
    let mut goes = BTreeSet::new();
    for kind in KINDS {
        for it in present.iter().filter(|it| it.kind() == kind) {
            let reference = it.reference();
            let stays = wanted.get(&reference).is_some_and(|wanted| can_become(it, wanted));
            if !stays || container(it).is_some_and(|container| goes.contains(&container)) {
                goes.insert(reference);
            }
        }
    }
    // References are ordered by kind, containers first.
    let delete = |reference| {
        ChangeBody::Delete(DeleteBody { reference, cascade: false, resource_version: None })
    };
    let gone = goes.into_iter().rev().map(delete);
    let kept = plan.manifests.iter().filter(|it| KINDS.contains(&it.kind()));
    gone.chain(kept.cloned().map(ChangeBody::Apply)).collect()
}

/// What a resource is in, by a name that goes before it does: a network's VPC, an endpoint's
/// network.
fn container(manifest: &Manifest) -> Option<Ref> {
    let vpc = manifest.metadata().vpc.clone()?;
    Some(match manifest {
        Manifest::Endpoint(it) => Ref::in_vpc(Kind::Network, vpc, it.spec.network.clone()),
        _ => Ref::global(Kind::Vpc, vpc),
    })
}

/// Whether a resource can be changed to another one, with the same name, as it is.
fn can_become(is: &Manifest, wanted: &Manifest) -> bool {
    match (is, wanted) {
        (Manifest::Vpc(is), Manifest::Vpc(wanted)) => vpc(is, wanted),
        (Manifest::Network(is), Manifest::Network(wanted)) => network(is, wanted),
        (Manifest::Endpoint(is), Manifest::Endpoint(wanted)) => endpoint(is, wanted),
        _ => false,
    }
}

fn vpc(is: &Object<VpcSpec, VpcStatus>, wanted: &Object<VpcSpec, VpcStatus>) -> bool {
    let vni = is.status.as_ref().and_then(|status| status.vni).or(is.spec.vni);
    is.spec.tenant == wanted.spec.tenant && vni == wanted.spec.vni
}

fn network(
    is: &Object<NetworkSpec, NetworkStatus>,
    wanted: &Object<NetworkSpec, NetworkStatus>,
) -> bool {
    // A topology knows default gateways only.
    let fixed = |spec: &NetworkSpec| (spec.v4, spec.v6, spec.v4_gateway, spec.v6_gateway);
    fixed(&is.spec) == fixed(&wanted.spec)
}

fn endpoint(
    is: &Object<EndpointSpec, EndpointStatus>,
    wanted: &Object<EndpointSpec, EndpointStatus>,
) -> bool {
    let Some(has) = &is.status else { return false };
    // What is no longer asked for is kept like any other choice.
    is.spec.network == wanted.spec.network
        && wanted.spec.v4.is_none_or(|v4| has.v4 == Some(v4))
        && wanted.spec.v6.is_none_or(|v6| has.v6 == Some(v6))
        && wanted.spec.mac.is_none_or(|mac| has.mac == Some(mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_vpc::catalog::Mode;
    use mizar_vpc::{Catalog, Generation};

    const BEFORE: &str = "
lab: change
hosts: 2
vpcs:
  - name: blue
    vni: 7
    networks:
      - name: web
        v4: 10.0.0.0/24
        endpoints: [{name: a, host: h1, v4: 10.0.0.5}, {name: b, host: h2}]
      - {name: back, v4: 10.0.1.0/24, endpoints: [{name: c, host: h2}]}
";

    fn plan(text: &str) -> Plan {
        Plan::new(&text.parse().unwrap()).unwrap()
    }

    /// What a controller would have, as far as it matters here.
    fn present() -> Vec<Manifest> {
        let mut catalog = Catalog::default();
        let manifests = plan(BEFORE).manifests.into_iter().map(|mut manifest| {
            let made = catalog.apply(&manifest, Mode::Create, Generation::MAX).unwrap();
            let after = made.and_then(|changed| changed.after);
            if let (Manifest::Endpoint(it), Some(record)) = (&mut manifest, after) {
                let record = record.as_endpoint().unwrap().clone();
                let (v4, v6, mac) = (record.v4, record.v6, Some(record.mac));
                it.status = Some(EndpointStatus { v4, v6, mac, ..EndpointStatus::default() });
            }
            manifest
        });
        manifests.collect()
    }

    /// What goes when one thing is another, in order.
    fn goes(from: &str, to: &str) -> Vec<String> {
        let text = BEFORE.replace(from, to);
        let changes = changes(&plan(&text), &present());
        let applied = changes.iter().skip_while(|it| matches!(it, ChangeBody::Delete(_)));
        assert!(applied.clone().all(|it| matches!(it, ChangeBody::Apply(_))));
        let kept = plan(&text).manifests;
        assert_eq!(applied.count(), kept.iter().filter(|it| KINDS.contains(&it.kind())).count());
        let goes = changes.iter().filter_map(|change| match change {
            ChangeBody::Delete(it) => Some(it.reference.to_string()),
            _ => None,
        });
        goes.collect()
    }

    #[test]
    fn only_what_cannot_become_the_other_goes_first() {
        assert!(goes("name: a, host: h1", "name: a, host: h2").is_empty(), "a move");
        assert!(goes(", v4: 10.0.0.5", "").is_empty(), "what was asked for is kept");
        assert!(goes("vni: 7", "vni: 7\n    dividers: [h1]").is_empty());
        assert_eq!(goes(", {name: b, host: h2}", ""), ["endpoint blue/b"]);
        assert_eq!(goes("v4: 10.0.0.5", "v4: 10.0.0.6"), ["endpoint blue/a"]);
        let network = ["endpoint blue/c", "network blue/back"];
        assert_eq!(goes("10.0.1.0/24", "10.0.2.0/24"), network);
        let all = goes("vni: 7", "vni: 8");
        assert_eq!(all.len(), 6);
        assert!(all[..3].iter().all(|it| it.starts_with("endpoint ")), "{all:?}");
        assert_eq!(all[5], "vpc blue");
    }
}
