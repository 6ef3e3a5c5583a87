//! The whole journey on a small fleet: scenarios, properties, and the fuzzers' corpus.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking too")]

mod answers;
mod common;
mod control;
mod corpus;
mod dhcp;
mod errors;
#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz targets, which are a crate of their own")]
mod fuzz;
mod guests;
mod healing;
mod history;
mod learning;
mod left;
mod properties;
mod rewrites;
mod tags;
mod underlay;
mod ways;
