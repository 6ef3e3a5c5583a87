//! What holds through any history of a fleet: traffic, time, deaths, moves, agents on and off.

use crate::common::cases;
use crate::common::topology::{BOUNCERS, DIVIDING, Guest, HOSTS, LEASE, TEACH};
use crate::common::world::{Fate, Trip, World};
use mizar_packet::Address;
use mizar_packet::count::{Counter, Path};
use mizar_packet::tables::Learned;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A guest sends another one of its VPC a packet.
    Send { blue: bool, from: usize, to: usize, is_v6: bool },
    /// Time passes.
    Wait(u64),
    /// A host dies or comes back.
    Kill(usize),
    /// A host's agent dies or comes back.
    KillAgent(usize),
    /// A guest moves.
    Move { blue: bool, guest: usize, host: usize },
    /// A bouncer loses, for a while, what it knows of a guest.
    Forget { blue: bool, guest: usize, bouncer: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let guest = 0usize..5;
    let send = (any::<bool>(), guest.clone(), guest.clone(), any::<bool>());
    prop_oneof![
        10 => send.prop_map(|(blue, from, to, is_v6)| Step::Send { blue, from, to, is_v6 }),
        4 => prop_oneof![1u64..50, 100u64..400, 900u64..1500].prop_map(Step::Wait),
        1 => (0..HOSTS).prop_map(Step::Kill),
        1 => (0..HOSTS).prop_map(Step::KillAgent),
        1 => (any::<bool>(), guest.clone(), 0usize..3)
            .prop_map(|(blue, guest, host)| Step::Move { blue, guest, host }),
        1 => (any::<bool>(), guest, 0usize..2).prop_map(|(blue, guest, bouncer)| {
            Step::Forget { blue, guest, bouncer: BOUNCERS[bouncer] }
        }),
    ]
}

/// A fleet and where its guests are.
struct History {
    world: World,
    guests: [[Guest; 5]; 2],
    rows: Vec<BTreeMap<(u32, Address), Learned>>,
}

impl History {
    fn new() -> Self {
        let world = World::new();
        let guests = [world.red.all(), world.blue.all()];
        Self { world, guests, rows: vec![BTreeMap::new(); HOSTS] }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send { blue, from, to, is_v6 } => {
                let guests = self.guests[usize::from(blue)];
                let _ = self.send(&guests[from], &guests[to], is_v6);
            }
            Step::Wait(jiffies) => self.world.advance(jiffies),
            Step::Kill(host) => {
                if !self.world.dead.remove(&host) {
                    self.world.dead.insert(host);
                }
            }
            Step::KillAgent(host) => {
                if !self.world.agentless.remove(&host) {
                    self.world.agentless.insert(host);
                }
            }
            Step::Move { blue, guest, host } => {
                let guest = &mut self.guests[usize::from(blue)][guest];
                if guest.host != host {
                    *guest = self.world.move_guest(guest, host);
                }
            }
            Step::Forget { blue, guest, bouncer } => {
                let guest = self.guests[usize::from(blue)][guest];
                self.world.forget(bouncer, &guest);
            }
        }
        self.check_rows();
    }

    /// Sends a packet, which reaches the guest it is for or nobody; and never goes direct to a host
    /// whose proof has run out.
    fn send(&mut self, from: &Guest, to: &Guest, is_v6: bool) -> Trip {
        if self.world.dead.contains(&from.host) {
            self.world.dead.remove(&from.host);
        }
        let direct = Counter::Path(Path::SentDirect);
        let before = self.world.counted(from.host, direct);
        let alive = self.world.hosts[from.host].hosts.borrow().clone();
        let trip = if is_v6 { self.world.udp6(from, to) } else { self.world.udp(from, to) };
        if let Fate::Delivered(host, interface) = trip.fate {
            assert_eq!((host, interface), (to.host, to.interface));
        }
        if self.world.counted(from.host, direct) > before {
            let now = self.world.hosts[from.host].now;
            let first = crate::common::oracle::destination(&trip.wires[0]).unwrap();
            assert!(alive[&(first as u32 + 1)].alive_until > now, "direct to a host not proven");
        }
        trip
    }

    /// What was learned gets newer or stays; it is never about a guest of the same host.
    fn check_rows(&mut self) {
        for (host, before) in self.rows.iter_mut().enumerate() {
            let after = self.world.hosts[host].learned.borrow().clone();
            for (key, old) in before.iter() {
                let new = after.get(key).unwrap_or_else(|| panic!("{key:?} was lost"));
                assert!(new.generation >= old.generation, "{key:?}: {old:?} became {new:?}");
                if new.generation == old.generation && new.host != old.host {
                    assert!(new.host == 0 || old.host == 0, "{key:?}: {old:?} became {new:?}");
                }
            }
            let limit = self.world.hosts[host].now + TEACH;
            assert!(after.values().all(|row| row.teach_until <= limit));
            *before = after;
        }
        for tables in &self.world.hosts {
            let limit = tables.now + LEASE;
            assert!(tables.hosts.borrow().values().all(|row| row.alive_until <= limit));
        }
    }

    /// Everything is put right: all hosts live, all agents run, bouncers know all guests.
    fn heal(&mut self) {
        self.world.dead.clear();
        self.world.agentless.clear();
        for guest in self.guests.concat() {
            self.world.attach(&guest);
        }
        // Negative leases end, and hosts prove themselves as soon as they are wanted.
        self.world.advance(2 * TEACH);
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_fleet_never_misdelivers_and_heals_by_itself(steps in vec(step(), 1..60)) {
        let mut history = History::new();
        for step in steps {
            history.take(step);
        }
        history.heal();
        let pairs = history.guests.map(|guests| {
            guests.map(|from| guests.map(|to| (from, to)))
        });
        for (from, to) in pairs.into_iter().flatten().flatten() {
            if from == to {
                continue;
            }
            for is_v6 in [false, true] {
                // Three round trips suffice, whatever was believed.
                for _ in 0..3 {
                    let _ = history.send(&from, &to, is_v6);
                    let _ = history.send(&to, &from, is_v6);
                    history.check_rows();
                }
                let trip = history.send(&from, &to, is_v6);
                prop_assert_eq!(trip.fate, Fate::Delivered(to.host, to.interface));
                prop_assert!(trip.wires.len() <= 1, "{:?} to {:?} is not direct", from, to);
            }
        }
        prop_assert!(DIVIDING.iter().all(|&host| history.world.hosts[host].ports.is_empty()));
    }
}
