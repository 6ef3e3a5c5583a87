//! Two hosts with an agent each: guests reach each other, and the agents keep the ways alive.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::world;
use crate::world::{FakeController, Guest, HERE, THERE, at, port, rows};
use mizar_agent::Options;
use mizar_agent::kernel::Maps;
use mizar_packet::Address;
use mizar_packet::tables::EndpointKey;
use mizar_vpc::{HeldRow, Vni, VpcRows, VpcUpdate};
use std::time::Duration;

/// Guest a on h1, which is the bouncer, and guest b on h2.
fn pair(a: &Guest, b: &Guest) -> (VpcRows, VpcRows) {
    let mut one = rows(&[("a", port(&a.namespace(), 5, at(1)))]);
    let mut two = rows(&[("b", port(&b.namespace(), 6, at(1)))]);
    for rows in [&mut one, &mut two] {
        rows.dividers = vec![HERE];
        for network in rows.networks.values_mut() {
            network.holders.hosts = vec![HERE];
        }
    }
    let row = HeldRow { host: THERE, generation: at(1) };
    one.held.insert([10, 0, 0, 6].into(), row);
    one.held.insert("fd00::6".parse().unwrap(), row);
    (one, two)
}

#[test]
fn guests_on_two_hosts_reach_each_other_with_tc() {
    guests_reach_each_other("tc", "pair::guests_on_two_hosts_reach_each_other_with_tc");
}

#[test]
fn guests_on_two_hosts_reach_each_other_with_native_xdp() {
    guests_reach_each_other("native", "pair::guests_on_two_hosts_reach_each_other_with_native_xdp");
}

/// First through a bouncer, then direct, and on while an agent is killed and another takes over.
fn guests_reach_each_other(mode: &'static str, name: &'static str) {
    world::enter(name, || async {
        let other = Guest::new();
        world::set_up_peer(&other);
        let (mut controller, _serving) = FakeController::listen();
        let options = || Options { mode: mode.parse().unwrap(), ..world::options() };
        let agent = world::start(options());
        let mut here = controller.stream().await;
        let _other_agent = world::start_in(&other.namespace(), "h2", mode, name);
        let mut there = controller.stream().await;
        here.configure().await;
        there.configure().await;
        let (a, b) = (Guest::new(), Guest::new());
        let (one, two) = pair(&a, &b);
        let full = |rows| VpcUpdate::full(Vni::MIN, at(1), rows);
        world::all_applied(&here.update(full(one)).await);
        world::all_applied(&there.update(full(two)).await);

        // b's first packet goes by way of the bouncer; once a has answered, both are direct.
        b.run("ping -q -c 5 -i 0.1 -W 1 10.0.0.5");
        a.run("ping -q -c 5 -i 0.1 -W 1 fd00::6");
        let counted = world::counters("h2").await;
        assert!(counted["sent_to_bouncer"] >= 1, "{counted:?}");
        assert!(counted["sent_direct"] >= 5, "{counted:?}");
        let status = world::status("h2").await;
        assert!(status.connected && status.hosts.len() == 1, "{status:?}");
        assert!(status.hosts[0].alive && status.hosts[0].next_hop.is_some(), "{status:?}");
        let maps = Maps::open(&world::options_of("h2").pins).unwrap();
        let key = EndpointKey::new(1, Address::v4([10, 0, 0, 5]));
        let learned = maps.learned.get(&key).unwrap().unwrap();
        assert_eq!(learned.generation, at(1).get());

        // Nobody sends: nobody is probed, and no proof is left.
        tokio::time::sleep(Duration::from_millis(1800)).await;
        assert!(!world::status("h2").await.hosts[0].alive);

        // While packets flow, an agent is killed and another takes over.
        let flow = std::thread::spawn(move || b.run("ping -q -c 200 -i 0.01 -W 1 10.0.0.5"));
        tokio::time::sleep(Duration::from_millis(400)).await;
        world::kill(agent).await;
        let agent = world::start(options());
        let here = controller.stream().await;
        here.configure().await;
        let said = tokio::task::spawn_blocking(|| flow.join().unwrap()).await.unwrap();
        assert!(said.contains(" 0% packet loss"), "{said}");
        world::kill(agent).await;
    });
}
