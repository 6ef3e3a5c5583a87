//! A guest's frames: each run is a test run of its own, timed by the kernel's statistics.

use super::traffic::{self, Way};
use super::world::World;
use crate::assembly::Assembly;
use crate::sys::{self, Kind};
use anyhow::{Context, Result, ensure};
use aya::sys::{Stats, enable_stats};
use mizar_packet::programs::TRAMPOLINE;
use std::os::fd::{AsFd, BorrowedFd};

/// Packets of one round.
const RUNS: u32 = 20_000;

/// Nanoseconds for each packet: with the programs, and with an empty one.
pub(super) fn rounds(world: &World, way: Way, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let program = world.program(TRAMPOLINE)?;
    let nothing = sys::load(Kind::Classifier, &empty()).context("load the empty program")?;
    let mut frames = Frames::new(way, world.flows)?;
    let _counting = enable_stats(Stats::RunTime).context("have the kernel time programs")?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..=count {
        let path = way.path().context("a guest's frame that is not counted")?;
        let before = world.counted(way.vni(), path)?;
        let taken = time(program.as_fd(), &mut frames, way.code())?;
        let after = world.counted(way.vni(), path)?;
        ensure!(after - before == u64::from(RUNS), "{} of {RUNS} packets: {way:?}", after - before);
        let nothing = time(nothing.as_fd(), &mut frames, TC_SHOT as u32)?;
        // The first round warms caches up.
        if round > 0 {
            with.push(taken);
            without.push(nothing);
        }
    }
    Ok((with, without))
}

/// The frame, for one flow after the other: in one place, as in [`super::wrapper`].
struct Frames {
    bytes: Vec<u8>,
    /// Where its destination address ends with the flow.
    at: usize,
    flow: u32,
    flows: u32,
}

impl Frames {
    fn new(way: Way, flows: u32) -> Result<Self> {
        let at = way.destination().context("a guest's frame without a destination")? + 2;
        Ok(Self { bytes: traffic::frame(way, 0), at, flow: 0, flows })
    }

    fn next(&mut self) -> &[u8] {
        self.flow = self.flow.wrapping_add(40_503) & (self.flows - 1);
        self.bytes[self.at..self.at + 2].copy_from_slice(&(self.flow as u16).to_be_bytes());
        &self.bytes
    }
}

fn time(program: BorrowedFd<'_>, frames: &mut Frames, code: u32) -> Result<f64> {
    let (time_before, count_before) = sys::run_time(program)?;
    for _ in 0..RUNS {
        let ran = sys::run(program, Kind::Classifier, frames.next(), 0, 1);
        let ran = ran.context("run a program")?;
        ensure!(ran.code == code, "a guest's frame ends with {}", ran.code);
    }
    let (time, count) = sys::run_time(program)?;
    Ok((time - time_before) as f64 / (count - count_before) as f64)
}

const TC_SHOT: i32 = 2;

fn empty() -> Vec<u64> {
    let mut program = Assembly::default();
    program.exit(TC_SHOT);
    program.finish()
}
