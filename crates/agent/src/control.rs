//! Control messages to other hosts: echoes, notices, invalidations.

use crate::hosts::Hosts;
use crate::kernel::Maps;
use crate::packet_socket::PacketSocket;
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::{Config, EndpointKey, Host};
use mizar_packet::upkeep::DENIAL;
use mizar_packet::wire::oam::{self, ControlFrame, Message};
use std::collections::{BTreeMap, HashMap};
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
/// How often at most what is over is looked for, while something is full.
const SWEEP: Duration = Duration::from_millis(10);

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
        let now = Instant::now();
        if !limits.admit((to, kind, vni, endpoint), now) {
            return Ok(());
        }
        if kind == oam::UNKNOWN {
            // It may have come since it was missed. Whoever writes its row asks afterwards who was
            // told, and waits for that as long as this goes on.
            if self.maps.endpoints.get(&EndpointKey::new(vni, endpoint)).is_some() {
                return Ok(());
            }
            limits.denied(to, (vni, endpoint), now);
        }
        self.say(to, Message::about(kind, vni, endpoint, host, generation))
    }

    /// Tells hosts that were just told that endpoints do not exist that they do. Their rows have
    /// been written.
    pub(crate) fn tell_known(
        &self,
        vni: u32,
        endpoints: impl Iterator<Item = Address>,
    ) -> io::Result<()> {
        let limits = &mut *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.denials.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        for endpoint in endpoints {
            for to in limits.take_denials((vni, endpoint), now) {
                if limits.admit((to, oam::KNOWN, vni, endpoint), now) {
                    self.say(to, Message::about(oam::KNOWN, vni, endpoint, Address::NONE, 0))?;
                }
            }
        }
        Ok(())
    }

    /// Sends what is about an endpoint, with the keys that its kind asks for.
    fn say(&self, to: Address, message: Message) -> io::Result<()> {
        match self.hosts.find(to) {
            Some((_, row)) if row.is_resolved() => {
                let keys = if oam::is_of_vpc(message.kind) {
                    let vpc = self.maps.vpcs.get(&message.vni.get()).ok().flatten();
                    vpc.map_or(Keys::NONE, |vpc| vpc.keys)
                } else {
                    self.keys()
                };
                self.send(&row, message, &keys)
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
    /// Who was told of which endpoint that it does not exist, and when: VNI, endpoint, host.
    denials: BTreeMap<(u32, Address, Address), Instant>,
    /// When what is over was forgotten last.
    swept: Option<Instant>,
}

impl Limits {
    fn admit(&mut self, about: About, now: Instant) -> bool {
        self.sweep(now);
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

    /// A host is told that an endpoint does not exist.
    fn denied(&mut self, to: Address, (vni, endpoint): (u32, Address), now: Instant) {
        self.sweep(now);
        // Who is not remembered believes it a little longer.
        if self.denials.len() < REMEMBERED {
            self.denials.insert((vni, endpoint, to), now);
        }
    }

    /// The hosts that still believe that an endpoint does not exist.
    fn take_denials(&mut self, (vni, endpoint): (u32, Address), now: Instant) -> Vec<Address> {
        let (first, last) = (Address::NONE, Address::from_octets([u8::MAX; 16]));
        let told =
            self.denials.extract_if((vni, endpoint, first)..=(vni, endpoint, last), |_, _| true);
        told.filter(|(_, at)| now - *at < DENIAL).map(|((.., host), _)| host).collect()
    }

    /// Forgets what is over, if something is full: not for each message of a flood.
    fn sweep(&mut self, now: Instant) {
        let most = self.last.len().max(self.hosts.len()).max(self.denials.len());
        if most < REMEMBERED || self.swept.is_some_and(|swept| now - swept < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.last.retain(|_, last| now - *last < PAUSE);
        self.hosts.retain(|_, (start, _)| now - *start < Duration::from_secs(1));
        self.denials.retain(|_, told| now - *told < DENIAL);
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
    fn whoever_still_believes_a_denial_is_told_once() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let hosts = [1, 2, 3].map(|host| Address::v4([100, 64, 0, host]));
        limits.denied(hosts[0], (5, A), now);
        limits.denied(hosts[1], (5, A), now + DENIAL / 2);
        limits.denied(hosts[2], (5, B), now + DENIAL / 2);
        assert_eq!(limits.take_denials((6, A), now + DENIAL), []);
        assert_eq!(limits.take_denials((5, A), now + DENIAL), [hosts[1]]);
        assert_eq!(limits.take_denials((5, A), now + DENIAL), []);
        assert_eq!(limits.take_denials((5, B), now + DENIAL), [hosts[2]]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        for i in 0..3 * REMEMBERED as u32 {
            limits.admit((Address::v4(i.to_be_bytes()), 3, 1, B), now);
            limits.denied(Address::v4(i.to_be_bytes()), (1, B), now);
        }
        assert!(limits.last.len() <= REMEMBERED && limits.hosts.len() <= REMEMBERED);
        assert_eq!(limits.denials.len(), REMEMBERED);
        assert!(limits.admit((A, 3, 1, B), now + Duration::from_secs(1)));
    }
}
