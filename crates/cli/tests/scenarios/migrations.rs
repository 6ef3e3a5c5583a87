//! Endpoints that migrate while their addresses are talked to: their new host is prepared, then
//! everything switches.

use crate::place::Place;
use crate::topology::{cloud, network, vpc};
use crate::traffic::{Numbered, Stream};
use crate::world::{Guest, World, until};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A thousand datagrams a second.
const MILLISECOND: Duration = Duration::from_millis(1);
/// What may be lost when everything switches: those of a few milliseconds, on a busy machine.
const MOST_LOST: usize = 5;

pub(crate) fn spread() -> String {
    let front = [("a", "h1", 2), ("b", "h4", 3)];
    let networks =
        [network("front", 1, &["h2"], &front), network("back", 2, &["h3"], &[("e", "h1", 2)])];
    cloud(4, &[vpc("blue", 7, &["h2"], &networks)])
}

/// Another namespace, for what goes on in it.
pub(crate) fn namespace(world: &World, name: &str) -> PathBuf {
    let manifest = world.new_guest(&format!("blue/{name}"), "front", "h3");
    let netns = manifest.lines().find_map(|line| line.trim().strip_prefix("netns: "));
    netns.unwrap().into()
}

pub(crate) fn migrate(world: &World, words: &[&str]) -> String {
    let output = world.asks(&[&["endpoint", "migrate", "blue/b"], words].concat());
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{words:?}: {said}");
    said
}

#[test]
fn datagrams_in_one_direction_reach_the_one_host_or_the_other() {
    let Some(world) = World::new("migrates", &spread()) else { return };
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name).clone());
    let there = namespace(&world, "b2");
    let places = [b.place(), Place::new(&there)];
    let near = Numbered::start_to_any(&a, &places, b.v4.into(), MILLISECOND);
    let across = Numbered::start_to_any(&e, &places, b.v6.into(), MILLISECOND);
    // Elsewhere, to its bouncer, to its peers' host, and back.
    let moves = [("h3", &there), ("h2", &b.namespace), ("h1", &there), ("h4", &b.namespace)];
    for (host, netns) in moves {
        near.goes_on(300);
        across.goes_on(300);
        let said = migrate(&world, &["--to", host, "--netns", netns.to_str().unwrap()]);
        assert!(said.contains(&format!("lives on host {host}")), "{said}");
    }
    near.goes_on(300);
    across.goes_on(300);
    for (way, datagrams) in [("near", near), ("across", across)] {
        let (sent, lost) = datagrams.finish();
        assert!(lost.len() <= MOST_LOST * moves.len(), "{way}: of {sent} are lost {lost:?}");
    }
}

/// Has whatever comes in by one interface go out of another; of several, the one with the lowest
/// number counts.
fn redirect(place: &Place, number: u8, from: &str, to: &str) {
    let _ = place.output(&format!("tc qdisc add dev {from} clsact"));
    place.command(&format!(
        "tc filter add dev {from} ingress prio {number} protocol all u32 match u32 0 0 action \
         mirred egress redirect dev {to}"
    ));
}

/// A virtual machine with the addresses of a guest, in namespaces of its own: it has one interface,
/// which the hypervisors of two hosts join to what Mizar attached there. Frames that either host
/// delivers reach it; its own go to the host that it runs on.
struct Machine {
    hub: Place,
    guest: Guest,
}

impl Machine {
    fn new(world: &World, guest: &Guest, hosts: [&Path; 2]) -> Self {
        let [inside, hub] = ["vm", "hub"].map(|name| namespace(world, name));
        let [place, hub] = [&inside, &hub].map(|netns| Place::new(netns));
        for (name, netns) in ["one", "two"].into_iter().zip(hosts) {
            let host = Place::new(netns);
            let netns = netns.file_name().unwrap().to_str().unwrap();
            hub.command(&format!("ip link add {name} type veth peer name machine netns {netns}"));
            hub.command(&format!("ip link set {name} up"));
            host.command("ip link set machine up");
        }
        let netns = inside.file_name().unwrap().to_str().unwrap();
        hub.command(&format!("ip link add tap type veth peer name nic netns {netns}"));
        hub.command("ip link set tap up");
        let (mac, v4, v6) = (&guest.mac, guest.v4, guest.v6);
        for line in [
            format!("ip link set nic address {mac} mtu 1400 up"),
            format!("ip address add {v4}/24 dev nic"),
            format!("ip address add {v6}/64 dev nic nodad"),
        ] {
            place.command(&line);
        }
        redirect(&hub, 2, "one", "tap");
        redirect(&hub, 2, "two", "tap");
        redirect(&hub, 2, "tap", "one");
        Self { hub, guest: Guest { namespace: inside, ..guest.clone() } }
    }

    /// Joins it to its interface on a host.
    fn join(netns: &Path) {
        let host = Place::new(netns);
        redirect(&host, 2, "eth0", "machine");
        redirect(&host, 2, "machine", "eth0");
    }

    /// It runs on the other host from now on.
    fn resume_on_the_other(&self) {
        redirect(&self.hub, 1, "tap", "two");
    }
}

#[test]
fn a_connection_survives_and_what_was_prepared_can_be_taken_back() {
    let Some(world) = World::new("prepared", &spread()) else { return };
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    let there = namespace(&world, "b2");
    let machine = Machine::new(&world, &b, [&b.namespace, &there]);
    Machine::join(&b.namespace);
    let streams = [
        Stream::start(&a, &machine.guest, b.v4.into()),
        Stream::start(&machine.guest, &a, a.v6.into()),
    ];
    let go_on = || streams.iter().for_each(|stream| stream.goes_on(200_000));
    let netns = there.to_str().unwrap();
    let has_interface = || Place::new(&there).output("ip link show eth0").status.success();
    go_on();
    migrate(&world, &["--to", "h2", "--netns", netns, "--prepare"]);
    assert!(has_interface());
    go_on();
    let said = migrate(&world, &["--cancel"]);
    assert!(said.contains("stays where it is"), "{said}");
    until("its interface there is gone", || !has_interface());
    let refused = world.asks(&["endpoint", "migrate", "blue/b", "--switch"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("endpoint blue/b is not about to move"), "{said}");
    go_on();
    migrate(&world, &["--to", "h3", "--netns", netns, "--prepare"]);
    Machine::join(&there);
    go_on();
    machine.resume_on_the_other();
    let said = migrate(&world, &["--switch"]);
    assert!(said.contains("lives on host h3"), "{said}");
    go_on();
    streams.into_iter().for_each(Stream::finish);
}
