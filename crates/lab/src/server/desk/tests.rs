//! Hosts that follow the desk: whatever happens on the way, they end where they should.

use super::*;
use crate::topology::Topology;

/// An agent: what it was told, and where it stands.
#[derive(Default)]
struct Follower {
    rows: BTreeMap<Vni, VpcRows>,
    positions: BTreeMap<Vni, Generation>,
}

impl Follower {
    fn take(&mut self, update: VpcUpdate) -> (Vni, Generation) {
        let (vni, generation) = (update.vni, update.generation);
        update.check_position(self.positions.get(&vni).copied()).unwrap();
        if update.removed {
            self.rows.remove(&vni);
            self.positions.remove(&vni);
        } else {
            self.rows.entry(vni).or_default().apply(update).unwrap();
            self.positions.insert(vni, generation);
        }
        (vni, generation)
    }
}

/// A desk with two hosts that follow it.
struct World {
    desk: Desk,
    hosts: BTreeMap<Name, (Follower, SessionId)>,
}

impl World {
    fn new(topology: &str) -> Self {
        let plan = Plan::new(&topology.parse::<Topology>().unwrap(), None).unwrap();
        let mut world = Self { desk: Desk::new(plan), hosts: BTreeMap::new() };
        for host in ["h1", "h2"] {
            world.connect(host, Follower::default());
        }
        world
    }

    fn connect(&mut self, host: &str, follower: Follower) {
        let name: Name = host.parse().unwrap();
        let opened = self.desk.open(&name, &follower.positions);
        let (session, config) = opened.unwrap();
        assert_eq!(config.name, name);
        self.hosts.insert(name, (follower, session));
    }

    fn apply(&mut self, topology: &str) {
        let topology = topology.parse::<Topology>().unwrap();
        self.desk.replace_plan(Plan::new(&topology, Some(&self.desk.plan)).unwrap());
    }

    /// Sends until there is nothing to send; how many updates were full ones, and how many rows
    /// were sent.
    fn settle(&mut self) -> (usize, usize) {
        let (mut full, mut rows) = (0, 0);
        loop {
            let before = rows + full;
            let mut sent = 0;
            for (name, (follower, session)) in &mut self.hosts {
                for update in self.desk.updates(name, *session).unwrap() {
                    sent += 1;
                    full += usize::from(update.base.is_none());
                    rows += update.len();
                    let position = follower.take(update);
                    self.desk.acknowledge(name, *session, position, BTreeMap::new());
                }
            }
            if sent == 0 {
                assert_eq!(before, rows + full);
                break;
            }
        }
        for (name, (follower, _)) in &self.hosts {
            let planned = self.desk.plan.rows.get(name).cloned().unwrap_or_default();
            assert_eq!(follower.rows, planned, "host {name}");
            let view = &self.desk.view()[name];
            assert!(view.connected);
            assert!(view.vpcs.values().all(|vpc| vpc.acked == Some(vpc.wanted)));
        }
        (full, rows)
    }
}

const BASE: &str = "
lab: desk
hosts: 2
vpcs:
  - name: blue
    vni: 7
    dividers: [h1]
    networks:
      - name: web
        v4: 10.0.0.0/24
        bouncers: [h1]
        replicas: 1
        endpoints:
          - {name: a, host: h1}
          - {name: b, host: h2}
  - name: red
    vni: 8
    dividers: [h2]
";

fn with_endpoint_c() -> String {
    BASE.replace("{name: b, host: h2}", "{name: b, host: h2}\n          - {name: c, host: h2}")
}

#[test]
fn everybody_is_told_everything_once() {
    let mut world = World::new(BASE);
    let (full, rows) = world.settle();
    assert!(full > 0 && rows > 0);
    assert_eq!(world.settle(), (0, 0));
}

#[test]
fn a_new_endpoint_costs_its_host_and_its_bouncer_one_row_each() {
    let mut world = World::new(BASE);
    world.settle();
    world.apply(&with_endpoint_c());
    assert_eq!(world.settle(), (0, 2));
    world.apply(BASE);
    assert_eq!(world.settle(), (0, 2));
}

#[test]
fn a_moved_endpoint_keeps_its_addresses_and_leaves_before_it_arrives() {
    let mut world = World::new(BASE);
    world.settle();
    let name: Name = "b".parse().unwrap();
    let vpc: Name = "blue".parse().unwrap();
    let endpoint =
        |world: &World| world.desk.plan.intent.vpc(&vpc).unwrap().endpoint(&name).unwrap().clone();
    let before = endpoint(&world);
    world.apply(&BASE.replace("{name: b, host: h2}", "{name: b, host: h1}"));
    let after = endpoint(&world);
    assert_eq!((before.v4, before.mac), (after.v4, after.mac));
    assert!(after.generation > before.generation);

    let (h1, h2): (Name, Name) = ("h1".parse().unwrap(), "h2".parse().unwrap());
    let session = world.hosts[&h1].1;
    assert_eq!(world.desk.updates(&h1, session), Some(vec![]));
    let (full, _) = world.settle();
    assert!(world.hosts[&h1].0.rows[&Vni::try_from(7).unwrap()].ports.contains_key(&name));
    assert!(!world.hosts[&h2].0.rows.contains_key(&Vni::try_from(7).unwrap()));
    assert_eq!(full, 1, "only the removal of the VPC from h2 needs no base");
}

#[test]
fn a_host_that_comes_back_gets_the_difference_and_one_that_lost_all_gets_all() {
    let mut world = World::new(BASE);
    world.settle();
    let h2: Name = "h2".parse().unwrap();
    let (follower, session) = world.hosts.remove(&h2).unwrap();
    world.desk.close(&h2, session);
    assert!(!world.desk.view()[&h2].connected);
    world.apply(&with_endpoint_c());
    world.connect("h2", follower);
    assert_eq!(world.settle(), (0, 2));
    assert_eq!(world.desk.updates(&h2, session), None, "the old stream has been replaced");

    world.connect("h2", Follower::default());
    assert_eq!(world.settle().0, 2);
}

#[test]
fn a_server_that_restarts_knows_hosts_that_are_up_to_date_and_sends_the_others_all() {
    let mut world = World::new(BASE);
    world.settle();
    let restart = |world: &mut World| {
        world.desk = Desk::new(Plan::of(world.desk.plan.store.clone()).unwrap());
        for (name, (follower, _)) in std::mem::take(&mut world.hosts) {
            world.connect(name.as_str(), follower);
        }
    };
    restart(&mut world);
    assert_eq!(world.settle(), (0, 0));
    world.apply(&with_endpoint_c());
    restart(&mut world);
    let (full, _) = world.settle();
    assert_eq!(full, 2, "both hosts stand where the new server has never been");
}

#[test]
fn a_refused_difference_is_followed_by_everything_once() {
    let mut world = World::new(BASE);
    world.settle();
    world.apply(&with_endpoint_c());
    let h2: Name = "h2".parse().unwrap();
    let (_, session) = world.hosts[&h2];
    let vni = Vni::try_from(7).unwrap();
    for (is_full, more) in [(false, 1), (true, 1), (true, 0)] {
        let updates = world.desk.updates(&h2, session).unwrap();
        assert_eq!(updates.len(), more);
        assert!(updates.iter().all(|update| update.base.is_none() == is_full));
        world.desk.refuse(&h2, session, vni, "no".to_owned());
        assert_eq!(world.desk.view()[&h2].vpcs[&vni].errors[""], "no");
    }
}

#[test]
fn what_a_host_could_not_do_is_shown_by_row() {
    let mut world = World::new(BASE);
    let h2: Name = "h2".parse().unwrap();
    let (mut follower, session) = world.hosts.remove(&h2).unwrap();
    for update in world.desk.updates(&h2, session).unwrap() {
        let position = follower.take(update);
        let errors = BTreeMap::from([("ports[b]".to_owned(), "no room".to_owned())]);
        world.desk.acknowledge(&h2, session, position, errors);
    }
    let view = &world.desk.view()[&h2];
    assert!(view.vpcs.values().all(|vpc| vpc.errors["ports[b]"] == "no room"));
}
