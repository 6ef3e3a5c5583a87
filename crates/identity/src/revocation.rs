//! Certificates that are not believed any more, though they have not expired.
//!
//! What is revoked is somebody's identity up to a moment, not one certificate: whoever has stolen a
//! key may have had others issued by it. Certificates that are issued later are believed.

use crate::identity::Identity;
use crate::serve::Peer;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Until when the certificates of identities are revoked, in seconds since 1970. Clones are the
/// same list.
#[derive(Clone, Debug)]
pub struct Revocations(watch::Sender<BTreeMap<Identity, u64>>);

impl Revocations {
    /// These.
    pub fn new(revoked: impl IntoIterator<Item = (Identity, u64)>) -> Self {
        Self(watch::Sender::new(revoked.into_iter().collect()))
    }

    /// All certificates of somebody that were issued up to then are not believed from now on;
    /// connections that were opened with one end.
    pub fn revoke(&self, who: Identity, issued_until: u64) {
        self.0.send_modify(|revoked| {
            let until = revoked.entry(who).or_default();
            *until = issued_until.max(*until);
        });
    }

    /// Who is revoked, and until when issued.
    pub fn all(&self) -> Vec<(Identity, u64)> {
        self.0.borrow().iter().map(|(who, until)| (who.clone(), *until)).collect()
    }

    /// Whether what a peer has shown is not believed.
    pub fn is_revoked(&self, peer: &Peer) -> bool {
        covers(&self.0.borrow(), peer)
    }

    /// Comes once what a peer has shown is revoked.
    pub(crate) async fn revoked(&self, peer: &Peer) {
        let mut list = self.0.subscribe();
        // The sender is here, so it does not go.
        let _ = list.wait_for(|list| covers(list, peer)).await;
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new([])
    }
}

fn covers(revoked: &BTreeMap<Identity, u64>, peer: &Peer) -> bool {
    let until = peer.identity.as_ref().and_then(|who| revoked.get(who));
    let (Some(until), Some(issued)) = (until, peer.issued) else { return false };
    issued <= UNIX_EPOCH + Duration::from_secs(*until)
}

/// Now, as revocations have it.
pub fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::PeerAddress;

    fn peer(who: &str, issued: Option<u64>) -> Peer {
        Peer {
            identity: Some(who.parse().unwrap()),
            address: PeerAddress::Unix { uid: 0, pid: None },
            fingerprint: None,
            issued: issued.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            expires: None,
        }
    }

    #[tokio::test]
    async fn what_was_issued_up_to_then_is_revoked_and_nothing_else() {
        let list = Revocations::default();
        let waiting = tokio::spawn({
            let list = list.clone();
            async move { list.revoked(&peer("host/h1", Some(100))).await }
        });
        tokio::task::yield_now().await;
        list.revoke("host/h1".parse().unwrap(), 100);
        list.revoke("host/h1".parse().unwrap(), 50);
        waiting.await.unwrap();
        assert!(list.is_revoked(&peer("host/h1", Some(7))));
        assert!(!list.is_revoked(&peer("host/h1", Some(101))), "it was issued anew");
        assert!(!list.is_revoked(&peer("host/h2", Some(7))));
        assert!(!list.is_revoked(&peer("host/h1", None)), "the local socket shows no certificate");
    }
}
