//! Interfaces: look-up, list, change, removal.

use super::error::{Error, Result, unless};
use super::namespace::Namespace;
use super::socket::Socket;
use super::wire::{Attributes, Request, array, link_header};
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;
/// Leave out statistics, which nobody here reads.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What kind of virtual interface it is (`veth`, `tun`, …); none for hardware.
    pub kind: Option<String>,
    /// Its alias (`ip link set … alias`).
    pub alias: Option<String>,
    /// Its group.
    pub group: u32,
    /// Its MAC address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it has a carrier.
    pub carrier: bool,
    /// Index of its peer or of the interface that it stands on.
    pub peer: Option<u32>,
    /// Where its peer is, if elsewhere: this namespace's number for that namespace.
    pub peer_namespace: Option<i32>,
}

impl Link {
    /// Reads an `RTM_NEWLINK` or `RTM_DELLINK`.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let attributes = Attributes::after(payload, HEADER);
        let flags = i32::from_ne_bytes(array(payload, 8)?);
        Some(Self {
            index: u32::from_ne_bytes(array(payload, 4)?),
            name: attributes.text(libc::IFLA_IFNAME)?,
            kind: attributes
                .inside(libc::IFLA_LINKINFO)
                .and_then(|info| info.text(libc::IFLA_INFO_KIND)),
            alias: attributes.text(libc::IFLA_IFALIAS),
            group: attributes.number(libc::IFLA_GROUP).unwrap_or(0),
            mac: attributes.mac(libc::IFLA_ADDRESS),
            mtu: attributes.number(libc::IFLA_MTU)?,
            up: flags & libc::IFF_UP != 0,
            carrier: flags & libc::IFF_LOWER_UP != 0,
            peer: attributes.number(libc::IFLA_LINK),
            peer_namespace: attributes
                .number(libc::IFLA_LINK_NETNSID)
                .map(|number| number.cast_signed()),
        })
    }

    /// One line that says what it is.
    pub(super) fn describe(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or("hardware");
        let alias = self.alias.as_ref().map(|alias| format!(" with alias {alias:?}"));
        format!("{kind} interface {}{}", self.index, alias.unwrap_or_default())
    }
}

/// The interface of that name, if there is one.
pub(super) fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    found(socket.get(query(0).text(libc::IFLA_IFNAME, name), Link::read))
}

/// The interface with that index, if there is one.
pub(super) fn find_index(socket: &mut Socket, index: u32) -> Result<Option<Link>> {
    found(socket.get(query(index), Link::read))
}

/// All veth interfaces.
pub(super) fn list_veths(socket: &mut Socket) -> Result<Vec<Link>> {
    let request = || {
        let header = link_header(0, 0, 0);
        Request::new("list interfaces", libc::RTM_GETLINK, libc::NLM_F_DUMP, &header)
            .number(libc::IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
            .nested(libc::IFLA_LINKINFO, &[], |info| info.text(libc::IFLA_INFO_KIND, "veth"))
    };
    socket.dump(request, Link::read)
}

/// A request that changes the interface: its flags in `change` become `flags`.
pub(super) fn change(what: &'static str, index: u32, flags: i32, change: i32) -> Request {
    Request::new(what, libc::RTM_SETLINK, 0, &link_header(index, flags, change))
}

/// Sets an interface up.
pub(super) fn set_up(socket: &mut Socket, index: u32) -> Result<()> {
    socket.execute(change("set the interface up", index, libc::IFF_UP, libc::IFF_UP))
}

/// Removes an interface; whether it was there.
pub(super) fn remove(socket: &mut Socket, index: u32) -> Result<bool> {
    let header = link_header(index, 0, 0);
    let request = Request::new("remove the interface", libc::RTM_DELLINK, 0, &header);
    unless(socket.execute(request), &[libc::ENODEV])
}

/// `NETNSA_NSID` and `NETNSA_FD`.
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

/// The number that the socket's namespace has given to another one, if any.
pub(super) fn namespace_number(socket: &mut Socket, other: &Namespace) -> Result<Option<i32>> {
    let fd = other.as_fd().as_raw_fd().cast_unsigned();
    let request = Request::new("find the number of a namespace", libc::RTM_GETNSID, 0, &[0; 4])
        .number(NETNSA_FD, fd);
    let number =
        socket.get(request, |payload| Attributes::after(payload, 4).number(NETNSA_NSID))?;
    Ok(Some(number.cast_signed()).filter(|&number| number >= 0))
}

/// Has the socket's namespace give a number to another one, unless that has one already, or another
/// one has that number.
pub(super) fn number_namespace(socket: &mut Socket, other: &Namespace, number: i32) -> Result<()> {
    let fd = other.as_fd().as_raw_fd().cast_unsigned();
    let request = Request::new("number a namespace", libc::RTM_NEWNSID, 0, &[0; 4])
        .number(NETNSA_FD, fd)
        .number(NETNSA_NSID, number.cast_unsigned());
    unless(socket.execute(request), &[libc::EEXIST]).map(drop)
}

fn query(index: u32) -> Request {
    Request::new("find the interface", libc::RTM_GETLINK, 0, &link_header(index, 0, 0))
        .number(libc::IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
}

fn found(result: Result<Link>) -> Result<Option<Link>> {
    match result {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.is(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error for an interface that should have been there.
pub(super) fn missing(interface: &impl ToString) -> Error {
    Error::NoInterface { interface: interface.to_string() }
}
