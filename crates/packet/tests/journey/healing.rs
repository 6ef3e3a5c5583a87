//! What happens when something is not, or no longer, as a host believes.

use crate::common::frames;
use crate::common::oracle::options_len;
use crate::common::topology::{BOUNCERS, DIVIDING, Guest, LEASE, RED, STAMP, TEACH, index};
use crate::common::world::{Fate, World};
use mizar_packet::count::{Counter, Path};
use mizar_packet::tables::{Endpoint, Learned};
use mizar_packet::wire::geneve::{MISSED, STALE};
use mizar_packet::wire::oam;
use mizar_packet::{Address, Reason};

const BOUNCER: usize = BOUNCERS[0];
const OTHER: usize = BOUNCERS[1];

/// A world in which two guests have found each other and no longer teach.
fn settled() -> (World, Guest, Guest) {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for _ in 0..60 {
        let _ = (world.udp(&a, &b), world.udp(&b, &a));
        world.advance(STAMP / 2);
    }
    world.udp(&a, &b).reached(&b, &[]);
    (world, a, b)
}

/// The marks on the first option of a frame.
fn marks(wire: &[u8]) -> u8 {
    if options_len(wire) == 0 { 0 } else { wire[52] & (MISSED | STALE) }
}

#[test]
fn a_packet_for_an_endpoint_that_has_moved_is_sent_back_marked_and_arrives() {
    let (mut world, a, b) = settled();
    let moved = world.move_guest(&b, 2);
    let trip = world.udp(&a, &b);
    trip.reached(&moved, &[b.host, BOUNCER]);
    assert_eq!(trip.wires.iter().map(|wire| marks(wire)).collect::<Vec<_>>(), [0, STALE, STALE]);
    assert_eq!(world.counted(b.host, Counter::Path(Path::Returned)), 1);
    // The sender was told, and asks a bouncer from then on.
    assert!(world.told.contains(&(b.host, a.host, oam::INVALIDATE)));
    world.udp(&a, &b).reached(&moved, &[BOUNCER]);
    world.udp(&moved, &a).reached(&a, &[]);
    world.udp(&a, &b).reached(&moved, &[]);
}

#[test]
fn the_old_host_of_an_endpoint_learns_where_it_went_as_anyone_does() {
    let (mut world, _, b) = settled();
    let neighbour = Guest::new(RED, b.host, 1, 77);
    world.attach(&neighbour);
    let moved = world.move_guest(&b, 2);
    world.udp(&neighbour, &moved).reached(&moved, &[BOUNCER]);
    world.udp(&moved, &neighbour).reached(&neighbour, &[]);
    world.udp(&neighbour, &moved).reached(&moved, &[]);
}

#[test]
fn two_hosts_that_no_longer_have_an_endpoint_end_its_packets() {
    let (mut world, a, b) = settled();
    // It has left host 1 and host 2, but its bouncers still believe in host 2.
    let moved = world.move_guest(&b, 2);
    world.detach(&moved);
    world.udp(&a, &b).dropped(2, Reason::StaleTwice);
    // A bouncer that would send it back where it came from drops it itself.
    let moved_back = Guest { host: 1, ..b };
    world.attach(&moved_back);
    world.detach(&moved_back);
    world.advance(2 * TEACH);
    world.udp(&a, &b).dropped(BOUNCER, Reason::StaleTwice);
}

#[test]
fn a_host_that_forgot_an_endpoint_sends_its_packets_to_a_bouncer() {
    let (mut world, a, b) = settled();
    let moved = world.move_guest(&b, 2);
    world.forget(b.host, &b);
    world.udp(&a, &b).reached(&moved, &[b.host, BOUNCER]);
    assert!(world.told.contains(&(b.host, a.host, oam::INVALIDATE)));
    world.udp(&a, &b).reached(&moved, &[BOUNCER]);
}

#[test]
fn a_sender_that_takes_a_bouncer_for_the_host_is_told() {
    let (mut world, a, b) = settled();
    // b moves from a host that is one of its bouncers.
    let on_bouncer = world.move_guest(&b, BOUNCER);
    on_bouncer.attach(&mut world.hosts[BOUNCER]);
    for _ in 0..60 {
        let _ = (world.udp(&a, &on_bouncer), world.udp(&on_bouncer, &a));
        world.advance(STAMP / 2);
    }
    world.udp(&a, &on_bouncer).reached(&on_bouncer, &[]);
    let away = Guest { host: 2, generation: on_bouncer.generation + 1, ..on_bouncer };
    world.hosts[BOUNCER].ports.remove(&away.interface);
    world.attach(&away);
    world.told.clear();
    world.udp(&a, &away).reached(&away, &[BOUNCER]);
    assert!(world.told.contains(&(BOUNCER, a.host, oam::INVALIDATE)));
}

#[test]
fn a_direct_sender_is_told_by_a_bouncer_without_a_row_too() {
    let (mut world, a, b) = settled();
    let on_bouncer = world.move_guest(&b, BOUNCER);
    on_bouncer.attach(&mut world.hosts[BOUNCER]);
    for _ in 0..60 {
        let _ = (world.udp(&a, &on_bouncer), world.udp(&on_bouncer, &a));
        world.advance(STAMP / 2);
    }
    let away = Guest { host: 2, generation: on_bouncer.generation + 1, ..on_bouncer };
    world.attach(&away);
    world.forget(BOUNCER, &away);
    world.told.clear();
    // Its packets are not lost, and it does not go on sending them there for ever.
    world.udp(&a, &away).reached(&away, &[BOUNCER, OTHER]);
    assert!(world.told.contains(&(BOUNCER, a.host, oam::INVALIDATE)));
}

#[test]
fn a_miss_at_one_bouncer_goes_marked_to_the_other() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.forget(BOUNCER, &b);
    let trip = world.udp(&a, &b);
    trip.reached(&b, &[BOUNCER, OTHER]);
    assert_eq!(trip.wires.iter().map(|w| marks(w)).collect::<Vec<_>>(), [0, MISSED, MISSED]);
    assert_eq!(world.counted(BOUNCER, Counter::Path(Path::Missed)), 1);
}

#[test]
fn the_second_miss_ends_a_packet_and_the_sender_asks_no_more_for_a_while() {
    let mut world = World::new();
    let a = world.red.a;
    let frame = || frames::udp(&a, [10, 0, 1, 99], b"");
    world.send(&a, frame()).dropped(OTHER, Reason::NoEndpoint);
    assert!(world.told.contains(&(OTHER, a.host, oam::UNKNOWN)));
    world.send(&a, frame()).dropped(a.host, Reason::NoEndpoint);
    world.advance(TEACH / 8);
    world.send(&a, frame()).dropped(a.host, Reason::NoEndpoint);
    world.advance(TEACH / 8);
    world.send(&a, frame()).dropped(OTHER, Reason::NoEndpoint);
}

#[test]
fn an_address_becomes_known_before_its_negative_lease_ends_if_it_speaks() {
    let mut world = World::new();
    let a = world.red.a;
    let late = Guest::new(RED, 1, 1, 99);
    let _ = world.udp(&a, &late);
    world.udp(&a, &late).dropped(a.host, Reason::NoEndpoint);
    world.attach(&late);
    world.udp(&late, &a).reached(&a, &[BOUNCER]);
    world.udp(&a, &late).reached(&late, &[]);
}

#[test]
fn who_was_told_that_an_address_does_not_exist_asks_again_when_told_that_it_does() {
    let mut world = World::new();
    let a = world.red.a;
    let late = Guest::new(RED, 1, 1, 99);
    let known = oam::Message::about(oam::KNOWN, RED, Address::v4(late.v4), Address::NONE, 0);
    world.control(OTHER, a.host, known);
    assert_eq!(world.learned(a.host, RED, Address::v4(late.v4)), None);
    let _ = world.udp(&a, &late);
    world.attach(&late);
    world.udp(&a, &late).dropped(a.host, Reason::NoEndpoint);
    world.control(OTHER, a.host, known);
    world.udp(&a, &late).reached(&late, &[BOUNCER]);
    // Of one whose place is known it says nothing.
    world.udp(&late, &a).reached(&a, &[]);
    world.hosts[a.host].written.set(false);
    world.control(OTHER, a.host, known);
    assert!(!world.hosts[a.host].written.get());
    world.udp(&a, &late).reached(&late, &[]);
}

#[test]
fn a_known_location_is_not_replaced_by_the_word_that_it_does_not_exist() {
    let (mut world, a, b) = settled();
    let unknown = oam::Message::about(oam::UNKNOWN, RED, Address::v4(b.v4), Address::NONE, 0);
    world.control(OTHER, a.host, unknown);
    world.udp(&a, &b).reached(&b, &[]);
}

#[test]
fn a_learned_location_on_a_host_that_does_not_prove_itself_is_not_used() {
    let (mut world, a, b) = settled();
    world.dead.insert(b.host);
    assert_eq!(world.udp(&a, &b).fate, Fate::Lost);
    world.advance(LEASE);
    // Its bouncers know no better yet, but it is they who are asked.
    let trip = world.udp(&a, &b);
    assert_eq!((trip.hosts, trip.fate), (vec![BOUNCER], Fate::Lost));
    // The endpoint is started again elsewhere: packets find it without a word to the sender.
    let reborn = Guest { host: 2, generation: b.generation + 1, ..b };
    world.attach(&reborn);
    world.udp(&a, &b).reached(&reborn, &[BOUNCER]);
    world.udp(&reborn, &a).reached(&a, &[]);
    world.udp(&a, &b).reached(&reborn, &[]);
}

#[test]
fn a_host_is_used_again_once_its_echo_has_come_back() {
    let (mut world, a, b) = settled();
    world.dead.insert(b.host);
    for _ in 0..10 {
        let _ = world.udp(&a, &b);
        world.advance(STAMP);
    }
    world.dead.remove(&b.host);
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    world.udp(&a, &b).reached(&b, &[]);
}

#[test]
fn a_dead_bouncer_is_passed_over_for_the_second_replica() {
    let mut world = World::new();
    let (a, b, d) = (world.red.a, world.red.b, world.red.d);
    world.dead.insert(BOUNCER);
    // Nothing is known of either bouncer yet: both are probed, and only one answers.
    assert_eq!(world.udp(&a, &b).fate, Fate::Lost);
    world.udp(&a, &b).reached(&b, &[OTHER]);
    world.udp(&d, &b).reached(&b, &[OTHER]);
    world.dead.clear();
    world.advance(STAMP);
    let _ = world.udp(&d, &b);
    world.udp(&d, &b).reached(&b, &[BOUNCER]);
}

#[test]
fn a_guest_that_sends_seldom_loses_one_packet_to_a_dead_bouncer_and_not_all() {
    const SELDOM: u64 = 3000;
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    world.advance(SELDOM);
    world.dead.insert(BOUNCER);
    assert_eq!(world.udp(&a, &b).fate, Fate::Lost);
    // By then nobody is known to be alive any more.
    for _ in 0..3 {
        world.advance(SELDOM);
        world.udp(&a, &b).reached(&b, &[OTHER]);
    }
    // It is asked for a while after each packet, so it is preferred again once it answers.
    world.dead.clear();
    world.advance(SELDOM);
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
}

#[test]
fn dead_dividers_and_bouncers_behind_them_are_passed_over_for_as_long_as_they_are_dead() {
    let mut world = World::new();
    let (a, c) = (world.red.a, world.red.c);
    // Nobody learns: every packet needs its divider and its bouncer.
    for host in [a.host, c.host] {
        world.hosts[host].learned_capacity = 0;
    }
    world.dead.extend([DIVIDING[0], BOUNCER]);
    let _ = (world.udp(&a, &c), world.udp(&a, &c));
    for round in 0..100 {
        let trip = world.udp(&a, &c);
        assert_eq!(trip.hosts, [DIVIDING[1], OTHER, c.host], "round {round}");
        world.advance(STAMP / 2 + 3);
    }
}

#[test]
fn the_bouncers_choice_is_stamped_as_used_so_that_its_proof_is_renewed() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let _ = world.udp(&a, &b);
    world.hosts[a.host].events.take();
    let before = world.hosts[a.host].hosts.borrow()[&index(BOUNCER)];
    assert!(before.alive_until > world.hosts[a.host].now);
    world.advance(STAMP);
    world.hosts[a.host].learned.take();
    let _ = world.udp(&a, &b);
    let after = world.hosts[a.host].hosts.borrow()[&index(BOUNCER)];
    assert_eq!(after.used, world.hosts[a.host].now);
}

#[test]
fn a_host_that_is_not_proven_is_probed_once_a_stamp_however_much_is_sent() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.agentless.insert(a.host);
    for _ in 0..50 {
        let _ = world.udp(&a, &b);
    }
    world.agentless.clear();
    world.hosts[a.host].now += STAMP;
    world.dead.insert(BOUNCER);
    world.hosts[a.host].learned.take();
    world.told.clear();
    for _ in 0..50 {
        let _ = world.udp(&a, &b);
    }
    let probes = world.told.iter().filter(|told| **told == (a.host, BOUNCER, oam::ECHO)).count();
    assert_eq!(probes, 1);
}

#[test]
fn a_bouncer_that_is_the_endpoints_own_host_by_mistake_does_not_send_to_itself() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let wrong = Endpoint { host: index(BOUNCER), ..b.held() };
    world.hosts[BOUNCER].endpoints.insert((RED, Address::v4(b.v4)), wrong);
    world.udp(&a, &b).dropped(BOUNCER, Reason::NoEndpoint);
}

#[test]
fn bouncers_that_point_at_each_other_forward_a_packet_a_bounded_number_of_times() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for (bouncer, other) in [(BOUNCER, OTHER), (OTHER, BOUNCER)] {
        let wrong = Endpoint { host: index(other), ..b.held() };
        world.hosts[bouncer].endpoints.insert((RED, Address::v4(b.v4)), wrong);
    }
    let trip = world.udp(&a, &b);
    assert!(matches!(trip.fate, Fate::Dropped(_, Reason::HopLimit)));
    assert_eq!(trip.hosts.len(), 8);
}

#[test]
fn without_a_next_hop_or_a_bouncer_the_reason_says_so() {
    let mut world = World::new();
    let (a, b, c) = (world.red.a, world.red.b, world.red.c);
    let unresolve = |world: &World, host| {
        world.hosts[a.host].hosts.borrow_mut().get_mut(&index(host)).unwrap().next_hop = [0; 6];
    };
    unresolve(&world, BOUNCER);
    let trip = world.udp(&a, &b);
    assert_eq!(trip.hosts, [OTHER, b.host], "the replica whose next hop is known");
    unresolve(&world, OTHER);
    unresolve(&world, b.host);
    world.udp(&a, &b).dropped(a.host, Reason::NoNextHop);
    world.hosts[a.host].hosts.borrow_mut().clear();
    world.udp(&a, &b).dropped(a.host, Reason::NoHost);
    world.udp(&a, &c).dropped(a.host, Reason::NoHost);
    world.hosts[a.host].holders.clear();
    world.udp(&a, &b).dropped(a.host, Reason::NoBouncer);
}

#[test]
fn a_bouncer_that_hears_of_a_newer_location_sends_there_before_it_is_told() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let (key, now) = (Address::v4(b.v4), world.hosts[a.host].now);
    let held = Endpoint { host: index(BOUNCER), ..b.held() };
    world.hosts[a.host].endpoints.insert((RED, key), held);
    let newer = Learned {
        generation: held.generation + 1,
        used: now,
        teach_until: 0,
        notice_at: 0,
        host: index(b.host),
        vpc: held.vpc,
    };
    world.hosts[a.host].learned.borrow_mut().insert((RED, key), newer);
    world.udp(&a, &b).reached(&b, &[]);
}

#[test]
fn an_invalidation_counts_only_from_the_host_it_is_about_and_for_what_it_knew() {
    let (mut world, a, b) = settled();
    let key = Address::v4(b.v4);
    let invalidate =
        |generation| oam::Message::about(oam::INVALIDATE, RED, key, Address::NONE, generation);
    world.control(2, a.host, invalidate(u64::MAX));
    world.control(b.host, a.host, invalidate(b.generation - 1));
    world.udp(&a, &b).reached(&b, &[]);
    world.control(b.host, a.host, invalidate(b.generation));
    let row = world.learned(a.host, RED, key).unwrap();
    assert_eq!((row.host, row.generation), (0, b.generation));
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
}
