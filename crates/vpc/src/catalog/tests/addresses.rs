//! Addresses over a long life: none is lost and none is used twice, though it all ends suddenly
//! between any two operations.

use super::*;
use crate::rendezvous::mix;
use crate::{Mac, Problem};
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Operations of one life.
const OPERATIONS: u64 = 300_000;
const VPCS: u64 = 3;
const NETWORKS: u64 = 4;
/// More than all networks of a VPC have room for.
const ENDPOINTS: u64 = 32;

/// A catalog, and what the store has.
struct Life {
    catalog: Catalog,
    stored: BTreeMap<Ref, Record>,
    seed: u64,
    refusals: BTreeMap<&'static str, u32>,
}

impl Life {
    fn new() -> Self {
        let catalog = example::catalog(3);
        let globals = catalog.hosts().map(|it| Ref::global(Kind::Host, it.record().name.clone()));
        let globals = globals.chain([Ref::global(Kind::Fleet, name("fleet"))]);
        let stored = globals.map(|it| (it.clone(), catalog.record(&it).unwrap())).collect();
        let mut life = Self { catalog, stored, seed: 0, refusals: BTreeMap::new() };
        life.restart();
        life
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed += 1;
        mix(self.seed) % below
    }

    /// One operation: it is undone, since storing it failed; or it is stored, and what comes next
    /// may be a restart.
    fn operate(&mut self, revision: u64) {
        let done = match self.random(16) {
            0..9 => self.put_endpoint(revision),
            9..13 => {
                let path = format!("v{}/e{}", self.random(VPCS), self.random(ENDPOINTS));
                self.delete(Kind::Endpoint, &path)
            }
            13 => self.put_network(revision),
            14 if self.random(4) == 0 => {
                let path = format!("v{}/n{}", self.random(VPCS), self.random(NETWORKS));
                self.delete(Kind::Network, &path)
            }
            15 if self.random(8) == 0 => {
                let path = format!("v{}", self.random(VPCS));
                self.delete(Kind::Vpc, &path)
            }
            _ => self.put_vpc(revision),
        };
        match self.random(32) {
            0..8 => {
                done.into_iter().rev().for_each(|changed| self.catalog.undo(changed));
                self.check();
            }
            8 => {
                self.store(done);
                self.restart();
                self.check();
            }
            9..12 => {
                self.store(done);
                self.check();
            }
            _ => self.store(done),
        }
    }

    fn put_vpc(&mut self, revision: u64) -> Vec<Changed> {
        let path = format!("v{}", self.random(VPCS));
        let vni = Some(self.random(4) as u32).and_then(|vni| Vni::try_from(vni).ok());
        self.apply(&vpc(&path, |spec| spec.vni = vni), revision)
    }

    /// Networks of few addresses: one of IPv4, one of IPv6, one of both, one of both with little
    /// room in any slot.
    fn put_network(&mut self, revision: u64) -> Vec<Changed> {
        let (vpc, number) = (self.random(VPCS), self.random(NETWORKS));
        let manifest = network(&format!("v{vpc}/n{number}"), |spec| {
            let v6 =
                if number == 2 { "fd00:2::/64".to_owned() } else { format!("fd00:{number}::/125") };
            spec.v4 = format!("10.{number}.0.0/29").parse().ok().filter(|_| number != 1);
            spec.v6 = v6.parse().ok().filter(|_| number != 0);
        });
        self.apply(&manifest, revision)
    }

    fn put_endpoint(&mut self, revision: u64) -> Vec<Changed> {
        let (vpc, number, host) = (self.random(VPCS), self.random(ENDPOINTS), 1 + self.random(3));
        // An endpoint stays in one network as long as it lives.
        let at = format!("v{vpc}/e{number}");
        let network = number % NETWORKS;
        let last = self.random(8) as u8;
        let (asks_v4, asks_v6, asks_mac) =
            (self.random(4) == 0, self.random(4) == 0, self.random(8) == 0);
        let manifest = endpoint(&at, &format!("h{host}"), |spec| {
            spec.network = name(format!("n{network}"));
            spec.v4 = Some(Ipv4Addr::new(10, network as u8, 0, last)).filter(|_| asks_v4);
            let v6 = Ipv6Addr::new(0xfd00, network as u16, 0, 0, 0, 0, 0, last.into());
            spec.v6 = Some(v6).filter(|_| asks_v6);
            spec.mac = Mac::try_from([2, 0xc1, 10, network as u8, 0, last]).ok();
            spec.mac = spec.mac.filter(|_| asks_mac);
        });
        self.apply(&manifest, revision)
    }

    fn apply(&mut self, manifest: &Manifest, revision: u64) -> Vec<Changed> {
        match self.catalog.apply(manifest, Mode::Apply, at(revision)) {
            Ok(changed) => {
                let new = changed.as_ref().filter(|it| it.before.is_none());
                if let Some(endpoint) = new.and_then(Changed::endpoint_after)
                    && let (Some(v4), Some(v6)) = (endpoint.v4, endpoint.v6)
                    && !endpoint.asked_for(EndpointRecord::ASKED_V6)
                {
                    assert_eq!(Slot::of(v4), Slot::of(v6), "{}", endpoint.name);
                }
                changed.into_iter().collect()
            }
            Err(Refused::Invalid { reference, problem, .. }) => {
                self.check_refusal(&reference, &problem);
                Vec::new()
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn delete(&mut self, kind: Kind, path: &str) -> Vec<Changed> {
        let metadata = metadata(path);
        let reference = Ref { kind, vpc: metadata.vpc, name: metadata.name };
        self.catalog.delete(&reference, true, None).unwrap_or_default()
    }

    fn store(&mut self, changes: Vec<Changed>) {
        for Changed { reference, after, .. } in changes {
            match after {
                Some(record) => drop(self.stored.insert(reference, record)),
                None => drop(self.stored.remove(&reference)),
            }
        }
    }

    /// A new catalog from what is stored.
    fn restart(&mut self) {
        self.catalog = Catalog::default();
        for kind in [Kind::Fleet, Kind::Host, Kind::Vpc, Kind::Network, Kind::Endpoint] {
            let records = self.stored.values().filter(|record| record.kind() == kind);
            records.for_each(|record| drop(self.catalog.put(record.clone())));
        }
    }

    fn endpoints(&self, vpc: &Name) -> impl Iterator<Item = &EndpointRecord> {
        let stored = self.stored.iter().filter(move |(it, _)| it.vpc.as_ref() == Some(vpc));
        stored.filter_map(|(_, record)| record.as_endpoint())
    }

    /// The catalog has what is stored and nothing else, every address is where it may be, and
    /// nobody else has it.
    fn check(&self) {
        for (reference, record) in &self.stored {
            assert_eq!(self.catalog.record(reference).as_ref(), Some(record));
        }
        let networks = self.catalog.vpcs().map(|vpc| vpc.networks().count()).sum::<usize>();
        let count = self.catalog.hosts().count() + self.catalog.vpcs().count() + networks + 1;
        assert_eq!(count as u64 + self.catalog.endpoint_count(), self.stored.len() as u64);
        for vpc in self.catalog.vpcs() {
            let mut used = BTreeSet::new();
            for endpoint in vpc.endpoints_after(None) {
                let network = vpc.network(endpoint.network).unwrap().record();
                let prefix = |address: &IpAddr| match address {
                    IpAddr::V4(_) => network.spec.v4.map(IpNet::V4).unwrap(),
                    IpAddr::V6(_) => network.spec.v6.map(IpNet::V6).unwrap(),
                };
                for address in endpoint.addresses() {
                    let prefix = prefix(&address);
                    let is_broadcast = address.is_ipv4() && address == prefix.broadcast();
                    assert!(prefix.contains(&address) && address != prefix.network());
                    assert!(!is_broadcast && used.insert(address.to_string()), "{address}");
                    assert_eq!(vpc.endpoint_at(address), Some(endpoint));
                }
                assert!(used.insert(endpoint.mac.to_string()), "{}", endpoint.mac);
                assert_eq!(vpc.endpoint_with(endpoint.mac), Some(endpoint));
            }
        }
    }

    /// What is said to be used up or taken is.
    fn check_refusal(&mut self, reference: &Ref, problem: &Problem) {
        let vpc = || reference.vpc.as_ref().unwrap();
        let kind = match problem {
            Problem::Exhausted { prefix } => {
                let addresses = self.endpoints(vpc()).flat_map(EndpointRecord::addresses);
                let used = addresses.filter(|address| prefix.contains(address)).count();
                // Eight, but for the network's, the gateway's, and the broadcast address.
                assert_eq!(used, if prefix.addr().is_ipv4() { 5 } else { 6 }, "{reference}");
                "exhausted"
            }
            Problem::SlotExhausted { prefix: IpNet::V6(prefix), v4 } => {
                let of_slot = prefix.hosts().skip(2).filter(|v6| Slot::of(*v6) == Slot::of(*v4));
                let used: BTreeSet<_> = self.endpoints(vpc()).filter_map(|it| it.v6).collect();
                let free: Vec<_> = of_slot.filter(|v6| !used.contains(v6)).collect();
                assert_eq!(free, Vec::<Ipv6Addr>::new(), "{reference}");
                "slot exhausted"
            }
            Problem::Taken { value, .. } if value.starts_with("VNI") => {
                let vnis = self.catalog.vpcs().map(|vpc| format!("VNI {}", vpc.record().vni));
                assert!(vnis.into_iter().any(|vni| vni == *value), "{value}");
                "VNI taken"
            }
            Problem::Taken { value, .. } => {
                let mut endpoints = self.endpoints(vpc());
                let has = |it: &EndpointRecord| {
                    it.mac.to_string() == *value || it.addresses().any(|a| a.to_string() == *value)
                };
                assert!(endpoints.any(has), "{value}");
                "taken"
            }
            _ => "other",
        };
        *self.refusals.entry(kind).or_default() += 1;
    }
}

#[test]
fn no_address_is_lost_or_used_twice_whenever_it_ends() {
    let mut life = Life::new();
    for revision in 2..OPERATIONS {
        life.operate(revision);
    }
    life.check();
    // It has been a full life.
    for kind in ["exhausted", "slot exhausted", "taken", "VNI taken"] {
        assert!(life.refusals[kind] > 1000, "{:?}", life.refusals);
    }
}
