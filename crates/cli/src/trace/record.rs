//! Tables that note what was asked of them.

use mizar_packet::count::Counter;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Config, Endpoint, EndpointKey, Event, Holders, Host, HostIndex, Learned, NetworkIndex, Port,
    Route, Vpc, VpcIndex,
};
use mizar_packet::{Address, Tables};
use std::cell::RefCell;

/// One look-up with what was found, or one thing that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Port(u32, Option<Port>),
    Endpoint(EndpointKey, Option<Endpoint>),
    Learned(EndpointKey, Option<Learned>),
    Host(HostIndex, Option<Host>),
    HostIndex(Address, Option<HostIndex>),
    Vpc(u32, Option<Vpc>),
    Route(u32, Address, Option<Route>),
    Holders(NetworkIndex, u8, Option<Holders>),
    /// Whether there was a token.
    Token(u32, bool),
    /// Whether there was room for the row.
    Learn(EndpointKey, Learned, bool),
    Count(Counter),
    Tell(Event),
}

impl Seen {
    /// Whether another one says no more than this one: a host's row is looked at several times, and
    /// stamped in between.
    fn is_again(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(index, _), Self::Host(other, _)) => index == other,
            _ => self == other,
        }
    }
}

/// Lends a host's tables to the journey and notes what becomes of them.
pub(super) struct Recording<'a> {
    tables: &'a MemoryTables,
    seen: RefCell<Vec<Seen>>,
}

impl<'a> Recording<'a> {
    pub(super) fn new(tables: &'a MemoryTables) -> Self {
        Self { tables, seen: RefCell::default() }
    }

    /// What was asked for and done, in order, each row and each deed once.
    pub(super) fn into_seen(self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = Vec::new();
        for item in self.seen.into_inner() {
            if !seen.iter().any(|earlier| earlier.is_again(&item)) {
                seen.push(item);
            }
        }
        seen
    }

    fn note(&self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
    }
}

impl Tables for Recording<'_> {
    fn config(&self) -> &Config {
        self.tables.config()
    }

    fn now(&self) -> u64 {
        self.tables.now()
    }

    fn port(&self, interface: u32) -> Option<&Port> {
        let found = self.tables.port(interface);
        self.note(Seen::Port(interface, found.copied()));
        found
    }

    fn endpoint(&self, key: &EndpointKey) -> Option<Endpoint> {
        let found = self.tables.endpoint(key);
        self.note(Seen::Endpoint(*key, found));
        found
    }

    fn learned(&self, key: &EndpointKey) -> Option<Learned> {
        let found = self.tables.learned(key);
        self.note(Seen::Learned(*key, found));
        found
    }

    fn learn(&self, key: &EndpointKey, row: &Learned) -> bool {
        let written = self.tables.learn(key, row);
        self.note(Seen::Learn(*key, *row, written));
        written
    }

    fn claim_learned(&self, vpc: &Vpc) -> bool {
        self.tables.claim_learned(vpc)
    }

    fn touch_learned(&self, key: &EndpointKey, now: u64) {
        self.tables.touch_learned(key, now);
    }

    fn host(&self, index: HostIndex) -> Option<Host> {
        let found = self.tables.host(index);
        self.note(Seen::Host(index, found));
        found
    }

    fn host_index(&self, address: &Address) -> Option<HostIndex> {
        let found = self.tables.host_index(address);
        self.note(Seen::HostIndex(*address, found));
        found
    }

    fn touch_host(&self, index: HostIndex, now: u64) {
        self.tables.touch_host(index, now);
    }

    fn prove_host(&self, index: HostIndex, until: u64) {
        self.tables.prove_host(index, until);
    }

    fn lower_mtu(&self, index: HostIndex, mtu: u16) {
        self.tables.lower_mtu(index, mtu);
    }

    fn vpc(&self, vni: u32) -> Option<&Vpc> {
        let found = self.tables.vpc(vni);
        self.note(Seen::Vpc(vni, found.copied()));
        found
    }

    fn route(&self, vni: u32, address: &Address) -> Option<Route> {
        let found = self.tables.route(vni, address);
        self.note(Seen::Route(vni, *address, found));
        found
    }

    fn holders(&self, network: NetworkIndex, slot: u8) -> Option<Holders> {
        let found = self.tables.holders(network, slot);
        self.note(Seen::Holders(network, slot, found));
        found
    }

    fn take_token(&self, interface: u32) -> bool {
        let taken = self.tables.take_token(interface);
        self.note(Seen::Token(interface, taken));
        taken
    }

    fn count(&self, vpc: VpcIndex, counter: Counter) {
        self.tables.count(vpc, counter);
        self.note(Seen::Count(counter));
    }

    fn tell(&self, event: &Event) {
        self.tables.tell(event);
        self.note(Seen::Tell(*event));
    }
}
