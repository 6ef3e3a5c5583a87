//! What the simulator has found, as scripts that must pass.

use mizar_sim::{Class, Defect, Scenario, run};

/// Plays a script on fleets of several seeds, of at least four hosts and two VPCs.
#[track_caller]
fn passes(class: Class, script: &str) {
    let scenarios = (0..200).map(|seed| Scenario::generate_of(seed, class));
    let large = scenarios.filter(|scenario| scenario.hosts() >= 4 && scenario.vpcs() >= 2);
    large.take(12).for_each(|scenario| passes_on(scenario, script));
}

/// Plays a script on one fleet.
#[track_caller]
fn passes_on(fleet: Scenario, script: &str) {
    let scenario = fleet.with_script(script).expect("a script");
    let outcome = run(&scenario, Defect::None, false);
    assert_eq!(outcome.failure, None, "{scenario}");
}

/// A sender that has learned that an endpoint is there, and does not know that it has moved, is
/// kept believing in the host by what it sends there in another VPC.
#[test]
fn a_host_that_has_left_a_vpc_and_has_no_agent_to_say_so_loses_nothing() {
    passes(
        Class::Calm,
        "at 5 bouncers v0 n0 h3,h4
         at 5 bouncers v0 n1 h3,h4
         at 6 dividers v0 h3,h4
         at 20 put v0 e0 h1
         at 30 put v0 e2 h2
         at 40 put v1 e0 h1
         at 50 put v1 e2 h2
         at 3000 stream v0 e0 e2 20
         at 3000 flow v1 e0 e2 50 two-way v4
         at 6000 put v0 e2 h4
         at 8000 stop-agent h2
         at 9000 flow v0 e0 e2 50 one-way v4
         at 12000 start-agent h2",
    );
}

/// One host has forgotten all others but those that it is told of. Its flow goes by way of bouncers
/// for a tenth of a second, until it hears where its destination is.
#[test]
fn bouncers_that_are_all_new_to_a_host_are_asked_once_it_can_send_to_them() {
    passes(
        Class::Calm,
        "at 5 bouncers v0 n0 h3
         at 5 bouncers v0 n1 h3
         at 6 dividers v0 h3
         at 20 put v0 e0 h1
         at 30 put v0 e2 h2
         at 500 stop-host h1
         at 600 start-host h1
         at 4980 flow v0 e0 e2 1 one-way v4
         at 5000 bouncers v0 n0 h4
         at 5000 bouncers v0 n1 h4
         at 6000 bouncers v0 n0 auto",
    );
}

/// Who is asked, and by whom, is never whoever is not there: as decision 0020 has it.
#[test]
fn an_endpoint_that_migrates_loses_nothing_wherever_bouncers_and_dividers_are() {
    passes(
        Class::Calm,
        "at 5 bouncers v0 n0 h3,h4
         at 20 put v0 e0 h1
         at 30 put v0 e1 h2
         at 40 put v0 e2 h2
         at 3000 flow v0 e0 e1 7 one-way v4
         at 3000 flow v0 e2 e1 11 two-way v4
         at 3000 flow v0 e1 e0 13 two-way v4
         at 3000 stream v0 e0 e2 300
         at 4000 prepare v0 e1 h3
         at 4500 switch v0 e1
         at 4700 prepare v0 e2 h3
         at 4750 switch v0 e2
         at 5000 prepare v0 e1 h4
         at 5100 cancel v0 e1
         at 5200 prepare v0 e1 h1
         at 5300 switch v0 e1
         at 5400 prepare v0 e0 h4
         at 5450 switch v0 e0
         at 6500 prepare v0 e0 h1
         at 6550 switch v0 e0
         at 8000 turn-keys",
    );
}

/// Whichever programs are at work, on the NIC and on guests' interfaces, as decision 0023 has it:
/// also while the controller is away, and where an agent dies in the midst of it.
#[test]
fn agents_of_another_layout_take_over_and_lose_nothing() {
    passes(
        Class::Calm,
        "at 5 bouncers v0 n0 h3,h4
         at 20 put v0 e0 h1
         at 30 put v0 e1 h2
         at 40 put v0 e2 h2
         at 3000 flow v0 e0 e1 7 one-way v4
         at 3000 flow v0 e2 e0 11 two-way v4
         at 3000 flow v0 e1 e0 700 two-way v4
         at 3000 stream v0 e0 e2 300
         at 4000 upgrade h1
         at 4000 upgrade h4
         at 4200 upgrade h3
         at 4700 upgrade h2
         at 5000 stop-controller
         at 5100 upgrade h3
         at 5100 upgrade h1
         at 6000 start-controller
         at 8000 turn-keys
         at 9000 upgrade h2
         at 9020 stop-agent h2
         at 9200 upgrade h4
         at 9350 bouncers v0 n0 h1,h4
         at 10000 start-agent h2
         at 12000 mute h3
         at 12000 upgrade h3
         at 14000 unmute h3",
    );
}

/// Four hosts of seven are not heard for a minute; their leases run out one after another. If slots
/// of the first two were given to others, both would have forgotten the network when they return,
/// before those who still ask them do. Two fleets in which these hold slots.
#[test]
fn hosts_that_fall_silent_together_keep_their_slots_though_one_is_missed_before_the_others() {
    for seed in [61, 76] {
        passes_on(
            Scenario::generate_of(seed, Class::Calm),
            "at 20 put v0 e0 h1
         at 30 put v0 e1 h2
         at 40 put v0 e2 h3
         at 50 put v0 e3 h4
         at 3000 flow v0 e0 e1 2900 one-way v4
         at 3300 flow v0 e0 e2 2900 one-way v4
         at 3600 flow v0 e0 e3 2900 one-way v4
         at 3900 flow v0 e1 e0 2900 one-way v4
         at 4200 flow v0 e1 e2 2900 one-way v4
         at 4500 flow v0 e2 e0 2900 one-way v4
         at 4800 flow v0 e2 e3 2900 one-way v4
         at 5100 flow v0 e3 e0 2900 one-way v4
         at 5400 flow v0 e3 e1 2900 one-way v4
         at 8000 mute h1
         at 8000 mute h2
         at 8000 mute h3
         at 8000 mute h4
         at 70000 unmute h1
         at 70000 unmute h2
         at 70000 unmute h3
         at 70000 unmute h4
         at 90000 loss 0",
        );
    }
}

/// Whoever answers sends as seldom as he is asked, and packets that ask were lost at the dead host
/// too. When the next one comes by another way, he still asks the dead one: nobody else was asked
/// whether he lives. That costs one answer, and no more.
#[test]
fn an_answer_finds_out_that_a_host_is_dead_though_questions_did_before() {
    passes_on(
        Scenario::generate_of(8386, Class::Deaths),
        "at 37 put v1 e0 h1
         at 110 put v1 e1 h2
         at 3996 flow v1 e0 e1 226 two-way v6
         at 5000 stop-host h3",
    );
}

/// A host that has returned and was told nothing, since the controller is away, is as good as dead:
/// whoever has not sent since he believed in it finds that out by one packet.
#[test]
fn a_host_that_has_returned_and_was_told_nothing_yet_costs_no_more_than_a_dead_one() {
    passes_on(
        Scenario::generate_of(14172, Class::Deaths),
        "at 5 put v1 e3 h1
         at 34 put v1 e1 h1
         at 95 put v1 e0 h2
         at 3183 stream v1 e0 e1 349
         at 3373 flow v1 e0 e3 159 one-way v4
         at 4712 stop-controller
         at 5000 stop-host h3
         at 5159 start-host h3
         at 6228 start-controller",
    );
}

/// What a host is told of itself has no generation: it is in its place because streams keep their
/// order. On this fleet an earlier one overtook a later one, and keys were those of before.
#[test]
fn the_last_that_a_host_is_told_of_itself_is_what_it_was_told_last() {
    passes_on(
        Scenario::generate_of(6215, Class::Storm),
        "at 59 put v0 e3 h5
         at 166 put v0 e1 h4
         at 176 put v0 e0 h5
         at 3359 flow v0 e1 e3 52 one-way v4
         at 4817 bouncers v0 n1 h1
         at 5723 stop-agent h4
         at 9152 stop-host h5
         at 9672 turn-keys
         at 11341 start-agent h4
         at 12724 turn-keys
         at 12880 start-host h5
         at 13985 turn-keys",
    );
}

/// A host of which the controller hears nothing for half a minute is not waited for any longer, and
/// goes on asking a divider of before, which has forgotten the network.
#[test]
fn a_former_divider_passes_on_what_a_host_asks_that_was_not_heard_for_long() {
    passes_on(
        Scenario::generate_of(136, Class::Calm),
        "at 14 put v0 e4 h4
         at 107 put v0 e5 h2
         at 111 put v1 e3 h6
         at 115 put v1 e1 h1
         at 165 put v0 e1 h6
         at 181 put v0 e0 h4
         at 186 put v1 e5 h7
         at 196 put v0 e2 h4
         at 3630 flow v0 e0 e1 26 two-way v4
         at 5058 bouncers v0 n0 h4
         at 6592 mute h6
         at 12085 dividers v0 h1
         at 46673 unmute h1",
    );
}
