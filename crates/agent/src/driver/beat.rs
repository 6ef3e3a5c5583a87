//! Signs of life.

use super::Driver;
use crate::apply::Applier;
use crate::kernel::{Maps, TableError};
use crate::usage;
use mizar_packet::count::{Counter, PER_VPC, Path};
use mizar_proto::{AgentMessage, Beat, Load};
use mizar_vpc::Vni;
use std::cmp::Reverse;
use tracing::warn;

impl Driver {
    /// Gives a sign of life, unless something else waits to be said, which is one too.
    pub(super) fn beat(&mut self) {
        let is_idle = self.say.as_ref().is_some_and(|say| say.capacity() == say.max_capacity());
        if is_idle && self.unsaid.is_empty() {
            self.say_beat();
        }
    }

    pub(super) fn say_beat(&mut self) {
        match self.read_beat() {
            Ok(beat) => self.say(AgentMessage::Beat(beat)),
            Err(error) => warn!(%error, "tables not read for a sign of life"),
        }
    }

    fn read_beat(&self) -> Result<Beat, TableError> {
        let parts = &self.parts;
        let ports = parts.applier.ports().len();
        Ok(Beat {
            endpoints: parts.used.endpoints(&parts.maps),
            learned: usage::learned(&parts.maps)?,
            ports: usage::usage(ports, parts.maps.ports.capacity()),
            hosts: usage::hosts(&parts.maps, &parts.hosts),
            vpcs: largest(loads(&parts.maps, &parts.applier)?).into_iter().collect(),
            // Whoever hears it is the controller: it is not waited for.
            waits_for: self
                .awaits(true)
                .map(|awaits| awaits.until_then(&self.standing.borrow().others)),
        })
    }
}

/// What this host forwarded, by VPC.
fn loads(maps: &Maps, applier: &Applier) -> Result<Vec<(Vni, Load)>, TableError> {
    let load = |(vni, index): (Vni, u32)| {
        let sum = |way| maps.counters.sum(index * PER_VPC + Counter::Path(way).row());
        Ok((vni, Load { bounced: sum(Path::Bounced)?, divided: sum(Path::Divided)? }))
    };
    applier.vpc_indices().map(load).collect()
}

/// Those that forwarded most, as many as a beat has room for.
fn largest(mut loads: Vec<(Vni, Load)>) -> Vec<(Vni, Load)> {
    loads.sort_by_key(|(vni, load)| (Reverse(load.bounced.saturating_add(load.divided)), *vni));
    loads.truncate(Beat::VPCS);
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_names_the_vpcs_with_the_most_packets() {
        let load = |bounced| Load { bounced, divided: u64::MAX - 1000 };
        let vni = |number| Vni::try_from(number).unwrap();
        let loads = (1..=300u32).map(|n| (vni(n), load(n.into()))).collect();
        let largest = largest(loads);
        assert_eq!(largest.len(), 256);
        assert_eq!(largest.first(), Some(&(vni(300), load(300))));
        assert_eq!(largest.last(), Some(&(vni(45), load(45))));
    }
}
