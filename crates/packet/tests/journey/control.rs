//! What hosts tell each other, and what the underlay tells them.

use crate::common::topology::{
    BOUNCERS, GUEST_MTU, LEASE, LONGEST_PAUSE, RED, START, UNDERLAY_MTU, index, nic_mac, sign,
    underlay,
};
use crate::common::world::{Fate, Trip, World};
use mizar_packet::count::{Counter, Path};
use mizar_packet::tables::Event;
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use mizar_packet::{Address, Reason};
use zerocopy::{FromBytes, IntoBytes};

const HERE: usize = 0;
const THERE: usize = BOUNCERS[0];

/// A control message as it comes from `THERE` to `HERE`.
fn control(message: Message) -> Vec<u8> {
    let end = |host| (nic_mac(host), underlay(host));
    let mut frame = ControlFrame::new(end(THERE), end(HERE), 0, message);
    sign(&mut frame);
    frame.as_bytes().to_vec()
}

fn alive_until(world: &World) -> u64 {
    world.hosts[HERE].hosts.borrow()[&index(THERE)].alive_until
}

/// The answer to an echo of this host with this cookie, sent then.
fn reply(cookie: u64, stamp: u64) -> Vec<u8> {
    control(Message { kind: oam::ECHO_REPLY, ..Message::echo(cookie, stamp) })
}

#[test]
fn an_echo_is_returned_to_whom_it_came_from() {
    let mut world = World::new();
    world.dead.insert(THERE);
    let trip = world.arrive(HERE, control(Message::echo(77, 88)));
    let end = |host| (nic_mac(host), underlay(host));
    let (echo, _) = ControlFrame::read_from_prefix(&control(Message::echo(77, 88))).unwrap();
    let expected = Message { kind: oam::ECHO_REPLY, ..echo.message };
    let expected = ControlFrame::new(end(HERE), end(THERE), 0, expected);
    assert_eq!(trip.wires, [expected.as_bytes()]);
    assert_eq!(world.counted(HERE, Counter::Path(Path::OamIn)), 1);
}

#[test]
fn an_echo_of_an_unknown_host_waits_for_its_row_which_is_asked_for() {
    let mut world = World::new();
    world.hosts[HERE].hosts.borrow_mut().remove(&index(THERE));
    let trip = world.arrive(HERE, control(Message::echo(77, 88)));
    assert_eq!(trip.fate, Fate::Consumed(HERE));
    let events = world.hosts[HERE].events.take();
    assert_eq!((events[0].kind, events[0].underlay), (1, Address::v4(underlay(THERE))));
    assert_eq!(events[0].kind, Event::NEW_HOST);
}

#[test]
fn only_our_own_echo_coming_back_proves_a_host_alive() {
    let mut world = World::new();
    let cookie = world.hosts[HERE].config.echo_cookie;
    world.arrive(HERE, reply(cookie ^ 1, START)).dropped(HERE, Reason::BadOam);
    world.arrive(HERE, reply(cookie, START + LEASE)).dropped(HERE, Reason::BadOam);
    world.arrive(HERE, reply(cookie, u64::MAX)).dropped(HERE, Reason::BadOam);
    assert_eq!(alive_until(&world), 0);
    assert_eq!(world.arrive(HERE, reply(cookie, START)).fate, Fate::Consumed(HERE));
    assert_eq!(alive_until(&world), START + LEASE);
    // The lease runs from when the echo was sent.
    world.hosts[HERE].now += 100;
    let _ = world.arrive(HERE, reply(cookie, START + 60));
    assert_eq!(alive_until(&world), START + 60 + LEASE);
}

#[test]
fn an_echo_that_was_sent_before_the_kernel_counted_the_tick_proves_no_more_than_this_tick() {
    let mut world = World::new();
    let cookie = world.hosts[HERE].config.echo_cookie;
    for ahead in [1, LEASE - 1] {
        assert_eq!(world.arrive(HERE, reply(cookie, START + ahead)).fate, Fate::Consumed(HERE));
        assert_eq!(alive_until(&world), START + LEASE);
    }
}

#[test]
fn an_echo_reply_that_was_overtaken_takes_no_proof_away() {
    let mut world = World::new();
    let cookie = world.hosts[HERE].config.echo_cookie;
    world.hosts[HERE].now += 100;
    let _ = world.arrive(HERE, reply(cookie, START + 100));
    let _ = world.arrive(HERE, reply(cookie, START));
    assert_eq!(alive_until(&world), START + 100 + LEASE);
}

#[test]
fn a_host_that_many_ask_says_how_much_longer_the_proof_may_last() {
    let mut world = World::new();
    world.dead.insert(THERE);
    for (told, said) in [(0, 0), (300, 300), (70_000, u16::MAX)] {
        world.hosts[HERE].config.echo_pause = told;
        let trip = world.arrive(HERE, control(Message::echo(77, 88)));
        let (frame, _) = ControlFrame::read_from_prefix(&trip.wires[0]).unwrap();
        assert_eq!((frame.message.kind, frame.message.pause.get()), (oam::ECHO_REPLY, said));
    }
    assert_eq!(world.counted(HERE, Counter::Path(Path::Echoed)), 3);
}

#[test]
fn no_word_makes_a_proof_last_longer_than_lease_and_longest_pause() {
    let mut world = World::new();
    let cookie = world.hosts[HERE].config.echo_cookie;
    let hz = u64::from(world.hosts[HERE].config.hz);
    for pause in [0u16, 1, 300, 749, 750, 751, 30_000, u16::MAX] {
        world.hosts[HERE].hosts.borrow_mut().get_mut(&index(THERE)).unwrap().alive_until = 0;
        let echo = Message::echo(cookie, START);
        let reply = Message { kind: oam::ECHO_REPLY, pause: pause.into(), ..echo };
        assert_eq!(world.arrive(HERE, control(reply)).fate, Fate::Consumed(HERE));
        let longer = (u64::from(pause) * hz / 1000).min(LONGEST_PAUSE);
        assert_eq!(alive_until(&world), START + LEASE + longer);
    }
    // A forged one proves nothing at all.
    world.hosts[HERE].hosts.borrow_mut().get_mut(&index(THERE)).unwrap().alive_until = 0;
    let forged = Message { pause: u16::MAX.into(), ..Message::echo(cookie ^ 1, START) };
    let forged = control(Message { kind: oam::ECHO_REPLY, ..forged });
    world.arrive(HERE, forged).dropped(HERE, Reason::BadOam);
    assert_eq!(alive_until(&world), 0);
}

#[test]
fn a_control_message_that_is_not_one_of_ours_is_dropped() {
    let mut world = World::new();
    let sound = control(Message::echo(1, 2));
    for (at, value) in [(44, 0x65), (46, 1), (48, 1), (50, 0), (50, 2), (51, 0), (51, 7), (51, 255)]
    {
        let mut wrong = sound.clone();
        wrong[at] = value;
        world.arrive(HERE, wrong).dropped(HERE, Reason::BadOam);
    }
    // Shorter and longer than a message.
    for cut in [50, 51, 113] {
        let mut short = sound[..cut].to_vec();
        short[17] = (cut - 14) as u8;
        short[39] = (cut - 34) as u8;
        let trip = world.arrive(HERE, short);
        assert!(matches!(trip.fate, Fate::Dropped(HERE, Reason::BadOam | Reason::Short)));
    }
    let mut long = sound.clone();
    long.extend([0; 4]);
    long[17] += 4;
    long[39] += 4;
    world.arrive(HERE, long).dropped(HERE, Reason::BadOam);
    let mut foreign = sound;
    foreign[26] = 1;
    world.arrive(HERE, foreign).dropped(HERE, Reason::ForeignSource);
}

#[test]
fn a_notice_counts_only_for_the_host_that_sends_it() {
    let mut world = World::new();
    let b = world.red.b;
    let key = Address::v4(b.v4);
    let notice = |host: usize, generation| {
        control(Message::about(oam::NOTICE, RED, key, Address::v4(underlay(host)), generation))
    };
    world.arrive(HERE, notice(b.host, 7)).dropped(HERE, Reason::BadOam);
    world.arrive(HERE, notice(THERE, 0)).dropped(HERE, Reason::BadOam);
    assert_eq!(world.learned(HERE, RED, key), None);
    let _ = world.arrive(HERE, notice(THERE, 7));
    let row = world.learned(HERE, RED, key).unwrap();
    assert_eq!((row.host, row.generation, row.teach_until), (index(THERE), 7, 0));
    assert_eq!(world.counted(HERE, Counter::Path(Path::Learned)), 1);
    // Nothing new in it.
    world.hosts[HERE].written.set(false);
    let _ = world.arrive(HERE, notice(THERE, 7));
    assert_eq!(world.counted(HERE, Counter::Path(Path::Learned)), 1);
    assert!(!world.hosts[HERE].written.get());
}

#[test]
fn a_notice_about_a_guest_of_this_host_or_an_unknown_vpc_is_ignored() {
    let mut world = World::new();
    let own = Address::v4(underlay(THERE));
    for (vni, address) in [(RED, Address::v4(world.red.a.v4)), (99, Address::v4([10, 0, 0, 1]))] {
        for kind in [oam::NOTICE, oam::UNKNOWN, oam::INVALIDATE] {
            if kind == oam::UNKNOWN && vni == RED {
                continue;
            }
            let _ = world.arrive(HERE, control(Message::about(kind, vni, address, own, 9)));
        }
        assert_eq!(world.learned(HERE, vni, address), None);
    }
}

/// The underlay's word that a packet from `HERE` to `THERE` was too big, as quoted.
fn too_big(mtu: u16, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut quoted = control(Message::echo(0, 0));
    quoted[26..30].copy_from_slice(&underlay(HERE));
    quoted[30..34].copy_from_slice(&underlay(THERE));
    let mut body = quoted[14..42].to_vec();
    change(&mut body);
    let [high, low] = mtu.to_be_bytes();
    let kind =
        etherparse::Icmpv4Type::Unknown { type_u8: 3, code_u8: 4, bytes5to8: [0, 0, high, low] };
    let step = etherparse::PacketBuilder::ethernet2(nic_mac(9), nic_mac(HERE));
    let mut out = Vec::new();
    step.ipv4([198, 51, 100, 1], underlay(HERE), 60).icmpv4(kind).write(&mut out, &body).unwrap();
    out
}

fn mtu(world: &World) -> u16 {
    world.hosts[HERE].hosts.borrow()[&index(THERE)].mtu
}

#[track_caller]
fn passed(trip: &Trip) {
    assert_eq!(trip.fate, Fate::Passed(HERE), "the host's stack may have sent it");
}

#[test]
fn the_underlays_word_lowers_the_mtu_of_that_host() {
    let mut world = World::new();
    passed(&world.arrive(HERE, too_big(1400, |_| ())));
    assert_eq!(mtu(&world), 1400);
    // It is never raised this way, and never below what IPv6 needs.
    passed(&world.arrive(HERE, too_big(1450, |_| ())));
    assert_eq!(mtu(&world), 1400);
    for lowest in [100, 0] {
        passed(&world.arrive(HERE, too_big(lowest, |_| ())));
        assert_eq!(mtu(&world), 1280 + (UNDERLAY_MTU - GUEST_MTU));
    }
}

#[test]
fn the_mtu_is_lowered_only_for_packets_of_our_own() {
    let mut world = World::new();
    let mut try_with = |change: fn(&mut Vec<u8>)| {
        passed(&world.arrive(HERE, too_big(1400, change)));
        assert_eq!(mtu(&world), UNDERLAY_MTU);
    };
    // Another source, protocol or port, IP options, an unknown destination, a short quote.
    try_with(|quote| quote[15] ^= 0xff);
    try_with(|quote| quote[9] = 6);
    try_with(|quote| quote[23] ^= 1);
    try_with(|quote| quote[0] = 0x46);
    try_with(|quote| quote[17] = 99);
    try_with(|quote| quote.truncate(27));
}
