//! A network namespace, and what happens inside.

use crate::sys;
use crate::world::PATIENCE;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// A network namespace. Sockets that are made in it stay in it, whoever uses them.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    namespace: PathBuf,
}

impl Place {
    pub(crate) fn new(namespace: &Path) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// Calls a function on a thread that lives inside.
    pub(crate) fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                sys::enter(&self.namespace).unwrap();
                function()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs a program inside to its end, which must be a good one; what it prints.
    pub(crate) fn command(&self, line: &str) -> String {
        let output = self.output(line);
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{line}: {said}");
        said
    }

    /// Runs a program inside to its end.
    pub(crate) fn output(&self, line: &str) -> Output {
        let words: Vec<_> = line.split_whitespace().collect();
        self.run(|| Command::new(words[0]).args(&words[1..]).output().unwrap())
    }

    /// Listens at all addresses of both families. A listener that has been closed may still be
    /// there for a moment, in a process that another thread has forked and that is not its program
    /// yet.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.run(|| TcpListener::bind(("::", port))) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                listener => return listener.unwrap(),
            }
        }
    }

    pub(crate) fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let stream = self.run(|| TcpStream::connect_timeout(&to, timeout))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// A datagram socket at an address of this place, or at any.
    pub(crate) fn datagrams(&self, at: impl Into<SocketAddr>) -> UdpSocket {
        let at = at.into();
        let socket = self.run(|| UdpSocket::bind(at).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket
    }

    /// A socket for whole frames at an interface inside.
    pub(crate) fn frames(&self, interface: &str) -> UdpSocket {
        let socket = self.run(|| sys::packet_socket(interface).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket
    }

    /// Whether one ping is answered in time.
    pub(crate) fn pings_once(&self, to: IpAddr, timeout: Duration) -> bool {
        static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes();
        let v6 = to.is_ipv6();
        let socket = self.run(|| sys::icmp_socket(v6).unwrap());
        if socket.connect((to, 0)).is_err() {
            return false;
        }
        let mut request = [0u8; 64];
        // Over IPv6 the kernel fills the checksum in.
        request[0] = if v6 { 128 } else { 8 };
        request[4..6].copy_from_slice(&number);
        if !v6 {
            let sum = request.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
            let sum: u32 = sum.sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            request[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        }
        if socket.send(&request).is_err() {
            return false;
        }
        let deadline = Instant::now() + timeout;
        let mut reply = [0u8; 256];
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let Ok(len) = socket.recv(&mut reply) else { continue };
            let header = if v6 { 0 } else { usize::from(reply[0] & 15) * 4 };
            let message = &reply[header..len.max(header)];
            let kind = if v6 { 129 } else { 0 };
            if message.len() >= 8 && message[0] == kind && message[4..6] == number {
                return true;
            }
        }
        false
    }

    /// Pings until there is an answer.
    pub(crate) fn pings(&self, to: IpAddr) {
        let deadline = Instant::now() + PATIENCE;
        while !self.pings_once(to, Duration::from_secs(1)) {
            assert!(Instant::now() < deadline, "no answer from {to} in {:?}", self.namespace);
        }
    }
}
