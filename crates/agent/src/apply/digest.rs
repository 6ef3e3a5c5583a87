//! What stands for all that this host has of each VPC.

use super::{Applier, Known};
use crate::kernel::{Maps, TableError};
use mizar_packet::tables::Endpoint;
use mizar_proto::Position;
use mizar_vpc::{Digest, Generation, HeldRow, Vni};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The digests of the held endpoints in the tables, by VNI, apart from those that are to be others.
pub(crate) fn held_digests(
    maps: &Maps,
    but: &BTreeMap<(u32, IpAddr), HeldRow>,
) -> Result<BTreeMap<u32, Digest>, TableError> {
    let hosts = maps.hosts.rows()?;
    let hosts: BTreeMap<u32, IpAddr> =
        hosts.into_iter().map(|(index, host)| (index, host.address.into())).collect();
    let mut digests: BTreeMap<u32, Digest> = BTreeMap::new();
    for (key, row) in maps.endpoints.rows() {
        let address = IpAddr::from(key.address);
        if row.kind != Endpoint::HELD || but.contains_key(&(key.vni, address)) {
            continue;
        }
        // A row that refers to nobody is not what was told, and makes the digest another one.
        let (Some(host), Ok(generation)) =
            (hosts.get(&row.host), Generation::try_from(row.generation))
        else {
            continue;
        };
        let digest = digests.entry(key.vni).or_default();
        *digest = *digest + Digest::of_held(address, &HeldRow { host: *host, generation });
    }
    Ok(digests)
}

impl Applier {
    /// Held endpoints that could not be written, and will be.
    pub(crate) fn unwritten(&self) -> BTreeMap<(u32, IpAddr), HeldRow> {
        let of = |(vni, known): (&Vni, &Known)| {
            let vni = vni.get();
            known.unwritten.iter().map(move |(at, row)| ((vni, *at), *row)).collect::<Vec<_>>()
        };
        self.known.iter().flat_map(of).collect()
    }

    /// Each VPC of which there is anything, as if nothing were known of it.
    pub(crate) fn unknown_positions(&self) -> BTreeMap<Vni, Position> {
        let first = Generation::new(0, 1).ok();
        let position = |vni| Some((vni, Position { generation: first?, digest: None }));
        self.positions().into_keys().filter_map(position).collect()
    }

    /// Where each VPC stands and what this host has of it, given the digests of its held endpoints
    /// in the tables. What is not known: a VPC of which nothing was told since the start, or one
    /// that is changing.
    pub(crate) fn positions_with(
        &self,
        held: Option<&BTreeMap<u32, Digest>>,
    ) -> BTreeMap<Vni, Position> {
        let digest = |vni: Vni| {
            let known = self.known.get(&vni).filter(|_| !self.work.contains_key(&vni))?;
            let written = held?.get(&vni.get()).copied().unwrap_or_default();
            let unwritten = known.unwritten.iter();
            let unwritten: Digest = unwritten.map(|(at, row)| Digest::of_held(*at, row)).sum();
            Some(known.rows.rows().digest() + written + unwritten)
        };
        let position = |(vni, generation): (Vni, Generation)| {
            let digest = digest(vni).filter(|_| self.position(vni).is_some());
            (vni, Position { generation, digest })
        };
        self.positions().into_iter().map(position).collect()
    }
}
