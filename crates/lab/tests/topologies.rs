//! What topology files say, and what is said about wrong ones.

use mizar_lab::{Topology, check};
use std::error::Error;
use std::path::Path;

/// A sound topology; each case below breaks one thing about it.
const SOUND: &str = "
lab: sound
underlay: {mtu: 1500}
hosts: [h1, h2]
vpcs:
  - name: blue
    vni: 7
    dividers: [h1]
    networks:
      - name: web
        v4: 10.0.0.0/24
        v6: fd00::/64
        bouncers: [h1]
        replicas: 1
        endpoints:
          - {name: a, host: h1, v4: 10.0.0.2}
          - {name: b, host: h2, v4: 10.0.0.3, v6: 'fd00::3', mac: '02:00:00:00:00:01'}
      - name: back
        v4: 10.0.1.0/24
        bouncers: [h2]
  - name: red
    vni: 8
    dividers: [h2]
";

/// What to replace by what, and what the message must start with and contain.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("lab: sound", "lab: Sound", "lab:", r#""Sound" is no DNS label"#),
    ("lab: sound", "lab: a234567890123456789012345678901234", "lab:", "at most 32 characters"),
    ("mtu: 1500", "mtu: 1000", "underlay.mtu:", "MTU 1000 is too small"),
    ("mtu: 1500", "mtu: 70000", "underlay.mtu:", "70000"),
    ("hosts: [h1, h2]", "hosts: []", "hosts:", "there are 0 hosts"),
    (
        "hosts: [h1, h2]",
        "hosts: 5000",
        "hosts:",
        "there are 5000 hosts: there must be from 1 to 1024",
    ),
    ("hosts: [h1, h2]", "hosts: [h1, h_2]", "hosts[1]:", r#""h_2""#),
    ("hosts: [h1, h2]", "hosts: [h1, h2, h1]", "hosts[h1].name:", "h1"),
    ("vni: 8", "vni: 0", "vpcs[red].vni:", "VNI 0 is out of range"),
    ("vni: 8", "vni: 16777216", "vpcs[red].vni:", "VNI 16777216 is out of range"),
    ("vni: 8", "vni: 7", "vpcs[red].vni:", "VNI 7 is already used by vpcs[blue]"),
    ("name: red", "name: blue", "vpcs[blue].name:", "blue is already used"),
    ("name: red", "name: re d", "vpcs[re d].name:", r#""re d""#),
    ("dividers: [h2]", "dividers: [h3]", "vpcs[red].dividers[0]:", "no host h3"),
    ("dividers: [h2]", "dividers: []", "vpcs[red].dividers:", "0 entries"),
    ("dividers: [h2]", "dividers: [h2, h2]", "vpcs[red].dividers[1]:", "h2 is already used"),
    (
        "v4: 10.0.1.0/24",
        "v4: 10.0.1.0",
        "vpcs[blue].networks[back].v4:",
        r#""10.0.1.0" is no IPv4"#,
    ),
    ("v4: 10.0.1.0/24", "v4: 10.0.1.1/24", "vpcs[blue].networks[back].v4:", "10.0.1.0/24"),
    (
        "v4: 10.0.1.0/24",
        "v4: 10.0.0.128/25",
        "vpcs[blue].networks[back].v4:",
        "overlaps 10.0.0.0/24",
    ),
    ("v4: 10.0.1.0/24", "v4: 10.0.1.0/31", "vpcs[blue].networks[back].v4:", "10.0.1.0/31"),
    ("        v4: 10.0.1.0/24\n", "", "vpcs[blue].networks[back].", "no prefix"),
    (
        "v6: fd00::/64",
        "v6: 10.0.0.0/8",
        "vpcs[blue].networks[web].v6:",
        r#""10.0.0.0/8" is no IPv6"#,
    ),
    ("bouncers: [h2]", "bouncers: [h9]", "vpcs[blue].networks[back].bouncers[0]:", "no host h9"),
    ("bouncers: [h2]", "bouncers: []", "vpcs[blue].networks[back].bouncers:", "0 entries"),
    ("replicas: 1", "replicas: 9", "vpcs[blue].networks[web].replicas:", "9 replicas"),
    ("name: b,", "name: a,", "vpcs[blue].networks[web].endpoints[a].name:", "already used"),
    ("host: h2,", "host: h3,", "vpcs[blue].networks[web].endpoints[b].host:", "no host h3"),
    (
        "v4: 10.0.0.3",
        "v4: 10.0.0.2",
        "vpcs[blue].networks[web].endpoints[b].v4:",
        "10.0.0.2 is already used",
    ),
    (
        "v4: 10.0.0.3",
        "v4: 10.9.0.3",
        "vpcs[blue].networks[web].endpoints[b].v4:",
        "10.9.0.3 is outside",
    ),
    ("v4: 10.0.0.3", "v4: 10.0.0.255", "vpcs[blue].networks[web].endpoints[b].v4:", "10.0.0.255"),
    (
        "v4: 10.0.0.3",
        "routes: [10.0.1.0/24]",
        "vpcs[blue].networks[web].endpoints[b].routes[0]:",
        "10.0.1.0/24 is for hosts: leave it out, or attach: host",
    ),
    (
        "v4: 10.0.0.3",
        "attach: host, routes: [10.0.1.0/24, back]",
        "vpcs[blue].networks[web].endpoints[b].routes[1]:",
        r#""back" is no prefix, as in 10.0.2.0/24"#,
    ),
    (
        "v4: 10.0.0.3",
        "attach: host, routes: [0.0.0.0/0]",
        "vpcs[blue].networks[web].endpoints[b]: routes[0]:",
        "0.0.0.0/0 is a default route",
    ),
    (
        "name: b,",
        "name: a-name-much-too-long, attach: host,",
        "vpcs[blue].networks[web].endpoints[a-name-much-too-long]: interface",
        "1 to 15",
    ),
    (
        "v4: 10.0.0.3",
        "v4: 10.0.0",
        "vpcs[blue].networks[web].endpoints[b].v4:",
        r#""10.0.0" is no IPv4"#,
    ),
    ("v6: 'fd00::3'", "v6: 'fd01::3'", "vpcs[blue].networks[web].endpoints[b].v6:", "fd01::3"),
    (
        "02:00:00:00:00:01",
        "01:00:00:00:00:01",
        "vpcs[blue].networks[web].endpoints[b].mac:",
        "01:00:00:00:00:01",
    ),
    ("02:00:00:00:00:01", "02:00", "vpcs[blue].networks[web].endpoints[b].mac:", "02:00"),
];

#[test]
fn a_sound_topology_is_accepted() {
    check(&SOUND.parse().unwrap()).unwrap();
}

#[test]
fn who_bounces_and_divides_may_be_left_to_the_planner() {
    let open: String = SOUND
        .lines()
        .filter(|line| !line.contains("bouncers") && !line.contains("dividers"))
        .map(|line| format!("{line}\n"))
        .collect();
    check(&open.parse().unwrap()).unwrap();
}

#[test]
fn what_is_asked_for_comes_before_what_is_chosen() {
    // Without its own wish, a would be given the address that b asks for.
    let text =
        SOUND.replace("host: h1, v4: 10.0.0.2}", "host: h1}").replace("10.0.0.3", "10.0.0.2");
    check(&text.parse().unwrap()).unwrap();
}

#[test]
fn wrong_topologies_are_refused_by_field_and_value() {
    let mut failures = Vec::new();
    for &(right, wrong, path, problem) in WRONG {
        assert!(SOUND.contains(right), "{right}");
        let topology: Topology = SOUND.replacen(right, wrong, 1).parse().unwrap();
        let message = match check(&topology) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => {
                assert!(error.source().is_none());
                error.to_string()
            }
        };
        if !message.starts_with(path) || !message.contains(problem) {
            failures.push(format!("{wrong}: {message}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_examples_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Manifests for a controller are checked elsewhere.
            continue;
        }
        let topology = Topology::read(&path).unwrap();
        check(&topology).unwrap();
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn a_missing_file_is_named() {
    let error = Topology::read(Path::new("/nowhere/lab.yaml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/lab.yaml");
}
