//! What is sent between two guests, by one thread that holds the sockets of both.

use crate::cpu::{Cpu, of_process};
use crate::namespace::Namespace;
use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Two guests, of which the second has this address.
pub(super) struct Guests {
    pub(super) a: Namespace,
    pub(super) b: Namespace,
    pub(super) b_address: Ipv4Addr,
    /// The processes that carry packets between them, where the kernel alone does not.
    pub(super) carriers: Vec<u32>,
}

impl Guests {
    /// Nanoseconds that a CPU has spent on their packets until now.
    fn spent(&self, cpu: &Cpu) -> Result<u64> {
        let carriers = self.carriers.iter().map(|carrier| of_process(*carrier));
        Ok(cpu.spent()? + carriers.sum::<Result<u64>>()?)
    }
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Requests and responses, and packets one way, by UDP.
    pub(super) datagrams: bool,
    /// One stream of TCP.
    pub(super) tcp: bool,
    /// [`STREAMS`] of TCP.
    pub(super) tcp8: bool,
}

/// What the CPU did; not a number where it was not measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// TCP, one stream: Gb/s for each core spent.
    pub(super) tcp_gbits: f64,
    /// TCP, [`STREAMS`] at once.
    pub(super) tcp8_gbits: f64,
    /// Request and response over UDP: microseconds.
    pub(super) rr_microseconds: f64,
    /// UDP: nanoseconds for each packet.
    pub(super) udp_nanoseconds: f64,
}

/// Bytes of a packet: they fit in the smallest MTU of all set-ups.
const PACKET: usize = 1200;
/// How long paths may take to be found, and caches to be filled.
const WARM_UP: Duration = Duration::from_millis(300);
/// Packets that are sent before any is read.
const BURST: usize = 32;
/// Streams of TCP at once.
const STREAMS: usize = 8;
/// How long a packet may be on its way before it counts as lost: on a machine that others keep
/// busy, the kernel may take tens of milliseconds to come to it.
const LATE: Duration = Duration::from_millis(200);
const PORT: u16 = 7;

/// Measures what is wanted, after a warm-up that lets paths be found, each for so long.
pub(super) fn measure(guests: &Guests, cpu: &Cpu, each: Duration, wanted: Wanted) -> Result<Costs> {
    let (rr_microseconds, udp_nanoseconds) =
        if wanted.datagrams { small(guests, cpu, each)? } else { (f64::NAN, f64::NAN) };
    let tcp = |is_wanted: bool, streams| {
        if !is_wanted {
            return Ok(f64::NAN);
        }
        let mut streams = connections(guests, streams)?;
        stream(&mut streams, WARM_UP)?;
        let before = guests.spent(cpu)?;
        let bytes = stream(&mut streams, each)?;
        anyhow::Ok(bytes as f64 * 8.0 / (guests.spent(cpu)? - before) as f64)
    };
    let (tcp_gbits, tcp8_gbits) = (tcp(wanted.tcp, 1)?, tcp(wanted.tcp8, STREAMS)?);
    Ok(Costs { tcp_gbits, tcp8_gbits, rr_microseconds, udp_nanoseconds })
}

/// Microseconds of a request and its response, and nanoseconds of a packet one way.
fn small(guests: &Guests, cpu: &Cpu, each: Duration) -> Result<(f64, f64)> {
    let (a, b) = datagrams(guests)?;
    let warm_up = Instant::now();
    while warm_up.elapsed() < WARM_UP {
        ping(&a, &b, BURST)?;
    }
    let (before, start, mut count) = (guests.spent(cpu)?, Instant::now(), 0);
    while start.elapsed() < each {
        count += ping(&a, &b, BURST)?;
    }
    let rr_microseconds = (guests.spent(cpu)? - before) as f64 / count as f64 / 1000.0;

    let before = guests.spent(cpu)?;
    let count = flood(&a, &b, each)?;
    let udp_nanoseconds = (guests.spent(cpu)? - before) as f64 / count as f64;
    Ok((rr_microseconds, udp_nanoseconds))
}

/// The CPU time of a request and its response, in microseconds, over so many of them, after a
/// warm-up of few packets and what is to be done after that.
pub(super) fn round_trip(
    guests: &Guests,
    cpu: &Cpu,
    count: usize,
    begin: impl FnOnce() -> Result<()>,
) -> Result<f64> {
    let (a, b) = datagrams(guests)?;
    let warm_up = Instant::now();
    while warm_up.elapsed() < WARM_UP {
        ping(&a, &b, BURST / 4)?;
        std::thread::sleep(WARM_UP / 20);
    }
    begin()?;
    let before = guests.spent(cpu)?;
    let came = ping(&a, &b, count)?;
    let microseconds = (guests.spent(cpu)? - before) as f64 / came as f64 / 1000.0;
    ensure!(came as usize * 100 >= count * 98, "only {came} of {count} responses came");
    Ok(microseconds)
}

/// What a stream of TCP came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throughput {
    /// Gb/s of what the receiver read.
    pub(super) gbits: f64,
    /// How much that was.
    pub(super) bytes: u64,
    /// CPU time of it all, in nanoseconds.
    pub(super) spent: f64,
}

/// One stream of TCP for so long, after a warm-up and what is to be done after that.
pub(super) fn throughput(
    guests: &Guests,
    cpu: &Cpu,
    time: Duration,
    begin: impl FnOnce() -> Result<()>,
) -> Result<Throughput> {
    let mut streams = connections(guests, 1)?;
    stream(&mut streams, WARM_UP)?;
    begin()?;
    let (before, start) = (guests.spent(cpu)?, Instant::now());
    let bytes = stream(&mut streams, time)?;
    let seconds = start.elapsed().as_secs_f64();
    let spent = (guests.spent(cpu)? - before) as f64;
    Ok(Throughput { gbits: bytes as f64 * 8.0 / 1e9 / seconds, bytes, spent })
}

/// Waits until a packet comes through.
pub(super) fn wait(guests: &Guests) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let (a, b) = datagrams(guests)?;
    loop {
        a.send(b"?").context("send a first packet")?;
        if ready(&b, Duration::from_millis(100))? {
            while b.recv(&mut [0; PACKET]).is_ok() {}
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no packet comes through");
    }
}

fn datagrams(guests: &Guests) -> Result<(UdpSocket, UdpSocket)> {
    let address = SocketAddr::from((guests.b_address, PORT));
    let b = guests.b.inside(|| UdpSocket::bind(address).context("bind a guest's socket"))?;
    let a = guests.a.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").context("bind a guest's socket")?;
        socket.connect(address).context("connect a guest's socket")?;
        Ok(socket)
    })?;
    a.set_nonblocking(true)?;
    b.set_nonblocking(true)?;
    Ok((a, b))
}

/// A stream's two ends: what is written to the first is read from the second.
type Ends = (TcpStream, TcpStream);

fn connections(guests: &Guests, count: usize) -> Result<Vec<Ends>> {
    let address = SocketAddr::from((guests.b_address, PORT));
    let listener = guests.b.inside(|| TcpListener::bind(address).context("listen in a guest"))?;
    let connect = || -> Result<Ends> {
        let a = guests.a.inside(|| {
            let wait = Duration::from_secs(5);
            TcpStream::connect_timeout(&address, wait).context("connect guests by TCP")
        })?;
        let (b, _) = listener.accept().context("accept in a guest")?;
        for socket in [&a, &b] {
            socket.set_nonblocking(true)?;
            // One that paces would measure timers.
            sockopt::set_tcp_congestion(socket, "cubic").context("choose TCP cubic")?;
        }
        Ok((a, b))
    };
    (0..count).map(|_| connect()).collect()
}

/// So many requests, each after the response to the last; how many responses came.
fn ping(a: &UdpSocket, b: &UdpSocket, requests: usize) -> Result<u64> {
    let mut packet = [0; 64];
    let mut count = 0;
    for _ in 0..requests {
        a.send(&packet).context("send a request")?;
        let Some((_, from)) = received(b, || b.recv_from(&mut packet))? else { continue };
        b.send_to(&packet, from).context("send a response")?;
        count += u64::from(received(a, || a.recv(&mut packet))?.is_some());
    }
    ensure!(count > 0, "no response came");
    Ok(count)
}

/// Packets one way; how many arrived.
fn flood(a: &UdpSocket, b: &UdpSocket, time: Duration) -> Result<u64> {
    let mut packet = [0; PACKET];
    let mut count = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..BURST {
            a.send(&packet).context("send a packet")?;
        }
        // What the kernel carries has come by now; another process has yet to do it.
        let mut missing = BURST;
        while missing > 0 {
            if is_done(b.recv(&mut packet))?.is_some() {
                (missing, count) = (missing - 1, count + 1);
            } else if !ready(b, LATE)? {
                break;
            }
        }
    }
    ensure!(count > 0, "no packet came");
    Ok(count)
}

/// Streams one way, in turn; how many bytes arrived.
fn stream(streams: &mut [Ends], time: Duration) -> Result<u64> {
    let (sent, mut read) = (vec![0; 128 << 10], vec![0; 256 << 10]);
    let mut bytes = 0;
    let end = Instant::now() + time;
    while Instant::now() < end {
        let mut is_idle = true;
        for (a, b) in &mut *streams {
            is_idle &= is_done(a.write(&sent))?.is_none();
            while let Some(count) = is_done(b.read(&mut read))? {
                ensure!(count > 0, "the stream has ended");
                bytes += count as u64;
                is_idle = false;
            }
        }
        if is_idle {
            // Waiting costs nothing, spinning would.
            let readable = streams.iter().map(|(_, b)| PollFd::new(b, PollFlags::IN));
            wait_for(&mut readable.collect::<Vec<_>>(), Duration::from_millis(50))?;
        }
    }
    Ok(bytes)
}

/// What comes at once, or after a short wait; nothing if it is lost.
fn received<T>(
    socket: &UdpSocket,
    mut receive: impl FnMut() -> std::io::Result<T>,
) -> Result<Option<T>> {
    if let Some(came) = is_done(receive())? {
        return Ok(Some(came));
    }
    if ready(socket, LATE)? { is_done(receive()) } else { Ok(None) }
}

fn is_done<T>(result: std::io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("a guest's socket fails"),
    }
}

/// Whether something can be read before so much time has passed.
fn ready(socket: &impl AsFd, time: Duration) -> Result<bool> {
    wait_for(&mut [PollFd::new(socket, PollFlags::IN)], time)
}

fn wait_for(sockets: &mut [PollFd<'_>], time: Duration) -> Result<bool> {
    let time = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    Ok(poll(sockets, Some(&time)).context("wait for a guest's socket")? > 0)
}
