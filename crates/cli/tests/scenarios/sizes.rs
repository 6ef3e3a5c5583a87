//! Packets of every size, with checksums finished by the guest or not, on every kind of NIC.

use crate::sys;
use crate::topology::{cloud, network, vpc};
use crate::traffic::transfer;
use crate::world::{Guest, PATIENCE, World, is_left_out, until};
use std::net::IpAddr;
use std::time::Instant;

/// Guests a and b are in one network, e in another; h2 and h3 bounce and divide.
fn spread() -> String {
    let front = [("a", "h1", 2), ("b", "h3", 3)];
    let networks =
        [network("front", 1, &["h2"], &front), network("back", 2, &["h2"], &[("e", "h3", 2)])];
    cloud(3, &[vpc("blue", 7, &["h2"], &networks)])
}

/// How the underlay and its NICs are.
struct Wire {
    mtu: u32,
    offloads: &'static str,
    mode: &'static str,
}

#[test]
fn wires_of_1500_bytes_and_programs_in_the_driver() {
    everything_arrives_on("native", &Wire { mtu: 1500, offloads: "wire", mode: "native" });
}

#[test]
fn wires_of_9000_bytes_and_programs_in_the_driver() {
    everything_arrives_on("jumbo", &Wire { mtu: 9000, offloads: "wire", mode: "auto" });
}

#[test]
fn nics_that_aggregate_and_programs_above_the_driver() {
    everything_arrives_on("tc", &Wire { mtu: 1500, offloads: "default", mode: "tc" });
}

#[test]
fn other_combinations() {
    if is_left_out() {
        return;
    }
    everything_arrives_on("generic", &Wire { mtu: 1500, offloads: "wire", mode: "generic" });
    everything_arrives_on("driver", &Wire { mtu: 1500, offloads: "default", mode: "native" });
    everything_arrives_on("tcwire", &Wire { mtu: 1500, offloads: "wire", mode: "tc" });
    everything_arrives_on("tcjumbo", &Wire { mtu: 9000, offloads: "wire", mode: "tc" });
    everything_arrives_on("auto", &Wire { mtu: 9000, offloads: "default", mode: "auto" });
}

fn everything_arrives_on(name: &str, wire: &Wire) {
    let Wire { mtu, offloads, mode } = wire;
    let underlay = format!("{{mtu: {mtu}, offloads: {offloads}, mode: {mode}}}");
    let Some(world) = World::with_underlay(name, &underlay, &spread()) else { return };
    let used = world.host("h1").nic_mode.as_deref().unwrap();
    assert!(*mode == "auto" || used == *mode, "{used}");
    let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name));
    let guest_mtu = mtu - 74;
    // Checksums unfinished, as a guest's kernel leaves them to its interface.
    streams_arrive(a, b, e);
    trains_arrive(a, b, e);
    fragments_arrive(a, b, e);
    biggest_packets_arrive(a, b, guest_mtu);

    // Checksums finished by the guests.
    for guest in [a, b, e] {
        guest.place().command("ethtool -K eth0 tx off");
    }
    streams_arrive(a, b, e);
    trains_arrive(a, b, e);
    larger_interfaces_do_no_harm(&world, guest_mtu);
    for guest in [a, b, e] {
        guest.place().command("ethtool -K eth0 tx on");
    }
    larger_interfaces_do_no_harm(&world, guest_mtu);
}

fn streams_arrive(a: &Guest, b: &Guest, e: &Guest) {
    const BYTES: u64 = 4 << 20;
    transfer(a, b, b.v4.into(), BYTES);
    transfer(b, a, a.v6.into(), BYTES);
    transfer(a, e, e.v6.into(), BYTES);
    transfer(e, a, a.v4.into(), BYTES);
    // On one host, across networks: nothing is wrapped, and the TTL is rewritten all the same.
    transfer(b, e, e.v4.into(), BYTES);
    transfer(e, b, b.v6.into(), BYTES);
}

/// Datagrams that the guest hands over in one buffer, as QUIC does: to another host, in a network
/// and across networks, and on one host.
fn trains_arrive(a: &Guest, b: &Guest, e: &Guest) {
    train_arrives(a, b, b.v4.into());
    train_arrives(b, a, a.v6.into());
    train_arrives(a, e, e.v6.into());
    train_arrives(b, e, e.v4.into());
}

fn train_arrives(from: &Guest, to: &Guest, address: IpAddr) {
    const CARS: usize = 20;
    const CAR: usize = 1200;
    let server = to.place().datagrams((address, 8));
    let client = from.place().datagrams((any(address), 0));
    sys::send_in_trains(&client, CAR as i32).unwrap();
    let sent: Vec<u8> = (0..CARS * CAR).map(|at| (at % 251) as u8).collect();
    let mut buffer = vec![0; 65_536];
    until(&format!("a train of datagrams arrives at {address}"), || {
        client.send_to(&sent, (address, 8)).unwrap();
        sent.chunks(CAR).all(|car| server.recv(&mut buffer).is_ok_and(|len| buffer[..len] == *car))
    });
}

/// The unspecified address of the same family.
fn any(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() }
}

/// Datagrams that the guests' own stacks cut to pieces, both ways.
fn fragments_arrive(a: &Guest, b: &Guest, e: &Guest) {
    for (to, address) in
        b.addresses().map(|it| (b, it)).into_iter().chain(e.addresses().map(|it| (e, it)))
    {
        let server = to.place().datagrams((address, 7));
        let client = a.place().datagrams((any(address), 0));
        let sent: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
        let mut buffer = vec![0; 65_536];
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no fragments from {address}");
            client.send_to(&sent, (address, 7)).unwrap();
            let Ok((len, from)) = server.recv_from(&mut buffer) else { continue };
            assert_eq!(buffer[..len], sent);
            server.send_to(&sent, from).unwrap();
            if client.recv(&mut buffer).is_ok() {
                break;
            }
        }
        assert_eq!(buffer[..sent.len()], sent);
    }
}

fn biggest_packets_arrive(a: &Guest, b: &Guest, mtu: u32) {
    for (address, headers) in [(IpAddr::from(b.v4), 28), (b.v6.into(), 48)] {
        let ping =
            |size: u32| a.place().output(&format!("ping -n -c 1 -W 5 -M do -s {size} {address}"));
        assert!(ping(mtu - headers).status.success(), "{mtu} to {address}");
        assert!(!ping(mtu - headers + 1).status.success(), "{mtu} + 1 to {address}");
    }
    a.place().command(&format!("ping -n -c 3 -i 0.05 -W 5 -M dont -s 8000 {}", b.v4));
}

/// A guest that believes in a larger MTU than it has been told is put right: its streams by their
/// maximum segment size, everything else by the gateway's errors.
fn larger_interfaces_do_no_harm(world: &World, mtu: u32) {
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name));
    for guest in [a, b] {
        // A router advertisement would tell it the right one.
        let deaf = "/proc/sys/net/ipv6/conf/eth0/accept_ra_mtu";
        guest.place().run(|| std::fs::write(deaf, "0").unwrap());
        guest.place().command(&format!("ip link set eth0 mtu {}", mtu + 400));
        forget_ways(guest);
    }
    let before = world.counted();
    transfer(a, b, b.v4.into(), 1 << 20);
    transfer(b, a, a.v6.into(), 1 << 20);
    let risen = world.counted().since(&before);
    for host in ["h1", "h3"] {
        assert!(risen.at("blue", host, "clamped_mss") >= 2, "{risen:?}");
        assert_eq!(risen.at("blue", host, "too_big"), 0, "{risen:?}");
    }
    for address in b.addresses() {
        // By datagrams, whose checksums are as the guest is set, and by pings, whose are finished.
        let socket = a.place().datagrams((any(address), 0));
        let datagram = vec![0; mtu as usize + 100];
        learns_mtu(a, address, mtu, || {
            // Refused by the guest itself as soon as it knows.
            let _ = socket.send_to(&datagram, (address, 9));
        });
        forget_ways(a);
        let size = mtu + 100;
        let ping = format!("ping -n -c 1 -W 1 -M do -s {size} {address}");
        assert!(!a.place().output(&ping).status.success());
        learns_mtu(a, address, mtu, || ());
        // What is not forbidden to be cut is cut then, by the one who answers as well, as soon as
        // that one has been told too.
        let ping = format!("ping -n -c 1 -W 1 -s {size} {address}");
        until("large packets are answered", || a.place().output(&ping).status.success());
    }
    let risen = world.counted().since(&before);
    assert!(risen.at("blue", "h1", "too_big") >= 4, "{risen:?}");
    for guest in [a, b] {
        guest.place().command(&format!("ip link set eth0 mtu {mtu}"));
    }
}

/// Has a guest forget what it was told of ways.
fn forget_ways(guest: &Guest) {
    guest.place().command("ip route flush cache");
    guest.place().command("ip -6 route flush cache");
}

/// Does something until a guest knows the MTU of its way to an address.
fn learns_mtu(guest: &Guest, address: IpAddr, mtu: u32, mut attempt: impl FnMut()) {
    let get = format!("ip route get {address}");
    until(&format!("{} knows that the MTU to {address} is {mtu}", guest.name), || {
        attempt();
        guest.place().command(&get).contains(&format!("mtu {mtu}"))
    });
}

#[test]
fn a_narrower_link_of_the_underlay_is_found_and_kept_to() {
    let Some(world) = World::new("narrow", &spread()) else { return };
    let (a, b) = (world.guest("blue/a"), world.guest("blue/b"));
    transfer(a, b, b.v4.into(), 1 << 20);
    // The fabric's end of the link to b's host: only what goes there is told.
    world.fabric().command("ip link set host2 mtu 1400");
    let before = world.counted();
    for address in b.addresses() {
        transfer(a, b, address, 1 << 20);
        learns_mtu(a, address, 1400 - 74, || {
            a.place().output(&format!("ping -n -c 1 -W 1 -M do -s 1360 {address}"));
        });
        let ping = |size: u32| format!("ping -n -c 1 -W 5 -M do -s {size} {address}");
        let headers = if address.is_ipv4() { 28 } else { 48 };
        a.place().command(&ping(1400 - 74 - headers));
        transfer(a, b, address, 1 << 20);
    }
    let risen = world.counted().since(&before);
    assert!(risen.at("blue", "h1", "too_big") >= 2, "{risen:?}");
    // The way back is as wide as ever.
    for address in a.addresses() {
        transfer(b, a, address, 1 << 20);
    }
    assert_eq!(world.counted().since(&before).at("blue", "h3", "too_big"), 0);
}

#[test]
fn a_guests_own_vxlan_carries_streams() {
    let Some(world) = World::new("vxlan", &spread()) else { return };
    let (a, b) = (world.guest("blue/a"), world.guest("blue/b"));
    for (number, own, other) in [(1, a, b), (2, b, a)] {
        let place = own.place();
        let ends = format!("local {} remote {}", own.v4, other.v4);
        place.command(&format!("ip link add vx type vxlan id 42 {ends} dstport 4789 dev eth0"));
        place.command(&format!("ip address add 192.168.77.{number}/24 dev vx"));
        place.command("ip link set vx up");
    }
    let inside = IpAddr::from([192, 168, 77, 2]);
    a.place().pings(inside);
    transfer(a, b, inside, 4 << 20);
    for guest in [a, b] {
        guest.place().command("ethtool -K eth0 tx off");
    }
    transfer(a, b, inside, 4 << 20);
}
