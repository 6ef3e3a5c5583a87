//! What is believed of locations: only what is signed by one who has the key.

use crate::common::topology::{
    BLUE, BOUNCERS, EPOCH, Guest, HOSTS, NOTICE_DELAY, RED, TEACH, host_row, index, keys, keys_at,
    nic_mac, underlay,
};
use crate::common::world::{Fate, Trip, World};
use mizar_packet::count::{Counter, Path};
use mizar_packet::keys::{Keys, Tag};
use mizar_packet::tables::{EndpointKey, Event};
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use mizar_packet::{Address, Reason};
use zerocopy::IntoBytes;

const BOUNCER: usize = BOUNCERS[0];
const REFUSED: Counter = Counter::Path(Path::TagRefused);

/// Where the host, the generation and the tag stand in a frame whose only option is a location.
const HOST: std::ops::Range<usize> = 54..58;
const GENERATION: std::ops::Range<usize> = 58..66;
const TAG: std::ops::Range<usize> = 66..74;

/// The first packet of one guest to another, as its bouncer sends it on.
fn bounced(world: &mut World, from: &Guest, to: &Guest) -> Vec<u8> {
    let trip = world.udp(from, to);
    trip.reached(to, &[BOUNCER]);
    trip.wires[1].clone()
}

/// A host that has heard of nobody gets a frame: it is delivered, and that is all.
#[track_caller]
fn teaches_nothing(world: &mut World, to: &Guest, frame: Vec<u8>) {
    world.hosts[to.host].written.set(false);
    let refused = world.counted(to.host, REFUSED);
    let trip = world.arrive(to.host, frame);
    assert_eq!(trip.fate, Fate::Delivered(to.host, to.interface));
    assert_eq!(world.counted(to.host, REFUSED), refused + 1);
    assert!(!world.hosts[to.host].written.get());
    assert_eq!(world.hosts[to.host].events.take(), []);
}

fn sign(vni: u32, address: Address, host: usize, generation: u64) -> Tag {
    keys(vni).sign_location(&EndpointKey::new(vni, address), underlay(host), generation)
}

#[test]
fn a_forged_location_is_refused_and_changes_nothing() {
    let (a, b) = (World::new().red.a, World::new().red.b);
    let frame = bounced(&mut World::new(), &b, &a);
    let (own, generation) = (Address::v4(b.v4), b.generation);
    let newer = generation + 1;
    let other_epoch = |epoch| {
        let key = EndpointKey::new(RED, own);
        keys_at(RED, epoch).sign_location(&key, underlay(2), newer)
    };
    for (what, tag) in [
        ("no tag", [0; 8]),
        ("a guess", [0x5a; 8]),
        ("the true one's, of another host and generation", sign(RED, own, b.host, generation)),
        ("of another host", sign(RED, own, b.host, newer)),
        ("of another generation", sign(RED, own, 2, generation)),
        ("of another address", sign(RED, Address::v4(a.v4), 2, newer)),
        ("of another VPC", sign(BLUE, own, 2, newer)),
        ("of the fleet", sign(0, own, 2, newer)),
        ("of a key long gone", other_epoch(EPOCH - 2)),
        ("of a key to come", other_epoch(EPOCH + 2)),
    ] {
        println!("{what}");
        let mut forged = frame.clone();
        forged[HOST].copy_from_slice(&underlay(2));
        forged[GENERATION].copy_from_slice(&newer.to_be_bytes());
        forged[TAG].copy_from_slice(&tag);
        // To a host that knows nothing, to one that does not know that host, to one that knows b.
        let mut world = World::new();
        teaches_nothing(&mut world, &a, forged.clone());
        assert_eq!(world.learned(a.host, RED, own), None);
        world.hosts[a.host].hosts.borrow_mut().remove(&index(2));
        teaches_nothing(&mut world, &a, forged.clone());
        let _ = (world.udp(&a, &b), world.udp(&b, &a));
        let before = world.learned(a.host, RED, own);
        assert!(before.is_some());
        teaches_nothing(&mut world, &a, forged);
        assert_eq!(world.learned(a.host, RED, own), before);
    }
    // The same with a right tag is believed.
    let mut world = World::new();
    let mut sound = frame;
    sound[HOST].copy_from_slice(&underlay(2));
    sound[GENERATION].copy_from_slice(&newer.to_be_bytes());
    sound[TAG].copy_from_slice(&sign(RED, own, 2, newer));
    let _ = world.arrive(a.host, sound);
    assert_eq!(world.learned(a.host, RED, own).unwrap().host, index(2));
}

#[test]
fn what_is_repeated_as_it_was_said_changes_nothing() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let first = bounced(&mut world, &b, &a);
    let _ = world.udp(&a, &b);
    // The same from the host that it names, as a direct packet has it.
    let mut direct = first.clone();
    direct[26..30].copy_from_slice(&underlay(b.host));
    let before = world.learned(a.host, RED, Address::v4(b.v4));
    world.hosts[a.host].written.set(false);
    for _ in 0..3 {
        world.arrive(a.host, direct.clone()).reached(&a, &[]);
    }
    assert!(!world.hosts[a.host].written.get());
    assert_eq!(world.learned(a.host, RED, Address::v4(b.v4)), before);
    // After a move, it is older than what is known.
    let moved = world.move_guest(&b, 2);
    world.udp(&moved, &a).reached(&a, &[BOUNCER]);
    let after = world.learned(a.host, RED, Address::v4(b.v4)).unwrap();
    assert_eq!((after.host, after.generation), (index(2), moved.generation));
    world.hosts[a.host].written.set(false);
    for replayed in [first, direct] {
        let _ = world.arrive(a.host, replayed);
    }
    assert!(!world.hosts[a.host].written.get());
    assert_eq!(world.learned(a.host, RED, Address::v4(b.v4)), Some(after));
    assert_eq!(world.counted(a.host, Counter::Path(Path::LearnRefused)), 2);
}

#[test]
fn an_untagged_location_is_believed_only_while_tags_are_not_required() {
    let lax = Keys::new(EPOCH, [mizar_packet::keys::Key::NONE; 3], false);
    for (keys_here, believed) in [(Keys::NONE, true), (lax, true), (keys(RED), false)] {
        let mut world = World::new();
        let (a, b) = (world.red.a, world.red.b);
        world.hosts[a.host].vpcs.get_mut(&RED).unwrap().keys = keys_here;
        let mut frame = bounced(&mut World::new(), &b, &a);
        frame[TAG].fill(0);
        let _ = world.arrive(a.host, frame);
        assert_eq!(world.learned(a.host, RED, Address::v4(b.v4)).is_some(), believed);
    }
}

#[test]
fn without_keys_a_location_has_no_tag() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    assert_eq!(bounced(&mut world, &b, &a)[TAG], sign(RED, Address::v4(b.v4), b.host, 7));
    for host in &mut world.hosts {
        for port in host.ports.values_mut() {
            (port.v4_tag, port.v6_tag) = ([0; 8], [0; 8]);
        }
    }
    let d = world.red.d;
    assert_eq!(bounced(&mut world, &b, &d)[TAG], [0; 8]);
}

#[test]
fn a_host_that_forges_gets_no_notice_and_nobody_teaches_because_of_it() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let mut forged = bounced(&mut World::new(), &b, &a);
    forged[TAG].fill(7);
    for _ in 0..30 {
        teaches_nothing(&mut world, &a, forged.clone());
        world.advance(NOTICE_DELAY);
    }
    assert!(!world.told.iter().any(|told| told.2 == oam::NOTICE));
}

/// A control message, signed with some keys.
fn signed(from: usize, to: usize, message: Message, keys: &Keys) -> Vec<u8> {
    let end = |host| (nic_mac(host), underlay(host));
    let mut frame = ControlFrame::new(end(from), end(to), 0, message);
    keys.sign_control(&mut frame);
    frame.as_bytes().to_vec()
}

#[test]
fn what_hosts_say_of_endpoints_must_be_signed_for_whom_it_is() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let (at, here) = (Address::v4(b.v4), a.host);
    let about = |kind, host| Message::about(kind, RED, at, Address::v4(underlay(host)), 9);
    let refused = |world: &mut World, frame: Vec<u8>| {
        let before = world.hosts[here].learned.borrow().clone();
        world.hosts[here].written.set(false);
        world.arrive(here, frame).dropped(here, Reason::BadTag);
        assert!(!world.hosts[here].written.get());
        assert_eq!(*world.hosts[here].learned.borrow(), before);
    };
    for kind in [oam::NOTICE, oam::UNKNOWN, oam::KNOWN, oam::INVALIDATE] {
        let message = about(kind, 2);
        let right = if kind == oam::INVALIDATE { keys(0) } else { keys(RED) };
        refused(&mut world, signed(2, here, message, &Keys::NONE));
        refused(&mut world, signed(2, here, message, &keys(BLUE)));
        refused(&mut world, signed(2, here, message, &keys_at(RED, EPOCH + 2)));
        // Any host has the fleet's keys: it may not speak of VPCs in which it has no part.
        let other = if kind == oam::INVALIDATE { keys(RED) } else { keys(0) };
        refused(&mut world, signed(2, here, message, &other));
        // Meant for another host, or said by another one.
        let mut misdirected = signed(2, 1, message, &right);
        misdirected[30..34].copy_from_slice(&underlay(here));
        refused(&mut world, misdirected);
        let mut stolen = signed(2, here, message, &right);
        stolen[26..30].copy_from_slice(&underlay(1));
        refused(&mut world, stolen);
        let accepted = world.arrive(here, signed(2, here, message, &right));
        assert_eq!(accepted.fate, Fate::Consumed(here));
        world.hosts[here].learned.borrow_mut().clear();
    }
    assert_eq!(world.counted(here, Counter::Dropped(Reason::BadTag)), 24);
}

#[test]
fn an_echo_is_answered_to_hosts_that_are_known_and_others_have_to_sign_it() {
    let mut world = World::new();
    let here = world.red.a.host;
    let unsigned = signed(2, here, Message::echo(7, 8), &Keys::NONE);
    let answered = |trip: &Trip| trip.hosts.first() == Some(&2);
    assert!(answered(&world.arrive(here, unsigned.clone())));
    world.hosts[here].hosts.borrow_mut().remove(&index(2));
    world.arrive(here, unsigned).dropped(here, Reason::BadTag);
    assert_eq!(world.hosts[here].events.take(), []);
    let sound = signed(2, here, Message::echo(7, 8), &keys(0));
    assert_eq!(world.arrive(here, sound).fate, Fate::Consumed(here));
    assert_eq!(world.hosts[here].events.take()[0].kind, Event::NEW_HOST);
    world.hosts[here].hosts.borrow_mut().insert(index(2), host_row(2));
}

/// A host takes the keys of another epoch, as its agent does.
fn take_keys(world: &mut World, host: usize, epoch: u64) {
    let tables = &mut world.hosts[host];
    tables.config.keys = keys_at(0, epoch);
    for (vni, vpc) in &mut tables.vpcs {
        vpc.keys = keys_at(*vni, epoch);
    }
    for port in tables.ports.values_mut() {
        let keys = keys_at(port.vni, epoch);
        let sign = |address| {
            keys.sign_location(
                &EndpointKey::new(port.vni, address),
                underlay(host),
                port.generation,
            )
        };
        (port.v4_tag, port.v6_tag) = (sign(Address::v4(port.v4)), sign(port.v6));
    }
}

#[test]
fn keys_change_host_by_host_without_a_location_that_is_refused() {
    let mut world = World::new();
    let (red, blue) = (world.red, world.blue);
    let pairs =
        [(red.a, red.b), (red.b, red.a), (red.c, red.d), (blue.a, blue.c), (blue.c, blue.e)];
    let talk = |world: &mut World| {
        for (from, to) in pairs {
            for trip in [world.udp(&from, &to), world.udp(&to, &from), world.udp6(&from, &to)] {
                assert!(matches!(trip.fate, Fate::Delivered(..)), "{trip:x?}");
            }
        }
    };
    for step in 1..=8 {
        // In a different order each time.
        for at in 0..HOSTS {
            let host = (at * 3 + step) % HOSTS;
            take_keys(&mut world, host, EPOCH + step as u64);
            talk(&mut world);
            // All that was learned is forgotten: it has to be learned anew by what is signed then.
            for tables in &world.hosts {
                tables.learned.borrow_mut().clear();
                tables.learned_count.borrow_mut().clear();
            }
            world.advance(TEACH / 10);
            talk(&mut world);
        }
    }
    for host in 0..HOSTS {
        assert_eq!(world.counted(host, REFUSED), 0);
        let learned = world.counted(host, Counter::Path(Path::Learned));
        assert!(learned > 100 || host > 2, "host {host} has learned {learned} times");
    }
}
