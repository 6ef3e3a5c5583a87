//! Stores that fail, and hosts: nothing is half done, and nobody who is gone is relied on.

use super::*;
use mizar_store::{
    Conflict, Entry, Page as StorePage, Revision, Transaction, Visit, Watch as StoreWatch,
};
use std::sync::atomic::{AtomicBool, Ordering};

/// A store that can be told to refuse commits, as one on a full disk does.
#[derive(Debug)]
struct Failing {
    inner: Memory,
    is_full: AtomicBool,
}

impl Store for Failing {
    fn epoch(&self) -> u16 {
        self.inner.epoch()
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn commit(
        &self,
        transactions: &[Transaction],
    ) -> Result<Vec<Result<Revision, Conflict>>, StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(StoreError::Full { path: "store".into(), source });
        }
        self.inner.commit(transactions)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key)
    }

    fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<StorePage, StoreError> {
        self.inner.range(prefix, after, limit)
    }

    fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<Revision, StoreError> {
        self.inner.scan(prefix, visit)
    }

    fn watch(&self, prefix: &[u8], from: Revision) -> Result<StoreWatch, StoreError> {
        self.inner.watch(prefix, from)
    }

    fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.inner.compact(before)
    }
}

#[test]
fn on_a_full_disk_nothing_changes_and_afterwards_everything_goes_on() {
    let store = Arc::new(Failing { inner: Memory::new(), is_full: AtomicBool::new(false) });
    let mut world = World::with(store.clone());
    world.write("{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [192.0.2.0/24]}}");
    world.host(1);
    world.host(2);
    world.write("{kind: Vpc, metadata: {name: blue}, spec: {vni: 7}}");
    store.is_full.store(true, Ordering::Relaxed);
    let network = "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/24}}";
    let changes = || {
        vec![Change::Apply(manifest(network)), Change::Apply(manifest(&endpoint_yaml("a", "h1")))]
    };
    let refusal = world.try_write(changes()).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Unavailable);
    assert!(refusal.detail.contains("no room left"), "{}", refusal.detail);
    let blue = world.core.catalog.vpc_named(&name("blue")).unwrap();
    assert_eq!((blue.networks().count(), blue.endpoint_count()), (0, 0));
    assert!(world.core.maps.values().all(|maps| maps.networks.is_empty()));
    store.is_full.store(false, Ordering::Relaxed);
    world.try_write(changes()).unwrap();
    world.settle();
    world.check_rows();
    assert_eq!(world.phase("a"), Phase::Ready);
}

#[test]
fn a_request_is_made_as_a_whole_or_not_at_all() {
    let mut world = World::example(2);
    let good = Change::Apply(manifest(&endpoint_yaml("a", "h1")));
    let bad = Change::Apply(manifest(&endpoint_yaml("b", "h9")));
    let refusal = world.try_write(vec![good, bad]).unwrap_err();
    assert_eq!(refusal.fields[0].change, 1);
    assert_eq!(world.core.catalog.endpoint_count(), 0);
    assert_eq!(world.core.catalog.vpc_named(&name("blue")).unwrap().endpoint_count(), 0);
}

#[test]
fn an_endpoint_whose_old_host_is_sent_everything_anew_comes_to_its_new_one() {
    let mut world = World::example(3);
    world.endpoint("a", "h1");
    world.settle();
    world.endpoint("b", "h1");
    world.endpoint("a", "h2");
    let (h1, vni) = (name("h1"), Vni::try_from(7).unwrap());
    let session = world.hosts[&h1].stream.as_ref().unwrap().session;
    // What is under way to h1 is refused; what comes instead is everything.
    let state = world.hosts.get_mut(&h1).unwrap();
    let opened = state.stream.as_mut().unwrap();
    let mut generation = None;
    while let Some(message) = opened.messages.try_next() {
        if let ControllerMessage::Update(batch) = message {
            generation = Some(batch.update.generation);
        }
    }
    let outcome = Outcome::Refused("no".to_owned());
    let ack = Ack { vni, generation: generation.unwrap(), outcome };
    world.core.hear(&h1, session, AgentMessage::Ack(ack), Time::default()).unwrap();
    world.turn();
    world.settle();
    world.check_rows();
    assert_eq!(world.phase("a"), Phase::Ready);
}

#[test]
fn an_endpoint_comes_to_its_new_host_though_the_old_one_has_returned_with_nothing() {
    let mut world = World::example(8);
    let map = world.core.view().map(Vni::try_from(7).unwrap(), mizar_vpc::NetworkId::MIN);
    let bouncers: BTreeSet<_> = map.unwrap().hosts().cloned().collect();
    let dividers = world.core.maps[&Vni::try_from(7).unwrap()].dividers.clone();
    let other = |host: &Name| !bouncers.contains(host) && !dividers.contains(host);
    let old = world.hosts.keys().find(|host| other(host)).cloned().unwrap();
    let new = bouncers.first().unwrap();
    world.endpoint("a", old.as_str());
    world.settle();
    // It has died, which its stream does not say yet; and comes back with other things to do.
    world.endpoint("a", new.as_str());
    world.hosts.insert(old.clone(), Host::default());
    world.connect(&old).unwrap();
    world.settle();
    world.check_rows();
    assert_eq!(world.phase("a"), Phase::Ready);
}

#[test]
fn what_is_refused_because_it_came_late_and_twice_changes_nothing() {
    let mut world = World::example(3);
    world.endpoint("a", "h1");
    world.settle();
    let (h1, vni) = (name("h1"), Vni::try_from(7).unwrap());
    let session = world.hosts[&h1].stream.as_ref().unwrap().session;
    let generation = world.hosts[&h1].rows[&vni].0;
    let refused = |generation| {
        let outcome = Outcome::Refused("it is older".to_owned());
        AgentMessage::Ack(Ack { vni, generation, outcome })
    };
    let old = Generation::new(generation.epoch(), generation.revision() - 1).unwrap();
    // With nothing under way, and while something is.
    world.core.hear(&h1, session, refused(old), Time::default()).unwrap();
    world.endpoint("b", "h1");
    let updates = world.hosts[&h1].updates;
    world.core.hear(&h1, session, refused(old), Time::default()).unwrap();
    world.turn();
    world.settle();
    world.check_rows();
    assert_eq!(world.hosts[&h1].updates, updates + 1, "the one that was under way");
    assert_eq!([world.phase("a"), world.phase("b")], [Phase::Ready, Phase::Ready]);
}

#[test]
fn hosts_that_are_removed_while_reassignment_is_frozen_are_no_longer_relied_on() {
    let mut world = World::example(8);
    world.endpoint("a", "h1");
    world.settle();
    let bouncers = |world: &World| -> Vec<Name> {
        let map = world.core.view().map(Vni::try_from(7).unwrap(), mizar_vpc::NetworkId::MIN);
        map.unwrap().hosts().cloned().collect()
    };
    let before = bouncers(&world);
    let silent: Vec<_> = before.iter().filter(|host| host.as_str() != "h1").cloned().collect();
    let others = world.hosts.keys().filter(|host| host.as_str() != "h1" && !before.contains(host));
    let silent: Vec<_> = silent.iter().chain(others).take(4).cloned().collect();
    silent.iter().for_each(|host| world.disconnect(host));
    for _ in 0..20 {
        world.wait(5);
    }
    assert_ne!(world.core.planner.guard, mizar_vpc::Guard::Free);
    assert_eq!(bouncers(&world), before);
    world.delete(Ref::global(Kind::Host, silent[0].clone()), false).unwrap();
    assert_ne!(world.core.planner.guard, mizar_vpc::Guard::Free);
    assert!(!bouncers(&world).contains(&silent[0]));
    world.settle();
    world.check_rows();
}

#[test]
fn of_hosts_that_fall_silent_within_a_beat_none_is_missed_before_it_is_seen_how_many_they_are() {
    let mut world = World::example(8);
    world.endpoint("a", "h1");
    world.settle();
    let vni = Vni::try_from(7).unwrap();
    let map = |world: &World| world.core.maps[&vni].clone();
    let before = map(&world);
    let bouncers = before.networks.values().flat_map(|map| map.hosts().cloned());
    let bouncers: BTreeSet<_> = bouncers.filter(|host| host.as_str() != "h1").collect();
    let others = world.hosts.keys().filter(|host| host.as_str() != "h1");
    let others = others.filter(|host| !bouncers.contains(*host)).cloned();
    // The bouncers first.
    let silent: Vec<_> = bouncers.iter().cloned().chain(others).take(4).collect();
    for host in &silent {
        world.disconnect(host);
        world.wait(1);
    }
    for _ in 0..40 {
        world.wait(1);
        assert_eq!(map(&world), before);
    }
    assert_ne!(world.core.planner.guard, mizar_vpc::Guard::Free);
    // They return one after another, too.
    for host in &silent {
        world.connect(host).unwrap();
        world.settle();
        world.wait(5);
        assert_eq!(map(&world), before);
    }
    for _ in 0..20 {
        world.wait(1);
    }
    assert_eq!(world.core.planner.guard, mizar_vpc::Guard::Free);
    assert_eq!(map(&world), before);
}

#[test]
fn what_a_host_has_only_prepared_is_not_ready() {
    let mut world = World::example(3);
    world.settle();
    world.endpoint("a", "h1");
    let (h1, vni) = (name("h1"), Vni::try_from(7).unwrap());
    while world.step(&h1, false) {}
    for host in ["h2", "h3"] {
        while world.step(&name(host), true) {}
    }
    let (generation, _) = world.hosts[&h1].rows[&vni];
    let session = world.hosts[&h1].stream.as_ref().unwrap().session;
    for prepared in [true, true, false] {
        let outcome = Outcome::Applied(Applied { prepared, ..Applied::default() });
        let ack = AgentMessage::Ack(Ack { vni, generation, outcome });
        world.core.hear(&h1, session, ack, world.time()).unwrap();
        world.turn();
        assert_eq!(world.phase("a") == Phase::Ready, !prepared);
    }
}

#[test]
fn who_is_not_heard_of_after_a_restart_counts_as_alive_for_two_leases_and_no_longer() {
    let mut world = World::example(3);
    world.settle();
    world.wait(100);
    world.restart();
    for host in ["h1", "h2"] {
        world.connect(&name(host)).unwrap();
    }
    // Its status says only what was heard; slots follow from this.
    let is_alive = |world: &World, host: &str| world.core.is_alive(&name(host), world.time());
    let leases = 2 * LEASE.as_secs();
    for second in 1..leases {
        world.wait(1);
        assert!(is_alive(&world, "h3"), "its lease with the last controller may hold: {second} s");
    }
    world.wait(1);
    assert!(!is_alive(&world, "h3"));
    assert!(is_alive(&world, "h1") && is_alive(&world, "h2"));
}
