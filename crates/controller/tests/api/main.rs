//! The REST API over the real engine with a store in memory: what it does, and what it refuses.

#![expect(clippy::unwrap_used, reason = "tests")]

mod abuse;
mod backup;
mod conditions;
mod documents;
mod resources;
mod roles;
mod watches;
mod world;
