//! The tables of a simulated host: the real table of endpoints in ordinary memory, and trees.

use crate::defect::Defect;
use crate::hostile::FORGED;
use mizar_packet::count::Counter;
use mizar_packet::memory::MemoryTables;
use mizar_packet::table::{Line, Shape, Table, find, rows};
use mizar_packet::tables::{
    Config, Endpoint, EndpointKey, Event, Holders, Host, HostIndex, Learned, NetworkIndex, Port,
    Route, Vpc, VpcIndex,
};
use mizar_packet::{Address, Tables};
use std::cell::RefCell;
use std::rc::Rc;

/// Rows of endpoints that a host has room for: more than there are addresses.
const ENDPOINTS: u32 = 256;

/// The tables of one host. What must never be written to them is noted.
#[derive(Debug)]
pub(crate) struct HostTables {
    /// All but endpoints.
    pub(crate) rows: MemoryTables,
    lines: Rc<[Line]>,
    endpoints: Table<Rc<[Line]>>,
    defect: Defect,
    /// What is not as it must be, as it happened.
    pub(crate) broken: RefCell<Option<String>>,
}

impl HostTables {
    /// Empty ones; `None` never, since the table of endpoints has lines enough.
    pub(crate) fn new(config: Config, seed: u64, defect: Defect) -> Option<Self> {
        let lines: Rc<[Line]> = (0..Shape::lines(ENDPOINTS)).map(|_| Line::default()).collect();
        let endpoints = Table::open(Rc::clone(&lines), seed)?;
        let rows = MemoryTables { config, ..MemoryTables::default() };
        Some(Self { rows, lines, endpoints, defect, broken: RefCell::default() })
    }

    /// All rows of endpoints.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (EndpointKey, Endpoint)> {
        rows(&self.lines[..])
    }

    /// Writes a row of an endpoint.
    pub(crate) fn put_endpoint(&mut self, key: &EndpointKey, row: &Endpoint) {
        let old = self.endpoints.get(key);
        let stale = self.defect == Defect::StaleBouncers && row.kind == Endpoint::HELD;
        if stale && old.is_some_and(|old| old.kind == Endpoint::HELD) {
            return;
        }
        if let Some(old) = old.filter(|old| old.generation > row.generation) {
            self.broke(format!("{} becomes {row:?}, older than {old:?}", key.address));
        }
        if self.endpoints.put(key, row).is_err() {
            self.broke("the table of endpoints is full".to_owned());
        }
    }

    /// Removes a row of an endpoint.
    pub(crate) fn remove_endpoint(&mut self, key: &EndpointKey) {
        self.endpoints.remove(key);
    }

    fn broke(&self, what: String) {
        self.broken.borrow_mut().get_or_insert(what);
    }
}

impl Tables for HostTables {
    fn config(&self) -> &Config {
        self.rows.config()
    }

    fn now(&self) -> u64 {
        self.rows.now()
    }

    fn port(&self, interface: u32) -> Option<&Port> {
        self.rows.port(interface)
    }

    fn endpoint(&self, key: &EndpointKey) -> Option<Endpoint> {
        if self.defect == Defect::SharedKeys {
            let mut all = self.endpoints();
            return all.find(|(of, _)| of.address == key.address).map(|(_, row)| row);
        }
        find(&&self.lines[..], key)
    }

    fn learned(&self, key: &EndpointKey) -> Option<Learned> {
        let row = self.rows.learned(key)?;
        let forgets = self.defect == Defect::ForgottenGenerations;
        Some(if forgets { Learned { generation: 1, ..row } } else { row })
    }

    fn learn(&self, key: &EndpointKey, row: &Learned) -> bool {
        if row.generation >= FORGED && row.host != 0 {
            self.broke(format!("{} is learned as {row:?}, which is forged", key.address));
        }
        let old = self.rows.learned(key);
        if let Some(old) = old.filter(|old| old.generation > row.generation && row.host != 0) {
            self.broke(format!("{} is learned as {row:?}, older than {old:?}", key.address));
        }
        self.rows.learn(key, row)
    }

    fn claim_learned(&self, vpc: &Vpc) -> bool {
        self.rows.claim_learned(vpc)
    }

    fn touch_learned(&self, key: &EndpointKey, now: u64) {
        self.rows.touch_learned(key, now);
    }

    fn host(&self, index: HostIndex) -> Option<Host> {
        self.rows.host(index)
    }

    fn host_index(&self, address: &Address) -> Option<HostIndex> {
        self.rows.host_index(address)
    }

    fn touch_host(&self, index: HostIndex, now: u64) {
        self.rows.touch_host(index, now);
    }

    fn prove_host(&self, index: HostIndex, until: u64) {
        let immortal = self.defect == Defect::ImmortalHosts;
        self.rows.prove_host(index, if immortal { u64::MAX / 2 } else { until });
    }

    fn lower_mtu(&self, index: HostIndex, mtu: u16) {
        self.rows.lower_mtu(index, mtu);
    }

    fn vpc(&self, vni: u32) -> Option<&Vpc> {
        self.rows.vpc(vni)
    }

    fn route(&self, vni: u32, address: &Address) -> Option<Route> {
        self.rows.route(vni, address)
    }

    fn holders(&self, network: NetworkIndex, slot: u8) -> Option<Holders> {
        self.rows.holders(network, slot)
    }

    fn take_token(&self, interface: u32) -> bool {
        self.rows.take_token(interface)
    }

    fn count(&self, vpc: VpcIndex, counter: Counter) {
        self.rows.count(vpc, counter);
    }

    fn tell(&self, event: &Event) {
        self.rows.tell(event);
    }
}
