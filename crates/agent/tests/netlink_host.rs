//! The host's side in real namespaces: filters, the NIC's facts, ways and neighbours.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod netlink_world;

use mizar_agent::netlink::{Changes, Error, Event, Events, Hook, Neighbour};
use netlink_world::{World, explained, needs_root, program};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// A host whose NIC leads to a router, which leads to the rest of the fleet.
fn fabric() -> (World, World) {
    let (host, router) = (World::new(), World::new());
    host.run(&format!(
        "ip link add nic mtu 9000 type veth peer name port netns {}",
        router.path().display()
    ));
    router.run("ip link set port address 02:00:00:00:00:fe mtu 9000 up");
    router.run("ip addr add 172.16.0.1/24 dev port; ip addr add fd16::1/64 dev port nodad");
    host.run("ip link set nic address 02:00:00:00:00:01 up");
    host.run("ip addr add 172.16.0.2/24 dev nic; ip addr add fd16::2/64 dev nic nodad");
    host.run(
        "ip route add 172.16.0.0/16 via 172.16.0.1 mtu 1500; ip -6 route add fd17::/16 via fd16::1",
    );
    (host, router)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_filter_attached_twice_is_one_filter() {
    needs_root!();
    let (host, _router) = fabric();
    let netlink = host.netlink().await;
    let nic = netlink.nic("nic").await.unwrap().index;
    let hooks =
        [(Hook::NicIn, "ingress", "handle 0x6d7a "), (Hook::NicOut, "egress", "handle 0x6d7a ")];
    for (hook, side, handle) in hooks {
        let show = || host.run(&format!("tc filter show dev nic {side}"));
        netlink.attach_filter(nic, hook, program()).await.unwrap();
        let first = show();
        netlink.attach_filter(nic, hook, program()).await.unwrap();
        let second = show();
        assert_eq!(second.matches("direct-action").count(), 1, "{second}");
        assert!(second.contains(handle) && second.contains("pref 1"), "{second}");
        assert_ne!(first, second, "the program was not replaced");

        assert!(netlink.detach_filter(nic, hook).await.unwrap());
        assert!(!netlink.detach_filter(nic, hook).await.unwrap());
        assert_eq!(show(), "");
        let lo = 1;
        assert!(!netlink.detach_filter(lo, hook).await.unwrap(), "there is no qdisc");
        assert!(!netlink.detach_filter(4_000, hook).await.unwrap(), "there is no interface");
    }
    let error = netlink.attach_filter(4_000, Hook::NicIn, program()).await.unwrap_err();
    assert!(explained(&error).contains("cannot") || explained(&error).contains("refused"));
}

#[tokio::test]
async fn the_nics_facts_say_how_frames_come() {
    needs_root!();
    let (host, router) = fabric();
    let netlink = host.netlink().await;
    let nic = netlink.nic("nic").await.unwrap();
    assert_eq!((nic.mac, nic.mtu), ([2, 0, 0, 0, 0, 1], 9000));
    assert_eq!((nic.driver.as_str(), nic.veth, nic.up), ("veth", true, true));
    assert!(nic.tso && nic.aggregates);
    assert!(nic.addresses.contains(&"172.16.0.2/24".parse().unwrap()), "{:?}", nic.addresses);
    assert!(nic.addresses.contains(&"fd16::2/64".parse().unwrap()), "{:?}", nic.addresses);
    host.run("ethtool -K nic tso off");
    router.run("ethtool -K port tso off");
    let nic = netlink.nic("nic").await.unwrap();
    assert!(!nic.tso && !nic.aggregates);
    // A peer in the same namespace is asked itself.
    host.run("ip link add left type veth peer name right; ethtool -K right tso off");
    assert!(!netlink.nic("left").await.unwrap().aggregates);
    assert!(netlink.nic("right").await.unwrap().aggregates);
    assert!(matches!(netlink.nic("none").await, Err(Error::NoInterface { .. })));
}

#[tokio::test]
async fn datagrams_are_cut_before_a_nic_sends_them_and_streams_are_not() {
    needs_root!();
    let (host, _router) = fabric();
    let netlink = host.netlink().await;
    let features = || host.run("ethtool -k nic");
    assert!(features().contains("tx-udp-segmentation: on"));
    for _ in 0..2 {
        netlink.cut_datagrams("nic").await.unwrap();
        assert!(features().contains("tx-udp-segmentation: off"));
        assert!(features().contains("tcp-segmentation-offload: on"));
    }
    assert!(matches!(netlink.cut_datagrams("none").await, Err(Error::Ethtool { .. })));
}

#[tokio::test]
async fn the_way_goes_by_the_gateway_or_straight() {
    needs_root!();
    let (host, _router) = fabric();
    let netlink = host.netlink().await;
    let nic = netlink.nic("nic").await.unwrap().index;
    let far = netlink.way(ip("172.16.9.9")).await.unwrap();
    assert_eq!((far.interface, far.next_hop, far.mtu), (nic, ip("172.16.0.1"), 1500));
    assert_eq!(far.source, Some(ip("172.16.0.2")));
    let near = netlink.way(ip("172.16.0.7")).await.unwrap();
    assert_eq!((near.interface, near.next_hop, near.mtu), (nic, ip("172.16.0.7"), 9000));
    let far = netlink.way(ip("fd17::9")).await.unwrap();
    assert_eq!((far.interface, far.next_hop, far.mtu), (nic, ip("fd16::1"), 9000));
    host.run("ip route add 10.9.0.0/16 via inet6 fd16::1 dev nic");
    assert_eq!(netlink.way(ip("10.9.1.1")).await.unwrap().next_hop, ip("fd16::1"));
    host.run("ip route add blackhole 10.8.0.0/16; ip -6 route add unreachable fd18::/16");
    for nowhere in ["192.0.2.1", "2001:db8::1", "172.16.0.2", "fd16::2", "10.8.0.1", "fd18::1"] {
        let error = netlink.way(ip(nowhere)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{nowhere}: {}", explained(&error));
    }
}

#[tokio::test]
async fn a_next_hop_resolves_and_its_new_mac_address_is_told() {
    needs_root!();
    let (host, router) = fabric();
    let netlink = host.netlink().await;
    let mut events = netlink.events(Changes::Ways).await.unwrap();
    for (destination, hop) in [("172.16.9.9", "172.16.0.1"), ("fd17::9", "fd16::1")] {
        let way = netlink.way(ip(destination)).await.unwrap();
        assert_eq!(netlink.neighbour(way.interface, way.next_hop).await.unwrap(), None);
        netlink.resolve(way.interface, way.next_hop).await.unwrap();
        let expected = Neighbour {
            interface: way.interface,
            address: ip(hop),
            mac: Some([2, 0, 0, 0, 0, 0xfe]),
        };
        wait_for(&mut events, &Event::Neighbour(expected)).await;
        let found = netlink.neighbour(way.interface, way.next_hop).await.unwrap();
        assert_eq!(found, Some(expected));
        let table = host.run("ip neigh show");
        assert!(table.contains("managed"), "{table}");
    }
    // A gratuitous ARP after the router's card was changed.
    let way = netlink.way(ip("172.16.9.9")).await.unwrap();
    router.run("ip link set port address 02:00:00:00:00:fd");
    host.run("ip neigh replace 172.16.0.1 lladdr 02:00:00:00:00:fd dev nic nud stale");
    let expected = Neighbour {
        interface: way.interface,
        address: ip("172.16.0.1"),
        mac: Some([2, 0, 0, 0, 0, 0xfd]),
    };
    wait_for(&mut events, &Event::Neighbour(expected)).await;
    assert!(netlink.release(way.interface, way.next_hop).await.unwrap());
    let left = netlink.neighbour(way.interface, way.next_hop).await.unwrap();
    assert_eq!(left.and_then(|neighbour| neighbour.mac), None);
}

#[tokio::test]
async fn a_neighbour_that_does_not_answer_has_no_mac_address() {
    needs_root!();
    let (host, _router) = fabric();
    let netlink = host.netlink().await;
    let mut events = netlink.events(Changes::Ways).await.unwrap();
    let way = netlink.way(ip("172.16.0.77")).await.unwrap();
    netlink.resolve(way.interface, way.next_hop).await.unwrap();
    let expected = Neighbour { interface: way.interface, address: way.next_hop, mac: None };
    wait_for(&mut events, &Event::Neighbour(expected)).await;
}

#[tokio::test]
async fn routes_that_change_and_links_that_go_are_told() {
    needs_root!();
    let (host, _router) = fabric();
    let netlink = host.netlink().await;
    let mut events = netlink.events(Changes::Ways).await.unwrap();
    host.run("ip route add 10.7.0.0/16 via 172.16.0.1; ip route add default via 172.16.0.1");
    wait_for(&mut events, &Event::Route("10.7.0.0/16".parse().unwrap())).await;
    wait_for(&mut events, &Event::Route("0.0.0.0/0".parse().unwrap())).await;
    host.run("ip -6 route add fd19::/48 via fd16::1");
    wait_for(&mut events, &Event::Route("fd19::/48".parse().unwrap())).await;

    let mut gone = netlink.events(Changes::LinksGone).await.unwrap();
    host.run("ip link set nic mtu 4000");
    host.run("ip route add 10.8.0.0/16 via 172.16.0.1");
    host.run("ip link del nic");
    let first = tokio::time::timeout(Duration::from_secs(20), gone.next()).await;
    let first = first.expect("the event did not come").unwrap();
    assert!(matches!(&first, Event::LinkGone(link) if link.name == "nic"), "{first:?}");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_so() {
    needs_root!();
    let host = World::new();
    let netlink = host.netlink().await;
    let mut events = netlink.events(Changes::Ways).await.unwrap();
    host.run(
        "ip link add left type veth peer name right; ip link set left up; ip link set right up",
    );
    let routes: String = (0..20_000)
        .map(|i| format!("route add 10.{}.{}.{}/32 dev left\n", i >> 14, (i >> 7) & 127, i & 127))
        .collect();
    let mut batch = tempfile::NamedTempFile::new().unwrap();
    batch.write_all(routes.as_bytes()).unwrap();
    host.run(&format!("ip -b {}", batch.path().display()));
    wait(&mut events, |event| *event == Event::Lost).await;
    host.run("ip route add 10.255.0.0/16 dev left");
    wait_for(&mut events, &Event::Route("10.255.0.0/16".parse().unwrap())).await;
}

async fn wait_for(events: &mut Events, expected: &Event) {
    wait(events, |event| event == expected).await;
}

async fn wait(events: &mut Events, mut is_it: impl FnMut(&Event) -> bool) {
    let wait = async { while !is_it(&events.next().await.unwrap()) {} };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the event did not come");
}
