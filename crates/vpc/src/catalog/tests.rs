use super::*;
use crate::example::{apply, at, endpoint, host, metadata, name, network, vpc};
use crate::manifest::{EndpointSpec, NetworkSpec, Object, RoleSpec, TenantSpec};
use crate::{Manifest, example};
use proptest::prelude::*;

mod addresses;
mod attachments;
mod choices;
mod refusals;

/// Three hosts, a VPC `blue` with a network `web` and an endpoint `a`.
fn example() -> Catalog {
    let mut catalog = example::catalog(3);
    apply(&mut catalog, &endpoint("blue/a", "h1", |_| ()));
    catalog
}

#[test]
fn what_is_left_open_is_chosen_and_kept() {
    let mut catalog = example();
    let a = catalog.vpc_named(&name("blue")).unwrap().endpoint_named(&name("a")).unwrap().1.clone();
    assert_eq!(a.v4.unwrap().to_string(), "10.0.0.2", "the first is the gateway's");
    assert_eq!(Slot::of(a.v4.unwrap()), Slot::of(a.v6.unwrap()));
    assert_eq!(apply(&mut catalog, &endpoint("blue/a", "h1", |_| ())), None);
    let moved = apply(&mut catalog, &endpoint("blue/a", "h2", |_| ())).unwrap();
    let b = moved.endpoint_after().unwrap();
    assert_eq!((b.v4, b.v6, b.mac), (a.v4, a.v6, a.mac));
    assert_eq!(catalog.host(&name("h1")).unwrap().endpoint_count(), 0);
    assert_eq!(catalog.host(&name("h2")).unwrap().endpoint_count(), 1);
}

#[test]
fn a_manifest_that_was_read_changes_nothing_when_it_is_written_again() {
    let mut catalog = example();
    for reference in ["fleet", "h1"].map(name) {
        let kind = if reference.as_str() == "fleet" { Kind::Fleet } else { Kind::Host };
        let record = catalog.record(&Ref::global(kind, reference)).unwrap();
        let manifest = catalog.manifest(&record).unwrap();
        assert_eq!(apply(&mut catalog, &manifest), None);
    }
    let a = Ref::in_vpc(Kind::Endpoint, name("blue"), name("a"));
    let manifest = catalog.manifest(&catalog.record(&a).unwrap()).unwrap();
    assert_eq!(apply(&mut catalog, &manifest), None);
}

#[test]
fn modes_tell_new_from_old() {
    let mut catalog = example();
    let old = endpoint("blue/a", "h1", |_| ());
    let new = endpoint("blue/b", "h1", |_| ());
    assert!(matches!(catalog.apply(&old, Mode::Create, at(2)), Err(Refused::Exists(_))));
    assert!(matches!(catalog.apply(&new, Mode::Replace, at(2)), Err(Refused::NotFound(_))));
}

#[test]
fn a_full_network_takes_no_more_and_gives_what_is_released() {
    let mut catalog = example();
    let small = |spec: &mut NetworkSpec| {
        spec.v4 = "10.1.0.0/29".parse().ok();
        spec.v6 = None;
    };
    apply(&mut catalog, &network("blue/small", small));
    let one = |path: &str| endpoint(path, "h1", |spec| spec.network = name("small"));
    for number in 0..5 {
        apply(&mut catalog, &one(&format!("blue/s{number}"))).unwrap();
    }
    let full = catalog.apply(&one("blue/s5"), Mode::Create, at(2)).unwrap_err();
    assert!(full.to_string().contains("no address of 10.1.0.0/29 is free"), "{full}");
    let s3 = Ref::in_vpc(Kind::Endpoint, name("blue"), name("s3"));
    catalog.delete(&s3, false, None).unwrap();
    let changed = apply(&mut catalog, &one("blue/s5")).unwrap();
    assert_eq!(changed.endpoint_after().unwrap().v4.unwrap().to_string(), "10.1.0.5");
}

#[test]
fn what_is_used_is_deleted_with_its_users_or_not_at_all() {
    let mut catalog = example();
    let blue = Ref::global(Kind::Vpc, name("blue"));
    assert_eq!(
        catalog.delete(&blue, false, None).unwrap_err().to_string(),
        "vpc blue is used by endpoint blue/a, network blue/web: delete them first, or with it \
         (cascade)"
    );
    let gone = catalog.delete(&blue, true, None).unwrap();
    assert_eq!(gone.len(), 3);
    assert!(catalog.vpcs().next().is_none());
    assert_eq!(catalog.endpoint_count(), 0);
    for changed in gone.into_iter().rev() {
        catalog.undo(changed);
    }
    assert_eq!(catalog.endpoint_count(), 1);
    assert_eq!(catalog.host(&name("h1")).unwrap().endpoint_count(), 1);
}

#[test]
fn a_host_with_a_role_is_not_deleted() {
    let mut catalog = example();
    let role = |spec: &mut NetworkSpec| spec.bouncers = RoleSpec::Hosts(vec![name("h3")]);
    apply(&mut catalog, &network("blue/web", role));
    let h3 = Ref::global(Kind::Host, name("h3"));
    let refused = catalog.delete(&h3, true, None).unwrap_err();
    assert!(
        matches!(&refused, Refused::InUse { by, .. } if by[0].to_string() == "network blue/web")
    );
    apply(&mut catalog, &network("blue/web", |_| ()));
    catalog.delete(&h3, false, None).unwrap();
}

#[test]
fn a_tenant_has_what_it_was_granted() {
    let mut catalog = example();
    let (hosts, max_endpoints) = ("pool=acme".parse().unwrap(), Some(1));
    let tenant = TenantSpec { hosts, max_endpoints, ..TenantSpec::default() };
    apply(&mut catalog, &Manifest::Tenant(Object::new(metadata("acme"), tenant)));
    let mut granted = host(2, |_| ());
    granted.metadata_mut().labels = serde_json::from_str(r#"{"pool": "acme"}"#).unwrap();
    apply(&mut catalog, &granted);
    apply(&mut catalog, &vpc("red", |spec| spec.tenant = Some(name("acme"))));
    apply(&mut catalog, &network("red/web", |_| ()));
    let refusal = |catalog: &mut Catalog, path: &str, host: &str| {
        let manifest = endpoint(path, host, |_| ());
        catalog.apply(&manifest, Mode::Apply, at(2)).unwrap_err().to_string()
    };
    assert!(refusal(&mut catalog, "red/a", "h1").contains("h1 is not granted to tenant acme"));
    apply(&mut catalog, &endpoint("red/a", "h2", |_| ()));
    assert!(refusal(&mut catalog, "red/b", "h2").contains("has all of the 1 endpoints"));
}

/// One random operation on few names and hosts.
#[derive(Clone, Debug)]
enum Operation {
    Put(u8, u8, Option<u8>),
    Delete(u8),
    Network(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..12u8, 1..4u8, proptest::option::of(0..16u8))
            .prop_map(|(name, host, v4)| Operation::Put(name, host, v4)),
        4 => (0..12u8).prop_map(Operation::Delete),
        1 => any::<bool>().prop_map(Operation::Network),
    ]
}

fn perform(catalog: &mut Catalog, operation: &Operation, revision: u64) -> Vec<Changed> {
    let reference = |kind, text: &str| Ref::in_vpc(kind, name("blue"), name(text));
    match operation {
        Operation::Put(number, host, v4) => {
            let v4 = v4.map(|last| std::net::Ipv4Addr::new(10, 1, 0, last));
            let manifest = endpoint(&format!("blue/e{number}"), &format!("h{host}"), |spec| {
                spec.network = name("small");
                spec.v4 = v4;
            });
            let changed = catalog.apply(&manifest, Mode::Apply, at(revision));
            changed.ok().flatten().into_iter().collect()
        }
        Operation::Delete(number) => {
            let endpoint = reference(Kind::Endpoint, &format!("e{number}"));
            catalog.delete(&endpoint, false, None).unwrap_or_default()
        }
        Operation::Network(true) => {
            let small = |spec: &mut NetworkSpec| spec.v4 = "10.1.0.0/28".parse().ok();
            let manifest = network("blue/small", |spec| {
                small(spec);
                spec.v6 = None;
            });
            let changed = catalog.apply(&manifest, Mode::Apply, at(revision));
            changed.ok().flatten().into_iter().collect()
        }
        Operation::Network(false) => {
            catalog.delete(&reference(Kind::Network, "small"), true, None).unwrap_or_default()
        }
    }
}

/// Everything that can be seen of a catalog.
fn contents(catalog: &Catalog) -> Vec<String> {
    let mut all = Vec::new();
    for host in catalog.hosts() {
        let endpoints: Vec<_> = host
            .vpcs()
            .flat_map(|vni| {
                let vpc = catalog.vpc(vni).unwrap();
                host.endpoints(vni).map(|id| vpc.endpoint(id).unwrap().name.to_string())
            })
            .collect();
        let mut endpoints = endpoints;
        endpoints.sort();
        all.push(format!("{:?} {endpoints:?}", host.record()));
    }
    for vpc in catalog.vpcs() {
        all.push(format!("{:?} {}", vpc.record(), vpc.endpoint_count()));
        for network in vpc.networks() {
            let of_slot = |slot| {
                let ids = network.slot(slot).filter_map(|id| vpc.endpoint(id));
                let mut names: Vec<_> = ids.map(|it| it.name.to_string()).collect();
                names.sort();
                names
            };
            let slots: Vec<_> = Slot::all().map(of_slot).collect();
            all.push(format!("{:?} {} {slots:?}", network.record(), network.endpoint_count()));
        }
        all.extend(vpc.endpoints_after(None).map(|it| format!("{it:?}")));
    }
    all
}

proptest! {
    #[test]
    fn no_address_is_used_twice_or_lost_and_everything_can_be_undone(
        operations in proptest::collection::vec(operation(), 0..60)
    ) {
        let mut catalog = example();
        for (revision, operation) in (2..).zip(&operations) {
            let before = contents(&catalog);
            let changes = perform(&mut catalog, operation, revision);
            let after = contents(&catalog);
            for changed in changes.iter().rev() {
                catalog.undo(changed.clone());
            }
            prop_assert_eq!(contents(&catalog), before);
            for changed in changes {
                match changed.after {
                    Some(record) => drop(catalog.put(record)),
                    None => drop(catalog.take(&changed.reference)),
                }
            }
            prop_assert_eq!(contents(&catalog), after);
            let vpc = catalog.vpc_named(&name("blue")).unwrap();
            let mut used = BTreeSet::new();
            for endpoint in vpc.endpoints_after(None) {
                for address in endpoint.addresses() {
                    prop_assert!(used.insert(address), "{} twice", address);
                    prop_assert_eq!(&vpc.endpoint_at(address).unwrap().name, &endpoint.name);
                }
                prop_assert_eq!(&vpc.endpoint_with(endpoint.mac).unwrap().name, &endpoint.name);
            }
        }
        // What is free can be had: the network's 13 addresses, all of them.
        perform(&mut catalog, &Operation::Network(true), 100);
        for number in 0..12 {
            perform(&mut catalog, &Operation::Delete(number), 101);
        }
        let small = |it: &mut EndpointSpec| it.network = name("small");
        let one = |number: u8| endpoint(&format!("blue/f{number}"), "h1", small);
        for number in 0..13 {
            apply(&mut catalog, &one(number)).unwrap();
        }
        prop_assert!(catalog.apply(&one(13), Mode::Apply, at(102)).is_err());
    }
}
