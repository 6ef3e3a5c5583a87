//! One CPU and the time that it spends on packets.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::PathBuf;

/// The last CPU of those that this process may use, with the calling thread pinned to it.
///
/// What interrupts do is charged to the thread that they interrupt, and nothing else wants this CPU
/// for long: so the thread's time is that of its packets, all the way to the other guest. What the
/// kernel puts off is done by a thread of its own, whose time counts too.
pub(crate) struct Cpu {
    only: CpuSet,
    put_off: PathBuf,
}

impl Cpu {
    /// Pins the calling thread.
    pub(crate) fn pin() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("ask which CPUs may be used")?;
        let last = (0..CpuSet::MAX_CPU).rfind(|&cpu| allowed.is_set(cpu));
        let cpu = last.context("no CPU may be used")?;
        let mut only = CpuSet::new();
        only.set(cpu);
        sched_setaffinity(None, &only).context("pin a thread to a CPU")?;
        Ok(Self { only, put_off: softirq_thread(cpu)?.join("schedstat") })
    }

    /// Pins all threads of another process to it too. What they spend is [`of_process`]'s.
    pub(crate) fn hold(&self, process: u32) -> Result<()> {
        for thread in threads(process)? {
            let number = thread.file_name().and_then(|name| name.to_str()?.parse().ok());
            let thread = number.and_then(Pid::from_raw).context("a thread has no number")?;
            sched_setaffinity(Some(thread), &self.only).context("pin a process to a CPU")?;
        }
        Ok(())
    }

    /// Nanoseconds spent until now.
    pub(crate) fn spent(&self) -> Result<u64> {
        let own = clock_gettime(ClockId::ThreadCPUTime);
        let own = own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64;
        let text = fs::read_to_string(&self.put_off).context("read the kernel thread's time")?;
        let put_off = text.split_whitespace().next().and_then(|time| time.parse::<u64>().ok());
        Ok(own + put_off.context("the kernel thread's time is no number")?)
    }
}

/// Nanoseconds of CPU time that the threads of a process have spent.
pub(crate) fn of_process(process: u32) -> Result<u64> {
    let spent = |thread: PathBuf| {
        let text = fs::read_to_string(thread.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    // A thread may end meanwhile.
    Ok(threads(process)?.filter_map(spent).sum())
}

/// The folders in /proc of a process's threads.
fn threads(process: u32) -> Result<impl Iterator<Item = PathBuf>> {
    let path = format!("/proc/{process}/task");
    let threads = fs::read_dir(&path).with_context(|| format!("list {path}"))?;
    Ok(threads.flatten().map(|thread| thread.path()))
}

/// Milliseconds of CPU time that those programs have spent that this one has started and that have
/// ended, in steps of ten.
pub(crate) fn of_children() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("read this process's state")?;
    of_children_in(&text).context("this process's state does not say what its children spent")
}

fn of_children_in(stat: &str) -> Option<f64> {
    /// Of the kernel's unit for what it tells programs, on all that Rust knows.
    const MILLISECONDS: f64 = 10.0;
    // The second field, a name in parentheses, may have anything in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(13).map(|field| field.parse::<u64>().ok());
    let (user, system) = (times.next()??, times.next()??);
    Some((user + system) as f64 * MILLISECONDS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_children_spent_is_read_whatever_the_program_is_called() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 30 4 20 0 1 0 99";
        assert_eq!(of_children_in(stat), Some(340.0));
        assert_eq!(of_children_in("7 (a) S 1"), None);
        assert!(of_children().is_ok());
    }

    #[test]
    fn this_process_has_spent_something() {
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(20) {}
        assert!(of_process(std::process::id()).unwrap() > 1_000_000);
    }
}
