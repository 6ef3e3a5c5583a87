//! Finds the fewest steps that still fail, by leaving out more and more (delta debugging).

use crate::{Defect, Failure, Scenario, run};

/// A scenario that fails, made shorter as long as it still does, and as it is the defect, if there
/// is one, that fails; and how it fails then. How many shorter ones are tried is bounded by `runs`.
pub fn shrink(scenario: &Scenario, defect: Defect, runs: usize) -> (Scenario, Option<Failure>) {
    let mut best = scenario.clone();
    let mut failure = run(&best, defect, false).failure;
    let (mut parts, mut left) = (2, runs);
    while failure.is_some() && best.script.len() > 1 && left > 0 {
        let size = best.script.len().div_ceil(parts);
        let mut found = false;
        for start in (0..best.script.len()).step_by(size).rev() {
            if left == 0 {
                break;
            }
            left -= 1;
            let shorter = without(&best, start, size);
            if let Some(fails) = fails(&shorter, defect) {
                (best, failure, found) = (shorter, Some(fails), true);
                break;
            }
        }
        if found {
            parts = (parts - 1).max(2);
        } else if size == 1 {
            break;
        } else {
            parts = (parts * 2).min(best.script.len());
        }
    }
    (best, failure)
}

fn fails(scenario: &Scenario, defect: Defect) -> Option<Failure> {
    let failure = run(scenario, defect, false).failure?;
    let by_itself = defect != Defect::None && run(scenario, Defect::None, false).failure.is_some();
    (!by_itself).then_some(failure)
}

/// The scenario without some of its steps.
fn without(scenario: &Scenario, start: usize, count: usize) -> Scenario {
    let mut shorter = scenario.clone();
    let end = (start + count).min(shorter.script.len());
    shorter.script.drain(start..end);
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    #[test]
    fn parts_are_left_out() {
        let scenario = Scenario::generate_of(5, Class::Storm);
        let len = scenario.script.len();
        assert_eq!(without(&scenario, 0, 3).script, scenario.script[3..]);
        assert_eq!(without(&scenario, len - 1, 9).script, scenario.script[..len - 1]);
    }
}
