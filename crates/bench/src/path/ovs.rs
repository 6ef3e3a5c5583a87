//! Hosts whose guests are joined by Open vSwitch in user space, by Geneve.

use super::setups::{self, Setup};
use super::underlay::Underlay;
use crate::fleet::note;
use crate::namespace::Namespace;
use crate::others::peers;
use crate::ovs::Programs;
use anyhow::Result;

/// Bytes that Geneve puts before a guest's IP packet.
const OVERHEAD: u32 = 50;
/// What tells the tunnel's packets from others'.
const VNI: u32 = 7;

/// Connects two guests; none if OVS is not installed, which is said.
///
/// A host's switch has two bridges: one with the guest and the tunnel, and a flow for each guest;
/// one with the NIC and the host's address, to which the tunnel's packets go. It takes frames from
/// AF_PACKET sockets, of the size they have on the wire and with finished checksums: guests'
/// offloads are off.
pub(super) fn set_up(underlay: Underlay) -> Result<Option<Setup>> {
    let root = peers()?;
    if !Programs::are_in(&root) {
        note("SKIPPED: OVS is not here (Debian: openvswitch-switch)");
        return Ok(None);
    }
    let mtu = underlay.nic.mtu() - OVERHEAD;
    let guests = [Namespace::new()?, Namespace::new()?];
    let mut switches = Vec::new();
    for (number, (host, guest)) in underlay.hosts.iter().zip(&guests).enumerate() {
        let (own, other) = (number + 1, 2 - number);
        setups::attach(host, guest, mtu)?;
        guest.run(&format!(
            "ip link set eth0 address 02:00:00:00:02:0{own}
             ethtool -K eth0 tx off tso off gso off; ip addr add 10.0.0.{}/24 dev eth0",
            own + 1
        ))?;
        let mut switch = Programs::new(&root, host.same()?)?;
        switch.start_switch()?;
        let bridges = format!(
            "add-br br-phy -- set bridge br-phy datapath_type=netdev \
             -- add-port br-phy nic \
             -- add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure \
             -- add-port br-int guest -- set interface guest ofport_request=1 \
             -- add-port br-int tunnel -- set interface tunnel ofport_request=2 type=geneve \
                options:remote_ip=100.64.0.{other} options:key={VNI}"
        );
        switch.run("ovs-vsctl", &bridges.split_whitespace().collect::<Vec<_>>())?;
        host.run(&format!(
            "ip addr flush dev nic; ip addr add 100.64.0.{own}/24 dev br-phy
             ip link set br-phy up"
        ))?;
        for (mac, port) in [(own, 1), (other, 2)] {
            let flow = format!("dl_dst=02:00:00:00:02:0{mac},actions=output:{port}");
            switch.run("ovs-ofctl", &["add-flow", "br-int", &flow])?;
        }
        let broadcast = "dl_dst=ff:ff:ff:ff:ff:ff,actions=all";
        switch.run("ovs-ofctl", &["add-flow", "br-int", broadcast])?;
        switches.push(switch);
    }
    Ok(Some(setups::setup(guests, [10, 0, 0, 3], underlay, switches)))
}
