//! What becomes of what still comes for endpoints that have left a host, as
//! `agent::apply::{scope, reconcile}` have it.

use crate::host::underlay;
use crate::scenario::HostId;
use crate::world::{Task, World};
use mizar_packet::Address;
use mizar_packet::tables::{Endpoint, EndpointKey};
use mizar_packet::upkeep::LEASE;
use mizar_vpc::{NetworkId, PortMigration, PortRow, Slot, VpcRows};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where what still comes for an endpoint goes once it has left.
#[derive(Debug)]
pub(crate) struct Successor {
    network: NetworkId,
    /// The host that it was about to move to.
    target: Option<IpAddr>,
    /// Its bouncers, for a host that does not know the network any more.
    bouncers: Vec<IpAddr>,
}

/// The successors of all endpoints here.
pub(crate) fn successors(rows: &VpcRows) -> BTreeMap<Address, Successor> {
    let of = |port: &PortRow| {
        let network = port.network;
        let target = port.migration.and_then(PortMigration::target);
        let holders = rows.networks.get(&network).map(|network| network.holders.clone());
        port.addresses().map(move |address| {
            let bouncers = holders.iter().flat_map(|it| it.holders(Slot::of(address)));
            let bouncers = bouncers.collect();
            (Address::from(address), Successor { network, target, bouncers })
        })
    };
    rows.ports.values().flat_map(of).collect()
}

impl World {
    /// The index of the host that gets what still comes for an endpoint that has left; 0: whichever
    /// bouncer is alive then.
    pub(crate) fn successor(&mut self, id: HostId, of: Option<&Successor>, rows: &VpcRows) -> u32 {
        let Some(of) = of else { return 0 };
        let asked = rows.networks.contains_key(&of.network);
        let own = IpAddr::from(underlay(id));
        let bouncer = of.bouncers.iter().find(|host| !asked && **host != own);
        of.target.as_ref().or(bouncer).map_or(0, |host| self.ensure(id, *host))
    }

    /// A row that says "moved" is forgotten after two leases, unless it has become another one.
    pub(crate) fn forget_later(&mut self, id: HostId, key: EndpointKey, row: Endpoint) {
        let boot = self.hosts[id].boots;
        let life = self.agents[id].life;
        let after = 2 * LEASE.as_micros() as u64;
        self.after(after, Task::Moved { host: id, boot, life, key, row });
    }
}
