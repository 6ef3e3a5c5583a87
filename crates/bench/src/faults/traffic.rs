//! Numbered datagrams in one direction at a fixed rate, and what becomes of them.

use crate::namespace::Namespace;
use anyhow::{Context, Result, anyhow};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two datagrams.
const INTERVAL: Duration = Duration::from_millis(1);
/// What is under way arrives within this.
const REST: Duration = Duration::from_millis(300);
/// Room for what a receiver that is not scheduled for seconds has to read then: no datagram is lost
/// in a socket.
const ROOM: usize = 8 << 20;
const PORT: u16 = 5400;

/// Datagrams that are being sent.
pub(super) struct Flow {
    stop: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    sender: JoinHandle<Result<Vec<Instant>>>,
    receivers: Vec<JoinHandle<Vec<Arrival>>>,
}

/// A datagram that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    number: usize,
    at: Instant,
}

/// All that was sent, and all that has come.
#[derive(Debug)]
pub(super) struct Trace {
    /// When each was sent, by its number.
    sent: Vec<Instant>,
    /// In their order.
    came: Vec<Arrival>,
}

/// What became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fate {
    pub(super) sent: usize,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) reordered: usize,
    /// The longest time in which none came, in ms.
    pub(super) gap_ms: f64,
}

impl Flow {
    /// From a guest to an address that any of those places may have.
    pub(super) fn start(from: &Namespace, to: &[&Namespace], address: Ipv4Addr) -> Result<Self> {
        let [stop, over] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let bind =
            |port| move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(Into::into);
        let mut receivers = Vec::new();
        for place in to {
            let socket = place.inside(bind(PORT)).context("listen for datagrams")?;
            set_socket_recv_buffer_size_force(&socket, ROOM).context("make room for datagrams")?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            let over = Arc::clone(&over);
            receivers.push(thread::spawn(move || receive(&socket, &over)));
        }
        let socket = from.inside(bind(0))?;
        socket.connect((address, PORT))?;
        let sender = thread::spawn({
            let stop = Arc::clone(&stop);
            move || send(&socket, &stop)
        });
        Ok(Self { stop, over, sender, receivers })
    }

    /// Ends it; what became of it.
    pub(super) fn finish(self) -> Result<Trace> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| anyhow!("a sender has panicked"))??;
        thread::sleep(REST);
        self.over.store(true, Ordering::Relaxed);
        let mut came = Vec::new();
        for receiver in self.receivers {
            came.extend(receiver.join().map_err(|_| anyhow!("a receiver has panicked"))?);
        }
        came.sort_by_key(|arrival| arrival.at);
        Ok(Trace { sent, came })
    }
}

fn send(socket: &UdpSocket, stop: &AtomicBool) -> Result<Vec<Instant>> {
    let (mut sent, mut next) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let number = sent.len() as u64;
        sent.push(Instant::now());
        // A datagram that the kernel does not take has not been sent.
        if socket.send(&number.to_be_bytes()).is_err() {
            sent.pop();
        }
        next = (next + INTERVAL).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(sent)
}

fn receive(socket: &UdpSocket, over: &AtomicBool) -> Vec<Arrival> {
    let (mut came, mut bytes) = (Vec::new(), [0; 8]);
    loop {
        // What waits is read, however late this thread is.
        match socket.recv(&mut bytes) {
            Ok(len) if len == bytes.len() => {
                let number = u64::from_be_bytes(bytes) as usize;
                came.push(Arrival { number, at: Instant::now() });
            }
            Ok(_) => {}
            Err(_) if over.load(Ordering::Relaxed) => return came,
            Err(_) => {}
        }
    }
}

impl Trace {
    /// What became of all of it.
    pub(super) fn fate(&self) -> Fate {
        self.since(None)
    }

    /// What became of what was sent from a moment on. The first gap begins with it.
    pub(super) fn fate_since(&self, moment: Instant) -> Fate {
        self.since(Some(moment))
    }

    fn since(&self, moment: Option<Instant>) -> Fate {
        let from = moment.map_or(0, |moment| self.sent.partition_point(|at| *at < moment));
        let came: Vec<_> = self.came.iter().filter(|it| it.number >= from).collect();
        let distinct: BTreeSet<_> = came.iter().map(|it| it.number).collect();
        let mut highest = 0;
        let reordered = came.iter().filter(|it| {
            let is_late = it.number < highest;
            highest = highest.max(it.number);
            is_late
        });
        let moments = moment.into_iter().chain(came.iter().map(|it| it.at));
        let moments: Vec<_> = moments.collect();
        let gaps = moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
        Fate {
            sent: self.sent.len() - from,
            lost: self.sent.len() - from - distinct.len(),
            duplicated: came.len() - distinct.len(),
            reordered: reordered.count(),
            gap_ms: gaps.fold(0.0, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(sent: u64, came: &[(usize, u64)]) -> (Trace, Instant) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let came = came.iter().map(|&(number, ms)| Arrival { number, at: at(ms) });
        (Trace { sent: (0..sent).map(at).collect(), came: came.collect() }, start)
    }

    #[test]
    fn what_is_lost_late_or_there_twice_is_counted() {
        let (trace, start) = trace(6, &[(0, 0), (1, 1), (3, 3), (2, 4), (3, 4), (5, 14)]);
        let fate = Fate { sent: 6, lost: 1, duplicated: 1, reordered: 1, gap_ms: 10.0 };
        assert_eq!(trace.fate(), fate);
        let late = trace.fate_since(start + Duration::from_millis(4));
        assert_eq!((late.sent, late.lost, late.gap_ms), (2, 1, 10.0));
    }
}
