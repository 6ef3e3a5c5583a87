//! The controller's store is lost and restored, under traffic: what happened since is undone.

use crate::migrations::{migrate, namespace, spread};
use crate::place::Place;
use crate::traffic::Numbered;
use crate::world::{World, mizar, until};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_guest_that_moved_after_the_backup_is_back_for_those_who_had_learned_where_it_went() {
    let Some(mut world) = World::new("restored", &spread()) else { return };
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name).clone());
    let (backup, socket) = (world.path("backup"), world.controller_socket());
    let [backup, socket] = [&backup, &socket].map(|path| path.to_str().unwrap());
    mizar(&["controller", "backup", backup, "--socket", socket]);
    let there = namespace(&world, "b2");
    migrate(&world, &["--to", "h3", "--netns", there.to_str().unwrap()]);
    // Guests that are not concerned notice nothing of all this.
    let others = Numbered::start(&a, &e, e.v4.into(), MILLISECOND);
    let from = [&a, &e];
    from.iter().for_each(|guest| guest.place().pings(b.v4.into()));
    assert!(Place::new(&there).pings_once(a.v4.into(), Duration::from_secs(2)));

    world.kill_controller();
    let data = world.controller_socket().with_file_name("controller");
    let data = data.to_str().unwrap();
    let said = mizar(&["controller", "restore", backup, "--data", data, "--replace"]);
    assert!(said.contains("epoch 2, "), "{said}");
    world.start_controller();
    world.becomes_ready();
    assert_eq!(world.guest("blue/b").host, "h4");
    for guest in from {
        guest.place().pings(b.v4.into());
        guest.place().pings(b.v6.into());
    }
    // They know where it is again: nothing takes the long way.
    let again = Numbered::start(&a, &b, b.v4.into(), MILLISECOND);
    until("everything goes direct", || {
        let before = world.counted();
        again.goes_on(200);
        let risen = world.counted().since(&before);
        let long = risen.of("blue", "sent_to_bouncer") + risen.of("blue", "sent_to_divider");
        risen.at("blue", "h1", "sent_direct") >= 200 && long == 0
    });
    let (sent, lost) = again.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
    let (sent, lost) = others.finish();
    assert!(lost.is_empty(), "of {sent} to others are lost {lost:?}");
}
