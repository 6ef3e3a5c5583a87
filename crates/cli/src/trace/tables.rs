//! The tables of a host in memory, from the rows of its kernel maps.

use anyhow::{Result, bail};
use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Bucket, EndpointKey, Host, LAYOUT, NetworkIndex, Port, Route, RouteKey, SLOTS,
};
use mizar_proto::MapDump;
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// Puts dumped maps together.
///
/// # Errors
/// The layout is another build's, or rows are not as long as they should be.
pub(super) fn from_dump(maps: &[MapDump]) -> Result<MemoryTables> {
    let mut tables = MemoryTables::default();
    for map in maps {
        if map.layout != LAYOUT {
            bail!(
                "its tables have layout {}, and this program knows {LAYOUT}: use the `mizar` of \
                 the same version as its agent",
                map.layout
            );
        }
        // Rows that were read later refer to a later time.
        tables.now = tables.now.max(map.now);
        read_map(&mut tables, map)?;
    }
    for map in maps.iter().filter(|map| map.map == "BUCKETS") {
        read_buckets(&mut tables, map)?;
    }
    if tables.config.underlay.is_none() {
        bail!("its tables are empty: its agent has not set anything up yet");
    }
    Ok(tables)
}

fn read_map(tables: &mut MemoryTables, map: &MapDump) -> Result<()> {
    match map.map.as_str() {
        "CONFIG" => {
            if let Some((_, config)) = rows::<u32, _>(map)?.next() {
                tables.config = config;
            }
        }
        "PORTS" => {
            // A row that nobody has is all zeros.
            let used = rows::<u32, Port>(map)?.filter(|(_, port)| port.interface != 0);
            tables.ports.extend(used.map(|(_, port)| (port.interface, port)));
        }
        "ENDPOINTS" => tables.endpoints.extend(rows(map)?.map(|(key, row)| (pair(key), row))),
        "LEARNED" => {
            tables.learned.get_mut().extend(rows(map)?.map(|(key, row)| (pair(key), row)));
        }
        "HOSTS" => {
            // Row 0 is nobody, and a row without an address is free.
            let used = rows::<u32, Host>(map)?
                .filter(|(index, row)| *index != 0 && !row.address.is_none());
            tables.hosts.get_mut().extend(used);
        }
        "VPCS" => tables.vpcs.extend(rows::<u32, _>(map)?),
        "ROUTES" => tables.routes.extend(rows(map)?.map(|(key, row)| route(&key, row))),
        "HOLDERS" => tables.holders.extend(rows(map)?.map(|(key, row)| (slot(key), row))),
        "LEARNED_COUNT" => tables.learned_count.get_mut().extend(rows::<u32, u64>(map)?),
        // The rest says nothing that the ones above do not.
        _ => {}
    }
    Ok(())
}

/// The tokens of those guests that there are, which have the rows that their ports have.
fn read_buckets(tables: &mut MemoryTables, map: &MapDump) -> Result<()> {
    let rows: BTreeMap<u32, Bucket> = rows(map)?.collect();
    let buckets = tables
        .ports
        .keys()
        .filter_map(|&interface| Some((interface, *rows.get(&tables.config.port_row(interface))?)));
    tables.buckets.get_mut().extend(buckets);
    Ok(())
}

/// The rows of a map.
fn rows<K: FromBytes, V: FromBytes>(map: &MapDump) -> Result<impl Iterator<Item = (K, V)>> {
    let rows: Option<Vec<(K, V)>> = map.entries.iter().map(|(key, row)| read(key, row)).collect();
    let Some(rows) = rows else {
        bail!(
            "rows of its table {} are not as long as they should be: use the `mizar` of the same \
             build as its agent",
            map.map
        );
    };
    Ok(rows.into_iter())
}

fn read<K: FromBytes, V: FromBytes>(key: &[u8], row: &[u8]) -> Option<(K, V)> {
    Some((K::read_from_bytes(key).ok()?, V::read_from_bytes(row).ok()?))
}

fn pair(key: EndpointKey) -> (u32, Address) {
    (key.vni, key.address)
}

fn slot(key: u32) -> (NetworkIndex, u8) {
    let slots = SLOTS as u32;
    (key / slots, (key % slots) as u8)
}

/// A prefix as the memory has it: its length counts the bits of the mapped address alone.
fn route(key: &RouteKey, route: Route) -> ((u32, Address, u8), Route) {
    let bits = key.length.saturating_sub(32).min(128) as u8;
    ((key.vni(), Address::from_octets(key.address), bits), route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mizar_packet::Tables;
    use mizar_packet::keys::Keys;
    use mizar_packet::tables::{Config, Holders, Vpc};
    use mizar_vpc::tables::route_key;
    use std::net::Ipv4Addr;
    use zerocopy::{FromZeros, Immutable, IntoBytes};

    fn dump<K, V>(map: &str, rows: &[(K, V)]) -> MapDump
    where
        K: IntoBytes + Immutable,
        V: IntoBytes + Immutable,
    {
        let row = |(key, row): &(K, V)| (key.as_bytes().to_vec(), row.as_bytes().to_vec());
        let entries = rows.iter().map(row).collect();
        MapDump { map: map.to_owned(), layout: LAYOUT, now: 1000, entries }
    }

    fn config() -> MapDump {
        let underlay = Address::v4([100, 64, 0, 1]);
        dump("CONFIG", &[(0u32, Config { underlay, port_bits: 2, ..Config::EMPTY })])
    }

    #[test]
    fn kernel_rows_are_found_under_the_keys_that_the_journey_uses() {
        let prefix = "10.0.1.0/24".parse().unwrap();
        let route = Route { network: 3, vpc: 1 };
        let holders = Holders { hosts: [2, 1, 0, 0] };
        let dividers = [2, 0, 0, 0, 0, 0, 0, 0];
        let vpc = Vpc { index: 1, quota: 9, dividers, keys: Keys::NONE };
        let nobody = Host::new_zeroed();
        let other = Host { address: Address::v4([100, 64, 0, 3]), ..nobody };
        let port = Port { interface: 0x1_0002, vni: 7, ..Port::new_zeroed() };
        let bucket = Bucket { filled: 999, tokens: 3 };
        let tables = from_dump(&[
            dump("BUCKETS", &[(0u32, Bucket::full(0)), (2, bucket)]),
            config(),
            dump("PORTS", &[(0u32, Port::new_zeroed()), (2, port)]),
            dump("ROUTES", &[(route_key(7, prefix), route)]),
            dump("HOLDERS", &[(3 * 256 + 17u32, holders)]),
            dump("VPCS", &[(7u32, vpc)]),
            dump("HOSTS", &[(0u32, nobody), (1, other), (2, nobody)]),
        ])
        .unwrap();
        assert_eq!(tables.now, 1000);
        assert!(tables.ports.values().eq([&port]) && tables.port(port.interface) == Some(&port));
        assert!(tables.buckets.borrow().iter().eq([(&port.interface, &bucket)]));
        let inside = Address::from(Ipv4Addr::new(10, 0, 1, 200));
        assert_eq!(tables.route(7, &inside), Some(route));
        assert_eq!(tables.route(8, &inside), None, "another VPC");
        assert_eq!(tables.route(7, &Address::v4([10, 0, 2, 1])), None);
        assert_eq!(tables.holders(3, 17), Some(holders));
        assert_eq!(tables.vpc(7), Some(&vpc));
        assert_eq!(tables.host_index(&other.address), Some(1));
        assert_eq!((tables.host(0), tables.host(2)), (None, None));
    }

    #[test]
    fn tables_of_another_build_are_refused() {
        let refusal = |maps: &[MapDump]| from_dump(maps).unwrap_err().to_string();
        let newer = MapDump { layout: LAYOUT + 1, ..config() };
        assert!(refusal(&[newer]).contains("layout"));
        let mut longer = config();
        longer.entries[0].1.push(0);
        assert!(refusal(&[longer]).contains("CONFIG"));
        assert!(refusal(&[]).contains("empty"));
    }
}
