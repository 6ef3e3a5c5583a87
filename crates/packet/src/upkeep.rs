//! What the agent does for rows that the kernel programs stamp: how long what is known holds, which
//! hosts are asked whether they live, which locations are forgotten. All of it is in each host's
//! own jiffies.

use crate::tables::{Config, Host, Learned};
use core::time::Duration;

/// How long one echo reply proves a host alive.
pub const LEASE: Duration = Duration::from_millis(250);
/// How much longer it does at most, where the host that answers says so: whatever it says, a dead
/// host is believed in for no longer than both together.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(750);
/// How long it is believed at most that an address does not exist: a quarter of the time that a
/// sender goes on teaching.
pub const DENIAL: Duration = Duration::from_millis(250);
/// How often an agent looks for hosts to be asked.
pub const PROBE_TICK: Duration = Duration::from_millis(75);
/// A host used longer ago than this is not asked.
pub const IN_USE: Duration = Duration::from_secs(1);
/// How long a learned row is kept without being used.
pub const UNUSED: Duration = Duration::from_secs(600);

const TEACH: Duration = Duration::from_secs(1);
const NOTICE_DELAY: Duration = Duration::from_millis(100);
const STAMP: Duration = Duration::from_millis(100);

/// A duration in jiffies of a kernel with so many a second, rounded up.
pub const fn jiffies(duration: Duration, hz: u32) -> u64 {
    (duration.as_nanos() as u64).div_ceil(1_000_000_000 / hz as u64)
}

/// A configuration with the durations of this module, on a kernel with `hz` jiffies a second.
pub fn timed(config: Config, hz: u32) -> Config {
    let jiffies = |duration| u32::try_from(jiffies(duration, hz)).unwrap_or(u32::MAX);
    Config {
        lease: jiffies(LEASE),
        longest_pause: jiffies(LONGEST_PAUSE),
        teach: jiffies(TEACH),
        notice_delay: jiffies(NOTICE_DELAY),
        stamp: jiffies(STAMP),
        hz,
        ..config
    }
}

/// Whether a host is in use and less than two thirds of its proof are left; durations in jiffies.
pub fn is_probe_due(row: &Host, now: u64, in_use: u64, lease: u64) -> bool {
    row.used != 0
        && now.saturating_sub(row.used) <= in_use
        && row.alive_until.saturating_sub(now) < lease * 2 / 3
}

/// Whether a learned row serves nobody: unused for long, or a denial that has run out.
///
/// A row that says "nowhere" keeps its generation for as long as others keep theirs, unless it has
/// none.
pub fn is_over(row: &Learned, now: u64, unused: u64) -> bool {
    let idle = now.saturating_sub(row.used) > unused;
    let denial = row.host == 0 && row.generation == 0;
    row.teach_until < now && (idle || denial)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    #[test]
    fn only_rows_that_serve_nobody_are_over() {
        let row = |host, generation, used, teach_until| Learned {
            generation,
            used,
            teach_until,
            notice_at: 0,
            host,
            vpc: 1,
        };
        let over = |row: Learned| is_over(&row, 1_000_000, 150_000);
        assert!(!over(row(4, 9, 999_000, 0)), "in use");
        assert!(over(row(4, 9, 800_000, 0)), "unused for long");
        assert!(!over(row(4, 9, 800_000, 1_000_100)), "still teaching");
        assert!(!over(row(0, 0, 999_000, 1_000_100)), "a denial that holds");
        assert!(over(row(0, 0, 999_000, 999_999)), "a denial that has run out");
        assert!(!over(row(0, 9, 999_000, 0)), "the generation outlives the location");
    }

    #[test]
    fn only_hosts_in_use_whose_proof_runs_out_are_probed() {
        let row = |used, alive_until| Host {
            address: Address::v4([10, 0, 0, 1]),
            next_hop: [2; 6],
            mtu: 1500,
            used,
            alive_until,
        };
        let due = |used, alive_until| is_probe_due(&row(used, alive_until), 10_000, 250, 63);
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
