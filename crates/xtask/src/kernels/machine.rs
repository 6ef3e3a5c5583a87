//! A virtual machine, without the help of this one's processor: slow, but there is always one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::PATIENCE;
use super::debian::{Debian, Unpacked};

/// What a machine takes for time.
#[derive(Clone, Copy)]
pub(crate) enum Clock<'a> {
    /// So many of its own instructions: however slow this machine is, what waits in it does not
    /// give up too early, and what would only wait does not.
    OfWork,
    /// The world's, which it shares with another machine at the other end of a cable.
    OfTheWorld {
        /// The cable, a file.
        cable: &'a Path,
    },
}

/// A running machine, which ends with this value.
pub(crate) struct Machine {
    qemu: Child,
    lines: Receiver<String>,
    deadline: Instant,
}

impl Machine {
    /// Starts one that runs a part of `init.sh`.
    pub(crate) fn start(
        debian: &Debian,
        kernel: &Unpacked,
        initramfs: &Path,
        script: &str,
        clock: Clock<'_>,
    ) -> Result<Self> {
        let mut qemu = debian.qemu()?;
        qemu.args(["-M", "q35", "-cpu", "max", "-accel", "tcg", "-smp", "2", "-m", "2048"]);
        qemu.args(["-nodefaults", "-no-reboot", "-nographic", "-serial", "stdio"]);
        qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
        // What the kernel does not know it gives to init, as variables.
        let line = format!("console=ttyS0 quiet panic=-1 mitigations=off script={script}");
        qemu.args(["-append", &line]);
        match clock {
            Clock::OfWork => {
                qemu.args(["-icount", "shift=0,sleep=off"]);
            }
            Clock::OfTheWorld { cable } => {
                let is_first = script == "first";
                let (side, last) = if is_first { ("on", 1) } else { ("off,reconnect-ms=100", 2) };
                let path = cable.display();
                let cable =
                    format!("stream,id=cable,server={side},addr.type=unix,addr.path={path}");
                let nic =
                    format!("virtio-net-pci,netdev=cable,romfile=,mac=02:00:00:00:ff:0{last}");
                qemu.args(["-netdev", &cable, "-device", &nic]);
            }
        }
        let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut qemu = qemu.spawn().context("cannot start QEMU")?;
        let output = qemu.stdout.take().context("QEMU has no standard output")?;
        let (said, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line);
                // Nobody listens any more.
                if said.send(line.trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { qemu, lines, deadline: Instant::now() + PATIENCE })
    }

    /// The next line that it says.
    ///
    /// # Errors
    /// When it has ended without saying so, or takes too long.
    pub(crate) fn line(&mut self) -> Result<String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("it takes longer than {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine has ended early"),
        }
    }

    /// What it has said until now, of what nobody has listened to.
    pub(crate) fn said(&self) -> impl Iterator<Item = String> {
        self.lines.try_iter()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
