//! One CPU and the time that it spends on packets.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::PathBuf;

/// The last CPU of those that this process may use, with the calling thread pinned to it.
///
/// What interrupts do is charged to the thread that they interrupt, and nothing else wants this CPU
/// for long: so the thread's time is that of its packets, all the way to the other guest. What the
/// kernel puts off is done by a thread of its own, whose time counts too.
pub(super) struct Cpu {
    put_off: PathBuf,
}

impl Cpu {
    /// Pins the calling thread.
    pub(super) fn pin() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("ask which CPUs may be used")?;
        let last = (0..CpuSet::MAX_CPU).rfind(|&cpu| allowed.is_set(cpu));
        let cpu = last.context("no CPU may be used")?;
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one).context("pin a thread to a CPU")?;
        Ok(Self { put_off: softirq_thread(cpu)?.join("schedstat") })
    }

    /// Nanoseconds spent until now.
    pub(super) fn spent(&self) -> Result<u64> {
        let own = clock_gettime(ClockId::ThreadCPUTime);
        let own = own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64;
        let text = fs::read_to_string(&self.put_off).context("read the kernel thread's time")?;
        let put_off = text.split_whitespace().next().and_then(|time| time.parse::<u64>().ok());
        Ok(own + put_off.context("the kernel thread's time is no number")?)
    }
}

/// The folder in /proc of the kernel thread that does a CPU's deferred work.
fn softirq_thread(cpu: usize) -> Result<PathBuf> {
    let name = format!("ksoftirqd/{cpu}");
    for entry in fs::read_dir("/proc").context("list processes")?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm"));
        if comm.is_ok_and(|comm| comm.trim_end() == name) {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no kernel thread is named {name}: this must run where it can be seen")
}
