//! The kernel programs with their maps, run frame by frame.

use crate::hosts::{LEARNED_CAPACITY, PORT_BITS};
use crate::outcome::{Outcome, State};
use aya::maps::lpm_trie::Key;
use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, PerCpuValues, ProgramArray, RingBuf,
};
use aya::programs::{Program, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use mizar_agent::kernel::{EndpointTable, LearnedTable};
use mizar_packet::Address;
use mizar_packet::count::PER_VPC;
use mizar_packet::memory::MemoryTables;
use mizar_packet::programs::{self, Tag};
use mizar_packet::table::{Shape, learned};
use mizar_packet::tables::{Bucket, Config, Endpoint, EndpointKey, Event, Host, Port, SLOTS, Vpc};
use mizar_packet::wire::{Ethernet, Ipv4, Ipv6};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mizar.bpf.o"));

const HOSTS: u32 = 16;
const VPCS: u32 = 4;
const PORTS: u32 = 1 << PORT_BITS;
const NETWORKS: u32 = 8;

/// What goes with a frame into a tc program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skb {
    /// Payload of each segment, or 0.
    pub(crate) segment_payload: u32,
    /// The mark.
    pub(crate) mark: u32,
    /// Words that programs hand to each other.
    pub(crate) scratch: [u32; 2],
}

type Rows<const K: usize, const V: usize> = HashMap<MapData, [u8; K], [u8; V]>;

/// The VPC of rows that no frame asks for.
const UNRELATED: u32 = 0x12_3456;

/// Somebody writes rows while frames go through.
pub(crate) struct Disturbance {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<u64>,
}

impl Disturbance {
    /// Ends it; how many rows were written.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap()
    }
}

/// One copy of the programs, with maps of its own.
pub(crate) struct Kernel {
    object: Ebpf,
    config: Array<MapData, [u8; size_of::<Config>()]>,
    ports: Array<MapData, [u8; size_of::<Port>()]>,
    endpoints: Arc<EndpointTable>,
    learned: LearnedTable,
    learned_count: Array<MapData, u64>,
    hosts: Array<MapData, [u8; 40]>,
    host_index: Rows<16, 4>,
    vpcs: Rows<4, { size_of::<Vpc>() }>,
    routes: LpmTrie<MapData, [u8; 20], [u8; 8]>,
    holders: Array<MapData, [u8; 16]>,
    held: Vec<u32>,
    buckets: Array<MapData, [u8; 16]>,
    counters: PerCpuArray<MapData, u64>,
    events: RingBuf<MapData>,
    slots: Vec<ProgramArray<MapData>>,
}

impl Kernel {
    /// Loads the programs. Their slots are empty.
    pub(crate) fn load() -> Self {
        let mut loader = EbpfLoader::new();
        for (name, entries) in [
            ("PORTS", PORTS),
            ("ENDPOINTS", Shape::lines(128)),
            ("LEARNED", learned::lines(LEARNED_CAPACITY as u32)),
            ("LEARNED_COUNT", VPCS),
            ("HOSTS", HOSTS),
            ("HOST_INDEX", HOSTS),
            ("VPCS", VPCS),
            ("ROUTES", 64),
            ("HOLDERS", NETWORKS * SLOTS as u32),
            ("BUCKETS", PORTS),
            ("COUNTERS", VPCS * PER_VPC),
        ] {
            loader.map_max_entries(name, entries);
        }
        let mut object = loader.load(OBJECT).unwrap();
        for (name, program) in object.programs_mut() {
            let loaded = match program {
                Program::SchedClassifier(program) => program.load(),
                Program::Xdp(program) => program.load(),
                other => panic!("{name} is {:?}", other.prog_type()),
            };
            loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let endpoints = EndpointTable::new("ENDPOINTS", lines(&mut object, "ENDPOINTS")).unwrap();
        Self {
            config: take(&mut object, "CONFIG"),
            ports: take(&mut object, "PORTS"),
            endpoints: Arc::new(endpoints),
            learned: LearnedTable::new("LEARNED", lines(&mut object, "LEARNED")).unwrap(),
            learned_count: take(&mut object, "LEARNED_COUNT"),
            hosts: take(&mut object, "HOSTS"),
            host_index: take(&mut object, "HOST_INDEX"),
            vpcs: take(&mut object, "VPCS"),
            routes: take(&mut object, "ROUTES"),
            holders: take(&mut object, "HOLDERS"),
            held: Vec::new(),
            buckets: take(&mut object, "BUCKETS"),
            counters: take(&mut object, "COUNTERS"),
            events: take(&mut object, "EVENTS"),
            slots: ["GUEST_SLOTS", "WIRE_SLOTS", "WIRE_TC_SLOTS"]
                .map(|name| take(&mut object, name))
                .into(),
            object,
        }
    }

    /// Rewrites rows that no frame asks for until told to stop; how often that was.
    pub(crate) fn disturb(&self) -> Disturbance {
        let (endpoints, stop) = (Arc::clone(&self.endpoints), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let mut written = 0u64;
            while !stopped.load(Ordering::Relaxed) {
                written += 1;
                let [.., b, c] = written.to_be_bytes();
                let key = EndpointKey::new(UNRELATED, Address::v4([10, 0, b % 4, c % 12]));
                if written.is_multiple_of(5) {
                    endpoints.remove(&key).unwrap();
                } else {
                    let row = Endpoint { generation: written, kind: 2, ..Endpoint::NOWHERE };
                    endpoints.put(&key, &row).unwrap();
                }
            }
            written
        });
        Disturbance { stop, writer }
    }

    /// Puts the programs into their slots.
    pub(crate) fn fill_slots(&mut self) {
        let contents = [programs::GUEST, programs::WIRE, programs::WIRE_IN_TC];
        for (slots, contents) in self.slots.iter_mut().zip(contents) {
            for &(slot, name) in contents {
                let program = self.object.program(name).unwrap();
                slots.set(slot, program.fd().unwrap(), 0).unwrap();
            }
        }
    }

    /// Replaces all rows; counters become zero.
    pub(crate) fn fill(&mut self, tables: &MemoryTables) {
        self.config.set(0, row(&tables.config), 0).unwrap();
        for index in 0..PORTS {
            let port = tables.ports.get(&index).map_or([0; size_of::<Port>()], row);
            self.ports.set(index, port, 0).unwrap();
            let bucket = tables.buckets.borrow().get(&index).map_or([0; 16], row);
            self.buckets.set(index, bucket, 0).unwrap();
        }
        self.fill_endpoints(tables);
        let old: Vec<_> = self.learned.rows().collect();
        assert!(old.iter().all(|(key, _)| self.learned.remove(key)));
        for ((vni, address), row) in &*tables.learned.borrow() {
            self.learned.put(&EndpointKey::new(*vni, *address), row).unwrap();
        }
        let hosts = tables.hosts.borrow();
        for index in 0..HOSTS {
            let host = hosts.get(&index).map_or([0; 40], row);
            self.hosts.set(index, host, 0).unwrap();
        }
        replace(&mut self.host_index, hosts.iter().map(|(k, v)| (v.address.octets(), row(k))));
        replace(&mut self.vpcs, tables.vpcs.iter().map(|(k, v)| (row(k), row(v))));
        for index in 0..VPCS {
            let count = tables.learned_count.borrow().get(&index).copied().unwrap_or(0);
            self.learned_count.set(index, count, 0).unwrap();
        }
        self.fill_routes(tables);
        let zeros = vec![0; aya::util::nr_cpus().unwrap()];
        for row in 0..VPCS * PER_VPC {
            let zeros = PerCpuValues::try_from(zeros.clone()).unwrap();
            self.counters.set(row, zeros, 0).unwrap();
        }
    }

    fn fill_endpoints(&self, tables: &MemoryTables) {
        let gone = self.endpoints.rows().map(|(key, _)| key).filter(|key| {
            key.vni != UNRELATED && !tables.endpoints.contains_key(&(key.vni, key.address))
        });
        for key in gone {
            assert!(self.endpoints.remove(&key).unwrap());
        }
        for ((vni, address), endpoint) in &tables.endpoints {
            self.endpoints.put(&EndpointKey::new(*vni, *address), endpoint).unwrap();
        }
    }

    fn fill_routes(&mut self, tables: &MemoryTables) {
        let old: Vec<_> = self.routes.keys().map(Result::unwrap).collect();
        for key in old {
            self.routes.remove(&key).unwrap();
        }
        for ((vni, network, length), route) in &tables.routes {
            let mut key = [0; 20];
            key[..4].copy_from_slice(&vni.to_be_bytes());
            key[4..].copy_from_slice(&network.octets());
            let key = Key::new(32 + u32::from(*length), key);
            self.routes.insert(&key, row(route), 0).unwrap();
        }
        for index in self.held.drain(..) {
            self.holders.set(index, [0; 16], 0).unwrap();
        }
        for (&(network, slot), holders) in &tables.holders {
            let index = network * SLOTS as u32 + u32::from(slot);
            self.holders.set(index, row(holders), 0).unwrap();
            self.held.push(index);
        }
    }

    /// What the programs have written since the last time, events included.
    pub(crate) fn state(&mut self) -> State {
        let mut events = Vec::new();
        while let Some(event) = self.events.next() {
            events.push(Event::read_from_bytes(&event).unwrap());
        }
        let counters = (0..VPCS * PER_VPC).filter_map(|row| {
            let count: u64 = self.counters.get(&row, 0).unwrap().iter().sum();
            (count != 0).then_some(((row / PER_VPC, row % PER_VPC), count))
        });
        let learned = self.learned.rows().map(|(key, row)| ((key.vni, key.address), row));
        let buckets = (0..PORTS).filter_map(|index| {
            let bytes = self.buckets.get(&index, 0).unwrap();
            let bucket = Bucket::read_from_bytes(&bytes).unwrap();
            (bucket.filled != 0 || bucket.tokens != 0).then_some((index, bucket))
        });
        let hosts = (0..HOSTS).filter_map(|index| {
            let host = Host::read_from_bytes(&self.hosts.get(&index, 0).unwrap()).unwrap();
            (!host.address.is_none()).then_some((index, host))
        });
        let learned_count = (0..VPCS).filter_map(|index| {
            let count = self.learned_count.get(&index, 0).unwrap();
            (count != 0).then_some((index, count))
        });
        State {
            counters: counters.collect(),
            learned: learned.collect(),
            buckets: buckets.collect(),
            hosts: hosts.collect(),
            learned_count: learned_count.collect(),
            events,
        }
    }

    /// Runs a tc program.
    pub(crate) fn run_tc(&self, name: &str, frame: &[u8], skb: &Skb) -> Outcome {
        let program: &SchedClassifier = self.object.program(name).unwrap().try_into().unwrap();
        let mut context = [0u8; SKB_LEN];
        let mut put = |at: usize, word: u32| context[at..at + 4].copy_from_slice(word.as_bytes());
        put(SKB_MARK, skb.mark);
        put(SKB_SCRATCH, skb.scratch[0]);
        put(SKB_SCRATCH + 4, skb.scratch[1]);
        put(SKB_SEGMENT, skb.segment_payload);
        let (code, bytes, context) = run(program, frame, &context);
        Outcome { code, bytes, mark: word(&context, SKB_MARK), tag: None }
    }

    /// Bytes of the shortest frame that the kernel runs a program on: in tc, IP headers are whole.
    pub(crate) fn shortest(is_xdp: bool, frame: &[u8]) -> usize {
        match frame.get(12..14) {
            _ if is_xdp => Ethernet::LEN,
            Some([0x08, 0x00]) => Ethernet::LEN + Ipv4::LEN,
            Some([0x86, 0xdd]) => Ethernet::LEN + Ipv6::LEN,
            _ => Ethernet::LEN + 1,
        }
    }

    /// Runs an XDP program.
    pub(crate) fn run_xdp(&self, name: &str, frame: &[u8]) -> Outcome {
        let program: &Xdp = self.object.program(name).unwrap().try_into().unwrap();
        let mut context = [0u8; XDP_LEN];
        context[4..8].copy_from_slice((frame.len() as u32).as_bytes());
        let (code, mut bytes, context) = run(program, frame, &context);
        // The data begins with the metadata, whose length is where the frame starts.
        let tag = match word(&context, 0) {
            0 => None,
            len => {
                let metadata: Vec<_> = bytes.drain(..len as usize).collect();
                Some(Tag::read_from_bytes(&metadata).unwrap())
            }
        };
        Outcome { code, bytes, mark: 0, tag }
    }
}

/// The kernel's time, from a source that the programs have no part in.
pub(crate) fn jiffies() -> u64 {
    let text = std::fs::read_to_string("/proc/timer_list").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("jiffies: "));
    line.unwrap().parse().unwrap()
}

/// `struct __sk_buff`.
const SKB_LEN: usize = 192;
const SKB_MARK: usize = 8;
const SKB_SCRATCH: usize = 48;
const SKB_SEGMENT: usize = 176;
/// `struct xdp_md`: data, data_end, data_meta and three words more.
const XDP_LEN: usize = 24;
/// More than any answer to any frame of these tests.
const ROOM: usize = 16_384;

fn run<P>(program: &P, frame: &[u8], context: &[u8]) -> (u32, Vec<u8>, Vec<u8>)
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = aya::programs::TestRunResult>,
{
    let (mut bytes, mut context_out) = (vec![0; ROOM], vec![0; context.len()]);
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut bytes),
        ctx_in: Some(context),
        ctx_out: Some(&mut context_out),
        ..TestRunOptions::default()
    };
    let ran = program.test_run(options).unwrap_or_else(|error| {
        panic!(
            "the kernel refuses a frame of {} bytes: {error:?} {:x?} {context:?}",
            frame.len(),
            frame
        )
    });
    bytes.truncate(ran.data_size_out as usize);
    (ran.return_value, bytes, context_out)
}

/// A table that is written as memory.
fn lines(object: &mut Ebpf, name: &str) -> OwnedFd {
    let Some(Map::Array(map)) = object.take_map(name) else { panic!("{name} is no array") };
    map.fd().as_fd().try_clone_to_owned().unwrap()
}

fn take<M>(object: &mut Ebpf, name: &str) -> M
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    object.take_map(name).unwrap_or_else(|| panic!("no map {name}")).try_into().unwrap()
}

fn replace<const K: usize, const V: usize>(
    table: &mut Rows<K, V>,
    rows: impl Iterator<Item = ([u8; K], [u8; V])>,
) {
    let rows: BTreeMap<_, _> = rows.collect();
    let old: Vec<_> = table.keys().map(Result::unwrap).collect();
    for key in old.iter().filter(|key| !rows.contains_key(*key)) {
        table.remove(key).unwrap();
    }
    for (key, value) in rows {
        table.insert(key, value, 0).unwrap();
    }
}

fn row<const N: usize>(value: &(impl IntoBytes + Immutable)) -> [u8; N] {
    value.as_bytes().try_into().unwrap()
}

fn word(context: &[u8], at: usize) -> u32 {
    u32::read_from_bytes(&context[at..at + 4]).unwrap()
}
