//! Conversions between generated messages and checked types: `From` to send, `TryFrom` to receive.

use crate::error::{At, FieldError, FieldProblem, Within};
use mizar_vpc::{Generation, Mac, Name, NetworkId, Vni, is_underlay};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod beat;
mod keys;
mod look;
mod message;
mod report;
mod rows;
mod times;
mod update;

/// An address of either family from its bytes.
fn address(bytes: &[u8]) -> Result<IpAddr, FieldProblem> {
    if bytes.is_empty() {
        return Err(FieldProblem::Missing);
    }
    let length =
        |_| FieldProblem::AddressLength { actual: bytes.len(), expected: "4 (IPv4) or 16 (IPv6)" };
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(octets).into());
    }
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).map_err(length)?);
    match v6.to_ipv4_mapped() {
        // The kernel's tables could not tell them apart.
        Some(v4) => Err(FieldProblem::Mapped(v4.into())),
        None => Ok(v6.into()),
    }
}

fn v4(bytes: &[u8]) -> Result<Ipv4Addr, FieldProblem> {
    match address(bytes)? {
        IpAddr::V4(v4) => Ok(v4),
        IpAddr::V6(_) => Err(FieldProblem::AddressLength { actual: 16, expected: "4" }),
    }
}

fn v6(bytes: &[u8]) -> Result<Ipv6Addr, FieldProblem> {
    match address(bytes)? {
        IpAddr::V6(v6) => Ok(v6),
        IpAddr::V4(_) => Err(FieldProblem::AddressLength { actual: 4, expected: "16" }),
    }
}

/// The underlay address of one host.
fn underlay(bytes: &[u8]) -> Result<IpAddr, FieldProblem> {
    let address = address(bytes)?;
    if !is_underlay(address) {
        return Err(FieldProblem::NotUnicast(address));
    }
    Ok(address)
}

fn mac(bytes: &[u8]) -> Result<Mac, FieldProblem> {
    if bytes.is_empty() {
        return Err(FieldProblem::Missing);
    }
    let octets = <[u8; 6]>::try_from(bytes).map_err(|_| FieldProblem::MacLength(bytes.len()))?;
    Ok(Mac::try_from(octets)?)
}

fn vni(number: u32) -> Result<Vni, FieldProblem> {
    Ok(Vni::try_from(number)?)
}

fn network_id(number: u32) -> Result<NetworkId, FieldProblem> {
    Ok(NetworkId::try_from(number)?)
}

fn name(text: &str) -> Result<Name, FieldProblem> {
    if text.is_empty() { Err(FieldProblem::Missing) } else { Ok(text.parse::<Name>()?) }
}

fn generation(number: u64) -> Result<Generation, FieldProblem> {
    if number == 0 { Err(FieldProblem::Missing) } else { Ok(Generation::try_from(number)?) }
}

fn u16(number: u32) -> Result<u16, FieldProblem> {
    let too_large = |_| FieldProblem::TooLarge { value: number.into(), most: u16::MAX.into() };
    u16::try_from(number).map_err(too_large)
}

fn text(text: String) -> Result<String, FieldProblem> {
    if text.is_empty() { Err(FieldProblem::Missing) } else { Ok(text) }
}

/// Most bytes that are kept of what an agent says for people.
const WORDS: usize = 1024;

/// What an agent says for people, who read it in terminals and logs: its beginning, and nothing
/// that moves a cursor.
fn words(text: &str) -> Result<String, FieldProblem> {
    if text.is_empty() {
        return Err(FieldProblem::Missing);
    }
    let shown = &text[..text.floor_char_boundary(WORDS)];
    Ok(shown.replace(char::is_control, " "))
}

/// Bytes of an address in network order.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Reads a list of rows, whose keys must differ.
fn rows<P, K: Ord + ToString, V>(
    field: &str,
    list: Vec<P>,
    read: impl Fn(P) -> Result<(K, V), FieldError>,
) -> Result<BTreeMap<K, V>, FieldError> {
    let read = |(index, message)| read(message).within(format_args!("{field}[{index}]"));
    let rows = list.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    check_distinct(field, rows.iter().map(|(key, _)| key))?;
    Ok(rows.into_iter().collect())
}

/// Reads a list of keys, which must differ.
fn keys<P, K: Ord + ToString>(
    field: &str,
    messages: &[P],
    read: impl Fn(&P) -> Result<K, FieldProblem>,
) -> Result<BTreeSet<K>, FieldError> {
    let keys = list(field, messages, read)?;
    check_distinct(field, keys.iter())?;
    Ok(keys.into_iter().collect())
}

/// Refuses a list in which a key is there twice.
fn check_distinct<'a, K: Ord + ToString + 'a>(
    field: &str,
    keys: impl Iterator<Item = &'a K> + Clone,
) -> Result<(), FieldError> {
    // They come in order from those who keep them so, and need not be compared with all others.
    if keys.clone().is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    match keys.enumerate().find(|(_, key)| !seen.insert(*key)) {
        Some((index, key)) => {
            Err(FieldProblem::Twice(key.to_string())).at(format_args!("{field}[{index}]"))
        }
        None => Ok(()),
    }
}

/// Reads a list of values.
fn list<P, T>(
    field: &str,
    list: &[P],
    read: impl Fn(&P) -> Result<T, FieldProblem>,
) -> Result<Vec<T>, FieldError> {
    let read = |(index, message)| read(message).at(format_args!("{field}[{index}]"));
    list.iter().enumerate().map(read).collect()
}

/// Refuses a list that has fewer than `least` or more than `most` entries.
fn check_count(count: usize, least: usize, most: usize) -> Result<(), FieldProblem> {
    if (least..=most).contains(&count) {
        Ok(())
    } else {
        Err(FieldProblem::Count { count, least, most })
    }
}
