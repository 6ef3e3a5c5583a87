//! Is that host alive? Asked only of hosts that are used, and only while their proof runs out.
//!
//! The kernel programs stamp a host's row when they want to send there, and our own echo coming
//! back renews its proof. So an idle host costs nothing, and a host in use an echo a tick at most.

use crate::clock::Clock;
use crate::control::Control;
use crate::kernel::Maps;
use mizar_packet::tables::{Host, HostIndex};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// How long one echo reply proves a host alive.
pub(crate) const LEASE: Duration = Duration::from_millis(250);
/// How often hosts are looked at.
const TICK: Duration = Duration::from_millis(75);
/// A host used longer ago than this is not probed.
const IN_USE: Duration = Duration::from_secs(1);

/// Sends echoes.
#[derive(Debug)]
pub(crate) struct Prober {
    maps: Arc<Maps>,
    control: Arc<Control>,
    clock: Clock,
    cookie: u64,
}

impl Prober {
    pub(crate) fn new(maps: Arc<Maps>, control: Arc<Control>, clock: Clock, cookie: u64) -> Self {
        Self { maps, control, clock, cookie }
    }

    /// Probes for ever.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // All rows by one or two system calls, however many hosts there are.
            match self.maps.hosts.rows() {
                Ok(rows) => self.probe_due(rows.iter().map(|(_, row)| row)),
                Err(error) => warn!(%error, "hosts not probed"),
            }
        }
    }

    /// Probes one host now, whatever its stamps say.
    pub(crate) fn probe(&self, index: HostIndex) {
        if let Ok(Some(row)) = self.maps.hosts.get(&index) {
            self.send(&row);
        }
    }

    fn probe_due<'a>(&self, rows: impl Iterator<Item = &'a Host>) {
        let now = self.clock.now();
        let (in_use, lease) = (self.clock.jiffies(IN_USE), self.clock.jiffies(LEASE));
        for row in rows.filter(|row| is_due(row, now, in_use, lease)) {
            self.send(row);
        }
    }

    fn send(&self, row: &Host) {
        if !row.is_resolved() {
            return;
        }
        if let Err(error) = self.control.echo(row, self.cookie, self.clock.now()) {
            debug!(host = %row.address, %error, "echo not sent");
        }
    }
}

/// Whether a host is in use and less than two thirds of its proof are left.
fn is_due(row: &Host, now: u64, in_use: u64, lease: u64) -> bool {
    row.used != 0
        && now.saturating_sub(row.used) <= in_use
        && row.alive_until.saturating_sub(now) < lease * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_packet::Address;

    #[test]
    fn only_hosts_in_use_whose_proof_runs_out_are_probed() {
        let row = |used, alive_until| Host {
            address: Address::v4([10, 0, 0, 1]),
            next_hop: [2; 6],
            mtu: 1500,
            used,
            alive_until,
        };
        let due = |used, alive_until| is_due(&row(used, alive_until), 10_000, 250, 63);
        assert!(due(9_999, 0));
        assert!(due(9_999, 10_041));
        assert!(!due(9_999, 10_042));
        assert!(!due(9_749, 0));
        assert!(due(9_750, 0));
        assert!(!due(0, 0));
        // The stamp of another CPU may be a jiffy ahead.
        assert!(due(10_001, 9_000));
    }
}
