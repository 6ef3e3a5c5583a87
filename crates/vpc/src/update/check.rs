//! What makes an update impossible.

use super::{RowKey, VpcUpdate};
use crate::{
    AttachmentError, Generation, Mac, Name, NetworkId, NetworkRow, PortRow, SlotMapError, Vni,
    VpcRows,
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
    /// A port with the address of a gateway.
    #[error("ports[{port}]: {address} is the gateway of network {network}: they must differ")]
    Gateway {
        /// The row.
        port: Name,
        /// Its address.
        address: IpAddr,
        /// Its network.
        network: NetworkId,
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
    holders(update)?;
    attachments(update)?;
    let after = After { rows, update };
    let prefixes = if update.networks.upserts.is_empty() && update.held.upserts.is_empty() {
        Vec::new()
    } else {
        after.prefixes()?
    };
    let ports = if update.is_empty() { Ports::default() } else { after.ports()? };
    for &address in update.held.upserts.keys() {
        if !contains(&prefixes, address) {
            return Err(UpdateError::HeldOutside(address));
        }
        if let Some(port) = ports.addresses.get(&address) {
            return Err(taken(RowKey::Held(address), &address, RowKey::Port((*port).clone())));
        }
    }
    Ok(())
}

/// Refuses malformed slots.
pub(super) fn holders(update: &VpcUpdate) -> Result<(), UpdateError> {
    update.networks.upserts.iter().try_for_each(|(&network, row)| {
        row.holders.check().map_err(|problem| UpdateError::Holders { network, problem })
    })
}

/// Refuses guests that cannot be attached like that.
pub(super) fn attachments(update: &VpcUpdate) -> Result<(), UpdateError> {
    update.ports.upserts.iter().try_for_each(|(port, row)| {
        let attachment = row.attachment.check();
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
        if !target.contains(address) {
            return Err(UpdateError::Outside { port: port(), address, network: id });
        }
        if target.gateways().any(|gateway| gateway == address) {
            return Err(UpdateError::Gateway { port: port(), address, network: id });
        }
    }
    Ok(())
}

/// All prefixes by first address.
pub(super) fn prefixes<'a>(
    networks: impl Iterator<Item = (NetworkId, &'a NetworkRow)>,
) -> Vec<(IpNet, NetworkId)> {
    let of = |(id, row): (NetworkId, &NetworkRow)| {
        let prefixes = row.v4.map(IpNet::V4).into_iter().chain(row.v6.map(IpNet::V6));
        prefixes.map(move |prefix| (prefix, id))
    };
    let mut prefixes: Vec<_> = networks.flat_map(of).collect();
    prefixes.sort_unstable_by_key(|(prefix, id)| (prefix.network(), prefix.prefix_len(), *id));
    prefixes
}

/// The rows as they would be after an update.
struct After<'a> {
    rows: &'a VpcRows,
    update: &'a VpcUpdate,
}

/// Who has which address.
#[derive(Default)]
struct Ports<'a> {
    addresses: BTreeMap<IpAddr, &'a Name>,
    macs: BTreeMap<Mac, &'a Name>,
}

impl<'a> After<'a> {
    /// All prefixes by first address; none overlaps another.
    fn prefixes(&self) -> Result<Vec<(IpNet, NetworkId)>, UpdateError> {
        let prefixes = prefixes(self.networks());
        // Of sorted prefixes, one that overlaps any other overlaps its neighbour.
        for pair in prefixes.windows(2) {
            let [(other, by), (prefix, network)] = [pair[0], pair[1]];
            if other.contains(&prefix) {
                return Err(UpdateError::Overlap { network, prefix, other, by });
            }
        }
        Ok(prefixes)
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
                if let Some(by) = ports.addresses.insert(address, name) {
                    return Err(taken(key(), &address, RowKey::Port(by.clone())));
                }
                if self.stays_held(address) {
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

/// Whether one of the sorted prefixes has the address.
pub(super) fn contains(prefixes: &[(IpNet, NetworkId)], address: IpAddr) -> bool {
    let after = prefixes.partition_point(|(prefix, _)| prefix.network() <= address);
    prefixes[..after].last().is_some_and(|(prefix, _)| prefix.contains(&address))
}

/// The error for an address that two rows have.
pub(super) fn taken(row: RowKey, address: &impl ToString, by: RowKey) -> UpdateError {
    UpdateError::Taken { row, address: address.to_string(), by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{apply, at, catalog, endpoint, maps};
    use crate::{Slot, rows};

    /// The rows of a host that has two endpoints and holds another, in one network.
    fn example() -> VpcRows {
        let mut catalog = catalog(3);
        for (path, host) in [("blue/a", "h1"), ("blue/b", "h1"), ("blue/c", "h2")] {
            apply(&mut catalog, &endpoint(path, host, |_| ())).unwrap();
        }
        rows(&catalog, &maps(&["h1", "h2", "h3"])).unwrap()["h1"][&Vni::MIN].clone()
    }

    /// The words with which the example is refused after a change, as an update of everything and
    /// as a difference.
    fn refusal(change: impl FnOnce(&mut VpcRows)) -> String {
        let (before, mut after) = (example(), example());
        change(&mut after);
        let full = VpcUpdate::full(Vni::MIN, at(2), after.clone());
        let diff = VpcUpdate::diff(Vni::MIN, (at(1), &before), (at(2), &after));
        let [full, diff] = [full, diff].map(|update| {
            let mut rows = before.clone();
            let words = rows.apply(update).unwrap_err().to_string();
            assert_eq!(rows, before, "nothing changes");
            words
        });
        assert_eq!(full, diff);
        full
    }

    fn port<'a>(rows: &'a mut VpcRows, name: &str) -> &'a mut PortRow {
        rows.ports.get_mut(name).unwrap()
    }

    #[test]
    fn the_example_itself_is_accepted() {
        let rows = example();
        assert_eq!((rows.ports.len(), rows.held.len(), rows.networks.len()), (2, 2, 1));
        VpcRows::default().apply(VpcUpdate::full(Vni::MIN, at(1), rows)).unwrap();
    }

    #[test]
    fn malformed_slots_and_attachments_are_refused() {
        let words = refusal(|rows| {
            rows.networks.get_mut(&NetworkId::MIN).unwrap().holders.slots.pop().unwrap();
        });
        let count = Slot::COUNT;
        assert_eq!(words, format!("networks[1].holders: 255 slots: there must be {count}"));
        let words = refusal(|rows| {
            let crate::Attachment::Veth { interface, .. } = &mut port(rows, "a").attachment;
            interface.clear();
        });
        assert!(words.starts_with("ports[a].attachment: interface \"\" is no"), "{words}");
    }

    #[test]
    fn a_port_without_its_network_is_refused() {
        assert_eq!(
            refusal(|rows| port(rows, "a").network = "9".parse().unwrap()),
            "ports[a].network: network 9 has no row: send both, or remove both"
        );
        let words = refusal(|rows| {
            rows.networks.clear();
            rows.held.clear();
        });
        assert!(words.starts_with("ports[a].network: network 1 has no row"), "{words}");
    }

    #[test]
    fn a_network_goes_together_with_its_ports() {
        let (mut rows, after) = (example(), VpcRows::default());
        rows.apply(VpcUpdate::diff(Vni::MIN, (at(1), &rows), (at(2), &after))).unwrap();
        assert!(rows.networks.is_empty() && rows.ports.is_empty());
    }

    #[test]
    fn overlapping_networks_are_refused() {
        let words = refusal(|rows| {
            let mut row = rows.networks[&NetworkId::MIN].clone();
            (row.v4, row.v6) = ("10.0.128.0/24".parse().ok(), None);
            rows.networks.insert("2".parse().unwrap(), row);
        });
        assert_eq!(
            words,
            "networks[2]: 10.0.128.0/24 overlaps 10.0.0.0/16 of networks[1]: they must not"
        );
    }

    #[test]
    fn ports_with_impossible_addresses_are_refused() {
        assert_eq!(
            refusal(|rows| port(rows, "a").v4 = "10.9.0.1".parse().ok()),
            "ports[a]: 10.9.0.1 is outside of network 1: it must be inside"
        );
        assert_eq!(
            refusal(|rows| port(rows, "a").v6 = "fd00::1".parse().ok()),
            "ports[a]: fd00::1 is the gateway of network 1: they must differ"
        );
        assert_eq!(
            refusal(|rows| port(rows, "b").v4 = "10.0.0.2".parse().ok()),
            "ports[b]: 10.0.0.2 is already used by ports[a]: they must differ"
        );
        assert_eq!(
            refusal(|rows| port(rows, "b").mac = port(rows, "a").mac),
            "ports[b]: 02:c1:0a:00:00:02 is already used by ports[a]: they must differ"
        );
    }

    #[test]
    fn held_addresses_of_no_network_or_of_a_port_are_refused() {
        let hold = |rows: &mut VpcRows, address: &str| {
            let row = *rows.held.values().next().unwrap();
            rows.held.insert(address.parse().unwrap(), row);
        };
        assert_eq!(
            refusal(|rows| hold(rows, "10.9.0.1")),
            "held[10.9.0.1]: no network with a row has this address: send its network before"
        );
        let words = refusal(|rows| hold(rows, "10.0.0.2"));
        assert_eq!(words, "held[10.0.0.2]: 10.0.0.2 is already used by ports[a]: they must differ");
    }

    #[test]
    fn an_address_moves_from_held_to_local_in_one_update_only() {
        let (mut rows, mut after) = (example(), example());
        let (&address, _) = after.held.iter().next().unwrap();
        let (v4, row) = (address.to_string().parse().unwrap(), port(&mut after, "a"));
        (row.v4, row.v6) = (Some(v4), None);
        after.held.clear();
        let mut update = VpcUpdate::diff(Vni::MIN, (at(1), &rows), (at(2), &after));
        let removals = std::mem::take(&mut update.held);
        let words = rows.apply(update.clone()).unwrap_err().to_string();
        let taken = format!("{address} is already used by held[{address}]: they must differ");
        assert_eq!(words, format!("ports[a]: {taken}"));
        update.held = removals;
        rows.apply(update).unwrap();
        assert_eq!(rows, after);
    }
}
