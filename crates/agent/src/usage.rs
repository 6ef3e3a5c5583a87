//! How full the tables are.

use crate::hosts::Hosts;
use crate::kernel::{Maps, TableError};
use mizar_proto::Usage;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what would take a look at a whole table.
///
/// Rows that are written anew count once more; whoever looks at the table anyway, at least once a
/// minute, sets the count right.
#[derive(Debug, Default)]
pub(crate) struct Used {
    endpoints: AtomicUsize,
}

impl Used {
    /// So many rows were found in the table of endpoints.
    pub(crate) fn set_endpoints(&self, count: usize) {
        self.endpoints.store(count, Ordering::Relaxed);
    }

    /// So many rows were written.
    pub(crate) fn add_endpoints(&self, count: usize) {
        self.endpoints.fetch_add(count, Ordering::Relaxed);
    }

    /// A row was removed.
    pub(crate) fn remove_endpoint(&self) {
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = self.endpoints.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// The table of endpoints.
    pub(crate) fn endpoints(&self, maps: &Maps) -> Usage {
        usage(self.endpoints.load(Ordering::Relaxed), maps.endpoints.capacity())
    }
}

/// The table of learned locations.
pub(crate) fn learned(maps: &Maps) -> Result<Usage, TableError> {
    let counts = maps.learned_count.rows()?;
    let sum: u64 = counts.iter().map(|(_, count)| *count).sum();
    Ok(usage(usize::try_from(sum).unwrap_or(usize::MAX), maps.learned.capacity()))
}

/// The table of other hosts.
pub(crate) fn hosts(maps: &Maps, hosts: &Hosts) -> Usage {
    usage(hosts.others().len(), maps.hosts.capacity())
}

/// So many rows, of as many as there may be.
pub(crate) fn usage(used: usize, capacity: u32) -> Usage {
    let used = u32::try_from(used).unwrap_or(u32::MAX).min(capacity);
    Usage { used, capacity }
}
