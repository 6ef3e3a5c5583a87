//! What is refused, each with its words: the resource, the field, its value, what would be right.

use super::*;
use crate::Attachment;
use crate::example::fleet;
use crate::manifest::{FleetSpec, HostSpec, TagsSpec};

/// How `manifest` is refused where there are h1 to h3, VPC `blue` with network `web` and endpoint
/// `a` at 10.0.0.2. Nothing changes.
fn refusal(manifest: &Manifest) -> String {
    let mut catalog = example();
    let before = contents(&catalog);
    let words = catalog.apply(manifest, Mode::Apply, at(2)).unwrap_err().to_string();
    assert_eq!(contents(&catalog), before);
    words
}

fn with_host(number: u8, underlay: &str) -> Manifest {
    host(number, |spec| spec.underlay = underlay.parse().unwrap())
}

fn with_prefixes(prefixes: &[&str]) -> Manifest {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Manifest::Fleet(Object::new(
        metadata("fleet"),
        FleetSpec { prefixes, tags: TagsSpec::default() },
    ))
}

fn with_prefix(v4: Option<&str>, v6: Option<&str>) -> Manifest {
    network("blue/db", |spec| {
        (spec.v4, spec.v6) = (v4.map(|it| it.parse().unwrap()), v6.map(|it| it.parse().unwrap()));
    })
}

fn with_gateway(v4: &str) -> Manifest {
    network("red/db", |spec| spec.v4_gateway = Some(v4.parse().unwrap()))
}

fn with_v4(v4: &str) -> Manifest {
    endpoint("blue/b", "h1", |spec| spec.v4 = Some(v4.parse().unwrap()))
}

fn with_v6(v6: &str) -> Manifest {
    endpoint("blue/b", "h1", |spec| spec.v6 = Some(v6.parse().unwrap()))
}

fn with_dividers(dividers: RoleSpec) -> Manifest {
    vpc("red", |spec| spec.dividers = dividers)
}

fn hosts(names: &[&str]) -> RoleSpec {
    RoleSpec::Hosts(names.iter().map(name).collect())
}

#[track_caller]
fn check(cases: &[(Manifest, &str)]) {
    for (manifest, words) in cases {
        assert_eq!(refusal(manifest), *words);
    }
}

#[test]
fn prefixes_that_overlap_are_of_no_use_to_guests_or_too_long_or_short() {
    let overlap = "prefixes of one VPC must not overlap";
    check(&[
        (
            with_prefix(Some("10.0.7.0/24"), None),
            &format!(
                "network blue/db: spec.v4: 10.0.7.0/24 overlaps 10.0.0.0/16 of network blue/web: \
                 {overlap}"
            ),
        ),
        (
            with_prefix(Some("10.0.0.0/8"), None),
            &format!(
                "network blue/db: spec.v4: 10.0.0.0/8 overlaps 10.0.0.0/16 of network blue/web: \
                 {overlap}"
            ),
        ),
        (
            with_prefix(None, Some("fd00::/48")),
            &format!(
                "network blue/db: spec.v6: fd00::/48 overlaps fd00::/64 of network blue/web: \
                 {overlap}"
            ),
        ),
        (
            with_prefix(None, None),
            "network blue/db: spec.v4: there is no prefix: give an IPv4 prefix (v4), an IPv6 \
             prefix (v6), or both",
        ),
        (
            with_prefix(Some("10.1.0.1/16"), None),
            "network blue/db: spec.v4: 10.1.0.1/16 has bits set behind its length: write \
             10.1.0.0/16",
        ),
        (
            with_prefix(Some("10.1.0.0/31"), None),
            "network blue/db: spec.v4: 10.1.0.0/31 has a length out of range: it must be from /8 \
             to /30",
        ),
        (
            with_prefix(Some("16.0.0.0/7"), None),
            "network blue/db: spec.v4: 16.0.0.0/7 has a length out of range: it must be from /8 \
             to /30",
        ),
        (
            with_prefix(None, Some("fd00:1::/127")),
            "network blue/db: spec.v6: fd00:1::/127 has a length out of range: it must be from \
             /16 to /126",
        ),
        (
            with_prefix(Some("169.254.1.0/24"), None),
            "network blue/db: spec.v4: 169.254.1.0/24 overlaps 169.254.0.0/16, which is not for \
             guests: choose another",
        ),
    ]);
    for prefix in ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/8", "255.0.0.0/8"] {
        assert!(refusal(&with_prefix(Some(prefix), None)).contains("not for guests"), "{prefix}");
    }
    for prefix in ["::ffff:0:0/96", "fe80::/64", "ff02::/16"] {
        assert!(refusal(&with_prefix(None, Some(prefix))).contains("not for guests"), "{prefix}");
    }
}

#[test]
fn gateways_outside_of_their_network_or_at_an_end_of_it() {
    let mut catalog = example();
    apply(&mut catalog, &vpc("red", |_| ()));
    let mut refusal = |v4: &str| {
        let refused = catalog.apply(&with_gateway(v4), Mode::Apply, at(2)).unwrap_err();
        refused.to_string()
    };
    let field = "network red/db: spec.v4Gateway";
    let open = "choose another, or leave it out";
    assert_eq!(
        refusal("10.1.0.1"),
        format!("{field}: 10.1.0.1 is outside of 10.0.0.0/16: choose one inside, or leave it out")
    );
    assert_eq!(
        refusal("10.0.0.0"),
        format!("{field}: 10.0.0.0 is the network address of 10.0.0.0/16: {open}")
    );
    assert_eq!(
        refusal("10.0.255.255"),
        format!("{field}: 10.0.255.255 is the broadcast address of 10.0.0.0/16: {open}")
    );
    let no_v4 = network("red/db", |spec| {
        (spec.v4, spec.v4_gateway) = (None, "10.0.0.1".parse().ok());
    });
    assert_eq!(
        catalog.apply(&no_v4, Mode::Apply, at(2)).unwrap_err().to_string(),
        format!("{field}: 10.0.0.1 is IPv4, and the network has no IPv4 prefix: leave it out")
    );
}

#[test]
fn addresses_that_are_taken_reserved_or_outside_of_their_network() {
    let open = "choose another, or leave it out";
    check(&[
        (
            with_v4("10.1.0.1"),
            "endpoint blue/b: spec.v4: 10.1.0.1 is outside of 10.0.0.0/16: choose one inside, or \
             leave it out",
        ),
        (
            with_v4("10.0.0.0"),
            &format!(
                "endpoint blue/b: spec.v4: 10.0.0.0 is the network address of 10.0.0.0/16: {open}"
            ),
        ),
        (
            with_v4("10.0.255.255"),
            &format!(
                "endpoint blue/b: spec.v4: 10.0.255.255 is the broadcast address of 10.0.0.0/16: \
                 {open}"
            ),
        ),
        (
            with_v4("10.0.0.1"),
            &format!("endpoint blue/b: spec.v4: 10.0.0.1 is the gateway of 10.0.0.0/16: {open}"),
        ),
        (
            with_v6("fd00::1"),
            &format!("endpoint blue/b: spec.v6: fd00::1 is the gateway of fd00::/64: {open}"),
        ),
        (
            with_v4("10.0.0.2"),
            "endpoint blue/b: spec.v4: 10.0.0.2 is already used by endpoint blue/a: choose another",
        ),
        (
            endpoint("blue/b", "h1", |spec| spec.mac = "02:c1:0a:00:00:02".parse().ok()),
            "endpoint blue/b: spec.mac: 02:c1:0a:00:00:02 is already used by endpoint blue/a: \
             choose another",
        ),
        (
            vpc("red", |spec| spec.vni = Some(Vni::MIN)),
            "vpc red: spec.vni: VNI 1 is already used by vpc blue: choose another",
        ),
        (
            with_host(4, "192.0.2.1"),
            "host h4: spec.underlay: 192.0.2.1 is already used by host h1: choose another",
        ),
    ]);
    let v6 = example().vpc_named(&name("blue")).unwrap().endpoint_named(&name("a")).unwrap().1.v6;
    let v6 = v6.unwrap().to_string();
    assert_eq!(
        refusal(&with_v6(&v6)),
        format!(
            "endpoint blue/b: spec.v6: {v6} is already used by endpoint blue/a: choose another"
        )
    );
}

#[test]
fn networks_that_are_full_or_have_no_room_in_a_slot() {
    let mut catalog = example();
    let small = |spec: &mut NetworkSpec| {
        (spec.v4, spec.v6) = ("10.1.0.0/30".parse().ok(), None);
    };
    apply(&mut catalog, &network("blue/small", small));
    let one = |path: &str| endpoint(path, "h1", |spec| spec.network = name("small"));
    apply(&mut catalog, &one("blue/s"));
    assert_eq!(
        catalog.apply(&one("blue/t"), Mode::Apply, at(2)).unwrap_err().to_string(),
        "endpoint blue/t: spec.v4: no address of 10.1.0.0/30 is free: remove an endpoint, or use \
         another network"
    );
    let narrow = |spec: &mut NetworkSpec| {
        (spec.v4, spec.v6) = ("10.2.0.0/16".parse().ok(), "fd02::/126".parse().ok());
    };
    apply(&mut catalog, &network("blue/narrow", narrow));
    let one = endpoint("blue/n", "h1", |spec| spec.network = name("narrow"));
    assert_eq!(
        catalog.apply(&one, Mode::Apply, at(2)).unwrap_err().to_string(),
        "endpoint blue/n: spec.v6: no address of fd02::/126 is free in the slot of 10.2.0.2: use \
         a prefix of /96 or shorter, or choose an address"
    );
}

#[test]
fn references_to_what_does_not_exist() {
    check(&[
        (
            endpoint("blue/b", "h9", |_| ()),
            "endpoint blue/b: spec.host: there is no host h9: name one that exists",
        ),
        (
            endpoint("blue/b", "h1", |spec| spec.network = name("db")),
            "endpoint blue/b: spec.network: there is no network db: name one that exists",
        ),
        (
            endpoint("red/b", "h1", |_| ()),
            "endpoint red/b: metadata.vpc: there is no VPC red: name one that exists",
        ),
        (
            network("red/web", |_| ()),
            "network red/web: metadata.vpc: there is no VPC red: name one that exists",
        ),
        (
            endpoint("b", "h1", |_| ()),
            "endpoint b: metadata.vpc: resources of kind Endpoint are in a VPC: name it",
        ),
        (
            vpc("blue/red", |_| ()),
            "vpc blue/red: metadata.vpc: resources of kind Vpc are in no VPC: leave it out",
        ),
        (
            vpc("red", |spec| spec.tenant = Some(name("acme"))),
            "vpc red: spec.tenant: there is no tenant acme: name one that exists",
        ),
        (
            with_dividers(hosts(&["h1", "h9"])),
            "vpc red: spec.dividers.hosts[1]: there is no host h9: name one that exists",
        ),
        (
            network("blue/web", |spec| spec.bouncers = hosts(&["h9"])),
            "network blue/web: spec.bouncers.hosts[0]: there is no host h9: name one that exists",
        ),
    ]);
}

#[test]
fn roles_of_too_few_or_too_many_or_of_a_host_twice() {
    let nine: Vec<_> = (1..10).map(|number| format!("h{number}")).collect();
    let nine: Vec<_> = nine.iter().map(String::as_str).collect();
    check(&[
        (
            with_dividers(hosts(&[])),
            "vpc red: spec.dividers.hosts: the list has 0 entries: it must have from 1 to 8",
        ),
        (
            with_dividers(hosts(&nine)),
            "vpc red: spec.dividers.hosts: the list has 9 entries: it must have from 1 to 8",
        ),
        (
            with_dividers(RoleSpec::Count(0)),
            "vpc red: spec.dividers.count: the list has 0 entries: it must have from 1 to 8",
        ),
        (
            with_dividers(hosts(&["h1", "h1"])),
            "vpc red: spec.dividers.hosts[1]: h1 is already used by spec.dividers.hosts: choose \
             another",
        ),
    ]);
}

#[test]
fn changes_of_fields_that_cannot_change() {
    let anew = "and this cannot change: delete it and create it anew";
    let cases = [
        (
            network("blue/web", |spec| spec.v4 = "10.9.0.0/16".parse().ok()),
            "network blue/web: \
         spec.v4: 10.9.0.0/16 is another than 10.0.0.0/16",
        ),
        (
            network("blue/web", |spec| spec.v6 = None),
            "network blue/web: spec.v6: none is another \
         than fd00::/64",
        ),
        (
            network("blue/web", |spec| spec.v4_gateway = "10.0.0.9".parse().ok()),
            "network \
         blue/web: spec.v4Gateway: 10.0.0.9 is another than 10.0.0.1",
        ),
        (
            network("blue/web", |spec| spec.v6_gateway = "fd00::9".parse().ok()),
            "network blue/web: \
         spec.v6Gateway: fd00::9 is another than fd00::1",
        ),
        (
            vpc("blue", |spec| spec.vni = "7".parse().ok()),
            "vpc blue: spec.vni: 7 is another than \
         1",
        ),
        (with_host(1, "192.0.2.9"), "host h1: spec.underlay: 192.0.2.9 is another than 192.0.2.1"),
        (
            endpoint("blue/a", "h1", |spec| spec.v4 = "10.0.0.9".parse().ok()),
            "endpoint blue/a: \
         spec.v4: 10.0.0.9 is another than 10.0.0.2",
        ),
        (
            endpoint("blue/a", "h1", |spec| spec.mac = "02:00:00:00:00:09".parse().ok()),
            "endpoint \
         blue/a: spec.mac: 02:00:00:00:00:09 is another than 02:c1:0a:00:00:02",
        ),
    ];
    for (manifest, words) in cases {
        assert_eq!(refusal(&manifest), format!("{words}, {anew}"));
    }
    let mut catalog = example();
    apply(&mut catalog, &Manifest::Tenant(Object::new(metadata("acme"), TenantSpec::default())));
    apply(
        &mut catalog,
        &network("blue/db", |spec| {
            (spec.v4, spec.v6) = ("10.1.0.0/16".parse().ok(), None);
        }),
    );
    let mut words =
        |manifest| catalog.apply(&manifest, Mode::Apply, at(2)).unwrap_err().to_string();
    assert_eq!(
        words(vpc("blue", |spec| spec.tenant = Some(name("acme")))),
        format!("vpc blue: spec.tenant: acme is another than none, {anew}")
    );
    assert_eq!(
        words(endpoint("blue/a", "h1", |spec| spec.network = name("db"))),
        format!("endpoint blue/a: spec.network: db is another than web, {anew}")
    );
}

#[test]
fn fleets_and_hosts_that_do_not_fit() {
    check(&[
        (
            with_prefixes(&[]),
            "fleet fleet: spec.prefixes: the list has 0 entries: it must have from 1 to 8",
        ),
        (
            with_prefixes(&["192.0.2.0/24", "198.51.100.1/24"]),
            "fleet fleet: spec.prefixes[1]: 198.51.100.1/24 has bits set behind its length: write \
             198.51.100.0/24",
        ),
        (
            with_prefixes(&["198.51.100.0/24"]),
            "fleet fleet: spec.prefixes: 192.0.2.1 of host h1 would be in no prefix of the fleet: \
             keep its prefix",
        ),
        (
            with_host(4, "198.51.100.1"),
            "host h4: spec.underlay: 198.51.100.1 is in no prefix of the fleet: choose one that \
             is, or add its prefix to the fleet",
        ),
    ]);
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1"] {
        let words = refusal(&with_host(4, address));
        let start = format!("host h4: spec.underlay: {address} is no unicast address");
        assert!(words.starts_with(&start), "{words}");
    }
    let words = |manifest: &Manifest| {
        Catalog::default().apply(manifest, Mode::Apply, at(1)).unwrap_err().to_string()
    };
    assert_eq!(
        words(&host(1, |_| ())),
        "host h1: spec.underlay: the fleet has no prefixes yet: create the Fleet named fleet first"
    );
    let Manifest::Fleet(mut other) = fleet() else { panic!("no fleet") };
    other.metadata = metadata("other");
    assert_eq!(
        words(&Manifest::Fleet(other)),
        "fleet other: metadata.name: other is another than fleet, and this cannot change: delete \
         it and create it anew"
    );
}

#[test]
fn cordoned_hosts_take_no_endpoints_and_attachments_must_be_possible() {
    let mut catalog = example();
    apply(&mut catalog, &host(1, |spec: &mut HostSpec| spec.cordoned = true));
    let refused = catalog.apply(&endpoint("blue/b", "h1", |_| ()), Mode::Apply, at(2));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "endpoint blue/b: spec.host: host h1 is cordoned: choose another, or uncordon it"
    );
    assert_eq!(apply(&mut catalog, &endpoint("blue/a", "h1", |_| ())), None, "it may stay");
    let relative = endpoint("blue/b", "h2", |spec| {
        spec.attachment = Attachment::Veth { netns: "netns/b".into(), interface: "eth0".into() };
    });
    assert_eq!(
        refusal(&relative),
        "endpoint blue/b: spec.attachment: netns \"netns/b\" is no absolute path: it must be one, \
         as in /run/netns/guest"
    );
}

#[test]
fn deletions_of_what_is_used_or_not_there() {
    let refusal = |kind, path: &str| {
        let metadata = metadata(path);
        let reference = Ref { kind, vpc: metadata.vpc, name: metadata.name };
        example().delete(&reference, false, None).unwrap_err().to_string()
    };
    let how = "delete them first, or with it (cascade)";
    assert_eq!(
        refusal(Kind::Vpc, "blue"),
        format!("vpc blue is used by endpoint blue/a, network blue/web: {how}")
    );
    assert_eq!(
        refusal(Kind::Network, "blue/web"),
        format!("network blue/web is used by endpoint blue/a: {how}")
    );
    assert_eq!(refusal(Kind::Host, "h1"), format!("host h1 is used by endpoint blue/a: {how}"));
    assert_eq!(
        refusal(Kind::Fleet, "fleet"),
        format!("fleet fleet is used by host h1, host h2, host h3: {how}")
    );
    assert_eq!(refusal(Kind::Endpoint, "blue/b"), "there is no endpoint blue/b");
    assert_eq!(refusal(Kind::Endpoint, "red/a"), "there is no endpoint red/a");
    assert_eq!(
        refusal(Kind::SlotMap, "blue/web"),
        "slotmap blue/web is written by the planner only: change its network's bouncers instead"
    );
}

#[test]
fn names_and_versions_that_somebody_else_has() {
    let mut catalog = example();
    let old = endpoint("blue/a", "h1", |_| ());
    assert_eq!(
        catalog.apply(&old, Mode::Create, at(2)).unwrap_err().to_string(),
        "endpoint blue/a exists already: change it, or choose another name"
    );
    assert_eq!(
        catalog
            .apply(&endpoint("blue/b", "h1", |_| ()), Mode::Replace, at(2))
            .unwrap_err()
            .to_string(),
        "there is no endpoint blue/b"
    );
    let mut seen = endpoint("blue/a", "h2", |_| ());
    seen.metadata_mut().resource_version = Some(at(1));
    catalog.apply(&seen, Mode::Replace, at(2)).unwrap();
    assert_eq!(
        catalog.apply(&seen, Mode::Replace, at(3)).unwrap_err().to_string(),
        "endpoint blue/a was written at 1.2 since it was read at 1.1: read it again and repeat the \
         change"
    );
}
