//! The control plane of a fleet: what is asked for, kept and told to the hosts.
//!
//! ```text
//!  API ──► engine ──► store          one thread owns all state; nothing leaves it before the
//!            │  ▲                    store has it on disk
//!            ▼  │ acks, beats
//!          streams ──► agents
//! ```

#![forbid(unsafe_code)]

mod access;
pub mod api;
pub mod client;
pub mod core;
mod cursor;
mod desk;
mod digests;
pub mod engine;
mod gate;
mod keyring;
mod load;
mod marks;
mod metrics;
mod office;
mod planner;
mod records;
mod refusal;
mod restore;
mod roles;
mod serve;
mod stream;
mod time;
mod timings;
mod watchers;

pub use core::CoreError;
pub use office::Office;
pub use restore::{Kept, Restore, RestoreError, Restored, restore};
pub use serve::{Options, RunError, Secure, SecureError, run, service};
