//! What takes the place of something waits until it can be reached.
#![expect(clippy::unwrap_used, reason = "a part of tests")]

use crate::world;
use crate::world::{FakeController, Guest, THERE, THIRD, at, port, rows};
use mizar_agent::Options;
use mizar_proto::ControllerMessage;
use mizar_vpc::{Changes, HeldRow, Vni, VpcRows, VpcUpdate};
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long the new bouncer's host is silent when its next hop is asked for.
const SILENT: Duration = Duration::from_millis(30);
/// Whoever is not answered for as long as this may be waited for in vain: hosts are for 100 ms.
const TOO_LATE: Duration = Duration::from_millis(80);
/// `ping` sends a hundred a second at most if nothing comes back: ten of them a thousand.
const SENDERS: u64 = 10;
/// Of each of them.
const PINGS: u64 = 150;

/// These rows, in networks that this host holds.
fn held_by(host: IpAddr, mut rows: VpcRows) -> VpcRows {
    rows.networks.values_mut().for_each(|network| network.holders.hosts = vec![host]);
    rows.dividers = vec![host];
    rows
}

/// How many pings a guest has received.
fn received(guest: &Guest) -> u64 {
    let text = guest.run("cat /proc/net/snmp");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let mut columns = lines.next().unwrap().split(' ').zip(lines.next().unwrap().split(' '));
    columns.find(|(name, _)| *name == "InEchos").unwrap().1.parse().unwrap()
}

/// Sends pings to b that are not answered.
fn ping(guest: &Guest) -> impl Future<Output = ()> + use<> {
    let mut command = tokio::process::Command::new("nsenter");
    command.arg(format!("--net={}", guest.namespace().display()));
    command.args(["ping", "-q", "-i", "0.01", "-W", "1", "-c", &PINGS.to_string(), "10.0.0.6"]);
    async move {
        let said = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
        assert!(said.contains(&format!("{PINGS} packets transmitted, 0 received")), "{said}");
    }
}

/// Waits until h1's kernel asks where frames to that address go.
async fn asks_for(address: &str) {
    let line = format!("{address} ");
    while !fs::read_to_string("/proc/net/arp").unwrap().contains(&line) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn slots_that_move_to_a_host_whose_next_hop_is_not_known_lose_nothing() {
    let name = "late::slots_that_move_to_a_host_whose_next_hop_is_not_known_lose_nothing";
    if !world::unwraps_in_tc() {
        println!("SKIPPED: needs Linux 6.3");
        return;
    }
    world::enter(name, || async {
        let (second, third) = (Guest::new(), Guest::new());
        world::set_up_others(&[&second, &third]);
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(Options { mode: "tc".parse().unwrap(), ..world::options() });
        let mut h1 = controller.stream().await;
        let second_agent = world::start_in(&second.namespace(), "h2", "tc", name);
        let mut h2 = controller.stream().await;
        let _third_agent = world::start_in(&third.namespace(), "h3", "tc", name);
        let mut h3 = controller.stream().await;

        // a is on h1; b on h2, which is the bouncer first, then h3, of which h1 has not heard.
        let (a, b) = (Guest::new(), Guest::new());
        let one = held_by(THERE, rows(&[("a", port(&a.namespace(), 5, at(1)))]));
        let two = held_by(THERE, rows(&[("b", port(&b.namespace(), 6, at(1)))]));
        let mut three = held_by(THIRD, rows(&[]));
        three.held.insert([10, 0, 0, 6].into(), HeldRow { host: THERE, generation: at(1) });
        for (stream, rows) in [(&mut h1, one.clone()), (&mut h2, two), (&mut h3, three)] {
            stream.configure().await;
            world::all_applied(&stream.update(VpcUpdate::full(Vni::MIN, at(1), rows)).await);
        }
        // Nobody tells h1 where b is: it goes on by way of the bouncer.
        drop(second_agent);
        b.run("sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
        third.run("sysctl -qw net.ipv4.conf.nic.arp_ignore=8");
        // The kernel asks again so soon as not to add to the wait.
        for (setting, value) in [("retrans_time_ms", "10"), ("mcast_solicit", "100")] {
            fs::write(format!("/proc/sys/net/ipv4/neigh/nic/{setting}"), value).unwrap();
        }

        let before = received(&b);
        let pings: Vec<_> = (0..SENDERS).map(|_| tokio::spawn(ping(&a))).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let VpcRows { networks, quota, .. } = held_by(THIRD, one);
        let moves = VpcUpdate {
            base: Some(at(1)),
            dividers: vec![THIRD],
            quota,
            networks: Changes { upserts: networks, ..Changes::default() },
            ..VpcUpdate::full(Vni::MIN, at(2), VpcRows::default())
        };
        for batch in moves.batches(3) {
            h1.say(ControllerMessage::Update(batch)).await;
        }
        asks_for("100.64.0.3").await;
        let start = Instant::now();
        tokio::time::sleep(SILENT).await;
        third.run("sysctl -qw net.ipv4.conf.nic.arp_ignore=0");
        let took = start.elapsed();
        world::all_applied(&h1.ack().await);
        for ping in pings {
            ping.await.unwrap();
        }
        let bounced = world::counters("h3").await["bounced"];
        assert!(bounced > SENDERS * PINGS / 2, "{bounced} by way of the new bouncer");
        if took > TOO_LATE {
            println!("SKIPPED: h3 was silent for {took:?}, too busy a machine to tell anything");
        } else {
            assert_eq!(received(&b) - before, SENDERS * PINGS, "received, of all that were sent");
        }
        world::kill(agent).await;
    });
}
