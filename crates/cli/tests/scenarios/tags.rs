//! Keyed tags on real hosts: keys turn under traffic and nobody notices, and a host of the fleet
//! that has no part in a VPC cannot say where its endpoints are.

use crate::flood::Flood;
use crate::frames::{MARK, ethernet, geneve, ip, udp};
use crate::sys;
use crate::topology::{cloud, network, vpc};
use crate::traffic::{Numbered, Stream};
use crate::world::{Counted, Guest, World, until};
use mizar_agent::kernel::Maps;
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{Config, EndpointKey, Learned};
use mizar_packet::wire::geneve::{Location, Outer, OuterSpec};
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;
use zerocopy::IntoBytes;

const MILLISECOND: Duration = Duration::from_millis(1);
const BLUE: u32 = 7;
const RED: u32 = 8;

/// Blue is on h1, h2 and h3; h4, which is of the fleet, has a part in red alone.
fn streets() -> String {
    let blue = [("a", "h1", 2), ("b", "h2", 3), ("c", "h3", 4)];
    let red = [("r1", "h1", 2), ("r4", "h4", 3)];
    let blue = vpc("blue", BLUE, &["h3"], &[network("front", 1, &["h3"], &blue)]);
    let red = vpc("red", RED, &["h4"], &[network("front", 1, &["h4"], &red)]);
    cloud(4, &[blue, red])
}

impl World {
    /// Waits until hosts believe only what is signed.
    fn requires_tags(&self) {
        until("tags are required", || {
            let fleet = self.asks(&["get", "fleet", "-o", "json"]);
            let text = String::from_utf8_lossy(&fleet.stdout).replace([' ', '\n'], "");
            text.contains("\"stage\":\"Required\"") && !text.contains("\"waiting\"")
        });
    }

    /// What a host has in its tables.
    fn maps(&self, host: &str) -> Maps {
        Maps::open(&self.host(host).pins).unwrap()
    }

    /// Where a host has learned that a guest is.
    fn learned(&self, host: &str, guest: &Guest) -> Option<Learned> {
        self.maps(host).learned.get(&EndpointKey::new(BLUE, guest.v4.into()))
    }
}

#[track_caller]
fn none_refused(risen: &Counted) {
    for counter in ["tag_refused", "bad_tag"] {
        for vpc in ["blue", "red", ""] {
            assert_eq!(risen.of(vpc, counter), 0, "{vpc} {counter}: {risen:?}");
        }
    }
}

#[test]
fn keys_turn_under_traffic_and_nothing_is_lost_or_refused() {
    let Some(world) = World::new("rotate", &streets()) else { return };
    let [a, b, c] = ["blue/a", "blue/b", "blue/c"].map(|name| world.guest(name).clone());
    let before = world.counted();
    let stream = Stream::start(&a, &b, b.v4.into());
    let there = Numbered::start(&b, &a, a.v6.into(), MILLISECOND);
    world.requires_tags();
    for turn in 0..5 {
        let rotated = world.asks(&["keys", "rotate", "--wait"]);
        assert!(rotated.status.success(), "{rotated:?}");
        there.goes_on(500);
        stream.goes_on(200_000);
        // Whoever meets now learns by what is signed with the new key.
        let (from, to) = if turn % 2 == 0 { (&c, &a) } else { (&b, &c) };
        let address = if turn < 3 { to.v4.into() } else { to.v6.into() };
        until("they talk to each other directly", || {
            let before = world.counted();
            from.place().pings(address);
            from.place().pings(address);
            let risen = world.counted().since(&before);
            risen.at("blue", &from.host, "sent_direct") >= 2
        });
    }
    stream.finish();
    let (sent, lost) = there.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
    let risen = world.counted().since(&before);
    none_refused(&risen);
    assert!(risen.of("blue", "learned") >= 6, "{risen:?}");
}

#[test]
fn tags_are_turned_off_and_on_under_traffic_and_nothing_is_lost() {
    let Some(world) = World::new("toggle", &streets()) else { return };
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    world.requires_tags();
    let before = world.counted();
    let stream = Stream::start(&a, &b, b.v4.into());
    let there = Numbered::start(&b, &a, a.v6.into(), MILLISECOND);
    for (enabled, stage) in [("false", "Off"), ("true", "Required")] {
        let fleet = world.asks(&["get", "fleet", "fleet", "-o", "json"]);
        let mut fleet: serde_json::Value = serde_json::from_slice(&fleet.stdout).unwrap();
        fleet["spec"]["tags"] =
            serde_json::from_str(&format!("{{\"enabled\": {enabled}}}")).unwrap();
        fleet.as_object_mut().unwrap().remove("status");
        let file = world.manifests(&fleet.to_string());
        let applied = world.asks(&["apply", "-f", &file]);
        assert!(applied.status.success(), "{applied:?}");
        until(&format!("tags are {stage}"), || {
            let shown = world.asks(&["get", "fleet", "-o", "json"]);
            let text = String::from_utf8_lossy(&shown.stdout).replace([' ', '\n'], "");
            text.contains(&format!("\"stage\":\"{stage}\""))
        });
        there.goes_on(500);
        stream.goes_on(200_000);
        world.guest("blue/c").place().pings(a.v4.into());
    }
    stream.finish();
    let (sent, lost) = there.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
    none_refused(&world.counted().since(&before));
}

/// A process of h4 that has all of h4's secrets, and sends frames as h4's own programs do.
struct Rogue {
    socket: UdpSocket,
    config: Config,
    /// The next hop towards h1.
    next_hop: [u8; 6],
    /// The keys of red.
    keys: Keys,
}

impl Rogue {
    fn new(world: &World) -> Self {
        let maps = world.maps("h4");
        let config = maps.config.get(&0).unwrap().unwrap();
        let h1 = world.host("h1").underlay.into();
        let row = maps.host_index.get(&h1).unwrap().unwrap();
        let next_hop = maps.hosts.get(&row).unwrap().unwrap().next_hop;
        let keys = maps.vpcs.get(&RED).unwrap().unwrap().keys;
        assert!(config.keys.are_required() && keys.are_required());
        let socket = world.host("h4").place().frames("nic0");
        sys::set_mark(&socket, config.mark).unwrap();
        Self { socket, config, next_hop, keys }
    }

    /// Tells h1 that `victim` has come to h4, in a packet to `to`.
    fn locate(&self, world: &World, victim: &Guest, to: &Guest, tag: [u8; 8]) {
        self.socket.send(&self.located(world, victim, to.v4, tag)).unwrap();
    }

    fn located(&self, world: &World, victim: &Guest, to: Ipv4Addr, tag: [u8; 8]) -> Vec<u8> {
        let inner = ip(victim.v4.into(), to.into(), 17, 64, &udp(1, 2, MARK));
        let inner = ethernet(victim.mac(), 0x0800, &inner);
        let outer = Outer::new(&OuterSpec {
            src_mac: self.config.nic_mac,
            dst_mac: self.next_hop,
            src: self.config.underlay.v4_octets(),
            dst: world.host("h1").underlay.octets(),
            tos: 0,
            hash: 1,
            vni: BLUE,
            options_len: Location::LEN,
            payload_len: inner.len(),
        });
        let location = Location { tag, ..Location::new(outer.ip.src, u64::MAX / 2) };
        [outer.as_bytes(), location.as_bytes(), &inner].concat()
    }

    /// Tells h1 something of `victim` in a control message.
    fn tell(&self, world: &World, kind: u8, victim: &Guest, keys: &Keys) {
        let own = self.config.underlay;
        let about: Address = victim.v4.into();
        let message = Message::about(kind, BLUE, about, own, u64::MAX / 2);
        let source = (self.config.nic_mac, own.v4_octets());
        let target = (self.next_hop, world.host("h1").underlay.octets());
        let mut frame = ControlFrame::new(source, target, 0, message);
        keys.sign_control(&mut frame);
        self.socket.send(frame.as_bytes()).unwrap();
    }
}

#[test]
fn a_host_without_a_part_in_a_vpc_cannot_say_where_its_endpoints_are() {
    let Some(world) = World::new("poison", &streets()) else { return };
    let [a, b, c] = ["blue/a", "blue/b", "blue/c"].map(|name| world.guest(name).clone());
    world.requires_tags();
    // h1 and h4 know each other, and h1 has learned where b is; of c it has heard nothing.
    world.guest("red/r1").place().pings(world.guest("red/r4").v4.into());
    until("h1 has learned where b is", || {
        a.place().pings(b.v4.into());
        world.learned("h1", &b).is_some_and(|row| row.host != 0)
    });
    let rogue = Rogue::new(&world);
    let learned = world.learned("h1", &b).unwrap();

    let before = world.counted();
    let (own, generation) = (rogue.config.underlay.v4_octets(), u64::MAX / 2);
    for victim in [&b, &c] {
        let key = EndpointKey::new(BLUE, victim.v4.into());
        let of_red = rogue.keys.sign_location(&key, own, generation);
        let of_fleet = rogue.config.keys.sign_location(&key, own, generation);
        for tag in [[0; 8], [7; 8], of_red, of_fleet] {
            rogue.locate(&world, victim, &a, tag);
        }
        for kind in [oam::NOTICE, oam::UNKNOWN] {
            for keys in [Keys::NONE, rogue.keys, rogue.config.keys] {
                rogue.tell(&world, kind, victim, &keys);
            }
        }
        rogue.tell(&world, oam::INVALIDATE, victim, &rogue.keys);
    }
    until("all of it is refused", || {
        let risen = world.counted().since(&before);
        risen.at("blue", "h1", "tag_refused") >= 8 && risen.at("", "h1", "bad_tag") >= 14
    });
    let after = world.learned("h1", &b).unwrap();
    let place = |row: Learned| (row.host, row.generation);
    assert_eq!(place(after), place(learned));
    assert_eq!(world.learned("h1", &c), None);
    // Nothing of it has harmed anybody.
    for guest in [&b, &c] {
        a.place().pings(guest.v4.into());
    }
    // With the keys of blue, which it has not, it would be believed: so it is they that matter.
    let blue = world.maps("h1").vpcs.get(&BLUE).unwrap().unwrap().keys;
    let key = EndpointKey::new(BLUE, b.v4.into());
    rogue.locate(&world, &b, &a, blue.sign_location(&key, own, generation));
    until("h1 believes it", || place(world.learned("h1", &b).unwrap()) != place(learned));
}

#[test]
fn a_flood_of_forged_locations_and_from_outside_the_fleet_costs_nobody_a_packet() {
    let Some(world) = World::new("forged", &streets()) else { return };
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    world.requires_tags();
    world.guest("red/r1").place().pings(world.guest("red/r4").v4.into());
    let there = Numbered::start(&a, &b, b.v4.into(), 2 * MILLISECOND);
    let back = Numbered::start(&b, &a, a.v6.into(), 2 * MILLISECOND);
    let rogue = Rogue::new(&world);
    let h1 = (world.maps("h1").config.get(&0).unwrap().unwrap().nic_mac, world.host("h1").underlay);
    // Of h4, which is of the fleet; and of somebody who is not, on the wire to h1.
    let of_fleet = (0..64).map(|n| rogue.located(&world, &b, a.v4, [n; 8]));
    let inner = ip(b.v4.into(), a.v4.into(), 17, 64, &udp(1, 2, MARK));
    let packet = udp(1, 6081, &geneve(BLUE, &ethernet(b.mac(), 0x0800, &inner)));
    let outside = (1..64).map(|n| {
        let source = Ipv4Addr::new(203, 0, 113, n);
        let outer = ip(source.into(), h1.1.into(), 17, 64, &packet);
        [&h1.0[..], &[2, 0, 0, 0, 0, n], &[8, 0], &outer].concat()
    });
    let floods = [
        (rogue.socket.try_clone().unwrap(), of_fleet.collect(), ("blue", "tag_refused")),
        (world.fabric().frames("host0"), outside.collect(), ("", "foreign_source")),
    ];
    for (socket, frames, (vpc, counter)) in floods {
        let before = world.counted();
        let flood = Flood::start(socket, frames, MILLISECOND);
        flood.comes_to(20_000);
        there.goes_on(200);
        flood.finish();
        let risen = world.counted().since(&before).at(vpc, "h1", counter);
        assert!(risen >= 20_000, "{vpc} {counter}: {risen}");
    }
    for datagrams in [there, back] {
        let (sent, lost) = datagrams.finish();
        assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
    }
}
