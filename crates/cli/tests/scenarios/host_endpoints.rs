//! Hosts that are endpoints themselves: an interface in a host's own namespace, beside the
//! underlay's.

use crate::topology::{cloud, network, vpc};
use crate::traffic::{Server, Stream, transfer, who_answers};
use crate::world::{Guest, Host, PATIENCE, World, until};
use serde_json::Value;

const MANY: u64 = 20_000_000;

/// h1 and h2 are endpoints of different networks, and name the other's; a is on h1 too.
fn with_hosts(hosts: &[(&str, &str)]) -> String {
    let [front, back] = [["10.0.1.0/24", "fd00:0:0:1::/64"], ["10.0.2.0/24", "fd00:0:0:2::/64"]];
    let mut at_front = vec![("a", "h1", 2), ("b", "h2", 3)];
    let mut at_back = vec![("c", "h3", 2)];
    for &(name, host) in hosts {
        match name {
            "node" => at_front.push((name, host, 9)),
            _ => at_back.push((name, host, 9)),
        }
    }
    let networks =
        [network("front", 1, &["h2"], &at_front), network("back", 2, &["h1", "h3"], &at_back)];
    let attached = |text: String, name: &str, [v4, v6]: [&str; 2]| {
        let with = format!("{{name: {name}, attach: host, routes: [{v4}, \"{v6}\"],");
        text.replace(&format!("{{name: {name},"), &with)
    };
    let text = cloud(3, &[vpc("blue", 7, &["h3"], &networks)]);
    attached(attached(text, "node", back), "far", front)
}

#[test]
fn hosts_are_clients_and_servers_in_a_vpc_beside_their_underlay() {
    let both = [("node", "h1"), ("far", "h2")];
    let Some(mut world) = World::new("hosts", &with_hosts(&both)) else { return };
    let of = |world: &World, name: &str| world.guest(&format!("blue/{name}")).clone();
    let [node, far, a, b, c] = ["node", "far", "a", "b", "c"].map(|name| of(&world, name));
    assert_eq!(node.namespace, world.host("h1").namespace);
    assert_eq!(node.interface, "node");
    let servers = [&node, &far, &a, &b, &c].map(Server::start);
    // On its own host, on another one, across networks, and another host.
    for other in [&a, &b, &c, &far] {
        reach_each_other(&node, other);
    }
    drop(servers);
    for (from, to) in [(&node, &b), (&b, &node), (&a, &node), (&node, &a), (&far, &node)] {
        to.addresses().into_iter().for_each(|address| transfer(from, to, address, MANY));
    }
    routes_are_as_they_should(&world);

    // The agent goes, and the next one takes the interface over; the stream never notices.
    let index = node.place().command("ip -o link show node");
    let stream = Stream::start(&b, &node, node.v4.into());
    world.kill_agent("h1");
    stream.goes_on(500_000);
    world.start_agent("h1");
    world.becomes_ready();
    stream.goes_on(500_000);
    assert_eq!(node.place().command("ip -o link show node"), index);
    stream.finish();

    // It moves to another host, and then it is gone, with all that came with it.
    world.apply(&with_hosts(&[("node", "h3")]));
    assert_eq!(of(&world, "node").namespace, world.host("h3").namespace);
    let _servers = [&of(&world, "node"), &a].map(Server::start);
    reach_each_other(&of(&world, "node"), &a);
    is_only_on_the_underlay(world.host("h1"));
    is_only_on_the_underlay(world.host("h2"));
    world.apply(&with_hosts(&[]));
    is_only_on_the_underlay(world.host("h3"));

    a_name_that_the_host_has_is_refused(&world);
    world.apply(&with_hosts(&[]));
}

/// Each pings the other and gets the right answer, by both families.
fn reach_each_other(one: &Guest, other: &Guest) {
    for (from, to) in [(one, other), (other, one)] {
        for address in to.addresses() {
            from.place().pings(address);
            let name = format!("{}/{}", to.vpc, to.name);
            assert_eq!(who_answers(&from.place(), address, PATIENCE), Some(name));
        }
    }
}

/// What is of the VPC goes by the endpoint's interface, and all else as on any host.
fn routes_are_as_they_should(world: &World) {
    let (h1, h3) = (world.host("h1"), world.host("h3"));
    h1.place().pings(h3.underlay.into());
    let routes = h1.place().command("ip route");
    for route in ["10.0.1.0/24 dev node proto kernel", "10.0.2.0/24 via 10.0.1.1 dev node"] {
        assert!(routes.contains(route), "{route:?} is not in {routes}");
    }
    let defaults = h1.place().command("ip route show default");
    assert_eq!(defaults.lines().count(), 1, "{defaults}");
    assert!(defaults.contains("dev nic0"), "{defaults}");
    assert_eq!(h1.place().command("ip -6 route show default"), "");
}

/// Nothing is left of an endpoint.
fn is_only_on_the_underlay(host: &Host) {
    let links = host.place().command("ip -o link");
    assert!(!links.contains("node") && !links.contains("far"), "{links}");
    let addresses = host.place().command("ip -o -4 address show scope global");
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
    for family in ["-4", "-6"] {
        assert_eq!(host.place().command(&format!("ip {family} route show proto 77")), "");
    }
}

/// The endpoint says why it is not there; the interface of that name stays as it is.
fn a_name_that_the_host_has_is_refused(world: &World) {
    let h1 = world.host("h1");
    // Not all that `ip link` says: it complains of namespaces of other labs that go just then.
    let nic0 = || h1.place().command("ip -o -4 address show dev nic0");
    let before = nic0();
    let file = world.manifests(
        "{kind: Endpoint, metadata: {name: taken, vpc: blue}, spec: {network: front, host: h1, \
         attachment: {host: {interface: nic0}}}}",
    );
    assert!(world.asks(&["apply", "-f", &file]).status.success());
    until("the endpoint says why it has failed", || {
        let got = world.asks(&["get", "endpoint", "blue/taken", "-o", "json"]);
        let got: Value = serde_json::from_slice(&got.stdout).unwrap();
        got.to_string().contains("interface nic0 of the host already exists")
    });
    assert_eq!(nic0(), before);
    assert!(world.asks(&["delete", "endpoint", "blue/taken", "--wait"]).status.success());
}
