//! Who reaches whom: everybody in his own VPC, and nobody in another one.

use crate::topology::{cloud, network, vpc};
use crate::traffic::{Server, who_answers};
use crate::world::{Guest, PATIENCE, World};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

/// Several VPCs with the same addresses, several networks in a VPC, several bouncers and dividers,
/// guests on bouncers and dividers and elsewhere, alone on a host and together.
fn four_hosts() -> String {
    let blue_front = [("a", "h1", 2), ("b", "h2", 3), ("c", "h3", 4), ("d", "h4", 5)];
    let blue = [
        network("front", 1, &["h2", "h3"], &blue_front),
        network("back", 2, &["h1", "h3", "h4"], &[("e", "h1", 2), ("f", "h4", 3)]),
    ];
    let red_front = [("a", "h4", 2), ("b", "h1", 3), ("only", "h2", 9)];
    let red = [
        network("front", 1, &["h1"], &red_front),
        network("back", 2, &["h2"], &[("e", "h3", 2), ("only-too", "h3", 9)]),
    ];
    cloud(4, &[vpc("blue", 7, &["h2", "h3"], &blue), vpc("red", 8, &["h4"], &red)])
}

#[test]
fn every_guest_reaches_its_own_vpc_by_every_protocol_and_no_other() {
    let Some(world) = World::new("pairs", &four_hosts()) else { return };
    let guests = world.guests();
    let _servers: Vec<_> = guests.iter().map(Server::start).collect();
    let mut names: BTreeMap<(&str, IpAddr), String> = BTreeMap::new();
    for guest in guests {
        for address in guest.addresses() {
            names.insert((&guest.vpc, address), format!("{}/{}", guest.vpc, guest.name));
        }
    }
    let addresses: BTreeSet<IpAddr> = names.keys().map(|(_, address)| *address).collect();
    thread::scope(|scope| {
        for guest in guests {
            let (addresses, names) = (&addresses, &names);
            scope.spawn(move || {
                for address in addresses {
                    let expected = names.get(&(&guest.vpc, *address)).map(String::as_str);
                    reaches(guest, *address, expected);
                }
            });
        }
    });
    let counted = world.counted();
    // Starting up and getting to know each other costs no packet.
    for reason in ["foreign_source", "no_host", "no_next_hop"] {
        assert_eq!(counted.of("", reason), 0, "{reason}");
    }
    for vpc in ["blue", "red"] {
        let ways = ["sent_local", "sent_direct", "sent_to_bouncer", "sent_to_divider"];
        for way in ways {
            assert!(counted.of(vpc, way) > 0, "{vpc} {way}");
        }
    }
    // Two addresses that only red has, of both families, were asked for by six guests in blue: by
    // a SYN and a ping at least.
    assert!(counted.of("blue", "no_endpoint") >= 6 * 2 * 2 * 2);
}

/// Who answers a guest at an address: the one of this name, or nobody.
fn reaches(guest: &Guest, address: IpAddr, expected: Option<&str>) {
    let place = guest.place();
    let (vpc, name) = (&guest.vpc, &guest.name);
    let Some(expected) = expected else {
        let short = Duration::from_millis(250);
        assert_eq!(who_answers(&place, address, short), None, "{vpc}/{name} to {address}");
        assert!(!place.pings_once(address, short), "{vpc}/{name} pings {address}");
        return;
    };
    place.pings(address);
    let found = who_answers(&place, address, PATIENCE);
    assert_eq!(found.as_deref(), Some(expected), "{vpc}/{name} to {address}");
}
