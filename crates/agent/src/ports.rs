//! The guests' interfaces on this host.

use crate::netlink::{self, EndpointSpec, GuestAddress, Netlink, Outcome};
use ipnet::IpNet;
use mizar_vpc::{Attachment, Name, NetworkRow, PortRow, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use tracing::info;

/// Attaches and detaches guests, and remembers which interface is whose.
#[derive(Debug)]
pub(crate) struct Ports {
    netlink: Netlink,
    trampoline: OwnedFd,
    attached: BTreeMap<(Vni, Name), AttachedPort>,
}

#[derive(Debug)]
struct AttachedPort {
    /// None if it was found at the start.
    spec: Option<EndpointSpec>,
    interface: u32,
}

impl Ports {
    /// Takes over the interfaces of an earlier agent of this instance.
    pub(crate) async fn recover(netlink: Netlink, trampoline: OwnedFd) -> netlink::Result<Self> {
        let mut attached = BTreeMap::new();
        for found in netlink.list_endpoints().await? {
            // Interfaces are named by checked names: others are not ours.
            if let (Ok(vni), Ok(name)) = (Vni::try_from(found.vni), found.name.parse::<Name>()) {
                let port = AttachedPort { spec: None, interface: found.interface };
                attached.insert((vni, name), port);
            }
        }
        Ok(Self { netlink, trampoline, attached })
    }

    /// Attaches a guest unless it is attached just so; the interface index of the host's end.
    pub(crate) async fn attach(
        &mut self,
        vni: Vni,
        name: &Name,
        port: &PortRow,
        network: &NetworkRow,
        mtu: u16,
    ) -> netlink::Result<u32> {
        let spec = spec(vni, name, port, network, mtu);
        let key = (vni, name.clone());
        if let Some(there) =
            self.attached.get(&key).filter(|there| there.spec.as_ref() == Some(&spec))
        {
            return Ok(there.interface);
        }
        let attached = self.netlink.attach_endpoint(&spec, &self.trampoline).await?;
        let took: std::time::Duration = attached.steps.iter().map(|(_, time)| *time).sum();
        if attached.outcome != Outcome::Kept {
            info!(%vni, endpoint = %name, interface = attached.interface, ?took, "guest attached");
        }
        let interface = attached.interface;
        self.attached.insert(key, AttachedPort { spec: Some(spec), interface });
        Ok(interface)
    }

    /// Detaches a guest, if it is attached.
    pub(crate) async fn detach(&mut self, vni: Vni, name: &Name) -> netlink::Result<()> {
        let was = self.netlink.detach_endpoint(vni.get(), name.as_str()).await?;
        self.attached.remove(&(vni, name.clone()));
        if was {
            info!(%vni, endpoint = %name, "guest detached");
        }
        Ok(())
    }

    /// VPCs with guests that are attached.
    pub(crate) fn vnis(&self) -> BTreeSet<Vni> {
        self.attached.keys().map(|(vni, _)| *vni).collect()
    }

    /// Interface index of the host's end of a guest's link.
    pub(crate) fn interface(&self, vni: Vni, name: &Name) -> Option<u32> {
        Some(self.attached.get(&(vni, name.clone()))?.interface)
    }

    /// Names of the guests of a VPC that are attached.
    pub(crate) fn of(&self, vni: Vni) -> Vec<Name> {
        let keys = self.attached.keys().filter(|(of, _)| *of == vni);
        keys.map(|(_, name)| name.clone()).collect()
    }

    /// Forgets an interface that is gone; the VPC whose guest it was.
    pub(crate) fn gone(&mut self, interface: u32) -> Option<Vni> {
        let key = self.attached.iter().find(|(_, port)| port.interface == interface)?.0.clone();
        self.attached.remove(&key);
        Some(key.0)
    }
}

fn spec(vni: Vni, name: &Name, port: &PortRow, network: &NetworkRow, mtu: u16) -> EndpointSpec {
    let Attachment::Veth { netns, interface } = &port.attachment;
    let v4 = port.v4.zip(network.v4).map(|(address, prefix)| {
        guest(address.into(), prefix.prefix_len(), network.v4_gateway.map(IpAddr::V4))
    });
    let v6 = port.v6.zip(network.v6).map(|(address, prefix)| {
        guest(address.into(), prefix.prefix_len(), network.v6_gateway.map(IpAddr::V6))
    });
    EndpointSpec {
        vni: vni.get(),
        name: name.to_string(),
        namespace: netns.clone(),
        interface: interface.clone(),
        mac: port.mac.octets(),
        mtu: u32::from(mtu),
        addresses: [v4, v6].into_iter().flatten().flatten().collect(),
    }
}

fn guest(address: IpAddr, length: u8, gateway: Option<IpAddr>) -> Option<GuestAddress> {
    // A prefix of the same family has no length that the address could not have.
    Some(GuestAddress { address: IpNet::new(address, length).ok()?, gateway })
}
