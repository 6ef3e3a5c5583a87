//! The demo is what a newcomer sees first, so it must show what it promises.

use crate::world::{is_left_out, is_root, mizar};

#[test]
fn the_demo_shows_what_it_promises_and_leaves_nothing() {
    if is_left_out() {
        return;
    }
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    // It ends with an error if any check fails.
    let said = mizar(&["lab", "demo"]);
    assert!(said.contains("checks passed in"), "{said}");
    assert!(said.contains("everything removed again"), "{said}");
}
