//! What one host's data plane looks up: the rows, their keys, and the [`Tables`] trait that lends
//! them.
//!
//! The rows are what the kernel's maps hold, byte for byte (but for endpoints, which
//! [`crate::table`] packs), so their layout is a contract between the agent that writes them and
//! the programs that read them, possibly of another build: [`LAYOUT`] is part of the maps' pin path
//! and changes with any of them.

use crate::keys::{Keys, Tag};
use crate::wire::ipv4;
use crate::{Address, count::Counter};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of every layout in this module and in [`crate::table`].
pub const LAYOUT: u32 = 5;

/// Slots of a network's endpoint table.
pub const SLOTS: usize = 256;
/// Most bouncers that hold one slot.
pub const REPLICAS: usize = 4;
/// Most dividers of a VPC that one host knows.
pub const DIVIDERS: usize = 8;
/// Most prefixes of the fleet's underlay.
pub const FLEET_PREFIXES: usize = 8;

/// Derives what every row needs: plain bytes without padding, aligned for word access.
macro_rules! rows {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty),* $(,)?
    })*) => { $(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash,
            FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C, align(8))]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }
    )* };
}

rows! {
    /// What is the same for every packet of this host. One row.
    pub struct Config {
        /// This host's underlay address.
        pub underlay: Address,
        /// Accepted outer sources, IPv4: (network, mask) in network byte order as loaded; unused
        /// ones are (!0, 0).
        pub fleet: [FleetPrefix; FLEET_PREFIXES],
        /// Proof that an echo reply answers an echo of this agent.
        pub echo_cookie: u64,
        /// The keys of what hosts say to each other that is not of one VPC.
        pub keys: Keys,
        /// Until when the agent answers for the next hops of hosts' rows, in jiffies. From then on,
        /// frames are sent by what the kernel itself knows of its neighbours.
        pub vouched_until: u64,
        /// How long one echo reply proves a host alive, in jiffies.
        pub lease: u32,
        /// How much longer than that at most, where the host that answers says so, in jiffies.
        pub longest_pause: u32,
        /// How long this host lets those who ask it for echoes wait beyond their lease, in ms: not
        /// at all, unless many ask.
        pub echo_pause: u32,
        /// How long a sender goes on teaching, in jiffies (1 s).
        pub teach: u32,
        /// How long bounced packets are watched before a notice is due, in jiffies (100 ms).
        pub notice_delay: u32,
        /// How stale a row's `used` stamp may get before it is written again, in jiffies (100 ms).
        pub stamp: u32,
        /// Jiffies a second on this kernel.
        pub hz: u32,
        /// Interface index of the NIC.
        pub nic: u32,
        /// This host's own row in the host table.
        pub own_host: HostIndex,
        /// The mark on frames that this host's programs send out of the NIC; frames to UDP 6081
        /// without it are dropped.
        pub mark: u32,
        /// The NIC's MAC address.
        pub nic_mac: [u8; 6],
        /// The operator's DSCP for outer headers, already shifted into the upper six bits.
        pub tos: u8,
        /// The tables of ports and of their tokens have as many rows as this power of two.
        pub port_bits: u8,
    }

    /// One prefix of the fleet's underlay: an address matches if `address & mask == network`.
    pub struct FleetPrefix {
        /// The network's bytes, as loaded from the packet.
        pub network: u32,
        /// The mask's bytes, likewise.
        pub mask: u32,
    }

    /// Another host, or this one. Index 0 is nobody.
    pub struct Host {
        /// Its underlay address.
        pub address: Address,
        /// The next hop's MAC address; zero while unresolved.
        pub next_hop: [u8; 6],
        /// Largest outer IP packet that reaches it, in bytes.
        pub mtu: u16,
        /// When depart last wanted to send there, in jiffies; at most `Config::stamp` old while in
        /// use.
        pub used: u64,
        /// Until when it is known to be alive, in jiffies.
        pub alive_until: u64,
    }

    /// Key of everything about one address: it carries the VNI, so tenants never meet.
    pub struct EndpointKey {
        /// The address.
        pub address: Address,
        /// VNI, 24 bits, native order.
        pub vni: u32,
        /// Zero.
        pub reserved: u32,
    }

    /// What this host knows for certain of one address: written by the agent only. [`crate::table`]
    /// keeps of each kind only what is said of it here.
    pub struct Endpoint {
        /// Orders truths about this address.
        pub generation: u64,
        /// [`Endpoint::LOCAL`], [`Endpoint::HELD`] or [`Endpoint::MOVED`].
        pub kind: u32,
        /// LOCAL: interface index of the host's end of its link.
        pub interface: u32,
        /// HELD and MOVED: where it is.
        pub host: HostIndex,
        /// Row of its VPC in the counters.
        pub vpc: VpcIndex,
        /// LOCAL: its MAC address.
        pub mac: [u8; 6],
        /// LOCAL: [`Port::SENT_OUT`] or 0.
        pub flags: u16,
    }

    /// A guest's interface. It is in the row that [`Config::port_row`] gives for the index of the
    /// host's end; a row that nobody has is all zeros.
    pub struct Port {
        /// Its IPv6 address, or NONE.
        pub v6: Address,
        /// The network's IPv6 prefix, or NONE.
        pub v6_network: Address,
        /// The network's IPv6 gateway, or NONE.
        pub v6_gateway: Address,
        /// Generation of the endpoint.
        pub generation: u64,
        /// The tag of its location by its IPv4 address.
        pub v4_tag: Tag,
        /// The tag of its location by its IPv6 address.
        pub v6_tag: Tag,
        /// VNI of its VPC.
        pub vni: u32,
        /// Row of its VPC in the counters.
        pub vpc: VpcIndex,
        /// Row of its network in the slot table.
        pub network: NetworkIndex,
        /// Interface index of the host's end.
        pub interface: u32,
        /// Its IPv4 address, or 0.0.0.0.
        pub v4: [u8; 4],
        /// The network's IPv4 prefix.
        pub v4_network: [u8; 4],
        /// The network's IPv4 gateway.
        pub v4_gateway: [u8; 4],
        /// [`Port::SENT_OUT`] or 0.
        pub flags: u16,
        /// Largest IP packet that the guest may send, in bytes.
        pub mtu: u16,
        /// Its MAC address.
        pub mac: [u8; 6],
        /// Length of the IPv4 prefix.
        pub v4_prefix: u8,
        /// Length of the IPv6 prefix.
        pub v6_prefix: u8,
    }

    /// Where an address was learned to be: written by the kernel programs.
    pub struct Learned {
        /// An older one never replaces a newer one.
        pub generation: u64,
        /// When depart last used this row, in jiffies; at most ten seconds old while in use.
        pub used: u64,
        /// Until when this host sends its own locations to that remote, in jiffies.
        pub teach_until: u64,
        /// When a bounced packet from there next calls for a notice, in jiffies.
        pub notice_at: u64,
        /// Where it is. 0: nowhere, until `teach_until` (a negative lease).
        pub host: HostIndex,
        /// Row of its VPC in the counters, for the quota.
        pub vpc: VpcIndex,
    }

    /// Who holds one slot of a network: 0 ends the list.
    pub struct Holders {
        /// In order of preference.
        pub hosts: [HostIndex; REPLICAS],
    }

    /// A VPC on this host, keyed by its VNI.
    pub struct Vpc {
        /// Row of the counters.
        pub index: VpcIndex,
        /// Most rows that may be learned.
        pub quota: u32,
        /// The dividers, in order of preference: 0 ends the list.
        pub dividers: [HostIndex; DIVIDERS],
        /// Its keys.
        pub keys: Keys,
    }

    /// Tokens of one endpoint for packets that are not sent direct.
    pub struct Bucket {
        /// Jiffies at which the bucket was last filled.
        pub filled: u64,
        /// Tokens left.
        pub tokens: u64,
    }
}

/// What the longest prefix match of a divider or bouncer finds. Its alignment is that of the trie's
/// values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Route {
    /// Row of the network in the slot table.
    pub network: NetworkIndex,
    /// Row of its VPC in the counters.
    pub vpc: VpcIndex,
}

/// Key of a route: the longest prefix of (VNI, address) counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RouteKey {
    /// Bits that count: 32 of the VNI and those of the address, of which IPv4 has 96 + its own.
    pub length: u32,
    /// VNI in network order.
    pub vni: [u8; 4],
    /// The network's address; IPv4 mapped into IPv6.
    pub address: [u8; 16],
}

/// Row of the host table; 0 is nobody.
pub type HostIndex = u32;
/// Row of the per-VPC counters; 0 is for packets whose VPC is not known.
pub type VpcIndex = u32;
/// Network's row in the slot table, which has [`SLOTS`] rows for each.
pub type NetworkIndex = u32;

impl EndpointKey {
    /// The key of `address` in the VPC `vni`.
    #[inline(always)]
    pub const fn new(vni: u32, address: Address) -> Self {
        Self { address, vni, reserved: 0 }
    }
}

impl RouteKey {
    /// The key of a prefix in a VPC; `length` counts the bits of the address, IPv4 mapped.
    pub fn new(vni: u32, network: Address, length: u8) -> Self {
        let length = 32 + u32::from(length);
        Self { length, vni: vni.to_be_bytes(), address: network.octets() }
    }

    /// VNI of the VPC.
    pub const fn vni(&self) -> u32 {
        u32::from_be_bytes(self.vni)
    }
}

impl Endpoint {
    /// It is on this host.
    pub const LOCAL: u32 = 1;
    /// This host is one of its bouncers.
    pub const HELD: u32 = 2;
    /// It was on this host until lately.
    pub const MOVED: u32 = 3;

    /// A row that says nothing yet.
    pub const NOWHERE: Self =
        Self { generation: 0, kind: 0, interface: 0, host: 0, vpc: 0, mac: [0; 6], flags: 0 };
}

impl Learned {
    /// How old the `used` stamp may get before it is written again, in seconds.
    pub const USED_SECONDS: u64 = 10;
}

impl Port {
    /// Frames for it are sent out of the host's end of its link, since the other end is in no
    /// other network namespace into which they could be redirected: an interface of the host
    /// itself.
    pub const SENT_OUT: u16 = 1;

    /// Whether an address is in the network's IPv4 prefix.
    #[inline(always)]
    pub fn contains_v4(&self, address: [u8; 4]) -> bool {
        let differing = u32::from_be_bytes(address) ^ u32::from_be_bytes(self.v4_network);
        differing & ipv4::mask(self.v4_prefix) == 0
    }

    /// Whether an address is the broadcast address of the network.
    #[inline(always)]
    pub fn is_v4_broadcast(&self, address: [u8; 4]) -> bool {
        let host_bits = u32::MAX.checked_shr(u32::from(self.v4_prefix)).unwrap_or(0);
        let all_ones = u32::from_be_bytes(address) & host_bits == host_bits;
        all_ones && self.v4_prefix < 31 && self.contains_v4(address)
    }

    /// Whether an address is in the network's IPv6 prefix.
    #[inline(always)]
    pub fn contains_v6(&self, address: &Address) -> bool {
        address.shares_prefix(&self.v6_network, self.v6_prefix)
    }
}

impl Bucket {
    /// Packets that an endpoint may send a second otherwise than direct.
    pub const RATE: u64 = 10_000;
    /// Packets that may come at once.
    pub const BURST: u64 = 20_000;

    /// A full one.
    pub const fn full(now: u64) -> Self {
        Self { filled: now, tokens: Self::BURST }
    }

    /// Fills up what time has brought and takes one token; whether there was one.
    #[inline(always)]
    pub fn take(&mut self, now: u64, hz: u32) -> bool {
        let passed = now.wrapping_sub(self.filled);
        if passed != 0 {
            let seconds_to_full = Self::BURST / Self::RATE;
            self.tokens = if passed >= seconds_to_full * hz as u64 {
                Self::BURST
            } else {
                let filled = self.tokens + passed * Self::RATE / hz as u64;
                if filled < Self::BURST { filled } else { Self::BURST }
            };
            self.filled = now;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }
}

impl Host {
    /// Whether the next hop is resolved.
    #[inline(always)]
    pub fn is_resolved(&self) -> bool {
        self.next_hop != [0; 6]
    }
}

impl Config {
    /// Nothing is set: no outer source is accepted.
    pub const EMPTY: Self = Self {
        underlay: Address::NONE,
        fleet: [FleetPrefix { network: !0, mask: 0 }; FLEET_PREFIXES],
        echo_cookie: 0,
        keys: Keys::NONE,
        vouched_until: 0,
        lease: 0,
        longest_pause: 0,
        echo_pause: 0,
        teach: 0,
        notice_delay: 0,
        stamp: 0,
        hz: 1,
        nic: 0,
        own_host: 0,
        mark: 0,
        nic_mac: [0; 6],
        tos: 0,
        port_bits: 0,
    };

    /// Whether the next hops in hosts' rows are to be believed.
    #[inline(always)]
    pub const fn is_vouched(&self, now: u64) -> bool {
        now < self.vouched_until
    }

    /// The row of an interface among the ports. The agent sees to it that no two have the same.
    #[inline(always)]
    pub const fn port_row(&self, interface: u32) -> u32 {
        interface & (1u32 << (self.port_bits & 31)).wrapping_sub(1)
    }
}

const _: () = {
    assert!(size_of::<Config>() == 216);
    assert!(size_of::<Host>() == 40);
    assert!(size_of::<EndpointKey>() == 24);
    assert!(size_of::<Endpoint>() == 32);
    assert!(size_of::<Port>() == 112);
    assert!(size_of::<Learned>() == 40);
    assert!(size_of::<Vpc>() == 112);
};

/// What asks the agent to do something that the kernel programs cannot: the room for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Event {
    /// One of the constants below.
    pub kind: u32,
    /// VNI that it is about, or 0.
    pub vni: u32,
    /// The host that it is about, as an index, or 0.
    pub host: HostIndex,
    /// Zero.
    pub reserved: u32,
    /// The host that it is about, as an underlay address, or NONE.
    pub underlay: Address,
    /// The endpoint here that it is about, or NONE.
    pub local: Address,
    /// The endpoint elsewhere that it is about, or NONE.
    pub remote: Address,
    /// INVALIDATE: what the sender may have learned up to now is wrong.
    pub generation: u64,
}

impl Event {
    /// An event about nothing yet.
    pub const NOTHING: Self = Self {
        kind: 0,
        vni: 0,
        host: 0,
        reserved: 0,
        underlay: Address::NONE,
        local: Address::NONE,
        remote: Address::NONE,
        generation: 0,
    };
    /// A location names a host (`underlay`) that has no row.
    pub const NEW_HOST: u32 = 1;
    /// A host (`host`) is wanted and not known to be alive.
    pub const PROBE: u32 = 2;
    /// `remote` on `underlay` keeps sending to `local` here by way of a bouncer: tell it.
    pub const NOTICE: u32 = 3;
    /// `underlay` sent here for `remote`, which is no longer here: tell it to forget.
    pub const INVALIDATE: u32 = 4;
    /// `underlay` sent for `remote`, which does not exist: tell it for a short while.
    pub const UNKNOWN: u32 = 5;
}

/// The tables of one host. Every look-up is by value or by a borrow of the row itself.
///
/// Rows that the kernel programs write (learned locations, stamps, buckets, counters) have methods
/// that write them; all others are the agent's.
pub trait Tables {
    /// What is the same for every packet.
    fn config(&self) -> &Config;
    /// Now, in jiffies.
    fn now(&self) -> u64;
    /// The guest's interface whose host end has this index.
    fn port(&self, interface: u32) -> Option<&Port>;
    /// What is known for certain of an address.
    fn endpoint(&self, key: &EndpointKey) -> Option<Endpoint>;
    /// What was learned of an address.
    fn learned(&self, key: &EndpointKey) -> Option<Learned>;
    /// Writes a learned row; whether there was room.
    fn learn(&self, key: &EndpointKey, row: &Learned) -> bool;
    /// Counts one more row against the quota of a VPC; whether it is within.
    fn claim_learned(&self, vpc: &Vpc) -> bool;
    /// Stamps a learned row as used now.
    fn touch_learned(&self, key: &EndpointKey, now: u64);
    /// A host by its row.
    fn host(&self, index: HostIndex) -> Option<Host>;
    /// The row of a host.
    fn host_index(&self, address: &Address) -> Option<HostIndex>;
    /// Stamps a host as used now.
    fn touch_host(&self, index: HostIndex, now: u64);
    /// Records that a host is known to be alive until then.
    fn prove_host(&self, index: HostIndex, until: u64);
    /// Lowers the MTU towards a host.
    fn lower_mtu(&self, index: HostIndex, mtu: u16);
    /// A VPC by its VNI.
    fn vpc(&self, vni: u32) -> Option<&Vpc>;
    /// The network of the VPC with the longest prefix that contains the address.
    fn route(&self, vni: u32, address: &Address) -> Option<Route>;
    /// Who holds a slot of a network.
    fn holders(&self, network: NetworkIndex, slot: u8) -> Option<Holders>;
    /// Takes one token of an endpoint for a packet that is not sent direct; whether there was one.
    fn take_token(&self, interface: u32) -> bool;
    /// Counts a packet for a VPC.
    fn count(&self, vpc: VpcIndex, counter: Counter);
    /// Asks the agent for something; it may be lost when the agent is busy or down.
    fn tell(&self, event: &Event);
}
