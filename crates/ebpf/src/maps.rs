//! The kernel maps as [`Tables`].
//!
//! The sizes here are the smallest sensible ones; the agent sets those of its configuration at
//! load.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, ProgramArray, RingBuf};
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::btf_map;
use mizar_packet::count::{Counter, PER_VPC};
use mizar_packet::programs;
use mizar_packet::table::{self, LINE_WORDS, learned};
use mizar_packet::tables::{
    Bucket, Config, Endpoint, EndpointKey, Event, Holders, Host, HostIndex, Learned, NetworkIndex,
    Port, Route, SLOTS, Vpc, VpcIndex,
};
use mizar_packet::{Address, Tables};

/// Memory for rows is taken as they come: a host that holds few has no use for that of many.
const GROWING: usize = BPF_F_NO_PREALLOC as usize;
/// The agent writes it as memory of its own.
const MAPPED: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();
#[btf_map]
static PORTS: Array<Port, 1024> = Array::new();
#[btf_map]
static ENDPOINTS: Array<[u64; LINE_WORDS], 64, MAPPED> = Array::new();
#[btf_map]
static LEARNED: Array<[u64; LINE_WORDS], 64, MAPPED> = Array::new();
#[btf_map]
static LEARNED_COUNT: Array<u64, 64> = Array::new();
#[btf_map]
static HOSTS: Array<Host, 1024> = Array::new();
#[btf_map]
static HOST_INDEX: HashMap<Address, HostIndex, 1024, GROWING> = HashMap::new();
#[btf_map]
static VPCS: HashMap<u32, Vpc, 64> = HashMap::new();
#[btf_map]
static ROUTES: LpmTrie<RouteKey, Route, 1024> = LpmTrie::new();
#[btf_map]
static HOLDERS: Array<Holders, { 16 * SLOTS }> = Array::new();
#[btf_map]
static BUCKETS: Array<Bucket, 1024> = Array::new();
#[btf_map]
static COUNTERS: PerCpuArray<u64, { 64 * PER_VPC as usize }> = PerCpuArray::new();
#[btf_map]
static EVENTS: RingBuf<(), 65536> = RingBuf::new();
/// Programs for guests' frames, by slot.
#[btf_map]
pub static GUEST_SLOTS: ProgramArray<{ programs::GUEST_SLOTS as usize }> = ProgramArray::new();
/// Programs for frames from the wire in XDP, by slot.
#[btf_map]
pub static WIRE_SLOTS: ProgramArray<{ programs::WIRE_SLOTS as usize }> = ProgramArray::new();
/// Programs for frames from the wire in tc, by slot.
#[btf_map]
pub static WIRE_TC_SLOTS: ProgramArray<{ programs::WIRE_SLOTS as usize }> = ProgramArray::new();

/// What follows the prefix length in a key of `ROUTES`.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct RouteKey {
    vni: u32,
    address: Address,
}

/// The table of endpoints.
struct EndpointLines;

impl table::Lines for EndpointLines {
    type Line = Line;

    #[inline(always)]
    fn line(&self, number: u32) -> Option<Line> {
        ENDPOINTS.get_ptr_mut(number).map(|words| Line(words.cast()))
    }
}

/// The table of learned rows.
struct LearnedLines;

impl table::Lines for LearnedLines {
    type Line = Line;

    #[inline(always)]
    fn line(&self, number: u32) -> Option<Line> {
        LEARNED.get_ptr_mut(number).map(|words| Line(words.cast()))
    }
}

/// A line of a table that others may be writing.
#[derive(Clone, Copy)]
struct Line(*mut u64);

impl table::Words for Line {
    #[inline(always)]
    fn load(self, word: usize) -> u64 {
        // SAFETY: a line is as long as a row of the map, of whose words one is read: the verifier
        // refuses whatever may be beyond.
        unsafe { self.0.add(word).read_volatile() }
    }

    #[inline(always)]
    fn order(self) {
        // The compiler keeps volatile loads in their order, and so does the machine.
        const { assert!(cfg!(any(not(target_arch = "bpf"), bpf_target_arch = "x86_64"))) };
    }
}

impl learned::WriteWords for Line {
    #[inline(always)]
    fn store(self, word: usize, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.add(word).write_volatile(value) }
    }
}

static NO_CONFIG: Config = Config::EMPTY;

/// This host's tables.
pub struct Maps;

impl Maps {
    #[inline(always)]
    fn host_mut(&self, index: HostIndex) -> Option<*mut Host> {
        HOSTS.get_ptr_mut(index)
    }
}

// SAFETY of the accesses below: rows live as long as the program runs (RCU). The agent replaces
// rows as a whole; those fields that programs write are aligned words, written and read whole.
impl Tables for Maps {
    #[inline(always)]
    fn config(&self) -> &Config {
        CONFIG.get(0).unwrap_or(&NO_CONFIG)
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn port(&self, interface: u32) -> Option<&Port> {
        let port = PORTS.get(self.config().port_row(interface))?;
        if port.interface == interface { Some(port) } else { None }
    }

    #[inline(always)]
    fn endpoint(&self, key: &EndpointKey) -> Option<Endpoint> {
        table::find(&EndpointLines, key)
    }

    #[inline(always)]
    fn learned(&self, key: &EndpointKey) -> Option<Learned> {
        learned::find(&LearnedLines, key)
    }

    #[inline(always)]
    fn learn(&self, key: &EndpointKey, row: &Learned) -> bool {
        learned::put(&LearnedLines, key, row)
    }

    #[inline(always)]
    fn claim_learned(&self, vpc: &Vpc) -> bool {
        let Some(count) = LEARNED_COUNT.get_ptr_mut(vpc.index) else { return false };
        // CPUs may count two rows as one; the agent sets the counter to the truth every few
        // seconds.
        let count = unsafe { &mut *count };
        let within = *count < u64::from(vpc.quota);
        *count += u64::from(within);
        within
    }

    #[inline(always)]
    fn touch_learned(&self, key: &EndpointKey, now: u64) {
        learned::touch(&LearnedLines, key, now);
    }

    #[inline(always)]
    fn host(&self, index: HostIndex) -> Option<Host> {
        let host = HOSTS.get(index).copied()?;
        if index == 0 || host.address.is_none() { None } else { Some(host) }
    }

    #[inline(always)]
    fn host_index(&self, address: &Address) -> Option<HostIndex> {
        unsafe { HOST_INDEX.get(address).copied() }
    }

    #[inline(always)]
    fn touch_host(&self, index: HostIndex, now: u64) {
        if let Some(host) = self.host_mut(index) {
            unsafe { (*host).used = now };
        }
    }

    #[inline(always)]
    fn prove_host(&self, index: HostIndex, until: u64) {
        if let Some(host) = self.host_mut(index) {
            unsafe { (*host).alive_until = until };
        }
    }

    #[inline(always)]
    fn lower_mtu(&self, index: HostIndex, mtu: u16) {
        if let Some(host) = self.host_mut(index) {
            unsafe { (*host).mtu = mtu };
        }
    }

    #[inline(always)]
    fn vpc(&self, vni: u32) -> Option<&Vpc> {
        unsafe { VPCS.get(vni) }
    }

    #[inline(always)]
    fn route(&self, vni: u32, address: &Address) -> Option<Route> {
        let key = RouteKey { vni: vni.to_be(), address: *address };
        ROUTES.get(&Key::new(160, key)).copied()
    }

    #[inline(always)]
    fn holders(&self, network: NetworkIndex, slot: u8) -> Option<Holders> {
        let holders = HOLDERS.get(network * SLOTS as u32 + u32::from(slot)).copied()?;
        if holders.hosts[0] == 0 { None } else { Some(holders) }
    }

    #[inline(always)]
    fn take_token(&self, interface: u32) -> bool {
        // CPUs may both take the same token: the limit is a guard, not an account.
        let config = self.config();
        BUCKETS
            .get_ptr_mut(config.port_row(interface))
            .is_some_and(|bucket| unsafe { &mut *bucket }.take(self.now(), config.hz))
    }

    #[inline(always)]
    fn count(&self, vpc: VpcIndex, counter: Counter) {
        if let Some(count) = COUNTERS.get_ptr_mut(vpc * PER_VPC + counter.row()) {
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn tell(&self, event: &Event) {
        // A full ring loses it; whoever asked will ask again. Written in place: the stack is short.
        if let Some(mut entry) = EVENTS.reserve_untyped::<Event>(0) {
            entry.write(*event);
            entry.submit(0);
        }
    }
}
