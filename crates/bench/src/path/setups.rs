//! Ways to connect a guest of one host with a guest of another, without Mizar.

use super::traffic::Guests;
use super::underlay::{Nic, Underlay};
use crate::namespace::Namespace;
use anyhow::{Result, bail};

/// Two guests, connected in one way.
pub(super) struct Setup {
    pub(super) guests: Guests,
    // What the way needs lives as long as it is measured.
    _underlay: Underlay,
}

/// One veth with NICs' settings joins the guests, and there are no hosts: nothing is faster.
pub(super) fn bare(nic: Nic) -> Result<Setup> {
    // The hosts are the guests.
    let mut underlay = Underlay::link(nic)?.without_mizar()?;
    let mut hosts = std::mem::take(&mut underlay.hosts).into_iter();
    let (Some(a), Some(b)) = (hosts.next(), hosts.next()) else { bail!("a link joins two") };
    Ok(setup([a, b], [100, 64, 0, 2], underlay))
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
    Ok(setup(guests, [10, 0, 2, 2], underlay))
}

/// A bridge on each host, joined by VXLAN.
pub(super) fn vxlan(underlay: Underlay) -> Result<Setup> {
    const OVERHEAD: u32 = 50;
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
    Ok(setup(guests, [10, 0, 0, 3], underlay))
}

/// Connects a guest to its host by a veth, `guest` and `eth0`.
fn attach(host: &Namespace, guest: &Namespace, mtu: u32) -> Result<()> {
    let path = guest.path();
    host.run(&format!(
        "ip link add guest mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}; \
         ip link set guest up",
        path.display()
    ))?;
    guest.run("ip link set eth0 up").map(drop)
}

fn setup([a, b]: [Namespace; 2], b_address: [u8; 4], underlay: Underlay) -> Setup {
    Setup { guests: Guests { a, b, b_address: b_address.into() }, _underlay: underlay }
}
