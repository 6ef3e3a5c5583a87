//! The rows of other hosts: which there are, and where frames to them go next.
//!
//! A host's row is made when anything refers to it first: a holder, a divider, an owner, or a
//! location learned by the kernel programs. It is freed in two steps once nothing has referred to
//! it for a while: first no look-up finds it any more, and only when a later look at all tables
//! still shows no reference does its row become free for another host.

use crate::indices::{Exhausted, Indices};
use crate::kernel::{Maps, TableError};
use mizar_packet::Address;
use mizar_packet::tables::{Host, HostIndex};
use mizar_vpc::{Name, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// How long a lowered MTU is believed.
const LOWERED: Duration = Duration::from_secs(600);
/// How long the controller is kept waiting for the next hops of new hosts.
const PATIENCE: Duration = Duration::from_millis(100);

/// All hosts that this one knows.
#[derive(Debug)]
pub(crate) struct Hosts {
    maps: Arc<Maps>,
    state: Mutex<State>,
    wanted: mpsc::UnboundedSender<IpAddr>,
    fresh: watch::Sender<Fresh>,
}

/// Hosts that the controller told of and whose next hops are not known yet.
#[derive(Debug)]
struct Fresh {
    hosts: BTreeSet<Address>,
    /// Since when there are any.
    since: Instant,
}

#[derive(Debug)]
struct State {
    indices: Indices<Address>,
    facts: BTreeMap<HostIndex, Facts>,
    /// Without references at the last look.
    retiring: BTreeSet<Address>,
    /// Where endpoints are about to move: no row of the tables refers to these hosts yet.
    targets: BTreeMap<(Vni, Name), Address>,
    own: Address,
    mtu: u16,
}

/// What the agent knows of a host beside its row.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// The MTU of the route to it.
    mtu: u16,
    /// Since when its row has a lower one.
    lowered: Option<Instant>,
}

/// Why a host has no row.
#[derive(Debug, Error)]
pub enum HostError {
    /// All rows are taken.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It is of a family that the kernel programs cannot put into outer headers.
    #[error("host {0} cannot be reached: the underlay is IPv4, so hosts have IPv4 addresses")]
    Family(IpAddr),
}

impl Hosts {
    /// Takes over the rows of the tables. `wanted` gets each address whose next hop is to be found.
    pub(crate) fn recover(
        maps: Arc<Maps>,
        own: Address,
        mtu: u16,
        wanted: mpsc::UnboundedSender<IpAddr>,
    ) -> Result<Self, TableError> {
        let rows: BTreeMap<u32, Host> = maps.hosts.rows()?.into_iter().collect();
        let known = maps.host_index.rows()?.into_iter().filter(|(address, index)| {
            // A start that was cut short may have left an entry without its row.
            rows.get(index).is_some_and(|row| row.address == *address)
        });
        let indices = Indices::recovered("host", maps.hosts.capacity(), known);
        let facts =
            indices.iter().map(|(_, index)| (index, Facts { mtu, lowered: None })).collect();
        for (address, _) in indices.iter().filter(|(address, _)| **address != own) {
            // Nobody listens only when the agent is stopping.
            let _ = wanted.send((*address).into());
        }
        let state =
            State { indices, facts, retiring: BTreeSet::new(), targets: BTreeMap::new(), own, mtu };
        let fresh = Fresh { hosts: BTreeSet::new(), since: Instant::now() };
        Ok(Self { maps, state: Mutex::new(state), wanted, fresh: watch::Sender::new(fresh) })
    }

    /// The row of a host that the controller tells of. [`Hosts::settled`] waits for its next hop.
    pub(crate) fn expect(&self, address: IpAddr) -> Result<HostIndex, HostError> {
        self.row(address, |key| {
            self.fresh.send_modify(|fresh| {
                if fresh.hosts.is_empty() {
                    fresh.since = Instant::now();
                }
                fresh.hosts.insert(key);
            });
        })
    }

    /// Keeps the row of the host that an endpoint is about to move to, so that what comes for the
    /// endpoint can be sent on from the moment on that it leaves. None: it is not about to move.
    pub(crate) fn keep_target(
        &self,
        endpoint: (Vni, Name),
        host: Option<IpAddr>,
    ) -> Result<(), HostError> {
        let Some(host) = host else {
            self.lock().targets.remove(&endpoint);
            return Ok(());
        };
        self.expect(host)?;
        self.lock().targets.insert(endpoint, host.into());
        Ok(())
    }

    /// The row of a host, which is made if there is none, and whose next hop is then looked for.
    pub(crate) fn ensure(&self, address: IpAddr) -> Result<HostIndex, HostError> {
        self.row(address, |_| {})
    }

    /// Waits until frames can be sent to every host that the controller told of, or until it is not
    /// worth waiting any longer.
    pub(crate) async fn settled(&self) {
        let mut fresh = self.fresh.subscribe();
        let until = fresh.borrow().since + PATIENCE;
        let settled = fresh.wait_for(|fresh| fresh.hosts.is_empty());
        if tokio::time::timeout_at(until.into(), settled).await.is_err() {
            self.fresh.send_modify(|fresh| fresh.hosts.clear());
        }
    }

    /// Whether the controller told of hosts that frames cannot be sent to yet.
    pub(crate) fn are_expected(&self) -> bool {
        !self.fresh.borrow().hosts.is_empty()
    }

    /// Whether that is one of them.
    pub(crate) fn is_expected(&self, address: IpAddr) -> bool {
        self.fresh.borrow().hosts.contains(&address.into())
    }

    /// Nobody need wait for a host any longer: its next hop is known, or there is none.
    pub(crate) fn settle(&self, address: IpAddr) {
        self.fresh.send_if_modified(|fresh| fresh.hosts.remove(&address.into()));
    }

    /// The row of a host; `made` hears of one that is made, before its next hop is looked for.
    fn row(&self, address: IpAddr, made: impl Fn(Address)) -> Result<HostIndex, HostError> {
        if address.is_ipv6() {
            return Err(HostError::Family(address));
        }
        let key = Address::from(address);
        let mut state = self.lock();
        if let Some(index) = state.indices.get(&key) {
            if state.retiring.remove(&key) {
                self.maps.host_index.put(&key, &index)?;
            }
            return Ok(index);
        }
        let index = state.indices.allocate(&key)?;
        let own = key == state.own;
        let row = Host {
            address: key,
            next_hop: [0; 6],
            mtu: state.mtu,
            used: 0,
            // This host needs no proof that it is alive.
            alive_until: if own { u64::MAX / 2 } else { 0 },
        };
        let written = self.maps.hosts.put(&index, &row);
        if let Err(error) = written.and_then(|()| self.maps.host_index.put(&key, &index)) {
            state.indices.release(&key);
            return Err(error.into());
        }
        let mtu = state.mtu;
        state.facts.insert(index, Facts { mtu, lowered: None });
        drop(state);
        if !own {
            made(key);
            let _ = self.wanted.send(address);
        }
        Ok(index)
    }

    /// This host's underlay address.
    pub(crate) fn own(&self) -> Address {
        self.lock().own
    }

    /// The row of a host that has one, with its index.
    pub(crate) fn find(&self, address: Address) -> Option<(HostIndex, Host)> {
        let index = self.lock().indices.get(&address)?;
        Some((index, self.maps.hosts.get(&index).ok().flatten()?))
    }

    /// The rows of all hosts, and of those that are gone among them.
    ///
    /// # Errors
    /// [`TableError`].
    pub(crate) fn rows(&self) -> Result<Vec<(HostIndex, Host)>, TableError> {
        let bound = self.lock().indices.bound();
        self.maps.hosts.first(bound as usize)
    }

    /// All hosts but this one, with their indices.
    pub(crate) fn others(&self) -> Vec<(IpAddr, HostIndex)> {
        let state = self.lock();
        let others = state.indices.iter().filter(|(address, _)| **address != state.own);
        others.map(|(address, index)| ((*address).into(), index)).collect()
    }

    /// Writes the next hop towards a host, and the MTU of the route unless the network told a lower
    /// one. The host's index if it was not resolved before.
    pub(crate) fn resolved(
        &self,
        address: IpAddr,
        next_hop: [u8; 6],
        mtu: u16,
    ) -> Result<Option<HostIndex>, TableError> {
        let mut state = self.lock();
        let Some(index) = state.indices.get(&address.into()) else { return Ok(None) };
        let Some(mut row) = self.maps.hosts.get(&index)? else { return Ok(None) };
        let facts = state.facts.entry(index).or_insert(Facts { mtu, lowered: None });
        let lowered = row.mtu < facts.mtu;
        facts.mtu = mtu;
        let wanted = if lowered { row.mtu.min(mtu) } else { mtu };
        if row.next_hop == next_hop && row.mtu == wanted {
            return Ok(None);
        }
        let news = !row.is_resolved();
        (row.next_hop, row.mtu) = (next_hop, wanted);
        self.maps.hosts.put(&index, &row)?;
        Ok(news.then_some(index))
    }

    /// Forgets an MTU that was lowered long ago: the way may have changed.
    pub(crate) fn restore_mtu(&self, now: Instant) -> Result<(), TableError> {
        let mut state = self.lock();
        for (index, facts) in &mut state.facts {
            let Some(mut row) = self.maps.hosts.get(index)? else { continue };
            if let Some(mtu) = facts.restored(row.mtu, now) {
                row.mtu = mtu;
                self.maps.hosts.put(index, &row)?;
            }
        }
        Ok(())
    }

    /// Frees hosts that nothing refers to, now and at the call before, and that were last used
    /// before then, in jiffies.
    pub(crate) fn retire(
        &self,
        referred: &BTreeSet<HostIndex>,
        used_before: u64,
    ) -> Result<(), TableError> {
        let mut state = self.lock();
        let rows = self.maps.hosts.first(state.indices.bound() as usize)?;
        let rows: BTreeMap<HostIndex, Host> = rows.into_iter().collect();
        let idle = |index| rows.get(&index).is_none_or(|row| row.used < used_before);
        let Turn { freed, hidden, revived } = state.turn(referred, idle);
        for (address, index) in &freed {
            self.maps.hosts.put(index, &NOBODY)?;
            state.indices.release(address);
            state.facts.remove(index);
            state.retiring.remove(address);
        }
        for address in hidden {
            self.maps.host_index.remove(&address)?;
            state.retiring.insert(address);
        }
        for (address, index) in revived {
            self.maps.host_index.put(&address, &index)?;
            state.retiring.remove(&address);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the tables would still be the truth.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of hosts at one look at all tables.
#[derive(Debug, Default, PartialEq, Eq)]
struct Turn {
    /// Without references at two looks: their rows are free.
    freed: Vec<(Address, HostIndex)>,
    /// Without references, and idle: no look-up finds them any more.
    hidden: Vec<Address>,
    /// Referred to again, by a row written before they could not be found any more.
    revived: Vec<(Address, HostIndex)>,
}

impl State {
    /// What becomes of each host, but this one.
    fn turn(&self, referred: &BTreeSet<HostIndex>, idle: impl Fn(HostIndex) -> bool) -> Turn {
        let mut turn = Turn::default();
        let targets: BTreeSet<Address> = self.targets.values().copied().collect();
        for (&address, index) in self.indices.iter().filter(|(address, _)| **address != self.own) {
            let is_referred = referred.contains(&index) || targets.contains(&address);
            match (self.retiring.contains(&address), is_referred) {
                (true, false) => turn.freed.push((address, index)),
                (true, true) => turn.revived.push((address, index)),
                (false, false) if idle(index) => turn.hidden.push(address),
                (false, _) => {}
            }
        }
        turn
    }
}

impl Facts {
    /// The MTU that a row with a lower one gets back at last: the network is asked again whether it
    /// still is too much.
    fn restored(&mut self, in_row: u16, now: Instant) -> Option<u16> {
        if in_row >= self.mtu {
            self.lowered = None;
            return None;
        }
        if now - *self.lowered.get_or_insert(now) < LOWERED {
            return None;
        }
        self.lowered = None;
        Some(self.mtu)
    }
}

const NOBODY: Host =
    Host { address: Address::NONE, next_hop: [0; 6], mtu: 0, used: 0, alive_until: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Address = Address::v4([100, 64, 0, 1]);
    const A: Address = Address::v4([100, 64, 0, 2]);
    const B: Address = Address::v4([100, 64, 0, 3]);

    fn state(retiring: &[Address]) -> State {
        State {
            indices: Indices::recovered("host", 8, [(OWN, 1), (A, 2), (B, 3)]),
            facts: BTreeMap::new(),
            targets: BTreeMap::new(),
            retiring: retiring.iter().copied().collect(),
            own: OWN,
            mtu: 1500,
        }
    }

    #[test]
    fn a_host_is_hidden_before_its_row_is_freed() {
        let turn = state(&[]).turn(&[3].into(), |_| true);
        assert_eq!(turn, Turn { hidden: vec![A], ..Turn::default() });
        let turn = state(&[A]).turn(&[3].into(), |_| true);
        assert_eq!(turn, Turn { freed: vec![(A, 2)], ..Turn::default() });
    }

    #[test]
    fn a_host_that_was_used_lately_stays_and_so_does_this_one() {
        let turn = state(&[]).turn(&BTreeSet::new(), |index| index == 3);
        assert_eq!(turn, Turn { hidden: vec![B], ..Turn::default() });
    }

    #[test]
    fn a_hidden_host_that_is_referred_to_again_is_found_again() {
        let turn = state(&[A, B]).turn(&[2].into(), |_| true);
        let expected = Turn { freed: vec![(B, 3)], revived: vec![(A, 2)], hidden: vec![] };
        assert_eq!(turn, expected);
    }

    #[test]
    fn a_lowered_mtu_is_believed_for_a_while_from_when_it_was_seen() {
        let (mut facts, start) = (Facts { mtu: 1500, lowered: None }, Instant::now());
        assert_eq!(facts.restored(1500, start), None);
        let seen = start + LOWERED;
        assert_eq!(facts.restored(1400, seen), None, "seen at this look only");
        let almost = seen + LOWERED - Duration::from_millis(1);
        assert_eq!(facts.restored(1400, almost), None);
        assert_eq!(facts.restored(1400, seen + LOWERED), Some(1500));
        assert_eq!(facts.lowered, None);
        // Raised by somebody else, and lowered again: from the beginning.
        assert_eq!(facts.restored(1400, seen), None);
        assert_eq!(facts.restored(1500, almost), None);
        assert_eq!(facts.restored(1300, seen + LOWERED), None);
    }
}
