//! The programs, and tables that every flow has its own rows in.

use super::traffic::Way;
use anyhow::{Context, Result, bail};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, LpmTrie, Map, MapData, MapError, PerCpuArray, ProgramArray};
use aya::programs::{Program, ProgramFd};
use aya::{Ebpf, EbpfLoader};
use mizar_agent::kernel::{EndpointTable, LearnedTable, OBJECT, TableError, jiffies};
use mizar_packet::Address;
use mizar_packet::count::{Counter, PER_VPC, Path};
use mizar_packet::programs;
use mizar_packet::table::{Shape, learned};
use mizar_packet::tables::{
    Config, Endpoint, EndpointKey, FleetPrefix, Holders, Host, Learned, Port, Route, SLOTS,
};
use std::os::fd::{AsFd, OwnedFd};
use zerocopy::{Immutable, IntoBytes};

/// VPC of the flows that are bounced here. VNIs are also rows of the counters.
pub(super) const BOUNCE: u32 = 1;
/// VPC of the flows that are divided here.
pub(super) const DIVIDE: u32 = 2;
/// VPC of the flows that arrive here.
pub(super) const UNWRAP: u32 = 3;
/// VPC of the guest that sends.
pub(super) const DEPART: u32 = 4;
/// This host's row.
pub(super) const OWN_HOST: u32 = 1;
/// The row of the host that sends to this one.
pub(super) const SENDER: u32 = 2;
/// This host's NIC.
pub(super) const NIC_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];
/// The guest that sends.
pub(super) const GUEST: [u8; 4] = [10, 255, 0, 2];
/// Its MAC address.
pub(super) const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The sender of what comes from the wire.
pub(super) const REMOTE: [u8; 4] = [10, 255, 0, 3];

/// Test runs say that frames came in by the loopback interface.
const INTERFACE: u32 = 1;
/// As many ports as an agent has room for unless it is told otherwise: 1024.
const PORT_BITS: u8 = 10;
/// Far enough that no stamp is due and no lease ends while this runs.
const LONG: u64 = 1 << 30;

/// The endpoint that a flow goes to: 256 to a network.
pub(super) fn endpoint(flow: u32) -> [u8; 4] {
    let [_, _, network, number] = flow.to_be_bytes();
    [10, 0, network, number]
}

/// The underlay address of a host's row.
pub(super) fn underlay(host: u32) -> [u8; 4] {
    let [_, _, high, low] = host.to_be_bytes();
    [100, 64, high, low]
}

/// Loaded programs and their filled tables.
pub(super) struct World {
    /// Flows that there are, a power of two.
    pub(super) flows: u32,
    object: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    // An array of programs is emptied when its last descriptor goes.
    _slots: ProgramArray<MapData>,
}

impl World {
    /// Loads the programs and fills the tables with rows for so many flows of one way. Whether
    /// each of so many addresses finds room where it was learned is chance, by the table's seed: of
    /// some dozens of tables one refuses a row, and another takes its place.
    pub(super) fn new(way: Way, flows: u32) -> Result<Self> {
        let is_full = |error: &anyhow::Error| {
            matches!(error.downcast_ref(), Some(TableError::Full { table: "LEARNED", .. }))
        };
        match Self::fill(way, flows) {
            Err(error) if is_full(&error) => Self::fill(way, flows),
            made => made,
        }
    }

    fn fill(way: Way, flows: u32) -> Result<Self> {
        let networks = flows.div_ceil(256);
        let mut loader = EbpfLoader::new();
        for (name, entries) in [
            // The agent's sizes where they are enough.
            ("ENDPOINTS", Shape::lines(flows.max(65_536))),
            ("LEARNED", learned::lines(flows.max(16_384))),
            ("PORTS", 1 << PORT_BITS),
            ("BUCKETS", 1 << PORT_BITS),
            ("HOSTS", 8193),
            ("HOST_INDEX", 8192),
            ("ROUTES", 4096),
            ("HOLDERS", (networks + 1).max(257) * SLOTS as u32),
            ("COUNTERS", 257 * PER_VPC),
        ] {
            loader.map_max_entries(name, entries);
        }
        let mut object = loader.load(OBJECT).context("load the kernel programs")?;
        for (name, program) in object.programs_mut() {
            let loaded = match program {
                Program::SchedClassifier(program) => program.load(),
                Program::Xdp(program) => program.load(),
                _ => continue,
            };
            loaded.with_context(|| format!("load {name}"))?;
        }
        fill_host(&mut object)?;
        fill_flows(&mut object, way, flows)?;
        let mut slots: ProgramArray<_> = map(&mut object, "GUEST_SLOTS")?;
        for &(slot, name) in programs::GUEST {
            slots.set(slot, program_fd(&object, name)?, 0)?;
        }
        let counters = map(&mut object, "COUNTERS")?;
        Ok(Self { flows, object, counters, _slots: slots })
    }

    /// A program's descriptor.
    pub(super) fn program(&self, name: &str) -> Result<&ProgramFd> {
        program_fd(&self.object, name)
    }

    /// How often a VPC's packets have taken a way.
    pub(super) fn counted(&self, vni: u32, path: Path) -> Result<u64> {
        let row = vni * PER_VPC + Counter::Path(path).row();
        Ok(self.counters.get(&row, 0)?.iter().sum())
    }
}

fn program_fd<'a>(object: &'a Ebpf, name: &str) -> Result<&'a ProgramFd> {
    let program = object.program(name).with_context(|| format!("no program {name}"))?;
    Ok(program.fd()?)
}

/// Rows that are the same for all flows.
fn fill_host(object: &mut Ebpf) -> Result<()> {
    let now = jiffies()?;
    let mut fleet = [FleetPrefix { network: !0, mask: 0 }; 8];
    fleet[0] = FleetPrefix {
        network: u32::from_ne_bytes(underlay(0)),
        mask: u32::from_ne_bytes([255, 255, 0, 0]),
    };
    let config = Config {
        underlay: Address::v4(underlay(OWN_HOST)),
        fleet,
        nic: 7,
        own_host: OWN_HOST,
        mark: 1,
        nic_mac: NIC_MAC,
        vouched_until: now + LONG,
        stamp: LONG as u32,
        teach: 1000,
        hz: 1000,
        port_bits: PORT_BITS,
        ..Config::EMPTY
    };
    let mut configs: Array<_, [u8; size_of::<Config>()]> = map(object, "CONFIG")?;
    configs.set(0, row(&config), 0)?;
    let mut hosts: Array<_, [u8; 40]> = map(object, "HOSTS")?;
    for index in 1..=HOSTS + SENDER {
        let host = Host {
            address: Address::v4(underlay(index)),
            next_hop: [2, 0, 0, 0, 0xff, 9],
            mtu: 1500,
            used: now,
            alive_until: now + LONG,
        };
        hosts.set(index, row::<40>(&host), 0)?;
    }
    let port = Port {
        v6: Address::NONE,
        v6_network: Address::NONE,
        v6_gateway: Address::NONE,
        generation: 1,
        v4_tag: [0; 8],
        v6_tag: [0; 8],
        vni: DEPART,
        vpc: DEPART,
        network: 1,
        interface: INTERFACE,
        v4: GUEST,
        v4_network: [10, 0, 0, 0],
        v4_gateway: [10, 255, 0, 1],
        flags: 0,
        mtu: 1426,
        mac: GUEST_MAC,
        v4_prefix: 8,
        v6_prefix: 64,
    };
    let mut ports: Array<_, [u8; size_of::<Port>()]> = map(object, "PORTS")?;
    ports.set(config.port_row(INTERFACE), row(&port), 0)?;
    Ok(())
}

/// Hosts that endpoints are on.
const HOSTS: u32 = 1000;

/// Rows of each flow's destination: in the table of endpoints those of guests that are here where
/// packets are unwrapped, else those that a bouncer holds, which packets on other ways meet too.
fn fill_flows(object: &mut Ebpf, way: Way, flows: u32) -> Result<()> {
    let now = jiffies()?;
    let endpoints = EndpointTable::new("ENDPOINTS", lines(object, "ENDPOINTS")?)?;
    let learned = LearnedTable::new("LEARNED", lines(object, "LEARNED")?)?;
    let mut routes: LpmTrie<_, [u8; 20], [u8; 8]> = map(object, "ROUTES")?;
    let mut holders: Array<_, [u8; 16]> = map(object, "HOLDERS")?;
    for flow in 0..flows {
        let address = Address::v4(endpoint(flow));
        let host = SENDER + 1 + flow % HOSTS;
        let held = Endpoint {
            generation: 1,
            kind: Endpoint::HELD,
            interface: 0,
            host,
            vpc: BOUNCE,
            mac: [0; 6],
            flags: 0,
        };
        let here = Endpoint { kind: Endpoint::LOCAL, interface: 9, host: 0, vpc: UNWRAP, ..held };
        let (vni, known) = if way == Way::Unwrap { (UNWRAP, here) } else { (BOUNCE, held) };
        endpoints.put(&EndpointKey::new(vni, address), &known)?;
        let there =
            Learned { generation: 1, used: now, teach_until: 0, notice_at: 0, host, vpc: DEPART };
        learned.put(&EndpointKey::new(DEPART, address), &there)?;
        let network = 1 + flow / 256;
        if flow % 256 == 0 {
            let mut prefix = [0; 20];
            prefix[..4].copy_from_slice(&DIVIDE.to_be_bytes());
            prefix[4..].copy_from_slice(&address.octets());
            let route = Route { network, vpc: DIVIDE };
            routes.insert(&Key::new(32 + 96 + 24, prefix), row::<8>(&route), 0)?;
        }
        let index = network * SLOTS as u32 + u32::from(address.slot());
        let hosts = Holders { hosts: [host, SENDER + 1 + (flow + 7) % HOSTS, 0, 0] };
        holders.set(index, row::<16>(&hosts), 0)?;
    }
    Ok(())
}

/// A table that is written as memory.
fn lines(object: &mut Ebpf, name: &str) -> Result<OwnedFd> {
    let map = object.take_map(name);
    let Some(Map::Array(map)) = map else { bail!("{name} is no array") };
    Ok(map.fd().as_fd().try_clone_to_owned()?)
}

/// A second handle on a map: what is filled here stays with the programs.
fn map<M: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &str) -> Result<M> {
    let map = object.take_map(name).with_context(|| format!("no map {name}"))?;
    Ok(M::try_from(map)?)
}

fn row<const N: usize>(value: &(impl IntoBytes + Immutable)) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(value.as_bytes());
    bytes
}
