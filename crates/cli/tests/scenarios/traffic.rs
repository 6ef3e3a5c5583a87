//! Programs of guests: a TCP stream whose every byte is checked, numbered datagrams, and servers
//! that say who they are.

use crate::place::Place;
use crate::world::{Guest, PATIENCE, until};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const STREAM_PORT: u16 = 5001;
const SERVER_PORT: u16 = 80;

/// A TCP stream that goes on in the background until it is finished.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
}

impl Stream {
    /// From one guest to another one's address, some megabytes a second.
    pub(crate) fn start(from: &Guest, to: &Guest, address: IpAddr) -> Self {
        let listener = to.place().listen(STREAM_PORT);
        let client = from.place().connect((address, STREAM_PORT).into(), PATIENCE).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let sender = thread::spawn({
            let stop = Arc::clone(&stop);
            move || send(client, &stop, Duration::from_millis(4))
        });
        let receiver = thread::spawn({
            let received = Arc::clone(&received);
            move || receive(server, &received)
        });
        Self { stop, received, sender, receiver }
    }

    /// Waits until so many more bytes have arrived.
    pub(crate) fn goes_on(&self, bytes: u64) {
        let goal = self.received.load(Ordering::Relaxed) + bytes;
        until("the stream has gone on", || {
            let over = self.receiver.is_finished() || self.sender.is_finished();
            assert!(!over, "the stream has broken");
            self.received.load(Ordering::Relaxed) >= goal
        });
    }

    /// Ends it; everything that was sent must have arrived.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("sending");
        let received = self.receiver.join().expect("receiving");
        assert_eq!(sent, received);
        assert!(sent > 0);
    }
}

/// Sends so many bytes from one guest to another as fast as it goes, and checks them all.
pub(crate) fn transfer(from: &Guest, to: &Guest, address: IpAddr, bytes: u64) {
    let listener = to.place().listen(STREAM_PORT);
    let client = from.place().connect((address, STREAM_PORT).into(), PATIENCE).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let received = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let stop = Arc::clone(&stop);
        move || send(client, &stop, Duration::ZERO)
    });
    let receiver = thread::spawn({
        let received = Arc::clone(&received);
        move || receive(server, &received)
    });
    until("everything is transferred", || {
        let over = receiver.is_finished() || sender.is_finished();
        over || received.load(Ordering::Relaxed) >= bytes
    });
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("sending");
    assert_eq!(receiver.join().expect("receiving"), sent);
    assert!(sent >= bytes);
}

/// The byte at an offset of every stream: no period of a segment or buffer hides a mistake.
fn byte(offset: u64) -> u8 {
    let mixed = (offset / 7 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8 ^ offset as u8
}

fn send(mut stream: TcpStream, stop: &AtomicBool, pause: Duration) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let chunk: Vec<u8> = (sent..sent + 16_384).map(byte).collect();
        stream.write_all(&chunk).unwrap();
        sent += chunk.len() as u64;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    sent
}

fn receive(mut stream: TcpStream, received: &AtomicU64) -> u64 {
    let mut buffer = vec![0; 65_536];
    let mut offset = 0;
    loop {
        let len = stream.read(&mut buffer).unwrap();
        if len == 0 {
            return offset;
        }
        for &found in &buffer[..len] {
            assert_eq!(found, byte(offset), "at offset {offset}");
            offset += 1;
        }
        received.store(offset, Ordering::Relaxed);
    }
}

/// Numbered datagrams in one direction, without any answer, until they are finished.
pub(crate) struct Numbered {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: JoinHandle<()>,
    receivers: Vec<JoinHandle<HashSet<u64>>>,
    over: Arc<AtomicBool>,
}

impl Numbered {
    /// From one guest to another one's address, one each `interval`.
    pub(crate) fn start(from: &Guest, to: &Guest, address: IpAddr, interval: Duration) -> Self {
        Self::start_to_any(from, &[to.place()], address, interval)
    }

    /// The same, to whichever of these places has the address just then.
    pub(crate) fn start_to_any(
        from: &Guest,
        to: &[Place],
        address: IpAddr,
        interval: Duration,
    ) -> Self {
        // Whoever listens at all addresses of IPv6 has the port of both families.
        let port = if address.is_ipv4() { 5002 } else { 5003 };
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let receiving = to.iter().map(|place| place.datagrams((any, port)));
        let receiving: Vec<_> = receiving.collect();
        let sending = from.place().datagrams((any, 0));
        sending.connect((address, port)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let sender = thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || send_numbers(&sending, interval, &stop, &sent)
        });
        let receivers = receiving.into_iter().map(|socket| {
            let over = Arc::clone(&over);
            thread::spawn(move || receive_numbers(&socket, &over))
        });
        let receivers = receivers.collect();
        Self { stop, sent, sender, receivers, over }
    }

    /// Waits until so many more have been sent.
    pub(crate) fn goes_on(&self, datagrams: u64) {
        let goal = self.sent() + datagrams;
        until("so many more datagrams are sent", || self.sent() >= goal);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; how many were sent, and the numbers of those that never came.
    pub(crate) fn finish(self) -> (u64, Vec<u64>) {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().expect("sending");
        // What is under way by now arrives by then.
        thread::sleep(Duration::from_millis(500));
        self.over.store(true, Ordering::Relaxed);
        let received = self.receivers.into_iter().map(|it| it.join().expect("receiving"));
        let received: HashSet<u64> = received.flatten().collect();
        let sent = self.sent.load(Ordering::Relaxed);
        (sent, (0..sent).filter(|number| !received.contains(number)).collect())
    }
}

fn send_numbers(socket: &UdpSocket, interval: Duration, stop: &AtomicBool, sent: &AtomicU64) {
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let number = sent.load(Ordering::Relaxed);
        socket.send(&number.to_be_bytes()).unwrap();
        sent.store(number + 1, Ordering::Relaxed);
        // One that comes late does not hurry the others: bursts overrun the receiver's buffer.
        next = (next + interval).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn receive_numbers(socket: &UdpSocket, over: &AtomicBool) -> HashSet<u64> {
    let mut received = HashSet::new();
    let mut number = [0; 8];
    while !over.load(Ordering::Relaxed) {
        if socket.recv(&mut number).is_ok_and(|len| len == number.len()) {
            received.insert(u64::from_be_bytes(number));
        }
    }
    received
}

/// A TCP server that tells each client whose it is, and returns what the client sends.
pub(crate) struct Server {
    place: Place,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(guest: &Guest) -> Self {
        let listener = guest.place().listen(SERVER_PORT);
        let stop = Arc::new(AtomicBool::new(false));
        let name = format!("{}/{}", guest.vpc, guest.name);
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while let Ok((mut client, _)) = listener.accept() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = name.clone();
                    thread::spawn(move || serve(&mut client, &name));
                }
            }
        });
        Self { place: guest.place(), stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let own: SocketAddr = (Ipv6Addr::LOCALHOST, SERVER_PORT).into();
        // What it waits for is a client.
        if self.place.connect(own, PATIENCE).is_ok() {
            self.thread.take().map(JoinHandle::join);
        }
    }
}

/// Bytes that an exchange sends each way: several segments.
const EXCHANGED: usize = 10_000;

fn serve(client: &mut TcpStream, name: &str) {
    let _ = client.set_read_timeout(Some(PATIENCE));
    let mut request = vec![0; EXCHANGED];
    if client.read_exact(&mut request).is_ok() {
        let _ = client.write_all(&[&request, name.as_bytes()].concat());
    }
}

/// Who answers at an address, having returned what was sent; nobody if there is no connection.
pub(crate) fn who_answers(from: &Place, at: IpAddr, timeout: Duration) -> Option<String> {
    let mut stream = from.connect((at, SERVER_PORT).into(), timeout).ok()?;
    let request: Vec<u8> = (0..EXCHANGED as u64).map(byte).collect();
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let (returned, name) = answer.split_at(EXCHANGED.min(answer.len()));
    assert!(returned == request, "{at} returned something else");
    Some(String::from_utf8(name.to_vec()).unwrap())
}
