//! How long each step of making endpoints ready took. It is remembered for those that are not ready
//! and for the last ones that became it, and never stored.

use crate::time::Time;
use mizar_proto::PortReport;
use mizar_vpc::manifest::Timing;
use mizar_vpc::{Name, RowKey, Vni};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How many endpoints that became ready are remembered.
const REMEMBERED: usize = 16_384;

type Place = (Vni, Name);

/// The steps of endpoints on their way.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    waiting: BTreeMap<Place, Steps>,
    done: BTreeMap<Place, Steps>,
    order: VecDeque<Place>,
    /// The steps that endpoints have come to since they were last taken.
    reached: Vec<(&'static str, Duration)>,
}

#[derive(Clone, Debug, Default)]
struct Steps {
    begun: Time,
    /// When each step ended, since the beginning.
    reached: Vec<(&'static str, Duration)>,
    /// How long the agent's own steps took.
    agent: Vec<(&'static str, Duration)>,
}

impl Timings {
    /// An endpoint was stored.
    pub(crate) fn begin(&mut self, vni: Vni, name: Name, now: Time) {
        self.done.remove(&(vni, name.clone()));
        let steps = Steps { begun: now, ..Steps::default() };
        self.waiting.insert((vni, name), steps);
    }

    /// An endpoint is gone.
    pub(crate) fn forget(&mut self, vni: Vni, name: &Name) {
        let place = (vni, name.clone());
        self.waiting.remove(&place);
        self.done.remove(&place);
    }

    /// The keys of the endpoints of a VPC that are not ready.
    pub(crate) fn awaited(&self, vni: Vni) -> BTreeSet<RowKey> {
        let names = self.waiting.keys().filter(|(of, _)| *of == vni);
        names.map(|(_, name)| RowKey::Port(name.clone())).collect()
    }

    /// Whether an endpoint is not ready.
    pub(crate) fn is_awaited(&self, vni: Vni, name: &Name) -> bool {
        self.waiting.contains_key(&(vni, name.clone()))
    }

    /// A host has attached an endpoint.
    pub(crate) fn attached(&mut self, vni: Vni, report: &PortReport) {
        if let Some(steps) = self.waiting.get_mut(&(vni, report.name.clone())) {
            steps.agent = report.steps.iter().map(|(step, took)| (step.name(), *took)).collect();
        }
    }

    /// Steps that an endpoint has come to, or not; the last one is that it is ready.
    pub(crate) fn reach(
        &mut self,
        vni: Vni,
        name: &Name,
        steps: [(&'static str, bool); 3],
        now: Time,
    ) {
        let place = (vni, name.clone());
        let Some(waiting) = self.waiting.get_mut(&place) else { return };
        let [.., (_, is_ready)] = steps;
        for (step, is) in steps {
            if let Some(after) = waiting.reach(step, is, now) {
                self.reached.push((step, after));
            }
        }
        if !is_ready {
            return;
        }
        if let Some(steps) = self.waiting.remove(&place) {
            self.done.insert(place.clone(), steps);
            self.order.push_back(place);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.done.remove(&oldest);
            }
        }
    }

    /// The steps that endpoints have come to since the last time, and how long after they were
    /// stored.
    pub(crate) fn take_reached(&mut self) -> Vec<(&'static str, Duration)> {
        std::mem::take(&mut self.reached)
    }

    /// How many are not ready.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The steps of one endpoint, as far as they are remembered.
    pub(crate) fn of(&self, vni: Vni, name: &Name) -> Vec<Timing> {
        let place = (vni, name.clone());
        let steps = self.waiting.get(&place).or_else(|| self.done.get(&place));
        let steps = steps.into_iter().flat_map(|steps| steps.agent.iter().chain(&steps.reached));
        let timing = |(step, took): &(&'static str, Duration)| Timing {
            step: (*step).to_owned(),
            micros: took.as_micros() as u64,
        };
        steps.map(timing).collect()
    }
}

impl Steps {
    /// How long the step took, if it is reached for the first time.
    fn reach(&mut self, step: &'static str, reached: bool, now: Time) -> Option<Duration> {
        let is_new = reached && self.reached.iter().all(|(other, _)| *other != step);
        let after = is_new.then(|| now.since(self.begun))?;
        self.reached.push((step, after));
        Some(after)
    }
}
