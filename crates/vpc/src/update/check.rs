//! What makes an update impossible.

use super::{RowKey, VpcUpdate};
use crate::prefix::{check_prefix, check_usable, end_of};
use crate::{
    AttachmentError, Generation, Mac, Name, NetworkId, NetworkRow, PortRow, Problem, SlotMapError,
    Vni, VpcRows,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use thiserror::Error;

/// Why an update is refused whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// It is older than what the host has.
    #[error("generation {generation} is older than {current}, where VPC {vni} stands")]
    Stale {
        /// The VPC.
        vni: Vni,
        /// The update's generation.
        generation: Generation,
        /// The host's generation.
        current: Generation,
    },
    /// It starts somewhere else.
    #[error(
        "the update starts at generation {base} and VPC {vni} stands at {current}: send a full one",
        current = current.map_or("none".to_owned(), |current| current.to_string())
    )]
    Base {
        /// The VPC.
        vni: Vni,
        /// Where the update starts.
        base: Generation,
        /// Where the host stands.
        current: Option<Generation>,
    },
    /// A row whose network is missing.
    #[error("ports[{port}].network: network {network} has no row: send both, or remove both")]
    NoNetwork {
        /// The row.
        port: Name,
        /// The network.
        network: NetworkId,
    },
    /// A network row with an impossible prefix or gateway.
    #[error("networks[{network}].{field}: {problem}")]
    Network {
        /// The row.
        network: NetworkId,
        /// Its field.
        field: &'static str,
        /// What is wrong.
        problem: Problem,
    },
    /// A network row with malformed slots.
    #[error("networks[{network}].holders: {problem}")]
    Holders {
        /// The row.
        network: NetworkId,
        /// What is wrong.
        problem: SlotMapError,
    },
    /// A port that cannot be attached like that.
    #[error("ports[{port}].attachment: {problem}")]
    Attachment {
        /// The row.
        port: Name,
        /// What is wrong.
        problem: AttachmentError,
    },
    /// Two networks that share addresses.
    #[error("networks[{network}]: {prefix} overlaps {other} of networks[{by}]: they must not")]
    Overlap {
        /// The row.
        network: NetworkId,
        /// Its prefix.
        prefix: IpNet,
        /// The other prefix.
        other: IpNet,
        /// The row that has it.
        by: NetworkId,
    },
    /// A port outside of its network.
    #[error("ports[{port}]: {address} is outside of network {network}: it must be inside")]
    Outside {
        /// The row.
        port: Name,
        /// Its address.
        address: IpAddr,
        /// Its network.
        network: NetworkId,
    },
    /// An address that has another use in its network.
    #[error("{row}: {address} is the {role} of {prefix}: it must be an endpoint's")]
    Reserved {
        /// The row.
        row: RowKey,
        /// Its address.
        address: IpAddr,
        /// What it is for.
        role: &'static str,
        /// The network's prefix.
        prefix: IpNet,
    },
    /// An address that two rows have.
    #[error("{row}: {address} is already used by {by}: they must differ")]
    Taken {
        /// The row.
        row: RowKey,
        /// The IP or MAC address.
        address: String,
        /// The row that has it.
        by: RowKey,
    },
    /// A held address that is in no network.
    #[error("held[{0}]: no network with a row has this address: send its network before")]
    HeldOutside(IpAddr),
}

/// Refuses an update that would leave malformed rows, or rows that contradict each other.
pub(super) fn check(rows: &VpcRows, update: &VpcUpdate) -> Result<(), UpdateError> {
    networks(update)?;
    attachments(update)?;
    let after = After { rows, update };
    let places = if update.networks.upserts.is_empty() && update.held.upserts.is_empty() {
        Vec::new()
    } else {
        after.places()?
    };
    let ports = if update.is_empty() { Ports::default() } else { after.ports()? };
    for &address in update.held.upserts.keys() {
        check_held(&places, address)?;
        if let Some((port, _)) = ports.addresses.get(&address).filter(|(_, row)| row.lives_here()) {
            return Err(taken(RowKey::Held(address), &address, RowKey::Port((*port).clone())));
        }
    }
    Ok(())
}

/// Refuses networks with impossible prefixes or gateways, and malformed slots.
pub(super) fn networks(update: &VpcUpdate) -> Result<(), UpdateError> {
    update.networks.upserts.iter().try_for_each(|(&network, row)| {
        let at = |field| move |problem| UpdateError::Network { network, field, problem };
        let v4 = (row.v4.map(IpNet::V4), row.v4_gateway.map(IpAddr::V4), "v4", "v4_gateway");
        let v6 = (row.v6.map(IpNet::V6), row.v6_gateway.map(IpAddr::V6), "v6", "v6_gateway");
        for (prefix, gateway, field, gateway_field) in [v4, v6] {
            prefix.map_or(Ok(()), check_prefix).map_err(at(field))?;
            match (gateway, prefix) {
                (Some(gateway), Some(prefix)) => check_usable(gateway, prefix),
                (Some(address), None) => {
                    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                    Err(Problem::NoFamily { value: address.to_string(), family })
                }
                (None, _) => Ok(()),
            }
            .map_err(at(gateway_field))?;
        }
        if row.v4.is_none() && row.v6.is_none() {
            return Err(at("v4")(Problem::NoPrefix));
        }
        row.holders.check().map_err(|problem| UpdateError::Holders { network, problem })
    })
}

/// Refuses endpoints that cannot be attached as they say.
pub(super) fn attachments(update: &VpcUpdate) -> Result<(), UpdateError> {
    update.ports.upserts.iter().try_for_each(|(port, row)| {
        let attachment = row.check_attachment();
        attachment.map_err(|problem| UpdateError::Attachment { port: port.clone(), problem })
    })
}

/// Refuses a port without a network, outside of it, or at its gateway.
pub(super) fn check_port(
    network: Option<&NetworkRow>,
    name: &Name,
    row: &PortRow,
) -> Result<(), UpdateError> {
    let (port, id) = (|| name.clone(), row.network);
    let Some(target) = network else {
        return Err(UpdateError::NoNetwork { port: port(), network: id });
    };
    for address in row.addresses() {
        let place = Place::of(id, target).into_iter().flatten().find(|it| it.contains(address));
        let place =
            place.ok_or_else(|| UpdateError::Outside { port: port(), address, network: id });
        place?.check(address, || RowKey::Port(port()))?;
    }
    Ok(())
}

/// A prefix of a network, and its gateway there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    prefix: IpNet,
    gateway: Option<IpAddr>,
    network: NetworkId,
}

impl Place {
    /// Those of one network.
    fn of(network: NetworkId, row: &NetworkRow) -> [Option<Self>; 2] {
        let place = |prefix, gateway| Self { prefix, gateway, network };
        [
            row.v4.map(|prefix| place(prefix.into(), row.v4_gateway.map(IpAddr::V4))),
            row.v6.map(|prefix| place(prefix.into(), row.v6_gateway.map(IpAddr::V6))),
        ]
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.prefix.contains(&address)
    }

    /// Refuses an address here that no endpoint may have.
    fn check(&self, address: IpAddr, row: impl Fn() -> RowKey) -> Result<(), UpdateError> {
        let prefix = self.prefix;
        let is_gateway = self.gateway == Some(address);
        let role = if is_gateway { Some("gateway") } else { end_of(prefix, address) };
        role.map_or(Ok(()), |role| Err(UpdateError::Reserved { row: row(), address, role, prefix }))
    }
}

/// All prefixes by first address.
pub(super) fn places<'a>(
    networks: impl Iterator<Item = (NetworkId, &'a NetworkRow)>,
) -> Vec<Place> {
    let places = networks.flat_map(|(id, row)| Place::of(id, row).into_iter().flatten());
    let mut places: Vec<_> = places.collect();
    let order = |it: &Place| (it.prefix.network(), it.prefix.prefix_len(), it.network);
    places.sort_unstable_by_key(order);
    places
}

/// Refuses a held address that is in none of the sorted prefixes, or that no endpoint may have.
pub(super) fn check_held(places: &[Place], address: IpAddr) -> Result<(), UpdateError> {
    let after = places.partition_point(|it| it.prefix.network() <= address);
    let place = places[..after].last().filter(|it| it.contains(address));
    let place = place.ok_or(UpdateError::HeldOutside(address))?;
    place.check(address, || RowKey::Held(address))
}

/// The rows as they would be after an update.
struct After<'a> {
    rows: &'a VpcRows,
    update: &'a VpcUpdate,
}

/// Who has which address.
#[derive(Default)]
struct Ports<'a> {
    addresses: BTreeMap<IpAddr, (&'a Name, &'a PortRow)>,
    macs: BTreeMap<Mac, &'a Name>,
}

impl<'a> After<'a> {
    /// All prefixes by first address; none overlaps another.
    fn places(&self) -> Result<Vec<Place>, UpdateError> {
        let places = places(self.networks());
        // Of sorted prefixes, one that overlaps any other overlaps its neighbour.
        for pair in places.windows(2) {
            let [other, Place { prefix, network, .. }] = [pair[0], pair[1]];
            if other.prefix.contains(&prefix) {
                let (other, by) = (other.prefix, other.network);
                return Err(UpdateError::Overlap { network, prefix, other, by });
            }
        }
        Ok(places)
    }

    /// All ports' addresses: inside their networks, and each used once.
    fn ports(&self) -> Result<Ports<'a>, UpdateError> {
        let mut ports = Ports::default();
        let kept = self.kept(&self.rows.ports);
        let kept = kept.filter(|(name, _)| !self.update.ports.replaces(name));
        for (name, row) in kept.chain(&self.update.ports.upserts) {
            let key = || RowKey::Port(name.clone());
            check_port(self.network(row.network), name, row)?;
            for address in row.addresses() {
                if let Some((by, _)) = ports.addresses.insert(address, (name, row)) {
                    return Err(taken(key(), &address, RowKey::Port(by.clone())));
                }
                if row.lives_here() && self.stays_held(address) {
                    return Err(taken(key(), &address, RowKey::Held(address)));
                }
            }
            if let Some(by) = ports.macs.insert(row.mac, name) {
                return Err(taken(key(), &row.mac, RowKey::Port(by.clone())));
            }
        }
        Ok(ports)
    }

    fn networks(&self) -> impl Iterator<Item = (NetworkId, &'a NetworkRow)> {
        let kept = self.kept(&self.rows.networks);
        let kept = kept.filter(|(id, _)| !self.update.networks.replaces(id));
        kept.chain(&self.update.networks.upserts).map(|(id, row)| (*id, row))
    }

    fn network(&self, id: NetworkId) -> Option<&'a NetworkRow> {
        let networks = &self.update.networks;
        let kept = || {
            let stays = self.update.base.is_some() && !networks.removals.contains(&id);
            self.rows.networks.get(&id).filter(|_| stays)
        };
        networks.upserts.get(&id).or_else(kept)
    }

    fn stays_held(&self, address: IpAddr) -> bool {
        self.update.base.is_some()
            && self.rows.held.contains_key(&address)
            && !self.update.held.removals.contains(&address)
    }

    /// The rows of a table that the update starts from: none, if it replaces all.
    fn kept<K, V>(
        &self,
        table: &'a BTreeMap<K, V>,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let base = self.update.base;
        table.iter().filter(move |_| base.is_some())
    }
}

/// The error for an address that two rows have.
pub(super) fn taken(row: RowKey, address: &impl ToString, by: RowKey) -> UpdateError {
    UpdateError::Taken { row, address: address.to_string(), by }
}

#[cfg(test)]
mod tests;
