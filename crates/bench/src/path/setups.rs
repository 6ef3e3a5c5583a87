//! Ways to connect a guest of one host with a guest of another, without Mizar.

use super::ovs;
use super::traffic::Guests;
use super::underlay::{Nic, Underlay};
use crate::namespace::Namespace;
use crate::ovs::Programs;
use anyhow::{Result, bail};

/// A way to connect two guests.
pub(super) struct Way {
    /// The last word of figures that compare with it.
    pub(super) word: &'static str,
    /// What it is called.
    pub(super) name: &'static str,
    set_up: fn(Nic) -> Result<Option<Setup>>,
}

/// All ways.
pub(super) const WAYS: &[Way] = &[
    Way {
        word: "vs_routing",
        name: "hosts that route",
        set_up: |nic| routing(plain(nic)?).map(Some),
    },
    Way { word: "vs_vxlan", name: "bridge and VXLAN", set_up: |nic| vxlan(plain(nic)?).map(Some) },
    Way {
        word: "vs_flannel",
        name: "routing into VXLAN, as flannel",
        set_up: |nic| flannel(plain(nic)?).map(Some),
    },
    Way {
        word: "vs_ovs",
        name: "OVS in user space, Geneve",
        set_up: |nic| ovs::set_up(plain(nic)?),
    },
    Way { word: "vs_bare", name: "one veth, no hosts", set_up: |nic| bare(nic).map(Some) },
];

impl Way {
    /// Connects two guests in this way; none if what it needs is not installed, which is said.
    pub(super) fn set_up(&self, nic: Nic) -> Result<Option<Setup>> {
        (self.set_up)(nic)
    }
}

/// Two guests, connected in one way.
pub(super) struct Setup {
    pub(super) guests: Guests,
    // What the way needs lives as long as it is measured.
    _programs: Vec<Programs>,
    _underlay: Underlay,
}

/// Bytes that VXLAN puts before a guest's IP packet.
const OVERHEAD: u32 = 50;

/// Two hosts without Mizar.
fn plain(nic: Nic) -> Result<Underlay> {
    Underlay::link(nic)?.without_mizar()
}

/// One veth with NICs' settings joins the guests, and there are no hosts: nothing is faster.
pub(super) fn bare(nic: Nic) -> Result<Setup> {
    // The hosts are the guests.
    let mut underlay = Underlay::link(nic)?.without_mizar()?;
    let mut hosts = std::mem::take(&mut underlay.hosts).into_iter();
    let (Some(a), Some(b)) = (hosts.next(), hosts.next()) else { bail!("a link joins two") };
    Ok(setup([a, b], [100, 64, 0, 2], underlay, Vec::new()))
}

/// The hosts' routing tables alone connect the guests: no overlay.
pub(super) fn routing(underlay: Underlay) -> Result<Setup> {
    let guests = [Namespace::new()?, Namespace::new()?];
    for (number, (host, guest)) in underlay.hosts.iter().zip(&guests).enumerate() {
        let (own, other) = (number + 1, 2 - number);
        attach(host, guest, underlay.nic.mtu())?;
        host.run(&format!(
            "ip addr add 10.0.{own}.1/24 dev guest; echo 1 > /proc/sys/net/ipv4/ip_forward
             ip route add 10.0.{other}.0/24 via 100.64.0.{other}"
        ))?;
        guest.run(&format!(
            "ip addr add 10.0.{own}.2/24 dev eth0; ip route add default via 10.0.{own}.1"
        ))?;
    }
    Ok(setup(guests, [10, 0, 2, 2], underlay, Vec::new()))
}

/// A bridge on each host, joined by VXLAN.
pub(super) fn vxlan(underlay: Underlay) -> Result<Setup> {
    let mtu = underlay.nic.mtu() - OVERHEAD;
    let guests = [Namespace::new()?, Namespace::new()?];
    for (number, (host, guest)) in underlay.hosts.iter().zip(&guests).enumerate() {
        let (own, other) = (number + 1, 2 - number);
        attach(host, guest, mtu)?;
        host.run(&format!(
            "ip link add bridge type bridge; ip link set bridge up
             ip link add tunnel type vxlan id 7 dev nic dstport 4789 \
                local 100.64.0.{own} remote 100.64.0.{other}
             ip link set tunnel mtu {mtu} master bridge up; ip link set guest master bridge"
        ))?;
        guest.run(&format!("ip addr add 10.0.0.{}/24 dev eth0", own + 1))?;
    }
    Ok(setup(guests, [10, 0, 0, 3], underlay, Vec::new()))
}

/// As flannel's VXLAN backend does it: guests on a bridge of their host's, a route for each other
/// host into one VXLAN device, whose neighbour and forwarding entries are static.
fn flannel(underlay: Underlay) -> Result<Setup> {
    let mtu = underlay.nic.mtu() - OVERHEAD;
    let guests = [Namespace::new()?, Namespace::new()?];
    for (number, (host, guest)) in underlay.hosts.iter().zip(&guests).enumerate() {
        let (own, other) = (number + 1, 2 - number);
        attach(host, guest, mtu)?;
        host.run(&format!(
            "ip link add cni0 type bridge; ip addr add 10.0.{own}.1/24 dev cni0
             ip link set cni0 mtu {mtu} up; ip link set guest master cni0
             ip link add flannel.1 address 02:00:00:00:01:0{own} mtu {mtu} type vxlan id 1 \
                dev nic local 100.64.0.{own} dstport 8472 nolearning
             ip addr add 10.0.{own}.0/32 dev flannel.1; ip link set flannel.1 up
             ip neigh add 10.0.{other}.0 lladdr 02:00:00:00:01:0{other} dev flannel.1 \
                nud permanent
             bridge fdb add 02:00:00:00:01:0{other} dev flannel.1 dst 100.64.0.{other} self
             ip route add 10.0.{other}.0/24 via 10.0.{other}.0 dev flannel.1 onlink
             echo 1 > /proc/sys/net/ipv4/ip_forward"
        ))?;
        guest.run(&format!(
            "ip addr add 10.0.{own}.2/24 dev eth0; ip route add default via 10.0.{own}.1"
        ))?;
    }
    Ok(setup(guests, [10, 0, 2, 2], underlay, Vec::new()))
}

/// Connects a guest to its host by a veth, `guest` and `eth0`.
pub(super) fn attach(host: &Namespace, guest: &Namespace, mtu: u32) -> Result<()> {
    let path = guest.path();
    host.run(&format!(
        "ip link add guest mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}; \
         ip link set guest up",
        path.display()
    ))?;
    guest.run("ip link set eth0 up").map(drop)
}

/// Guests, of which the second has this address, and the programs that carry their packets where
/// the kernel does not.
pub(super) fn setup(
    [a, b]: [Namespace; 2],
    b_address: [u8; 4],
    underlay: Underlay,
    programs: Vec<Programs>,
) -> Setup {
    let carriers = programs.iter().filter_map(Programs::switch).collect();
    let guests = Guests { a, b, b_address: b_address.into(), carriers };
    Setup { guests, _programs: programs, _underlay: underlay }
}
