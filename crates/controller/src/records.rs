//! Records and slot maps as the store keeps them: one key each, binary, versioned.
//!
//! | key | value |
//! |---|---|
//! | `f` | the fleet |
//! | `h` name, `t` name, `v` name | a host, a tenant, a VPC |
//! | `n` VNI name, `e` VNI name | a network, an endpoint |
//! | `j` number, `r` identity | a join token, a revocation: the office's own |
//! | `s` VNI network, `d` VNI | a slot map, a VPC's dividers |
//! | `c`, `c` VNI network | the VNI that was chosen last, the addresses that were |
//! | `k` | the keyring: whoever reads it can sign as any host |
//!
//! A VNI has 3 bytes, a network id 4, in network order. A value begins with the version of its
//! form. Endpoints, of which there are many, are written field by field, and those that are hosts
//! themselves, or about to move, have versions of their own; the others as MessagePack with the
//! names of their fields, so that a later version may add some.

use crate::keyring::{self, Keyring};
use ipnet::IpNet;
use mizar_vpc::catalog::{Chosen, EndpointRecord, Record};
use mizar_vpc::manifest::Migration;
use mizar_vpc::{Attachment, Generation, Labels, Mac, Name, NetworkId, SlotMap, Vni, VpcSlotMaps};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use thiserror::Error;

mod choices;
pub(crate) use choices::{LAST_VNI, chosen_key, chosen_value, last_vni_value};

/// The version of all values but one kind.
const VERSION: u8 = 1;
/// The version of endpoints that are hosts themselves.
const HOST_VERSION: u8 = 2;
/// The version of endpoints that are about to move.
const MIGRATING_VERSION: u8 = 3;

/// A stored value, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A resource.
    Record(Record),
    /// Who holds the slots of a network, and since when.
    SlotMap(Vni, NetworkId, SlotMap),
    /// A VPC's dividers, without its networks.
    Dividers(Vni, VpcSlotMaps),
    /// The VNI that was chosen last.
    LastVni(Vni),
    /// The addresses that had been chosen last in a network then.
    Chosen(Vni, NetworkId, Chosen, Generation),
}

/// Why a stored value cannot be read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A later build wrote it.
    #[error("{key} has a value of version {version}, which this build does not read: upgrade")]
    Version {
        /// The key.
        key: String,
        /// The version of its value.
        version: u8,
    },
    /// It is damaged.
    #[error(
        "{key} is damaged ({problem}): restore a backup with `mizar controller restore FILE \
         --replace`"
    )]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// The key of a record.
pub(crate) fn key(record: &Record) -> Box<[u8]> {
    let name = record.name().as_str();
    match record {
        Record::Fleet(_) => Box::from(*b"f"),
        Record::Host(_) => named(b'h', &[], name),
        Record::Tenant(_) => named(b't', &[], name),
        Record::Vpc(_) => named(b'v', &[], name),
        Record::Network(it) => named(b'n', &vni_bytes(it.vni), name),
        Record::Endpoint(it) => named(b'e', &vni_bytes(it.vni), name),
    }
}

/// The key of a slot map.
pub(crate) fn slot_map_key(vni: Vni, network: NetworkId) -> Box<[u8]> {
    [&b"s"[..], &vni_bytes(vni), &network.get().to_be_bytes()].concat().into()
}

/// The key of a VPC's dividers.
pub(crate) fn dividers_key(vni: Vni) -> Box<[u8]> {
    [&b"d"[..], &vni_bytes(vni)].concat().into()
}

/// The value of a record.
pub(crate) fn value(record: &Record) -> Box<[u8]> {
    match record {
        Record::Fleet(it) => packed(it),
        Record::Host(it) => packed(it),
        Record::Tenant(it) => packed(it),
        Record::Vpc(it) => packed(it),
        Record::Network(it) => packed(it),
        Record::Endpoint(it) => endpoint_value(it),
    }
}

/// The value of a slot map.
pub(crate) fn slot_map_value(map: &SlotMap) -> Box<[u8]> {
    [&[VERSION][..], &map.to_bytes()].concat().into()
}

/// The value of a VPC's dividers.
pub(crate) fn dividers_value(maps: &VpcSlotMaps) -> Box<[u8]> {
    let VpcSlotMaps { dividers, spare_dividers, .. } = maps.clone();
    packed(&Dividers { dividers, spare_dividers })
}

/// The key of the keyring.
pub(crate) const KEYRING: &[u8] = b"k";

/// The value of the keyring.
pub(crate) fn keyring_value(ring: &Keyring) -> Box<[u8]> {
    packed(&keyring::Record::from(ring))
}

/// Reads the keyring.
pub(crate) fn read_keyring(value: &[u8]) -> Result<Keyring, RecordError> {
    let key = || KEYRING.escape_ascii().to_string();
    match value.split_first() {
        Some((&VERSION, rest)) => unpacked::<keyring::Record>(rest)
            .map(Keyring::from)
            .map_err(|problem| RecordError::Damaged { key: key(), problem }),
        Some((&version, _)) => Err(RecordError::Version { key: key(), version }),
        None => Err(RecordError::Damaged { key: key(), problem: "it is empty".into() }),
    }
}

/// Reads what is stored under a key.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Stored, RecordError> {
    let text = || key.escape_ascii().to_string();
    let damaged = |problem: String| RecordError::Damaged { key: text(), problem };
    let (&version, rest) = value.split_first().ok_or_else(|| damaged("it is empty".into()))?;
    let (&kind, place) = key.split_first().ok_or_else(|| damaged("it has no key".into()))?;
    let of_endpoint = [HOST_VERSION, MIGRATING_VERSION].contains(&version);
    if version != VERSION && !(kind == b'e' && of_endpoint) {
        return Err(RecordError::Version { key: text(), version });
    }
    let read = match kind {
        b'e' if version == HOST_VERSION => {
            endpoint::<HostInterface<'_>>(place, rest).map(|it| Stored::Record(it.into()))
        }
        b'e' if version == MIGRATING_VERSION => {
            endpoint::<Migrating<'_>>(place, rest).map(|it| Stored::Record(it.into()))
        }
        b'f' => unpacked(rest).map(|it| Stored::Record(Record::Fleet(it))),
        b'h' => unpacked(rest).map(|it| Stored::Record(Record::Host(it))),
        b't' => unpacked(rest).map(|it| Stored::Record(Record::Tenant(it))),
        b'v' => unpacked(rest).map(|it| Stored::Record(Record::Vpc(it))),
        b'n' => unpacked(rest).map(|it| Stored::Record(Record::Network(it))),
        b'e' => endpoint::<Veth<'_>>(place, rest).map(|it| Stored::Record(it.into())),
        b'c' => choices::read(place, rest),
        b's' => slot_map(place, rest),
        b'd' => dividers(place, rest),
        _ => Err("its kind is unknown".to_owned()),
    };
    read.map_err(damaged)
}

/// The prefixes in an order in which nothing refers to what is read later.
pub(crate) const PREFIXES: [&[u8]; 9] = [b"f", b"h", b"t", b"v", b"n", b"c", b"e", b"d", b"s"];

/// An endpoint as it is written: by position, so fields are only ever added in a new version.
#[derive(Serialize, Deserialize)]
struct Endpoint<'a, A> {
    network: u32,
    host: &'a str,
    v4: Option<[u8; 4]>,
    v6: Option<[u8; 16]>,
    mac: [u8; 6],
    asked: u8,
    generation: [u8; 8],
    revision: [u8; 8],
    attachment: A,
    #[serde(borrow)]
    labels: BTreeMap<&'a str, &'a str>,
}

/// How an endpoint of version 1 is attached.
#[derive(Serialize, Deserialize)]
struct Veth<'a> {
    netns: &'a [u8],
    interface: &'a str,
}

impl<'a> Veth<'a> {
    fn new(netns: &'a Path, interface: &'a str) -> Self {
        Self { netns: netns.as_os_str().as_bytes(), interface }
    }
}

/// How an endpoint of version 2 is attached.
#[derive(Serialize, Deserialize)]
struct HostInterface<'a> {
    interface: &'a str,
    routes: Vec<(IpAddr, u8)>,
}

/// How an endpoint of version 3 is attached: one that is about to move.
#[derive(Serialize, Deserialize)]
struct Migrating<'a> {
    #[serde(borrow)]
    from: Veth<'a>,
    host: &'a str,
    to: Veth<'a>,
}

#[derive(Serialize, Deserialize)]
struct Dividers {
    dividers: Vec<Name>,
    spare_dividers: Vec<Name>,
}

fn endpoint_value(record: &EndpointRecord) -> Box<[u8]> {
    match &record.attachment {
        Attachment::Veth { netns, interface } => {
            let from = Veth::new(netns, interface);
            match record.migration.as_deref() {
                Some(Migration { host, attachment: Attachment::Veth { netns, interface } }) => {
                    let (host, to) = (host.as_str(), Veth::new(netns, interface));
                    endpoint_with(record, MIGRATING_VERSION, Migrating { from, host, to })
                }
                // Hosts do not move.
                _ => endpoint_with(record, VERSION, from),
            }
        }
        Attachment::Host { interface, routes } => {
            let routes = routes.iter().map(|route| (route.addr(), route.prefix_len())).collect();
            endpoint_with(record, HOST_VERSION, HostInterface { interface, routes })
        }
    }
}

fn endpoint_with(record: &EndpointRecord, version: u8, attachment: impl Serialize) -> Box<[u8]> {
    let endpoint = Endpoint {
        network: record.network.get(),
        host: record.host.as_str(),
        v4: record.v4.map(|v4| v4.octets()),
        v6: record.v6.map(|v6| v6.octets()),
        mac: record.mac.octets(),
        asked: record.asked,
        generation: record.generation.get().to_be_bytes(),
        revision: record.revision.get().to_be_bytes(),
        attachment,
        labels: record.labels.iter().collect(),
    };
    // Into memory, plain data of known types cannot fail to be written.
    postcard::to_extend(&endpoint, vec![version]).unwrap_or_default().into()
}

fn endpoint<'a, A>(place: &[u8], value: &'a [u8]) -> Result<EndpointRecord, String>
where
    A: Deserialize<'a>,
    Attached: TryFrom<A, Error = String>,
{
    let (vni, name) = place.split_at_checked(3).ok_or("its key is too short")?;
    let it: Endpoint<'a, A> = postcard::from_bytes(value).map_err(text)?;
    let labels = it.labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = labels.collect::<BTreeMap<_, _>>();
    let Attached { attachment, migration } = it.attachment.try_into()?;
    Ok(EndpointRecord {
        name: std::str::from_utf8(name).map_err(text)?.parse().map_err(text)?,
        labels: Labels::try_from(labels).map_err(text)?,
        revision: Generation::try_from(u64::from_be_bytes(it.revision)).map_err(text)?,
        vni: read_vni(vni)?,
        network: NetworkId::try_from(it.network).map_err(text)?,
        host: it.host.parse().map_err(text)?,
        v4: it.v4.map(Ipv4Addr::from),
        v6: it.v6.map(Ipv6Addr::from),
        mac: Mac::try_from(it.mac).map_err(text)?,
        asked: it.asked,
        generation: Generation::try_from(u64::from_be_bytes(it.generation)).map_err(text)?,
        attachment,
        migration,
    })
}

/// How an endpoint is attached, and where it is about to move.
struct Attached {
    attachment: Attachment,
    migration: Option<Box<Migration>>,
}

impl From<Attachment> for Attached {
    fn from(attachment: Attachment) -> Self {
        Self { attachment, migration: None }
    }
}

impl From<Veth<'_>> for Attachment {
    fn from(it: Veth<'_>) -> Self {
        let netns = std::ffi::OsStr::from_bytes(it.netns).into();
        Self::Veth { netns, interface: it.interface.to_owned() }
    }
}

impl TryFrom<Veth<'_>> for Attached {
    type Error = String;

    fn try_from(it: Veth<'_>) -> Result<Self, String> {
        Ok(Attachment::from(it).into())
    }
}

impl TryFrom<Migrating<'_>> for Attached {
    type Error = String;

    fn try_from(it: Migrating<'_>) -> Result<Self, String> {
        let host = it.host.parse().map_err(text)?;
        let migration = Some(Box::new(Migration { host, attachment: it.to.into() }));
        Ok(Self { attachment: it.from.into(), migration })
    }
}

impl TryFrom<HostInterface<'_>> for Attached {
    type Error = String;

    fn try_from(it: HostInterface<'_>) -> Result<Self, String> {
        let routes = it.routes.into_iter().map(|(address, length)| IpNet::new(address, length));
        let routes = routes.collect::<Result<_, _>>().map_err(text)?;
        Ok(Attachment::Host { interface: it.interface.to_owned(), routes }.into())
    }
}

fn slot_map(place: &[u8], value: &[u8]) -> Result<Stored, String> {
    let (vni, id) = read_network(place)?;
    Ok(Stored::SlotMap(vni, id, SlotMap::from_bytes(value).map_err(text)?))
}

fn dividers(place: &[u8], value: &[u8]) -> Result<Stored, String> {
    let Dividers { dividers, spare_dividers } = unpacked(value)?;
    let maps = VpcSlotMaps { dividers, spare_dividers, networks: BTreeMap::new() };
    Ok(Stored::Dividers(read_vni(place)?, maps))
}

fn packed(value: &impl Serialize) -> Box<[u8]> {
    let mut bytes = vec![VERSION];
    // As above.
    if let Ok(packed) = rmp_serde::to_vec_named(value) {
        bytes.extend(packed);
    }
    bytes.into()
}

fn unpacked<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(value).map_err(text)
}

fn named(kind: u8, place: &[u8], name: &str) -> Box<[u8]> {
    [&[kind], place, name.as_bytes()].concat().into()
}

fn vni_bytes(vni: Vni) -> [u8; 3] {
    let [_, bytes @ ..] = vni.get().to_be_bytes();
    bytes
}

fn read_vni(bytes: &[u8]) -> Result<Vni, String> {
    let [a, b, c]: [u8; 3] = bytes.try_into().map_err(text)?;
    Vni::try_from(u32::from_be_bytes([0, a, b, c])).map_err(text)
}

fn read_network(place: &[u8]) -> Result<(Vni, NetworkId), String> {
    let (vni, id) = place.split_at_checked(3).ok_or("its key is too short")?;
    let id: [u8; 4] = id.try_into().map_err(text)?;
    Ok((read_vni(vni)?, NetworkId::try_from(u32::from_be_bytes(id)).map_err(text)?))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> EndpointRecord {
        EndpointRecord {
            name: "web-1".parse().unwrap(),
            labels: Labels::try_from(BTreeMap::from([("app".into(), "web".into())])).unwrap(),
            revision: Generation::new(1, 70_000).unwrap(),
            vni: Vni::try_from(100).unwrap(),
            network: NetworkId::MIN,
            host: "host-123456".parse().unwrap(),
            v4: "10.1.2.3".parse().ok(),
            v6: "fd00::a01:203:7b".parse().ok(),
            mac: "02:11:0a:01:02:03".parse().unwrap(),
            asked: EndpointRecord::ASKED_V4,
            generation: Generation::new(1, 69_999).unwrap(),
            attachment: Attachment::Veth {
                netns: "/run/netns/blue-web-1".into(),
                interface: "eth0".to_owned(),
            },
            migration: None,
        }
    }

    #[test]
    fn an_endpoint_is_read_as_it_was_written_and_small() {
        let record = Record::Endpoint(endpoint());
        let (key, value) = (key(&record), value(&record));
        assert_eq!(read(&key, &value).unwrap(), Stored::Record(record));
        assert!(key.len() + value.len() <= 200, "{} bytes", key.len() + value.len());
    }

    #[test]
    fn a_veth_is_written_as_ever_and_a_host_s_interface_in_a_version_of_its_own() {
        let veth = value(&Record::Endpoint(endpoint()));
        assert_eq!(veth[0], 1);
        let attachment: &[u8] = b"\x15/run/netns/blue-web-1\x04eth0\x01\x03app\x03web";
        assert!(veth.ends_with(attachment), "{}", veth.escape_ascii());
        let routes = ["10.1.0.0/24", "fd00:2::/64"].map(|route| route.parse().unwrap()).into();
        let attachment = Attachment::Host { interface: "vpc0".to_owned(), routes };
        let record = Record::Endpoint(EndpointRecord { attachment, ..endpoint() });
        let (key, value) = (key(&record), value(&record));
        assert_eq!(value[0], 2);
        assert_eq!(read(&key, &value).unwrap(), Stored::Record(record));
        assert!(key.len() + value.len() <= 200, "{} bytes", key.len() + value.len());
    }

    #[test]
    fn an_endpoint_that_is_about_to_move_is_read_as_it_was_written() {
        let (netns, interface) = ("/run/netns/blue-web-1".into(), "eth1".to_owned());
        let attachment = Attachment::Veth { netns, interface };
        let migration = Migration { host: "host-2".parse().unwrap(), attachment };
        let record = EndpointRecord { migration: Some(Box::new(migration)), ..endpoint() };
        let record = Record::Endpoint(record);
        let (key, value) = (key(&record), value(&record));
        assert_eq!(value[0], 3);
        assert_eq!(read(&key, &value).unwrap(), Stored::Record(record));
    }

    #[test]
    fn damaged_and_later_values_are_refused_with_their_key() {
        let record = Record::Endpoint(endpoint());
        let (key, mut value) = (key(&record), value(&record));
        let error = read(&key, &value[..value.len() / 2]).unwrap_err().to_string();
        assert!(error.contains("web-1") && error.contains("damaged"), "{error}");
        value[0] = 9;
        let error = read(&key, &value).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}
