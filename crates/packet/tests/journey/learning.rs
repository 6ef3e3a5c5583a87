//! Learning, and what limits it.

use crate::common::frames;
use crate::common::topology::{
    BOUNCERS, DIVIDING, Guest, NOTICE_DELAY, RED, STAMP, TEACH, index, keys,
};
use crate::common::world::{Fate, World};
use mizar_packet::count::{Counter, Path};
use mizar_packet::tables::{Bucket, EndpointKey, Host, Learned};
use mizar_packet::wire::oam::{self, Message};
use mizar_packet::{Address, Reason};

const BOUNCER: usize = BOUNCERS[0];

/// A world in which two guests have found each other.
fn acquainted() -> (World, Guest, Guest) {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for _ in 0..2 {
        let _ = (world.udp(&a, &b), world.udp(&b, &a));
    }
    (world, a, b)
}

/// Both talk all the while, as in any conversation.
fn keep_talking(world: &mut World, a: &Guest, b: &Guest, jiffies: u64) {
    for _ in 0..jiffies / STAMP {
        let _ = (world.udp(a, b), world.udp(b, a));
        world.advance(STAMP);
    }
    let _ = (world.udp(a, b), world.udp(b, a));
}

#[test]
fn in_steady_state_no_packet_has_an_option_and_nothing_is_written() {
    let (mut world, a, b) = acquainted();
    keep_talking(&mut world, &a, &b, 4 * TEACH);
    world.hosts.iter().for_each(|host| host.written.set(false));
    for (from, to) in [(a, b), (b, a)] {
        let trip = world.udp(&from, &to);
        assert_eq!(trip.reached(&to, &[]).options_len(), 0);
    }
    assert!(world.hosts.iter().all(|host| !host.written.get()));
}

#[test]
fn teaching_lasts_a_second_after_the_last_bounced_packet() {
    let (mut world, a, b) = acquainted();
    assert_ne!(world.udp(&b, &a).options_len(), 0);
    keep_talking(&mut world, &a, &b, TEACH - STAMP);
    assert_ne!(world.udp(&b, &a).options_len(), 0);
    keep_talking(&mut world, &a, &b, STAMP);
    assert_eq!(world.udp(&b, &a).options_len(), 0);
    // Another endpoint of a's host talks to b for the first time, and needs to be taught.
    let d = world.red.d;
    assert_ne!(world.udp(&b, &d).reached(&d, &[BOUNCER]).options_len(), 0);
    assert_eq!(world.udp(&d, &b).reached(&b, &[]).options_len(), 24);
}

#[test]
fn an_endpoint_that_talks_to_a_known_remote_teaches_it_when_that_answers_by_a_bouncer() {
    let (mut world, a, b) = acquainted();
    keep_talking(&mut world, &a, &b, 3 * TEACH);
    let d = world.red.d;
    // b's location is known on d's host and not taught: d's first packet does not announce d.
    assert_eq!(world.udp(&a, &b).options_len(), 0);
    assert_eq!(world.udp(&d, &b).reached(&b, &[]).options_len(), 0);
    world.udp(&b, &d).reached(&d, &[BOUNCER]);
    assert_eq!(world.udp(&d, &b).reached(&b, &[]).options_len(), 24);
    world.udp(&b, &d).reached(&d, &[]);
}

#[test]
fn whoever_is_asked_as_a_divider_teaches_though_packets_come_straight() {
    let mut world = World::new();
    let (a, d) = (world.red.a, world.red.d);
    let [on_divider, beside] = [30, 31].map(|id| Guest::new(RED, DIVIDING[0], 2, id));
    world.attach(&on_divider);
    world.attach(&beside);
    // The divider's host learns of a, and teaches as long as it does after news. Others keep both
    // hosts known to be alive.
    world.udp(&a, &on_divider).reached(&on_divider, &[]);
    keep_talking(&mut world, &d, &beside, 2 * TEACH);
    keep_talking(&mut world, &a, &on_divider, 2 * TEACH);
    let direct = |world: &World| world.counted(a.host, Counter::Path(Path::SentDirect));
    let before = direct(&world);
    assert_eq!(world.udp(&a, &on_divider).reached(&on_divider, &[]).options_len(), 0);
    assert_eq!(direct(&world), before + 1, "not as to a divider, which is throttled");
}

#[test]
fn a_bouncer_that_has_learned_nothing_teaches_for_a_while_only() {
    let mut world = World::new();
    let (b, on_bouncer) = (world.red.b, Guest::new(RED, BOUNCER, 1, 31));
    world.attach(&on_bouncer);
    on_bouncer.attach(&mut world.hosts[BOUNCER]);
    let beside = Guest::new(RED, BOUNCER, 1, 32);
    world.attach(&beside);
    beside.attach(&mut world.hosts[BOUNCER]);
    world.udp(&on_bouncer, &b).reached(&b, &[]);
    // Time passes, in which others keep both hosts known to be alive.
    let other = Guest::new(RED, b.host, 1, 33);
    world.attach(&other);
    keep_talking(&mut world, &beside, &other, 2 * TEACH);
    assert_eq!(world.udp(&on_bouncer, &b).reached(&b, &[]).options_len(), 24, "it asks");
    keep_talking(&mut world, &on_bouncer, &b, 2 * TEACH);
    assert_eq!(world.udp(&on_bouncer, &b).reached(&b, &[]).options_len(), 0);
}

#[test]
fn one_way_traffic_becomes_direct_by_a_notice() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    world.advance(NOTICE_DELAY);
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    assert!(world.told.contains(&(b.host, a.host, oam::NOTICE)));
    // The next one finds that the host has still to prove itself.
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    world.udp(&a, &b).reached(&b, &[]);
}

#[test]
fn notices_are_at_most_one_a_second_for_a_remote() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    // The sender does not take them: its quota is used up.
    world.hosts[a.host].vpcs.get_mut(&RED).unwrap().quota = 0;
    for _ in 0..50 {
        world.udp(&a, &b).reached(&b, &[BOUNCER]);
        world.advance(100);
    }
    let notices = world.told.iter().filter(|told| told.2 == oam::NOTICE).count();
    assert!((4..=6).contains(&notices), "{notices}");
}

#[test]
fn without_agents_packets_still_flow_by_way_of_the_bouncer() {
    let mut world = World::new();
    world.agentless.extend(0..world.hosts.len());
    let (a, b) = (world.red.a, world.red.b);
    for _ in 0..20 {
        world.udp(&a, &b).reached(&b, &[BOUNCER]);
        world.udp(&b, &a).reached(&a, &[BOUNCER]);
        world.advance(100);
    }
}

#[test]
fn hosts_that_have_never_met_need_one_packet_more() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for (host, other) in [(a.host, b.host), (b.host, a.host)] {
        world.hosts[host].hosts.borrow_mut().remove(&index(other));
    }
    world.udp(&a, &b).reached(&b, &[BOUNCER]);
    assert!(world.hosts[b.host].hosts.borrow().contains_key(&index(a.host)));
    world.udp(&b, &a).reached(&a, &[BOUNCER]);
    world.udp(&a, &b).reached(&b, &[]);
    world.udp(&b, &a).reached(&a, &[]);
}

#[test]
fn an_older_generation_never_replaces_a_newer_one() {
    let (mut world, a, b) = acquainted();
    let key = Address::v4(b.v4);
    let before = world.learned(a.host, RED, key).unwrap();
    let sent = world.udp(&b, &a).wires[0].clone();
    let with = |generation: u64, host: u8| {
        let mut wire = sent.clone();
        wire[50 + 4 + 2] = host;
        wire[58..66].copy_from_slice(&generation.to_be_bytes());
        let there = crate::common::topology::underlay(host.into());
        let tag = keys(RED).sign_location(&EndpointKey::new(RED, key), there, generation);
        wire[66..74].copy_from_slice(&tag);
        wire
    };
    let _ = world.arrive(a.host, with(b.generation - 1, 2));
    assert_eq!(world.learned(a.host, RED, key).unwrap().host, before.host);
    assert_eq!(world.counted(a.host, Counter::Path(Path::LearnRefused)), 1);
    let stale = Message::about(
        oam::NOTICE,
        RED,
        key,
        Address::v4(crate::common::topology::underlay(2)),
        b.generation - 1,
    );
    world.control(2, a.host, stale);
    assert_eq!(world.learned(a.host, RED, key).unwrap().host, before.host);
    // A newer one does, from whatever host it comes.
    let host_row = crate::common::topology::host_row(2);
    world.hosts[a.host].hosts.borrow_mut().insert(index(2), host_row);
    let _ = world.arrive(a.host, with(b.generation + 1, 2));
    let after = world.learned(a.host, RED, key).unwrap();
    assert_eq!((after.host, after.generation), (index(2), b.generation + 1));
}

#[test]
fn a_vpc_learns_no_more_rows_than_its_quota() {
    let mut world = World::new();
    let a = world.red.a;
    world.hosts[a.host].vpcs.get_mut(&RED).unwrap().quota = 3;
    for id in 100..110 {
        let stranger = Guest::new(RED, 1, 1, id);
        world.attach(&stranger);
        world.udp(&stranger, &a).reached(&a, &[BOUNCER]);
    }
    assert_eq!(world.hosts[a.host].learned.borrow().len(), 3);
    assert_eq!(world.counted(a.host, Counter::Path(Path::Learned)), 3);
    assert_eq!(world.counted(a.host, Counter::Path(Path::LearnRefused)), 7);
    // Another VPC has its own.
    let (blue_a, blue_b) = (world.blue.a, world.blue.b);
    world.udp(&blue_b, &blue_a).reached(&blue_a, &[BOUNCER]);
    assert_eq!(world.hosts[a.host].learned.borrow().len(), 4);
}

#[test]
fn a_full_table_is_no_reason_to_drop() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for host in [a.host, b.host] {
        world.hosts[host].learned_capacity = 0;
    }
    for _ in 0..3 {
        world.udp(&a, &b).reached(&b, &[BOUNCER]);
        world.udp(&b, &a).reached(&a, &[BOUNCER]);
    }
}

#[test]
fn packets_that_cannot_go_direct_are_throttled_and_direct_ones_are_not() {
    let (mut world, a, b) = acquainted();
    let mut bucket = Bucket::full(world.hosts[a.host].now);
    bucket.tokens = 2;
    world.hosts[a.host].buckets.borrow_mut().insert(a.interface, bucket);
    let nobody = |id| frames::udp(&a, [10, 0, 1, id], b"");
    for id in [201, 202] {
        world.send(&a, nobody(id)).dropped(BOUNCERS[1], Reason::NoEndpoint);
    }
    world.send(&a, nobody(203)).dropped(a.host, Reason::Throttled);
    world.udp(&a, &b).reached(&b, &[]);
    world.advance(1);
    world.send(&a, nobody(204)).dropped(BOUNCERS[1], Reason::NoEndpoint);
}

#[test]
fn a_packet_in_the_name_of_a_guest_of_this_host_teaches_nothing() {
    let (mut world, a, b) = acquainted();
    let d = world.red.d;
    let mut wire = world.udp(&b, &a).wires[0].clone();
    // The inner source becomes d's.
    let at = 74 + 14 + 12;
    wire[at..at + 4].copy_from_slice(&d.v4);
    // That guest may just have moved away, before this host was told.
    let trip = world.arrive(a.host, wire);
    assert_eq!(trip.fate, Fate::Delivered(a.host, a.interface));
    assert_eq!(world.counted(a.host, Counter::Path(Path::LearnRefused)), 1);
    assert_eq!(world.learned(a.host, RED, Address::v4(d.v4)), None);
}

#[test]
fn a_location_outside_the_fleet_is_dropped() {
    let (mut world, a, b) = acquainted();
    let mut wire = world.udp(&b, &a).wires[0].clone();
    wire[54..58].copy_from_slice(&[192, 0, 2, 1]);
    world.arrive(a.host, wire).dropped(a.host, Reason::ForeignSource);
}

#[test]
fn a_used_row_says_so_at_most_every_ten_seconds() {
    let (mut world, a, b) = acquainted();
    let used = |world: &World| world.learned(a.host, RED, Address::v4(b.v4)).unwrap().used;
    let first = used(&world);
    let mut stamps = std::collections::BTreeSet::new();
    for _ in 0..300 {
        world.udp(&a, &b).reached(&b, &[]);
        stamps.insert(used(&world));
        world.advance(100);
    }
    assert!(stamps.contains(&first));
    assert!((2..=4).contains(&stamps.len()), "{stamps:?}");
    let gaps: Vec<u64> = stamps.iter().zip(stamps.iter().skip(1)).map(|(a, b)| b - a).collect();
    assert!(gaps.iter().all(|&gap| gap > Learned::USED_SECONDS * 1000), "{gaps:?}");
}

#[test]
fn a_bouncer_that_sends_itself_uses_what_it_holds_and_teaches_until_told_otherwise() {
    let mut world = World::new();
    let on_bouncer = Guest::new(RED, BOUNCER, 1, 60);
    world.attach(&on_bouncer);
    on_bouncer.attach(&mut world.hosts[BOUNCER]);
    let b = world.red.b;
    assert_eq!(world.udp(&on_bouncer, &b).reached(&b, &[]).options_len(), 24);
    world.udp(&b, &on_bouncer).reached(&on_bouncer, &[]);
    world.advance(2 * TEACH);
    assert_eq!(world.udp(&on_bouncer, &b).reached(&b, &[]).options_len(), 0);
    let Host { used, .. } = world.hosts[BOUNCER].hosts.borrow()[&index(b.host)];
    assert_eq!(used, world.hosts[BOUNCER].now);
}
