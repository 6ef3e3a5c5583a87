//! Rows of tables in words.

use super::fleet::Fleet;
use super::record::Seen;
use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{Endpoint, EndpointKey, Host, HostIndex, Learned, NetworkIndex, Port};
use serde::Serialize;

/// A row that was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) table: &'static str,
    pub(super) key: String,
    /// What was found; None if there is no such row.
    pub(super) found: Option<String>,
    /// Whether this row decided what the host did.
    pub(super) decides: bool,
}

/// A look-up in words; None if it was none, or says nothing about the way.
pub(super) fn row(fleet: &Fleet, tables: &MemoryTables, seen: &Seen, decides: bool) -> Option<Row> {
    let (table, key, found) = match seen {
        Seen::Port(interface, found) => {
            let found = found.as_ref().map(|port| port_text(fleet, port));
            ("port", format!("interface {interface}"), found)
        }
        Seen::Endpoint(key, found) => {
            let found = found.as_ref().map(|row| endpoint_text(fleet, tables, key, row));
            ("endpoint", key.address.to_string(), found)
        }
        Seen::Learned(key, found) => {
            let found = found.as_ref().map(|row| learned_text(fleet, tables, row));
            ("learned", key.address.to_string(), found)
        }
        Seen::Host(index, found) => {
            let found = found.as_ref().map(|row| host_text(tables, row));
            ("host", host_name(fleet, tables, *index), found)
        }
        Seen::Vpc(vni, found) => {
            let found = found.as_ref().map(|row| list(fleet, tables, "dividers", &row.dividers));
            ("vpc", format!("VNI {vni}"), found)
        }
        Seen::Route(vni, address, found) => {
            let prefix = found.and_then(|_| prefix(tables, *vni, *address));
            ("route", address.to_string(), prefix)
        }
        Seen::Holders(network, slot, found) => {
            let found = found.as_ref().map(|row| list(fleet, tables, "bouncers", &row.hosts));
            ("holders", format!("{} slot {slot}", network_name(tables, *network)), found)
        }
        Seen::Token(interface, taken) => {
            let text = if *taken { "one taken" } else { "none left" };
            ("tokens", format!("interface {interface}"), Some(text.to_owned()))
        }
        // Rows of hosts that teach are named by what is learned.
        Seen::HostIndex(address, None) => ("host", fleet.host_name(*address), None),
        Seen::HostIndex(_, Some(_)) | Seen::Learn(..) | Seen::Count(_) | Seen::Tell(_) => {
            return None;
        }
    };
    Some(Row { table, key, found, decides })
}

/// How a host is called that another one has in a row.
pub(super) fn host_name(fleet: &Fleet, tables: &MemoryTables, index: HostIndex) -> String {
    let row = tables.hosts.borrow().get(&index).copied();
    row.map_or_else(|| format!("row {index}"), |row| fleet.host_name(row.address))
}

fn port_text(fleet: &Fleet, port: &Port) -> String {
    let addresses = [Address::v4(port.v4), port.v6];
    let name = addresses.iter().find_map(|it| fleet.endpoint_name(port.vni, *it));
    format!("{}, VNI {}, MTU {}", name.unwrap_or("an endpoint"), port.vni, port.mtu)
}

fn endpoint_text(
    fleet: &Fleet,
    tables: &MemoryTables,
    key: &EndpointKey,
    row: &Endpoint,
) -> String {
    match row.kind {
        Endpoint::LOCAL => {
            let name = fleet.endpoint_name(key.vni, key.address).unwrap_or("an endpoint");
            format!("{name}, on this host at interface {}", row.interface)
        }
        Endpoint::HELD => {
            format!("on {}; held here", host_name(fleet, tables, row.host))
        }
        _ if row.host == 0 => "was here until lately".to_owned(),
        _ => format!("moved to {}", host_name(fleet, tables, row.host)),
    }
}

fn learned_text(fleet: &Fleet, tables: &MemoryTables, row: &Learned) -> String {
    if row.host == 0 {
        return if tables.now < row.teach_until {
            format!("nowhere, for another {}", seconds(tables, row.teach_until - tables.now))
        } else {
            "forgotten".to_owned()
        };
    }
    let used = seconds(tables, tables.now.saturating_sub(row.used));
    let host = host_name(fleet, tables, row.host);
    let teaches = if tables.now < row.teach_until { ", still to be taught" } else { "" };
    format!("on {host}, used {used} ago{teaches}")
}

fn host_text(tables: &MemoryTables, row: &Host) -> String {
    let alive = if tables.now < row.alive_until {
        "alive".to_owned()
    } else if row.alive_until == 0 {
        "not proven alive".to_owned()
    } else {
        format!("not proven alive for {}", seconds(tables, tables.now - row.alive_until))
    };
    let next_hop = if row.is_resolved() { "" } else { ", next hop unresolved" };
    format!("{}, {alive}, MTU {}{next_hop}", row.address, row.mtu)
}

/// Hosts in order of preference; 0 ends the list.
fn list(fleet: &Fleet, tables: &MemoryTables, what: &str, hosts: &[HostIndex]) -> String {
    let names = hosts.iter().take_while(|index| **index != 0);
    let names: Vec<_> = names.map(|index| host_name(fleet, tables, *index)).collect();
    if names.is_empty() { format!("no {what}") } else { format!("{what} {}", names.join(", ")) }
}

fn network_name(tables: &MemoryTables, network: NetworkIndex) -> String {
    let routes = tables.routes.iter().filter(|(_, route)| route.network == network);
    let mut names: Vec<_> = routes.map(|((_, address, len), _)| text_of(*address, *len)).collect();
    if names.is_empty() {
        let ports = tables.ports.values().filter(|port| port.network == network);
        names.extend(ports.take(1).map(|port| {
            let network: std::net::Ipv4Addr = port.v4_network.into();
            format!("{network}/{}", port.v4_prefix)
        }));
    }
    names.into_iter().next().unwrap_or_else(|| format!("network {network}"))
}

/// The prefix that a route was found under.
fn prefix(tables: &MemoryTables, vni: u32, address: Address) -> Option<String> {
    let matching = tables
        .routes
        .keys()
        .filter(|(row_vni, network, len)| *row_vni == vni && address.shares_prefix(network, *len));
    matching.max_by_key(|(_, _, len)| *len).map(|(_, network, len)| text_of(*network, *len))
}

fn text_of(network: Address, len: u8) -> String {
    format!("{network}/{}", if network.is_v4() { len.saturating_sub(96) } else { len })
}

/// A duration in jiffies as text.
fn seconds(tables: &MemoryTables, jiffies: u64) -> String {
    format!("{:.1} s", jiffies as f64 / f64::from(tables.config.hz.max(1)))
}
