//! Guests and host processes that send what they should not: each has its fate, by reason.

use crate::frames::{MARK, arp, ethernet, geneve, icmpv6, ip, tagged, udp};
use crate::topology::{cloud, network, vpc};
use crate::world::{Guest, World, until};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Guest a is on h1, near on the same host, b elsewhere; h2 divides and h3 bounces.
fn streets() -> String {
    let front = [("a", "h1", 2), ("near", "h1", 4), ("b", "h4", 3)];
    let networks =
        [network("front", 1, &["h3"], &front), network("back", 2, &["h3"], &[("e", "h4", 2)])];
    cloud(4, &[vpc("blue", 7, &["h2"], &networks)])
}

/// A frame, where it is dropped and why.
type Fate = (Vec<u8>, &'static str, &'static str);

#[test]
fn what_a_guest_must_not_send_is_dropped_for_its_reason_and_reaches_nobody() {
    strange_frames_reach_nobody("strange", "{mtu: 1500}");
}

#[test]
fn nor_does_it_on_nics_that_aggregate_and_insert_tags() {
    strange_frames_reach_nobody("offloads", "{mtu: 1500, offloads: default}");
}

fn strange_frames_reach_nobody(name: &str, underlay: &str) {
    let Some(world) = World::with_underlay(name, underlay, &streets()) else { return };
    let [a, near, b, e] = ["blue/a", "blue/near", "blue/b", "blue/e"].map(|name| world.guest(name));
    let listening: Vec<_> = [near, b, e].map(|guest| (guest, guest.place().frames("eth0"))).into();
    let underlay = world.host("h4").underlay;
    let mut fates = forged(a, b);
    fates.extend(of_servers(a, b));
    fates.extend(of_servers(a, near));
    fates.extend(to_nowhere(a, e, underlay));

    let before = world.counted();
    let sender = a.place().frames("eth0");
    for (frame, _, _) in &fates {
        sender.send(frame).unwrap();
    }
    let expected = |host: &str, reason: &str| {
        fates.iter().filter(|(_, h, r)| (*h, *r) == (host, reason)).count() as u64
    };
    for (_, host, reason) in &fates {
        let mut dropped = 0;
        until(&format!("{host} drops as {reason}"), || {
            dropped = world.counted().since(&before).at("blue", host, reason);
            dropped >= expected(host, reason)
        });
        // Guests send multicast of their own, and unsolicited advertisements.
        if !["multicast", "link_local"].contains(reason) {
            assert_eq!(dropped, expected(host, reason), "{host} {reason}");
        }
    }
    for (guest, socket) in &listening {
        assert!(!has_marked(socket), "{} got something", guest.name);
    }
    // Nothing of it has harmed anybody.
    for guest in [near, b, e] {
        guest.addresses().into_iter().for_each(|address| a.place().pings(address));
    }
}

/// Sources that are not the guest's own, and tags.
fn forged(a: &Guest, b: &Guest) -> Vec<Fate> {
    let mac = a.mac();
    let datagram = udp(1, 2, MARK);
    let v4 = ip(a.v4.into(), b.v4.into(), UDP, 64, &datagram);
    let other_v4 = ip([10, 0, 1, 77].into(), b.v4.into(), UDP, 64, &datagram);
    let other_v6: Ipv6Addr = "fd00:0:0:1::77".parse().unwrap();
    let other_v6 = ip(other_v6.into(), b.v6.into(), UDP, 64, &datagram);
    let mut broken = v4.clone();
    broken[2..4].copy_from_slice(&9999u16.to_be_bytes());
    let foreign_arp = arp(1, (mac, [10, 0, 1, 77].into()), b.v4);
    vec![
        (tagged(mac, IPV4, &v4), "h1", "guest_vlan"),
        (ethernet(b.mac(), IPV4, &v4), "h1", "spoofed_mac"),
        (ethernet(mac, IPV4, &other_v4), "h1", "spoofed_address"),
        (ethernet(mac, IPV6, &other_v6), "h1", "spoofed_address"),
        (ethernet(mac, ARP, &foreign_arp), "h1", "spoofed_address"),
        (ethernet(mac, ARP, &arp(2, (mac, b.v4), a.v4)), "h1", "bad_arp"),
        (ethernet(mac, IPV4, &broken), "h1", "bad_ip"),
        (ethernet(mac, 0x88cc, MARK), "h1", "not_ip"),
    ]
}

/// What only servers and routers send.
fn of_servers(a: &Guest, b: &Guest) -> Vec<Fate> {
    let mac = a.mac();
    let offer = udp(67, 68, MARK);
    let v4 = |dst: Ipv4Addr| ethernet(mac, IPV4, &ip(a.v4.into(), dst.into(), UDP, 64, &offer));
    let nd = |dst: Ipv6Addr, kind: u8| {
        let message = icmpv6(a.v6, dst, kind);
        ethernet(mac, IPV6, &ip(a.v6.into(), dst.into(), ICMPV6, 255, &message))
    };
    // An empty hop-by-hop header before a router advertisement.
    let hidden = [&[ICMPV6, 0, 1, 4, 0, 0, 0, 0][..], &icmpv6(a.v6, b.v6, 134)].concat();
    let hidden = ip(a.v6.into(), b.v6.into(), 0, 255, &hidden);
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    // A client looks at its own port only.
    let disguised = udp(4000, 68, MARK);
    let disguised = ip(a.v4.into(), b.v4.into(), UDP, 64, &disguised);
    let v6_reply = ip(a.v6.into(), b.v6.into(), UDP, 64, &udp(547, 546, MARK));
    vec![
        (v4(b.v4), "h1", "dhcp_server"),
        (ethernet(mac, IPV4, &disguised), "h1", "dhcp_server"),
        (ethernet(mac, IPV6, &v6_reply), "h1", "dhcp_server"),
        (v4(Ipv4Addr::BROADCAST), "h1", "multicast"),
        (nd(b.v6, 134), "h1", "router_message"),
        (nd(all, 134), "h1", "router_message"),
        (nd(b.v6, 137), "h1", "router_message"),
        (nd(b.v6, NEIGHBOUR_ADVERTISEMENT), "h1", "link_local"),
        (ethernet(mac, IPV6, &hidden), "h1", "hidden_neighbour"),
    ]
}

/// Destinations that there are not, or not for guests.
fn to_nowhere(a: &Guest, e: &Guest, underlay: Ipv4Addr) -> Vec<Fate> {
    let mac = a.mac();
    let datagram = udp(1, 2, MARK);
    let to = |dst: [u8; 4], ttl: u8| {
        ethernet(mac, IPV4, &ip(a.v4.into(), IpAddr::from(dst), UDP, ttl, &datagram))
    };
    let inner = ethernet(mac, IPV4, &ip(e.v4.into(), a.v4.into(), UDP, 64, &datagram));
    let tunnel = udp(50_000, 6081, &geneve(7, &inner));
    let tunnel = ip(a.v4.into(), underlay.into(), UDP, 64, &tunnel);
    vec![
        (ethernet(mac, IPV4, &tunnel), "h2", "no_route"),
        (to([10, 0, 9, 9], 64), "h2", "no_route"),
        (to([10, 0, 1, 200], 64), "h3", "no_endpoint"),
        (to([10, 0, 1, 1], 64), "h1", "gateway_traffic"),
        (to([169, 254, 169, 254], 64), "h1", "link_local"),
        (to([224, 0, 0, 251], 64), "h1", "multicast"),
        (to(e.v4.octets(), 1), "h1", "ttl_exceeded"),
    ]
}

fn has_marked(socket: &UdpSocket) -> bool {
    let mut frame = vec![0; 65_536];
    while let Ok(len) = socket.recv(&mut frame) {
        // An ICMP error may quote less than the mark.
        if frame[..len].windows(MARK.len()).any(|window| window == MARK) {
            return true;
        }
    }
    false
}

#[test]
fn a_process_of_a_host_cannot_inject_into_the_tunnel() {
    let Some(world) = World::new("inject", &streets()) else { return };
    let (a, b) = (world.guest("blue/a"), world.guest("blue/b"));
    let (h1, h4) = (world.host("h1"), world.host("h4"));
    let listening = b.place().frames("eth0");
    let inner = ip(a.v4.into(), b.v4.into(), UDP, 64, &udp(1, 2, MARK));
    let inner = ethernet(a.mac(), IPV4, &inner);
    let packet = geneve(7, &inner);
    let before = world.counted();
    // By an ordinary socket, to a far host and by its own stack's fragments; and as a raw frame.
    let socket = h1.place().datagrams((h1.underlay, 0));
    socket.send_to(&packet, (h4.underlay, 6081)).unwrap();
    let large = [&packet[..], &[0; 4000]].concat();
    socket.send_to(&large, (h4.underlay, 6081)).unwrap();
    let outer = ip(h1.underlay.into(), h4.underlay.into(), UDP, 64, &udp(1, 6081, &packet));
    // The kernel may say that a frame which is dropped on its way out found no room.
    let _ = h1.place().frames("nic0").send(&ethernet([2; 6], IPV4, &outer));
    until("all three are dropped", || {
        world.counted().since(&before).at("", "h1", "forged_tunnel") >= 3
    });
    assert!(!has_marked(&listening));
    let risen = world.counted().since(&before);
    assert_eq!(risen.at("blue", "h4", "arrived"), 0, "{risen:?}");
    a.place().pings(b.v4.into());
}
