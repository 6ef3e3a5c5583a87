//! An agent whose tables have another layout: it takes the place of what it finds only when it
//! knows all that there is to know.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::world;
use crate::world::{FakeController, Guest, at, port, rows};
use mizar_agent::Options;
use mizar_agent::kernel::{Maps, Pins};
use mizar_agent::netlink::host_interface;
use mizar_packet::tables::{Config, LAYOUT};
use mizar_proto::{Ack, ControllerMessage, Outcome};
use mizar_vpc::{Vni, VpcUpdate};
use std::process::Command;
use std::time::Duration;

fn newer() -> Options {
    Options { layout: LAYOUT + 1, ..world::options() }
}

fn config(layout: u32) -> Config {
    let maps = Maps::open(Pins::of_layout(&world::options().pins, layout)).unwrap();
    maps.config.get(&0).unwrap().unwrap()
}

/// The kernel's number of the program on a guest's interface.
fn program_of(endpoint: &str) -> u64 {
    let interface = host_interface(1, endpoint);
    let output = Command::new("tc").args(["filter", "show", "dev", &interface, "ingress"]).output();
    number_after(&String::from_utf8(output.unwrap().stdout).unwrap(), " id ")
}

/// The kernel's number of the XDP program on the NIC.
fn program_of_nic() -> u64 {
    number_after(&world::ip("-d link show nic"), "prog/xdp id ")
}

fn number_after(text: &str, word: &str) -> u64 {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{word:?} is not in {text}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn is_prepared(ack: &Ack) -> bool {
    matches!(&ack.outcome, Outcome::Applied(applied) if applied.prepared)
}

fn is_pinned(layout: u32) -> bool {
    world::options().pins.join(format!("v{layout}")).exists()
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn another_layout_takes_over_once_all_is_told_and_the_old_one_until_then_is_not_touched() {
    let name = "layouts::another_layout_takes_over_once_all_is_told_and_the_old_one_until_then_is_\
                not_touched";
    world::enter(name, || async {
        world::no_aggregation();
        let (mut controller, _serving) = FakeController::listen();
        let (a, b) = (Guest::new(), Guest::new());
        let one = [("a", port(&a.namespace(), 5, at(1)))];
        let two = [one[0].clone(), ("b", port(&b.namespace(), 6, at(2)))];
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        stream.configure().await;
        world::all_applied(&stream.update(VpcUpdate::full(Vni::MIN, at(1), rows(&one))).await);
        world::kill(agent).await;
        let (old, nic, guest) = (config(LAYOUT), program_of_nic(), program_of("a"));

        // Killed at any moment before, it leaves what there was.
        for _ in 0..2 {
            let agent = world::start(newer());
            let mut stream = controller.stream().await;
            assert!(stream.hello.positions.contains_key(&Vni::MIN), "the guest is seen");
            let waits_for = stream.beat().await.waits_for.unwrap();
            assert!(waits_for.starts_with("all that the controller has to tell"), "{waits_for}");
            stream.configure().await;
            let ack = stream.update(VpcUpdate::full(Vni::MIN, at(2), rows(&two))).await;
            assert!(is_prepared(&ack), "{ack:?}");
            let status = world::status("h1").await;
            assert!(status.waits_for.unwrap().contains(&format!("layout v{LAYOUT}")));
            assert!(world::metrics("h1").await.contains("mizar_agent_waiting 1"));
            assert_eq!((program_of_nic(), program_of("a")), (nic, guest));
            assert_ne!(program_of("b"), guest, "a new guest has the new program from the start");
            assert!(a.succeeds("ping -c 1 -W 2 10.0.0.1"));
            assert_eq!(config(LAYOUT), old);
            world::kill(agent).await;
        }

        let agent = world::start(newer());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let ack = stream.update(VpcUpdate::full(Vni::MIN, at(2), rows(&two))).await;
        assert!(is_prepared(&ack), "{ack:?}");
        stream.say(ControllerMessage::Complete).await;
        let ack = stream.ack().await;
        assert!(!is_prepared(&ack) && ack.generation == at(2), "{ack:?}");
        world::all_applied(&ack);
        assert_eq!(stream.beat().await.waits_for, None, "it is said at once");
        until(|| !is_pinned(LAYOUT)).await;
        assert_eq!(program_of("a"), program_of("b"));
        assert_ne!(program_of_nic(), nic);
        let new = config(LAYOUT + 1);
        assert_eq!((new.mark, new.echo_cookie), (old.mark, old.echo_cookie));
        assert_eq!(world::status("h1").await.waits_for, None);
        assert!(world::metrics("h1").await.contains("mizar_agent_waiting 0"));
        assert!(a.succeeds("ping -c 1 -W 2 10.0.0.6") && b.succeeds("ping -c 1 -W 2 10.0.0.5"));
        world::kill(agent).await;
    });
}

#[test]
fn an_agent_that_is_never_told_all_says_that_controllers_are_upgraded_first() {
    let name = "layouts::an_agent_that_is_never_told_all_says_that_controllers_are_upgraded_first";
    if std::env::var_os("MIZAR_TEST_FULL").is_none() {
        println!("SKIPPED: long; MIZAR_TEST_FULL runs it");
        return;
    }
    world::enter(name, || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        controller.stream().await.configure().await;
        world::kill(agent).await;
        let agent = world::start(newer());
        let mut stream = controller.stream().await;
        stream.configure().await;
        let says = |text: Option<String>| text.unwrap().contains("has to be upgraded first");
        while !says(stream.beat().await.waits_for) {}
        assert!(says(world::status("h1").await.waits_for));
        // It was only slow.
        stream.say(ControllerMessage::Complete).await;
        while stream.beat().await.waits_for.is_some() {}
        world::kill(agent).await;
    });
}

#[test]
fn what_a_dead_takeover_has_left_is_swept_by_an_agent_of_the_layout_at_work() {
    let name = "layouts::what_a_dead_takeover_has_left_is_swept_by_an_agent_of_the_layout_at_work";
    world::enter(name, || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        controller.stream().await.configure().await;
        world::kill(agent).await;
        // All of it, or a part, as if it had died while it was made or removed.
        for pins in [&["CONFIG", "PORTS"][..], &[]] {
            let agent = world::start(newer());
            controller.stream().await;
            world::kill(agent).await;
            let folder = world::options().pins.join(format!("v{}", LAYOUT + 1));
            for pin in pins {
                std::fs::remove_file(folder.join(pin)).unwrap();
            }
            let agent = world::start(world::options());
            let stream = controller.stream().await;
            stream.configure().await;
            stream.say(ControllerMessage::Complete).await;
            until(|| !is_pinned(LAYOUT + 1)).await;
            assert!(is_pinned(LAYOUT));
            world::kill(agent).await;
        }
        assert_eq!(mizar_agent::remove(&world::options().pins, "h1").await, Ok(()));
        assert!(!world::options().pins.exists());
    });
}

#[test]
fn everything_is_removed_whichever_layouts_are_there() {
    world::enter("layouts::everything_is_removed_whichever_layouts_are_there", || async {
        let (mut controller, _serving) = FakeController::listen();
        for options in [world::options(), newer()] {
            let agent = world::start(options);
            controller.stream().await;
            world::kill(agent).await;
        }
        assert!(is_pinned(LAYOUT) && is_pinned(LAYOUT + 1));
        assert_eq!(mizar_agent::remove(&world::options().pins, "h1").await, Ok(()));
        assert!(!world::options().pins.exists());
    });
}
