//! A simulated host: its clock, its tables, its guests' interfaces. All of this outlives its agent.

use crate::defect::Defect;
use crate::random::hash;
use crate::scenario::{HostId, HostSpec};
use crate::tables::HostTables;
use crate::takeover::Before;
use mizar_packet::Address;
use mizar_packet::tables::{Config, Endpoint, EndpointKey, Host as HostRow, RouteKey};
use mizar_packet::upkeep;
use mizar_packet::wire::geneve;
use mizar_vpc::tables::VpcTables;
use mizar_vpc::{Mac, Name, PortRow, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// MTU of the underlay.
const UNDERLAY_MTU: u16 = 1500;
/// MTU of every guest.
pub(crate) const GUEST_MTU: u16 = UNDERLAY_MTU - geneve::OVERHEAD as u16;

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) alive: bool,
    /// How often it has started.
    pub(crate) boots: u32,
    pub(crate) clock: HostSpec,
    /// What its agent writes; its programs go by it, unless those of another layout are at work.
    pub(crate) tables: HostTables,
    pub(crate) before: Option<Before>,
    /// How often its tables have become those of another layout.
    pub(crate) layout: u32,
    pub(crate) hosts: Indices<IpAddr>,
    pub(crate) networks: Indices<RouteKey>,
    pub(crate) vpcs: Indices<u32>,
    /// Guests whose interfaces are there.
    pub(crate) guests: BTreeMap<(Vni, Name), Guest>,
    interfaces: u32,
    /// When the next hops of all hosts that it was told of are known, in µs.
    pub(crate) settled_at: u64,
}

/// A guest, as its interface was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) interface: u32,
    pub(crate) mac: Mac,
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<std::net::Ipv6Addr>,
}

/// Which row of a table stands for what; 0 is nobody.
#[derive(Clone, Debug)]
pub(crate) struct Indices<K>(BTreeMap<K, u32>);

impl<K> Default for Indices<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Indices<K> {
    pub(crate) fn get(&self, key: &K) -> Option<u32> {
        self.0.get(key).copied()
    }

    /// The index of a key, the lowest free one if it has none; whether it is new.
    pub(crate) fn allocate(&mut self, key: K) -> (u32, bool) {
        if let Some(index) = self.get(&key) {
            return (index, false);
        }
        let taken: BTreeSet<u32> = self.0.values().copied().collect();
        let index = (1..).find(|index| !taken.contains(index)).unwrap_or(0);
        self.0.insert(key, index);
        (index, true)
    }

    /// Frees the indices of other keys.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| keeps(key));
    }
}

/// The underlay address of a host.
pub(crate) fn underlay(id: HostId) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, id as u8 + 1)
}

/// The host of an underlay address.
pub(crate) fn host_of(address: [u8; 4]) -> Option<HostId> {
    let [192, 0, 2, last] = address else { return None };
    usize::from(last).checked_sub(1)
}

/// The MAC address of a host's NIC.
pub(crate) fn nic_mac(id: HostId) -> [u8; 6] {
    [2, 0xbb, 0, 0, 0, id as u8]
}

impl Host {
    /// A host that has just started for the first time.
    pub(crate) fn new(
        id: HostId,
        name: Name,
        clock: HostSpec,
        seed: u64,
        defect: Defect,
    ) -> Option<Self> {
        let config = Config {
            underlay: underlay(id).into(),
            echo_cookie: hash(&[seed, 77, id as u64]),
            vouched_until: u64::MAX,
            nic: 2,
            mark: 1,
            nic_mac: nic_mac(id),
            ..upkeep::timed(Config::EMPTY, clock.hz)
        };
        let tables = HostTables::new(config, hash(&[seed, 78, id as u64]), defect)?;
        let mut host = Self {
            name,
            alive: true,
            boots: 0,
            clock,
            tables,
            before: None,
            layout: 0,
            hosts: Indices::default(),
            networks: Indices::default(),
            vpcs: Indices::default(),
            guests: BTreeMap::new(),
            interfaces: 1 << 16,
            settled_at: 0,
        };
        let (index, _) = host.row_of(underlay(id).into());
        host.tables.rows.config.own_host = index;
        // This host needs no proof that it is alive.
        let row = HostRow {
            address: underlay(id).into(),
            next_hop: [0; 6],
            mtu: UNDERLAY_MTU,
            used: 0,
            alive_until: u64::MAX / 2,
        };
        host.tables.rows.hosts.borrow_mut().insert(index, row);
        Some(host)
    }

    /// The same host, started again with nothing.
    pub(crate) fn reboot(&mut self, id: HostId, seed: u64, defect: Defect) {
        let boots = self.boots + 1;
        let seed = hash(&[seed, u64::from(boots)]);
        if let Some(new) = Self::new(id, self.name.clone(), self.clock.clone(), seed, defect) {
            *self = Self { boots, ..new };
        }
    }

    /// Its jiffies at a time in µs.
    pub(crate) fn jiffies_at(&self, now: u64) -> u64 {
        let HostSpec { hz, jiffies, drift, .. } = self.clock;
        let ticks = u128::from(now) * u128::from(hz) * (1_000_000 + i128::from(drift)) as u128;
        jiffies + (ticks / 1_000_000_000_000) as u64
    }

    /// A duration in its jiffies.
    pub(crate) fn jiffies(&self, duration: Duration) -> u64 {
        upkeep::jiffies(duration, self.clock.hz)
    }

    /// The row of a host, which is made if there is none: whether it was. Its next hop is not known
    /// then.
    pub(crate) fn row_of(&mut self, address: IpAddr) -> (u32, bool) {
        let (index, is_new) = self.hosts.allocate(address);
        if is_new {
            let row = HostRow {
                address: address.into(),
                next_hop: [0; 6],
                mtu: UNDERLAY_MTU,
                used: 0,
                alive_until: 0,
            };
            self.tables.rows.hosts.borrow_mut().insert(index, row);
        }
        (index, is_new)
    }

    /// The row of a host that has one and whose next hop is known.
    pub(crate) fn resolved(&self, address: Address) -> Option<HostRow> {
        let index = self.hosts.get(&address.into())?;
        let row = self.tables.rows.hosts.borrow().get(&index).copied();
        row.filter(HostRow::is_resolved)
    }

    /// Sets up the interface of a guest.
    pub(crate) fn attach(&mut self, vni: Vni, name: Name, port: &PortRow) {
        self.interfaces += 1;
        let PortRow { mac, v4, v6, .. } = *port;
        let guest = Guest { interface: self.interfaces, mac, v4, v6 };
        self.guests.insert((vni, name), guest);
    }

    /// Whether the interface of a guest is there as it should be.
    pub(crate) fn is_attached(&self, vni: Vni, name: &Name, port: &PortRow) -> bool {
        let guest = self.guests.get(&(vni, name.clone()));
        guest.is_some_and(|it| (it.mac, it.v4, it.v6) == (port.mac, port.v4, port.v6))
    }

    /// The guest behind an interface.
    pub(crate) fn guest_at(&self, interface: u32) -> Option<(&(Vni, Name), &Guest)> {
        self.guests.iter().find(|(_, guest)| guest.interface == interface)
    }

    /// What its tables have of a VPC, held endpoints apart.
    pub(crate) fn installed(&self, vni: u32) -> VpcTables {
        let rows = &self.tables.rows;
        let mut tables = VpcTables { vpc: rows.vpcs.get(&vni).copied(), ..VpcTables::default() };
        for ((_, network, len), route) in rows.routes.iter().filter(|((of, ..), _)| *of == vni) {
            tables.routes.insert(RouteKey::new(vni, *network, *len), *route);
        }
        let networks = tables.routes.values().map(|route| route.network);
        for network in networks.collect::<BTreeSet<_>>() {
            let slots = rows.holders.range((network, 0)..=(network, u8::MAX));
            let row = |slot: u8| mizar_vpc::tables::holders_row(network, slot);
            tables.holders.extend(slots.map(|((_, slot), holders)| (row(*slot), *holders)));
        }
        let ports = rows.ports.iter().filter(|(_, port)| port.vni == vni);
        tables.ports = ports.map(|(interface, port)| (*interface, *port)).collect();
        let own = self.tables.endpoints();
        let own = own.filter(|(key, row)| key.vni == vni && row.kind == Endpoint::LOCAL);
        tables.endpoints = own.map(|(key, row)| (key.address, row)).collect();
        tables
    }

    /// The addresses of a VPC that it bounces for.
    pub(crate) fn held(&self, vni: u32) -> BTreeMap<Address, Endpoint> {
        let rows = self.tables.endpoints();
        let held = rows.filter(|(key, row)| key.vni == vni && row.kind == Endpoint::HELD);
        held.map(|(key, row)| (key.address, row)).collect()
    }

    /// Takes away a row that says "here": what is left of it, if the endpoint has moved, to a host
    /// of that index, until it is forgotten.
    pub(crate) fn leave(
        &mut self,
        key: &EndpointKey,
        row: &Endpoint,
        moved: Option<u32>,
    ) -> Option<Endpoint> {
        use mizar_packet::Tables;
        if self.tables.endpoint(key).is_none_or(|found| found.kind != Endpoint::LOCAL) {
            // This host has become its bouncer.
            return None;
        }
        let Some(host) = moved else {
            self.tables.remove_endpoint(key);
            return None;
        };
        let left = Endpoint { host, ..mizar_vpc::tables::moved(row) };
        self.tables.put_endpoint(key, &left);
        Some(left)
    }
}

impl Guest {
    /// Its address of a family.
    pub(crate) fn address(&self, v6: bool) -> Option<IpAddr> {
        if v6 { self.v6.map(IpAddr::V6) } else { self.v4.map(IpAddr::V4) }
    }

    /// Whether an address is its own.
    pub(crate) fn has(&self, address: Address) -> bool {
        [self.address(false), self.address(true)]
            .into_iter()
            .flatten()
            .any(|it| address == it.into())
    }
}
