//! Tenants that send as much as they can, and hosts whose tables are full: others lose nothing, and
//! what is refused says why.

use crate::frames::{MARK, ethernet, ip, udp};
use crate::topology::{cloud, network, vpc};
use crate::traffic::Numbered;
use crate::world::{Guest, World, until};
use mizar_agent::kernel::{Maps, Pins};
use mizar_packet::tables::LAYOUT;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Slow enough that no receiver's socket overflows while another guest has the processor.
const PACE: Duration = Duration::from_millis(2);
const RED: u32 = 8;
const UDP: u8 = 17;
const IPV4: u16 = 0x0800;

/// Frames that are sent over and over, as fast as it goes.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Flood {
    /// With a pause after each time that all have been sent.
    pub(crate) fn start(socket: UdpSocket, frames: Vec<Vec<u8>>, pause: Duration) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // What finds no room in a queue is dropped by whoever sends it.
                    frames.iter().for_each(|frame| drop(socket.send(frame)));
                    sent.fetch_add(frames.len() as u64, Ordering::Relaxed);
                    if !pause.is_zero() {
                        thread::sleep(pause);
                    }
                }
            }
        });
        Self { stop, sent, thread }
    }

    /// Waits until so many have been sent.
    pub(crate) fn comes_to(&self, frames: u64) {
        until("so many frames are sent", || self.sent.load(Ordering::Relaxed) >= frames);
    }

    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Both VPCs have guests on h1 and h4, bouncers on h2 and h3, and their divider on h2.
fn streets() -> String {
    let red = [("evil", "h1", 2), ("r4", "h4", 3)];
    let of = |number| [("r5", "h4", 4), ("r6", "h4", 5), ("r7", "h4", 6)][number];
    let red = [red[0], red[1], of(0), of(1), of(2)];
    let blue = [("b1", "h1", 2), ("b2", "h4", 3), ("b3", "h4", 4), ("b4", "h4", 5)];
    let red = [network("front", 1, &["h2", "h3"], &red), network("back", 2, &["h3"], &[])];
    let blue = network("front", 1, &["h2", "h3"], &blue);
    cloud(4, &[vpc("red", RED, &["h2"], &red), vpc("blue", 7, &["h2"], &[blue])])
}

#[track_caller]
fn nothing_lost(datagrams: Numbered) {
    let (sent, lost) = datagrams.finish();
    assert!(lost.is_empty(), "of {sent} are lost {lost:?}");
}

/// Frames to thousands of addresses of red that nobody has: in its networks, and in none.
fn scans(evil: &Guest) -> Vec<Vec<u8>> {
    let datagram = udp(1, 2, MARK);
    let to = |dst: Ipv4Addr| {
        ethernet(evil.mac(), IPV4, &ip(evil.v4.into(), dst.into(), UDP, 64, &datagram))
    };
    let known = (10..250).flat_map(|last| [[10, 0, 1, last], [10, 0, 2, last]]);
    let nowhere = (0..2000u16).map(|n| [10, 77, (n >> 8) as u8, n as u8]);
    known.chain(nowhere).map(|octets| to(octets.into())).collect()
}

/// Frames from addresses that are not the guest's.
fn spoofs(evil: &Guest, to: IpAddr) -> Vec<Vec<u8>> {
    let datagram = udp(1, 2, MARK);
    let frames = (10..250u8).flat_map(|last| {
        let from = Ipv4Addr::new(10, 0, 1, last);
        let packet = ip(from.into(), to, UDP, 64, &datagram);
        let honest = ip(evil.v4.into(), to, UDP, 64, &datagram);
        [ethernet(evil.mac(), IPV4, &packet), ethernet([2, 0, 0, 1, 0, last], IPV4, &honest)]
    });
    frames.collect()
}

#[test]
fn a_guest_that_scans_or_spoofs_as_fast_as_it_can_costs_another_tenant_nothing() {
    let Some(world) = World::new("flood", &streets()) else { return };
    let [evil, b1, b2] = ["red/evil", "blue/b1", "blue/b2"].map(|name| world.guest(name).clone());
    let there = Numbered::start(&b1, &b2, b2.v4.into(), PACE);
    let back = Numbered::start(&b2, &b1, b1.v6.into(), PACE);
    let r4 = world.guest("red/r4").v4.into();
    let floods = [
        (scans(&evil), "b3", &[("h1", "throttled"), ("h2", "no_route"), ("h3", "no_endpoint")][..]),
        (spoofs(&evil, r4), "b4", &[("h1", "spoofed_address"), ("h1", "spoofed_mac")]),
    ];
    for (frames, fresh, reasons) in floods {
        let before = world.counted();
        let flood = Flood::start(evil.place().frames("eth0"), frames, Duration::ZERO);
        // More than a guest may send to bouncers at once.
        flood.comes_to(100_000);
        let fresh = world.guest(&format!("blue/{fresh}"));
        let new = Numbered::start(&b1, fresh, fresh.v4.into(), PACE);
        new.goes_on(500);
        flood.finish();
        nothing_lost(new);
        let risen = world.counted().since(&before);
        for (host, reason) in reasons {
            assert!(risen.at("red", host, reason) > 0, "{host} {reason}: {risen:?}");
        }
        assert!(risen.at("red", "h4", "arrived") == 0, "{risen:?}");
    }
    nothing_lost(there);
    nothing_lost(back);
    // Nor does it cost the tenant's others, once it ends.
    world.guest("red/r4").place().pings(evil.v4.into());
}

#[test]
fn a_tenant_that_has_learned_all_that_it_may_goes_by_bouncers_and_another_one_learns() {
    let Some(world) = World::new("quota", &streets()) else { return };
    let quota = format!(
        "{{kind: Vpc, metadata: {{name: red}}, spec: {{vni: {RED}, quota: 2, dividers: {{hosts: \
         [h2]}}}}}}"
    );
    let applied = world.asks(&["apply", "-f", &world.manifests(&quota)]);
    assert!(applied.status.success(), "{applied:?}");
    let maps = Maps::open(&world.host("h1").pins).unwrap();
    until("the quota is there", || maps.vpcs.get(&RED).unwrap().unwrap().quota == 2);
    let before = world.counted();
    let evil = world.guest("red/evil");
    let to = ["r4", "r5", "r6", "r7"].map(|name| world.guest(&format!("red/{name}")));
    let flows = to.map(|guest| Numbered::start(evil, guest, guest.v4.into(), 2 * PACE));
    until("no more is learned", || {
        flows[3].goes_on(50);
        world.counted().since(&before).at("red", "h1", "learn_refused") > 0
    });
    let learned = maps.learned.rows().filter(|(key, _)| key.vni == RED);
    assert_eq!(learned.count(), 2);
    let [b1, b2] = ["blue/b1", "blue/b2"].map(|name| world.guest(name));
    let blue = Numbered::start(b1, b2, b2.v4.into(), PACE);
    until("the other tenant's packets go direct", || {
        let before = world.counted();
        blue.goes_on(100);
        let risen = world.counted().since(&before);
        risen.at("blue", "h1", "sent_direct") >= 100
            && risen.at("blue", "h1", "sent_to_bouncer") == 0
    });
    let before = world.counted();
    flows[3].goes_on(100);
    let risen = world.counted().since(&before);
    assert!(risen.at("red", "h1", "sent_to_bouncer") >= 150, "two of four: {risen:?}");
    flows.into_iter().for_each(nothing_lost);
    nothing_lost(blue);
}

#[test]
fn what_does_not_fit_into_a_table_is_refused_by_name_and_what_was_there_works_on() {
    let front = [("a", "h1", 2), ("b", "h4", 3)];
    let blue = vpc("blue", 7, &["h3"], &[network("front", 1, &["h2"], &front)]);
    let Some(mut world) = World::new("full", &cloud(4, &[blue])) else { return };
    let [a, b] = ["blue/a", "blue/b"].map(|name| world.guest(name).clone());
    let datagrams = Numbered::start(&a, &b, b.v4.into(), PACE);
    // A table gets another size with another layout. The bouncer has room for one more address;
    // the sender for no other guest, for no host beside its own, bouncer and divider, and it
    // learns one address of all.
    let next = LAYOUT + 1;
    let small = ["--rows endpoints=5", "--rows ports=1 --rows hosts=3 --rows learned=1"];
    for (host, rows) in ["h2", "h1"].into_iter().zip(small) {
        world.kill_agent(host);
        world.start_agent_with(host, &format!("--layout {next} {rows}"));
        let old = world.host(host).pins.join(format!("v{LAYOUT}"));
        until("the layout is another", || !old.exists());
    }
    world.becomes_ready();
    let refused = |name: &str, host: &str, problem: &str| {
        let manifest = world.new_guest(&format!("blue/{name}"), "front", host);
        let applied = world.asks(&["apply", "-f", &world.manifests(&manifest)]);
        assert!(applied.status.success(), "{applied:?}");
        until(&format!("{name} says {problem:?}"), || {
            let shown = world.asks(&["get", "endpoint", &format!("blue/{name}"), "-o", "json"]);
            String::from_utf8_lossy(&shown.stdout).contains(problem)
        });
    };
    refused("c", "h4", "table ENDPOINTS is full: it has room for 5 rows");
    refused("d", "h1", "no room for one more port: there are 1");
    let log = std::fs::read_to_string(&world.host("h1").log).unwrap();
    assert!(log.contains("no room for one more host: there are 3"), "{log}");
    let maps = Maps::open(Pins::of_layout(&world.host("h1").pins, next)).unwrap();
    assert_eq!(maps.learned.rows().count(), 0, "where it is has no row");
    datagrams.goes_on(500);
    nothing_lost(datagrams);
    a.place().pings(b.v6.into());
}
