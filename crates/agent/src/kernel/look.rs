//! Which rows decide what becomes of a packet: few, however many there are.

use super::maps::{
    BUCKETS, CONFIG, ENDPOINTS, HOLDERS, HOSTS, LEARNED, LEARNED_COUNT, Maps, PORTS, ROUTES, VPCS,
};
use super::table::TableError;
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{
    Config, EndpointKey, HostIndex, LAYOUT, NetworkIndex, Port, RouteKey, SLOTS, Vpc,
};
use mizar_proto::{Look, Looked};
use std::collections::BTreeSet;
use std::net::IpAddr;
use zerocopy::{Immutable, IntoBytes};

impl Maps {
    /// The rows that decide what becomes of packets between some addresses of a VPC, at `now` in
    /// jiffies, for whoever computes with the same layouts. Secrets are not shown: the rows say
    /// that nothing has to be signed. Blocks for system calls: a few, and two for each network.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn look(&self, look: &Look, now: u64) -> Result<Looked, TableError> {
        let mut found = Found::new(look, now);
        self.look_at_addresses(&mut found)?;
        self.look_at_networks(&mut found)?;
        self.look_at_hosts(&mut found, &look.hosts)?;
        Ok(found.looked)
    }

    fn look_at_addresses(&self, found: &mut Found) -> Result<(), TableError> {
        if let Some(config) = self.config.get(&0)? {
            found.hosts.insert(config.own_host);
            let shown = Config { keys: Keys::NONE, echo_cookie: 0, mark: 0, ..config };
            found.row(CONFIG, &0u32, &shown);
        }
        let mut ports = self.ports.rows()?;
        ports.retain(|port| found.has(port));
        for port in ports {
            let row = self.ports.row(port.interface);
            found.networks.insert(port.network);
            found.row(PORTS, &row, &Port { v4_tag: [0; 8], v6_tag: [0; 8], ..port });
            if let Some(bucket) = self.ports.tokens(port.interface)? {
                found.row(BUCKETS, &row, &bucket);
            }
        }
        for address in found.addresses.clone() {
            let key = EndpointKey::new(found.vni, address);
            if let Some(row) = self.endpoints.get(&key) {
                found.hosts.insert(row.host);
                found.row(ENDPOINTS, &key, &row);
            }
            if let Some(row) = self.learned.get(&key) {
                found.hosts.insert(row.host);
                found.row(LEARNED, &key, &row);
            }
        }
        Ok(())
    }

    fn look_at_networks(&self, found: &mut Found) -> Result<(), TableError> {
        if let Some(vpc) = self.vpcs.get(&found.vni)? {
            found.hosts.extend(vpc.dividers);
            found.row(VPCS, &found.vni.clone(), &Vpc { keys: Keys::NONE, ..vpc });
            if let Some(count) = self.learned_count.get(&vpc.index)? {
                found.row(LEARNED_COUNT, &vpc.index, &count);
            }
        }
        let mut routes = self.routes.rows()?;
        routes.retain(|(key, _)| found.is_in(key));
        for address in &found.addresses {
            // A listing may miss what is there while other rows come and go.
            let key = RouteKey::new(found.vni, *address, 128);
            let is_listed = routes.iter().any(|(it, _)| is_in(it, address));
            if let Some(route) = self.routes.get(&key)?.filter(|_| !is_listed) {
                routes.push((key, route));
            }
        }
        for (key, route) in routes {
            found.networks.insert(route.network);
            found.row(ROUTES, &key, &route);
        }
        let slots: BTreeSet<u8> = found.addresses.iter().map(|it| it.slot()).collect();
        for network in std::mem::take(&mut found.networks) {
            for slot in slots.iter().copied() {
                let key = network * SLOTS as u32 + u32::from(slot);
                if let Some(holders) = self.holders.get(&key)? {
                    found.hosts.extend(holders.hosts);
                    found.row(HOLDERS, &key, &holders);
                }
            }
        }
        Ok(())
    }

    fn look_at_hosts(&self, found: &mut Found, wanted: &[IpAddr]) -> Result<(), TableError> {
        for underlay in wanted {
            found.hosts.extend(self.host_index.get(&Address::from(*underlay))?);
        }
        for index in std::mem::take(&mut found.hosts) {
            // Row 0 is nobody, and a row without an address is free.
            let row = self.hosts.get(&index)?.filter(|row| index != 0 && !row.address.is_none());
            if let Some(row) = row {
                found.looked.hosts.push(row.address.into());
                found.row(HOSTS, &index, &row);
            }
        }
        Ok(())
    }
}

/// What was found, and what else has to be looked for.
struct Found {
    vni: u32,
    addresses: Vec<Address>,
    networks: BTreeSet<NetworkIndex>,
    hosts: BTreeSet<HostIndex>,
    looked: Looked,
}

impl Found {
    fn new(look: &Look, now: u64) -> Self {
        Self {
            vni: look.vni.get(),
            addresses: look.addresses.iter().map(|it| Address::from(*it)).collect(),
            networks: BTreeSet::new(),
            hosts: BTreeSet::new(),
            looked: Looked { layout: LAYOUT, now, ..Looked::default() },
        }
    }

    fn row<K, V>(&mut self, table: &str, key: &K, row: &V)
    where
        K: IntoBytes + Immutable,
        V: IntoBytes + Immutable,
    {
        let rows = self.looked.tables.entry(table.to_owned()).or_default();
        rows.push((key.as_bytes().to_vec(), row.as_bytes().to_vec()));
    }

    /// Whether an interface has one of the addresses; all zeros are none.
    fn has(&self, port: &Port) -> bool {
        let v4 = Some(Address::v4(port.v4)).filter(|_| port.v4 != [0; 4]);
        let v6 = Some(port.v6).filter(|v6| !v6.is_none());
        let has = |address| v4 == Some(address) || v6 == Some(address);
        port.vni == self.vni && self.addresses.iter().copied().any(has)
    }

    /// Whether one of the addresses is in a network.
    fn is_in(&self, key: &RouteKey) -> bool {
        key.vni() == self.vni && self.addresses.iter().any(|address| is_in(key, address))
    }
}

fn is_in(key: &RouteKey, address: &Address) -> bool {
    // The first bits are those of the VNI.
    let bits = key.length.saturating_sub(32).min(128) as u8;
    address.shares_prefix(&Address::from_octets(key.address), bits)
}
