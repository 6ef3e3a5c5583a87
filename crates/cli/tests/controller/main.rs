//! The program against a real controller on a local socket, with its store in memory: what it
//! prints and how it ends. No root needed.

#![expect(clippy::unwrap_used, reason = "tests")]

mod backup;
mod commands;
mod examples;
mod refusals;
mod world;
