//! Control messages to other hosts: echoes, notices, invalidations.

use crate::hosts::Hosts;
use crate::kernel::Maps;
use crate::packet_socket::PacketSocket;
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{Config, Host};
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Least time between two messages of a kind about the same endpoint to the same host.
const PAUSE: Duration = Duration::from_millis(100);
/// Most messages a second to one host, echoes apart.
const PER_HOST: u32 = 200;
/// Most pauses and hosts that are remembered.
const REMEMBERED: usize = 8192;

/// Sends control messages, within limits.
#[derive(Debug)]
pub(crate) struct Control {
    socket: PacketSocket,
    maps: Arc<Maps>,
    hosts: Arc<Hosts>,
    mac: [u8; 6],
    underlay: Address,
    tos: u8,
    limits: Mutex<Limits>,
}

impl Control {
    /// A sender from this host, as its configuration describes it.
    pub(crate) fn open(config: &Config, maps: Arc<Maps>, hosts: Arc<Hosts>) -> io::Result<Self> {
        Ok(Self {
            socket: PacketSocket::open(config.nic, config.mark)?,
            maps,
            hosts,
            mac: config.nic_mac,
            underlay: config.underlay,
            tos: config.tos,
            limits: Mutex::default(),
        })
    }

    /// The keys of what is not of one VPC.
    pub(crate) fn keys(&self) -> Keys {
        self.maps.config.get(&0).ok().flatten().map_or(Keys::NONE, |config| config.keys)
    }

    /// Sends an echo to a host, signed with the fleet's keys: to one that does not know this host
    /// yet, it is of use only then. Not limited: the caller paces.
    pub(crate) fn echo(&self, to: &Host, cookie: u64, now: u64, keys: &Keys) -> io::Result<()> {
        self.send(to, Message::echo(cookie, now), keys)
    }

    /// Tells a host about an endpoint, unless it was told so just now.
    ///
    /// `host` is where the endpoint is, or NONE. A host whose next hop is not resolved yet is not
    /// told: it will ask again by what it sends.
    pub(crate) fn tell(
        &self,
        to: Address,
        kind: u8,
        (vni, endpoint): (u32, Address),
        host: Address,
        generation: u64,
    ) -> io::Result<()> {
        let limits = &mut *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if !limits.admit((to, kind, vni, endpoint), Instant::now()) {
            return Ok(());
        }
        match self.hosts.find(to) {
            Some((_, row)) if row.is_resolved() => {
                let keys = if oam::is_of_vpc(kind) {
                    let vpc = self.maps.vpcs.get(&vni).ok().flatten();
                    vpc.map_or(Keys::NONE, |vpc| vpc.keys)
                } else {
                    self.keys()
                };
                self.send(&row, Message::about(kind, vni, endpoint, host, generation), &keys)
            }
            _ => Ok(()),
        }
    }

    fn send(&self, to: &Host, message: Message, keys: &Keys) -> io::Result<()> {
        let source = (self.mac, self.underlay.v4_octets());
        let destination = (to.next_hop, to.address.v4_octets());
        let mut frame = ControlFrame::new(source, destination, self.tos, message);
        keys.sign_control(&mut frame);
        match self.socket.send(frame.as_bytes()) {
            // The queue of the NIC is full: what is lost here is asked for again.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            outcome => outcome,
        }
    }
}

/// To whom, of which kind, about which endpoint.
type About = (Address, u8, u32, Address);

#[derive(Debug, Default)]
struct Limits {
    last: HashMap<About, Instant>,
    /// Start of the current second of each host, and messages in it.
    hosts: HashMap<Address, (Instant, u32)>,
}

impl Limits {
    fn admit(&mut self, about: About, now: Instant) -> bool {
        self.forget(now);
        if self.last.len() >= REMEMBERED || self.hosts.len() >= REMEMBERED {
            return false;
        }
        if self.last.get(&about).is_some_and(|last| now - *last < PAUSE) {
            return false;
        }
        let (start, count) = self.hosts.entry(about.0).or_insert((now, 0));
        if now - *start >= Duration::from_secs(1) {
            (*start, *count) = (now, 0);
        }
        if *count >= PER_HOST {
            return false;
        }
        *count += 1;
        self.last.insert(about, now);
        true
    }

    fn forget(&mut self, now: Instant) {
        if self.last.len() >= REMEMBERED {
            self.last.retain(|_, last| now - *last < PAUSE);
        }
        if self.hosts.len() >= REMEMBERED {
            self.hosts.retain(|_, (start, _)| now - *start < Duration::from_secs(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::v4([10, 0, 0, 1]);
    const B: Address = Address::v4([10, 0, 0, 2]);

    #[test]
    fn the_same_message_goes_out_once_in_a_pause() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        assert!(limits.admit((A, 3, 5, B), now));
        assert!(!limits.admit((A, 3, 5, B), now));
        assert!(limits.admit((A, 4, 5, B), now));
        assert!(limits.admit((A, 3, 6, B), now));
        assert!(limits.admit((A, 3, 5, B), now + PAUSE));
    }

    #[test]
    fn one_host_gets_a_bounded_number_a_second_and_others_theirs() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let sent = (0..1000).filter(|&vni| limits.admit((A, 3, vni, B), now)).count();
        assert_eq!(sent, PER_HOST as usize);
        assert!(limits.admit((B, 3, 1, A), now));
        assert!(limits.admit((A, 3, 1, A), now + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        for i in 0..3 * REMEMBERED as u32 {
            limits.admit((Address::v4(i.to_be_bytes()), 3, 1, B), now);
        }
        assert!(limits.last.len() <= REMEMBERED && limits.hosts.len() <= REMEMBERED);
        assert!(limits.admit((A, 3, 1, B), now + Duration::from_secs(1)));
    }
}
