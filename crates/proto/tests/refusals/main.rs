//! Every malformed field is refused by its path, with its value.

#[macro_use]
mod words;
mod agents;

use mizar_proto::*;
use mizar_vpc::{Batch, HostConfig};

const V4: [u8; 4] = [10, 0, 0, 5];
const GATEWAY: [u8; 4] = [10, 0, 0, 1];
const UNDERLAY: [u8; 4] = [192, 0, 2, 7];
const GENERATION: u64 = 1 << 48 | 9;

fn prefix(address: &[u8], length: u32) -> pb::Prefix {
    pb::Prefix { address: address.to_vec(), length }
}

fn mapped() -> Vec<u8> {
    std::net::Ipv4Addr::from(V4).to_ipv6_mapped().octets().to_vec()
}

fn network() -> pb::Network {
    pb::Network {
        id: 1,
        v4: Some(prefix(&[10, 0, 0, 0], 24)),
        v6: None,
        v4_gateway: Some(GATEWAY.to_vec()),
        v6_gateway: None,
        hosts: vec![UNDERLAY.to_vec()],
        slots: vec![pb::Holders { hosts: vec![0] }; 256],
    }
}

fn port() -> pb::Port {
    pb::Port {
        name: "a".to_owned(),
        network: 1,
        mac: vec![2, 0, 10, 0, 0, 5],
        v4: Some(V4.to_vec()),
        v6: None,
        generation: GENERATION,
        attachment: Some(pb::port::Attachment::Veth(pb::Veth {
            netns: b"/run/netns/a".to_vec(),
            interface: "eth0".to_owned(),
        })),
        migration: None,
    }
}

fn held() -> pb::Held {
    pb::Held { address: vec![10, 0, 0, 6], host: UNDERLAY.to_vec(), generation: GENERATION }
}

fn keys() -> pb::TagKeys {
    let key = |number| vec![number; 16];
    pb::TagKeys { epoch: 2, before: key(1), present: key(2), after: key(3), required: true }
}

fn update() -> pb::Update {
    pb::Update {
        vni: 7,
        generation: GENERATION,
        base: Some(GENERATION - 1),
        batch: 0,
        last: true,
        removed: false,
        dividers: vec![UNDERLAY.to_vec()],
        quota: 100,
        networks: vec![network()],
        removed_networks: vec![2],
        ports: vec![port()],
        removed_ports: vec!["b".to_owned()],
        held: vec![held()],
        removed_held: vec![vec![10, 0, 0, 9]],
        keys: Some(keys()),
    }
}

/// Checks how the update is refused after a change.
fn update_refused(change: impl FnOnce(&mut pb::Update), words: &str) {
    let mut message = update();
    change(&mut message);
    refused!(Batch, message, words);
}

#[test]
fn the_example_itself_is_accepted() {
    Batch::try_from(update()).unwrap();
}

#[test]
fn the_frame_of_an_update_is_refused_by_field() {
    let vni = "VNI 16777216 is out of range: it must be from 1 to 16777215";
    update_refused(|u| u.vni = 1 << 24, &format!("vni: {vni}"));
    update_refused(|u| u.vni = 0, "vni: VNI 0 is out of range: it must be from 1 to 16777215");
    update_refused(|u| u.generation = 0, "generation: it is missing: it must be set");
    update_refused(
        |u| u.base = Some(1 << 48),
        "base: revision 0 of a generation is out of range: it must be from 1 to 281474976710655",
    );
    update_refused(
        |u| u.dividers = vec![UNDERLAY.to_vec(); 9],
        "dividers: 9 entries: there must be from 0 to 8",
    );
    update_refused(
        |u| u.dividers = vec![UNDERLAY.to_vec(); 2],
        "dividers[1]: 192.0.2.7 is there twice: it must be there once",
    );
    update_refused(
        |u| u.dividers[0] = vec![1, 2, 3],
        "dividers[0]: an address of 3 bytes: it must have 4 (IPv4) or 16 (IPv6)",
    );
    update_refused(
        |u| u.dividers[0] = vec![0; 4],
        "dividers[0]: 0.0.0.0 is no unicast address: it must be one host's",
    );
    update_refused(
        |u| u.removed = true,
        "removed: an update that removes the VPC has rows or a base: it must have neither",
    );
    update_refused(
        |u| u.base = None,
        "base: the first batch of a full update has removals: it must have none, or a base",
    );
}

#[test]
fn removals_are_refused_by_field() {
    update_refused(
        |u| u.removed_networks[0] = 0,
        "removed_networks[0]: network id 0 is out of range: it must be from 1 to 4294967295",
    );
    update_refused(
        |u| u.removed_networks = vec![2, 2],
        "removed_networks[1]: 2 is there twice: it must be there once",
    );
    update_refused(
        |u| u.removed_networks = vec![1],
        "removed_networks: 1 is there twice: it must be there once",
    );
    update_refused(
        |u| u.removed_ports[0] = "B".to_owned(),
        "removed_ports[0]: name \"B\" is no DNS label: it must have 1 to 63 characters of a-z, 0-9 \
         and '-', and neither start nor end with '-'",
    );
    update_refused(
        |u| u.removed_ports[0] = "a".to_owned(),
        "removed_ports: a is there twice: it must be there once",
    );
    update_refused(
        |u| u.removed_held[0] = Vec::new(),
        "removed_held[0]: it is missing: it must be set",
    );
    update_refused(
        |u| u.removed_held[0] = held().address,
        "removed_held: 10.0.0.6 is there twice: it must be there once",
    );
}

#[test]
fn networks_are_refused_by_field() {
    let with = |change: fn(&mut pb::Network), words: &str| {
        update_refused(|u| change(&mut u.networks[0]), &format!("networks[0].{words}"));
    };
    with(|n| n.id = 0, "id: network id 0 is out of range: it must be from 1 to 4294967295");
    with(|n| n.v4 = None, "v4: it is missing: it must be set");
    with(
        |n| n.v4 = Some(prefix(&[10, 0, 0, 0], 33)),
        "v4.length: a prefix length of 33: it must be from 0 to 32",
    );
    with(
        |n| n.v4 = Some(prefix(&[10, 0, 0, 0], 256)),
        "v4.length: a prefix length of 256: it must be from 0 to 32",
    );
    with(
        |n| n.v4 = Some(prefix(&V4, 24)),
        "v4.address: 10.0.0.5/24 has bits set behind its length: it must be 10.0.0.0/24",
    );
    with(
        |n| n.v4 = Some(prefix(&[0xfd; 16], 128)),
        "v4.address: an address of 16 bytes: it must have 4",
    );
    with(
        |n| n.v6 = Some(prefix(&[10, 0, 0, 0], 8)),
        "v6.address: an address of 4 bytes: it must have 16",
    );
    with(
        |n| n.v6 = Some(prefix(&[0xfd; 16], 129)),
        "v6.length: a prefix length of 129: it must be from 0 to 128",
    );
    with(
        |n| n.v4_gateway = Some(vec![10, 0, 1, 1]),
        "v4_gateway: 10.0.1.1 is not in the network's prefix: it must be inside",
    );
    with(
        |n| n.v4_gateway = Some(vec![10, 0, 1]),
        "v4_gateway: an address of 3 bytes: it must have 4 (IPv4) or 16 (IPv6)",
    );
    with(
        |n| n.v6_gateway = Some(vec![0xfd; 16]),
        "v6_gateway: fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd is not in the network's prefix: it \
         must be inside",
    );
}

#[test]
fn holders_are_refused_by_field() {
    let with = |change: fn(&mut pb::Network), words: &str| {
        update_refused(|u| change(&mut u.networks[0]), &format!("networks[0].{words}"));
    };
    with(
        |n| n.hosts[0] = mapped(),
        "hosts[0]: 10.0.0.5 is an IPv4 address in 16 bytes: send its 4 bytes",
    );
    with(
        |n| n.hosts[0] = vec![224, 0, 0, 1],
        "hosts[0]: 224.0.0.1 is no unicast address: it must be one host's",
    );
    with(
        |n| n.hosts = vec![UNDERLAY.to_vec(); 2],
        "slots: host number 1 is listed twice or holds no slot: each must differ and hold one",
    );
    with(|n| n.slots.truncate(255), "slots: 255 slots: there must be 256");
    with(|n| n.slots[9].hosts.clear(), "slots: slot 9 has 0 holders: it must have from 1 to 4");
    with(
        |n| n.slots[9].hosts = vec![0, 0],
        "slots: slot 9 is held twice by host number 0: holders must differ",
    );
    with(
        |n| n.slots[9].hosts = vec![3],
        "slots: slot 9 is held by host number 3: there are 1, counted from 0",
    );
    with(
        |n| n.slots[9].hosts = vec![65_536],
        "slots[9].hosts[0]: 65536 is too large: it must be at most 65535",
    );
}

#[test]
fn ports_are_refused_by_field() {
    let with = |change: fn(&mut pb::Port), words: &str| {
        update_refused(|u| change(&mut u.ports[0]), &format!("ports[0].{words}"));
    };
    with(|p| p.name.clear(), "name: it is missing: it must be set");
    with(
        |p| p.name = "a.b".to_owned(),
        "name: name \"a.b\" is no DNS label: it must have 1 to 63 characters of a-z, 0-9 and '-', \
         and neither start nor end with '-'",
    );
    with(
        |p| p.network = 0,
        "network: network id 0 is out of range: it must be from 1 to 4294967295",
    );
    with(|p| p.mac.clear(), "mac: it is missing: it must be set");
    with(|p| p.mac = vec![2, 0], "mac: a MAC address of 2 bytes: it must have 6");
    with(
        |p| p.mac = vec![1, 0, 0x5e, 0, 0, 1],
        "mac: MAC address 01:00:5e:00:00:01 is a group address: its first byte must be even, as in \
         02:00:0a:00:00:05",
    );
    with(
        |p| p.mac = vec![0; 6],
        "mac: MAC address 00:00:00:00:00:00 stands for none: choose another, as in \
         02:00:0a:00:00:05",
    );
    with(
        |p| p.mac = vec![2, 0x6d, 0x69, 0x7a, 0x61, 0x72],
        "mac: MAC address 02:6d:69:7a:61:72 is that of all gateways: choose another, as in \
         02:00:0a:00:00:05",
    );
    with(|p| p.v4 = None, "v4: it is missing: it must be set");
    with(|p| p.v4 = Some(vec![0xfd; 16]), "v4: an address of 16 bytes: it must have 4");
    with(|p| p.v6 = Some(V4.to_vec()), "v6: an address of 4 bytes: it must have 16");
    with(
        |p| p.v6 = Some(mapped()),
        "v6: 10.0.0.5 is an IPv4 address in 16 bytes: send its 4 bytes",
    );
    with(|p| p.generation = 0, "generation: it is missing: it must be set");
    with(
        |p| p.migration = Some(pb::port::Migration::MigratesHere(false)),
        "migrates_here: it is missing: it must be set",
    );
    with(|p| p.attachment = None, "attachment: it is missing: it must be set");
    let veth = |netns: &str, interface: &str| {
        Some(pb::port::Attachment::Veth(pb::Veth {
            netns: netns.into(),
            interface: interface.to_owned(),
        }))
    };
    update_refused(
        |u| u.ports[0].attachment = veth("netns/a", "eth0"),
        "ports[0].attachment.veth: netns \"netns/a\" is no absolute path: it must be one, as in \
         /run/netns/guest",
    );
    update_refused(
        |u| u.ports[0].attachment = veth("/run/netns/a", "a/b"),
        "ports[0].attachment.veth: interface \"a/b\" is no interface name: it must have 1 to 15 \
         visible ASCII characters without '/', ':' and '%', as in eth0",
    );
    update_refused(|u| u.ports.push(port()), "ports[1]: a is there twice: it must be there once");
}

#[test]
fn interfaces_of_hosts_are_refused_by_field() {
    let host = |interface: &str, routes: &[(&[u8], u32)], words: &str| {
        let routes = routes.iter().map(|&(address, length)| {
            let address = address.to_vec();
            pb::Prefix { address, length }
        });
        let (interface, routes) = (interface.to_owned(), routes.collect());
        let attachment = pb::port::Attachment::Host(pb::HostInterface { interface, routes });
        let words = format!("ports[0].attachment.host{words}");
        update_refused(|u| u.ports[0].attachment = Some(attachment), &words);
    };
    host(
        "",
        &[],
        ": interface \"\" is no interface name: it must have 1 to 15 visible ASCII characters \
         without '/', ':' and '%', as in eth0",
    );
    host(
        "vpc0",
        &[(&[0; 4], 0)],
        ": routes[0]: 0.0.0.0/0 is a default route, and a host keeps its own: name prefixes of \
         the VPC",
    );
    host(
        "vpc0",
        &[(&[10, 0, 2, 1], 24)],
        ".routes[0].address: 10.0.2.1/24 has bits set behind its length: it must be 10.0.2.0/24",
    );
    host(
        "vpc0",
        &[(&[10, 0, 2], 24)],
        ".routes[0].address: an address of 3 bytes: it must have 4 (IPv4) or 16 (IPv6)",
    );
    host(
        "vpc0",
        &[(&[10, 0, 2, 0], 33)],
        ".routes[0].length: a prefix length of 33: it must be from 0 to 32",
    );
    host(
        "vpc0",
        &[(&[0xfd, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 64)],
        ": routes[0]: fd02::/64 is IPv6, and the network has no IPv6 prefix: leave it out",
    );
    let back: (&[u8], u32) = (&[10, 0, 2, 0], 24);
    host(
        "vpc0",
        &[back; 2],
        ": routes[1]: 10.0.2.0/24 is already used by routes[0]: choose another",
    );
    let many = ".routes: 65 entries: there must be from 0 to 64";
    host("vpc0", &[back; 65], many);
}

#[test]
fn held_endpoints_are_refused_by_field() {
    let with = |change: fn(&mut pb::Held), words: &str| {
        update_refused(|u| change(&mut u.held[0]), &format!("held[0].{words}"));
    };
    for address in [[127, 0, 0, 1], [0, 0, 0, 7], [224, 0, 0, 1], [255; 4]] {
        let text = std::net::Ipv4Addr::from(address);
        update_refused(
            |u| u.held[0].host = address.to_vec(),
            &format!("held[0].host: {text} is no unicast address: it must be one host's"),
        );
    }
    for address in ["::", "::1", "fe80::1", "ff02::1"] {
        let octets = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
        update_refused(
            |u| u.held[0].host = octets.to_vec(),
            &format!("held[0].host: {address} is no unicast address: it must be one host's"),
        );
    }
    with(
        |h| h.address = vec![0; 5],
        "address: an address of 5 bytes: it must have 4 (IPv4) or 16 (IPv6)",
    );
    with(|h| h.host.clear(), "host: it is missing: it must be set");
    with(|h| h.generation = 0, "generation: it is missing: it must be set");
    update_refused(
        |u| u.held.push(held()),
        "held[1]: 10.0.0.6 is there twice: it must be there once",
    );
}

#[test]
fn what_the_controller_says_is_refused_by_field() {
    let config = pb::HostConfig {
        name: "h1".to_owned(),
        underlay: UNDERLAY.to_vec(),
        fleet: vec![prefix(&[192, 0, 2, 0], 24)],
        keys: None,
    };
    let send = |config| pb::ControllerMessage {
        message: Some(pb::controller_message::Message::Config(config)),
    };
    ControllerMessage::try_from(send(config.clone())).unwrap();
    refused!(
        ControllerMessage,
        pb::ControllerMessage { message: None },
        "message: it is missing: it must be set"
    );
    let name = pb::HostConfig { name: String::new(), ..config.clone() };
    refused!(ControllerMessage, send(name), "config.name: it is missing: it must be set");
    let underlay = pb::HostConfig { underlay: vec![255; 4], ..config.clone() };
    refused!(
        HostConfig,
        underlay,
        "underlay: 255.255.255.255 is no unicast address: it must be one host's"
    );
    let underlay = pb::HostConfig { underlay: V4.to_vec(), ..config.clone() };
    refused!(
        HostConfig,
        underlay,
        "underlay: 10.0.0.5 is in no prefix of the fleet: it must be in one"
    );
    let fleet = pb::HostConfig { fleet: Vec::new(), ..config.clone() };
    refused!(HostConfig, fleet, "fleet: 0 entries: there must be from 1 to 8");
    let fleet = pb::HostConfig { fleet: vec![prefix(&UNDERLAY, 24)], ..config };
    refused!(
        HostConfig,
        fleet,
        "fleet[0].address: 192.0.2.7/24 has bits set behind its length: it must be 192.0.2.0/24"
    );
    let mut bad = update();
    bad.ports[0].mac.clear();
    let message = Some(pb::controller_message::Message::Update(bad));
    refused!(
        ControllerMessage,
        pb::ControllerMessage { message },
        "update.ports[0].mac: it is missing: it must be set"
    );
}
