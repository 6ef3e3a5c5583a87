//! The kernel's time: jiffies, as the tables' stamps have it.
//!
//! A jiffy is 1/HZ of a second, and HZ is a build option of each kernel that nothing states
//! reliably. So it is measured once, by reading the kernel's 64-bit jiffies with a program of three
//! instructions run twice, a tenth of a second apart. Jiffies follow the monotonic clock exactly,
//! so one reading is enough to convert ever after: at most one jiffy behind the kernel, never ahead
//! of it.

use crate::kernel::jiffies;
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
        let (before, start) = (jiffies()?, Instant::now());
        let hz = match known_hz {
            Some(hz) => hz,
            None => {
                std::thread::sleep(MEASURED);
                nearest_hz(jiffies()?.wrapping_sub(before), start.elapsed())
            }
        };
        // The instant comes after the reading, so this clock is never ahead of the kernel's.
        let (jiffies, at) = (jiffies()?, Instant::now());
        Ok(Self { hz, jiffies, at })
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
        (duration.as_nanos() as u64).div_ceil(self.nanoseconds())
    }

    fn nanoseconds(&self) -> u64 {
        1_000_000_000 / u64::from(self.hz)
    }
}

/// Long enough to tell 250 from 300.
const MEASURED: Duration = Duration::from_millis(120);

/// What Linux is built with on machines of our kind.
const RATES: [u32; 4] = [100, 250, 300, 1000];

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
    fn durations_round_up_to_jiffies() {
        let clock = Clock { hz: 250, jiffies: 0, at: Instant::now() };
        assert_eq!(clock.jiffies(Duration::from_millis(250)), 63);
        assert_eq!(clock.jiffies(Duration::from_secs(1)), 250);
        assert_eq!(clock.jiffies(Duration::from_millis(1)), 1);
        assert_eq!(clock.jiffies(Duration::ZERO), 0);
    }
}
