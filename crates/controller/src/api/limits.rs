//! How much of the API each peer uses.

use super::problem::{Problem, ProblemKind};
use mizar_identity::Identity;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What all peers use at the moment.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<BTreeMap<(Option<Identity>, Use), usize>>);

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// A request that is being answered.
    Request,
    /// A watch.
    Watch,
    /// A backup that is taken.
    Backup,
    /// A look into hosts' tables.
    Look,
}

/// Uses something until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    usage: Arc<Usage>,
    key: (Option<Identity>, Use),
}

impl Usage {
    /// Lets a peer use one more; strangers are one peer.
    ///
    /// # Errors
    /// It uses as many as it may.
    pub(super) fn admit(
        self: &Arc<Self>,
        who: Option<&Identity>,
        what: Use,
        most: usize,
    ) -> Result<Permit, Problem> {
        let key = (who.cloned(), what);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(key.clone()).or_default();
        if *used >= most {
            let what = match what {
                Use::Request => "requests are being answered",
                Use::Watch => "watches are open",
                Use::Backup => "backups are being taken",
                Use::Look => "looks into hosts' tables are being answered",
            };
            let who = who.map_or("strangers".to_owned(), ToString::to_string);
            let detail = format!(
                "{used} {what} for {who}, and there may be at most {most}: try again later"
            );
            return Err(Problem::new(ProblemKind::Limit, detail));
        }
        *used += 1;
        Ok(Permit { usage: Arc::clone(self), key })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut all = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = all.get_mut(&self.key) {
            *used -= 1;
            if *used == 0 {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_limits_of_its_own_and_gets_back_what_it_gives_back() {
        let usage = Arc::new(Usage::default());
        let admit = |who: &str| usage.admit(Some(&who.parse().unwrap()), Use::Watch, 1);
        let first = admit("operator/alice").unwrap();
        let refused = admit("operator/alice").unwrap_err();
        assert!(refused.detail.starts_with("1 watches are open for operator/alice"), "{refused}");
        let _other = admit("operator/bob").unwrap();
        drop(first);
        drop(admit("operator/alice").unwrap());
        assert_eq!(usage.0.lock().unwrap().len(), 1);
    }
}
