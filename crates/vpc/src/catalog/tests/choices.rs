//! What is chosen is not what was released just before.

use super::*;
use std::net::IpAddr;

/// Makes an endpoint of the network `small`, and says the last of its address.
fn give(catalog: &mut Catalog, number: u64) -> u16 {
    let manifest = endpoint(&format!("blue/e{number}"), "h1", |it| it.network = name("small"));
    let changed = catalog.apply(&manifest, Mode::Create, at(number)).unwrap().unwrap();
    let endpoint = changed.endpoint_after().unwrap();
    match endpoint.addresses().next().unwrap() {
        IpAddr::V4(v4) => v4.octets()[3].into(),
        IpAddr::V6(v6) => v6.segments()[7],
    }
}

fn give_back(catalog: &mut Catalog, number: u64) -> Changed {
    let reference = Ref::in_vpc(Kind::Endpoint, name("blue"), name(format!("e{number}")));
    catalog.delete(&reference, false, None).unwrap().remove(0)
}

fn small(v4: Option<&str>, v6: Option<&str>) -> Catalog {
    let mut catalog = example();
    let manifest = network("blue/small", |spec| {
        spec.v4 = v4.map(|it| it.parse().unwrap());
        spec.v6 = v6.map(|it| it.parse().unwrap());
    });
    apply(&mut catalog, &manifest);
    catalog
}

/// What there is of `small`, loaded anew with what was stored of its choices.
fn restart(catalog: &Catalog, stored: Option<(Chosen, Generation)>) -> Catalog {
    let mut new = Catalog::default();
    new.load(catalog.fleet().unwrap().clone().into());
    catalog.hosts().for_each(|host| new.load(host.record().clone().into()));
    for vpc in catalog.vpcs() {
        new.load(vpc.record().clone().into());
        for network in vpc.networks() {
            let record = network.record();
            new.load(record.clone().into());
            if let Some((chosen, at)) = stored.filter(|_| record.name == name("small")) {
                new.resume_addresses(record.vni, record.id, chosen, at);
            }
        }
        vpc.endpoints_after(None).for_each(|it| new.load(it.clone().into()));
    }
    new
}

fn chosen(catalog: &Catalog) -> Chosen {
    let blue = catalog.vpc_named(&name("blue")).unwrap();
    blue.network_named(&name("small")).unwrap().chosen()
}

#[test]
fn an_endpoint_that_moves_brings_back_no_address_that_was_released_since_it_came() {
    for (v4, v6) in [(Some("10.1.0.0/24"), None), (None, Some("fd00:1::/120"))] {
        let mut catalog = small(v4, v6);
        (2..=100).for_each(|number| assert_eq!(u64::from(give(&mut catalog, number)), number));
        give_back(&mut catalog, 50);
        let moved = endpoint("blue/e49", "h2", |it| it.network = name("small"));
        catalog.apply(&moved, Mode::Replace, at(101)).unwrap().unwrap();
        assert_eq!(give(&mut catalog, 102), 101);
    }
}

#[test]
fn once_around_an_address_that_was_released_still_comes_again_last() {
    for (v4, v6, all) in [(Some("10.1.0.0/28"), None, 2..=14), (None, Some("fd00:1::/124"), 2..=15)]
    {
        let mut catalog = small(v4, v6);
        for number in all.clone() {
            assert_eq!(u64::from(give(&mut catalog, number)), number);
        }
        for number in [9, 3, 5] {
            give_back(&mut catalog, number);
        }
        assert_eq!(give(&mut catalog, 20), 3);
        give_back(&mut catalog, 2);
        assert_eq!(give(&mut catalog, 21), 5, "2 was released later");
        assert_eq!(give(&mut catalog, 22), 9);
        assert_eq!(give(&mut catalog, 23), 2);
    }
}

#[test]
fn after_a_restart_choices_go_on_behind_what_was_stored_and_what_came_since() {
    for (v4, v6) in [(Some("10.1.0.0/28"), None), (None, Some("fd00:1::/124"))] {
        let mut catalog = small(v4, v6);
        (2..=12).for_each(|number| assert_eq!(u64::from(give(&mut catalog, number)), number));
        // The last one is gone, and so are the first ones.
        for number in [12, 2, 3, 4] {
            give_back(&mut catalog, number);
        }
        let stored = Some((chosen(&catalog), at(13)));
        assert_eq!(give(&mut restart(&catalog, stored), 14), 13);
        // Once around, all in one write: the last of them is none of the highest.
        let last = if v4.is_some() { 14 } else { 15 };
        for (number, address) in (20..).zip((13..=last).chain([2, 3])) {
            let it = endpoint(&format!("blue/e{number}"), "h1", |it| it.network = name("small"));
            catalog.apply(&it, Mode::Create, at(14)).unwrap();
            assert_eq!(chosen(&catalog).v4.max(chosen(&catalog).v6 as u32), address);
        }
        assert_eq!(chosen(&restart(&catalog, stored)), chosen(&catalog));
        // A store of before has nothing of it.
        let catalog = small(v4, v6);
        assert_eq!(chosen(&restart(&catalog, None)), Chosen::default());
    }
}

#[test]
fn what_is_undone_is_chosen_again() {
    let mut catalog = small(Some("10.1.0.0/24"), None);
    give(&mut catalog, 2);
    give(&mut catalog, 3);
    let before = (chosen(&catalog), catalog.last_vni());
    let manifest = endpoint("blue/x", "h1", |it| it.network = name("small"));
    let made = catalog.apply(&manifest, Mode::Create, at(4)).unwrap().unwrap();
    let red = catalog.apply(&vpc("red", |_| ()), Mode::Create, at(4)).unwrap().unwrap();
    let gone = catalog.delete(&Ref::global(Kind::Vpc, name("blue")), true, None).unwrap();
    for changed in [made, red].into_iter().chain(gone).rev() {
        catalog.undo(changed);
    }
    assert_eq!((chosen(&catalog), catalog.last_vni()), before);
}

#[test]
fn a_vni_that_was_released_comes_again_last() {
    let mut catalog = example();
    let vni = |catalog: &mut Catalog, path: &str, asked: Option<u32>| -> u32 {
        let asked = asked.map(|it| it.try_into().unwrap());
        apply(catalog, &vpc(path, |spec| spec.vni = asked));
        catalog.vpc_named(&name(path)).unwrap().record().vni.get()
    };
    let delete = |catalog: &mut Catalog, path: &str| {
        catalog.delete(&Ref::global(Kind::Vpc, name(path)), true, None).unwrap();
    };
    assert_eq!(vni(&mut catalog, "red", None), 2);
    delete(&mut catalog, "red");
    delete(&mut catalog, "blue");
    assert_eq!(vni(&mut catalog, "red", None), 3);
    // Who asks for one gets it, and it is passed over whether it is in use or was until just now.
    assert_eq!(vni(&mut catalog, "blue", Some(2)), 2);
    assert_eq!(vni(&mut catalog, "green", Some(4)), 4);
    assert_eq!(vni(&mut catalog, "gray", Some(6)), 6);
    assert_eq!(vni(&mut catalog, "pink", None), 5);
    delete(&mut catalog, "gray");
    assert_eq!(vni(&mut catalog, "gray", None), 7);
    // At the end it begins anew.
    catalog.resume_vnis(Vni::MAX);
    assert_eq!(vni(&mut catalog, "white", None), 1);
    assert_eq!(vni(&mut catalog, "black", None), 6);
}
