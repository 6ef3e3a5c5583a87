//! How the agent stands, for whoever asks.

use crate::apply::Applier;
use crate::driver::Awaits;
use crate::kernel::NicMode;
use crate::netlink::host_interface;
use mizar_proto::{PortState, PortStatus};
use mizar_vpc::{Generation, HostConfig, Name, RowKey, Vni};
use std::collections::{BTreeMap, BTreeSet};

/// How the agent stands. Follows each update at the cost of what the update changed.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// How the programs take frames from the NIC.
    pub(crate) mode: NicMode,
    /// Why in this mode.
    pub(crate) reason: String,
    /// The other layouts whose programs are still at work.
    pub(crate) others: Vec<u32>,
    /// What is awaited while they are.
    pub(crate) awaits: Awaits,
    pub(crate) connected: bool,
    pub(crate) config: Option<HostConfig>,
    pub(crate) positions: BTreeMap<Vni, Generation>,
    pub(crate) ports: BTreeMap<Vni, BTreeMap<Name, PortStatus>>,
    /// Rows of the VPCs among the counters.
    pub(crate) counters: BTreeMap<Vni, u32>,
}

impl Standing {
    /// Nothing was told yet.
    pub(crate) fn new((mode, reason): (NicMode, String), others: Vec<u32>) -> Self {
        let (awaits, connected, config, positions, ports, counters) = Default::default();
        Self { mode, reason, others, awaits, connected, config, positions, ports, counters }
    }

    /// What is waited for until the programs of another layout are replaced.
    pub(crate) fn waits_for(&self) -> Option<String> {
        (!self.others.is_empty()).then(|| self.awaits.until_then(&self.others))
    }

    /// Takes over how a VPC and those of its guests stand.
    pub(crate) fn follow(&mut self, applier: &Applier, vni: Vni, touched: &BTreeSet<Name>) {
        set(&mut self.positions, vni, applier.position(vni));
        set(&mut self.counters, vni, applier.vpc_index(vni));
        let ports = self.ports.entry(vni).or_default();
        for name in touched {
            set(ports, name.clone(), status(applier, vni, name));
        }
        if ports.is_empty() {
            self.ports.remove(&vni);
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn status(applier: &Applier, vni: Vni, name: &Name) -> Option<PortStatus> {
    let port = applier.rows(vni)?.ports.get(name)?;
    let error = applier.errors(vni).and_then(|errors| errors.get(&RowKey::Port(name.clone())));
    let there = applier.ports().get(vni, name);
    Some(PortStatus {
        vni,
        name: name.clone(),
        interface: there.map(|_| host_interface(vni.get(), name.as_str())),
        mac: port.mac,
        v4: port.v4,
        v6: port.v6,
        generation: port.generation,
        state: match error {
            Some(error) => PortState::Failed(error.clone()),
            None if there.is_none() => PortState::Attaching,
            None => PortState::Ready,
        },
        steps: there.map(|port| port.steps.clone()).unwrap_or_default(),
    })
}
