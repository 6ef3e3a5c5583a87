//! The program and a real lab: what it says is what is, and what it shows is what happens.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod commands;
mod metrics;
mod trace;
mod world;
