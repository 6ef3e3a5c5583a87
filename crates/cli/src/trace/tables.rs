//! The tables of a host in memory, from the rows of its kernel maps.

use anyhow::{Result, bail};
use mizar_packet::Address;
use mizar_packet::memory::MemoryTables;
use mizar_packet::tables::{
    Bucket, EndpointKey, Host, LAYOUT, NetworkIndex, Port, Route, RouteKey, SLOTS,
};
use mizar_proto::{Looked, RawRows};
use std::collections::BTreeMap;
use zerocopy::FromBytes;

/// Puts the rows of a host together.
///
/// # Errors
/// The layout is another build's, or rows are not as long as they should be.
pub(super) fn from_looked(looked: &Looked) -> Result<MemoryTables> {
    if looked.layout != LAYOUT {
        bail!(
            "its tables have layout {}, and this program knows {LAYOUT}: use the `mizar` of the \
             same version as its agent",
            looked.layout
        );
    }
    // So that nothing that is added to it comes to an end.
    if looked.now >= 1 << 62 {
        bail!("its clock says {} jiffies, which is no time", looked.now);
    }
    let mut tables = MemoryTables { now: looked.now, ..MemoryTables::default() };
    for (name, raw) in &looked.tables {
        read_table(&mut tables, name, raw)?;
    }
    if let Some(raw) = looked.tables.get("BUCKETS") {
        read_buckets(&mut tables, raw)?;
    }
    if tables.config.underlay.is_none() {
        bail!("its tables are empty: its agent has not set anything up yet");
    }
    Ok(tables)
}

fn read_table(tables: &mut MemoryTables, name: &str, raw: &RawRows) -> Result<()> {
    match name {
        "CONFIG" => {
            if let Some((_, config)) = rows::<u32, _>(name, raw)?.next() {
                tables.config = config;
            }
        }
        "PORTS" => {
            let ports = rows::<u32, Port>(name, raw)?;
            tables.ports.extend(ports.map(|(_, port)| (port.interface, port)));
        }
        "ENDPOINTS" => tables.endpoints.extend(rows(name, raw)?.map(|(key, row)| (pair(key), row))),
        "LEARNED" => {
            let rows = rows(name, raw)?.map(|(key, row)| (pair(key), row));
            tables.learned.get_mut().extend(rows);
        }
        "HOSTS" => {
            let hosts = rows::<u32, Host>(name, raw)?;
            // Row 0 is nobody, and the last one has none after it.
            let hosts = hosts.filter(|(index, _)| ![0, u32::MAX].contains(index));
            tables.hosts.get_mut().extend(hosts);
        }
        "VPCS" => tables.vpcs.extend(rows::<u32, _>(name, raw)?),
        "ROUTES" => tables.routes.extend(rows(name, raw)?.map(|(key, row)| route(&key, row))),
        "HOLDERS" => tables.holders.extend(rows(name, raw)?.map(|(key, row)| (slot(key), row))),
        "LEARNED_COUNT" => tables.learned_count.get_mut().extend(rows::<u32, u64>(name, raw)?),
        // Nothing that decides.
        _ => {}
    }
    Ok(())
}

/// The tokens of those guests that there are, which have the rows that their ports have.
fn read_buckets(tables: &mut MemoryTables, raw: &RawRows) -> Result<()> {
    let rows: BTreeMap<u32, Bucket> = rows("BUCKETS", raw)?.collect();
    let buckets = tables
        .ports
        .keys()
        .filter_map(|&interface| Some((interface, *rows.get(&tables.config.port_row(interface))?)));
    tables.buckets.get_mut().extend(buckets);
    Ok(())
}

/// The rows of a table.
fn rows<'a, K, V>(
    table: &str,
    raw: &'a RawRows,
) -> Result<impl Iterator<Item = (K, V)> + use<'a, K, V>>
where
    K: FromBytes,
    V: FromBytes,
{
    let rows: Option<Vec<(K, V)>> = raw.iter().map(|(key, row)| read(key, row)).collect();
    let Some(rows) = rows else {
        bail!(
            "rows of its table {table} are not as long as they should be: use the `mizar` of the \
             same build as its agent"
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

    fn raw<K, V>(rows: &[(K, V)]) -> RawRows
    where
        K: IntoBytes + Immutable,
        V: IntoBytes + Immutable,
    {
        let row = |(key, row): &(K, V)| (key.as_bytes().to_vec(), row.as_bytes().to_vec());
        rows.iter().map(row).collect()
    }

    fn looked(tables: &[(&str, RawRows)]) -> Looked {
        let table = |(name, rows): &(&str, RawRows)| ((*name).to_owned(), rows.clone());
        let tables = tables.iter().map(table).collect();
        Looked { layout: LAYOUT, now: 1000, tables, hosts: Vec::new() }
    }

    fn config() -> (&'static str, RawRows) {
        let underlay = Address::v4([100, 64, 0, 1]);
        ("CONFIG", raw(&[(0u32, Config { underlay, port_bits: 2, ..Config::EMPTY })]))
    }

    #[test]
    fn kernel_rows_are_found_under_the_keys_that_the_journey_uses() {
        let prefix = "10.0.1.0/24".parse().unwrap();
        let route = Route { network: 3, vpc: 1 };
        let holders = Holders { hosts: [2, 1, 0, 0] };
        let dividers = [2, 0, 0, 0, 0, 0, 0, 0];
        let vpc = Vpc { index: 1, quota: 9, dividers, keys: Keys::NONE };
        let other = Host { address: Address::v4([100, 64, 0, 3]), ..Host::new_zeroed() };
        let port = Port { interface: 0x1_0002, vni: 7, ..Port::new_zeroed() };
        let bucket = Bucket { filled: 999, tokens: 3 };
        let tables = from_looked(&looked(&[
            ("BUCKETS", raw(&[(0u32, Bucket::full(0)), (2, bucket)])),
            config(),
            ("PORTS", raw(&[(2u32, port)])),
            ("ROUTES", raw(&[(route_key(7, prefix), route)])),
            ("HOLDERS", raw(&[(3 * 256 + 17u32, holders)])),
            ("VPCS", raw(&[(7u32, vpc)])),
            ("HOSTS", raw(&[(1u32, other)])),
        ]))
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
        let refusal = |looked: &Looked| from_looked(looked).unwrap_err().to_string();
        let newer = Looked { layout: LAYOUT + 1, ..looked(&[config()]) };
        assert!(refusal(&newer).contains("layout"));
        let (name, mut longer) = config();
        longer[0].1.push(0);
        assert!(refusal(&looked(&[(name, longer)])).contains("CONFIG"));
        assert!(refusal(&looked(&[])).contains("empty"));
    }
}
