//! Keyed tags: each step waits for those who have not taken the last.

use super::*;
use mizar_vpc::manifest::{TagsStage, TagsStatus};

const BLUE: u32 = 7;
const DAY: u64 = 24 * 3600;

impl World {
    /// Three hosts with an endpoint each; tags are required.
    fn signing() -> Self {
        let mut world = Self::example(3);
        for number in 1..=3 {
            world.endpoint(&format!("e{number}"), &format!("h{number}"));
        }
        world.pass(1);
        world.pass(1);
        assert_eq!(world.tags(), status(1, TagsStage::Required, &[]));
        world
    }

    fn tags(&self) -> TagsStatus {
        let reference = Ref::global(Kind::Fleet, name("fleet"));
        match self.core.get(&Identity::local(), &reference, self.time()) {
            Ok(Manifest::Fleet(it)) => it.status.unwrap().tags,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, tags: &str) {
        self.write(&format!(
            "{{kind: Fleet, metadata: {{name: fleet}}, spec: {{prefixes: [192.0.2.0/24], tags: \
             {tags}}}}}"
        ));
    }

    /// Time passes, hosts are heard, and do as they are told.
    fn pass(&mut self, seconds: u64) {
        self.settle();
        self.wait(seconds);
        self.settle();
        self.check_rows();
    }

    /// The keys of the VPC that a host has.
    fn keys_at(&self, host: &str) -> Option<TagKeys> {
        let rows = &self.hosts[&name(host)].rows[&Vni::try_from(BLUE).unwrap()];
        rows.1.keys
    }
}

fn status(epoch: u64, stage: TagsStage, waiting: &[&str]) -> TagsStatus {
    let waiting = waiting.iter().map(|host| name(host)).collect();
    TagsStatus { epoch, stage, waiting }
}

#[test]
fn all_hosts_sign_before_any_has_to() {
    let mut world = World::example(3);
    world.endpoint("e1", "h1");
    assert_eq!(world.tags().stage, TagsStage::Signing);
    // One takes nothing for a while.
    for _ in 0..20 {
        for host in ["h1", "h2"] {
            while world.step(&name(host), true) {}
        }
        world.wait(1);
    }
    assert_eq!(world.tags(), status(1, TagsStage::Signing, &["h3"]));
    assert!(!world.keys_at("h1").unwrap().required);
    world.pass(1);
    assert_eq!(world.tags(), status(1, TagsStage::Required, &[]));
    assert!(world.keys_at("h1").unwrap().required);
}

#[test]
fn keys_turn_once_a_day_and_when_another_turn_is_asked_for() {
    let mut world = World::signing();
    let first = world.keys_at("h1").unwrap();
    assert!(first.before.is_none());
    world.pass(DAY - 10);
    assert_eq!(world.keys_at("h1"), Some(first));
    world.pass(20);
    let second = world.keys_at("h2").unwrap();
    assert_eq!((second.epoch, second.before, second.present), (2, first.present, first.after));
    assert_ne!(second.after, first.before);
    world.ask("{turn: 1}");
    world.pass(1);
    world.pass(1);
    assert_eq!(world.tags(), status(3, TagsStage::Required, &[]));
    // What is asked for twice is done once.
    world.ask("{turn: 1, hours: 48}");
    world.pass(DAY + 20);
    assert_eq!(world.tags().epoch, 3);
    // Nor does a manifest turn them that does not say.
    world.ask("{hours: 48}");
    world.pass(1);
    assert_eq!(world.tags().epoch, 3);
    assert_eq!(world.core.catalog.fleet().unwrap().spec.tags.turn, 1);
}

#[test]
fn a_host_that_is_away_is_waited_for_no_longer_than_ten_minutes() {
    let mut world = World::signing();
    world.disconnect(&name("h3"));
    world.ask("{turn: 1}");
    world.pass(1);
    // It is one behind, and is believed. The next step would leave it two behind.
    world.ask("{turn: 2}");
    for _ in 0..60 {
        world.pass(1);
    }
    assert_eq!(world.tags(), status(2, TagsStage::Required, &["h3"]));
    world.pass(600);
    assert_eq!(world.tags(), status(3, TagsStage::Required, &["h3"]));
    world.connect(&name("h3")).unwrap();
    world.pass(1);
    assert_eq!(world.tags(), status(3, TagsStage::Required, &[]));
    assert_eq!(world.keys_at("h3"), world.keys_at("h1"));
}

#[test]
fn tags_are_not_required_while_an_agent_cannot_sign() {
    let mut world = World::example(3);
    world.endpoint("e1", "h1");
    world.disconnect(&name("h2"));
    world.hosts.get_mut(&name("h2")).unwrap().is_old = true;
    world.connect(&name("h2")).unwrap();
    world.pass(1);
    for _ in 0..3 {
        world.pass(600);
    }
    assert_eq!(world.tags(), status(1, TagsStage::Signing, &["h2"]));
    // Its agent is another one at last.
    world.disconnect(&name("h2"));
    world.hosts.get_mut(&name("h2")).unwrap().is_old = false;
    world.connect(&name("h2")).unwrap();
    world.pass(1);
    assert_eq!(world.tags(), status(1, TagsStage::Required, &[]));
}

#[test]
fn turned_off_hosts_first_believe_what_is_not_signed_and_then_sign_nothing() {
    let mut world = World::signing();
    world.ask("{enabled: false}");
    world.settle();
    world.wait(1);
    assert_eq!(world.tags(), status(1, TagsStage::Signing, &["h1", "h2", "h3"]));
    world.pass(1);
    assert_eq!(world.tags(), status(1, TagsStage::Off, &[]));
    assert_eq!(world.keys_at("h1"), None);
    world.pass(2 * DAY);
    assert_eq!(world.tags(), status(1, TagsStage::Off, &[]));
    world.ask("{}");
    for _ in 0..4 {
        world.pass(1);
    }
    assert_eq!(world.tags().stage, TagsStage::Required);
}

#[test]
fn a_controller_that_restarts_goes_on_with_the_same_keys() {
    let mut world = World::signing();
    let before = world.keys_at("h1");
    let updates = |world: &World| world.hosts.values().map(|host| host.updates).sum::<usize>();
    let sent = updates(&world);
    world.restart();
    for number in 1..=3 {
        world.connect(&name(&format!("h{number}"))).unwrap();
    }
    world.pass(1);
    assert_eq!((world.keys_at("h1"), updates(&world)), (before, sent));
}

#[test]
fn what_was_lost_with_a_stream_is_said_again() {
    let mut world = World::signing();
    world.ask("{turn: 1}");
    world.settle();
    world.wait(1);
    // It is sent the new keys, and its stream ends before it takes them.
    world.disconnect(&name("h2"));
    world.connect(&name("h2")).unwrap();
    world.pass(1);
    assert_eq!(world.keys_at("h2").unwrap().epoch, 2);
}

#[test]
fn no_key_is_shown_to_anybody() {
    let world = World::signing();
    let shown = format!("{:?} {:?}", world.core.keys, world.hosts[&name("h1")].rows);
    let keys = world.keys_at("h1").unwrap();
    for key in [keys.present, keys.after] {
        let bytes = key.bytes();
        let [low, high] =
            [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
        for word in [low, high] {
            assert!(!shown.contains(&word.to_string()) && !shown.contains(&format!("{word:x}")));
        }
        assert!(!shown.contains(&format!("{bytes:?}")));
    }
}
