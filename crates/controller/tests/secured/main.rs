//! A controller over TLS, on a Unix socket in a folder of the test's own: who may what, how hosts
//! get in, and what is on record of it. No root needed.

#![expect(clippy::unwrap_used, reason = "tests")]

mod enrol;
mod record;
mod revoke;
mod roles;
mod world;
