//! What guests may not send, and what becomes of it.

use crate::common::frames;
use crate::common::topology::{Guest, v6};
use crate::common::world::{Fate, World};
use mizar_packet::Reason;
use mizar_packet::count::Counter;
use mizar_packet::memory::MemoryFrame;

/// Asserts that a guest's frame is dropped on its own host, and counted.
#[track_caller]
fn refused(world: &mut World, guest: &Guest, frame: Vec<u8>, reason: Reason) {
    let before = world.counted(guest.host, Counter::Dropped(reason));
    world.send(guest, frame).dropped(guest.host, reason);
    assert_eq!(world.counted(guest.host, Counter::Dropped(reason)), before + 1);
}

#[test]
fn a_vlan_tag_is_refused_beside_the_frame_and_inside() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let tagged = MemoryFrame { vlan_tag: true, ..MemoryFrame::new(frames::udp(&a, b.v4, b"")) };
    world.send_frame(&a, tagged).dropped(a.host, Reason::GuestVlan);
    for tag in [[0x81, 0, 0, 5], [0x88, 0xa8, 0, 5]] {
        let mut frame = frames::udp(&a, b.v4, b"");
        frame.splice(12..12, tag);
        refused(&mut world, &a, frame, Reason::NotIp);
    }
}

#[test]
fn foreign_sources_are_refused() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let mac = Guest { mac: b.mac, ..a };
    let v4 = Guest { v4: b.v4, ..a };
    let v6 = Guest { v6: b.v6, ..a };
    refused(&mut world, &a, frames::udp(&mac, b.v4, b""), Reason::SpoofedMac);
    refused(&mut world, &a, frames::arp(&mac, a.v4, b.v4), Reason::SpoofedMac);
    refused(&mut world, &a, frames::udp(&v4, b.v4, b""), Reason::SpoofedAddress);
    refused(&mut world, &a, frames::udp6(&v6, b.v6, b""), Reason::SpoofedAddress);
}

#[test]
fn router_messages_are_refused() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for kind in [134, 137] {
        for to in [b.v6, all_nodes] {
            let frame = frames::icmp6(&a, (a.v6, to), 255, (kind, [64, 0, 7, 8]), &[0; 32]);
            refused(&mut world, &a, frame, Reason::RouterMessage);
        }
    }
    let advertisement = frames::icmp6(&a, (a.v6, b.v6), 255, (136, [0x20, 0, 0, 0]), &a.v6);
    refused(&mut world, &a, advertisement, Reason::LinkLocal);
    // IPv4: redirect, router advertisement.
    for kind in [5, 9] {
        let frame = frames::icmp(&a, b.v4, kind, 0, &[0; 28]);
        refused(&mut world, &a, frame, Reason::RouterMessage);
    }
}

#[test]
fn neighbour_discovery_cannot_hide_behind_extension_headers() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for header in [0, 43, 44, 60] {
        let mut payload = vec![58, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([136, 0, 0, 0, 0xe0, 0, 0, 0]);
        payload.extend(a.v6);
        let hidden = frames::raw6(&a, b.v6, 255, header, &payload);
        refused(&mut world, &a, hidden, Reason::HiddenNeighbour);
        // With a hop limit that makes it no neighbour discovery it is none of our business.
        let other = frames::raw6(&a, b.v6, 64, header, &payload);
        assert_eq!(world.send(&a, other).fate, Fate::Delivered(b.host, b.interface));
    }
}

#[test]
fn dhcp_replies_of_guests_are_refused() {
    let mut world = World::new();
    let (a, b, d) = (world.red.a, world.red.b, world.red.d);
    for to in [b, d] {
        let reply = frames::udp_ports(&a, to.v4, (67, 68), &[2; 300]);
        refused(&mut world, &a, reply, Reason::DhcpServer);
        let reply = frames::udp6_ports(&a, to.v6, (547, 546), &[7; 100]);
        refused(&mut world, &a, reply, Reason::DhcpServer);
        // Clients do not look at the port that a reply comes from.
        let reply = frames::udp_ports(&a, to.v4, (4000, 68), &[2; 300]);
        refused(&mut world, &a, reply, Reason::DhcpServer);
        let reply = frames::udp6_ports(&a, to.v6, (4000, 546), &[7; 100]);
        refused(&mut world, &a, reply, Reason::DhcpServer);
        // In pieces, the first of which says what it is.
        let udp = [&[0, 67, 0, 68, 1, 52, 0, 0][..], &[2; 56]].concat();
        let first = frames::fragment(&a, to.v4, (0, true), &udp);
        refused(&mut world, &a, first, Reason::DhcpServer);
    }
    let everyone = frames::udp_ports(&a, [255; 4], (67, 68), &[2; 300]);
    refused(&mut world, &a, everyone, Reason::Multicast);
}

#[test]
fn dhcp_replies_cannot_hide_behind_extension_headers() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let padding = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let fragment = |next: u8, offset: u16| {
        let [high, low] = (offset << 3 | 1).to_be_bytes();
        vec![next, 0, high, low, 0, 0, 0, 7]
    };
    let udp = |port: u16| [&[2, 35][..], &port.to_be_bytes(), &[0, 16], &[0; 10]].concat();
    let mut sent = |first: u8, headers: &[Vec<u8>], rest: &[u8]| {
        let payload = [headers.concat(), rest.to_vec()].concat();
        world.send(&a, frames::raw6(&a, b.v6, 64, first, &payload)).fate
    };
    let refused = Fate::Dropped(a.host, Reason::DhcpServer);
    let delivered = Fate::Delivered(b.host, b.interface);
    for first in [0, 43, 60] {
        assert_eq!(sent(first, &[padding(17)], &udp(546)), refused);
        assert_eq!(sent(first, &[padding(60), padding(17)], &udp(546)), refused);
        assert_eq!(sent(first, &[padding(60), padding(17)], &udp(547)), delivered);
    }
    // A longer one, whose length counts.
    let long = [vec![17, 1, 1, 12], vec![0; 12]].concat();
    assert_eq!(sent(60, std::slice::from_ref(&long), &udp(546)), refused);
    assert_eq!(sent(60, &[long], &udp(545)), delivered);
    // In pieces: the first of them says so, and must have its headers whole.
    assert_eq!(sent(44, &[fragment(17, 0)], &udp(546)), refused);
    assert_eq!(sent(44, &[fragment(17, 0)], &udp(53)), delivered);
    assert_eq!(sent(44, &[fragment(17, 0)], &udp(53)[..4]), refused);
    assert_eq!(sent(44, &[fragment(60, 0)], &[17, 0, 0]), refused);
    assert_eq!(sent(44, &[fragment(17, 9)], &udp(546)), delivered);
    // Five headers are looked behind; nobody sends six.
    let five = [padding(60), padding(60), padding(60), padding(60), padding(17)];
    assert_eq!(sent(60, &five, &udp(546)), refused);
    assert_eq!(sent(60, &five, &udp(53)), delivered);
    let six = [&five[..4], &[padding(60), padding(17)]].concat();
    assert_eq!(sent(60, &six, &udp(53)), refused);
}

#[test]
fn broadcast_and_multicast_are_not_carried() {
    let mut world = World::new();
    let a = world.red.a;
    for to in [[255; 4], [224, 0, 0, 251], [239, 1, 2, 3], [0; 4], [127, 0, 0, 1], [240, 0, 0, 1]] {
        refused(&mut world, &a, frames::udp(&a, to, b""), Reason::Multicast);
    }
    for to in [[0xff, 2], [0xff, 5], [0xff, 0x0e]] {
        let mut group = [0; 16];
        group[..2].copy_from_slice(&to);
        group[15] = 0xfb;
        refused(&mut world, &a, frames::udp6(&a, group, b""), Reason::Multicast);
    }
}

#[test]
fn link_local_and_reserved_destinations_are_not_carried() {
    let mut world = World::new();
    let a = world.red.a;
    refused(&mut world, &a, frames::udp(&a, [169, 254, 169, 254], b""), Reason::LinkLocal);
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 11];
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let own = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for to in [mapped, link_local, own, [0; 16]] {
        refused(&mut world, &a, frames::udp6(&a, to, b""), Reason::LinkLocal);
    }
}

#[test]
fn link_local_sources_are_for_neighbour_discovery_only() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    for src in [link_local, [0; 16]] {
        let from = Guest { v6: src, ..a };
        refused(&mut world, &a, frames::udp6(&from, b.v6, b""), Reason::SpoofedAddress);
    }
}

#[test]
fn what_is_no_ip_packet_is_refused() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    let sound = frames::udp(&a, b.v4, b"payload");
    for (at, value, reason) in [
        (12, 0x86, Reason::NotIp),
        (14, 0x65, Reason::BadIp),
        (14, 0x44, Reason::BadIp),
        (16, 0x01, Reason::BadIp),
        (17, 0x13, Reason::BadIp),
    ] {
        let mut frame = sound.clone();
        frame[at] = value;
        refused(&mut world, &a, frame, reason);
    }
    let sound = frames::udp6(&a, v6(1, 11), b"payload");
    for (at, value) in [(14, 0x45), (18, 0x01), (19, 0xff)] {
        let mut frame = sound.clone();
        frame[at] = value;
        refused(&mut world, &a, frame, Reason::BadIp);
    }
    refused(&mut world, &a, sound[..13].to_vec(), Reason::Short);
    refused(&mut world, &a, sound[..53].to_vec(), Reason::Short);
    refused(&mut world, &a, Vec::new(), Reason::Short);
}

#[test]
fn an_interface_that_is_no_guests_sends_nothing() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    world.hosts[a.host].ports.remove(&a.interface);
    refused(&mut world, &a, frames::udp(&a, b.v4, b""), Reason::NoPort);
}

#[test]
fn a_guests_own_tunnel_is_a_packet_like_any_other() {
    let mut world = World::new();
    let (a, b) = (world.red.a, world.red.b);
    for port in [4789, 6081] {
        let vxlan = frames::udp_ports(&a, b.v4, (50_000, port), &[0x08; 120]);
        let trip = world.send(&a, vxlan.clone());
        assert_eq!(trip.fate, Fate::Delivered(b.host, b.interface));
        assert_eq!(trip.frame.bytes[14..], vxlan[14..]);
    }
    // The underlay's addresses mean nothing inside.
    let to_underlay = frames::udp_ports(&a, [100, 64, 1, 1], (50_000, 6081), &[0; 64]);
    world.send(&a, to_underlay).dropped(5, Reason::NoRoute);
}
