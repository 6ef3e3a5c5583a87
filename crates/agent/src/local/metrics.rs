//! The metrics, as they are at the moment of the question.

use super::Local;
use crate::kernel::{TableError, memory_by_map};
use crate::metrics::{Snapshot, resident_memory};
use crate::standing::Standing;
use crate::usage::{self, usage};
use mizar_packet::tables::SLOTS;
use mizar_proto::{PortState, Usage};
use mizar_vpc::Vni;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::UNIX_EPOCH;
use thiserror::Error;

/// Why there are no metrics.
#[derive(Debug, Error)]
pub(crate) enum TextError {
    /// What stands in the kernel's tables.
    #[error(transparent)]
    Table(#[from] TableError),
    /// One has a name or a value that the format does not have.
    #[error("the metrics are malformed")]
    Form(#[from] fmt::Error),
}

impl Local {
    /// All metrics, in the text format of Prometheus. Blocks for system calls by the hundred.
    ///
    /// # Errors
    /// The kernel's tables cannot be read.
    pub(crate) fn text(&self) -> Result<String, TextError> {
        Ok(self.metrics.text(self.snapshot()?)?)
    }

    /// Reads what stands in tables.
    fn snapshot(&self) -> Result<Snapshot, TableError> {
        let standing = self.standing.borrow().clone();
        let learned: BTreeMap<u32, u64> = self.maps.learned_count.rows()?.into_iter().collect();
        let learned_of = |(vni, index): (&Vni, &u32)| {
            (vni.get(), learned.get(index).copied().unwrap_or_default())
        };
        let mut counters = BTreeMap::from([(0, self.counters_of(0)?)]);
        for (vni, index) in &standing.counters {
            counters.insert(vni.get(), self.counters_of(*index)?);
        }
        let hosts = self.host_statuses();
        let tables_bytes = memory_by_map(self.pins.clone()).map(|maps| maps.values().sum());
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Snapshot {
            counters,
            learned: standing.counters.iter().map(learned_of).collect(),
            tables: self.usages(&standing)?,
            ports: states(&standing),
            connected: standing.connected,
            waits: !standing.others.is_empty(),
            hosts_known: hosts.len() as u64,
            hosts_alive: hosts.iter().filter(|host| host.alive).count() as u64,
            resident_bytes: resident_memory(),
            tables_bytes: tables_bytes.unwrap_or_default(),
            start_seconds: since.as_secs(),
        })
    }

    /// How full each table is.
    fn usages(&self, standing: &Standing) -> Result<BTreeMap<&'static str, Usage>, TableError> {
        let maps = &self.maps;
        let routes = maps.routes.rows()?;
        let networks: BTreeSet<u32> = routes.iter().map(|(_, route)| route.network).collect();
        let ports = standing.ports.values().map(BTreeMap::len).sum();
        Ok(BTreeMap::from([
            ("endpoints", self.used.endpoints(maps)),
            ("learned", usage::learned(maps)?),
            ("ports", usage(ports, maps.ports.capacity())),
            ("hosts", usage::hosts(maps, &self.hosts)),
            ("vpcs", usage(maps.vpcs.rows()?.len(), maps.vpcs.capacity())),
            ("networks", usage(networks.len(), maps.holders.capacity() / SLOTS as u32)),
            ("routes", usage(routes.len(), maps.routes.capacity())),
        ]))
    }
}

/// Endpoints by state, all states named.
fn states(standing: &Standing) -> BTreeMap<&'static str, u64> {
    let mut states = BTreeMap::from([("attaching", 0), ("ready", 0), ("failed", 0)]);
    for port in standing.ports.values().flat_map(BTreeMap::values) {
        let state = match port.state {
            PortState::Attaching => "attaching",
            PortState::Ready => "ready",
            PortState::Failed(_) => "failed",
        };
        *states.entry(state).or_default() += 1;
    }
    states
}
