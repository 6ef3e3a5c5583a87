//! The underlay: hosts as network namespaces, joined by a namespace that routes between them.
//!
//! Every host has a link of its own to the fabric, a /31 (RFC 3021), and shares no L2 domain with
//! any other host: what a host sends to another is routed, as between the racks of a data centre.

use crate::netns::{self, Namespace};
use crate::sys::{self, Feature};
use crate::topology::{Mode, Offloads};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkXdp};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

/// Name of the underlay's interface in every host.
pub const NIC: &str = "nic0";

/// First address of the underlay: shared address space (RFC 6598), seen inside the namespaces only.
const FIRST: u32 = u32::from_be_bytes([100, 64, 0, 0]);
/// Index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;

/// Settings of a host: it forwards nothing by itself.
const HOST: &[(&str, &str)] = &[("ipv4/ip_forward", "0"), ("ipv6/conf/all/forwarding", "0")];
const FABRIC: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];
/// Settings of a guest: a plain host of its network.
const GUEST: &[(&str, &str)] = &[("ipv4/ip_forward", "0"), ("ipv6/conf/all/forwarding", "0")];

/// Why the underlay could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace failed.
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    /// A netlink request failed.
    #[error("{namespace}: cannot {action}")]
    Netlink {
        /// Where.
        namespace: String,
        /// What.
        action: &'static str,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// The fabric's own program could not be loaded.
    #[error("cannot load the XDP program of the fabric's interfaces")]
    Program(#[source] io::Error),
    /// An offload could not be switched.
    #[error("{namespace}: cannot switch {feature} of {interface}")]
    Feature {
        /// Where.
        namespace: String,
        /// The interface.
        interface: String,
        /// The offload.
        feature: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How every link of the underlay is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkOptions {
    /// Of both ends.
    pub(crate) mtu: u16,
    /// Of both ends.
    pub(crate) offloads: Offloads,
    /// Of the agents' programs.
    pub(crate) mode: Mode,
}

impl LinkOptions {
    /// Whether hosts may send frames from the driver. A veth hands such frames to the far end but
    /// wakes it only if that has an XDP program itself: without one they lie there until
    /// something else comes by.
    fn far_end_needs_xdp(&self) -> bool {
        self.offloads == Offloads::Wire || self.mode == Mode::Native
    }
}

/// The underlay address of the host with this index.
pub(crate) fn host_address(index: u16) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + 2 * u32::from(index) + 1)
}

/// The fabric's address on the link of the host with this index: the host's default gateway.
fn fabric_address(index: u16) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + 2 * u32::from(index))
}

/// The namespace that joins the hosts.
pub(crate) struct Fabric {
    namespace: Namespace,
    netlink: rtnetlink::Handle,
    options: LinkOptions,
}

impl Fabric {
    /// Creates the fabric, without any host.
    pub(crate) async fn create(namespace: Namespace, options: LinkOptions) -> Result<Self, Error> {
        namespace.create(FABRIC)?;
        let netlink = namespace.netlink()?;
        set_up(&namespace, &netlink, LOOPBACK).await?;
        Ok(Self { namespace, netlink, options })
    }

    /// Creates a host and links it: `nic0` with its address and a default route in the host.
    pub(crate) async fn add_host(&self, host: &Namespace, index: u16) -> Result<(), Error> {
        host.create(HOST)?;
        let link = format!("host{index}");
        self.add_link(host, &link).await?;
        // IPv6 has no business on an IPv4 underlay.
        host.set(&[(&format!("ipv6/conf/{NIC}/disable_ipv6"), "1")])?;
        for (namespace, interface) in [(&self.namespace, link.as_str()), (host, NIC)] {
            set_offloads(namespace, interface, self.options.offloads)?;
        }

        let near = index_of(&self.namespace, &self.netlink, &link).await?;
        if self.options.far_end_needs_xdp() {
            attach_pass(&self.namespace, &self.netlink, near).await?;
        }
        add_address(&self.namespace, &self.netlink, near, fabric_address(index)).await?;
        set_up(&self.namespace, &self.netlink, near).await?;

        let netlink = host.netlink()?;
        let nic = index_of(host, &netlink, NIC).await?;
        add_address(host, &netlink, nic, host_address(index)).await?;
        set_up(host, &netlink, LOOPBACK).await?;
        set_up(host, &netlink, nic).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(fabric_address(index))
            .output_interface(nic)
            .build();
        let added = netlink.route().add(route).execute().await;
        added.map_err(|e| failed(host, "add the default route", e))
    }

    /// A veth pair whose far end is created directly in the host.
    async fn add_link(&self, host: &Namespace, link: &str) -> Result<(), Error> {
        let mtu = u32::from(self.options.mtu);
        let file = host.open()?;
        let mut peer = LinkUnspec::new_with_name(NIC).mtu(mtu).build();
        peer.attributes.push(LinkAttribute::NetNsFd(file.as_raw_fd()));
        let message = LinkMessageBuilder::<LinkVeth>::new(link, NIC)
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let added = self.netlink.link().add(message).execute().await;
        added.map_err(|e| failed(host, "create its link to the fabric", e))
    }
}

/// Creates a guest: an empty namespace. The agent of its host creates its interface.
pub(crate) async fn add_guest(guest: &Namespace) -> Result<(), Error> {
    guest.create(GUEST)?;
    let netlink = guest.netlink()?;
    set_up(guest, &netlink, LOOPBACK).await
}

/// A wire carries finished checksums and frames no longer than the MTU; both ends merge what they
/// receive. Merging is switched on explicitly, because a veth takes part in native XDP only when
/// its far end polls, and that hangs on this switch.
fn set_offloads(namespace: &Namespace, interface: &str, offloads: Offloads) -> Result<(), Error> {
    let wire = [
        (Feature::TxChecksum, false),
        (Feature::TcpSegmentation, false),
        (Feature::GenericSegmentation, false),
        (Feature::GenericReceive, true),
    ];
    let settings: &[(Feature, bool)] = match offloads {
        Offloads::Wire => &wire,
        Offloads::Default => &[(Feature::GenericReceive, true)],
    };
    namespace.run(|| {
        for &(feature, on) in settings {
            sys::set_feature(interface, feature, on).map_err(|source| Error::Feature {
                namespace: namespace.name().to_owned(),
                interface: interface.to_owned(),
                feature: format!("{feature:?}"),
                source,
            })?;
        }
        Ok(())
    })?
}

async fn index_of(
    namespace: &Namespace,
    netlink: &rtnetlink::Handle,
    interface: &str,
) -> Result<u32, Error> {
    use futures::TryStreamExt;
    let mut links = netlink.link().get().match_name(interface.to_owned()).execute();
    let link = links.try_next().await.map_err(|e| failed(namespace, "find its interface", e))?;
    link.map(|link| link.header.index)
        .ok_or_else(|| failed(namespace, "find its interface", rtnetlink::Error::RequestFailed))
}

async fn add_address(
    namespace: &Namespace,
    netlink: &rtnetlink::Handle,
    index: u32,
    address: Ipv4Addr,
) -> Result<(), Error> {
    let added = netlink.address().add(index, address.into(), 31).execute().await;
    added.map_err(|e| failed(namespace, "add its underlay address", e))
}

/// Gives an interface an XDP program that changes nothing.
async fn attach_pass(
    namespace: &Namespace,
    netlink: &rtnetlink::Handle,
    index: u32,
) -> Result<(), Error> {
    /// In the driver, or not at all.
    const DRIVER_MODE: u32 = 1 << 2;
    let program = sys::load_pass().map_err(Error::Program)?;
    let mut message = LinkUnspec::new_with_index(index).build();
    let xdp = vec![LinkXdp::Fd(program.as_raw_fd()), LinkXdp::Flags(DRIVER_MODE)];
    message.attributes.push(LinkAttribute::Xdp(xdp));
    let set = netlink.link().set(message).execute().await;
    set.map_err(|e| failed(namespace, "attach an XDP program", e))
}

async fn set_up(
    namespace: &Namespace,
    netlink: &rtnetlink::Handle,
    index: u32,
) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(index).up().build();
    let set = netlink.link().set(message).execute().await;
    set.map_err(|e| failed(namespace, "set an interface up", e))
}

fn failed(namespace: &Namespace, action: &'static str, source: rtnetlink::Error) -> Error {
    Error::Netlink { namespace: namespace.name().to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::testing::{Cleanup, is_root};
    use std::net::UdpSocket;
    use std::time::Duration;

    #[tokio::test]
    async fn hosts_reach_each_other_through_the_fabric_and_nothing_stays() {
        if !is_root() {
            return;
        }
        for (offloads, mtu) in [(Offloads::Wire, 1500), (Offloads::Default, 9000)] {
            let layout = Layout::new(&format!("fab-{}-{mtu}", std::process::id()));
            let cleanup = Cleanup::of(&layout);
            let options = LinkOptions { mtu, offloads, mode: Mode::Auto };
            let fabric = Fabric::create(layout.fabric_namespace(), options).await.unwrap();
            let hosts = ["h1", "h2", "h3"].map(|host| layout.host_namespace(host));
            for (index, host) in hosts.iter().enumerate() {
                fabric.add_host(host, u16::try_from(index).unwrap()).await.unwrap();
            }
            assert_eq!(layout.namespaces().unwrap().len(), 4);
            datagram_arrives(&hosts[0], &hosts[2], host_address(2), usize::from(mtu) - 28);
            datagram_arrives(&hosts[2], &hosts[1], host_address(1), 5000);
            drop(cleanup);
            assert_eq!(layout.namespaces().unwrap(), []);
        }
    }

    fn datagram_arrives(from: &Namespace, to: &Namespace, address: Ipv4Addr, length: usize) {
        let receiver = to.run(|| UdpSocket::bind((address, 9)).unwrap()).unwrap();
        let sender = from.run(|| UdpSocket::bind(("0.0.0.0", 0)).unwrap()).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sent = vec![7u8; length];
        sender.send_to(&sent, (address, 9)).unwrap();
        let mut received = vec![0u8; 65_536];
        let length = receiver.recv(&mut received).unwrap();
        assert_eq!(&received[..length], sent);
    }
}
