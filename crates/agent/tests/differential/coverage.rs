//! How often each verdict, way, reason and event was seen.

use mizar_packet::count::{Counter, Path};
use mizar_packet::tables::Event;
use mizar_packet::{Reason, Verdict};
use std::collections::BTreeMap;
use std::fmt;

/// Reasons that no test run reaches: each needs what only a real skb has.
pub(crate) const OUT_OF_REACH: [Reason; 3] = [
    // A tag beside the frame, and metadata before it, cannot be given to a test run.
    Reason::GuestVlan,
    Reason::TagMismatch,
    // Slots are full here; another test empties them.
    Reason::NoProgram,
];

const EVENTS: [(u32, &str); 5] = [
    (Event::NEW_HOST, "new host"),
    (Event::PROBE, "probe"),
    (Event::NOTICE, "notice"),
    (Event::INVALIDATE, "invalidate"),
    (Event::UNKNOWN, "unknown"),
];

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    verdicts: BTreeMap<(&'static str, &'static str), u64>,
    counters: BTreeMap<u32, u64>,
    events: BTreeMap<u32, u64>,
}

impl Coverage {
    /// Adds a verdict of a program.
    pub(crate) fn verdict(&mut self, program: &'static str, verdict: Verdict) {
        let name = match verdict {
            Verdict::Pass => "pass",
            Verdict::Transmit => "transmit",
            Verdict::Deliver(_) => "deliver",
            Verdict::Answer => "answer",
            Verdict::Refer(_) => "refer",
            Verdict::Consumed => "consumed",
            Verdict::Drop(_) => "drop",
        };
        *self.verdicts.entry((program, name)).or_default() += 1;
    }

    /// Adds what was counted.
    pub(crate) fn counters(&mut self, counters: &BTreeMap<(u32, u32), u64>) {
        for ((_, row), count) in counters {
            *self.counters.entry(*row).or_default() += count;
        }
    }

    /// Adds events.
    pub(crate) fn events(&mut self, events: &[Event]) {
        for event in events {
            *self.events.entry(event.kind).or_default() += 1;
        }
    }

    /// Reachable ways, reasons and events that were not seen, by name.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let paths = Path::ALL.iter().map(|&path| Counter::Path(path));
        let reasons = Reason::ALL.iter().filter(|reason| !OUT_OF_REACH.contains(reason));
        let counters = paths.chain(reasons.map(|&reason| Counter::Dropped(reason)));
        let counters = counters.filter(|counter| !self.counters.contains_key(&counter.row()));
        let events = EVENTS.iter().filter(|(kind, _)| !self.events.contains_key(kind));
        let names = counters.map(|counter| counter.name().to_owned());
        names.chain(events.map(|(_, name)| format!("event {name}"))).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((program, verdict), count) in &self.verdicts {
            writeln!(f, "{count:>9} {program}: {verdict}")?;
        }
        for (row, count) in &self.counters {
            writeln!(f, "{count:>9} {}", Counter::from_row(*row).map_or("?", Counter::name))?;
        }
        for (kind, name) in EVENTS {
            writeln!(f, "{:>9} event {name}", self.events.get(&kind).unwrap_or(&0))?;
        }
        Ok(())
    }
}
