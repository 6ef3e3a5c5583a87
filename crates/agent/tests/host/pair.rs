//! Two hosts with an agent each: guests reach each other, and the agents keep the ways alive.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::world;
use crate::world::{FakeController, Guest, HERE, THERE, at, ip, port, rows};
use mizar_agent::Options;
use mizar_agent::kernel::Maps;
use mizar_packet::count::Counter;
use mizar_packet::tables::{EndpointKey, Port};
use mizar_packet::{Address, Reason};
use mizar_vpc::{Attachment, HeldRow, PortRow, Vni, VpcRows, VpcUpdate};
use std::process::Command;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Guest a on h1, which is the bouncer, and guest b on h2.
fn pair(a: &Guest, b: &Guest) -> (VpcRows, VpcRows) {
    let mut one = rows(&[("a", port(&a.namespace(), 5, at(1)))]);
    let mut two = rows(&[("b", port(&b.namespace(), 6, at(1)))]);
    for rows in [&mut one, &mut two] {
        rows.dividers = vec![HERE];
        for network in rows.networks.values_mut() {
            network.holders.hosts = vec![HERE];
        }
    }
    let row = HeldRow { host: THERE, generation: at(1) };
    one.held.insert([10, 0, 0, 6].into(), row);
    one.held.insert("fd00::6".parse().unwrap(), row);
    (one, two)
}

#[test]
fn guests_on_two_hosts_reach_each_other_with_tc() {
    if !world::unwraps_in_tc() {
        println!("SKIPPED: needs Linux 6.3");
        return;
    }
    guests_reach_each_other("tc", "pair::guests_on_two_hosts_reach_each_other_with_tc");
}

#[test]
fn guests_on_two_hosts_reach_each_other_with_native_xdp() {
    guests_reach_each_other("native", "pair::guests_on_two_hosts_reach_each_other_with_native_xdp");
}

/// Two hosts that have been told of a guest each.
struct Pair {
    a: Guest,
    b: Guest,
    controller: FakeController,
    /// Of h1.
    agent: world::Agent,
    /// Of the same.
    here: world::Stream,
    /// What goes on until all of this ends.
    _others: (Guest, world::Running, world::Stream, JoinHandle<()>),
}

impl Pair {
    async fn new(mode: &str, name: &str) -> Self {
        let other = Guest::new();
        world::set_up_peer(&other);
        let (mut controller, serving) = FakeController::listen();
        let agent = world::start(options(mode));
        let mut here = controller.stream().await;
        let other_agent = world::start_in(&other.namespace(), "h2", mode, name);
        let mut there = controller.stream().await;
        here.configure().await;
        there.configure().await;
        let (a, b) = (Guest::new(), Guest::new());
        let (one, two) = pair(&a, &b);
        let full = |rows| VpcUpdate::full(Vni::MIN, at(1), rows);
        world::all_applied(&here.update(full(one)).await);
        let maps = Maps::open(&options(mode).pins).unwrap();
        let owner = maps.endpoints.get(&EndpointKey::new(1, Address::v4([10, 0, 0, 6]))).unwrap();
        let host = maps.hosts.get(&owner.host).unwrap().unwrap();
        assert!(host.is_resolved(), "what is acknowledged can be sent to");
        world::all_applied(&there.update(full(two)).await);
        Self { a, b, controller, agent, here, _others: (other, other_agent, there, serving) }
    }
}

fn options(mode: &str) -> Options {
    Options { mode: mode.parse().unwrap(), ..world::options() }
}

#[test]
fn a_frame_that_is_unwrapped_for_a_guest_that_is_gone_does_not_reach_the_hosts_stack() {
    let name =
        "pair::a_frame_that_is_unwrapped_for_a_guest_that_is_gone_does_not_reach_the_hosts_stack";
    world::enter(name, || async {
        let pair = Pair::new("native", name).await;
        pair.b.run("ping -q -c 5 -i 0.1 -W 1 10.0.0.5");
        let maps = Maps::open(&world::options().pins).unwrap();
        let key = EndpointKey::new(1, Address::v4([10, 0, 0, 5]));
        let interface = maps.endpoints.get(&key).unwrap().interface;
        let mismatches = || {
            let counter = Counter::Dropped(Reason::TagMismatch).row();
            maps.counters.sum(counter).unwrap()
        };
        assert_eq!(mismatches(), 0);
        // XDP finds the address still, and tc the guest no longer.
        let port = maps.ports.get(interface).unwrap().unwrap();
        assert!(maps.ports.remove(interface).unwrap());
        assert!(!pair.b.succeeds("ping -q -c 3 -i 0.1 -W 1 10.0.0.5"));
        assert_eq!(mismatches(), 3);
        // Another VPC's guest at that interface does not get it either, nor one of another MAC.
        for wrong in [Port { vni: 2, ..port }, Port { mac: [2, 0, 0, 0, 0, 99], ..port }] {
            let before = mismatches();
            maps.ports.put(&wrong).unwrap();
            assert!(!pair.b.succeeds("ping -q -c 3 -i 0.1 -W 1 10.0.0.5"));
            assert_eq!(mismatches(), before + 3);
        }
        maps.ports.put(&port).unwrap();
        pair.b.run("ping -q -c 3 -i 0.1 -W 1 10.0.0.5");
        world::kill(pair.agent).await;
    });
}

#[test]
fn a_host_is_itself_an_endpoint_with_tc() {
    host_is_an_endpoint("tc", "pair::a_host_is_itself_an_endpoint_with_tc");
}

#[test]
fn a_host_is_itself_an_endpoint_with_native_xdp() {
    host_is_an_endpoint("native", "pair::a_host_is_itself_an_endpoint_with_native_xdp");
}

/// h1 takes its guest's place: guests here and elsewhere reach it and are reached, whichever agent
/// runs; then it has another route; then it is gone.
fn host_is_an_endpoint(mode: &'static str, name: &'static str) {
    world::enter(name, || async {
        let Pair { a, b, mut controller, agent, mut here, _others } = Pair::new(mode, name).await;
        let before = (ip("route show table all"), ip("-6 route"));
        let rows = |routes: &[&str]| {
            let (mut one, _) = pair(&a, &b);
            let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
            let attachment = Attachment::Host { interface: "vpc0".into(), routes };
            let host = PortRow { attachment, ..port(&a.namespace(), 7, at(2)) };
            one.ports.insert("host".parse().unwrap(), host);
            one
        };
        let full = |generation, rows| VpcUpdate::full(Vni::MIN, at(generation), rows);
        world::all_applied(&here.update(full(2, rows(&["10.9.0.0/16"]))).await);
        let all_reach_all = || {
            for guest in [&a, &b] {
                guest.run("ping -q -c 3 -i 0.1 -W 1 10.0.0.7");
                guest.run("ping -q -c 3 -i 0.1 -W 1 fd00::7");
            }
            for other in ["10.0.0.5", "10.0.0.6", "fd00::5", "fd00::6", "100.64.0.2"] {
                let ping = ["-q", "-c", "3", "-i", "0.1", "-W", "1", other];
                assert!(Command::new("ping").args(ping).status().unwrap().success(), "{other}");
            }
        };
        all_reach_all();
        let index = ip("-o link show vpc0");

        world::kill(agent).await;
        all_reach_all();
        let agent = world::start(options(mode));
        let mut here = controller.stream().await;
        here.configure().await;
        world::all_applied(&here.update(full(3, rows(&["10.8.0.0/16", "fd00:8::/64"]))).await);
        all_reach_all();
        assert_eq!(ip("-o link show vpc0"), index, "it is the same interface");
        assert_eq!(ip("route show proto 77"), "10.8.0.0/16 via 10.0.0.1 dev vpc0 \n");
        let v6 = ip("-6 route show proto 77");
        assert!(v6.starts_with("fd00:8::/64 via fd00::1 dev vpc0 metric 512"), "{v6}");

        let (rest, _) = pair(&a, &b);
        world::all_applied(&here.update(full(4, rest)).await);
        assert_eq!((ip("route show table all"), ip("-6 route")), before);
        assert!(!ip("-o link").contains("vpc0"));
        world::kill(agent).await;
    });
}

/// First through a bouncer, then direct, and on while an agent is killed and another takes over.
fn guests_reach_each_other(mode: &'static str, name: &'static str) {
    world::enter(name, || async {
        let pair = Pair::new(mode, name).await;
        let Pair { a, b, mut controller, agent, .. } = pair;

        // b's first packet goes by way of the bouncer; once a has answered, both are direct.
        b.run("ping -q -c 5 -i 0.1 -W 1 10.0.0.5");
        a.run("ping -q -c 5 -i 0.1 -W 1 fd00::6");
        let counted = world::counters("h2").await;
        assert!(counted["sent_to_bouncer"] >= 1, "{counted:?}");
        assert!(counted["sent_direct"] >= 5, "{counted:?}");
        let status = world::status("h2").await;
        assert!(status.connected && status.hosts.len() == 1, "{status:?}");
        assert!(status.hosts[0].alive && status.hosts[0].next_hop.is_some(), "{status:?}");
        let maps = Maps::open(&world::options_of("h2").pins).unwrap();
        let key = EndpointKey::new(1, Address::v4([10, 0, 0, 5]));
        let learned = maps.learned.get(&key).unwrap();
        assert_eq!(learned.generation, at(1).get());

        // Nobody sends: nobody is probed, and no proof is left.
        tokio::time::sleep(Duration::from_millis(1800)).await;
        assert!(!world::status("h2").await.hosts[0].alive);

        // While packets flow, an agent is killed and another takes over.
        let flow = std::thread::spawn(move || b.run("ping -q -c 200 -i 0.01 -W 1 10.0.0.5"));
        tokio::time::sleep(Duration::from_millis(400)).await;
        world::kill(agent).await;
        let agent = world::start(options(mode));
        let here = controller.stream().await;
        here.configure().await;
        let said = tokio::task::spawn_blocking(|| flow.join().unwrap()).await.unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
        world::kill(agent).await;
    });
}
