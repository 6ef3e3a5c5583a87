//! Changes of the host's links, routes and neighbours, as they happen.

use super::error::{Error, Result};
use super::link::Link;
use super::neighbour::Neighbour;
use super::socket::{DATAGRAM, failed};
use super::sys;
use super::wire::{Attributes, Message, messages};
use ipnet::IpNet;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::unix::AsyncFd;

/// Bytes of events that the kernel keeps for a reader that is busy.
const BACKLOG: i32 = 1 << 20;
/// `RTNLGRP_LINK`.
const LINKS: i32 = 1;
/// `RTNLGRP_NEIGH`, `_IPV4_ROUTE` and `_IPV6_ROUTE`.
const WAYS: [i32; 3] = [3, 7, 11];
/// Bytes of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;

/// Which changes a stream tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Routes and neighbours.
    Ways,
    /// Interfaces that are gone. The kernel says something of each interface a dozen times while an
    /// endpoint is attached, and wakes nobody here for that.
    LinksGone,
}

/// A change of the host's network stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A neighbour's entry is new or has changed.
    Neighbour(Neighbour),
    /// A neighbour's entry is gone.
    NeighbourGone {
        /// Index of its interface.
        interface: u32,
        /// Its address.
        address: IpAddr,
    },
    /// A route to this prefix is new, has changed or is gone: ways into it may be others.
    Route(IpNet),
    /// An interface is gone.
    LinkGone(Link),
    /// The reader was too slow and events were lost: everything must be looked up again.
    Lost,
}

/// The stream of events of one namespace, from the moment at which it was opened.
#[derive(Debug)]
pub struct Events {
    socket: AsyncFd<File>,
    buffer: Vec<u8>,
    waiting: VecDeque<Event>,
    /// The kernel has dropped events, and drops more until the socket has been read empty.
    lost: bool,
}

impl Events {
    /// Opens the socket in the calling thread's namespace.
    pub(super) fn open(changes: Changes) -> Result<File> {
        let socket = sys::netlink_socket(true).map_err(failed("open it"))?;
        let force = libc::SO_RCVBUFFORCE;
        sys::set_option(&socket, libc::SOL_SOCKET, force, BACKLOG)
            .or_else(|_| sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, BACKLOG))
            .map_err(failed("enlarge its buffer"))?;
        let join = |group| {
            let option = libc::NETLINK_ADD_MEMBERSHIP;
            sys::set_option(&socket, libc::SOL_NETLINK, option, group)
                .map_err(failed("subscribe to events"))
        };
        match changes {
            Changes::Ways => WAYS.into_iter().try_for_each(join)?,
            Changes::LinksGone => {
                sys::keep_only(&socket, libc::RTM_DELLINK).map_err(failed("filter events"))?;
                join(LINKS)?;
            }
        }
        Ok(socket)
    }

    /// Makes a stream of an open socket; must be called inside an async runtime.
    pub(super) fn read_from(socket: File) -> Result<Self> {
        let socket = sys::watched(socket).map_err(failed("watch it"))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM], waiting: VecDeque::new(), lost: false })
    }

    /// The next event. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// [`Error::Socket`]: no further event will come.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let mut ready = self.socket.readable().await.map_err(failed("wait for events"))?;
            let buffer = &mut self.buffer;
            match ready.try_io(|socket| socket.get_ref().read(buffer)) {
                Ok(Ok(_)) if self.lost => {}
                Ok(Ok(length)) => self.waiting.extend(read_events(&self.buffer[..length])),
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => self.lost = true,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(source)) => {
                    return Err(Error::Socket { action: "read events", source });
                }
                Err(_would_block) if self.lost => {
                    self.lost = false;
                    return Ok(Event::Lost);
                }
                Err(_would_block) => {}
            }
        }
    }
}

fn read_events(datagram: &[u8]) -> impl Iterator<Item = Event> {
    messages(datagram).filter_map(|message| match message {
        Some(message) => read_event(&message),
        None => Some(Event::Lost),
    })
}

fn read_event(message: &Message<'_>) -> Option<Event> {
    let payload = message.payload;
    match message.kind {
        libc::RTM_NEWNEIGH => Neighbour::read(payload).map(Event::Neighbour),
        libc::RTM_DELNEIGH => Neighbour::read(payload)
            .map(|gone| Event::NeighbourGone { interface: gone.interface, address: gone.address }),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => read_prefix(payload).map(Event::Route),
        // Bridges announce their ports' state with their own address family.
        libc::RTM_DELLINK if payload.first() == Some(&0) => {
            Link::read(payload).map(Event::LinkGone)
        }
        _ => None,
    }
}

fn read_prefix(payload: &[u8]) -> Option<IpNet> {
    let any = match i32::from(*payload.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    // The default route carries no destination.
    let attributes = Attributes::after(payload, ROUTE_HEADER);
    IpNet::new(attributes.address(libc::RTA_DST).unwrap_or(any), *payload.get(1)?).ok()
}
