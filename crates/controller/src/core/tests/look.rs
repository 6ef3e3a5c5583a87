//! Questions to hosts, and who may answer them.

use super::*;
use crate::engine::{Asked, LookAt, Said};
use mizar_proto::{Answer, Looked};
use std::net::IpAddr;
use tokio::sync::oneshot::error::TryRecvError;

fn underlay(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn at(hosts: &[u8]) -> LookAt {
    let addresses = vec!["10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap()];
    let hosts = hosts.iter().map(|number| underlay(*number)).collect();
    LookAt { vpc: name("blue"), addresses, hosts }
}

fn look(world: &mut World, hosts: &[u8]) -> Asked {
    world.core.look(&Identity::local(), &at(hosts)).unwrap()
}

fn answer(world: &mut World, host: &str, number: u64, outcome: Result<Looked, String>) {
    let (host, now) = (name(host), world.time());
    let session = world.hosts[&host].stream.as_ref().unwrap().session;
    let answer = AgentMessage::Answer(Answer { number, outcome });
    world.core.hear(&host, session, answer, now).unwrap();
}

#[test]
fn a_host_is_asked_and_its_answer_comes_with_the_names_of_those_in_it() {
    let mut world = World::example(3);
    let mut made = endpoint_yaml("web", "h1");
    made = made.replace("spec: {", "spec: {v4: 10.0.0.9, ");
    world.write(&made);
    world.settle();
    let mut asked = look(&mut world, &[1, 77]);
    assert_eq!(asked.vni.get(), 7);
    assert_eq!(asked.endpoints, [(asked_address(), (name("web"), name("h1")))].into());
    let [host] = &mut asked.hosts[..] else { panic!("no host has the other address") };
    assert_eq!((&host.name, host.underlay), (&name("h1"), underlay(1)));
    let said = host.said.as_mut().unwrap();
    world.settle();
    let question = world.hosts[&name("h1")].questions[0].clone();
    assert_eq!(question.look.addresses, at(&[]).addresses);
    assert_eq!(question.look.hosts, [underlay(1), underlay(77)], "it has rows of these, perhaps");

    answer(&mut world, "h2", question.number, Err("I am h1".to_owned()));
    assert_eq!(said.try_recv().unwrap_err(), TryRecvError::Empty, "h2 was not asked");
    let looked = Looked { hosts: vec![underlay(2), underlay(99)], ..Looked::default() };
    answer(&mut world, "h1", question.number, Ok(looked.clone()));
    let Said { outcome, names } = said.try_recv().unwrap();
    assert_eq!((outcome, names), (Ok(looked), [(underlay(2), name("h2"))].into()));
    // Once more, and one that nobody asked for.
    answer(&mut world, "h1", question.number, Err("no".to_owned()));
    answer(&mut world, "h1", 99, Err("no".to_owned()));
}

fn asked_address() -> IpAddr {
    "10.0.0.9".parse().unwrap()
}

#[test]
fn a_host_that_cannot_be_asked_is_said_why() {
    let mut world = World::example(2);
    world.disconnect(&name("h2"));
    let asked = look(&mut world, &[2]);
    assert_eq!(
        asked.hosts[0].said.as_ref().unwrap_err(),
        &"its agent has no stream to the controller"
    );

    // It takes nothing, so there is no room for more than some questions.
    let asked: Vec<_> = (0..20).map(|_| look(&mut world, &[1])).collect();
    let refused: Vec<_> =
        asked.iter().filter_map(|asked| asked.hosts[0].said.as_ref().err()).collect();
    assert!((10..20).contains(&refused.len()), "{refused:?}");
    assert!(refused[0].contains("ask again"));
    world.settle();
    assert_eq!(world.hosts[&name("h1")].questions.len(), 20 - refused.len());
    world.write("{kind: Vpc, metadata: {name: red}, spec: {}}");
    world.settle();
    world.check_rows();
}

#[test]
fn it_takes_an_operator_and_a_vpc_that_exists() {
    let mut world = World::example(1);
    for who in ["tenant/acme/bob", "monitor/prometheus", "host/h1"] {
        let refusal = world.core.look(&who.parse().unwrap(), &at(&[1])).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Forbidden, "{who}");
    }
    let nowhere = LookAt { vpc: name("green"), ..at(&[1]) };
    let refusal = world.core.look(&Identity::local(), &nowhere).unwrap_err();
    assert_eq!(
        (refusal.kind, refusal.detail.as_str()),
        (RefusalKind::NotFound, "there is no vpc green")
    );
}
