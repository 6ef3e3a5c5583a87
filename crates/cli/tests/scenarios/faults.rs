//! What packets notice of faults is measured in short: nothing is lost that need not be.

use crate::world::{is_root, mizar};
use serde::Deserialize;

#[derive(Deserialize)]
struct Figure {
    id: String,
    /// The median of all rounds, and within how much half of them lie: of three rounds, one that
    /// differs shows in it.
    value: f64,
    spread: f64,
}

/// What nobody need notice.
const EVENTS: [&str; 6] =
    ["agent_kill", "agent_upgrade", "agent_layout", "controller_down", "host_death", "rescale"];

#[test]
fn of_what_goes_direct_nothing_is_lost_whatever_fails_or_is_replaced() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.json");
    mizar(&["lab", "bench", "faults", "--quick", "--json", file.to_str().unwrap()]);
    let figures: Vec<Figure> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let of = |id: &str| figures.iter().find(|figure| figure.id == id).unwrap();
    let is_never = |id: &str| assert_eq!((of(id).value, of(id).spread), (0.0, 0.0), "{id}");
    for event in EVENTS {
        is_never(&format!("faults.{event}.lost"));
        is_never(&format!("faults.{event}.duplicated"));
    }
    is_never("faults.bouncer_death.direct_lost");
    // A few milliseconds' at most, on a busy machine.
    for event in ["migrate", "recreate"] {
        let lost = of(&format!("faults.{event}.lost")).value;
        assert!(lost <= 5.0, "{event}: {lost}");
    }
}
