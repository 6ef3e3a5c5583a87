//! Where the controller keeps what was asked for.
//!
//! A [`Store`] holds values under keys. It knows bytes only, nothing of what they mean. What makes
//! it more than a map:
//!
//! - Everything that happens to it has a [`Revision`], one of a single history. A value has the
//!   revision of its last write.
//! - A [`Transaction`] says what must be so, and what is done then. Two who decide from the same
//!   state cannot both be right: the second has a [`Conflict`]. Many transactions go to the disk
//!   together.
//! - A [`Watch`] tells what changes, in order, without gaps, or says that it cannot.
//! - What was acknowledged is there after a crash, and nothing half.
//! - A [`Backup`] is of one point in time; [`restore`] makes it a store again, in another epoch.
//!
//! There are two: [`Redb`] keeps one file, [`Memory`] is for simulators and tests. The module
//! `testing`, behind the feature of that name, has the tests that any store must pass.
//!
//! ```text
//! transactions ──► apply ──► rows: a redb table, or a map ──► flush ──► history ──► watches
//!                 one function for both                                one ring for all
//! ```
//!
//! This crate refuses to interpret values, to keep history on disk (after a restart it begins
//! anew), and to run threads or tasks: it is called, and returns when it is done.

#![forbid(unsafe_code)]

mod apply;
mod backup;
mod error;
mod file;
mod history;
mod memory;
mod revision;
mod store;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "they are tests, though they may be called from elsewhere")]
pub mod testing;
mod transaction;
mod watch;

pub use backup::{Backup, BackupError};
pub use error::StoreError;
pub use file::{BackupFile, Options, Redb, restore};
pub use history::HistoryLimits;
pub use memory::Memory;
pub use revision::{Revision, RevisionError};
pub use store::{Entry, Page, Store, Visit};
pub use transaction::{Conflict, Requirement, Transaction, Write};
pub use watch::{Change, Watch, WatchEnd};

/// A key for people: text with escapes.
fn text(key: &[u8]) -> String {
    format!("key \"{}\"", key.escape_ascii())
}
