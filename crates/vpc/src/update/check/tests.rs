use super::*;
use crate::example::{apply, at, catalog, endpoint, maps};
use crate::{IndexedRows, Slot, rows};

/// The rows of a host that has two endpoints and holds another, in one network.
fn example() -> VpcRows {
    let mut catalog = catalog(3);
    for (path, host) in [("blue/a", "h1"), ("blue/b", "h1"), ("blue/c", "h2")] {
        apply(&mut catalog, &endpoint(path, host, |_| ())).unwrap();
    }
    rows(&catalog, &maps(&["h1", "h2", "h3"])).unwrap()["h1"][&Vni::MIN].clone()
}

/// The words with which the example is refused after a change, as an update of everything and
/// as a difference.
fn refusal(change: impl FnOnce(&mut VpcRows)) -> String {
    let (before, mut after) = (example(), example());
    change(&mut after);
    let full = VpcUpdate::full(Vni::MIN, at(2), after.clone());
    let diff = VpcUpdate::diff(Vni::MIN, (at(1), &before), (at(2), &after));
    let [full, diff] = [full, diff].map(|update| {
        let mut rows = before.clone();
        let words = rows.apply(update).unwrap_err().to_string();
        assert_eq!(rows, before, "nothing changes");
        words
    });
    assert_eq!(full, diff);
    let mut indexed = IndexedRows::default();
    indexed.apply(VpcUpdate::full(Vni::MIN, at(1), before.clone())).unwrap();
    let diff = VpcUpdate::diff(Vni::MIN, (at(1), &before), (at(2), &after));
    assert_eq!(indexed.apply(diff).unwrap_err().to_string(), full);
    assert_eq!(*indexed.rows(), before);
    full
}

fn web(rows: &mut VpcRows) -> &mut NetworkRow {
    rows.networks.get_mut(&NetworkId::MIN).unwrap()
}

fn port<'a>(rows: &'a mut VpcRows, name: &str) -> &'a mut PortRow {
    rows.ports.get_mut(name).unwrap()
}

fn host(interface: &str, routes: &[&str]) -> crate::Attachment {
    let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
    crate::Attachment::Host { interface: interface.to_owned(), routes }
}

#[test]
fn the_example_itself_is_accepted() {
    let rows = example();
    assert_eq!((rows.ports.len(), rows.held.len(), rows.networks.len()), (2, 2, 1));
    VpcRows::default().apply(VpcUpdate::full(Vni::MIN, at(1), rows)).unwrap();
}

#[test]
fn malformed_slots_and_attachments_are_refused() {
    let words = refusal(|rows| {
        rows.networks.get_mut(&NetworkId::MIN).unwrap().holders.slots.pop().unwrap();
    });
    let count = Slot::COUNT;
    assert_eq!(words, format!("networks[1].holders: 255 slots: there must be {count}"));
    let words = refusal(|rows| {
        port(rows, "a").attachment = host("", &[]);
    });
    assert!(words.starts_with("ports[a].attachment: interface \"\" is no"), "{words}");
    let words = refusal(|rows| port(rows, "a").attachment = host("vpc0", &["::/0"]));
    assert!(words.starts_with("ports[a].attachment: routes[0]: ::/0 is a default"), "{words}");
    let words = refusal(|rows| {
        port(rows, "a").v6 = None;
        port(rows, "a").attachment = host("vpc0", &["fd00:2::/64"]);
    });
    assert!(words.starts_with("ports[a].attachment: routes[0]: fd00:2::/64 is IPv6"), "{words}");
}

#[test]
fn a_port_without_its_network_is_refused() {
    assert_eq!(
        refusal(|rows| port(rows, "a").network = "9".parse().unwrap()),
        "ports[a].network: network 9 has no row: send both, or remove both"
    );
    let words = refusal(|rows| {
        rows.networks.clear();
        rows.held.clear();
    });
    assert!(words.starts_with("ports[a].network: network 1 has no row"), "{words}");
}

#[test]
fn a_network_goes_together_with_its_ports() {
    let (mut rows, after) = (example(), VpcRows::default());
    rows.apply(VpcUpdate::diff(Vni::MIN, (at(1), &rows), (at(2), &after))).unwrap();
    assert!(rows.networks.is_empty() && rows.ports.is_empty());
}

#[test]
fn networks_with_impossible_prefixes_or_gateways_are_refused() {
    let v4 = |prefix: &str| refusal(|rows| web(rows).v4 = Some(prefix.parse().unwrap()));
    let v6 = |prefix: &str| refusal(|rows| web(rows).v6 = Some(prefix.parse().unwrap()));
    assert_eq!(
        v4("10.0.0.1/16"),
        "networks[1].v4: 10.0.0.1/16 has bits set behind its length: write 10.0.0.0/16"
    );
    assert_eq!(
        v4("10.0.0.0/31"),
        "networks[1].v4: 10.0.0.0/31 has a length out of range: it must be from /8 to /30"
    );
    for (prefix, reserved) in [
        ("0.0.0.0/8", "0.0.0.0/8"),
        ("127.0.0.0/16", "127.0.0.0/8"),
        ("169.254.0.0/24", "169.254.0.0/16"),
        ("239.0.0.0/8", "224.0.0.0/3"),
    ] {
        assert_eq!(
            v4(prefix),
            format!(
                "networks[1].v4: {prefix} overlaps {reserved}, which is not for guests: choose \
                 another"
            )
        );
    }
    for (prefix, reserved) in
        [("::/64", "::/8"), ("fe80::/64", "fe80::/10"), ("ff00::/16", "ff00::/8")]
    {
        assert_eq!(
            v6(prefix),
            format!(
                "networks[1].v6: {prefix} overlaps {reserved}, which is not for guests: choose \
                 another"
            )
        );
    }
    assert_eq!(
        v6("fd00::/127"),
        "networks[1].v6: fd00::/127 has a length out of range: it must be from /16 to /126"
    );
    let gateway = |v4: &str| refusal(|rows| web(rows).v4_gateway = v4.parse().ok());
    let open = "choose another, or leave it out";
    assert_eq!(
        gateway("10.1.0.1"),
        "networks[1].v4_gateway: 10.1.0.1 is outside of 10.0.0.0/16: choose one inside, or leave \
         it out"
    );
    assert_eq!(
        gateway("10.0.0.0"),
        format!("networks[1].v4_gateway: 10.0.0.0 is the network address of 10.0.0.0/16: {open}")
    );
    assert_eq!(
        gateway("10.0.255.255"),
        format!(
            "networks[1].v4_gateway: 10.0.255.255 is the broadcast address of 10.0.0.0/16: {open}"
        )
    );
    assert_eq!(
        refusal(|rows| web(rows).v6 = None),
        "networks[1].v6_gateway: fd00::1 is IPv6, and the network has no IPv6 prefix: leave it out"
    );
    let none = |rows: &mut VpcRows| {
        let row = web(rows);
        (row.v4, row.v6, row.v4_gateway, row.v6_gateway) = Default::default();
    };
    assert_eq!(
        refusal(none),
        "networks[1].v4: there is no prefix: give an IPv4 prefix (v4), an IPv6 prefix (v6), or both"
    );
}

#[test]
fn addresses_that_have_another_use_are_refused_of_ports_and_held_ones() {
    let port = |v4: &str| refusal(|rows| port(rows, "a").v4 = v4.parse().ok());
    let hold = |address: &str| {
        refusal(|rows| {
            let row = *rows.held.values().next().unwrap();
            rows.held.insert(address.parse().unwrap(), row);
        })
    };
    for (address, role, prefix) in [
        ("10.0.0.1", "gateway", "10.0.0.0/16"),
        ("10.0.0.0", "network address", "10.0.0.0/16"),
        ("10.0.255.255", "broadcast address", "10.0.0.0/16"),
    ] {
        let reserved = format!("{address} is the {role} of {prefix}: it must be an endpoint's");
        assert_eq!(port(address), format!("ports[a]: {reserved}"));
        assert_eq!(hold(address), format!("held[{address}]: {reserved}"));
    }
    assert_eq!(
        hold("fd00::1"),
        "held[fd00::1]: fd00::1 is the gateway of fd00::/64: it must be an endpoint's"
    );
}

#[test]
fn overlapping_networks_are_refused() {
    let words = refusal(|rows| {
        let mut row = rows.networks[&NetworkId::MIN].clone();
        (row.v4, row.v6) = ("10.0.128.0/24".parse().ok(), None);
        (row.v4_gateway, row.v6_gateway) = (None, None);
        rows.networks.insert("2".parse().unwrap(), row);
    });
    assert_eq!(
        words,
        "networks[2]: 10.0.128.0/24 overlaps 10.0.0.0/16 of networks[1]: they must not"
    );
}

#[test]
fn ports_with_impossible_addresses_are_refused() {
    assert_eq!(
        refusal(|rows| port(rows, "a").v4 = "10.9.0.1".parse().ok()),
        "ports[a]: 10.9.0.1 is outside of network 1: it must be inside"
    );
    assert_eq!(
        refusal(|rows| port(rows, "a").v6 = "fd00::1".parse().ok()),
        "ports[a]: fd00::1 is the gateway of fd00::/64: it must be an endpoint's"
    );
    assert_eq!(
        refusal(|rows| port(rows, "b").v4 = "10.0.0.2".parse().ok()),
        "ports[b]: 10.0.0.2 is already used by ports[a]: they must differ"
    );
    assert_eq!(
        refusal(|rows| port(rows, "b").mac = port(rows, "a").mac),
        "ports[b]: 02:c1:0a:00:00:02 is already used by ports[a]: they must differ"
    );
}

#[test]
fn held_addresses_of_no_network_or_of_a_port_are_refused() {
    let hold = |rows: &mut VpcRows, address: &str| {
        let row = *rows.held.values().next().unwrap();
        rows.held.insert(address.parse().unwrap(), row);
    };
    assert_eq!(
        refusal(|rows| hold(rows, "10.9.0.1")),
        "held[10.9.0.1]: no network with a row has this address: send its network before"
    );
    let words = refusal(|rows| hold(rows, "10.0.0.2"));
    assert_eq!(words, "held[10.0.0.2]: 10.0.0.2 is already used by ports[a]: they must differ");
}

#[test]
fn an_address_moves_from_held_to_local_in_one_update_only() {
    let (mut rows, mut after) = (example(), example());
    let (&address, _) = after.held.iter().next().unwrap();
    let (v4, row) = (address.to_string().parse().unwrap(), port(&mut after, "a"));
    (row.v4, row.v6) = (Some(v4), None);
    after.held.clear();
    let mut update = VpcUpdate::diff(Vni::MIN, (at(1), &rows), (at(2), &after));
    let removals = std::mem::take(&mut update.held);
    let words = rows.apply(update.clone()).unwrap_err().to_string();
    let taken = format!("{address} is already used by held[{address}]: they must differ");
    assert_eq!(words, format!("ports[a]: {taken}"));
    update.held = removals;
    rows.apply(update).unwrap();
    assert_eq!(rows, after);
}
