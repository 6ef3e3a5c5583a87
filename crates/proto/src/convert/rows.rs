//! Rows, and what a host is told about itself.

use super::{address, check_count, generation, list, mac, name, network_id, octets, u16, underlay};
use crate::error::{At, FieldError, FieldProblem, Within};
use crate::pb;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mizar_vpc::{
    Attachment, HeldRow, HostConfig, Name, NetworkId, NetworkRow, PortMigration, PortRow,
    SlotHolders, TagKeys,
};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

impl From<HostConfig> for pb::HostConfig {
    fn from(config: HostConfig) -> Self {
        Self {
            name: config.name.into(),
            underlay: octets(config.underlay),
            fleet: config.fleet.into_iter().map(prefix_message).collect(),
            keys: config.keys.map(Into::into),
        }
    }
}

impl TryFrom<pb::HostConfig> for HostConfig {
    type Error = FieldError;

    fn try_from(message: pb::HostConfig) -> Result<Self, FieldError> {
        /// Most prefixes that the kernel's tables hold.
        const MOST: usize = 8;
        check_count(message.fleet.len(), 1, MOST).at("fleet")?;
        let fleet = message.fleet.iter().enumerate();
        let fleet =
            fleet.map(|(index, prefix)| read_prefix(prefix).within(format_args!("fleet[{index}]")));
        let fleet = fleet.collect::<Result<Vec<_>, _>>()?;
        let name = name(&message.name).at("name")?;
        let underlay = underlay(&message.underlay).at("underlay")?;
        if !fleet.iter().any(|prefix| prefix.contains(&underlay)) {
            return Err(FieldProblem::OutsideFleet(underlay)).at("underlay");
        }
        let keys = message.keys.map(TagKeys::try_from).transpose().within("keys")?;
        Ok(Self { name, underlay, fleet, keys })
    }
}

pub(super) fn network_message((id, row): (NetworkId, NetworkRow)) -> pb::Network {
    let slots = row.holders.slots.into_iter();
    pb::Network {
        id: id.get(),
        v4: row.v4.map(|prefix| prefix_message(prefix.into())),
        v6: row.v6.map(|prefix| prefix_message(prefix.into())),
        v4_gateway: row.v4_gateway.map(|gateway| gateway.octets().to_vec()),
        v6_gateway: row.v6_gateway.map(|gateway| gateway.octets().to_vec()),
        hosts: row.holders.hosts.into_iter().map(octets).collect(),
        slots: slots
            .map(|holders| pb::Holders { hosts: holders.into_iter().map(u32::from).collect() })
            .collect(),
    }
}

pub(super) fn read_network(message: pb::Network) -> Result<(NetworkId, NetworkRow), FieldError> {
    let v4 = message.v4.as_ref().map(|prefix| v4_prefix(prefix).within("v4")).transpose()?;
    let v6 = message.v6.as_ref().map(|prefix| v6_prefix(prefix).within("v6")).transpose()?;
    if v4.is_none() && v6.is_none() {
        return Err(FieldProblem::Missing).at("v4");
    }
    let v4_gateway = message.v4_gateway.map(|bytes| v4_gateway(&bytes, v4).at("v4_gateway"));
    let v6_gateway = message.v6_gateway.map(|bytes| v6_gateway(&bytes, v6).at("v6_gateway"));
    let hosts = list("hosts", &message.hosts, |bytes| underlay(bytes))?;
    let slots = message.slots.iter().enumerate().map(|(slot, holders)| {
        list("hosts", &holders.hosts, |&index| u16(index)).within(format_args!("slots[{slot}]"))
    });
    let holders = SlotHolders { hosts, slots: slots.collect::<Result<_, _>>()? };
    holders.check().at("slots")?;
    let row = NetworkRow {
        v4,
        v6,
        v4_gateway: v4_gateway.transpose()?,
        v6_gateway: v6_gateway.transpose()?,
        holders,
    };
    Ok((network_id(message.id).at("id")?, row))
}

pub(super) fn port_message((name, row): (Name, PortRow)) -> pb::Port {
    pb::Port {
        name: name.into(),
        network: row.network.get(),
        mac: row.mac.octets().to_vec(),
        v4: row.v4.map(|v4| v4.octets().to_vec()),
        v6: row.v6.map(|v6| v6.octets().to_vec()),
        generation: row.generation.get(),
        attachment: Some(attachment_message(row.attachment)),
        migration: row.migration.map(|migration| match migration {
            PortMigration::To(host) => pb::port::Migration::MigratesTo(octets(host)),
            PortMigration::Here => pb::port::Migration::MigratesHere(true),
        }),
    }
}

pub(super) fn read_port(message: pb::Port) -> Result<(Name, PortRow), FieldError> {
    let v4 = message.v4.map(|bytes| super::v4(&bytes).at("v4")).transpose()?;
    let v6 = message.v6.map(|bytes| super::v6(&bytes).at("v6")).transpose()?;
    if v4.is_none() && v6.is_none() {
        return Err(FieldProblem::Missing).at("v4");
    }
    let attachment = message.attachment.ok_or(FieldProblem::Missing).at("attachment")?;
    let migration = match message.migration {
        None => None,
        Some(pb::port::Migration::MigratesTo(host)) => {
            Some(PortMigration::To(underlay(&host).at("migrates_to")?))
        }
        Some(pb::port::Migration::MigratesHere(true)) => Some(PortMigration::Here),
        Some(pb::port::Migration::MigratesHere(false)) => {
            return Err(FieldProblem::Missing).at("migrates_here");
        }
    };
    let row = PortRow {
        network: network_id(message.network).at("network")?,
        mac: mac(&message.mac).at("mac")?,
        v4,
        v6,
        generation: generation(message.generation).at("generation")?,
        attachment: read_attachment(attachment).within("attachment")?,
        migration,
    };
    let attachment = if row.attachment.is_host() { "host" } else { "veth" };
    row.check_attachment().at(attachment).within("attachment")?;
    Ok((name(&message.name).at("name")?, row))
}

pub(super) fn held_message((address, row): (IpAddr, HeldRow)) -> pb::Held {
    pb::Held { address: octets(address), host: octets(row.host), generation: row.generation.get() }
}

pub(super) fn read_held(message: &pb::Held) -> Result<(IpAddr, HeldRow), FieldError> {
    let row = HeldRow {
        host: underlay(&message.host).at("host")?,
        generation: generation(message.generation).at("generation")?,
    };
    Ok((address(&message.address).at("address")?, row))
}

fn attachment_message(attachment: Attachment) -> pb::port::Attachment {
    match attachment {
        Attachment::Veth { netns, interface } => {
            let netns = netns.as_os_str().as_bytes().to_vec();
            pb::port::Attachment::Veth(pb::Veth { netns, interface })
        }
        Attachment::Host { interface, routes } => {
            let routes = routes.into_iter().map(prefix_message).collect();
            pb::port::Attachment::Host(pb::HostInterface { interface, routes })
        }
    }
}

/// Reads an attachment; whether the endpoint can have it is seen once all of it is read.
fn read_attachment(message: pb::port::Attachment) -> Result<Attachment, FieldError> {
    match message {
        pb::port::Attachment::Veth(pb::Veth { netns, interface }) => {
            Ok(Attachment::Veth { netns: OsString::from_vec(netns).into(), interface })
        }
        pb::port::Attachment::Host(pb::HostInterface { interface, routes }) => {
            check_count(routes.len(), 0, Attachment::MOST_ROUTES).at("host.routes")?;
            let routes = routes.iter().enumerate().map(|(index, prefix)| {
                read_prefix(prefix).within(format_args!("host.routes[{index}]"))
            });
            Ok(Attachment::Host { interface, routes: routes.collect::<Result<_, _>>()? })
        }
    }
}

fn prefix_message(prefix: IpNet) -> pb::Prefix {
    pb::Prefix { address: octets(prefix.addr()), length: prefix.prefix_len().into() }
}

fn read_prefix(message: &pb::Prefix) -> Result<IpNet, FieldError> {
    let address = address(&message.address).at("address")?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = u8::try_from(message.length).ok().and_then(|n| IpNet::new(address, n).ok());
    let length = FieldProblem::PrefixLength { length: message.length, longest };
    let prefix = prefix.ok_or(length).at("length")?;
    if prefix == prefix.trunc() {
        Ok(prefix)
    } else {
        Err(FieldProblem::HostBits(prefix)).at("address")
    }
}

fn v4_prefix(message: &pb::Prefix) -> Result<Ipv4Net, FieldError> {
    match read_prefix(message)? {
        IpNet::V4(prefix) => Ok(prefix),
        IpNet::V6(_) => {
            Err(FieldProblem::AddressLength { actual: 16, expected: "4" }).at("address")
        }
    }
}

fn v6_prefix(message: &pb::Prefix) -> Result<Ipv6Net, FieldError> {
    match read_prefix(message)? {
        IpNet::V6(prefix) => Ok(prefix),
        IpNet::V4(_) => {
            Err(FieldProblem::AddressLength { actual: 4, expected: "16" }).at("address")
        }
    }
}

fn v4_gateway(bytes: &[u8], prefix: Option<Ipv4Net>) -> Result<Ipv4Addr, FieldProblem> {
    let gateway = super::v4(bytes)?;
    let inside = prefix.is_some_and(|prefix| prefix.contains(&gateway));
    if inside { Ok(gateway) } else { Err(FieldProblem::Gateway(gateway.into())) }
}

fn v6_gateway(bytes: &[u8], prefix: Option<Ipv6Net>) -> Result<Ipv6Addr, FieldProblem> {
    let gateway = super::v6(bytes)?;
    let inside = prefix.is_some_and(|prefix| prefix.contains(&gateway));
    if inside { Ok(gateway) } else { Err(FieldProblem::Gateway(gateway.into())) }
}
