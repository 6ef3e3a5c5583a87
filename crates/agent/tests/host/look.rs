//! What the controller asks of a host's tables.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::world::{self, FakeController, Guest, HERE, THERE, at, port, rows};
use mizar_proto::{AgentMessage, Answer, ControllerMessage, Look, Looked, Question};
use mizar_vpc::{HeldRow, Vni, VpcUpdate};
use std::net::IpAddr;

/// What the host answers to a look.
async fn ask(stream: &mut world::Stream, number: u64, look: Look) -> Looked {
    stream.say(ControllerMessage::Question(Question { number, look })).await;
    loop {
        match stream.message().await {
            AgentMessage::Answer(Answer { number: of, outcome }) => {
                assert_eq!(of, number);
                return outcome.unwrap();
            }
            AgentMessage::Beat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_host_answers_with_the_few_rows_that_matter() {
    world::enter("look::a_host_answers_with_the_few_rows_that_matter", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let (one, two) = (Guest::new(), Guest::new());
        let mut told = rows(&[
            ("a", port(&one.namespace(), 5, at(2))),
            ("b", port(&two.namespace(), 6, at(2))),
        ]);
        for last in 7..107 {
            let held = HeldRow { host: THERE, generation: at(2) };
            told.held.insert([10, 0, 0, last].into(), held);
        }
        let update = VpcUpdate::full(Vni::MIN, at(2), told);
        world::all_applied(&stream.update(update).await);

        let from: IpAddr = [10, 0, 0, 5].into();
        let look = |vni: Vni, dst: u8, hosts: &[IpAddr]| {
            let addresses = vec![from, [10, 0, 0, dst].into()];
            Look { vni, addresses, hosts: hosts.to_vec() }
        };
        let counts = |looked: &Looked| {
            let count = |table: &str| looked.tables.get(table).map_or(0, Vec::len);
            ["CONFIG", "PORTS", "BUCKETS", "ENDPOINTS", "VPCS", "ROUTES"].map(count)
        };
        let held = ask(&mut stream, 7, look(Vni::MIN, 9, &[])).await;
        assert_eq!(counts(&held), [1, 1, 1, 2, 1, 1], "{held:?}");
        assert!(held.hosts.contains(&THERE), "that is where the destination is");
        assert!(held.tables["HOSTS"].len() == held.hosts.len() && held.hosts.len() < 5);
        let here = ask(&mut stream, 8, look(Vni::MIN, 6, &[HERE])).await;
        assert_eq!(counts(&here), [1, 2, 2, 2, 1, 1], "both are here");
        let none = ask(&mut stream, 9, look(Vni::try_from(9).unwrap(), 9, &[])).await;
        assert_eq!(counts(&none), [1, 0, 0, 0, 0, 0], "nothing of another VPC");
        assert!(!none.hosts.contains(&THERE));
        let asked = ask(&mut stream, 10, look(Vni::try_from(9).unwrap(), 9, &[THERE])).await;
        assert!(asked.hosts.contains(&THERE), "it was asked for");
        world::kill(agent).await;
    });
}
