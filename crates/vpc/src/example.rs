//! Resources for tests.

use crate::catalog::Mode;
use crate::manifest::{EndpointSpec, FleetSpec, HostSpec, NetworkSpec, Object, TagsSpec, VpcSpec};
use crate::{
    Attachment, Catalog, Changed, Generation, Manifest, Metadata, Name, NetworkId, SlotMap,
    SlotMaps, Vni, VpcSlotMaps,
};
use std::net::Ipv4Addr;

pub(crate) fn name(text: impl AsRef<str>) -> Name {
    text.as_ref().parse().unwrap()
}

pub(crate) fn at(revision: u64) -> Generation {
    Generation::new(1, revision).unwrap()
}

/// Of `blue/web` or `h1`.
pub(crate) fn metadata(path: &str) -> Metadata {
    match path.split_once('/') {
        Some((vpc, text)) => Metadata::new(Some(name(vpc)), name(text)),
        None => Metadata::new(None, name(path)),
    }
}

pub(crate) fn fleet() -> Manifest {
    let prefixes = vec!["192.0.2.0/24".parse().unwrap()];
    Manifest::Fleet(Object::new(
        metadata("fleet"),
        FleetSpec { prefixes, tags: TagsSpec::default() },
    ))
}

/// `h1` at 192.0.2.1, and so on.
pub(crate) fn host(number: u8, change: impl FnOnce(&mut HostSpec)) -> Manifest {
    let mut spec = HostSpec {
        underlay: Ipv4Addr::new(192, 0, 2, number).into(),
        zone: None,
        weight: HostSpec::DEFAULT_WEIGHT,
        cordoned: false,
    };
    change(&mut spec);
    Manifest::Host(Object::new(metadata(&format!("h{number}")), spec))
}

pub(crate) fn vpc(path: &str, change: impl FnOnce(&mut VpcSpec)) -> Manifest {
    let mut spec = VpcSpec::default();
    change(&mut spec);
    Manifest::Vpc(Object::new(metadata(path), spec))
}

/// 10.0.0.0/16 and fd00::/64.
pub(crate) fn network(path: &str, change: impl FnOnce(&mut NetworkSpec)) -> Manifest {
    let mut spec = NetworkSpec {
        v4: "10.0.0.0/16".parse().ok(),
        v6: "fd00::/64".parse().ok(),
        ..NetworkSpec::default()
    };
    change(&mut spec);
    Manifest::Network(Object::new(metadata(path), spec))
}

/// In the network `web`.
pub(crate) fn endpoint(path: &str, host: &str, change: impl FnOnce(&mut EndpointSpec)) -> Manifest {
    let netns = format!("/run/netns/{}", path.replace('/', "-")).into();
    let attachment = Attachment::Veth { netns, interface: "eth0".to_owned() };
    let (v4, v6, mac) = Default::default();
    let (network, host) = (name("web"), name(host));
    let mut spec = EndpointSpec { network, host, v4, v6, mac, attachment, migration: None };
    change(&mut spec);
    Manifest::Endpoint(Object::new(metadata(path), spec))
}

#[track_caller]
pub(crate) fn apply(catalog: &mut Catalog, manifest: &Manifest) -> Option<Changed> {
    catalog.apply(manifest, Mode::Apply, at(1)).unwrap()
}

/// So many hosts, and a VPC `blue` with a network `web`.
pub(crate) fn catalog(hosts: u8) -> Catalog {
    let mut catalog = Catalog::default();
    apply(&mut catalog, &fleet());
    for number in 1..=hosts {
        apply(&mut catalog, &host(number, |_| ()));
    }
    apply(&mut catalog, &vpc("blue", |_| ()));
    apply(&mut catalog, &network("blue/web", |_| ()));
    catalog
}

/// The maps of `blue`, whose only divider is the first holder: these hold all slots of `web`.
pub(crate) fn maps(holders: &[&str]) -> SlotMaps {
    let names: Vec<_> = holders.iter().map(name).collect();
    let slots = vec![names.iter().collect(); crate::Slot::COUNT];
    let map = SlotMap::new(1, &slots).unwrap();
    let dividers = names[..1].to_vec();
    let networks = [(NetworkId::MIN, map)].into();
    [(Vni::MIN, VpcSlotMaps { dividers, spare_dividers: Vec::new(), networks })].into()
}
