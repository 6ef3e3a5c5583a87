//! Decides which hosts hold which slots, and which hosts divide.
//!
//! ```text
//! needs, fleet ──members──► who shall hold slots ──balance──► who shall hold each ──slots──► next
//!                           sticky, by zone, keyed            by weight, few moves          step
//! ```

use crate::{Name, Replicas, SlotMap};
use thiserror::Error;

mod balance;
mod dividers;
mod members;
mod network;
mod slots;
#[cfg(test)]
mod tests;

pub use dividers::{DividerStep, assign_dividers};
pub use network::assign_network;

/// Which hosts a network's slots, or a VPC's dividers, shall be on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bouncers {
    /// As many as the endpoints and the load ask for, wherever they fit.
    #[default]
    Auto,
    /// So many, wherever they fit.
    Count(u16),
    /// These.
    Hosts(Vec<Name>),
}

/// What one network asks of its bouncers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Spreads networks over hosts: no two networks of the fleet should have the same. It never
    /// changes.
    pub key: u64,
    /// How many hosts hold each slot.
    pub replicas: Replicas,
    /// Which hosts.
    pub bouncers: Bouncers,
    /// Addresses of its endpoints.
    pub rows: u64,
    /// Packets that all its bouncers forward in a second.
    pub packets_per_second: u64,
}

/// What one host bears for one network before the network gets more hosts. It gives them back once
/// fewer would do even if hosts bore only half as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of addresses.
    pub rows_per_holder: u64,
    /// Packets forwarded in a second.
    pub packets_per_holder: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // A quarter of a host's held rows; a tenth of what one of its cores forwards in the driver.
        Self { rows_per_holder: 65_536, packets_per_holder: 200_000 }
    }
}

/// How far the hosts are with one network's slot map.
pub trait Progress {
    /// The highest epoch of the map whose rows the host has acknowledged, all of them; 0 if none,
    /// or if it has lost them since.
    fn synced(&self, host: &Name) -> u64;

    /// The highest epoch that every host has acknowledged that is told of the network's holders and
    /// can be reached: hosts with endpoints in the network, keepers of its slots, dividers.
    fn told(&self) -> u64;

    /// Whether hosts that are told of the network's holders cannot be reached. They may send by an
    /// older map for as long as that lasts.
    fn has_unreachable(&self) -> bool {
        false
    }

    /// Whether hosts that cannot be reached have been waited for long enough, since the map's
    /// present epoch.
    fn waited(&self) -> bool;
}

/// What to do with a slot map.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing, until something else changes.
    Keep,
    /// Store this one, of the next epoch, and tell the hosts.
    Change(SlotMap),
    /// Nothing can be done.
    Stuck(Stuck),
}

/// Why nothing can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stuck {
    /// Nobody takes slots.
    #[error(
        "no host is there to take it: at least one that is asked for must be alive, not cordoned, \
         and of a weight above 0"
    )]
    NoHost,
}
