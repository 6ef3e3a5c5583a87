//! The packet's journey as pure functions.
//!
//! Every function of Mizar's network on a packet is here: [`depart`](depart::depart) for a frame
//! that a guest sends, [`wire_in`](wire_in::wire_in) for one that the NIC receives, and behind it
//! the three roles a host can have for a packet: [`arrive`], [`bounce`] and [`divide`].
//!
//! ```text
//!  guest ──► depart ──────────────────────────────────────► arrive ──► guest
//!              │  local? deliver here, nothing leaves the host  ▲
//!              │  learned? straight to the owner                │
//!              ├──► bounce (own network, slot of dst) ──────────┤
//!              └──► divide (other network) ──► bounce ──────────┘
//! ```
//!
//! The functions are generic over two traits: a [`Frame`], the packet, and [`Tables`], what one
//! host knows. The kernel programs lend them a kernel frame and BPF maps; tests and `mizar trace`
//! lend them bytes and trees ([`memory`]). So there is one logic, and what the kernel does can be
//! compared with what user space does, byte for byte.
//!
//! What this crate refuses to do: it allocates nothing, loops only a fixed number of times, knows
//! no file, socket or clock (time is in the tables), and has no `unsafe`.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

#[macro_use]
pub mod wire;

mod address;
pub mod arrive;
pub mod bounce;
pub mod carried;
pub mod choose;
pub mod count;
pub mod depart;
pub mod divide;
mod flow;
mod frame;
pub mod function;
pub mod keys;
pub mod learn;
#[cfg(any(test, feature = "std"))]
pub mod memory;
mod mss;
pub mod programs;
mod siphash;
pub mod table;
pub mod tables;
pub mod upkeep;
mod verdict;
pub mod wire_in;

pub use address::Address;
pub use flow::Flow;
pub use frame::Frame;
pub use tables::Tables;
pub use verdict::{Case, Delivery, Reason, Referral, Verdict};
