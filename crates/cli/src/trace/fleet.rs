//! The hosts that a packet may visit, with their tables and the names of what is on them.

use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use std::collections::BTreeMap;

/// The hosts that were looked into, and what is called how.
#[derive(Clone, Debug, Default)]
pub(super) struct Fleet {
    pub(super) hosts: Vec<Host>,
    /// Names of hosts, also of others, by underlay address.
    pub(super) names: BTreeMap<Address, String>,
    /// Endpoints by VNI and address.
    pub(super) endpoints: BTreeMap<(u32, Address), Named>,
}

/// One host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) underlay: Address,
    /// Why its agent does not answer, if it does not and the tables are there all the same.
    pub(super) agent_is_down: Option<String>,
    /// A copy of what its kernel programs look up for the packet, or why there is none.
    pub(super) tables: Result<MemoryTables, String>,
}

/// How an endpoint is called, and where it is said to be.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// As `vpc/name`.
    pub(super) name: String,
    pub(super) host: String,
}

impl Fleet {
    /// The host with an underlay address.
    pub(super) fn at(&self, underlay: Address) -> Option<&Host> {
        self.hosts.iter().find(|host| host.underlay == underlay)
    }

    /// How a host is called: by its name, or its underlay address if it is no host of the fleet.
    pub(super) fn host_name(&self, underlay: Address) -> String {
        let host = self.at(underlay).map(|host| &host.name);
        host.or_else(|| self.names.get(&underlay))
            .map_or_else(|| underlay.to_string(), Clone::clone)
    }

    /// How an endpoint is called.
    pub(super) fn endpoint_name(&self, vni: u32, address: Address) -> Option<&str> {
        self.endpoints.get(&(vni, address)).map(|it| it.name.as_str())
    }
}
