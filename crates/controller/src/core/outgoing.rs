//! What hosts are sent.

use super::Core;
use crate::desk::{Keys, Sent};
use mizar_proto::ControllerMessage;
use mizar_vpc::Row;
use mizar_vpc::{HostConfig, Name, RowKey, Vni, VpcUpdate};

/// Most rows in one message: far below the 4 MiB that a message may have.
const BATCH_ROWS: usize = 1000;

impl Core {
    /// Sends whatever there is to send.
    pub(crate) fn flush(&mut self) {
        for (host, vni) in std::mem::take(&mut self.unsent) {
            self.send(&host, vni);
        }
    }

    /// Sends what there is to send to a host of a VPC.
    pub(super) fn send(&mut self, host: &Name, vni: Vni) {
        let vpc = self.catalog.vpc(vni);
        let lives = |endpoint: &Name| {
            let endpoint = vpc.and_then(|vpc| vpc.endpoint_named(endpoint));
            endpoint.is_some_and(|(_, endpoint)| endpoint.host == *host)
        };
        let Some(sent) = self.desk.send(host, vni, self.generation, lives) else { return };
        let update = self.update(host, vni, &sent);
        if update.removed {
            self.desk.remove(host, vni);
        }
        let Some(outgoing) = self.outgoing.get(host) else { return };
        self.metrics.sent(update.len());
        for batch in update.batches(BATCH_ROWS) {
            // A stream that has ended says so by itself.
            let _ = outgoing.send(ControllerMessage::Update(batch));
        }
    }

    /// The rows of an update as they are now.
    fn update(&self, host: &Name, vni: Vni, sent: &Sent) -> VpcUpdate {
        let view = self.view();
        let generation = sent.generation;
        let keys = match &sent.keys {
            Keys::All => {
                let mut rows = view.vpc_rows(vni, host);
                if rows.networks.is_empty() {
                    return VpcUpdate::removal(vni, generation);
                }
                rows.ports.retain(|name, _| !sent.except.contains(&RowKey::Port(name.clone())));
                return VpcUpdate::full(vni, generation, rows);
            }
            Keys::Some(keys) => keys,
        };
        let loses_network = keys
            .iter()
            .any(|key| matches!(key, RowKey::Network(_)) && view.row(vni, host, key).is_none());
        if loses_network && !view.is_told(vni, host) {
            return VpcUpdate::removal(vni, generation);
        }
        let mut update = VpcUpdate::change(vni, generation, sent.base);
        (update.dividers, update.quota) = (view.dividers(vni, host), view.quota(vni));
        for key in keys {
            match (view.row(vni, host, key), key) {
                (Some(Row::Network(row)), RowKey::Network(id)) => {
                    update.networks.upserts.insert(*id, row);
                }
                (Some(Row::Port(row)), RowKey::Port(name)) => {
                    update.ports.upserts.insert(name.clone(), row);
                }
                (Some(Row::Held(row)), RowKey::Held(address)) => {
                    update.held.upserts.insert(*address, row);
                }
                (_, RowKey::Network(id)) => drop(update.networks.removals.insert(*id)),
                (_, RowKey::Port(name)) => drop(update.ports.removals.insert(name.clone())),
                (_, RowKey::Held(address)) => drop(update.held.removals.insert(*address)),
            }
        }
        update
    }

    /// Tells all hosts about themselves and the fleet.
    pub(super) fn send_configs(&self) {
        for (host, outgoing) in &self.outgoing {
            if let Some(config) = self.config(host) {
                let _ = outgoing.send(ControllerMessage::Config(config));
            }
        }
    }

    /// What a host is told about itself and the fleet.
    pub(super) fn config(&self, host: &Name) -> Option<HostConfig> {
        let record = self.catalog.host(host)?.record();
        let fleet = self.catalog.fleet().map(|fleet| fleet.spec.prefixes.clone());
        let (name, underlay) = (record.name.clone(), record.spec.underlay);
        Some(HostConfig { name, underlay, fleet: fleet.unwrap_or_default() })
    }
}
