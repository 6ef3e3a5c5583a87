//! TCP between guests, whatever happens between them.

use mizar_sim::{Class, Defect, Scenario, run};

/// Plays a script on fleets of several seeds: all streams of it come to their end, intact.
#[track_caller]
fn survives(class: Class, script: &str) {
    let of_enough = |scenario: &Scenario| scenario.hosts() >= 5;
    let scenarios = (0..60).map(|seed| Scenario::generate_of(seed, class));
    for scenario in scenarios.filter(of_enough).take(8) {
        let scenario = scenario.with_script(script).expect("a script");
        let outcome = run(&scenario, Defect::None, false);
        assert_eq!(outcome.failure, None, "{scenario}");
        assert_eq!(outcome.streams, 1, "{scenario}");
    }
}

#[test]
fn a_stream_survives_both_its_ends_moving() {
    survives(
        Class::Moves,
        "at 20 put v0 e0 h1
         at 30 put v0 e1 h2
         at 3000 stream v0 e0 e1 300
         at 5000 put v0 e1 h3
         at 7000 put v0 e0 h2
         at 7010 put v0 e1 h1",
    );
}

#[test]
fn a_stream_survives_a_move_while_packets_are_lost() {
    survives(
        Class::Moves,
        "at 20 put v0 e0 h1
         at 30 put v0 e1 h2
         at 3000 stream v0 e0 e1 300
         at 3500 loss 50
         at 5000 put v0 e1 h3
         at 9500 loss 0",
    );
}

#[test]
fn a_stream_survives_the_death_of_bouncers() {
    survives(
        Class::Storm,
        "at 10 bouncers v0 n0 h3,h4
         at 20 put v0 e0 h1
         at 30 put v0 e2 h2
         at 3000 stream v0 e0 e2 400
         at 5000 stop-host h3
         at 8000 start-host h3
         at 9000 stop-host h4
         at 9500 stop-controller
         at 10500 start-controller",
    );
}

#[test]
fn a_stream_survives_agents_and_controllers_that_die() {
    survives(
        Class::Calm,
        "at 20 put v0 e0 h1
         at 30 put v0 e1 h2
         at 3000 stream v0 e0 e1 500
         at 4000 stop-agent h1
         at 4500 stop-controller
         at 6000 start-controller
         at 6500 start-agent h1
         at 7000 bouncers v0 n0 h3
         at 7000 dividers v0 h4
         at 8000 stop-agent h2
         at 9000 start-agent h2",
    );
}
