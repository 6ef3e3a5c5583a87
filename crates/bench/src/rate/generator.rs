//! Frames that the kernel makes as fast as it can, and sends into a NIC.
//!
//! The kernel's test run has a mode that sends frames in earnest. An XDP program gives each of them
//! its headers and the next flow's destination, and has it leave by an interface: out of the far
//! end of a host's NIC, into the NIC. What the host sends back comes to the far end again, where
//! another program drops it. All of it happens on one CPU.

use crate::assembly::{Assembly, Instruction, R};
use crate::namespace::Namespace;
use crate::path::{attach_xdp, index};
use crate::sys::{self, Kind};
use anyhow::{Context, Result, ensure};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Bytes of a frame that are written anew: its headers are in them.
const HEADERS: usize = 128;
/// Flows of one turn; fewer are repeated.
const FLOWS: usize = 65_536;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const XDP_TX: i32 = 3;

/// Frames that all look like one, but for four bytes: the flow's destination.
pub(super) struct Pattern<'a> {
    pub(super) frame: &'a [u8],
    /// Where those bytes are.
    pub(super) at: usize,
    /// What they are, for one flow after the other.
    pub(super) flows: &'a [[u8; 4]],
}

/// What sends frames out of an interface.
pub(super) struct Generator {
    program: OwnedFd,
    frame: Vec<u8>,
    interface: u32,
    // It is in the program.
    _state: OwnedFd,
}

impl Generator {
    /// Of a pattern, out of an interface of a namespace, which has [`sink`].
    pub(super) fn new(at: &Namespace, interface: &str, pattern: &Pattern<'_>) -> Result<Self> {
        let Pattern { frame, at: destination, flows } = *pattern;
        ensure!(frame.len() >= HEADERS && destination + 4 <= HEADERS, "a frame is too short");
        let mut state = vec![0; size_of::<u64>()];
        state.extend(&frame[..HEADERS]);
        for number in 0..FLOWS {
            state.extend(flows[number % flows.len()]);
        }
        let map = sys::create_map(sys::ARRAY, state.len(), 1).context("create the map of flows")?;
        sys::set_row(&map, 0, &state).context("fill the map of flows")?;
        let program = sys::load(Kind::Xdp, &assemble(map.as_raw_fd(), destination as i16))
            .context("load the generator")?;
        let interface = at.inside(|| index(interface))?;
        Ok(Self { program, frame: frame.to_vec(), interface, _state: map })
    }

    /// Sends so many frames; the calling thread must be in the namespace of the interface.
    pub(super) fn send(&self, count: u32) -> Result<()> {
        sys::send(self.program.as_fd(), &self.frame, self.interface, count)
            .context("have the kernel send frames")
    }
}

/// Drops every IPv4 packet that comes to an interface, for as long as the result lives.
pub(super) fn sink(at: &Namespace, interface: &str) -> Result<OwnedFd> {
    const ETHERNET: i32 = 14;
    /// Of the type, as it is in memory.
    const IPV4: i32 = 0x0008;
    let mut program = Assembly::default();
    program.packet(R(1), ETHERNET, 4);
    program.load_16(R(5), R(2), 12);
    program.skip_unless(R(5), IPV4, 2);
    program.exit(XDP_DROP);
    program.exit(XDP_PASS);
    hang(at, interface, &program.finish())
}

/// Sends every frame that comes to an interface back as it is.
pub(super) fn hairpin(at: &Namespace, interface: &str) -> Result<OwnedFd> {
    let mut program = Assembly::default();
    program.exit(XDP_TX);
    hang(at, interface, &program.finish())
}

fn hang(at: &Namespace, interface: &str, program: &[Instruction]) -> Result<OwnedFd> {
    let program = sys::load(Kind::Xdp, program).context("load an XDP program")?;
    attach_xdp(at, interface, &program)
}

/// The state is a counter, the headers, and the flows.
fn assemble(state: i32, destination: i16) -> Vec<Instruction> {
    const HEADERS_AT: i16 = size_of::<u64>() as i16;
    let copies = HEADERS / 8;
    let mut program = Assembly::default();
    // Beyond: the row, the copies, the flow, the end.
    program.packet(R(1), HEADERS as i32, (2 + 2 * copies + 11 + 2) as i16);
    program.row_of(R(7), state);
    for word in 0..copies {
        let at = (word * 8) as i16;
        program.load(R(1), R(7), HEADERS_AT + at);
        program.store(R(2), at, R(1));
    }
    program.load(R(8), R(7), 0);
    program.copy(R(9), R(8));
    program.add(R(9), 1);
    program.store(R(7), 0, R(9));
    program.and(R(8), FLOWS as i32 - 1);
    program.multiply(R(8), 4);
    program.add_register(R(7), R(8));
    program.load_word(R(8), R(7), HEADERS_AT + HEADERS as i16);
    program.store_16(R(2), destination, R(8));
    program.shift_right(R(8), 16);
    program.store_16(R(2), destination + 2, R(8));
    program.exit(XDP_TX);
    program.exit(XDP_DROP);
    program.finish()
}
