//! Hosts and what joins their NICs: one link, or a switch.

use crate::assembly::{Assembly, Helper, R};
use crate::namespace::Namespace;
use crate::sys::{self, Kind};
use anyhow::{Context, Result};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use std::os::fd::{AsRawFd, OwnedFd};

const XDP_PASS: i32 = 2;

/// How the hosts' NICs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nic {
    /// As a real one: XDP in the driver, frames no longer than the MTU and with finished checksums.
    Wire,
    /// The same with jumbo frames.
    WireJumbo,
    /// As a veth is by default: whole buffers pass.
    Default,
    /// The same with an MTU of jumbo frames.
    DefaultJumbo,
}

impl Nic {
    /// Bytes of the largest IP packet that it sends.
    pub(super) fn mtu(self) -> u32 {
        match self {
            Self::Wire | Self::Default => 1500,
            Self::WireJumbo | Self::DefaultJumbo => 9000,
        }
    }

    /// Whether it is as a real one.
    pub(super) fn is_wire(self) -> bool {
        matches!(self, Self::Wire | Self::WireJumbo)
    }
}

/// Hosts whose NICs, `nic`, have the addresses 100.64.0.1, 100.64.0.2, …
pub(super) struct Underlay {
    pub(super) hosts: Vec<Namespace>,
    pub(super) nic: Nic,
    // What joins them lives as long as they do.
    _switch: Option<Namespace>,
    programs: Vec<OwnedFd>,
}

impl Underlay {
    /// Two hosts joined by one link.
    pub(super) fn link(nic: Nic) -> Result<Self> {
        let hosts = vec![Namespace::new()?, Namespace::new()?];
        let mtu = nic.mtu();
        hosts[0].run(&format!(
            "ip link add nic mtu {mtu} type veth peer name nic mtu {mtu} netns {}",
            hosts[1].path().display()
        ))?;
        let underlay = Self { hosts, nic, _switch: None, programs: Vec::new() };
        underlay.set_up()?;
        Ok(underlay)
    }

    /// So many hosts, each with a link to a switch.
    ///
    /// It stands for the switch of a rack, which is no host's work. So it does next to none: an XDP
    /// program sends a frame on to the port that the last byte of its destination's MAC address
    /// says, before it becomes an skb. Only what goes to everybody is left to a bridge.
    pub(super) fn switch(nic: Nic, count: u8) -> Result<Self> {
        let switch = Namespace::new()?;
        switch.run("ip link add bridge type bridge; ip link set bridge up")?;
        let mut hosts = Vec::new();
        for port in 1..=count {
            let (host, mtu) = (Namespace::new()?, nic.mtu());
            switch.run(&format!(
                "ip link add port{port} mtu {mtu} type veth peer name nic mtu {mtu} \
                    address 02:00:00:00:ff:{port:02x} netns {}
                 ethtool -K port{port} gro on; ip link set port{port} master bridge up",
                host.path().display()
            ))?;
            hosts.push(host);
        }
        let programs = switch_frames(&switch, count).context("have a switch send frames on")?;
        let underlay = Self { hosts, nic, _switch: Some(switch), programs };
        underlay.set_up()?;
        Ok(underlay)
    }

    /// The same hosts where Mizar is not: as wires, their NICs have an XDP program that does
    /// nothing, which costs what XDP costs.
    pub(super) fn without_mizar(mut self) -> Result<Self> {
        if self.nic.is_wire() {
            for host in &self.hosts {
                self.programs.push(pass(host, "nic")?);
            }
        }
        Ok(self)
    }

    fn set_up(&self) -> Result<()> {
        for (host, number) in self.hosts.iter().zip(1..) {
            host.run(&format!(
                "ip addr add 100.64.0.{number}/24 dev nic; ethtool -K nic gro on
                 ip link set nic up"
            ))?;
            if self.nic.is_wire() {
                host.run("ethtool -K nic tx off tso off gso off")?;
            }
        }
        Ok(())
    }
}

/// Hangs an XDP program on an interface for as long as the result lives.
pub(crate) fn attach_xdp(at: &Namespace, name: &str, program: &OwnedFd) -> Result<OwnedFd> {
    at.inside(|| {
        sys::attach_xdp(program, index(name)?)
            .with_context(|| format!("attach an XDP program to {name}"))
    })
}

/// Hangs an XDP program on an interface that passes everything on to the host.
pub(crate) fn pass(at: &Namespace, name: &str) -> Result<OwnedFd> {
    let mut program = Assembly::default();
    program.exit(XDP_PASS);
    let program = sys::load(Kind::Xdp, &program.finish()).context("load an XDP program")?;
    attach_xdp(at, name, &program)
}

/// The number of an interface of this thread's namespace.
pub(crate) fn index(name: &str) -> Result<u32> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    name_to_index(socket, name).with_context(|| format!("find the interface {name}"))
}

/// Has frames of all ports sent on; for as long as the result lives.
fn switch_frames(switch: &Namespace, count: u8) -> Result<Vec<OwnedFd>> {
    let ports = sys::create_map(sys::DEVICE_MAP, 4, u32::from(count) + 1)?;
    for port in 1..=count {
        let number = switch.inside(|| {
            let number = index(&format!("port{port}"))?;
            sys::set_row(&ports, port.into(), &number.to_ne_bytes()).context("name a port")
        });
        number?;
    }
    let program = sys::load(Kind::Xdp, &send_on(ports.as_raw_fd())).context("load the switch")?;
    let attached = (1..=count).map(|port| attach_xdp(switch, &format!("port{port}"), &program));
    attached.chain([Ok(ports)]).collect()
}

fn send_on(ports: i32) -> Vec<u64> {
    const ETHERNET: i32 = 14;
    let mut program = Assembly::default();
    program.packet(R(1), ETHERNET, 9);
    program.load_byte(R(5), R(2), 0);
    program.and(R(5), 1);
    program.skip_unless(R(5), 0, 6);
    program.load_byte(R(2), R(2), 5);
    program.map(R(1), ports);
    program.set(R(3), XDP_PASS);
    program.call(Helper::RedirectMap);
    program.end();
    program.exit(XDP_PASS);
    program.finish()
}
