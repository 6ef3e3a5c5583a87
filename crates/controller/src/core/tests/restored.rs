//! A store that was restored: hosts that were told of what is lost come to what there is.

use super::*;
use mizar_store::{Backup, BackupFile, Options, Redb};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(Redb::open(path, &Options::default()).unwrap())
}

/// Three hosts and three endpoints, in a store of a file.
fn world() -> (TempDir, PathBuf, World) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut world = World::with(open(&path));
    world.write("{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [192.0.2.0/24]}}");
    (1..=4).for_each(|number| world.host(number));
    world.write("{kind: Vpc, metadata: {name: blue}, spec: {vni: 7}}");
    world.write("{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/16}}");
    for (endpoint, host) in [("a", "h1"), ("b", "h2"), ("c", "h3")] {
        world.endpoint(endpoint, host);
    }
    world.settle();
    (folder, path, world)
}

impl World {
    /// What happens after the backup: it is lost, but hosts know of it.
    fn go_on(&mut self) {
        self.endpoint("a", "h2");
        self.settle();
        self.endpoint("a", "h3");
        self.delete(Ref::in_vpc(Kind::Endpoint, name("blue"), name("b")), false).unwrap();
        self.endpoint("late", "h1");
        self.write(
            "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/16, bouncers: \
             {hosts: [h4]}}}",
        );
        self.settle();
        // What is on its way to hosts is not acknowledged.
        self.endpoint("c", "h4");
        self.step(&name("h4"), false);
    }

    /// The newest generations that hosts may have learned, by address.
    fn learned(&self) -> BTreeMap<IpAddr, Generation> {
        let rows = self.hosts.values().flat_map(|host| host.rows.values());
        let held = rows.flat_map(|(_, rows)| &rows.held);
        let mut learned = BTreeMap::new();
        for (address, row) in held {
            let newest = learned.entry(*address).or_insert(row.generation);
            *newest = row.generation.max(*newest);
        }
        learned
    }

    /// The controller starts anew with this store.
    fn start(&mut self, path: &Path) {
        self.store = Arc::new(Memory::new());
        self.restart();
        self.store = open(path);
        self.restart();
    }

    fn connect_all(&mut self) -> Result<(), String> {
        let hosts: Vec<_> = self.hosts.keys().cloned().collect();
        hosts.iter().try_for_each(|host| self.connect(host))
    }
}

#[test]
fn hosts_that_are_ahead_of_a_restored_store_come_to_what_it_has() {
    let (folder, _, mut world) = world();
    let backup = folder.path().join("backup");
    let (mut file, mut bytes) = (BackupFile::create(&backup).unwrap(), Vec::new());
    Backup::write(&*world.store, &mut bytes).unwrap();
    file.write(&bytes).unwrap();
    file.keep().unwrap();
    let homes = ["h1", "h2", "h3"];
    let before = world.learned();
    world.go_on();
    let learned: BTreeMap<_, _> = before.into_iter().chain(world.learned()).collect();
    let last = world.core.generation;
    assert!(learned.len() >= 3, "a, b and c at least: {learned:?}");

    let restored = folder.path().join("restored");
    assert_eq!(mizar_store::restore(&backup, &restored, 0, None).unwrap(), 2);
    world.start(&restored);
    assert!(world.core.generation > last);
    world.connect_all().unwrap();
    world.settle();
    world.check_rows();
    for (endpoint, home) in ["a", "b", "c"].into_iter().zip(homes) {
        let reference = Ref::in_vpc(Kind::Endpoint, name("blue"), name(endpoint));
        let found = world.core.get(&Identity::local(), &reference, world.time()).unwrap();
        let Manifest::Endpoint(it) = found else { panic!("{found:?}") };
        assert_eq!(it.spec.host, name(home));
        assert_eq!(world.phase(endpoint), Phase::Ready);
    }
    // Whatever was learned of an address is older than what is said of it now.
    let now = world.learned();
    for (address, at) in &now {
        assert!(learned.get(address).is_none_or(|before| before < at), "{address} at {at}");
        assert!(*at > last, "nor does anything that was lost say a later one");
    }

    // It says the same when it is started again, and nothing has to be sent.
    let updates = |world: &World| world.hosts.values().map(|host| host.updates).sum::<usize>();
    let before = updates(&world);
    world.start(&restored);
    world.connect_all().unwrap();
    world.settle();
    world.check_rows();
    assert_eq!((updates(&world), world.learned()), (before, now));
    // And what happens next comes after it.
    let old = world.core.generation;
    world.endpoint("a", "h4");
    world.settle();
    assert!(world.learned().into_values().max() > Some(old));
    world.check_rows();
}

#[test]
fn a_store_that_was_put_back_in_its_old_epoch_is_found_out_by_hosts_that_know_more() {
    let (folder, path, mut world) = world();
    let copy = folder.path().join("copy");
    std::fs::copy(&path, &copy).unwrap();
    world.go_on();
    world.start(&copy);
    let rows: Vec<_> = world.hosts.values().map(|host| host.rows.clone()).collect();
    let refusal = world.connect_all().unwrap_err();
    assert!(refusal.contains("host h1 stands at generation 1."), "{refusal}");
    assert!(refusal.contains("restore FILE --replace --above 1`"), "{refusal}");
    world.settle();
    let left: Vec<_> = world.hosts.values().map(|host| host.rows.clone()).collect();
    assert_eq!(left, rows, "nothing is taken away from anybody");
    // One that knows nothing of it is welcome: what the others say is not believed of it.
    world.host(5);
    // As it says.
    world.start(&path);
    let again = folder.path().join("again");
    assert_eq!(mizar_store::restore(&copy, &again, 1, None).unwrap(), 2);
    world.hosts.remove(&name("h5"));
    world.start(&again);
    world.connect_all().unwrap();
    world.settle();
    world.check_rows();
}
