//! Every example is valid, and what is applied twice is as it was.

use crate::world::{World, example};
use std::path::PathBuf;

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
}

#[test]
fn every_example_can_be_applied_alone_and_changes_nothing_the_second_time() {
    for file in examples() {
        let world = World::with_hosts();
        let file = file.to_str().unwrap();
        world.run(&["apply", "-f", file, "--dry-run"]).expect(0);
        world.run(&["apply", "-f", file]).expect(0);
        let again = world.run(&["apply", "-f", file]).expect(0);
        assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
        assert_eq!(world.run(&["diff", "-f", file]).expect(0), "");
    }
}

#[test]
fn all_examples_can_be_applied_together_and_deleted_again() {
    let world = World::new();
    let folder = example("");
    let folder = folder.to_str().unwrap();
    let applied = world.run(&["apply", "-f", folder]).expect(0);
    assert!(applied.lines().all(|line| line.ends_with(" created")), "{applied}");
    world.run(&["delete", "-f", folder, "--wait"]).expect(0);
    assert_eq!(world.line("get vpcs -o name").expect(0), "");
}

#[test]
fn every_example_says_what_it_is_and_where_its_schema_is() {
    for file in examples() {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines = text.lines();
        let schema = lines.next().unwrap().strip_prefix("# yaml-language-server: $schema=");
        let schema = file.parent().unwrap().join(schema.unwrap());
        assert!(schema.exists(), "{}", schema.display());
        assert!(lines.nth(1).unwrap().starts_with("# "), "{}", file.display());
    }
}
