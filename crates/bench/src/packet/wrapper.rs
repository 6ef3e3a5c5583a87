//! Frames from the wire: restored in the kernel before each run of `wire_xdp`.
//!
//! A test run with `repeat` gives every round what the last one left. So it runs this:
//!
//! ```text
//! undo what unwrapping did: adjust_meta(+8), adjust_head(-50)       only for the way `unwrap`
//! copy the first 128 bytes of the frame from a map
//! write the number of the next flow into the inner destination address
//! tail_call(the program)
//! ```
//!
//! A NIC's frames come in memory that is used again and again, so the frames here take no more of
//! the cache, however many flows there are: what the flows cost is what the tables take.
//!
//! The same with an empty program is what restoring costs, and is subtracted. Where the frame's
//! length changes, the empty program has to change it too, which then would be missing from the
//! program's own cost; so half of what one more undoing and redoing takes is left to it.

use super::traffic::{self, Way};
use super::world::World;
use crate::assembly::{Assembly, Helper, Instruction, R};
use crate::sys::{self, Kind};
use anyhow::{Context, Result, ensure};
use mizar_packet::programs::{Tag, WIRE_XDP};
use mizar_packet::wire::geneve::Outer;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes that are restored: no program changes any beyond.
const HEADERS: usize = 128;
/// Packets of one round.
const REPEAT: u32 = 500_000;
const XDP_DROP: i32 = 1;
/// What the wrapper returns if it cannot do its work.
const FAILED: i32 = 77;

/// Nanoseconds for each packet: with the program, and without it.
pub(super) fn rounds(world: &World, way: Way, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let program = world.program(WIRE_XDP)?;
    let product = Wrapper::new(world, way, program.as_fd(), 1)?;
    let nothing = sys::load(Kind::Xdp, &empty(way)).context("load the empty program")?;
    let empty = Wrapper::new(world, way, nothing.as_fd(), 1)?;
    let twice = Wrapper::new(world, way, nothing.as_fd(), 2)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..=count {
        let before = way.path().map_or(Ok(0), |path| world.counted(way.vni(), path))?;
        let ran = product.run()?;
        let after = way.path().map_or(Ok(0), |path| world.counted(way.vni(), path))?;
        ensure!(ran.code == way.code(), "{way:?} ends with {} in XDP", ran.code);
        let right = if way.path().is_some() { u64::from(REPEAT) } else { 0 };
        ensure!(after - before == right, "{} of {REPEAT} packets: {way:?}", after - before);
        let once = f64::from(empty.run()?.nanoseconds);
        let pair = match way {
            Way::Unwrap => f64::from(twice.run()?.nanoseconds) - once,
            _ => 0.0,
        };
        // The first round warms caches up.
        if round > 0 {
            with.push(f64::from(ran.nanoseconds));
            without.push(once - pair / 2.0);
        }
    }
    Ok((with, without))
}

/// The wrapper around one program.
struct Wrapper {
    program: OwnedFd,
    way: Way,
    /// The frame as the program leaves it, which is where every round begins.
    frame: Vec<u8>,
    // A tail call goes nowhere once the array's last descriptor is closed.
    _slot: OwnedFd,
}

impl Wrapper {
    fn new(world: &World, way: Way, program: BorrowedFd<'_>, undo: usize) -> Result<Self> {
        let mut state = vec![0; size_of::<u64>()];
        state.extend(&traffic::frame(way, 0)[..HEADERS]);
        let map =
            sys::create_map(sys::ARRAY, state.len(), 1).context("create the map of frames")?;
        sys::set_row(&map, 0, &state).context("fill the map of frames")?;
        let slot = sys::create_map(sys::PROGRAM_ARRAY, 4, 1).context("create the slot")?;
        let number = program.as_raw_fd() as u32;
        sys::set_row(&slot, 0, &number.to_ne_bytes()).context("fill the slot")?;
        let wrapper = assemble(way, undo, map.as_raw_fd(), slot.as_raw_fd(), world.flows);
        let program = sys::load(Kind::Xdp, &wrapper).context("load the wrapper")?;
        let mut frame = traffic::frame(way, 0);
        if way == Way::Unwrap {
            frame.drain(..Outer::LEN);
            frame.splice(..0, [0; size_of::<Tag>()]);
        }
        Ok(Self { program, way, frame, _slot: slot })
    }

    fn run(&self) -> Result<sys::Ran> {
        let metadata = if self.way == Way::Unwrap { size_of::<Tag>() as u32 } else { 0 };
        let ran = sys::run(self.program.as_fd(), Kind::Xdp, &self.frame, metadata, REPEAT);
        let ran = ran.context("run the wrapper")?;
        ensure!(ran.code != FAILED as u32, "the wrapper could not restore a frame");
        Ok(ran)
    }
}

/// Neighbours in time are no neighbours in tables: each round's flow is as many after the last one.
const STRIDE: i32 = 40_503;

fn assemble(way: Way, undo: usize, state: i32, slot: i32, flows: u32) -> Vec<Instruction> {
    let mut program = Assembly::default();
    program.copy(R(6), R(1));
    if way == Way::Unwrap {
        for number in 0..undo {
            if number > 0 {
                unwrap(&mut program);
            }
            adjust(&mut program, Helper::XdpAdjustMeta, size_of::<Tag>() as i32);
            adjust(&mut program, Helper::XdpAdjustHead, -(Outer::LEN as i32));
        }
    }
    program.row_of(R(7), state);
    program.load(R(8), R(7), 0);
    program.copy(R(9), R(8));
    program.add(R(9), 1);
    program.store(R(7), 0, R(9));
    program.multiply(R(8), STRIDE);
    program.and(R(8), flows as i32 - 1);
    program.network_order_16(R(8));
    let copies = HEADERS / 8;
    let flow = way.destination();
    let call = 5 + usize::from(flow.is_some());
    program.packet(R(6), HEADERS as i32, (2 * copies + call) as i16);
    for word in 0..copies {
        let at = (word * 8) as i16;
        program.load(R(1), R(7), size_of::<u64>() as i16 + at);
        program.store(R(2), at, R(1));
    }
    if let Some(at) = flow {
        program.store_16(R(2), at as i16 + 2, R(8));
    }
    program.copy(R(1), R(6));
    program.map(R(2), slot);
    program.set(R(3), 0);
    program.call(Helper::TailCall);
    program.exit(FAILED);
    program.finish()
}

/// A program that does nothing, but to leave the frame as long as the measured one does.
fn empty(way: Way) -> Vec<Instruction> {
    let mut program = Assembly::default();
    if way == Way::Unwrap {
        program.copy(R(6), R(1));
        unwrap(&mut program);
    }
    program.exit(XDP_DROP);
    program.finish()
}

/// What the kernel does to a frame that is unwrapped and tagged.
fn unwrap(program: &mut Assembly) {
    adjust(program, Helper::XdpAdjustHead, Outer::LEN as i32);
    adjust(program, Helper::XdpAdjustMeta, -(size_of::<Tag>() as i32));
}

fn adjust(program: &mut Assembly, helper: Helper, by: i32) {
    program.copy(R(1), R(6));
    program.set(R(2), by);
    program.call(helper);
}

#[cfg(test)]
mod tests {
    use super::super::MANY;
    use super::*;

    #[test]
    fn no_flow_is_left_out() {
        let of = |round: u32| round.wrapping_mul(STRIDE.cast_unsigned()) & (MANY - 1);
        let mut flows: Vec<_> = (0..MANY).map(of).collect();
        flows.sort_unstable();
        assert!(flows.iter().copied().eq(0..MANY));
    }

    #[test]
    fn a_flow_is_in_two_bytes_of_the_frame() {
        for way in [Way::Bounce, Way::Divide, Way::Unwrap] {
            let at = way.destination().unwrap() + 2;
            let [one, other] = [0, 0x1234].map(|flow| traffic::frame(way, flow));
            assert_eq!((&one[at..at + 2], &other[at..at + 2]), (&[0, 0][..], &[0x12, 0x34][..]));
            assert!(at + 2 <= HEADERS);
        }
    }
}
