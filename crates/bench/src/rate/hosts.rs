//! Hosts that forward what comes to their NIC, in several ways.

use super::generator::{self, Generator, Pattern};
use super::spread::{self, Spread};
use crate::cloud::{Cloud, Stream};
use crate::cpu::Cpu;
use crate::namespace::Namespace;
use crate::network;
use crate::packet::{inner, tunnelled};
use crate::path::pass;
use anyhow::{Context, Result, ensure};
use mizar_agent::kernel::Maps;
use mizar_packet::count::{Counter, PER_VPC, Path};
use mizar_packet::wire::Ethernet;
use mizar_packet::wire::geneve::{Location, Outer};
use mizar_vpc::{Generation, HeldRow, HostConfig, Vni, VpcRows, VpcUpdate};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// The host's underlay address.
const HERE: [u8; 4] = [100, 64, 0, 1];
/// The next hop of all that it sends: the far end of its NIC.
const NEXT: [u8; 4] = [100, 64, 0, 254];
/// The host that frames come from.
const SENDER: [u8; 4] = [100, 64, 0, 2];
/// Hosts that endpoints are on.
const HOSTS: u32 = 200;
/// Where the destination is in an IP packet's frame.
const DESTINATION: usize = Ethernet::LEN + 16;

/// A host whose NIC, `nic`, ends at `far` in a namespace of its own.
pub(super) struct Host {
    wire: Namespace,
    generators: Vec<Generator>,
    // What the way needs lives as long as it is measured.
    programs: Vec<OwnedFd>,
    agent: Option<Agent>,
    host: Namespace,
}

/// A bouncer's agent, in whose VPC 1 the frames of the first pattern are, and so on.
struct Agent {
    maps: Maps,
    _stream: Stream,
    _cloud: Cloud,
}

impl Host {
    /// Its NIC sends every frame back as it is.
    pub(super) fn hairpin() -> Result<Self> {
        let mut host = Self::new()?;
        host.programs.push(generator::hairpin(&host.host, "nic")?);
        host.frames(&tunnelled(1, &[], &inner(SENDER, HERE, 0)), DESTINATION, &[HERE])?;
        Ok(host)
    }

    /// It routes, by one route for all.
    pub(super) fn routing() -> Result<Self> {
        const THERE: [u8; 4] = [10, 1, 0, 1];
        let mut host = Self::new()?;
        host.programs.push(pass(&host.host, "nic")?);
        host.host.run(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
             echo 0 > /proc/sys/net/ipv4/conf/nic/send_redirects
             ip route add 10.1.0.0/16 via 100.64.0.254",
        )?;
        let mut frame = inner(SENDER, THERE, 0);
        frame[..6].copy_from_slice(&MAC);
        host.frames(&frame, DESTINATION, &[THERE])?;
        Ok(host)
    }

    /// It has a bridge between two VXLANs, with one row for all.
    pub(super) fn vxlan() -> Result<Self> {
        const VXLAN: u16 = 4789;
        /// Of the UDP header.
        const PORT: usize = Ethernet::LEN + 20 + 2;
        /// Of the VXLAN header, which is as long as that of Geneve.
        const HEADER: usize = Outer::LEN - 8;
        const FIRST_ID: u8 = 7;
        let mut host = Self::new()?;
        host.programs.push(pass(&host.host, "nic")?);
        let mut frame = tunnelled(1, &[], &inner(SENDER, [10, 1, 0, 1], 0));
        frame[PORT..PORT + 2].copy_from_slice(&VXLAN.to_be_bytes());
        frame[HEADER..Outer::LEN].copy_from_slice(&[8, 0, 0, 0, 0, 0, FIRST_ID, 0]);
        let mac = frame[Outer::LEN..Outer::LEN + 6].iter().map(|byte| format!("{byte:02x}"));
        let mac = mac.collect::<Vec<_>>().join(":");
        host.host.run(&format!(
            "ip link add bridge type bridge; ip link set bridge up
             for id in 7 8; do
                ip link add vxlan$id type vxlan id $id dev nic dstport 4789 local 100.64.0.1
                ip link set vxlan$id master bridge up
             done
             bridge fdb replace {mac} dev vxlan8 master static
             bridge fdb replace {mac} dev vxlan8 dst 100.64.0.254 self permanent"
        ))?;
        host.frames(&frame, Outer::LEN + DESTINATION, &[[10, 1, 0, 1]])?;
        Ok(host)
    }

    /// It is a bouncer of as many networks, in VPCs of their own: one of the bouncers of each.
    pub(super) fn bouncer(spreads: &[Spread]) -> Result<Self> {
        let mut host = Self::new()?;
        let mut cloud = Cloud::new()?;
        let fleet = vec!["100.64.0.0/16".parse()?];
        let config = HostConfig { name: "h1".parse()?, underlay: HERE.into(), fleet, keys: None };
        let mut stream = cloud.start(&host.host, config, "native", &["endpoints=262144"])?;
        for (vni, spread) in (1..).zip(spreads) {
            let (kept, flows) = spread.of_one()?;
            let update = VpcUpdate::full(Vni::try_from(vni)?, Generation::new(1, 1)?, rows(&kept)?);
            cloud.update(&mut stream, update)?;
            let location = Location::new(SENDER, 1);
            let frame = tunnelled(vni, location.as_bytes(), &inner([10, 1, 0, 0], HERE, 0));
            let at = Outer::LEN + Location::LEN + DESTINATION;
            host.frames(&frame, at, &in_any_order(&flows))?;
        }
        let maps = Maps::open(&cloud.pins("h1")).context("open the bouncer's tables")?;
        host.agent = Some(Agent { maps, _stream: stream, _cloud: cloud });
        Ok(host)
    }

    fn new() -> Result<Self> {
        let (host, wire) = (Namespace::new()?, Namespace::new()?);
        host.run(&format!(
            "ip link add nic address 02:00:00:00:ff:01 type veth peer name far netns {}
             ip addr add 100.64.0.1/24 dev nic; ethtool -K nic gro on tx off tso off gso off
             ip link set nic up; ip route add 100.64.0.0/16 via 100.64.0.254",
            wire.path().display()
        ))?;
        wire.run("ip addr add 100.64.0.254/24 dev far; ip link set far up")?;
        let programs = vec![generator::sink(&wire, "far")?];
        Ok(Self { wire, generators: Vec::new(), programs, agent: None, host })
    }

    fn frames(&mut self, frame: &[u8], at: usize, flows: &[[u8; 4]]) -> Result<()> {
        let generator = Generator::new(&self.wire, "far", &Pattern { frame, at, flows })?;
        self.generators.push(generator);
        Ok(())
    }

    /// Waits until what comes in goes out again.
    pub(super) fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        for number in 0..self.generators.len() {
            while let Err(error) = self.measure(number, 1000) {
                ensure!(Instant::now() < deadline, error);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Sends so many frames of one of its patterns; nanoseconds of CPU time for each.
    pub(super) fn measure(&self, pattern: usize, count: u32) -> Result<f64> {
        let generator = self.generators.get(pattern).context("no such pattern")?;
        self.wire.inside(|| {
            let cpu = Cpu::pin()?;
            let (received, bounced) = (received()?, self.bounced(pattern)?);
            let spent = cpu.spent()?;
            generator.send(count)?;
            let (spent, received) = (cpu.spent()? - spent, self::received()? - received);
            let bounced = self.bounced(pattern)?.zip(bounced).map(|(now, then)| now - then);
            let received = bounced.unwrap_or(received).min(received);
            let enough = received * 100 >= u64::from(count) * 98;
            ensure!(enough, "only {received} of {count} frames were forwarded");
            Ok(spent as f64 / received as f64)
        })
    }

    /// Frames of a pattern that the agent's programs have bounced.
    fn bounced(&self, pattern: usize) -> Result<Option<u64>> {
        let Some(Agent { maps, .. }) = &self.agent else { return Ok(None) };
        let vpc = maps.vpcs.get(&(pattern as u32 + 1))?.context("the VPC has no row")?.index;
        let row = vpc * PER_VPC + Counter::Path(Path::Bounced).row();
        Ok(Some(maps.counters.sum(row)?))
    }
}

/// The NIC's address.
const MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];

/// Frames that have come to the far end of the NIC, in whose namespace the calling thread is.
fn received() -> Result<u64> {
    let path = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    packets_of(&text, "far").with_context(|| format!("{path} does not say what has come"))
}

/// Packets that an interface has received, of a text as of `/proc/net/dev`.
fn packets_of(text: &str, interface: &str) -> Option<u64> {
    let of = |line: &'_ str| {
        Some(line.trim_start().strip_prefix(interface)?.strip_prefix(':')?.to_owned())
    };
    let fields = text.lines().find_map(of)?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Rows of a bouncer that keeps these endpoints.
fn rows(kept: &[u32]) -> Result<VpcRows> {
    let first = u32::from(Ipv4Addr::new(100, 64, 1, 0));
    let held = |number: u32| -> Result<_> {
        let host = Ipv4Addr::from(first + number % HOSTS).into();
        let row = HeldRow { host, generation: Generation::new(1, 1)? };
        Ok((spread::address(number).into(), row))
    };
    let held = kept.iter().copied().map(held).collect::<Result<_>>()?;
    Ok(VpcRows { held, ..network::rows(HERE.into(), NEXT.into())? })
}

/// Neighbours in time are no neighbours in tables.
fn in_any_order(flows: &[u32]) -> Vec<[u8; 4]> {
    let mut flows = flows.to_vec();
    flows.sort_by_key(|flow| flow.wrapping_mul(2_654_435_761));
    flows.into_iter().map(|flow| spread::address(flow).octets()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_has_received_is_read() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:       0       7    0    0    0     0          0         0        0       0    0
   far: 123456      42    0    0    0     0          0         0       10       1    0
";
        assert_eq!(packets_of(text, "far"), Some(42));
        assert_eq!(packets_of(text, "fa"), None);
    }

    #[test]
    fn another_order_leaves_out_no_flow() {
        let flows: Vec<_> = (0..1000).collect();
        let mut ordered = in_any_order(&flows);
        assert_ne!(ordered[..2], [[10, 1, 0, 0], [10, 1, 0, 1]]);
        ordered.sort_unstable();
        assert!(
            ordered.iter().copied().eq(flows.iter().map(|flow| spread::address(*flow).octets()))
        );
    }
}
