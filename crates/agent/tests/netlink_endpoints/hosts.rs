//! Endpoints in the host's own namespace: what the host keeps, and what is refused.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::netlink_world::{World, explained, needs_root, program};
use crate::{endpoint, interfaces};
use mizar_agent::netlink::{EndpointSpec, GuestEnd, Outcome};

#[tokio::test]
async fn a_host_that_is_an_endpoint_keeps_what_it_has() {
    needs_root!();
    let host = host_with_nic();
    let before = host.run(EVERYTHING);
    assert!(before.contains("ipv4/conf/all/forwarding:"), "{before}");
    let netlink = host.netlink().await;
    let mut spec = endpoint_on_host(&["10.0.2.0/24", "172.16.0.0/12", "fd00:2::/64"]);
    let attached = netlink.attach_endpoint(&spec, program()).await.unwrap();
    assert_eq!(attached.outcome, Outcome::Created);
    let addresses = host.run("ip addr show vpc0");
    for expected in ["mtu 1426", "02:00:00:00:00:05", "inet 10.0.0.5/24", "LOWER_UP"] {
        assert!(addresses.contains(expected), "{expected:?} is not in {addresses}");
    }
    assert!(addresses.contains("inet6 fd00::5/64 scope global nodad"), "{addresses}");
    // Nothing asks for routers, whose answer would be a default route.
    assert!(!addresses.contains("fe80:"), "{addresses}");
    let routes = host.run("ip route show dev vpc0; ip -6 route show dev vpc0");
    let expected = "10.0.0.0/24 proto kernel scope link src 10.0.0.5 \n\
                    10.0.2.0/24 via 10.0.0.1 proto 77 \n\
                    172.16.0.0/12 via 10.0.0.1 proto 77 \n\
                    fd00::/64 proto kernel metric 256 pref medium\n\
                    fd00:2::/64 via fd00::1 proto 77 metric 512 pref medium\n";
    assert_eq!(routes, expected);
    let ways = host.run("ip route get 10.0.2.9; ip route get 192.0.2.9; ip route get 198.51.100.1");
    for way in [
        "via 10.0.0.1 dev vpc0 src 10.0.0.5",
        "dev nic src 192.0.2.1",
        "via 192.0.2.254 dev nic src 192.0.2.1",
    ] {
        assert!(ways.contains(way), "{way:?} is not in {ways}");
    }
    let found = netlink.list_endpoints().await.unwrap();
    assert_eq!((found.len(), found[0].interface), (1, attached.interface));

    // Other routes: what is no longer wanted goes, the rest and the interface stay.
    spec.end = GuestEnd::Host { routes: vec!["172.16.0.0/12".parse().unwrap()] };
    let again = host.netlink().await.attach_endpoint(&spec, program()).await.unwrap();
    assert_eq!((again.outcome, again.interface), (Outcome::Kept, attached.interface));
    let routes = host.run("ip route show proto 77; ip -6 route show proto 77");
    assert_eq!(routes, "172.16.0.0/12 via 10.0.0.1 dev vpc0 \n");

    assert!(netlink.detach_endpoint(7, "web").await.unwrap());
    assert_eq!(host.run(EVERYTHING), before);
}

#[tokio::test]
async fn an_endpoint_becomes_the_host_and_a_guest_again() {
    needs_root!();
    let (host, guest) = (host_with_nic(), World::new());
    let netlink = host.netlink().await;
    let (on_host, in_guest) = (endpoint_on_host(&["10.0.2.0/24"]), endpoint("web", &guest));
    for (spec, expected) in [(&in_guest, (3, 1)), (&on_host, (4, 0)), (&in_guest, (3, 1))] {
        netlink.attach_endpoint(spec, program()).await.unwrap();
        assert_eq!((interfaces(&host), interfaces(&guest)), expected);
    }
    assert_eq!(host.run("ip route show proto 77"), "");
}

#[tokio::test]
async fn what_would_change_how_the_host_reaches_others_is_refused_and_nothing_is_touched() {
    needs_root!();
    let host = host_with_nic();
    host.run(
        "ip route add 10.0.2.0/24 via 192.0.2.254 metric 100; ip addr add 10.8.0.7/16 dev nic",
    );
    let before = host.run(EVERYTHING);
    let netlink = host.netlink().await;
    let refused = async |spec: EndpointSpec, words: &str| {
        let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
        assert!(error.contains(words), "{words:?} is not in {error:?}");
        assert_eq!(host.run(EVERYTHING), before);
    };
    for (route, taken) in [
        ("192.0.2.128/25", "192.0.2.0/24"),
        ("192.0.0.0/16", "192.0.2.0/24"),
        ("10.8.1.0/24", "10.8.0.0/16"),
        ("10.0.2.0/24", "10.0.2.0/24"),
    ] {
        let words = format!(
            "the host reaches {taken} by nic, and a route to {route} by the endpoint's interface \
             would change that"
        );
        refused(endpoint_on_host(&["10.0.3.0/24", route]), &words).await;
    }
    let mut network = endpoint_on_host(&[]);
    network.addresses[0].address = "192.0.2.5/25".parse().unwrap();
    network.addresses[0].gateway = Some("192.0.2.9".parse().unwrap());
    refused(network, "a route to 192.0.2.0/25 by the endpoint's").await;
    let taken = EndpointSpec { interface: "nic".to_owned(), ..endpoint_on_host(&[]) };
    refused(taken, "interface nic of the host already exists and is not this endpoint's").await;
    refused(endpoint_on_host(&["0.0.0.0/0"]), "routes is \"0.0.0.0/0\", but must be").await;

    // Part of what is reached by way of others may go the new way, another endpoint may be beside
    // it under a name of its own, and what comes later finds the endpoint there, which stays.
    netlink.attach_endpoint(&endpoint_on_host(&["10.0.2.128/25"]), program()).await.unwrap();
    let mut other = EndpointSpec { name: "db".to_owned(), ..endpoint_on_host(&[]) };
    other.addresses.truncate(1);
    other.addresses[0].address = "10.1.0.5/24".parse().unwrap();
    other.addresses[0].gateway = None;
    let error = explained(&netlink.attach_endpoint(&other, program()).await.unwrap_err());
    assert!(error.contains("interface vpc0 of the host already exists"), "{error}");
    other.interface = "vpc1".to_owned();
    netlink.attach_endpoint(&other, program()).await.unwrap();
    host.run("ip addr add 10.0.2.130/25 dev nic");
    let spec = endpoint_on_host(&["10.0.2.128/25"]);
    let kept = host.netlink().await.attach_endpoint(&spec, program()).await.unwrap();
    assert_eq!(kept.outcome, Outcome::Kept);
}

/// An endpoint of the host itself, with the interface `vpc0` and these routes.
fn endpoint_on_host(routes: &[&str]) -> EndpointSpec {
    let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
    let (end, interface) = (GuestEnd::Host { routes }, "vpc0".to_owned());
    EndpointSpec { end, interface, ..endpoint("web", &World::new()) }
}

/// A host with an underlay address on its NIC and a default route.
fn host_with_nic() -> World {
    let host = World::new();
    host.run("ip link add nic type veth peer name wire; ip link set nic up; ip link set wire up");
    host.run("ip addr add 192.0.2.1/24 dev nic; ip route add default via 192.0.2.254");
    host
}

/// What there is of links, addresses, routes and settings, but for what changes by itself.
const EVERYTHING: &str = "ip -o link; ip -o -4 addr; ip -4 route show table all; \
                          ip -6 route | grep -v fe80 || true; \
                          grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf | sort";
