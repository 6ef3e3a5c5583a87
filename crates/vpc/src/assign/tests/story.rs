//! A network's life as text: what happens, and who holds how much after each step.

use super::world::{World, host, name, needs};
use crate::assign::*;
use crate::{HolderState, Standing};
use std::fmt::Write;

/// After `> event`, a line per host that the map speaks of, or what there is instead.
fn tell(script: &str) -> String {
    let mut world = World::new((0..3).map(|n| host(n, 1)), needs(2, Bouncers::Auto));
    let mut text = format!("> hosts h00 h01 h02\n{}", summary(world.map()));
    for event in script.lines().map(str::trim).filter(|event| !event.is_empty()) {
        writeln!(text, "> {event}").unwrap();
        let words: Vec<_> = event.split(' ').collect();
        match words[..] {
            ["join", number] => world.join(host(number.parse().unwrap(), 1)),
            ["rows", rows] => world.needs.rows = rows.parse().unwrap(),
            ["silent", host] => {
                world.change(&name(host), |host| host.standing = Standing::Silent);
            }
            ["heard", host] => world.change(&name(host), |host| host.standing = Standing::Alive),
            ["cordon", host] => world.change(&name(host), |host| host.cordoned = true),
            ["remove", host] => world.remove(&name(host)),
            ["acknowledge", "all"] => world.ack_all(),
            ["acknowledge", host] => world.ack(&name(host)),
            ["waited"] => world.waited = true,
            _ => panic!("no such event: {event}"),
        }
        match world.step() {
            true => text.push_str(&summary(world.map())),
            false => text.push_str("  nothing changes\n"),
        }
    }
    text
}

fn summary(map: &SlotMap) -> String {
    let mut text = format!("  epoch {}\n", map.epoch());
    for (host, states) in map.tally() {
        write!(text, "    {host}:").unwrap();
        for (state, count) in HolderState::ALL.iter().zip(states).filter(|(_, count)| *count > 0) {
            let state = format!("{state:?}").to_lowercase();
            write!(text, " {count} {state}").unwrap();
        }
        let former = if states.iter().sum::<usize>() == 0 { " former" } else { "" };
        writeln!(text, "{former}").unwrap();
    }
    text
}

#[test]
fn the_story_of_a_network() {
    let told = tell(include_str!("story_script.txt"));
    if std::env::var_os("MIZAR_PRINT_STORY").is_some() {
        println!("{told}");
    }
    assert_eq!(told, include_str!("story.txt"), "\n{told}");
}
