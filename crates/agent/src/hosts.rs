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
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::mpsc;

/// How long a lowered MTU is believed.
const LOWERED: Duration = Duration::from_secs(600);

/// All hosts that this one knows.
#[derive(Debug)]
pub(crate) struct Hosts {
    maps: Arc<Maps>,
    state: Mutex<State>,
    wanted: mpsc::UnboundedSender<IpAddr>,
}

#[derive(Debug)]
struct State {
    indices: Indices<Address>,
    facts: BTreeMap<HostIndex, Facts>,
    /// Without references at the last look.
    retiring: BTreeSet<Address>,
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
        for (address, _) in indices.iter() {
            // Nobody listens only when the agent is stopping.
            let _ = wanted.send((*address).into());
        }
        let state = State { indices, facts, retiring: BTreeSet::new(), own, mtu };
        Ok(Self { maps, state: Mutex::new(state), wanted })
    }

    /// The row of a host, which is made if there is none, and whose next hop is then looked for.
    pub(crate) fn ensure(&self, address: IpAddr) -> Result<HostIndex, HostError> {
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
            let _ = self.wanted.send(address);
        }
        Ok(index)
    }

    /// The row of a host that has one, with its index.
    pub(crate) fn find(&self, address: Address) -> Option<(HostIndex, Host)> {
        let index = self.lock().indices.get(&address)?;
        Some((index, self.maps.hosts.get(&index).ok().flatten()?))
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
            if row.mtu >= facts.mtu {
                facts.lowered = None;
            } else if now - *facts.lowered.get_or_insert(now) >= LOWERED {
                facts.lowered = None;
                row.mtu = facts.mtu;
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
        let candidates: Vec<_> = state
            .indices
            .iter()
            .filter(|(address, index)| **address != state.own && !referred.contains(index))
            .map(|(address, index)| (*address, index))
            .collect();
        let mut retiring = BTreeSet::new();
        for (address, index) in candidates {
            let idle = self.maps.hosts.get(&index)?.is_none_or(|row| row.used < used_before);
            if state.retiring.contains(&address) {
                self.maps.hosts.put(&index, &NOBODY)?;
                state.indices.release(&address);
                state.facts.remove(&index);
            } else if idle {
                self.maps.host_index.remove(&address)?;
                retiring.insert(address);
            }
        }
        // One that is referred to again by a row written before it could not be found any more.
        let revived: Vec<_> = state.retiring.difference(&retiring).copied().collect();
        for address in revived {
            if let Some(index) = state.indices.get(&address) {
                self.maps.host_index.put(&address, &index)?;
            }
        }
        state.retiring = retiring;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the tables would still be the truth.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NOBODY: Host =
    Host { address: Address::NONE, next_hop: [0; 6], mtu: 0, used: 0, alive_until: 0 };
