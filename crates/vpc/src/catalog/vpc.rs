//! One VPC with all that is in it.

use super::choices::Stored;
use super::pool::Pool;
use super::{Catalog, EndpointRecord, NetworkRecord, VpcRecord, range_after};
use crate::rendezvous::mix;
use crate::{Mac, Name, NetworkId, Slot, Vni};
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An endpoint's place in its VPC while it exists; another one may have it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u32);

/// A VPC, its networks and its endpoints.
#[derive(Debug)]
pub struct VpcEntry {
    record: VpcRecord,
    networks: BTreeMap<NetworkId, NetworkEntry>,
    network_names: BTreeMap<Name, NetworkId>,
    endpoints: Vec<Option<EndpointRecord>>,
    free: Vec<EndpointId>,
    names: BTreeMap<Name, EndpointId>,
    v4s: HashTable<EndpointId>,
    v6s: HashTable<EndpointId>,
    macs: HashTable<EndpointId>,
}

/// A network, and the endpoints of each of its slots.
#[derive(Debug)]
pub struct NetworkEntry {
    record: NetworkRecord,
    slots: Vec<Vec<EndpointId>>,
    /// The hosts that its endpoints live on or are about to move to, with how many of them do.
    hosts: BTreeMap<Name, u32>,
    endpoints: u64,
    rows: u64,
    pub(super) pool: Pool,
    /// The distance of the IPv6 address that was chosen last, for an endpoint without an IPv4 one,
    /// from the prefix's first: the search goes on behind it.
    pub(super) last_v6: u64,
    pub(super) stored: Stored,
}

impl VpcEntry {
    pub(super) fn new(record: VpcRecord) -> Self {
        Self {
            record,
            networks: BTreeMap::new(),
            network_names: BTreeMap::new(),
            endpoints: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            v4s: HashTable::new(),
            v6s: HashTable::new(),
            macs: HashTable::new(),
        }
    }

    /// The VPC itself.
    pub fn record(&self) -> &VpcRecord {
        &self.record
    }

    pub(super) fn set_record(&mut self, record: VpcRecord) {
        self.record = record;
    }

    /// Its networks by id.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkEntry> {
        self.networks.values()
    }

    /// Its networks by name, after that one.
    pub fn networks_after<'a>(
        &'a self,
        after: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a NetworkEntry> + use<'a> {
        range_after(&self.network_names, after).filter_map(|(_, id)| self.networks.get(id))
    }

    /// One network.
    pub fn network(&self, id: NetworkId) -> Option<&NetworkEntry> {
        self.networks.get(&id)
    }

    pub(super) fn network_mut(&mut self, id: NetworkId) -> Option<&mut NetworkEntry> {
        self.networks.get_mut(&id)
    }

    /// One network by its name.
    pub fn network_named(&self, name: &Name) -> Option<&NetworkEntry> {
        self.networks.get(self.network_names.get(name)?)
    }

    /// The lowest network id that is free.
    pub(super) fn free_network_id(&self) -> Option<NetworkId> {
        let ids = std::iter::successors(Some(NetworkId::MIN), |id| id.next());
        ids.zip(self.networks.keys().map(Some).chain(std::iter::repeat(None)))
            .find(|(id, used)| *used != Some(id))
            .map(|(id, _)| id)
    }

    /// How many endpoints there are.
    pub fn endpoint_count(&self) -> u64 {
        self.names.len() as u64
    }

    /// One endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&EndpointRecord> {
        self.endpoints.get(id.0 as usize)?.as_ref()
    }

    /// One endpoint by its name.
    pub fn endpoint_named(&self, name: &Name) -> Option<(EndpointId, &EndpointRecord)> {
        let id = *self.names.get(name)?;
        Some((id, self.endpoint(id)?))
    }

    /// The endpoints by name, after that one.
    pub fn endpoints_after<'a>(
        &'a self,
        after: Option<&'a Name>,
    ) -> impl Iterator<Item = &'a EndpointRecord> + use<'a> {
        range_after(&self.names, after).filter_map(|(_, id)| self.endpoint(*id))
    }

    /// The endpoint that has an address.
    pub fn endpoint_at(&self, address: IpAddr) -> Option<&EndpointRecord> {
        let found = match address {
            IpAddr::V4(v4) => self.v4s.find(hash_v4(v4), self.is(|it| it.v4 == Some(v4))),
            IpAddr::V6(v6) => self.v6s.find(hash_v6(v6), self.is(|it| it.v6 == Some(v6))),
        };
        self.endpoint(*found?)
    }

    /// The endpoint that has a MAC address.
    pub fn endpoint_with(&self, mac: Mac) -> Option<&EndpointRecord> {
        let found = self.macs.find(hash_mac(mac), self.is(|it| it.mac == mac));
        self.endpoint(*found?)
    }

    fn is(&self, what: impl Fn(&EndpointRecord) -> bool) -> impl Fn(&EndpointId) -> bool {
        move |id| self.endpoint(*id).is_some_and(&what)
    }

    /// Adds an endpoint, none of whose name and addresses another one has.
    pub(super) fn insert(&mut self, record: EndpointRecord) -> EndpointId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.endpoints.push(None);
            EndpointId((self.endpoints.len() - 1) as u32)
        });
        self.names.insert(record.name.clone(), id);
        if let Some(network) = self.networks.get_mut(&record.network) {
            network.insert(id, &record);
        }
        let (v4, v6, mac) = (record.v4, record.v6, record.mac);
        self.endpoints[id.index()] = Some(record);
        let Self { v4s, v6s, macs, endpoints, .. } = self;
        let hash = |id: &EndpointId, of: fn(&EndpointRecord) -> u64| {
            endpoints[id.index()].as_ref().map_or(0, of)
        };
        if let Some(v4) = v4 {
            v4s.insert_unique(hash_v4(v4), id, |id| hash(id, |it| it.v4.map_or(0, hash_v4)));
        }
        if let Some(v6) = v6 {
            v6s.insert_unique(hash_v6(v6), id, |id| hash(id, |it| it.v6.map_or(0, hash_v6)));
        }
        macs.insert_unique(hash_mac(mac), id, |id| hash(id, |it| hash_mac(it.mac)));
        id
    }

    /// Removes an endpoint.
    pub(super) fn remove(&mut self, name: &Name) -> Option<(EndpointId, EndpointRecord)> {
        let id = self.names.remove(name)?;
        let record = self.endpoints[id.index()].take()?;
        if let Some(v4) = record.v4 {
            remove(&mut self.v4s, hash_v4(v4), id);
        }
        if let Some(v6) = record.v6 {
            remove(&mut self.v6s, hash_v6(v6), id);
        }
        remove(&mut self.macs, hash_mac(record.mac), id);
        if let Some(network) = self.networks.get_mut(&record.network) {
            network.remove(id, &record);
        }
        self.free.push(id);
        Some((id, record))
    }

    /// Adds a network, or makes one that exists another.
    pub(super) fn set_network(&mut self, record: NetworkRecord) {
        self.network_names.insert(record.name.clone(), record.id);
        match self.networks.get_mut(&record.id) {
            Some(network) => network.record = record,
            None => drop(self.networks.insert(record.id, NetworkEntry::new(record))),
        }
    }

    /// Removes a network; what is in it is kept for the record that follows.
    pub(super) fn remove_network(&mut self, name: &Name) -> Option<NetworkRecord> {
        let id = *self.network_names.get(name)?;
        let network = self.networks.get(&id)?;
        if network.endpoints > 0 {
            return Some(network.record.clone());
        }
        self.network_names.remove(name);
        self.networks.remove(&id).map(|network| network.record)
    }
}

impl NetworkEntry {
    fn new(record: NetworkRecord) -> Self {
        let slots = vec![Vec::new(); Slot::COUNT];
        let mut pool = Pool::default();
        if let (Some(prefix), Some(gateway)) = (record.spec.v4, record.v4_gateway) {
            pool.take(prefix, gateway);
        }
        let (hosts, stored) = Default::default();
        Self { record, slots, hosts, endpoints: 0, rows: 0, pool, last_v6: 0, stored }
    }

    /// The network itself.
    pub fn record(&self) -> &NetworkRecord {
        &self.record
    }

    /// How many endpoints it has.
    pub fn endpoint_count(&self) -> u64 {
        self.endpoints
    }

    /// How many addresses its endpoints have.
    pub fn address_count(&self) -> u64 {
        self.rows
    }

    /// The hosts that its endpoints live on or are about to move to.
    pub fn hosts(&self) -> impl Iterator<Item = &Name> {
        self.hosts.keys()
    }

    /// How many of its endpoints live on a host or are about to.
    pub fn endpoints_on(&self, host: &Name) -> u32 {
        self.hosts.get(host).copied().unwrap_or(0)
    }

    /// The endpoints that have an address in a slot.
    pub fn slot(&self, slot: Slot) -> impl Iterator<Item = EndpointId> {
        self.slots[slot.index()].iter().copied()
    }

    fn insert(&mut self, id: EndpointId, record: &EndpointRecord) {
        for slot in record.slots() {
            self.slots[slot.index()].push(id);
        }
        for host in record.hosts() {
            *self.hosts.entry(host.clone()).or_default() += 1;
        }
        self.endpoints += 1;
        self.rows += record.addresses().count() as u64;
        if let (Some(prefix), Some(v4)) = (self.record.spec.v4, record.v4) {
            self.pool.take(prefix, v4);
        }
    }

    fn remove(&mut self, id: EndpointId, record: &EndpointRecord) {
        for slot in record.slots() {
            let slot = &mut self.slots[slot.index()];
            if let Some(at) = slot.iter().position(|it| *it == id) {
                slot.swap_remove(at);
            }
        }
        for host in record.hosts() {
            if let Some(count) = self.hosts.get_mut(host) {
                *count -= 1;
                if *count == 0 {
                    self.hosts.remove(host);
                }
            }
        }
        self.endpoints -= 1;
        self.rows -= record.addresses().count() as u64;
        if let (Some(prefix), Some(v4)) = (self.record.spec.v4, record.v4) {
            self.pool.release(prefix, v4);
        }
    }
}

impl EndpointId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

impl Catalog {
    pub(super) fn put_endpoint(&mut self, record: EndpointRecord) {
        let vni = record.vni;
        let is_known = record.hosts().all(|host| self.hosts.contains_key(host));
        let Some(vpc) = self.vpcs.get_mut(&vni).filter(|_| is_known) else { return };
        let hosts: [Option<Name>; 2] = {
            let mut hosts = record.hosts().cloned();
            [hosts.next(), hosts.next()]
        };
        let id = vpc.insert(record);
        for host in hosts.into_iter().flatten() {
            if let Some(host) = self.hosts.get_mut(&host) {
                host.vpcs.entry(vni).or_default().insert(id);
            }
        }
        self.endpoints += 1;
    }

    pub(super) fn take_endpoint(&mut self, vni: Vni, name: &Name) -> Option<EndpointRecord> {
        let (id, record) = self.vpcs.get_mut(&vni)?.remove(name)?;
        self.endpoints -= 1;
        for host in record.hosts() {
            if let Some(host) = self.hosts.get_mut(host)
                && let Some(vpc) = host.vpcs.get_mut(&vni)
            {
                vpc.remove(&id);
                if vpc.is_empty() {
                    host.vpcs.remove(&vni);
                }
            }
        }
        Some(record)
    }
}

fn remove(table: &mut HashTable<EndpointId>, hash: u64, id: EndpointId) {
    if let Ok(entry) = table.find_entry(hash, |it| *it == id) {
        entry.remove();
    }
}

fn hash_v4(address: Ipv4Addr) -> u64 {
    mix(u32::from(address).into())
}

fn hash_v6(address: Ipv6Addr) -> u64 {
    let bits = u128::from(address);
    mix(mix((bits >> 64) as u64) ^ bits as u64)
}

fn hash_mac(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.octets();
    mix(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}
