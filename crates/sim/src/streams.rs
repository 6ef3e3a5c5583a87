//! TCP between guests: each end is a stack of its own (smoltcp), which asks for addresses by ARP,
//! retransmits and closes as any guest does. Stacks move with their endpoints.

use crate::controller;
use crate::random::hash;
use crate::scenario::{EndpointId, HostId};
use crate::world::{Meta, Task, World};
use mizar_packet::function::from_guest;
use mizar_packet::memory::MemoryFrame;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address};
use std::collections::VecDeque;
use std::fmt;

/// Bytes that the sender of a stream writes at a time, and how long it waits then, in µs.
const CHUNK: usize = 700;
const PAUSE: u64 = 20_000;
/// Ports of the receiver and the sender of the first stream.
const TO_PORT: u16 = 7000;
const FROM_PORT: u16 = 20_000;

/// A stream, from the guest of one endpoint to that of another.
#[derive(Debug)]
pub(crate) struct Stream {
    sender: Stack,
    receiver: Stack,
    /// In bytes.
    total: usize,
    written: usize,
    /// When the sender writes next, in µs.
    writes_at: u64,
    /// Bytes that have come, each the right one.
    pub(crate) read: usize,
}

/// One end of a stream.
struct Stack {
    endpoint: EndpointId,
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// When it next does what there is to do, in µs.
    polls_at: u64,
}

/// Frames that a stack has been given, and those that it sends.
#[derive(Debug, Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl Stream {
    /// Whether all of it has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.read == self.total
    }

    /// Its ends.
    pub(crate) fn ends(&self) -> [EndpointId; 2] {
        [self.sender.endpoint, self.receiver.endpoint]
    }

    /// How much of it has come, in bytes of all.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.read, self.total)
    }

    fn end(&mut self, sends: bool) -> &mut Stack {
        if sends { &mut self.sender } else { &mut self.receiver }
    }
}

/// The byte of a stream at a place.
fn byte_at(stream: usize, place: usize) -> u8 {
    hash(&[stream as u64, place as u64]) as u8
}

impl World {
    /// A stream begins, if both its ends are there.
    pub(crate) fn begin_stream(&mut self, from: EndpointId, to: usize, chunks: usize) {
        let to = EndpointId { number: to, ..from };
        let number = self.traffic.streams.len();
        let (Some(mut sender), Some(mut receiver)) = (self.stack(from), self.stack(to)) else {
            return;
        };
        let (to_port, from_port) = (TO_PORT + number as u16, FROM_PORT + number as u16);
        let remote = (receiver.address(), to_port);
        let Stack { interface, sockets, socket, .. } = &mut sender;
        let dialled =
            sockets.get_mut::<Socket<'_>>(*socket).connect(interface.context(), remote, from_port);
        let listens = receiver.sockets.get_mut::<Socket<'_>>(receiver.socket).listen(to_port);
        if dialled.is_err() || listens.is_err() {
            return self.fail(format!("{from} cannot dial {to}"));
        }
        let (written, read, total) = (0, 0, chunks * CHUNK);
        sender.polls_at = self.now;
        self.traffic.streams.push(Stream {
            sender,
            receiver,
            total,
            written,
            writes_at: self.now,
            read,
        });
        self.after(0, Task::Poll { stream: number, sends: true });
    }

    /// The stack of a guest that is there.
    fn stack(&self, endpoint: EndpointId) -> Option<Stack> {
        let host = self.home_of_stack(endpoint)?;
        let key = (controller::vni(endpoint.vpc), endpoint.name());
        let guest = self.hosts[host].guests.get(&key)?;
        let mut wire = Wire::default();
        let mac = EthernetAddress(guest.mac.octets());
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = hash(&[self.scenario.seed, endpoint.number as u64]);
        let mut interface = Interface::new(config, &mut wire, at(self.now));
        let address = guest.v4?;
        let [a, b, c, _] = address.octets();
        interface.update_ip_addrs(|all| {
            let _ = all.push(IpCidr::new(address.into(), 24));
        });
        interface.routes_mut().add_default_ipv4_route(Ipv4Address::new(a, b, c, 1)).ok()?;
        let buffer = || SocketBuffer::new(vec![0; 1 << 15]);
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(Socket::new(buffer(), buffer()));
        Some(Stack { endpoint, interface, wire, sockets, socket, polls_at: u64::MAX })
    }

    /// The host on which an endpoint's guest runs: where it shall be, or still is.
    fn home_of_stack(&self, endpoint: EndpointId) -> Option<HostId> {
        let key = (controller::vni(endpoint.vpc), endpoint.name());
        let runs = |id: &HostId| self.hosts[*id].alive && self.hosts[*id].guests.contains_key(&key);
        let home = self.home(endpoint).filter(runs);
        home.or_else(|| (0..self.hosts.len()).find(runs))
    }

    /// Lets one end of a stream do what there is to do.
    pub(crate) fn poll(&mut self, number: usize, sends: bool) {
        let now = self.now;
        let stream = &mut self.traffic.streams[number];
        // Another poll that was due earlier may have taken this one's place.
        if now < stream.end(sends).polls_at {
            return;
        }
        if sends {
            write(stream, number, now);
        }
        let stack = stream.end(sends);
        stack.polls_at = u64::MAX;
        stack.interface.poll(at(now), &mut stack.wire, &mut stack.sockets);
        if !sends && let Err(place) = read(stream, number) {
            return self.fail(format!("stream {number} has another byte at {place}"));
        }
        let stack = stream.end(sends);
        // What was read makes room, which the other end is told.
        stack.interface.poll(at(now), &mut stack.wire, &mut stack.sockets);
        let (endpoint, frames) = (stack.endpoint, std::mem::take(&mut stack.wire.outgoing));
        let due = stack.interface.poll_at(at(now), &stack.sockets);
        let due = due.map(|due| due.total_micros() as u64);
        let writes = Some(stream.writes_at).filter(|_| sends && stream.written < stream.total);
        if let Some(due) = due.into_iter().chain(writes).min() {
            self.poll_at(number, sends, due);
        }
        for frame in frames {
            self.send_frame(number, endpoint, frame);
        }
    }

    fn poll_at(&mut self, number: usize, sends: bool, time: u64) {
        let time = time.max(self.now + 10);
        let stack = self.traffic.streams[number].end(sends);
        if time < stack.polls_at {
            stack.polls_at = time;
            self.at(time, Task::Poll { stream: number, sends });
        }
    }

    fn send_frame(&mut self, number: usize, endpoint: EndpointId, bytes: Vec<u8>) {
        let Some(id) = self.home_of_stack(endpoint) else { return };
        let key = (controller::vni(endpoint.vpc), endpoint.name());
        let Some(interface) = self.hosts[id].guests.get(&key).map(|guest| guest.interface) else {
            return;
        };
        self.set_time(id);
        let mut frame = MemoryFrame::new(bytes);
        let verdict = from_guest(&mut frame, self.hosts[id].at_guest(interface), interface);
        self.note(|| format!("h{} guest of {endpoint}, stream {number}: {verdict:?}", id + 1));
        if verdict == mizar_packet::Verdict::Answer {
            return self.give(number, endpoint, frame.bytes);
        }
        let flow = u32::MAX - number as u32;
        let answer = self.traffic.streams[number].receiver.endpoint == endpoint;
        let meta = Meta { flow, number: 0, answer, at: self.now, sends: 0, options: false };
        self.obey(id, verdict, frame, Some(meta));
    }

    /// A guest of an endpoint is given a TCP segment. Whether that is of a stream.
    pub(crate) fn give_segment(&mut self, vni: u32, name: &str, frame: &MemoryFrame) -> bool {
        const TCP: u8 = 6;
        let bytes = &frame.bytes;
        if bytes.get(23) != Some(&TCP) || bytes.get(12..14) != Some(&[8, 0]) {
            return false;
        }
        let port = bytes.get(36..38).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
        let streams = &self.traffic.streams;
        let found = (0..streams.len()).find_map(|number| {
            let ports = [FROM_PORT + number as u16, TO_PORT + number as u16];
            let end = ports.iter().position(|it| *it == port)?;
            Some((number, streams[number].ends()[end]))
        });
        let is_of =
            |it: &EndpointId| controller::vni(it.vpc).get() == vni && it.name().as_str() == name;
        match found.filter(|(_, endpoint)| is_of(endpoint)) {
            Some((number, endpoint)) => self.give(number, endpoint, bytes.clone()),
            None => self.fail(format!("{name} of VPC {vni} got a segment of no stream of its own")),
        }
        true
    }

    fn give(&mut self, number: usize, endpoint: EndpointId, bytes: Vec<u8>) {
        let stream = &mut self.traffic.streams[number];
        let sends = stream.sender.endpoint == endpoint;
        stream.end(sends).wire.incoming.push_back(bytes);
        // As a guest that is woken.
        let later = self.now + 30;
        self.poll_at(number, sends, later);
    }
}

impl Stack {
    fn address(&self) -> Ipv4Address {
        self.interface.ipv4_addr().unwrap_or(Ipv4Address::UNSPECIFIED)
    }
}

/// Writes the next bytes, if it is time to.
fn write(stream: &mut Stream, number: usize, now: u64) {
    let Stream { sender, total, written, writes_at, .. } = stream;
    let socket = sender.sockets.get_mut::<Socket<'_>>(sender.socket);
    if now < *writes_at {
        return;
    }
    *writes_at = now + PAUSE;
    if socket.can_send() {
        let end = (*written + CHUNK).min(*total);
        let bytes: Vec<u8> = (*written..end).map(|at| byte_at(number, at)).collect();
        *written += socket.send_slice(&bytes).unwrap_or(0);
    }
}

/// Reads what has come. The place of a byte that is another one, if there is.
fn read(stream: &mut Stream, number: usize) -> Result<(), usize> {
    let Stream { receiver, read, .. } = stream;
    let socket = receiver.sockets.get_mut::<Socket<'_>>(receiver.socket);
    while socket.can_recv() {
        let begin = *read;
        let checked = socket.recv(|bytes| {
            let wrong =
                (begin..).zip(bytes.iter()).find(|(at, byte)| byte_at(number, *at) != **byte);
            (bytes.len(), wrong.map_or(Ok(bytes.len()), |(at, _)| Err(at)))
        });
        *read += checked.unwrap_or(Ok(0))?;
    }
    Ok(())
}

fn at(now: u64) -> Instant {
    Instant::from_micros(now as i64)
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn capabilities(&self) -> DeviceCapabilities {
        const ETHERNET: usize = 14;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = usize::from(crate::host::GUEST_MTU) + ETHERNET;
        capabilities.medium = Medium::Ethernet;
        capabilities
    }

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.incoming.pop_front()?;
        Some((Received(frame), Sending(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outgoing))
    }
}

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let filled = fill(&mut frame);
        self.0.push(frame);
        filled
    }
}
