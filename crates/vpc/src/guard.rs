//! Tells the death of hosts from an outage of what watches them.
//!
//! A host falls silent because it died, or because nobody can hear it: a switch of the management
//! network, a controller, a certificate. Only the first calls for reassignment; in the second all
//! hosts still forward packets, and moving their slots would turn an outage of management into one
//! of the network. Many that fall silent at once are the second.

use crate::{Fleet, Name};
use std::fmt;

/// Hosts that fall silent together without it being more than a coincidence.
///
/// One death is routine. Two at once happen, as two hosts may share a chassis or a power strip, and
/// a slot of two replicas is then in need of help. From three on, in a zone of fewer than sixty
/// hosts, a common cause is the likelier explanation, and waiting is cheap: senders avoid hosts
/// that do not answer by themselves.
const COINCIDENCE: usize = 2;

/// Silent hosts of a zone, in hundredths of all, that are borne without freezing.
const PERCENT: usize = 5;

/// Whether slots may be reassigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// They may.
    Free,
    /// Too much of a zone is silent. Slot maps stay as they are until an operator or the hosts'
    /// return says otherwise; new networks may still be assigned.
    Frozen {
        /// The zone with the largest silent share. None: the hosts without a zone.
        zone: Option<Name>,
        /// Its hosts that are silent, or late.
        silent: usize,
        /// Its hosts.
        of: usize,
    },
}

impl Guard {
    /// Judges the standing of all hosts.
    ///
    /// What is long dead is to be taken out of the fleet: here it counts as silent like any other.
    pub fn judge(fleet: &Fleet) -> Self {
        // Leases that were renewed one after another run out one after another: where one has, the
        // others that should have been renewed by then are counted as if theirs had too.
        let missed = fleet.zones().filter(|(_, count)| count.silent > 0);
        let missed = missed.map(|(zone, count)| (zone, count.silent + count.late, count.all));
        let suspicious =
            missed.filter(|(_, missed, all)| *missed > COINCIDENCE && missed * 100 > all * PERCENT);
        // Shares are compared by cross products, the first zone by name wins among equals.
        let worst = suspicious.reduce(|worst, next| {
            let ((_, a, all_a), (_, b, all_b)) = (worst, next);
            if b * all_a > a * all_b { next } else { worst }
        });
        worst.map_or(Self::Free, |(zone, silent, of)| Self::Frozen {
            zone: zone.clone(),
            silent,
            of,
        })
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("nothing is frozen"),
            Self::Frozen { zone: Some(zone), silent, of } => {
                write!(f, "zone {zone}: {silent} of {of} hosts are silent")
            }
            Self::Frozen { zone: None, silent, of } => {
                write!(f, "hosts without a zone: {silent} of {of} are silent")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Candidate, Standing};

    fn zone(name: &str, silent: usize, of: usize) -> impl Iterator<Item = Candidate> {
        (0..of).map(move |index| Candidate {
            name: format!("{name}-{index}").parse().unwrap(),
            zone: name.parse().ok(),
            weight: 1,
            standing: if index < silent { Standing::Silent } else { Standing::Alive },
            cordoned: false,
        })
    }

    fn judge(silent: usize, of: usize) -> Guard {
        Guard::judge(&zone("a", silent, of).chain(zone("b", 0, 500)).collect())
    }

    #[test]
    fn a_zone_freezes_when_more_than_a_twentieth_of_it_is_silent() {
        let frozen = |silent, of| Guard::Frozen { zone: "a".parse().ok(), silent, of };
        assert_eq!(judge(0, 0), Guard::Free);
        assert_eq!(judge(50, 1000), Guard::Free);
        assert_eq!(judge(51, 1000), frozen(51, 1000));
        assert_eq!(judge(3, 60), Guard::Free);
        assert_eq!(judge(4, 60), frozen(4, 60));
    }

    #[test]
    fn a_small_zone_bears_two_silent_hosts() {
        assert_eq!(judge(2, 2), Guard::Free);
        assert_eq!(judge(2, 10), Guard::Free);
        assert!(matches!(judge(3, 10), Guard::Frozen { .. }));
    }

    #[test]
    fn hosts_that_fall_silent_in_the_course_of_a_beat_freeze_it_with_the_first() {
        let late = |silent: usize, late: usize, of: usize| {
            let mut fleet: Fleet = zone("a", silent + late, of).collect();
            for index in silent..silent + late {
                let host = fleet.get(&format!("a-{index}").parse().unwrap()).unwrap().clone();
                fleet.insert(Candidate { standing: Standing::Late, ..host });
            }
            Guard::judge(&fleet)
        };
        assert_eq!(late(1, 2, 10), Guard::Frozen { zone: "a".parse().ok(), silent: 3, of: 10 });
        assert_eq!(late(1, 1, 10), Guard::Free);
        assert_eq!(late(0, 10, 10), Guard::Free, "nobody is missed yet");
    }

    #[test]
    fn the_zone_that_lost_most_is_named() {
        let fleet: Fleet = zone("a", 10, 100).chain(zone("b", 10, 20)).collect();
        assert_eq!(
            Guard::judge(&fleet),
            Guard::Frozen { zone: "b".parse().ok(), silent: 10, of: 20 }
        );
    }

    #[test]
    fn hosts_that_return_or_go_for_good_thaw_it() {
        let mut fleet: Fleet = zone("a", 3, 10).collect();
        let [first, second, _] = [0, 1, 2].map(|index| format!("a-{index}").parse().unwrap());
        fleet.remove(&first);
        assert_eq!(Guard::judge(&fleet), Guard::Free);
        let back = fleet.get(&second).unwrap().clone();
        fleet.insert(Candidate { standing: Standing::Alive, ..back });
        assert_eq!(Guard::judge(&fleet), Guard::Free);
    }
}
