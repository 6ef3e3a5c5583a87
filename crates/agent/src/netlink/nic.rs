//! What there is to know about the underlay's interface.

use super::error::Result;
use super::{Worker, ethtool, guest, link};
use ipnet::IpNet;

const TSO: &str = "tx-tcp-segmentation";
/// Features by which the hardware itself hands over several frames as one buffer.
const AGGREGATION: [&str; 2] = ["rx-gro-hw", "rx-lro"];

/// An interface, as far as it matters for where the programs are attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address; all zero if it has none.
    pub mac: [u8; 6],
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Name of its driver.
    pub driver: String,
    /// Whether it is a veth.
    pub veth: bool,
    /// Whether it segments TCP buffers that are larger than its MTU.
    pub tso: bool,
    /// Whether frames come in as buffers of several segments: the hardware merges them, or it is a
    /// veth whose far end does not segment. The far end's features cannot be read when it is in
    /// another namespace; then it is taken to be set as this end is.
    pub aggregates: bool,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// Looks at an interface of the host.
pub(super) fn facts(worker: &mut Worker, name: &str) -> Result<Nic> {
    let found = link::find(&mut worker.host, name)?.ok_or_else(|| link::missing(&name))?;
    let veth = found.kind.as_deref() == Some("veth");
    let peer = match found.peer.filter(|_| veth && found.peer_namespace.is_none()) {
        Some(peer) => link::find_index(&mut worker.host, peer)?,
        None => None,
    };
    let features = ethtool::features(&worker.host, name)?;
    let mut aggregates = AGGREGATION.iter().any(|feature| features.on(feature));
    if veth {
        let far = peer.as_ref().map_or(name, |peer| peer.name.as_str());
        aggregates |= ethtool::features(&worker.host, far)?.on(TSO);
    }
    let addresses = guest::list_addresses(&mut worker.host, found.index)?;
    Ok(Nic {
        index: found.index,
        mac: found.mac.unwrap_or_default(),
        mtu: found.mtu,
        up: found.up,
        driver: ethtool::driver(&worker.host, name)?,
        veth,
        tso: features.on(TSO),
        aggregates,
        addresses: addresses.into_iter().map(|listed| listed.address).collect(),
        name: found.name,
    })
}
