//! Guests that cannot wait.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::world;
use crate::world::{FakeController, Guest, at, port, rows};
use mizar_agent::kernel::Maps;
use mizar_packet::Reason;
use mizar_packet::count::Counter;
use mizar_vpc::{Vni, VpcUpdate};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Has a guest send to its gateway over and over, from before it has an interface.
fn sends(guest: &Guest) -> Child {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", guest.namespace().display()));
    command.args(["bash", "-c", "while :; do echo > /dev/udp/10.0.0.1/9; done"]);
    command.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

#[test]
fn what_a_guest_sends_as_soon_as_it_can_is_not_dropped_for_want_of_its_row() {
    let name = "eager::what_a_guest_sends_as_soon_as_it_can_is_not_dropped_for_want_of_its_row";
    world::enter(name, || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let guests: Vec<_> =
            (10..20).map(|last| (format!("e{last}"), last, Guest::new())).collect();
        // One after the other: each has the machine for itself.
        let mut ports = Vec::new();
        for (generation, (name, last, guest)) in (1..).zip(&guests) {
            let _sender = sends(guest);
            ports.push((name.as_str(), port(&guest.namespace(), *last, at(generation))));
            let update = VpcUpdate::full(Vni::MIN, at(generation), rows(&ports));
            world::all_applied(&stream.update(update).await);
            // It asks for its gateway's MAC address.
            while world::counters("h1").await["answered"] < generation {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let maps = Maps::open(&world::options().pins).unwrap();
        assert_eq!(maps.counters.sum(Counter::Dropped(Reason::NoPort).row()).unwrap(), 0);
        world::kill(agent).await;
    });
}

#[test]
fn a_guest_that_cannot_be_attached_leaves_no_row() {
    world::enter("eager::a_guest_that_cannot_be_attached_leaves_no_row", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let nowhere = [("e", port("/run/netns/nowhere".as_ref(), 10, at(1)))];
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(1), rows(&nowhere))).await;
        assert_eq!(world::errors(&ack).len(), 1);
        let maps = Maps::open(&world::options().pins).unwrap();
        assert_eq!(maps.ports.rows().unwrap(), []);
        world::kill(agent).await;
    });
}
