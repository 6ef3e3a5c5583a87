//! The tables that the kernel programs and the agent share: their names, sizes and pins.

use super::endpoints::EndpointTable;
use super::learned::LearnedTable;
use super::pins::Pins;
use super::ports::PortTable;
use super::table::{CounterTable, Table, TableError, memory};
use aya::maps::MapData;
use mizar_packet::Address;
use mizar_packet::count::PER_VPC;
use mizar_packet::table::{Shape, learned};
use mizar_packet::tables::{Config, Holders, Host, Route, RouteKey, SLOTS, Vpc};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Most rows of each table. A table that is pinned already keeps the size it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Addresses that live here or that this host bounces for.
    pub endpoints: u32,
    /// Learned locations, of all VPCs.
    pub learned: u32,
    /// Guests' interfaces; rounded up to a power of two.
    pub ports: u32,
    /// Other hosts.
    pub hosts: u32,
    /// VPCs.
    pub vpcs: u32,
    /// Networks, each with 256 slots of 16 bytes.
    pub networks: u32,
    /// Prefixes of networks.
    pub routes: u32,
    /// Bytes of the queue from the kernel programs; a power of two and of pages.
    pub events: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            endpoints: 65_536,
            learned: 16_384,
            ports: 1024,
            hosts: 8192,
            vpcs: 256,
            networks: 256,
            routes: 4096,
            events: 65_536,
        }
    }
}

impl Sizes {
    /// Each map's name and number of rows.
    pub(crate) fn by_map(&self) -> BTreeMap<&'static str, u32> {
        // Row 0 stands for nobody.
        let (hosts, vpcs) = (self.hosts.saturating_add(1), self.vpcs.saturating_add(1));
        let networks = self.networks.saturating_add(1);
        let ports = self.ports.checked_next_power_of_two().unwrap_or(1 << 31);
        BTreeMap::from([
            (CONFIG, 1),
            (PORTS, ports),
            (ENDPOINTS, Shape::lines(self.endpoints)),
            (LEARNED, learned::lines(self.learned)),
            (HOSTS, hosts),
            (HOST_INDEX, self.hosts),
            (VPCS, self.vpcs),
            (ROUTES, self.routes),
            (HOLDERS, networks.saturating_mul(SLOTS as u32)),
            (BUCKETS, ports),
            (LEARNED_COUNT, vpcs),
            (COUNTERS, vpcs.saturating_mul(PER_VPC)),
            (EVENTS, self.events),
        ])
    }
}

pub(crate) const CONFIG: &str = "CONFIG";
pub(crate) const PORTS: &str = "PORTS";
pub(crate) const ENDPOINTS: &str = "ENDPOINTS";
pub(crate) const LEARNED: &str = "LEARNED";
pub(crate) const HOSTS: &str = "HOSTS";
pub(crate) const HOST_INDEX: &str = "HOST_INDEX";
pub(crate) const VPCS: &str = "VPCS";
pub(crate) const ROUTES: &str = "ROUTES";
pub(crate) const HOLDERS: &str = "HOLDERS";
pub(crate) const BUCKETS: &str = "BUCKETS";
pub(crate) const LEARNED_COUNT: &str = "LEARNED_COUNT";
pub(crate) const COUNTERS: &str = "COUNTERS";
pub(crate) const EVENTS: &str = "EVENTS";
pub(crate) const GUEST_SLOTS: &str = "GUEST_SLOTS";
pub(crate) const WIRE_SLOTS: &str = "WIRE_SLOTS";
pub(crate) const WIRE_TC_SLOTS: &str = "WIRE_TC_SLOTS";

/// Every map that outlives the agent. A program array is emptied when its last pin goes, so they
/// too.
pub(crate) const PINNED: [&str; 16] = [
    CONFIG,
    PORTS,
    ENDPOINTS,
    LEARNED,
    HOSTS,
    HOST_INDEX,
    VPCS,
    ROUTES,
    HOLDERS,
    BUCKETS,
    LEARNED_COUNT,
    COUNTERS,
    EVENTS,
    GUEST_SLOTS,
    WIRE_SLOTS,
    WIRE_TC_SLOTS,
];

/// The tables of one host.
#[derive(Debug)]
pub struct Maps {
    /// What is the same for every packet.
    pub config: Table<u32, Config>,
    /// Held by whoever changes that.
    changing: Mutex<()>,
    /// Guests' interfaces and their tokens, by interface index.
    pub ports: PortTable,
    /// What is known for certain of addresses.
    pub endpoints: EndpointTable,
    /// What was learned of addresses.
    pub learned: LearnedTable,
    /// Hosts.
    pub hosts: Table<u32, Host>,
    /// Rows of hosts, by underlay address.
    pub host_index: Table<Address, u32>,
    /// VPCs, by VNI.
    pub vpcs: Table<u32, Vpc>,
    /// Networks, by prefix.
    pub routes: Table<RouteKey, Route>,
    /// Holders, by network index × 256 + slot.
    pub holders: Table<u32, Holders>,
    /// Learned rows of each VPC, by VPC index.
    pub learned_count: Table<u32, u64>,
    /// Counters, by VPC index × counters per VPC + counter.
    pub counters: CounterTable,
}

impl Maps {
    /// Opens the pinned maps.
    pub fn open(pins: impl Into<Pins>) -> Result<Self, MapsError> {
        let folder = pins.into().tables();
        Ok(Self {
            config: table(&folder, CONFIG)?,
            changing: Mutex::default(),
            ports: PortTable::new(table(&folder, PORTS)?, table(&folder, BUCKETS)?)?,
            endpoints: EndpointTable::new(ENDPOINTS, descriptor(&folder, ENDPOINTS)?)?,
            learned: LearnedTable::new(LEARNED, descriptor(&folder, LEARNED)?)?,
            hosts: table(&folder, HOSTS)?,
            host_index: table(&folder, HOST_INDEX)?,
            vpcs: table(&folder, VPCS)?,
            routes: table(&folder, ROUTES)?,
            holders: table(&folder, HOLDERS)?,
            learned_count: table(&folder, LEARNED_COUNT)?,
            counters: CounterTable::new(COUNTERS, descriptor(&folder, COUNTERS)?)?,
        })
    }

    /// Changes the row that is the same for every packet.
    pub fn change_config(&self, change: impl FnOnce(&mut Config)) -> Result<(), TableError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(old) = self.config.get(&0)? else { return Ok(()) };
        let mut row = old;
        change(&mut row);
        if row == old { Ok(()) } else { self.config.put(&0, &row) }
    }
}

/// Kernel memory of all pinned maps, in bytes, by name.
pub fn memory_by_map(pins: impl Into<Pins>) -> Result<BTreeMap<&'static str, u64>, MapsError> {
    let folder = pins.into().tables();
    let sizes = PINNED.into_iter().map(|name| {
        let bytes = memory(descriptor(&folder, name)?)
            .map_err(|source| MapsError::Descriptor { name, source })?;
        Ok((name, bytes))
    });
    sizes.collect()
}

/// Why the pinned maps cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// A pin cannot be opened.
    #[error("cannot open the pinned map {}", path.display())]
    Open {
        /// The pin.
        path: PathBuf,
        /// aya's reason.
        #[source]
        source: aya::maps::MapError,
    },
    /// A descriptor cannot be kept or looked at.
    #[error("cannot use the descriptor of map {name}")]
    Descriptor {
        /// The map.
        name: &'static str,
        /// The kernel's reason.
        #[source]
        source: std::io::Error,
    },
    /// A map is not what this build needs.
    #[error(transparent)]
    Table(#[from] TableError),
}

fn table<K, V>(folder: &Path, name: &'static str) -> Result<Table<K, V>, MapsError>
where
    K: FromBytes + IntoBytes + Immutable,
    V: FromBytes + IntoBytes + Immutable,
{
    Ok(Table::new(name, descriptor(folder, name)?)?)
}

fn descriptor(folder: &Path, name: &'static str) -> Result<OwnedFd, MapsError> {
    let map = open(folder, name)?;
    let owned = map.fd().as_fd().try_clone_to_owned();
    owned.map_err(|source| MapsError::Descriptor { name, source })
}

/// A pinned map as aya has it.
pub(crate) fn open(folder: &Path, name: &str) -> Result<MapData, MapsError> {
    let path = folder.join(name);
    MapData::from_pin(&path).map_err(|source| MapsError::Open { path, source })
}
