//! Streams that end and begin again: what the agent says then, and what it does with messages that
//! come twice, late or not whole.

use crate::world;
use crate::world::{FakeController, Guest, THERE, at, port, rows};
use mizar_agent::kernel::Maps;
use mizar_packet::Address;
use mizar_packet::tables::EndpointKey;
use mizar_proto::{AgentMessage, ControllerMessage, Outcome, Step};
use mizar_vpc::{HeldRow, RowKey, Vni, VpcRows, VpcUpdate};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

fn held(last: u8) -> (IpAddr, HeldRow) {
    (Ipv4Addr::new(10, 0, 0, last).into(), HeldRow { host: THERE, generation: at(1) })
}

fn with_held(mut vpc: VpcRows, last: impl Iterator<Item = u8>) -> VpcRows {
    vpc.held.extend(last.map(held));
    vpc
}

#[test]
fn a_controller_that_starts_anew_learns_what_this_host_has() {
    world::enter("resume::a_controller_that_starts_anew_learns_what_this_host_has", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        assert_eq!(stream.hello.underlay, Some(world::HERE));
        assert_eq!(stream.hello.protocol, 2);
        assert!(matches!(stream.message().await, AgentMessage::Beat(_)), "right after its hello");
        stream.configure().await;
        let guest = Guest::new();
        let absent = Path::new("/run/netns/nobody");
        let ports = [("a", port(&guest.namespace(), 5, at(1))), ("b", port(absent, 6, at(1)))];
        let vpc = with_held(rows(&ports), 20..60);
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), vpc.clone())).await;
        let Outcome::Applied(applied) = &ack.outcome else { panic!("{ack:?}") };
        assert_eq!(applied.ports.len(), 1, "{applied:?}");
        assert_eq!(applied.ports[0].name.as_str(), "a");
        assert!(applied.ports[0].steps.keys().eq(&Step::ALL), "{applied:?}");
        assert!(applied.ports[0].total <= applied.total);

        // What failed belongs to what it has: it will have it, and says so again.
        drop(stream);
        let mut stream = controller.stream().await;
        let position = stream.hello.positions[&Vni::MIN];
        assert_eq!((position.generation, position.digest), (at(1), Some(vpc.digest())));
        let ack = stream.ack().await;
        assert_eq!(world::errors(&ack)[0].row, RowKey::Port("b".parse().unwrap()));

        // What somebody took out of the tables is missed.
        let maps = Maps::open(&world::options().pins).unwrap();
        let key = EndpointKey::new(1, Address::v4([10, 0, 0, 33]));
        assert!(maps.endpoints.remove(&key).unwrap());
        drop(stream);
        let stream = controller.stream().await;
        assert_ne!(stream.hello.positions[&Vni::MIN].digest, Some(vpc.digest()));
        let status = world::status("h1").await;
        let a = status.ports.iter().find(|port| port.name.as_str() == "a").unwrap();
        assert!(a.steps.contains_key(&Step::Interface));
        let metrics = world::metrics("h1").await;
        assert!(metrics.contains("mizar_agent_ports{state=\"failed\"} 1"), "{metrics}");
        assert!(metrics.contains("mizar_agent_attach_seconds_count 1"), "{metrics}");
        world::kill(agent).await;
    });
}

#[test]
fn messages_may_come_twice_late_or_not_whole() {
    world::enter("resume::messages_may_come_twice_late_or_not_whole", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let guest = Guest::new();
        let one = rows(&[("a", port(&guest.namespace(), 5, at(1)))]);
        let two = with_held(one.clone(), 20..40);
        let first = VpcUpdate::full(Vni::MIN, at(1), one.clone());
        let second = VpcUpdate::diff(Vni::MIN, (at(1), &one), (at(2), &two));
        world::all_applied(&stream.update(first.clone()).await);
        for _ in 0..2 {
            let ack = stream.update(second.clone()).await;
            world::all_applied(&ack);
            assert_eq!(ack.generation, at(2));
        }
        let ack = stream.update(first).await;
        assert!(matches!(ack.outcome, Outcome::Refused(why) if why.contains("older")));

        // The stream ends between two batches: the next one begins with nothing of them.
        let three = with_held(two.clone(), 50..90);
        let third = VpcUpdate::diff(Vni::MIN, (at(2), &two), (at(3), &three));
        let batches = third.clone().batches(3);
        stream.say(ControllerMessage::Update(batches[0].clone())).await;
        drop(stream);
        let mut stream = controller.stream().await;
        let position = stream.hello.positions[&Vni::MIN];
        assert_eq!((position.generation, position.digest), (at(2), Some(two.digest())));
        stream.say(ControllerMessage::Update(batches[1].clone())).await;
        assert!(matches!(stream.ack().await.outcome, Outcome::Refused(_)), "what was before?");
        stream.configure().await;
        world::all_applied(&stream.update(third).await);
        drop(stream);
        let stream = controller.stream().await;
        assert_eq!(stream.hello.positions[&Vni::MIN].digest, Some(three.digest()));
        world::kill(agent).await;
    });
}

#[test]
fn many_guests_of_one_update_are_attached_and_another_vpc_need_not_wait_for_them() {
    let name =
        "resume::many_guests_of_one_update_are_attached_and_another_vpc_need_not_wait_for_them";
    world::enter(name, || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let guests: Vec<_> = (0..60).map(|_| Guest::new()).collect();
        let names: Vec<_> = (0..guests.len()).map(|n| format!("g{n}")).collect();
        let ports = names.iter().zip(&guests).zip(5u8..);
        let ports: Vec<_> = ports
            .map(|((name, guest), n)| (name.as_str(), port(&guest.namespace(), n, at(1))))
            .collect();
        let many = VpcUpdate::full(Vni::MIN, at(1), rows(&ports));
        let other = Guest::new();
        let vni = Vni::try_from(2).unwrap();
        let one = rows(&[("a", port(&other.namespace(), 5, at(1)))]);
        let one = VpcUpdate::full(vni, at(1), one);
        for batch in many.batches(1000).into_iter().chain(one.batches(1000)) {
            stream.say(ControllerMessage::Update(batch)).await;
        }
        let (first, second) = (stream.ack().await, stream.ack().await);
        world::all_applied(&first);
        world::all_applied(&second);
        assert_eq!((first.vni, second.vni), (vni, Vni::MIN), "the small one is done first");
        let Outcome::Applied(applied) = second.outcome else { panic!() };
        assert_eq!(applied.ports.len(), guests.len());
        world::kill(agent).await;
    });
}
