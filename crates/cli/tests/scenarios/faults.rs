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

/// The figures of these events, each measured in three rounds.
fn measured(events: &[&str]) -> Option<Vec<Figure>> {
    if !is_root() {
        println!("SKIPPED: needs root");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults.json");
    let ids: Vec<_> = events.iter().map(|event| format!("faults.{event}")).collect();
    let ids = ids.iter().map(String::as_str);
    let rest = ["--quick", "--json", file.to_str().unwrap()];
    mizar(&["lab", "bench"].into_iter().chain(ids).chain(rest).collect::<Vec<_>>());
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

fn of<'a>(figures: &'a [Figure], event: &str, what: &str) -> &'a Figure {
    let id = format!("faults.{event}.{what}");
    figures.iter().find(|figure| figure.id == id).unwrap_or_else(|| panic!("{id} is not measured"))
}

/// Nobody need notice these events: in no round, which the spread would show.
fn nobody_notices(events: &[&str]) {
    let Some(figures) = measured(events) else { return };
    for (event, what) in events.iter().flat_map(|event| [(event, "lost"), (event, "duplicated")]) {
        let Figure { value, spread, .. } = of(&figures, event, what);
        assert_eq!((*value, *spread), (0.0, 0.0), "{event} {what}");
    }
}

#[test]
fn agents_are_killed_and_replaced_and_nothing_is_lost() {
    nobody_notices(&["agent_kill", "agent_upgrade", "agent_layout"]);
}

#[test]
fn controllers_and_hosts_die_and_bouncers_change_and_nothing_is_lost() {
    nobody_notices(&["controller_down", "host_death", "rescale"]);
}

#[test]
fn a_bouncers_death_costs_what_goes_direct_nothing_and_moves_cost_milliseconds() {
    let Some(figures) = measured(&["bouncer_death", "migrate", "recreate"]) else { return };
    let Figure { value, spread, .. } = of(&figures, "bouncer_death", "direct_lost");
    assert_eq!((*value, *spread), (0.0, 0.0));
    // A few milliseconds' at most, on a busy machine.
    for event in ["migrate", "recreate"] {
        let lost = of(&figures, event, "lost").value;
        assert!(lost <= 5.0, "{event}: {lost}");
    }
}
