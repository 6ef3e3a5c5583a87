//! The control plane of a fleet: what is asked for, kept and told to the hosts.
//!
//! ```text
//!  API ──► engine ──► store          one thread owns all state; nothing leaves it before the
//!            │  ▲                    store has it on disk
//!            ▼  │ acks, beats
//!          streams ──► agents
//! ```

#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod engine;
