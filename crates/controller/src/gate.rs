//! Lets hosts that have lost what they were told have it all again: some at a time, and no more
//! rows in a second than leave room for everything else. Whoever comes waits for his turn.

use crate::time::Time;
use mizar_vpc::{Name, Vni};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How many are at it at a time.
pub(crate) const PLACES: usize = 64;
/// How long one keeps his place who does not acknowledge what he was sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows in a second.
const RATE: i64 = 500_000;
/// Rows that may come at once after a while without any.
const BURST: i64 = 50_000;
/// What one more host costs, beside its rows, in rows.
const HOST: usize = 16;

/// What a host is told of a VPC.
pub(crate) type Place = (Name, Vni);

/// Who waits, and who has been let in.
#[derive(Debug)]
pub(crate) struct Gate {
    waiting: VecDeque<Place>,
    /// The same, to be looked up.
    known: BTreeSet<Place>,
    inside: BTreeMap<Place, Time>,
    bucket: Bucket,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    /// Below nothing when more was sent than there were.
    tokens: i64,
    filled: Time,
}

impl Gate {
    pub(crate) fn new(now: Time) -> Self {
        let bucket = Bucket { tokens: BURST, filled: now };
        let (waiting, known, inside) = Default::default();
        Self { waiting, known, inside, bucket }
    }

    /// One more waits for his turn, if he does not yet.
    pub(crate) fn wait(&mut self, place: Place) {
        if self.known.insert(place.clone()) {
            self.waiting.push_back(place);
        }
    }

    /// The next one whose turn it is.
    pub(crate) fn admit(&mut self, now: Time) -> Option<Place> {
        self.inside.retain(|_, since| now.since(*since) < PATIENCE);
        if self.inside.len() >= PLACES || !self.has_tokens(now) {
            return None;
        }
        let place = self.waiting.pop_front()?;
        self.known.remove(&place);
        self.inside.insert(place.clone(), now);
        self.spend(HOST);
        Some(place)
    }

    /// One has acknowledged everything, or does not want it any more.
    pub(crate) fn leave(&mut self, place: &Place) {
        self.inside.remove(place);
    }

    /// Whether rows may be sent.
    pub(crate) fn has_tokens(&mut self, now: Time) -> bool {
        self.bucket.fill(now);
        self.bucket.tokens > 0
    }

    /// So many were sent.
    pub(crate) fn spend(&mut self, rows: usize) {
        self.bucket.tokens -= rows as i64;
    }

    /// How long until somebody who waits may be let in; None: that depends on those inside.
    pub(crate) fn pause(&self, now: Time) -> Option<Duration> {
        let oldest = self.inside.values().min().filter(|_| self.inside.len() >= PLACES);
        match oldest {
            _ if self.waiting.is_empty() => None,
            Some(since) => Some(PATIENCE.saturating_sub(now.since(*since))),
            None => Some(self.refill()),
        }
    }

    /// How long until rows may be sent.
    pub(crate) fn refill(&self) -> Duration {
        let micros = (1 - self.bucket.tokens).max(0) * 1_000_000 / RATE;
        Duration::from_micros(micros as u64)
    }

    /// How many are inside, and how many wait.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.inside.len(), self.waiting.len())
    }
}

impl Bucket {
    fn fill(&mut self, now: Time) {
        let since = i64::try_from(now.since(self.filled).as_micros()).unwrap_or(i64::MAX);
        let more = since.saturating_mul(RATE) / 1_000_000;
        if more > 0 {
            self.tokens = self.tokens.saturating_add(more).min(BURST);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize) -> Place {
        (format!("h{number}").parse().unwrap(), Vni::MIN)
    }

    fn at(millis: u64) -> Time {
        Time::after(Duration::from_millis(millis))
    }

    #[test]
    fn as_many_are_inside_as_there_are_places_and_who_is_stuck_loses_his() {
        let mut gate = Gate::new(at(0));
        (0..PLACES * 2).for_each(|number| gate.wait(place(number)));
        gate.wait(place(0));
        let admitted = std::iter::from_fn(|| gate.admit(at(1))).count();
        assert_eq!((admitted, gate.len()), (PLACES, (PLACES, PLACES)));
        assert_eq!(gate.pause(at(1_001)), Some(PATIENCE - Duration::from_secs(1)));
        gate.leave(&place(3));
        assert_eq!(gate.admit(at(2)), Some(place(PLACES)), "in the order in which they came");
        assert_eq!(gate.admit(at(3)), None);
        let late = std::iter::from_fn(|| gate.admit(at(10_001))).count();
        assert_eq!(late, PLACES - 1);
    }

    #[test]
    fn rows_flow_at_the_rate_that_is_set() {
        let mut gate = Gate::new(at(0));
        let mut sent = 0;
        for millis in 0..1_000 {
            while gate.has_tokens(at(millis)) {
                gate.spend(1_000);
                sent += 1_000;
            }
        }
        assert!((RATE..=RATE + BURST + 1_000).contains(&sent), "{sent}");
        (0..3).for_each(|number| gate.wait(place(number)));
        gate.spend(BURST as usize);
        assert!(gate.pause(at(1_000)).unwrap() > Duration::ZERO);
        assert_eq!(gate.admit(at(999)), None);
    }
}
