//! `cargo xtask kernels`: the kernels of a distribution, in virtual machines.
//!
//! What is tried is in `init.sh`, which is all that a machine runs: the programs are loaded, an
//! agent's tests and the lab's demo run on one machine, and then two machines talk to each other
//! through a NIC that is no veth. Nothing is installed: kernels and QEMU are unpacked beneath the
//! target folder.

mod debian;
mod image;
mod machine;
mod record;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::setup;
use debian::Debian;
use machine::{Clock, Machine};
use record::Record;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// The kernels to try, as in 6.12; all when none is named
    kernels: Vec<String>,
    /// Writes down what the programs take in each kernel, in place of what was written down before
    #[arg(long)]
    record: bool,
}

/// A kernel that Debian has.
struct Kernel {
    /// The first two numbers of its release.
    series: &'static str,
    /// Debian's suite that has it.
    suite: &'static str,
}

const KERNELS: [Kernel; 2] = [
    Kernel { series: "6.1", suite: "bookworm-security" },
    Kernel { series: "6.12", suite: "bookworm-backports" },
];

/// How long a machine may take in all that it tries: some minutes of a processor's time, which it
/// may have to share.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Why kernels cannot be tried on this machine, if they cannot.
pub(crate) fn obstacle() -> Option<&'static str> {
    let has_none = !Debian::is_possible();
    has_none.then_some("they are Debian's, for x86-64, and come by its apt-get and its keys")
}

/// Tries everything in all kernels that are wanted, and says of each whether it works.
///
/// # Errors
/// When something does not work, or cannot be tried.
pub(crate) fn run(options: &Options) -> Result<()> {
    for name in &options.kernels {
        let known = KERNELS.map(|kernel| kernel.series);
        ensure!(known.contains(&&**name), "kernel {name:?} is unknown: use {}", known.join(", "));
    }
    if let Some(obstacle) = obstacle() {
        bail!("kernels cannot be tried here: {obstacle}");
    }
    setup::everything()?;
    let programs = image::Programs::build()?;
    let debian = Debian::prepare()?;
    let mut record = Record::read()?;
    let mut failed = Vec::new();
    let is_wanted = |kernel: &&Kernel| {
        options.kernels.is_empty() || options.kernels.iter().any(|name| name == kernel.series)
    };
    for kernel in KERNELS.iter().filter(is_wanted) {
        let unpacked = debian.kernel(kernel.series, kernel.suite)?;
        let initramfs = programs.image(&debian, &unpacked)?;
        let mut attempt = Attempt { kernel, failed: &mut failed, steps: BTreeMap::new() };
        attempt.on_one_machine(&debian, &unpacked, &initramfs)?;
        attempt.on_two_machines(&debian, &unpacked, &initramfs)?;
        record.set(kernel.series, attempt.steps);
    }
    if options.record {
        record.write()?;
    } else if let Err(error) = record.check() {
        println!("FAILED {error:#}");
        failed.push("record".to_owned());
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// What is tried in one kernel.
struct Attempt<'a> {
    kernel: &'a Kernel,
    /// What has failed until now, in any kernel.
    failed: &'a mut Vec<String>,
    /// What the verifier went through for each program, and the bytes of its stack.
    steps: BTreeMap<String, (u32, u32)>,
}

impl Attempt<'_> {
    fn on_one_machine(
        &mut self,
        debian: &Debian,
        kernel: &debian::Unpacked,
        initramfs: &Path,
    ) -> Result<()> {
        let mut machine = Machine::start(debian, kernel, initramfs, "one", Clock::OfWork)?;
        self.follow(&mut machine)
    }

    /// Two machines, joined by a cable between their virtio NICs. The first one looks at both; what
    /// the second one says is of interest if the first one finds something wrong.
    fn on_two_machines(
        &mut self,
        debian: &Debian,
        kernel: &debian::Unpacked,
        initramfs: &Path,
    ) -> Result<()> {
        let cable = image::folder()?.join(format!("{}.cable", kernel.release));
        let _ = std::fs::remove_file(&cable);
        let start = |script| {
            let clock = Clock::OfTheWorld { cable: &cable };
            Machine::start(debian, kernel, initramfs, script, clock)
        };
        let (mut first, second) = (start("first")?, start("second")?);
        let before = self.failed.len();
        let followed = self.follow(&mut first);
        if followed.is_err() || self.failed.len() > before {
            for line in second.said() {
                println!("      of the second one: {line}");
            }
        }
        followed
    }

    /// Says what a machine says, until its end.
    fn follow(&mut self, machine: &mut Machine) -> Result<()> {
        let mut log = Vec::new();
        loop {
            let line = machine.line().with_context(|| {
                format!("kernel {}: what it said:\n{}", self.kernel.series, log.join("\n"))
            })?;
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "@ok" => println!("{:>5} ok      {rest}", self.kernel.series),
                "@failed" => {
                    println!("{:>5} FAILED  {rest}", self.kernel.series);
                    self.failed.push(format!("{} {rest}", self.kernel.series));
                }
                "@program" => {
                    let (name, figures) = record::figures(rest)?;
                    self.steps.insert(name, figures);
                }
                "@end" => return Ok(()),
                // Why something failed.
                "@because" => println!("      {rest}"),
                _ => log.push(line),
            }
        }
    }
}
