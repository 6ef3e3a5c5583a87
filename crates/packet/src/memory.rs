//! A frame and the tables in ordinary memory: for tests, `mizar trace` and simulations.

use crate::count::Counter;
use crate::tables::{
    Bucket, Config, Endpoint, EndpointKey, Event, Holders, Host, HostIndex, Learned, NetworkIndex,
    Port, Route, Vpc, VpcIndex,
};
use crate::wire::checksum;
use crate::{Address, Frame, Reason, Tables};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A frame of plain bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryFrame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Whether the sender put a VLAN tag on it.
    pub vlan_tag: bool,
    /// Payload of each segment, or 0.
    pub segment_payload: usize,
    /// Whether the L4 checksum covers only the pseudo header so far.
    pub partial_checksum: bool,
}

impl MemoryFrame {
    /// Headroom that a driver leaves; more cannot be wrapped around a frame.
    const HEADROOM: usize = 192;

    /// A finished frame without a tag.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }
}

impl Frame for MemoryFrame {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn has(&self, len: usize) -> bool {
        self.bytes.len() >= len
    }

    fn exceeds(&self, len: usize) -> bool {
        self.bytes.len() > len
    }

    fn load<T: FromBytes>(&self, at: usize) -> Result<T, Reason> {
        let bytes = self.bytes.get(at..).ok_or(Reason::Short)?;
        T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| Reason::Short)
    }

    fn store<T: IntoBytes + Immutable>(&mut self, at: usize, value: &T) -> Result<(), Reason> {
        let bytes = self.bytes.get_mut(at..).ok_or(Reason::Short)?;
        value.write_to_prefix(bytes).map_err(|_| Reason::Short)
    }

    fn wrap(&mut self, by: usize) -> Result<(), Reason> {
        self.extend(by)
    }

    fn unwrap(&mut self, by: usize, _ethertype: u16) -> Result<(), Reason> {
        if by + crate::wire::Ethernet::LEN > self.bytes.len() {
            return Err(Reason::NoRoom);
        }
        self.bytes.drain(..by);
        Ok(())
    }

    fn extend(&mut self, by: usize) -> Result<(), Reason> {
        if by > Self::HEADROOM {
            return Err(Reason::NoRoom);
        }
        self.bytes.splice(..0, std::iter::repeat_n(0, by));
        Ok(())
    }

    fn resize(&mut self, len: usize) -> Result<(), Reason> {
        self.bytes.resize(len, 0);
        Ok(())
    }

    fn has_vlan_tag(&self) -> bool {
        self.vlan_tag
    }

    fn segment_payload(&self) -> usize {
        self.segment_payload
    }

    fn replace_l4(
        &mut self,
        checksum_at: usize,
        at: usize,
        old: u16,
        new: u16,
    ) -> Result<(), Reason> {
        if !self.partial_checksum {
            let sum = u16::from_be_bytes(self.load(checksum_at)?);
            self.store(checksum_at, &checksum::replace(sum, old, new).to_be_bytes())?;
        }
        self.store(at, &new.to_be_bytes())
    }
}

/// The tables of one host as trees.
#[derive(Clone, Debug)]
pub struct MemoryTables {
    /// What is the same for every packet.
    pub config: Config,
    /// Jiffies.
    pub now: u64,
    /// Guests' interfaces by the index of the host's end.
    pub ports: BTreeMap<u32, Port>,
    /// What is known for certain.
    pub endpoints: BTreeMap<(u32, Address), Endpoint>,
    /// What was learned.
    pub learned: RefCell<BTreeMap<(u32, Address), Learned>>,
    /// Hosts by index.
    pub hosts: RefCell<BTreeMap<HostIndex, Host>>,
    /// VPCs by VNI.
    pub vpcs: BTreeMap<u32, Vpc>,
    /// Networks: (VNI, network, length of the prefix in bits of the mapped address) → row.
    pub routes: BTreeMap<(u32, Address, u8), Route>,
    /// Holders by network and slot.
    pub holders: BTreeMap<(NetworkIndex, u8), Holders>,
    /// Tokens by interface; an endpoint without a row has them all.
    pub buckets: RefCell<BTreeMap<u32, Bucket>>,
    /// Rows learned for each VPC.
    pub learned_count: RefCell<BTreeMap<VpcIndex, u64>>,
    /// Most rows in `learned`.
    pub learned_capacity: usize,
    /// Counters by VPC and row.
    pub counters: RefCell<BTreeMap<(VpcIndex, u32), u64>>,
    /// What the agent was asked for.
    pub events: RefCell<Vec<Event>>,
    /// Whether anything was written since this was last cleared.
    pub written: Cell<bool>,
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self {
            config: Config::EMPTY,
            now: 0,
            ports: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            learned: RefCell::default(),
            hosts: RefCell::default(),
            vpcs: BTreeMap::new(),
            routes: BTreeMap::new(),
            holders: BTreeMap::new(),
            buckets: RefCell::default(),
            learned_count: RefCell::default(),
            learned_capacity: 65_536,
            counters: RefCell::default(),
            events: RefCell::default(),
            written: Cell::new(false),
        }
    }
}

impl MemoryTables {
    /// How often something was counted, over all VPCs.
    pub fn counted(&self, counter: Counter) -> u64 {
        let row = counter.row();
        self.counters.borrow().iter().filter(|((_, r), _)| *r == row).map(|(_, n)| n).sum()
    }

    fn host_mut(&self, index: HostIndex, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.borrow_mut().get_mut(&index) {
            change(host);
            self.written.set(true);
        }
    }
}

impl Tables for MemoryTables {
    fn config(&self) -> &Config {
        &self.config
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn port(&self, interface: u32) -> Option<&Port> {
        self.ports.get(&interface)
    }

    fn endpoint(&self, key: &EndpointKey) -> Option<Endpoint> {
        self.endpoints.get(&(key.vni, key.address)).copied()
    }

    fn learned(&self, key: &EndpointKey) -> Option<Learned> {
        self.learned.borrow().get(&(key.vni, key.address)).copied()
    }

    fn learn(&self, key: &EndpointKey, row: &Learned) -> bool {
        let mut learned = self.learned.borrow_mut();
        let key = (key.vni, key.address);
        if learned.len() >= self.learned_capacity && !learned.contains_key(&key) {
            return false;
        }
        learned.insert(key, *row);
        self.written.set(true);
        true
    }

    fn claim_learned(&self, vpc: &Vpc) -> bool {
        let mut counts = self.learned_count.borrow_mut();
        let count = counts.entry(vpc.index).or_default();
        let within = *count < u64::from(vpc.quota);
        *count += u64::from(within);
        within
    }

    fn touch_learned(&self, key: &EndpointKey, now: u64) {
        if let Some(row) = self.learned.borrow_mut().get_mut(&(key.vni, key.address)) {
            row.used = now;
            self.written.set(true);
        }
    }

    fn host(&self, index: HostIndex) -> Option<Host> {
        self.hosts.borrow().get(&index).copied()
    }

    fn host_index(&self, address: &Address) -> Option<HostIndex> {
        let hosts = self.hosts.borrow();
        hosts.iter().find(|(_, host)| host.address == *address).map(|(&index, _)| index)
    }

    fn touch_host(&self, index: HostIndex, now: u64) {
        self.host_mut(index, |host| host.used = now);
    }

    fn prove_host(&self, index: HostIndex, until: u64) {
        self.host_mut(index, |host| host.alive_until = until);
    }

    fn lower_mtu(&self, index: HostIndex, mtu: u16) {
        self.host_mut(index, |host| host.mtu = mtu);
    }

    fn vpc(&self, vni: u32) -> Option<&Vpc> {
        self.vpcs.get(&vni)
    }

    fn route(&self, vni: u32, address: &Address) -> Option<Route> {
        let matching = self.routes.iter().filter(|((row_vni, network, len), _)| {
            *row_vni == vni && address.shares_prefix(network, *len)
        });
        matching.max_by_key(|((_, _, len), _)| *len).map(|(_, route)| *route)
    }

    fn holders(&self, network: NetworkIndex, slot: u8) -> Option<Holders> {
        self.holders.get(&(network, slot)).copied()
    }

    fn take_token(&self, interface: u32) -> bool {
        let mut buckets = self.buckets.borrow_mut();
        let bucket = buckets.entry(interface).or_insert(Bucket::full(self.now));
        self.written.set(true);
        bucket.take(self.now, self.config.hz)
    }

    fn count(&self, vpc: VpcIndex, counter: Counter) {
        *self.counters.borrow_mut().entry((vpc, counter.row())).or_default() += 1;
    }

    fn tell(&self, event: &Event) {
        self.events.borrow_mut().push(*event);
    }
}
