//! What packets notice of faults is measured in short: nothing is lost that need not be.

use crate::world::{is_root, mizar};
use serde::Deserialize;

#[derive(Deserialize)]
struct Figure {
    id: String,
    value: f64,
}

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
    let value = |id: &str| figures.iter().find(|figure| figure.id == id).unwrap().value;
    for event in ["agent_kill", "agent_upgrade", "controller_down", "host_death", "rescale"] {
        assert_eq!(value(&format!("faults.{event}.lost")), 0.0, "{event}");
        assert_eq!(value(&format!("faults.{event}.duplicated")), 0.0, "{event}");
    }
    assert_eq!(value("faults.bouncer_death.direct_lost"), 0.0);
    // A few milliseconds' at most, on a busy machine.
    assert!(value("faults.migrate.lost") <= 5.0, "{}", value("faults.migrate.lost"));
}
