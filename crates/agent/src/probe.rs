//! Is that host alive? Asked only of hosts that are used, and only while their proof runs out.
//!
//! The kernel programs stamp a host's row when they want to send there, and our own echo coming
//! back renews its proof. So an idle host costs nothing, and a host in use an echo a tick at most.
//!
//! A host that many use, as the bouncer of a large network, is asked by all of them. It says in its
//! replies how much longer the proof may last, so that those who ask take turns ([`Pause`]).

use crate::clock::Clock;
use crate::control::Control;
use crate::hosts::Hosts;
use crate::kernel::Maps;
use mizar_packet::count::{Counter, Path};
use mizar_packet::keys::Keys;
use mizar_packet::tables::{Host, HostIndex};
use mizar_packet::upkeep::{IN_USE, LEASE, LONGEST_PAUSE, PROBE_TICK, is_probe_due};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Sends echoes.
#[derive(Debug)]
pub(crate) struct Prober {
    maps: Arc<Maps>,
    hosts: Arc<Hosts>,
    control: Arc<Control>,
    clock: Clock,
    cookie: u64,
}

impl Prober {
    pub(crate) fn new(
        (maps, hosts, control): (&Arc<Maps>, &Arc<Hosts>, &Arc<Control>),
        clock: Clock,
        cookie: u64,
    ) -> Self {
        let (maps, hosts) = (Arc::clone(maps), Arc::clone(hosts));
        Self { maps, hosts, control: Arc::clone(control), clock, cookie }
    }

    /// Probes for ever.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval(PROBE_TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // All rows by one or two system calls, however many hosts there are; and no row that
            // nobody has: each costs the kernel a quarter of a microsecond, every time.
            match self.hosts.rows() {
                Ok(rows) => self.probe_due(rows.iter().map(|(_, row)| row)),
                Err(error) => warn!(%error, "hosts not probed"),
            }
        }
    }

    /// Tells those who ask this host how often they should, for ever.
    pub(crate) async fn pace(&self) {
        let echoed = || self.maps.counters.sum(Counter::Path(Path::Echoed).row());
        let (mut pause, mut before) = (Pause::default(), echoed().unwrap_or(0));
        let mut ticks = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let paced = echoed().and_then(|echoes| {
                pause = pause.next(echoes.saturating_sub(before));
                before = echoes;
                let told = u32::try_from(pause.milliseconds).unwrap_or(u32::MAX);
                self.maps.change_config(|config| config.echo_pause = told)
            });
            if let Err(error) = paced {
                warn!(%error, "those who ask for echoes not paced");
            }
        }
    }

    /// Probes one host now, whatever its stamps say.
    pub(crate) fn probe(&self, index: HostIndex) {
        if let Ok(Some(row)) = self.maps.hosts.get(&index) {
            self.send(&row, &self.control.keys());
        }
    }

    fn probe_due<'a>(&self, rows: impl Iterator<Item = &'a Host>) {
        let now = self.clock.now();
        let (in_use, lease) = (self.clock.jiffies(IN_USE), self.clock.jiffies(LEASE));
        let keys = self.control.keys();
        for row in rows.filter(|row| is_probe_due(row, now, in_use, lease)) {
            self.send(row, &keys);
        }
    }

    fn send(&self, row: &Host, keys: &Keys) {
        if !row.is_resolved() {
            return;
        }
        if let Err(error) = self.control.echo(row, self.cookie, self.clock.now(), keys) {
            debug!(host = %row.address, %error, "echo not sent");
        }
    }
}

/// How often this host looks at how many echoes it answers.
const LOOK: Duration = Duration::from_secs(1);
/// Echoes a second that a host answers gladly: a few thousandths of a CPU's time.
const GLADLY: u64 = 20_000;

/// How long those who ask this host for echoes are told to wait, beyond their lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pause {
    milliseconds: u64,
}

impl Pause {
    /// The next one, after so many echoes a second with this one.
    ///
    /// A host is asked when a third of its lease has passed, or later by the pause. So how many ask
    /// follows from how often they do.
    fn next(self, echoes: u64) -> Self {
        let shortest = LEASE.as_millis() as u64 / 3;
        let who_ask = echoes.saturating_mul(shortest + self.milliseconds);
        let wanted = (who_ask / GLADLY).saturating_sub(shortest);
        Self { milliseconds: wanted.min(LONGEST_PAUSE.as_millis() as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Echoes a second when so many hosts ask and are told this pause.
    fn echoes(hosts: u64, pause: Pause) -> u64 {
        hosts * 1000 / (LEASE.as_millis() as u64 / 3 + pause.milliseconds)
    }

    proptest! {
        #[test]
        fn many_who_ask_are_slowed_down_to_what_is_answered_gladly(
            hosts in 0u64..300_000,
            start in 0u64..750,
        ) {
            let mut pause = Pause { milliseconds: start };
            for _ in 0..3 {
                pause = pause.next(echoes(hosts, pause));
            }
            prop_assert_eq!(pause.next(echoes(hosts, pause)), pause, "it comes to rest");
            let longest = LONGEST_PAUSE.as_millis() as u64;
            prop_assert!(pause.milliseconds <= longest);
            if pause.milliseconds < longest {
                prop_assert!(echoes(hosts, pause) <= GLADLY * 102 / 100);
            }
            if hosts < 1600 {
                prop_assert_eq!(pause, Pause::default(), "few are not slowed down");
            }
        }
    }

    #[test]
    fn an_absurd_number_of_echoes_pauses_no_longer_than_the_longest() {
        let pause = Pause { milliseconds: 750 }.next(u64::MAX);
        assert_eq!(u128::from(pause.milliseconds), LONGEST_PAUSE.as_millis());
        assert_eq!(pause.next(0), Pause::default());
    }
}
