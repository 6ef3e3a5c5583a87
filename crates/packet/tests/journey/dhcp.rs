//! DHCP, as clients speak it.

use crate::common::frames;
use crate::common::oracle::assert_sound;
use crate::common::topology::{GUEST_MTU, Guest};
use crate::common::world::{Fate, World};
use mizar_packet::Reason;
use mizar_packet::wire::ethernet::GATEWAY;
use std::collections::BTreeMap;

const BROADCAST: [u8; 4] = [255; 4];
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// A client's message: its own address, its hardware address, and options.
fn message(guest: &Guest, client: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut bootp = vec![1, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe, 0, 3, 0x80, 0];
    bootp.extend(client);
    bootp.extend([0; 12]);
    bootp.extend(guest.mac);
    bootp.extend([0; 10 + 192]);
    bootp.extend([99, 130, 83, 99]);
    bootp.extend(options);
    bootp.push(255);
    bootp
}

/// A frame with a client's message, sent as clients without an address do.
fn broadcast(guest: &Guest, options: &[u8]) -> Vec<u8> {
    let nobody = Guest { v4: [0; 4], ..*guest };
    frames::udp_ports(&nobody, BROADCAST, (68, 67), &message(guest, [0; 4], options))
}

/// A reply: the message type, the address given, where it is sent, and all options.
struct Reply {
    kind: u8,
    yours: [u8; 4],
    to: [u8; 4],
    options: BTreeMap<u8, Vec<u8>>,
}

#[track_caller]
fn reply(world: &mut World, guest: &Guest, frame: Vec<u8>) -> Reply {
    let trip = world.send(guest, frame);
    assert_eq!(trip.fate, Fate::Answered, "{trip:x?}");
    let bytes = trip.frame.bytes;
    assert_sound(&bytes);
    assert_eq!(bytes[..12], [guest.mac, GATEWAY].concat());
    assert_eq!(bytes[26..30], guest.v4_gateway());
    assert_eq!(bytes[34..38], [0, 67, 0, 68]);
    assert_eq!(bytes[42..50], [2, 1, 6, 0, 0xca, 0xfe, 0xba, 0xbe]);
    assert_eq!(bytes[70..76], guest.mac);
    assert_eq!(bytes[278..282], [99, 130, 83, 99]);
    let mut options = BTreeMap::new();
    let mut rest = &bytes[282..];
    while let [code, len, ..] = *rest {
        if code == 255 {
            break;
        }
        options.insert(code, rest[2..2 + usize::from(len)].to_vec());
        rest = &rest[2 + usize::from(len)..];
    }
    let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    Reply { kind: options[&53][0], yours: four(58), to: four(30), options }
}

#[test]
fn a_guest_is_offered_its_address_and_gets_it() {
    let mut world = World::new();
    let a = world.red.a;
    let discover = broadcast(&a, &[53, 1, DISCOVER, 55, 3, 1, 3, 26]);
    let selecting = broadcast(&a, &[&[53, 1, REQUEST, 50, 4][..], &a.v4].concat());
    for (frame, kind) in [(discover, 2), (selecting, 5)] {
        let reply = reply(&mut world, &a, frame);
        assert_eq!((reply.kind, reply.yours, reply.to), (kind, a.v4, BROADCAST));
        assert_eq!(reply.options[&54], a.v4_gateway());
        assert_eq!(reply.options[&1], [255, 255, 255, 0]);
        assert_eq!(reply.options[&3], a.v4_gateway());
        assert_eq!(reply.options[&26], GUEST_MTU.to_be_bytes());
        assert_eq!(reply.options[&51], 86_400u32.to_be_bytes());
    }
}

#[test]
fn a_lease_is_renewed_from_the_gateway_and_from_anyone() {
    let mut world = World::new();
    let a = world.red.a;
    for to in [a.v4_gateway(), BROADCAST] {
        let renew = message(&a, a.v4, &[53, 1, REQUEST]);
        let reply = reply(&mut world, &a, frames::udp_ports(&a, to, (68, 67), &renew));
        assert_eq!((reply.kind, reply.yours, reply.to), (5, a.v4, a.v4));
    }
}

#[test]
fn a_request_for_another_address_is_refused() {
    let mut world = World::new();
    let a = world.red.a;
    let rebooting = broadcast(&a, &[53, 1, REQUEST, 50, 4, 192, 168, 0, 9]);
    let refusal = reply(&mut world, &a, rebooting);
    assert_eq!((refusal.kind, refusal.yours, refusal.to), (6, [0; 4], BROADCAST));
    assert_eq!(refusal.options.keys().copied().collect::<Vec<_>>(), [53, 54]);
    // A client that believes in another address says so in another field.
    let stranger = Guest { v4: [192, 168, 0, 9], ..a };
    let renew = message(&a, stranger.v4, &[53, 1, REQUEST]);
    let frame = frames::udp_ports(&stranger, BROADCAST, (68, 67), &renew);
    assert_eq!(reply(&mut world, &a, frame).kind, 6);
}

#[test]
fn a_discover_that_hopes_for_another_address_is_offered_the_guests_own() {
    let mut world = World::new();
    let a = world.red.a;
    let offer = reply(&mut world, &a, broadcast(&a, &[53, 1, DISCOVER, 50, 4, 192, 168, 0, 9]));
    assert_eq!((offer.kind, offer.yours), (2, a.v4));
}

#[test]
fn options_may_be_padded_and_in_any_order_and_the_end_may_be_missing() {
    let mut world = World::new();
    let a = world.red.a;
    let options = [&[0, 0, 12, 2, b'h', b'i', 50, 4][..], &a.v4, &[0, 53, 1, REQUEST]].concat();
    assert_eq!(reply(&mut world, &a, broadcast(&a, &options)).kind, 5);
    let nobody = Guest { v4: [0; 4], ..a };
    let mut unended = message(&a, [0; 4], &[53, 1, DISCOVER]);
    unended.pop();
    let frame = frames::udp_ports(&nobody, BROADCAST, (68, 67), &unended);
    assert_eq!(reply(&mut world, &a, frame).kind, 2);
}

#[test]
fn an_inform_is_answered_without_giving_an_address_or_a_lease() {
    let mut world = World::new();
    let a = world.red.a;
    let inform = message(&a, a.v4, &[53, 1, INFORM]);
    let reply = reply(&mut world, &a, frames::udp_ports(&a, BROADCAST, (68, 67), &inform));
    assert_eq!((reply.kind, reply.to), (5, a.v4));
}

#[test]
fn what_needs_no_answer_gets_none() {
    let mut world = World::new();
    let a = world.red.a;
    for kind in [RELEASE, DECLINE, 0, 2, 5, 99] {
        let trip = world.send(&a, broadcast(&a, &[53, 1, kind]));
        trip.dropped(a.host, Reason::Unanswered);
    }
    // A BOOTP client, which says nothing of what it wants.
    world.send(&a, broadcast(&a, &[])).dropped(a.host, Reason::BadIp);
}

#[test]
fn a_message_for_another_client_or_from_a_relay_is_not_answered() {
    let mut world = World::new();
    let a = world.red.a;
    // Operation, hardware type and length, relay, client's MAC address.
    for at in [42, 43, 44, 66, 70] {
        let mut frame = broadcast(&a, &[53, 1, DISCOVER]);
        frame[at] ^= 3;
        world.send(&a, frame).dropped(a.host, Reason::BadIp);
    }
}

#[test]
fn a_truncated_message_is_dropped() {
    let mut world = World::new();
    let a = world.red.a;
    let nobody = Guest { v4: [0; 4], ..a };
    for len in [0, 1, 43, 235, 240, 241, 242] {
        let whole = message(&a, [0; 4], &[53, 1, DISCOVER]);
        let frame = frames::udp_ports(&nobody, BROADCAST, (68, 67), &whole[..len]);
        let trip = world.send(&a, frame);
        assert!(matches!(trip.fate, Fate::Dropped(..)), "{len}: {trip:x?}");
    }
}
