//! Endpoints in real namespaces: attached, kept, repaired, refused, detached.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod hosts;
#[path = "../netlink_world/mod.rs"]
mod netlink_world;

use mizar_agent::netlink::{
    EndpointSpec, GuestAddress, GuestEnd, Namespace, Netlink, Outcome, Step, host_interface,
};
use netlink_world::{World, explained, needs_root, program};

#[tokio::test]
async fn an_attached_guest_has_everything_it_was_promised() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let spec = endpoint("web", &guest);
    let attached = netlink.attach_endpoint(&spec, program()).await.unwrap();
    assert_eq!(attached.outcome, Outcome::Created);

    let link = guest.run("ip link show eth0");
    assert!(link.contains("mtu 1426") && link.contains("02:00:00:00:00:05"), "{link}");
    assert!(link.contains("LOWER_UP"), "{link}");
    let addresses = guest.run("ip addr show eth0");
    assert!(addresses.contains("inet 10.0.0.5/24 scope global"), "{addresses}");
    assert!(addresses.contains("inet6 fd00::5/64 scope global nodad"), "{addresses}");
    assert!(!addresses.contains("fd00::5/64 scope global tentative"), "{addresses}");
    let routes = guest.run("ip route; ip -6 route");
    for route in [
        "default via 10.0.0.1 dev eth0",
        "10.0.0.0/24 dev eth0",
        "default via fd00::1 dev eth0",
        "fd00::/64 dev eth0",
    ] {
        assert!(routes.contains(route), "{route:?} is not in {routes}");
    }
    let features = guest.run("ethtool -k eth0");
    for feature in [
        "generic-receive-offload: on",
        "tcp-segmentation-offload: on",
        "tx-udp_tnl-segmentation: off",
        "tx-udp_tnl-csum-segmentation: off",
        "tx-gre-segmentation: off",
        "tx-ipxip4-segmentation: off",
        "tx-ipxip6-segmentation: off",
    ] {
        assert!(features.contains(feature), "{feature:?} is not in {features}");
    }

    let name = host_interface(7, "web");
    let end = host.run(&format!("ip -d link show {name}; ip addr show {name}"));
    assert!(end.contains("alias mizar:test:7:web") && end.contains("NOARP"), "{end}");
    assert!(end.contains("addrgenmode none") && !end.contains("inet"), "{end}");
    assert!(end.contains("mtu 65535") && end.contains("LOWER_UP"), "{end}");
    assert!(end.starts_with(&format!("{}:", attached.interface)), "{end}");
    for end in [end, guest.run("ip -d link show eth0")] {
        assert!(end.contains("numtxqueues 1 numrxqueues 1 "), "{end}");
    }
    let filters = host.run(&format!("tc filter show dev {name} ingress"));
    assert!(filters.contains("direct-action"), "{filters}");
}

#[tokio::test]
async fn attaching_twice_keeps_what_is_there() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let spec = endpoint("web", &guest);
    let first = host.netlink().await.attach_endpoint(&spec, program()).await.unwrap();
    let before = guest.run("ip addr show eth0; ip route; ip -6 route");
    // Another handle: nothing is remembered.
    let second = host.netlink().await.attach_endpoint(&spec, program()).await.unwrap();
    assert_eq!(second.outcome, Outcome::Kept);
    assert_eq!(second.interface, first.interface);
    assert_eq!(guest.run("ip addr show eth0; ip route; ip -6 route"), before);
    assert_eq!((interfaces(&host), interfaces(&guest)), (1, 1));
    let filters = host.run(&format!("tc filter show dev {} ingress", host_interface(7, "web")));
    assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
}

#[tokio::test]
async fn guests_share_one_filter_whose_program_is_replaced_for_all() {
    needs_root!();
    let (host, one, two) = (World::new(), World::new(), World::new());
    let netlink = host.netlink().await;
    let (first, second) = (endpoint("first", &one), endpoint("second", &two));
    let shared = program();
    for spec in [&first, &second] {
        netlink.attach_endpoint(spec, &shared).await.unwrap();
    }
    let shown = |name: &str| {
        let filters = host.run(&format!("tc filter show dev {} ingress", host_interface(7, name)));
        assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
        assert!(filters.contains("filter block "), "{filters}");
        filters
    };
    let before = shown("first");
    assert_eq!(before, shown("second"));
    netlink.attach_endpoint(&first, program()).await.unwrap();
    assert_eq!(shown("first"), shown("second"));
    assert_ne!(shown("first"), before, "the program was not replaced");

    // The last one takes the filter with it; another agent's guests have another, and those that
    // are attached with another program.
    for name in ["first", "second"] {
        assert!(netlink.detach_endpoint(7, name).await.unwrap());
    }
    netlink.attach_endpoint(&first, &shared).await.unwrap();
    netlink.attach_endpoint(&second, program()).await.unwrap();
    assert_ne!(shown("first"), shown("second"));
    assert!(netlink.detach_endpoint(7, "second").await.unwrap());
    let other = Netlink::open(Namespace::open(&host.path()).unwrap(), "other").await.unwrap();
    other.attach_endpoint(&second, &shared).await.unwrap();
    assert_ne!(shown("first"), shown("second"));
}

#[tokio::test]
async fn an_interface_with_a_filter_of_its_own_goes_on_with_it() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let spec = endpoint("web", &guest);
    netlink.attach_endpoint(&spec, program()).await.unwrap();
    let name = host_interface(7, "web");
    host.run(&format!("tc qdisc del dev {name} ingress; tc qdisc add dev {name} clsact"));
    let mut earlier = String::new();
    for _ in 0..2 {
        netlink.attach_endpoint(&spec, program()).await.unwrap();
        let filters = host.run(&format!("tc filter show dev {name} ingress"));
        assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
        assert!(!filters.contains("filter block ") && filters != earlier, "{filters}");
        earlier = filters;
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_repaired_and_what_the_guest_added_stays() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let mut spec = endpoint("web", &guest);
    let first = netlink.attach_endpoint(&spec, program()).await.unwrap();
    let name = host_interface(7, "web");
    guest.run("ip link set eth0 mtu 1300 address 02:00:00:00:00:99");
    guest.run("ip addr del 10.0.0.5/24 dev eth0; ip addr add 192.0.2.1/32 dev eth0");
    guest.run("ip route add 198.51.100.0/24 via fd00::1 dev eth0 || true");
    guest.run("ethtool -K eth0 gro off tx-udp_tnl-segmentation on");
    host.run(&format!("ip link set {name} down mtu 1300; tc qdisc del dev {name} ingress"));
    let again = netlink.attach_endpoint(&spec, program()).await.unwrap();
    assert_eq!((again.outcome, again.interface), (Outcome::Kept, first.interface));
    let state = guest.run("ip addr show eth0; ip route; ethtool -k eth0");
    for expected in [
        "mtu 1426",
        "02:00:00:00:00:05",
        "inet 10.0.0.5/24",
        "inet 192.0.2.1/32",
        "default via 10.0.0.1",
        "generic-receive-offload: on",
        "tx-udp_tnl-segmentation: off",
    ] {
        assert!(state.contains(expected), "{expected:?} is not in {state}");
    }
    let end = host.run(&format!("ip link show {name}; tc filter show dev {name} ingress"));
    assert!(end.contains("mtu 65535") && end.contains("LOWER_UP"), "{end}");
    assert!(end.contains("direct-action"), "{end}");

    // Another address and another gateway: the former ones go, the guest's own stays.
    spec.addresses.truncate(1);
    spec.addresses[0].address = "10.0.0.6/24".parse().unwrap();
    spec.addresses[0].gateway = Some("10.0.0.254".parse().unwrap());
    netlink.attach_endpoint(&spec, program()).await.unwrap();
    let state = guest.run("ip addr show eth0; ip route; ip -6 route");
    assert!(state.contains("inet 10.0.0.6/24") && !state.contains("10.0.0.5"), "{state}");
    assert!(state.contains("default via 10.0.0.254") && !state.contains("10.0.0.1 "), "{state}");
    assert!(state.contains("192.0.2.1/32") && !state.contains("fd00::"), "{state}");
}

#[tokio::test]
async fn the_hosts_end_has_the_index_that_is_asked_for() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let spec = |index| EndpointSpec { index, ..endpoint("web", &guest) };
    let made = netlink.attach_endpoint(&spec(70_001), program()).await.unwrap();
    assert_eq!((made.outcome, made.interface), (Outcome::Created, 70_001));
    let kept = netlink.attach_endpoint(&spec(70_001), program()).await.unwrap();
    assert_eq!((kept.outcome, kept.interface), (Outcome::Kept, 70_001));
    let moved = netlink.attach_endpoint(&spec(70_002), program()).await.unwrap();
    assert_eq!((moved.outcome, moved.interface), (Outcome::Remade, 70_002));
    let other = World::new();
    let taken = EndpointSpec { index: 70_002, ..endpoint("db", &other) };
    let error = netlink.attach_endpoint(&taken, program()).await.unwrap_err();
    assert!(error.is_index_taken() && explained(&error).contains("70002"), "{error:?}");
    assert_eq!((interfaces(&host), interfaces(&other)), (1, 0));
}

#[tokio::test]
async fn a_link_into_a_former_namespace_is_remade() {
    needs_root!();
    let (host, former, guest) = (World::new(), World::new(), World::new());
    let netlink = host.netlink().await;
    netlink.attach_endpoint(&endpoint("web", &former), program()).await.unwrap();
    let moved = netlink.attach_endpoint(&endpoint("web", &guest), program()).await.unwrap();
    assert_eq!(moved.outcome, Outcome::Remade);
    assert_eq!((interfaces(&host), interfaces(&former), interfaces(&guest)), (1, 0, 1));
}

#[tokio::test]
async fn a_link_left_behind_half_made_is_remade() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let name = host_interface(7, "web");
    // What an agent leaves that is killed right after creating the link: its group, no alias.
    host.run(&format!(
        "ip link add {name} group 28026 type veth peer name eth0 netns {}",
        guest.path().display()
    ));
    let attached = netlink.attach_endpoint(&endpoint("web", &guest), program()).await.unwrap();
    assert_eq!(attached.outcome, Outcome::Kept);
    assert_eq!(netlink.list_endpoints().await.unwrap().len(), 1);
    assert!(guest.run("ip addr show eth0").contains("10.0.0.5/24"));
}

#[tokio::test]
async fn detaching_twice_is_no_error() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    netlink.attach_endpoint(&endpoint("web", &guest), program()).await.unwrap();
    assert!(netlink.detach_endpoint(7, "web").await.unwrap());
    assert!(!netlink.detach_endpoint(7, "web").await.unwrap());
    assert_eq!((interfaces(&host), interfaces(&guest)), (0, 0));
}

#[tokio::test]
async fn a_missing_namespace_is_named() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let mut spec = endpoint("web", &guest);
    spec.end = GuestEnd::Namespace("/run/netns/there-is-none".into());
    let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
    assert!(error.starts_with("endpoint 7/web: opening the guest's namespace failed"), "{error}");
    assert!(error.contains("/run/netns/there-is-none: cannot open it: No such file"), "{error}");

    // A file that is no namespace: what is left of one after its mount is gone.
    let file = tempfile::NamedTempFile::new().unwrap();
    spec.end = GuestEnd::Namespace(file.path().into());
    let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
    assert!(error.contains("cannot enter it: Invalid argument"), "{error}");

    spec.end = GuestEnd::Namespace(host.path());
    let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
    assert!(error.contains("is the host's own"), "{error}");
    assert_eq!(interfaces(&host), 0);
    // The handle still works in its own namespace.
    netlink.attach_endpoint(&endpoint("web", &guest), program()).await.unwrap();
}

#[tokio::test]
async fn a_name_taken_by_a_foreign_interface_is_refused_and_left_alone() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let spec = endpoint("web", &guest);
    let name = host_interface(7, "web");
    host.run(&format!("ip link add {name} alias mine type bridge"));
    let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
    assert!(error.contains("endpoint 7/web: looking up what is there failed"), "{error}");
    assert!(error.contains(&name) && error.contains("bridge"), "{error}");
    assert!(!netlink.detach_endpoint(7, "web").await.unwrap());
    assert!(host.run("ip link").contains(&name));
    host.run(&format!("ip link del {name}"));

    guest.run("ip link add eth0 type bridge");
    let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
    assert!(error.contains("endpoint 7/web: creating the link failed"), "{error}");
    assert!(error.contains("eth0 in the guest's namespace") && error.contains("bridge"), "{error}");
    assert_eq!((interfaces(&host), interfaces(&guest)), (0, 1));
}

#[tokio::test]
async fn another_agents_endpoint_is_not_touched() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    netlink.attach_endpoint(&endpoint("web", &guest), program()).await.unwrap();
    host.run(&format!("ip link set {} alias mizar:other:7:web", host_interface(7, "web")));
    let error = netlink.attach_endpoint(&endpoint("web", &guest), program()).await.unwrap_err();
    assert!(explained(&error).contains("mizar:other:7:web"), "{}", explained(&error));
    assert!(!netlink.detach_endpoint(7, "web").await.unwrap());
    assert_eq!(netlink.list_endpoints().await.unwrap(), []);
    assert_eq!(interfaces(&host), 1);
}

#[tokio::test]
async fn a_failure_half_way_leaves_nothing() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    // A descriptor that is no program fails at the fifth step.
    let no_program = std::fs::File::open("/dev/null").unwrap();
    let error = netlink.attach_endpoint(&endpoint("web", &guest), no_program).await.unwrap_err();
    let error = explained(&error);
    assert!(error.starts_with("endpoint 7/web: attaching the program failed"), "{error}");
    assert_eq!((interfaces(&host), interfaces(&guest)), (0, 0));
}

#[tokio::test]
async fn endpoints_with_the_same_addresses_live_in_different_namespaces() {
    needs_root!();
    let (host, one, two) = (World::new(), World::new(), World::new());
    let netlink = host.netlink().await;
    let first = endpoint("web", &one);
    let mut second = endpoint("web", &two);
    second.vni = 8;
    let (first, second) = tokio::join!(
        netlink.attach_endpoint(&first, program()),
        netlink.attach_endpoint(&second, program())
    );
    assert_ne!(first.unwrap().interface, second.unwrap().interface);
    for guest in [&one, &two] {
        assert!(guest.run("ip addr show eth0").contains("10.0.0.5/24"));
    }
    let mut found: Vec<_> = netlink.list_endpoints().await.unwrap();
    found.sort_by_key(|endpoint| endpoint.vni);
    let names: Vec<_> = found.iter().map(|found| (found.vni, found.name.as_str())).collect();
    assert_eq!(names, [(7, "web"), (8, "web")]);
    assert!(found.iter().all(|found| found.up));
}

#[tokio::test]
async fn a_new_guests_namespace_has_the_lowest_number_unless_it_has_one() {
    needs_root!();
    let (host, one, two) = (World::new(), World::new(), World::new());
    let netlink = host.netlink().await;
    let attach = async |name: &str, index: u32, interface: &str, guest: &World| {
        let interface = interface.to_owned();
        let spec = EndpointSpec { index, interface, ..endpoint(name, guest) };
        netlink.attach_endpoint(&spec, program()).await.unwrap();
        let shown = host.run(&format!("ip -d link show {}", host_interface(7, name)));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link-netnsid");
        i64::from(i32::MAX) - words.nth(1).unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(attach("first", 70_000, "eth0", &one).await, 70_000);
    assert_eq!(attach("second", 70_001, "eth0", &two).await, 70_001);
    assert_eq!(attach("third", 70_002, "eth1", &one).await, 70_000);
}

#[tokio::test]
async fn a_guest_with_two_endpoints_keeps_the_first_default_route() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    netlink.attach_endpoint(&endpoint("front", &guest), program()).await.unwrap();
    let mut back = endpoint("back", &guest);
    back.interface = "eth1".into();
    back.addresses[0].address = "10.0.1.5/24".parse().unwrap();
    back.addresses[0].gateway = Some("10.0.1.1".parse().unwrap());
    back.addresses[1].address = "fd00:1::5/64".parse().unwrap();
    back.addresses[1].gateway = Some("fd00:1::1".parse().unwrap());
    netlink.attach_endpoint(&back, program()).await.unwrap();
    let routes = guest.run("ip route; ip -6 route");
    assert_eq!(routes.matches("default").count(), 2, "{routes}");
    assert!(routes.contains("default via 10.0.0.1 dev eth0"), "{routes}");
    assert!(routes.contains("default via fd00::1 dev eth0"), "{routes}");
}

#[tokio::test]
async fn a_wrong_field_is_named_with_its_value() {
    needs_root!();
    let (host, guest) = (World::new(), World::new());
    let netlink = host.netlink().await;
    let good = endpoint("web", &guest);
    let mut cases = Vec::new();
    let mut bad = good.clone();
    bad.interface = "much-too-long-a-name".into();
    cases.push((bad, "interface is \"much-too-long-a-name\""));
    let mut bad = good.clone();
    bad.mtu = 1279;
    cases.push((bad, "mtu is \"1279\""));
    let mut bad = good.clone();
    bad.mac[0] = 1;
    cases.push((bad, "mac is \"01:00:00:00:00:05\""));
    let mut bad = good.clone();
    bad.addresses[0].gateway = Some("10.0.9.1".parse().unwrap());
    cases.push((bad, "gateway is \"10.0.9.1\""));
    let mut bad = good;
    bad.addresses[1] = bad.addresses[0];
    cases.push((bad, "gateway is \"10.0.0.1\""));
    for (spec, expected) in cases {
        let error = explained(&netlink.attach_endpoint(&spec, program()).await.unwrap_err());
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    assert_eq!((interfaces(&host), interfaces(&guest)), (0, 0));
}

#[tokio::test]
async fn namespaces_that_vanish_while_being_attached_are_errors() {
    needs_root!();
    let host = World::new();
    let netlink = host.netlink().await;
    for round in 0..40 {
        let guest = World::new();
        let spec = endpoint(&format!("web{round}"), &guest);
        let task = tokio::spawn({
            let netlink = netlink.clone();
            async move { netlink.attach_endpoint(&spec, program()).await }
        });
        tokio::time::sleep(std::time::Duration::from_micros(100 * (round % 20))).await;
        // Pulls the interface out from under the attachment, at whatever step it is.
        let name = host_interface(7, &format!("web{round}"));
        let _ = host.try_run(&format!("ip link del {name}"));
        drop(guest);
        let _either = task.await.expect("no panic");
    }
    let guest = World::new();
    netlink.attach_endpoint(&endpoint("last", &guest), program()).await.unwrap();
}

#[tokio::test]
async fn each_step_is_timed() {
    needs_root!();
    let host = World::new();
    let netlink = host.netlink().await;
    let program = program();
    let mut totals = Vec::new();
    let mut guests = Vec::new();
    for round in 0..50 {
        let guest = World::new();
        let spec = endpoint(&format!("web{round}"), &guest);
        let attached = netlink.attach_endpoint(&spec, &program).await.unwrap();
        let total: std::time::Duration = attached.steps.iter().map(|(_, took)| *took).sum();
        totals.push((total, attached.steps));
        guests.push(guest);
    }
    totals.sort_by_key(|(total, _)| *total);
    let (median, steps) = &totals[totals.len() / 2];
    println!("median {median:?}, maximum {:?}", totals[totals.len() - 1].0);
    for (step, took) in steps {
        println!("  {step}: {took:?}");
    }
    let taken: Vec<_> = steps.iter().map(|(step, _)| *step).collect();
    let expected = [
        Step::Check,
        Step::Namespace,
        Step::LookUp,
        Step::Create,
        Step::HostEnd,
        Step::Filter,
        Step::GuestEnd,
        Step::Up,
        Step::Addresses,
        Step::Routes,
    ];
    assert_eq!(taken, expected);
    let start = std::time::Instant::now();
    for round in 0..50 {
        assert!(netlink.detach_endpoint(7, &format!("web{round}")).await.unwrap());
    }
    println!("detach: {:?} each", start.elapsed() / 50);
}

/// An endpoint in a guest's namespace: 10.0.0.5/24 and fd00::5/64, with gateways.
fn endpoint(name: &str, guest: &World) -> EndpointSpec {
    let address = |address: &str, gateway: &str| GuestAddress {
        address: address.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
    };
    EndpointSpec {
        vni: 7,
        name: name.to_owned(),
        index: 0,
        end: GuestEnd::Namespace(guest.path()),
        interface: "eth0".to_owned(),
        mac: [2, 0, 0, 0, 0, 5],
        mtu: 1426,
        addresses: vec![address("10.0.0.5/24", "10.0.0.1"), address("fd00::5/64", "fd00::1")],
    }
}

/// How many interfaces a namespace has besides its loopback.
fn interfaces(world: &World) -> usize {
    world.run("ip -o link show").lines().filter(|line| !line.contains("LOOPBACK")).count()
}
