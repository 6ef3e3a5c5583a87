//! What must hold of a cloud whatever happens in it: real hosts, agents and kernel programs, and
//! guests that speak TCP, UDP and whatever else they like.
//!
//! Every test owns a lab. It asserts what comes in the end, and what was counted on the way, never
//! how long it took. `MIZAR_TEST_FULL` adds the long ones.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod changes;
mod declared;
mod demo;
mod faults;
mod flood;
mod frames;
mod host_endpoints;
mod migrations;
mod outages;
mod pairs;
mod partitions;
mod paths;
mod place;
mod relay;
mod restored;
mod sizes;
mod strange;
mod sys;
mod tags;
mod told;
mod topology;
mod traffic;
mod upgrades;
mod watched;
mod world;
