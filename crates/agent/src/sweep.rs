//! What is no longer needed, found by looking at whole tables now and then.

use crate::clock::Clock;
use crate::hosts::Hosts;
use crate::kernel::{Maps, TableError};
use crate::usage::Used;
use mizar_packet::tables::{EndpointKey, HostIndex, Learned};
use mizar_packet::upkeep::{UNUSED, is_over};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::warn;

/// How often learned rows are looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// Hosts without references are looked for at each so many sweeps: their tables are larger.
const HOSTS_EACH: u32 = 12;

/// Sweeps the tables.
#[derive(Debug)]
pub(crate) struct Sweeper {
    pub(crate) maps: Arc<Maps>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) used: Arc<Used>,
    pub(crate) clock: Clock,
}

impl Sweeper {
    /// Sweeps for ever.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0u32;
        loop {
            ticks.tick().await;
            round = round.wrapping_add(1);
            if let Err(error) = self.sweep(round.is_multiple_of(HOSTS_EACH)) {
                warn!(%error, "tables not swept");
            }
        }
    }

    fn sweep(&self, with_hosts: bool) -> Result<(), TableError> {
        let learned = self.sweep_learned()?;
        self.hosts.restore_mtu(Instant::now())?;
        if with_hosts {
            let referred = self.referred(&learned)?;
            let idle = self.clock.now().saturating_sub(self.clock.jiffies(UNUSED));
            self.hosts.retire(&referred, idle)?;
        }
        Ok(())
    }

    /// Removes learned rows that are over, and sets each VPC's count to what is left.
    fn sweep_learned(&self) -> Result<Vec<(EndpointKey, Learned)>, TableError> {
        let now = self.clock.now();
        let unused = self.clock.jiffies(UNUSED);
        let (over, kept): (Vec<_>, Vec<_>) =
            self.maps.learned.rows().partition(|(_, row)| is_over(row, now, unused));
        for (key, _) in &over {
            self.maps.learned.remove(key);
        }
        self.maps.learned.clear();
        let mut counts = vec![0u64; self.maps.learned_count.capacity() as usize];
        for (_, row) in &kept {
            if let Some(count) = counts.get_mut(row.vpc as usize) {
                *count += 1;
            }
        }
        for (index, count) in (0..).zip(counts) {
            if self.maps.learned_count.get(&index)? != Some(count) {
                self.maps.learned_count.put(&index, &count)?;
            }
        }
        Ok(kept)
    }

    /// The hosts that any table refers to.
    fn referred(
        &self,
        learned: &[(EndpointKey, Learned)],
    ) -> Result<BTreeSet<HostIndex>, TableError> {
        let mut hosts: BTreeSet<_> = learned.iter().map(|(_, row)| row.host).collect();
        self.used.set_endpoints(self.maps.endpoints.rows().count());
        hosts.extend(self.maps.endpoints.rows().map(|(_, row)| row.host));
        hosts.extend(self.maps.holders.rows()?.into_iter().flat_map(|(_, row)| row.hosts));
        hosts.extend(self.maps.vpcs.rows()?.into_iter().flat_map(|(_, row)| row.dividers));
        Ok(hosts)
    }
}
