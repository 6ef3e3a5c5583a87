//! Endpoints that are hosts themselves.

use super::*;
use crate::Attachment;

#[test]
fn hosts_that_are_endpoints_reach_the_underlay_as_before() {
    let with = |network: &str, routes: &[&str]| {
        let (network, interface) = (name(network), "vpc0".to_owned());
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        endpoint("blue/b", "h1", |spec| {
            spec.network = network;
            spec.attachment = Attachment::Host { interface, routes };
        })
    };
    let mut catalog = example();
    let inside = network("blue/inside", |spec| {
        (spec.v4, spec.v6) = ("192.0.2.128/26".parse().ok(), None);
    });
    apply(&mut catalog, &inside);
    let mut refused = |network: &str, routes: &[&str]| {
        let refused = catalog.apply(&with(network, routes), Mode::Apply, at(2)).unwrap_err();
        let words = refused.to_string();
        words.strip_prefix("endpoint blue/b: ").unwrap().to_owned()
    };
    assert_eq!(
        refused("inside", &[]),
        "spec.network: 192.0.2.128/26 overlaps 192.0.2.0/24 of the fleet, from which the host \
         would be cut off: use another network, or attach a guest (veth)"
    );
    assert_eq!(
        refused("web", &["10.1.0.0/16", "192.0.0.0/16"]),
        "spec.attachment: routes[1]: 192.0.0.0/16 overlaps 192.0.2.0/24 of the fleet, from which \
         the host would be cut off: leave it out"
    );
    assert_eq!(
        refused("web", &["10.0.7.0/24"]),
        "spec.attachment: routes[0]: 10.0.7.0/24 is in 10.0.0.0/16, the endpoint's own network, \
         which it reaches anyway: leave it out"
    );
    assert_eq!(
        refused("inside", &["fd00:2::/64"]),
        "spec.attachment: routes[0]: fd00:2::/64 is IPv6, and the network has no IPv6 prefix: \
         leave it out"
    );
    assert!(refused("web", &["0.0.0.0/0"]).contains("routes[0]: 0.0.0.0/0 is a default route"));
    let wider = with("web", &["10.0.0.0/8", "fd00:2::/64"]);
    assert!(apply(&mut catalog, &wider).is_some());
}

#[test]
fn a_tenant_s_endpoint_is_a_host_only_if_that_is_granted() {
    let tenant = |host_endpoints| {
        let spec = TenantSpec { host_endpoints, ..TenantSpec::default() };
        Manifest::Tenant(Object::new(metadata("acme"), spec))
    };
    let on_host = |host: &str| {
        endpoint("red/a", host, |spec| {
            spec.attachment = Attachment::Host { interface: "vpc0".into(), routes: Vec::new() };
        })
    };
    let mut catalog = example();
    apply(&mut catalog, &tenant(false));
    apply(&mut catalog, &vpc("red", |spec| spec.tenant = Some(name("acme"))));
    apply(&mut catalog, &network("red/web", |_| ()));
    apply(&mut catalog, &endpoint("red/a", "h1", |_| ()));
    let refused = |catalog: &mut Catalog, host: &str| {
        catalog.apply(&on_host(host), Mode::Apply, at(2)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&mut catalog, "h1"),
        "endpoint red/a: spec.attachment: interfaces of hosts are not granted to tenant acme: \
         attach a guest (veth), or set hostEndpoints in the tenant's grant"
    );
    apply(&mut catalog, &tenant(true));
    assert!(apply(&mut catalog, &on_host("h1")).is_some());
    apply(&mut catalog, &tenant(false));
    assert_eq!(apply(&mut catalog, &on_host("h1")), None, "it may stay as it is");
    assert!(refused(&mut catalog, "h2").contains("not granted"), "and not move");
}
