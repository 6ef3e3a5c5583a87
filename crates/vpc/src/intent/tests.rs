//! What is admitted, what is refused and with which words, and what is chosen.

use super::*;
use crate::{Problem, Slot, strategy};
use proptest::prelude::*;
use std::net::IpAddr;

/// The words with which the example is refused after `change`.
fn refusal(change: impl FnOnce(&mut Resources)) -> String {
    let mut resources = strategy::example();
    change(&mut resources);
    Intent::build(&resources, strategy::first()).unwrap_err().to_string()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A second network of the example's VPC.
fn network(id: &str, v4: &str, resources: &Resources) -> NetworkSpec {
    let bouncers = resources.networks[0].bouncers.clone();
    let template = resources.networks[0].clone();
    NetworkSpec { name: name(id), v4: v4.parse().ok(), v6: None, bouncers, ..template }
}

proptest! {
    #[test]
    fn automatic_addresses_are_unique_inside_their_network_and_share_one_slot(
        intent in strategy::intent()
    ) {
        for vpc in intent.vpcs() {
            let mut used = std::collections::BTreeSet::<IpAddr>::new();
            let mut macs = std::collections::BTreeSet::new();
            for endpoint in vpc.endpoints() {
                let network = vpc.network_of(endpoint);
                prop_assert_eq!(endpoint.v4.is_some(), network.v4.is_some());
                prop_assert_eq!(endpoint.v6.is_some(), network.v6.is_some());
                prop_assert!(endpoint.addresses().all(|address| used.insert(address)));
                prop_assert!(macs.insert(endpoint.mac));
                prop_assert!(endpoint.v4.is_none_or(|v4| network.v4.unwrap().contains(&v4)));
                prop_assert!(endpoint.v6.is_none_or(|v6| network.v6.unwrap().contains(&v6)));
                prop_assert!(endpoint.v4 != network.v4_gateway || endpoint.v4.is_none());
                prop_assert!(endpoint.v6 != network.v6_gateway || endpoint.v6.is_none());
                if let (Some(v4), Some(v6)) = (endpoint.v4, endpoint.v6) {
                    prop_assert_eq!(Slot::of(v4), Slot::of(v6));
                }
            }
        }
    }

    #[test]
    fn an_intent_is_built_again_from_its_own_resources(intent in strategy::intent()) {
        let later = strategy::first().next().unwrap();
        prop_assert_eq!(Intent::build(&intent.resources(), later).unwrap(), intent);
    }
}

#[test]
fn what_is_left_open_is_chosen() {
    let intent = Intent::build(&strategy::example(), strategy::first()).unwrap();
    let blue = intent.vpc(&name("blue")).unwrap();
    assert_eq!(blue.vpc().vni.get(), 1);
    let web = blue.network(&name("web")).unwrap();
    assert_eq!(web.id.get(), 1);
    assert_eq!(web.v4_gateway.unwrap().to_string(), "10.0.0.1");
    assert_eq!(web.v6_gateway.unwrap().to_string(), "fd00::1");
    let a = blue.endpoint(&name("a")).unwrap();
    assert_eq!(a.v4.unwrap().to_string(), "10.0.0.2");
    assert_eq!(a.mac.octets()[2..], [10, 0, 0, 2]);
    assert_eq!(a.generation, strategy::first());
}

#[test]
fn what_was_chosen_stays_when_something_is_added() {
    let before = Intent::build(&strategy::example(), strategy::first()).unwrap();
    let mut resources = before.resources();
    let mut c = strategy::example_endpoint("c", "h2");
    c.v4 = "10.0.0.4".parse().ok();
    resources.endpoints.insert(0, c);
    resources.endpoints.insert(0, strategy::example_endpoint("d", "h3"));
    let later = strategy::first().next().unwrap();
    let after = Intent::build(&resources, later).unwrap();
    let blue = |intent: &Intent, endpoint| {
        intent.vpc(&name("blue")).unwrap().endpoint(&name(endpoint)).unwrap().clone()
    };
    assert_eq!(blue(&after, "a"), blue(&before, "a"));
    assert_eq!(blue(&after, "d").v4.unwrap().to_string(), "10.0.0.5");
    assert_eq!(blue(&after, "d").generation, later);
}

#[test]
fn vpcs_may_use_the_same_addresses() {
    let mut resources = strategy::example();
    let mut red = resources.clone();
    red.vpcs[0].name = name("red");
    red.networks[0].vpc = name("red");
    for endpoint in &mut red.endpoints {
        endpoint.vpc = name("red");
        endpoint.attachment = crate::Attachment::Veth {
            netns: format!("/run/netns/red-{}", endpoint.name).into(),
            interface: "eth0".to_owned(),
        };
    }
    resources.vpcs.extend(red.vpcs);
    resources.networks.extend(red.networks);
    resources.endpoints.extend(red.endpoints);
    let intent = Intent::build(&resources, strategy::first()).unwrap();
    let [blue, red] = ["blue", "red"].map(|vpc| intent.vpc(&name(vpc)).unwrap());
    assert_eq!(blue.endpoint(&name("a")).unwrap().v4, red.endpoint(&name("a")).unwrap().v4);
    assert_ne!(blue.vpc().vni, red.vpc().vni);
}

#[test]
fn hosts_are_refused_by_field() {
    assert_eq!(
        refusal(|r| r.hosts[1].underlay = r.hosts[0].underlay),
        "hosts[h2].underlay: 192.0.2.1 is already used by hosts[h1]: choose another"
    );
    assert_eq!(
        refusal(|r| r.hosts[1].name = r.hosts[0].name.clone()),
        "hosts[h1].name: h1 is already used by hosts[h1]: choose another"
    );
    assert_eq!(
        refusal(|r| r.hosts[1].underlay = "198.51.100.1".parse().unwrap()),
        "hosts[h2].underlay: 198.51.100.1 is in no prefix of the fleet: choose one that is, or add \
         its prefix to the fleet"
    );
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1"] {
        let words = refusal(|r| r.hosts[0].underlay = address.parse().unwrap());
        assert!(words.starts_with(&format!("hosts[h1].underlay: {address} is no unicast")));
    }
    assert_eq!(
        refusal(|r| r.fleet.clear()),
        "fleet: the list has 0 entries: it must have from 1 to 8"
    );
    assert_eq!(
        refusal(|r| r.fleet[0] = "192.0.2.1/24".parse().unwrap()),
        "fleet[0]: 192.0.2.1/24 has bits set behind its length: write 192.0.2.0/24"
    );
}

#[test]
fn vpcs_are_refused_by_field() {
    let again = |r: &mut Resources| {
        r.vpcs[0].vni = "7".parse().ok();
        let red = VpcSpec { name: name("red"), ..r.vpcs[0].clone() };
        r.vpcs.push(red);
    };
    assert_eq!(
        refusal(again),
        "vpcs[red].vni: VNI 7 is already used by vpcs[blue]: choose another"
    );
    assert_eq!(
        refusal(|r| r.vpcs.push(r.vpcs[0].clone())),
        "vpcs[blue].name: blue is already used by vpcs[blue]: choose another"
    );
    assert_eq!(
        refusal(|r| r.vpcs[0].dividers = vec![name("h1"), name("h9")]),
        "vpcs[blue].dividers[1]: there is no host h9: name one that exists"
    );
    assert_eq!(
        refusal(|r| r.vpcs[0].dividers.clear()),
        "vpcs[blue].dividers: the list has 0 entries: it must have from 1 to 8"
    );
}

#[test]
fn networks_are_refused_by_field() {
    let with = |v4: &str| {
        let v4 = v4.to_owned();
        refusal(move |r| r.networks[0].v4 = v4.parse().ok())
    };
    assert_eq!(
        with("10.0.0.1/16"),
        "vpcs[blue].networks[web].v4: 10.0.0.1/16 has bits set behind its length: write 10.0.0.0/16"
    );
    assert_eq!(
        with("10.0.0.0/31"),
        "vpcs[blue].networks[web].v4: 10.0.0.0/31 has a length out of range: it must be from /8 to \
         /30"
    );
    assert_eq!(
        with("169.254.1.0/24"),
        "vpcs[blue].networks[web].v4: 169.254.1.0/24 overlaps 169.254.0.0/16, which is not for \
         guests: choose another"
    );
    for prefix in ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/8", "255.0.0.0/8"] {
        assert!(with(prefix).contains("not for guests"), "{prefix}");
    }
    for prefix in ["::ffff:0:0/96", "fe80::/64", "ff02::/16"] {
        let words = refusal(|r| r.networks[0].v6 = prefix.parse().ok());
        assert!(words.starts_with("vpcs[blue].networks[web].v6: "), "{words}");
        assert!(words.contains("not for guests"), "{words}");
    }
    assert!(refusal(|r| r.networks[0].v6 = "fd00::/127".parse().ok()).contains("/16 to /126"));
    assert_eq!(
        refusal(|r| r.networks.push(network("db", "10.0.7.0/24", r))),
        "vpcs[blue].networks[db].v4: 10.0.7.0/24 overlaps 10.0.0.0/16 of vpcs[blue].networks[web]: \
         prefixes of one VPC must not overlap"
    );
    assert_eq!(
        refusal(|r| r.networks.push(network("db", "none", r))),
        "vpcs[blue].networks[db].v4: there is no prefix: give an IPv4 prefix (v4), an IPv6 prefix \
         (v6), or both"
    );
    assert_eq!(
        refusal(|r| r.networks.push(network("web", "10.1.0.0/16", r))),
        "vpcs[blue].networks[web].name: web is already used by vpcs[blue].networks[web]: choose \
         another"
    );
    assert_eq!(
        refusal(|r| r.networks[0].vpc = name("red")),
        "vpcs[red].networks[web].vpc: there is no VPC red: name one that exists"
    );
    assert_eq!(
        refusal(|r| r.networks[0].bouncers.push(name("h1"))),
        "vpcs[blue].networks[web].bouncers[3]: h1 is already used by \
         vpcs[blue].networks[web].bouncers[0]: choose another"
    );
    let same_id = |r: &mut Resources| {
        r.networks[0].id = "5".parse().ok();
        r.networks.push(network("db", "10.1.0.0/16", r));
    };
    assert_eq!(
        refusal(same_id),
        "vpcs[blue].networks[db].id: network id 5 is already used by vpcs[blue].networks[web]: \
         choose another"
    );
}

#[test]
fn gateways_are_refused_by_field() {
    let with = |gateway: &str| {
        let gateway = gateway.to_owned();
        refusal(move |r| r.networks[0].v4_gateway = gateway.parse().ok())
    };
    assert_eq!(
        with("10.1.0.1"),
        "vpcs[blue].networks[web].v4_gateway: 10.1.0.1 is outside of 10.0.0.0/16: choose one \
         inside, or leave it out"
    );
    assert!(with("10.0.0.0").contains("is the network address of 10.0.0.0/16"));
    assert!(with("10.0.255.255").contains("is the broadcast address of 10.0.0.0/16"));
    let no_v4 = |r: &mut Resources| {
        r.networks[0].v4 = None;
        r.networks[0].v4_gateway = "10.0.0.1".parse().ok();
    };
    assert_eq!(
        refusal(no_v4),
        "vpcs[blue].networks[web].v4_gateway: 10.0.0.1 is IPv4, and the network has no IPv4 \
         prefix: leave it out"
    );
}

#[test]
fn endpoints_are_refused_by_field() {
    const A: &str = "vpcs[blue].networks[web].endpoints[a]";
    const B: &str = "vpcs[blue].networks[web].endpoints[b]";
    let v4 = |v4: &str| {
        let v4 = v4.parse().ok();
        refusal(move |r| r.endpoints[0].v4 = v4)
    };
    let inside = "choose another, or leave it out";
    assert_eq!(
        v4("10.1.0.5"),
        format!("{A}.v4: 10.1.0.5 is outside of 10.0.0.0/16: choose one inside, or leave it out")
    );
    assert_eq!(
        v4("10.0.0.0"),
        format!("{A}.v4: 10.0.0.0 is the network address of 10.0.0.0/16: {inside}")
    );
    assert_eq!(
        v4("10.0.255.255"),
        format!("{A}.v4: 10.0.255.255 is the broadcast address of 10.0.0.0/16: {inside}")
    );
    assert_eq!(v4("10.0.0.1"), format!("{A}.v4: 10.0.0.1 is the gateway of 10.0.0.0/16: {inside}"));
    let twice = |r: &mut Resources| {
        r.endpoints[0].v6 = "fd00::5".parse().ok();
        r.endpoints[1].v6 = r.endpoints[0].v6;
    };
    assert_eq!(refusal(twice), format!("{B}.v6: fd00::5 is already used by {A}: choose another"));
    let mac = |r: &mut Resources| {
        r.endpoints[0].mac = "02:00:00:00:00:05".parse().ok();
        r.endpoints[1].mac = r.endpoints[0].mac;
    };
    assert_eq!(
        refusal(mac),
        format!("{B}.mac: 02:00:00:00:00:05 is already used by {A}: choose another")
    );
    assert_eq!(
        refusal(|r| r.endpoints[1].name = name("a")),
        format!("{A}.name: a is already used by {A}: choose another")
    );
    assert_eq!(
        refusal(|r| r.endpoints[0].host = name("h9")),
        format!("{A}.host: there is no host h9: name one that exists")
    );
    assert_eq!(
        refusal(|r| r.endpoints[0].network = name("db")),
        "vpcs[blue].networks[db].endpoints[a].network: there is no network db: name one that exists"
    );
    assert_eq!(
        refusal(|r| r.endpoints[1].attachment = r.endpoints[0].attachment.clone()),
        format!(
            "{B}.attachment: interface eth0 in /run/netns/blue-a is already used by {A}: choose \
             another"
        )
    );
    let v6_only = |r: &mut Resources| {
        r.networks[0].v4 = None;
        r.endpoints[0].v4 = "10.0.0.5".parse().ok();
    };
    assert_eq!(
        refusal(v6_only),
        format!("{A}.v4: 10.0.0.5 is IPv4, and the network has no IPv4 prefix: leave it out")
    );
}

#[test]
fn a_full_network_takes_no_more_endpoints() {
    let words = refusal(|r| {
        r.networks[0].v4 = "10.0.0.0/30".parse().ok();
    });
    assert_eq!(
        words,
        "vpcs[blue].networks[web].endpoints[b].v4: no address of 10.0.0.0/30 is free: remove an \
         endpoint, or use another network"
    );
}

#[test]
fn a_resource_file_is_refused_with_the_value_and_its_place() {
    let file = |vni: &str, vpc: &str| {
        let text = format!("vpcs:\n- name: {vpc}\n  vni: {vni}\n  dividers: [h1]\n");
        serde_saphyr::from_str::<Resources>(&text)
    };
    assert_eq!(file("7", "blue").unwrap().vpcs[0].vni.unwrap().get(), 7);
    let error = file("16777216", "blue").unwrap_err().to_string();
    assert!(error.contains("VNI 16777216 is out of range") && error.contains("3"), "{error}");
    let error = file("7", "Blue").unwrap_err().to_string();
    assert!(error.contains("name \"Blue\" is no DNS label") && error.contains("2"), "{error}");
}

#[test]
fn problems_are_values_to_match() {
    let mut resources = strategy::example();
    resources.hosts[0].underlay = "0.0.0.0".parse().unwrap();
    let error = Intent::build(&resources, strategy::first()).unwrap_err();
    assert_eq!(error.problem, Problem::NotUnicast("0.0.0.0".parse().unwrap()));
}
