//! The kernel's time: jiffies, as the tables' stamps have it.
//!
//! A jiffy is 1/HZ of a second, and HZ is a build option of each kernel that nothing states
//! reliably. So it is measured once, by reading the kernel's 64-bit jiffies with a program of three
//! instructions, twice and some time apart. On a busy machine a reading may take long, so both are
//! known to lie between two instants only, and are repeated until one HZ alone fits. Jiffies follow
//! the monotonic clock exactly, so one reading is enough to convert ever after: a little behind the
//! kernel, never ahead of it.

use crate::kernel::jiffies;
use mizar_packet::upkeep;
use std::io;
use std::time::{Duration, Instant};

/// Converts between the kernel's jiffies and durations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    hz: u32,
    jiffies: u64,
    at: Instant,
}

impl Clock {
    /// Reads the kernel's time; measures HZ unless it is known.
    pub(crate) fn measure(known_hz: Option<u32>) -> io::Result<Self> {
        let hz = match known_hz {
            Some(hz) => hz,
            None => measure_hz()?,
        };
        let Reading { jiffies, latest, .. } = Reading::best()?;
        // Counted from after the reading, so this clock is never ahead of the kernel's.
        Ok(Self { hz, jiffies, at: latest })
    }

    /// Jiffies a second.
    pub(crate) fn hz(&self) -> u32 {
        self.hz
    }

    /// Now, in jiffies.
    pub(crate) fn now(&self) -> u64 {
        self.jiffies + self.at.elapsed().as_nanos() as u64 / self.nanoseconds()
    }

    /// A duration in jiffies, rounded up.
    pub(crate) fn jiffies(&self, duration: Duration) -> u64 {
        upkeep::jiffies(duration, self.hz)
    }

    fn nanoseconds(&self) -> u64 {
        1_000_000_000 / u64::from(self.hz)
    }
}

/// Long enough to tell 250 from 300, if the readings take no time.
const MEASURED: Duration = Duration::from_millis(120);
/// A reading that takes no longer is as good as any.
const PROMPT: Duration = Duration::from_millis(1);
/// Readings of which the best is taken, and measurements until the nearest must do.
const TRIES: u32 = 16;
/// Ticks by which two readings may be off: each is between two ticks, and the last one of a busy
/// machine may be counted late.
const SLACK: f64 = 2.0;

/// What Linux is built with on machines of our kind.
const RATES: [u32; 4] = [100, 250, 300, 1000];

/// The kernel's jiffies, and the instants between which they were read.
struct Reading {
    earliest: Instant,
    jiffies: u64,
    latest: Instant,
}

impl Reading {
    fn take() -> io::Result<Self> {
        let earliest = Instant::now();
        let jiffies = jiffies()?;
        Ok(Self { earliest, jiffies, latest: Instant::now() })
    }

    /// The one of several that took the least time.
    fn best() -> io::Result<Self> {
        let mut best = Self::take()?;
        for _ in 1..TRIES {
            if best.took() <= PROMPT {
                break;
            }
            let next = Self::take()?;
            if next.took() < best.took() {
                best = next;
            }
        }
        Ok(best)
    }

    fn took(&self) -> Duration {
        self.latest - self.earliest
    }
}

fn measure_hz() -> io::Result<u32> {
    let first = Reading::best()?;
    let mut tries = 0;
    loop {
        std::thread::sleep(MEASURED);
        let last = Reading::best()?;
        let passed = last.jiffies.wrapping_sub(first.jiffies);
        let (least, most) = (last.earliest - first.latest, last.latest - first.earliest);
        tries += 1;
        match fitting(passed, least, most)[..] {
            [hz] => return Ok(hz),
            // The longer both are apart, the less it matters how long they took.
            _ if tries < TRIES => {}
            _ => return Ok(nearest_hz(passed, most)),
        }
    }
}

/// The rates at which so many jiffies may have passed, in at least and at most so much time.
fn fitting(jiffies: u64, least: Duration, most: Duration) -> Vec<u32> {
    let in_ticks = |time: Duration, hz: u32| time.as_secs_f64() * f64::from(hz);
    let counted = jiffies as f64;
    let fits =
        |hz: &u32| counted > in_ticks(least, *hz) - SLACK && counted < in_ticks(most, *hz) + SLACK;
    RATES.into_iter().filter(fits).collect()
}

fn nearest_hz(jiffies: u64, passed: Duration) -> u32 {
    let rate = jiffies as f64 / passed.as_secs_f64();
    let distance = |hz: u32| (f64::from(hz) / rate.max(1.0)).ln().abs();
    RATES.into_iter().min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(RATES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hz_is_the_nearest_that_kernels_are_built_with() {
        let passed = Duration::from_millis(120);
        assert_eq!(nearest_hz(30, passed), 250);
        assert_eq!(nearest_hz(36, passed), 300);
        assert_eq!(nearest_hz(12, passed), 100);
        assert_eq!(nearest_hz(121, passed), 1000);
        assert_eq!(nearest_hz(0, passed), 100);
    }

    #[test]
    fn one_hz_alone_fits_readings_that_take_no_time() {
        let passed = MEASURED + PROMPT;
        for (jiffies, hz) in [(12, 100), (30, 250), (36, 300), (120, 1000)] {
            for off in [-1i64, 0, 1] {
                assert_eq!(fitting((jiffies + off) as u64, MEASURED, passed), [hz]);
            }
        }
        assert_eq!(fitting(60, MEASURED, passed), [0; 0], "no kernel is built with 500");
    }

    #[test]
    fn readings_that_take_long_decide_nothing_until_they_are_further_apart() {
        let ms = Duration::from_millis;
        // 36 jiffies of 4 ms: the second reading came 24 ms after the sleep.
        assert_eq!(fitting(36, ms(118), ms(150)), [250, 300]);
        assert_eq!(fitting(36 + 30, ms(238), ms(270)), [250]);
    }

    #[test]
    fn a_clock_is_never_ahead_of_the_kernels() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
            println!("SKIPPED: needs root");
            return;
        }
        let clock = Clock::measure(None).unwrap();
        for _ in 0..20 {
            let told = clock.now();
            assert!(told <= jiffies().unwrap());
        }
        // And hardly behind: a lease is as long as the kernel has it.
        let kernels = Reading::best().unwrap().jiffies;
        assert!(clock.now() + clock.jiffies(Duration::from_millis(100)) > kernels);
    }

    #[test]
    fn durations_round_up_to_jiffies() {
        let clock = Clock { hz: 250, jiffies: 0, at: Instant::now() };
        assert_eq!(clock.jiffies(Duration::from_millis(250)), 63);
        assert_eq!(clock.jiffies(Duration::from_secs(1)), 250);
        assert_eq!(clock.jiffies(Duration::from_millis(1)), 1);
        assert_eq!(clock.jiffies(Duration::ZERO), 0);
    }
}
