//! The packet's journey as pure functions.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]
mod address;
pub mod tables;
pub use address::Address;
/// Counters.
pub mod count {
    /// What is counted for each VPC.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Counter {}
}
