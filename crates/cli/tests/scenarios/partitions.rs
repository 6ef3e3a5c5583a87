//! Agents and their controller do not hear each other, or only one of them the other: packets flow
//! on, and what was declared meanwhile is there afterwards.

use crate::declared::{Declared, TOGETHER, spread};
use crate::relay::{Relay, Way};
use crate::traffic::{Numbered, Stream};
use crate::world::{World, is_left_out};
use std::time::Duration;

/// Longer than a host is counted on, and than a stream lives without a sign of life.
const LONG: u64 = 26;

#[test]
fn agents_that_hear_nothing_are_told_everything_afterwards() {
    if is_left_out() {
        return;
    }
    parts("deaf", &[Way::ToAgents]);
}

#[test]
fn agents_that_are_not_heard_are_believed_again_afterwards() {
    if is_left_out() {
        return;
    }
    parts("mute", &[Way::ToController]);
}

#[test]
fn agents_and_controller_that_do_not_hear_each_other_end_as_if_they_had() {
    parts("apart", &[Way::ToAgents, Way::ToController]);
}

/// All agents lose these ways for long, while endpoints are declared and guests talk.
fn parts(name: &str, ways: &[Way]) {
    let Some(mut world) = World::new(name, &spread()) else { return };
    let relay = Relay::start(&mut world);
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    let stream = Stream::start(&a, &b, b.v6.into());
    let datagrams = Numbered::start(&a, &b, b.v4.into(), Duration::from_millis(1));
    datagrams.goes_on(200);
    relay.cut(&world, &["h1", "h2", "h3", "h4"], ways);
    let declared = Declared::new(&world, TOGETHER);
    declared.apply(|_| {});
    for _ in 0..LONG {
        datagrams.goes_on(900);
        stream.goes_on(50_000);
    }
    let phases = declared.phases();
    assert!(phases.iter().all(|phase| phase != "Ready"), "nobody has said so: {phases:?}");
    relay.heal();
    declared.are_ready();
    let addresses = declared.addresses();
    world.becomes_ready();
    addresses.into_values().for_each(|address| a.place().pings(address));
    datagrams.goes_on(200);
    stream.finish();
    let (sent, lost) = datagrams.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
}

#[test]
fn one_host_that_hears_nothing_holds_up_nobody_else() {
    let Some(mut world) = World::new("one-deaf", &spread()) else { return };
    let relay = Relay::start(&mut world);
    let a = world.guest("blue/a").place();
    // Guests live on h1 and h4; h2 and h3 bounce.
    relay.cut(&world, &["h4"], &[Way::ToAgents]);
    let declared = Declared::new(&world, TOGETHER);
    declared.apply(|_| {});
    let on_h1 = world.asks(&["wait", "endpoint", "blue/n0", "blue/n2", "--timeout", "20s"]);
    assert!(on_h1.status.success(), "{on_h1:?}");
    let phases = declared.phases();
    assert_eq!((&*phases[0], &*phases[2]), ("Ready", "Ready"));
    assert_eq!((&*phases[1], &*phases[3]), ("Pending", "Pending"));
    relay.heal();
    declared.are_ready();
    declared.addresses().into_values().for_each(|address| a.pings(address));
    world.becomes_ready();
}
