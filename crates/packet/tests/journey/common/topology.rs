//! The fleet that scenarios play in, and the rows that its hosts are told.
//!
//! Seven hosts: 0 to 2 with guests, 3 and 4 bouncers, 5 and 6 dividers. Two VPCs with the same
//! addresses, two dual-stack networks each: 10.0.N.0/24 and fd00:N::/64, gateways at .1 and ::1.

use mizar_packet::Address;
use mizar_packet::keys::{Key, Keys, Tag};
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Config, DIVIDERS, Endpoint, EndpointKey, FleetPrefix, Holders, Host, Port, REPLICAS, Route,
    SLOTS, Vpc,
};
use mizar_packet::wire::geneve;
use mizar_packet::wire::oam::{self, ControlFrame};

/// Jiffies are milliseconds.
pub(crate) const HZ: u32 = 1000;
/// How long an echo proves a host alive.
pub(crate) const LEASE: u64 = 250;
/// How much longer than its lease a proof lasts at most.
pub(crate) const LONGEST_PAUSE: u64 = 750;
/// How long a sender teaches.
pub(crate) const TEACH: u64 = 1000;
/// How long bounced packets are watched.
pub(crate) const NOTICE_DELAY: u64 = 100;
/// How old a stamp may get.
pub(crate) const STAMP: u64 = 100;
/// MTU of the underlay.
pub(crate) const UNDERLAY_MTU: u16 = 1500;
/// MTU of every guest.
pub(crate) const GUEST_MTU: u16 = UNDERLAY_MTU - geneve::OVERHEAD as u16;
/// When the world begins; every `used` and `alive_until` of 0 is long ago then.
pub(crate) const START: u64 = 1_000_000;

/// One VPC.
pub(crate) const RED: u32 = 0x00_01_00;
/// Another, with the same addresses.
pub(crate) const BLUE: u32 = 0xff_ff_fe;
/// The bouncers of every slot, in order of preference.
pub(crate) const BOUNCERS: [usize; 2] = [3, 4];
/// The dividers, in order of preference.
pub(crate) const DIVIDING: [usize; 2] = [5, 6];
/// Hosts.
pub(crate) const HOSTS: usize = 7;
/// Most locations that a host may learn in a VPC.
pub(crate) const QUOTA: u32 = 100;

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Which host it is on.
    pub(crate) host: usize,
    /// Index of the host's end of its link.
    pub(crate) interface: u32,
    /// VNI.
    pub(crate) vni: u32,
    /// 1 or 2.
    pub(crate) network: u8,
    /// MAC address.
    pub(crate) mac: [u8; 6],
    /// IPv4 address.
    pub(crate) v4: [u8; 4],
    /// IPv6 address.
    pub(crate) v6: [u8; 16],
    /// Generation.
    pub(crate) generation: u64,
}

/// The guests of a VPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guests {
    /// Host 0, network 1.
    pub(crate) a: Guest,
    /// Host 1, network 1.
    pub(crate) b: Guest,
    /// Host 2, network 2.
    pub(crate) c: Guest,
    /// Host 0, network 1.
    pub(crate) d: Guest,
    /// Host 0, network 2.
    pub(crate) e: Guest,
}

impl Guests {
    /// Those of the VPC `vni`.
    pub(crate) fn of(vni: u32) -> Self {
        Self {
            a: Guest::new(vni, 0, 1, 10),
            b: Guest::new(vni, 1, 1, 11),
            c: Guest::new(vni, 2, 2, 20),
            d: Guest::new(vni, 0, 1, 12),
            e: Guest::new(vni, 0, 2, 21),
        }
    }

    /// All of them.
    pub(crate) fn all(self) -> [Guest; 5] {
        [self.a, self.b, self.c, self.d, self.e]
    }
}

impl Guest {
    /// A guest of a VPC on a host, with the number `id` in its network.
    pub(crate) fn new(vni: u32, host: usize, network: u8, id: u8) -> Self {
        Self {
            host,
            interface: vpc_index(vni) * 1000 + u32::from(id),
            vni,
            network,
            mac: [0x02, 0xaa, vpc_index(vni) as u8, 0, network, id],
            v4: [10, 0, network, id],
            v6: v6(network, id),
            generation: 7,
        }
    }

    /// Its IPv4 gateway.
    pub(crate) fn v4_gateway(&self) -> [u8; 4] {
        [10, 0, self.network, 1]
    }

    /// Its IPv6 gateway.
    pub(crate) fn v6_gateway(&self) -> [u8; 16] {
        v6(self.network, 1)
    }

    /// Both its addresses, as keys.
    pub(crate) fn addresses(&self) -> [Address; 2] {
        [Address::v4(self.v4), Address::v6(self.v6)]
    }

    fn port(&self) -> Port {
        Port {
            v6: Address::v6(self.v6),
            v6_network: Address::v6(v6(self.network, 0)),
            v6_gateway: Address::v6(self.v6_gateway()),
            generation: self.generation,
            v4_tag: self.tag(Address::v4(self.v4)),
            v6_tag: self.tag(Address::v6(self.v6)),
            vni: self.vni,
            vpc: vpc_index(self.vni),
            network: network_index(self.vni, self.network),
            interface: self.interface,
            v4: self.v4,
            v4_network: [10, 0, self.network, 0],
            v4_gateway: self.v4_gateway(),
            flags: 0,
            mtu: GUEST_MTU,
            mac: self.mac,
            v4_prefix: 24,
            v6_prefix: 64,
        }
    }

    /// What its host signs an address of it with.
    pub(crate) fn tag(&self, address: Address) -> Tag {
        let key = EndpointKey::new(self.vni, address);
        keys(self.vni).sign_location(&key, underlay(self.host), self.generation)
    }

    fn local(&self) -> Endpoint {
        Endpoint { kind: Endpoint::LOCAL, interface: self.interface, mac: self.mac, ..self.held() }
    }

    /// What a bouncer knows of it.
    pub(crate) fn held(&self) -> Endpoint {
        Endpoint {
            generation: self.generation,
            kind: Endpoint::HELD,
            interface: 0,
            host: index(self.host),
            vpc: vpc_index(self.vni),
            mac: [0; 6],
            flags: 0,
        }
    }

    /// Puts it on a host.
    pub(crate) fn attach(&self, tables: &mut MemoryTables) {
        tables.ports.insert(self.interface, self.port());
        self.each_address(|key| {
            tables.endpoints.insert(key, self.local());
        });
    }

    /// Calls a function with the key of each address.
    pub(crate) fn each_address(&self, mut call: impl FnMut((u32, Address))) {
        for address in self.addresses() {
            call((self.vni, address));
        }
    }
}

/// The present epoch of all keys.
pub(crate) const EPOCH: u64 = 6;

/// The keys of a VPC; of VNI 0, those of the fleet.
pub(crate) fn keys(vni: u32) -> Keys {
    keys_at(vni, EPOCH)
}

/// The keys of a VPC, or of the fleet, at an epoch.
pub(crate) fn keys_at(vni: u32, epoch: u64) -> Keys {
    let whose = if vni == 0 { 3 } else { vpc_index(vni) as u8 };
    let key = |epoch: u64| Key::new([whose | (epoch as u8) << 4; 16]);
    Keys::new(epoch, [epoch - 1, epoch, epoch + 1].map(key), true)
}

/// Signs a control message as its sender's agent does.
pub(crate) fn sign(frame: &mut ControlFrame) {
    keys(if oam::is_of_vpc(frame.message.kind) { frame.message.vni.get() } else { 0 })
        .sign_control(frame);
}

/// The IPv6 address of a number in a network.
pub(crate) fn v6(network: u8, id: u8) -> [u8; 16] {
    [0xfd, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, id]
}

/// Row of a host in the host table, the same on every host.
pub(crate) fn index(host: usize) -> u32 {
    host as u32 + 1
}

/// Underlay address of a host.
pub(crate) fn underlay(host: usize) -> [u8; 4] {
    [100, 64, host as u8, 1]
}

/// MAC address of a host's NIC.
pub(crate) fn nic_mac(host: usize) -> [u8; 6] {
    [0x02, 0xbb, 0, 0, 0, host as u8]
}

/// Row of the counters.
pub(crate) fn vpc_index(vni: u32) -> u32 {
    if vni == RED { 1 } else { 2 }
}

/// Row of the slot table.
pub(crate) fn network_index(vni: u32, network: u8) -> u32 {
    vpc_index(vni) * 10 + u32::from(network)
}

/// The row of a host about which nothing is known but how to reach it.
pub(crate) fn host_row(host: usize) -> Host {
    Host {
        address: Address::v4(underlay(host)),
        next_hop: nic_mac(host),
        mtu: UNDERLAY_MTU,
        used: 0,
        alive_until: 0,
    }
}

/// The tables of a host that is told nothing of endpoints yet, and knows how to reach all hosts.
pub(crate) fn tables(host: usize) -> MemoryTables {
    let mut tables = MemoryTables { config: config(host), now: START, ..MemoryTables::default() };
    tables.hosts.replace((0..HOSTS).map(|host| (index(host), host_row(host))).collect());
    for vni in [RED, BLUE] {
        let mut dividers = [0; DIVIDERS];
        dividers[..2].copy_from_slice(&DIVIDING.map(index));
        let keys = keys(vni);
        tables.vpcs.insert(vni, Vpc { index: vpc_index(vni), quota: QUOTA, dividers, keys });
        for network in [1, 2] {
            add_network(&mut tables, vni, network);
        }
    }
    tables
}

fn add_network(tables: &mut MemoryTables, vni: u32, network: u8) {
    let row = network_index(vni, network);
    let route = Route { network: row, vpc: vpc_index(vni) };
    tables.routes.insert((vni, Address::v4([10, 0, network, 0]), 96 + 24), route);
    tables.routes.insert((vni, Address::v6(v6(network, 0)), 64), route);
    let mut hosts = [0; REPLICAS];
    hosts[..2].copy_from_slice(&BOUNCERS.map(index));
    for slot in 0..SLOTS {
        tables.holders.insert((row, slot as u8), Holders { hosts });
    }
}

fn config(host: usize) -> Config {
    let mut fleet = Config::EMPTY.fleet;
    fleet[0] = FleetPrefix {
        network: u32::from_ne_bytes([100, 64, 0, 0]),
        mask: u32::from_ne_bytes([255, 192, 0, 0]),
    };
    Config {
        underlay: Address::v4(underlay(host)),
        fleet,
        keys: keys(0),
        echo_cookie: 0xc00c_1e00 + host as u64,
        vouched_until: u64::MAX,
        lease: LEASE as u32,
        longest_pause: LONGEST_PAUSE as u32,
        teach: TEACH as u32,
        notice_delay: NOTICE_DELAY as u32,
        stamp: STAMP as u32,
        hz: HZ,
        nic: 2,
        own_host: index(host),
        mark: 0x6d69,
        nic_mac: nic_mac(host),
        ..Config::EMPTY
    }
}
