//! Batches of updates.

use super::rows::{
    held_message, network_message, port_message, read_held, read_network, read_port,
};
use super::{
    address, check_count, generation, keys, name, network_id, octets, rows, underlay, vni,
};
use crate::error::{At, FieldError, FieldProblem, Within};
use crate::pb;
use mizar_vpc::{Batch, Changes, Generation, TagKeys, VpcUpdate};

impl From<Batch> for pb::Update {
    fn from(batch: Batch) -> Self {
        let update = batch.update;
        Self {
            vni: update.vni.get(),
            generation: update.generation.get(),
            base: update.base.map(Generation::get),
            batch: batch.number,
            last: batch.last,
            removed: update.removed,
            dividers: update.dividers.into_iter().map(octets).collect(),
            quota: update.quota,
            networks: update.networks.upserts.into_iter().map(network_message).collect(),
            removed_networks: update.networks.removals.into_iter().map(Into::into).collect(),
            ports: update.ports.upserts.into_iter().map(port_message).collect(),
            removed_ports: update.ports.removals.into_iter().map(Into::into).collect(),
            held: update.held.upserts.into_iter().map(held_message).collect(),
            removed_held: update.held.removals.into_iter().map(octets).collect(),
            keys: update.keys.map(Into::into),
        }
    }
}

impl TryFrom<pb::Update> for Batch {
    type Error = FieldError;

    fn try_from(message: pb::Update) -> Result<Self, FieldError> {
        /// Most dividers that the kernel's tables hold.
        const DIVIDERS: usize = 8;
        check_count(message.dividers.len(), 0, DIVIDERS).at("dividers")?;
        let (number, last) = (message.batch, message.last);
        let update = VpcUpdate {
            vni: vni(message.vni).at("vni")?,
            generation: generation(message.generation).at("generation")?,
            base: message.base.map(|base| generation(base).at("base")).transpose()?,
            removed: message.removed,
            dividers: super::list("dividers", &message.dividers, |bytes| underlay(bytes))?,
            quota: message.quota,
            keys: message.keys.map(TagKeys::try_from).transpose().within("keys")?,
            networks: changes(
                ("networks", rows("networks", message.networks, read_network)?),
                keys("removed_networks", &message.removed_networks, |&id| network_id(id))?,
            )?,
            ports: changes(
                ("ports", rows("ports", message.ports, read_port)?),
                keys("removed_ports", &message.removed_ports, |text| name(text))?,
            )?,
            held: changes(
                ("held", rows("held", message.held, |held| read_held(&held))?),
                keys("removed_held", &message.removed_held, |bytes| address(bytes))?,
            )?,
        };
        check(number, &update)?;
        Ok(Self { number, last, update })
    }
}

/// Refuses a row that is both new and gone.
fn changes<K: Ord + ToString, V>(
    (field, upserts): (&str, std::collections::BTreeMap<K, V>),
    removals: std::collections::BTreeSet<K>,
) -> Result<Changes<K, V>, FieldError> {
    match removals.iter().find(|key| upserts.contains_key(key)) {
        Some(key) => Err(FieldProblem::Twice(key.to_string())).at(format_args!("removed_{field}")),
        None => Ok(Changes { upserts, removals }),
    }
}

fn check(number: u32, update: &VpcUpdate) -> Result<(), FieldError> {
    let VpcUpdate { networks, ports, held, .. } = update;
    if update.removed && (update.base.is_some() || !update.is_empty()) {
        return Err(FieldProblem::RemovedWithRows).at("removed");
    }
    let removals = networks.removals.len() + ports.removals.len() + held.removals.len();
    // Later batches may take back what earlier ones named.
    if update.base.is_none() && removals > 0 && number == 0 {
        return Err(FieldProblem::FullWithRemovals).at("base");
    }
    let twice = |(index, divider)| update.dividers[..index].contains(divider);
    match update.dividers.iter().enumerate().find(|&entry| twice(entry)) {
        Some((index, divider)) => {
            Err(FieldProblem::Twice(divider.to_string())).at(format_args!("dividers[{index}]"))
        }
        None => Ok(()),
    }
}
