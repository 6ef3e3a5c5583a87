//! What guests are told of their network when they ask as any host does.

use crate::topology::{cloud, network, vpc};
use crate::world::{World, until};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A guest alone: whom it asks is its own host.
fn alone() -> String {
    let networks = [network("front", 1, &["h2"], &[("a", "h1", 2)])];
    cloud(2, &[vpc("blue", 7, &["h2"], &networks)])
}

#[test]
fn a_dhcp_client_is_told_its_address_its_gateway_and_its_mtu() {
    let Some(world) = World::new("dhcp", &alone()) else { return };
    let a = world.guest("blue/a").place();
    let folder = tempfile::tempdir().unwrap();
    let (script, found) = (folder.path().join("script"), folder.path().join("found"));
    fs::write(&script, format!("#!/bin/sh\n[ $1 = bound ] && env > {}\n", found.display()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    // As a machine that starts, without an address yet.
    a.command("ip -4 address flush dev eth0");
    a.command(&format!("busybox udhcpc -f -q -n -i eth0 -O mtu -s {}", script.display()));
    let text = fs::read_to_string(found).unwrap();
    let told: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    for (name, value) in [
        ("ip", "10.0.1.2"),
        ("subnet", "255.255.255.0"),
        ("router", "10.0.1.1"),
        ("serverid", "10.0.1.1"),
        ("mtu", "1426"),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}: {text}");
    }
    assert!(world.counted().at("blue", "h1", "answered") >= 2, "an offer and an acknowledgement");
}

#[test]
fn a_router_solicitation_brings_the_way_out_and_the_mtu() {
    let Some(world) = World::new("solicit", &alone()) else { return };
    let a = world.guest("blue/a").place();
    let mtu = "/proc/sys/net/ipv6/conf/eth0/mtu";
    // An interface that comes up asks; one that believes in a larger MTU is told the right one.
    a.command("ip link set eth0 down");
    a.command("ip link set eth0 mtu 1800");
    a.command("ip link set eth0 up");
    until("the guest has a way out by a router", || {
        a.command("ip -6 route show default").contains("via fe80::1 dev eth0 proto ra")
    });
    assert_eq!(a.run(|| fs::read_to_string(mtu).unwrap()), "1426\n");
    // Addresses are assigned: none is made up out of the prefix, which is on the link.
    let addresses = a.command("ip -6 address show dev eth0 scope global");
    assert!(!addresses.contains("fd00"), "{addresses}");
    assert!(a.command("ip -6 route").contains("fd00:0:0:1::/64 dev eth0 proto kernel"));
}
