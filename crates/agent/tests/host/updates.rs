//! An agent and its controller: updates become rows and interfaces, and survive the agent.

use crate::world;
use crate::world::{FakeController, Guest, THERE, at, port, rows};
use mizar_agent::Options;
use mizar_agent::kernel::{Maps, Sizes};
use mizar_packet::Address;
use mizar_packet::tables::{Config, Endpoint, EndpointKey, Learned};
use mizar_proto::{Outcome, Position};
use mizar_vpc::{HeldRow, RowKey, Vni, VpcUpdate};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

fn key(last: u8) -> EndpointKey {
    EndpointKey::new(1, Address::v4([10, 0, 0, last]))
}

/// A location that no sweep takes away.
fn learned(vpc: u32) -> Learned {
    let teach_until = u64::MAX / 2;
    Learned { generation: 1, used: 0, teach_until, notice_at: 0, host: 1, vpc }
}

fn held(last: u8) -> (IpAddr, HeldRow) {
    (Ipv4Addr::new(10, 0, 0, last).into(), HeldRow { host: THERE, generation: at(1) })
}

#[test]
fn what_the_controller_says_survives_the_agent() {
    world::enter("updates::what_the_controller_says_survives_the_agent", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        assert_eq!(stream.hello.host.as_str(), "h1");
        assert!(stream.hello.positions.is_empty());
        stream.configure().await;
        let guest = Guest::new();
        let mut vpc = rows(&[("a", port(&guest.namespace(), 5, at(2)))]);
        vpc.held.extend([held(9)]);
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(2), vpc.clone())).await;
        assert_eq!(ack.generation, at(2));
        world::all_applied(&ack);

        let maps = Maps::open(&world::options().pins).unwrap();
        let local = maps.endpoints.get(&key(5)).unwrap();
        assert_eq!((local.kind, local.generation), (Endpoint::LOCAL, at(2).get()));
        let port_row = maps.ports.get(local.interface).unwrap().unwrap();
        assert_eq!((port_row.v4, port_row.v4_prefix, port_row.vni), ([10, 0, 0, 5], 24, 1));
        assert_eq!(port_row.mtu, 1426);
        let there = maps.endpoints.get(&key(9)).unwrap();
        let host = maps.hosts.get(&there.host).unwrap().unwrap();
        assert_eq!((there.kind, IpAddr::from(host.address)), (Endpoint::HELD, THERE));
        assert_eq!(maps.config.get(&0).unwrap().unwrap().fleet[0].network.to_ne_bytes()[0], 100);
        let config = || {
            let row = maps.config.get(&0).unwrap().unwrap();
            assert!(row.vouched_until > 0);
            Config { vouched_until: 0, ..row }
        };
        let marked = config();

        // Its successor finds everything, is told everything, and changes nothing.
        world::kill(agent).await;
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        let unsure = mizar_vpc::Generation::new(0, 1).unwrap();
        let position = Position { generation: unsure, digest: None };
        assert_eq!(stream.hello.positions, [(Vni::MIN, position)].into());
        stream.configure().await;
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(2), vpc.clone())).await;
        world::all_applied(&ack);
        assert_eq!(maps.endpoints.get(&key(5)), Some(local));
        assert_eq!(maps.endpoints.get(&key(9)), Some(there));
        assert_eq!(config(), marked);

        // An older one is refused, and a difference from elsewhere too.
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), vpc.clone())).await;
        assert!(matches!(ack.outcome, Outcome::Refused(why) if why.contains("older")));
        let update = VpcUpdate::diff(Vni::MIN, (at(3), &vpc), (at(4), &vpc));
        assert!(matches!(stream.update(update).await.outcome, Outcome::Refused(_)));
        world::kill(agent).await;
        assert!(world::ip("link show type veth").contains("mz"));
        mizar_agent::remove(&world::options().pins, "h1").await.unwrap();
        assert!(!world::ip("link show type veth").contains("mz"));
    });
}

#[test]
fn an_endpoint_that_leaves_says_so_for_two_leases() {
    world::enter("updates::an_endpoint_that_leaves_says_so_for_two_leases", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let (one, two) = (Guest::new(), Guest::new());
        let both = rows(&[
            ("a", port(&one.namespace(), 5, at(1))),
            ("b", port(&two.namespace(), 6, at(1))),
        ]);
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), both.clone())).await;
        world::all_applied(&ack);
        let maps = Maps::open(&world::options().pins).unwrap();
        let interface = maps.endpoints.get(&key(5)).unwrap().interface;

        // One is elsewhere from now on, and this host its bouncer; the other is gone.
        let mut none = rows(&[]);
        none.held.extend([held(5)]);
        let ack = stream.update(VpcUpdate::diff(Vni::MIN, (at(1), &both), (at(2), &none))).await;
        world::all_applied(&ack);
        assert_eq!(maps.endpoints.get(&key(5)).unwrap().kind, Endpoint::HELD);
        let moved = maps.endpoints.get(&key(6)).unwrap();
        assert_eq!((moved.kind, moved.generation), (Endpoint::MOVED, at(1).get()));
        assert_eq!(maps.ports.get(interface).unwrap(), None);
        assert!(!world::ip("link show type veth").contains("mz"));
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(maps.endpoints.get(&key(6)), None);

        // The VPC goes, and nothing of it is left.
        let ack = stream.update(VpcUpdate::removal(Vni::MIN, at(3))).await;
        world::all_applied(&ack);
        assert!(maps.endpoints.rows().next().is_none());
        assert!(maps.routes.rows().unwrap().is_empty() && maps.vpcs.rows().unwrap().is_empty());
        let holders = maps.holders.rows().unwrap();
        assert!(holders.iter().all(|(_, row)| row.hosts == [0; 4]));
        world::kill(agent).await;
    });
}

#[test]
fn a_row_that_fails_keeps_no_other_from_being_installed_and_is_retried() {
    let name = "updates::a_row_that_fails_keeps_no_other_from_being_installed_and_is_retried";
    world::enter(name, || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let guest = Guest::new();
        let late = std::env::temp_dir().join(format!("late-{}", std::process::id()));
        let vpc = rows(&[("a", port(&late, 5, at(1))), ("b", port(&guest.namespace(), 6, at(1)))]);
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), vpc)).await;
        let errors = world::errors(&ack);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].row, RowKey::Port("a".parse().unwrap()));
        assert!(errors[0].reason.contains("late-"), "{}", errors[0].reason);
        let maps = Maps::open(&world::options().pins).unwrap();
        assert!(maps.endpoints.get(&key(6)).is_some());
        assert!(maps.endpoints.get(&key(5)).is_none());

        // The namespace appears.
        let other = Guest::new();
        std::os::unix::fs::symlink(other.namespace(), &late).unwrap();
        world::all_applied(&stream.ack().await);
        assert!(maps.endpoints.get(&key(5)).is_some());
        // An interface that vanishes is made again.
        let interface = maps.endpoints.get(&key(6)).unwrap().interface;
        let links = world::ip("-o link show type veth");
        let prefix = format!("{interface}: ");
        let line = links.lines().find(|line| line.starts_with(&prefix)).unwrap();
        let link = line[prefix.len()..].split(['@', ':']).next().unwrap();
        world::ip(&format!("link delete {link}"));
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let row = maps.endpoints.get(&key(6));
            if row.is_some_and(|row| row.interface != interface) {
                break;
            }
        }
        assert_ne!(maps.endpoints.get(&key(6)).unwrap().interface, interface);
        assert!(maps.ports.get(interface).unwrap().is_none());
        std::fs::remove_file(late).unwrap();
        world::kill(agent).await;
    });
}

#[test]
fn a_full_table_is_reported_by_row() {
    world::enter("updates::a_full_table_is_reported_by_row", || async {
        let (mut controller, _serving) = FakeController::listen();
        let sizes = Sizes { endpoints: 4, ..Sizes::default() };
        let agent = world::start(Options { sizes, ..world::options() });
        let mut stream = controller.stream().await;
        stream.configure().await;
        let mut vpc = rows(&[]);
        vpc.held.extend((10..20).map(held));
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), vpc.clone())).await;
        let errors = world::errors(&ack);
        let maps = Maps::open(&world::options().pins).unwrap();
        assert_eq!(errors.len() + maps.endpoints.rows().count(), 10);
        assert!(!errors.is_empty());
        for error in errors {
            assert!(matches!(error.row, RowKey::Held(_)));
            assert!(error.reason.contains("ENDPOINTS is full"), "{}", error.reason);
        }
        // With less to hold, what failed finds its place.
        let mut fewer = vpc.clone();
        fewer.held.retain(|address, _| {
            errors.iter().take(3).any(|error| error.row == RowKey::Held(*address))
        });
        let ack = stream.update(VpcUpdate::diff(Vni::MIN, (at(1), &vpc), (at(2), &fewer))).await;
        assert!(matches!(ack.outcome, Outcome::Applied(_)));
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(maps.endpoints.rows().count(), 3);
        world::kill(agent).await;
    });
}

#[test]
fn a_host_that_this_underlay_does_not_reach_is_reported_by_row() {
    let name = "updates::a_host_that_this_underlay_does_not_reach_is_reported_by_row";
    world::enter(name, || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let mut vpc = rows(&[]);
        let (address, row) = held(9);
        vpc.held.insert(address, HeldRow { host: "2001:db8::7".parse().unwrap(), ..row });
        vpc.held.extend([held(10)]);
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), vpc)).await;
        let errors = world::errors(&ack);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].row, RowKey::Held(address));
        assert!(errors[0].reason.contains("2001:db8::7"), "{}", errors[0].reason);
        let maps = Maps::open(&world::options().pins).unwrap();
        assert_eq!(maps.endpoints.get(&key(9)), None);
        assert!(maps.endpoints.get(&key(10)).is_some(), "the other is there");
        world::kill(agent).await;
    });
}

#[test]
fn stale_vpcs_and_interfaces_are_announced_and_removed() {
    world::enter("updates::stale_vpcs_and_interfaces_are_announced_and_removed", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        let guest = Guest::new();
        let vpc = rows(&[("a", port(&guest.namespace(), 5, at(1)))]);
        world::all_applied(&stream.update(VpcUpdate::full(Vni::MIN, at(1), vpc)).await);
        let maps = Maps::open(&world::options().pins).unwrap();
        let index = maps.vpcs.get(&1).unwrap().unwrap().index;
        let learned = learned(index);
        let other = EndpointKey { vni: 2, ..key(9) };
        [key(9), other].iter().for_each(|key| maps.learned.put(key, &learned).unwrap());
        world::kill(agent).await;
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        assert!(stream.hello.positions.contains_key(&Vni::MIN));
        let ack = stream.update(VpcUpdate::removal(Vni::MIN, at(2))).await;
        world::all_applied(&ack);
        assert!(!world::ip("link show type veth").contains("mz"));
        // What was learned goes with its VPC: whoever gets the VPC's place has nothing of it.
        assert!(maps.learned.rows().eq([(other, learned)]));
        assert!(maps.ports.rows().unwrap().is_empty() && maps.vpcs.rows().unwrap().is_empty());
        world::kill(agent).await;
    });
}
