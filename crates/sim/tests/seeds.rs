//! Seeds that must pass, and defects that must not.

use mizar_sim::{Class, Defect, Outcome, Scenario, run, shrink};

/// Seeds that are played: for a minute or two of a CPU, or for some minutes if the environment asks
/// for long tests.
fn seeds() -> u64 {
    if std::env::var_os("MIZAR_TEST_FULL").is_some() { 10_000 } else { 2_000 }
}

/// Plays every other seed from `first`, so that two tests share the work.
fn play(first: u64) {
    for seed in (first..seeds()).step_by(2) {
        let scenario = Scenario::generate(seed);
        let outcome = run(&scenario, Defect::None, false);
        if outcome.failure.is_some() {
            let (shortest, failure) = shrink(&scenario, Defect::None, 300);
            panic!("seed {seed} fails\n{shortest}{failure:?}");
        }
    }
}

#[test]
fn even_seeds_pass() {
    play(0);
}

#[test]
fn odd_seeds_pass() {
    play(1);
}

#[test]
fn a_seed_is_played_again_exactly() {
    for class in Class::ALL {
        for seed in 0..3 {
            let scenario = Scenario::generate_of(seed, class);
            let [one, two] = [false, true].map(|logs| run(&scenario, Defect::None, logs));
            assert_eq!((one.trace, one.stats), (two.trace, two.stats), "{class:?} {seed}");
            assert!(!two.log.is_empty() && one.log.is_empty());
        }
        let trace = |seed| run(&Scenario::generate_of(seed, class), Defect::None, false).trace;
        assert_ne!(trace(1), trace(2), "another seed is another run");
    }
}

/// Finds a defect in one of the seeds of a class, `from` on, and makes it short: it is the defect
/// that fails, not the scenario. How many steps are left.
fn found(defect: Defect, class: Class, from: u64, by: &str) -> usize {
    let fails = |seed: &Scenario| run(seed, defect, false).failure.is_some();
    let mut scenarios = (from..from + 400).map(|seed| Scenario::generate_of(seed, class));
    let scenario = scenarios.find(fails).unwrap_or_else(|| panic!("{defect:?} is not found"));
    let (shortest, failure) = shrink(&scenario, defect, 40);
    let found = failure.as_ref().is_some_and(|failure| failure.what.contains(by));
    assert!(found, "{failure:?}\n{shortest}");
    let Outcome { failure, .. } = run(&shortest, Defect::None, false);
    assert_eq!(failure, None, "{shortest}");
    shortest.to_string().lines().filter(|line| line.starts_with("at ")).count()
}

#[test]
fn a_host_that_forgets_generations_is_found() {
    assert!(found(Defect::ForgottenGenerations, Class::Moves, 0, "") <= 12);
}

#[test]
fn an_agent_that_applies_any_update_is_found() {
    found(Defect::UncheckedUpdates, Class::Storm, 780, "");
}

#[test]
fn a_host_that_is_deaf_to_invalidations_is_found() {
    assert!(found(Defect::DeafToInvalidations, Class::Moves, 0, "notices or invalidations") <= 8);
}

#[test]
fn a_bouncer_that_keeps_the_first_host_it_was_told_of_is_found() {
    assert!(found(Defect::StaleBouncers, Class::Moves, 0, "held endpoints") <= 4);
}

#[test]
fn a_host_that_is_believed_to_live_for_ever_is_found() {
    found(Defect::ImmortalHosts, Class::Deaths, 0, "which is dead");
}

#[test]
fn tables_without_the_vni_are_found() {
    assert!(found(Defect::SharedKeys, Class::Calm, 0, "") <= 4);
}

#[test]
fn an_agent_that_acknowledges_early_is_found() {
    found(Defect::EarlyAcks, Class::Calm, 0, "");
}

#[test]
fn a_forger_who_has_the_keys_of_the_vpc_is_found() {
    assert!(found(Defect::LeakedKeys, Class::Hostile, 0, "which is forged") <= 4);
}

#[test]
fn an_agent_that_takes_over_before_it_has_been_told_everything_is_found() {
    found(Defect::HastyTakeovers, Class::Calm, 0, "was lost");
}
