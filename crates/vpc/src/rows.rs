//! What each host must know: the rows that the planner computes and the agent installs.
//!
//! A host's rows are divided by VPC, since nothing in one VPC depends on another: each VPC is
//! updated, acknowledged and resumed on its own. Rows speak of hosts by their underlay address and
//! of networks by their id, which is unique in its VPC only; the indices of the kernel's tables are
//! the agent's own affair.

use crate::catalog::EndpointRecord;
use crate::rendezvous::{hash, mix, ranking};
use crate::slot_map::check_slots;
use crate::{
    Attachment, AttachmentError, Generation, Mac, Name, NetworkId, Slot, SlotMapError, TagKeys, Vni,
};
use ipnet::{Ipv4Net, Ipv6Net};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod full;
#[cfg(test)]
mod tests;
mod view;
pub use full::{RowsError, rows};
pub use view::{Row, View};

/// Everything one host is told.
pub type HostRows = BTreeMap<Vni, VpcRows>;

/// Everything one host is told about one VPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpcRows {
    /// Underlay addresses of the dividers, in this host's order of preference.
    pub dividers: Vec<IpAddr>,
    /// Most locations that this host may learn.
    pub quota: u32,
    /// The keys of the VPC's locations; None: nothing is signed. Planning knows none: whoever
    /// sends rows adds them.
    pub keys: Option<TagKeys>,
    /// The networks that this host sends to, bounces or divides for.
    pub networks: BTreeMap<NetworkId, NetworkRow>,
    /// The endpoints that live on this host, or are about to move to it.
    pub ports: BTreeMap<Name, PortRow>,
    /// The endpoints that this host holds as a bouncer. None of them lives on this host: its port
    /// says all that the bouncer must know.
    pub held: BTreeMap<IpAddr, HeldRow>,
}

/// A network: its prefixes and who holds its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    /// IPv4 prefix.
    pub v4: Option<Ipv4Net>,
    /// IPv6 prefix.
    pub v6: Option<Ipv6Net>,
    /// Gateway inside the IPv4 prefix.
    pub v4_gateway: Option<Ipv4Addr>,
    /// Gateway inside the IPv6 prefix.
    pub v6_gateway: Option<Ipv6Addr>,
    /// For each of the 256 slots, the holders' underlay addresses in order of preference (1 to 4).
    pub holders: SlotHolders,
}

/// The holders of each slot: a table of hosts, and for each slot indices into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHolders {
    /// The distinct holders.
    pub hosts: Vec<IpAddr>,
    /// 256 lists of indices into `hosts`.
    pub slots: Vec<Vec<u16>>,
}

impl SlotHolders {
    /// Checks that this is one list of 1 to 4 distinct indices for each slot.
    pub fn check(&self) -> Result<(), SlotMapError> {
        check_slots(&self.hosts, &self.slots)
    }

    /// The holders of `slot` in order of preference; none if the table is malformed there.
    pub fn holders(&self, slot: Slot) -> impl Iterator<Item = IpAddr> {
        let indices = self.slots.get(slot.index()).map_or(&[][..], Vec::as_slice);
        indices.iter().filter_map(|&host| self.hosts.get(usize::from(host)).copied())
    }
}

/// An endpoint on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// Its network.
    pub network: NetworkId,
    /// Its MAC address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Option<Ipv6Addr>,
    /// Orders truths about it.
    pub generation: Generation,
    /// How it is attached.
    pub attachment: Attachment,
    /// This host's part in its migration, if it is about to move.
    pub migration: Option<PortMigration>,
}

/// A host's part in the migration of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortMigration {
    /// It lives here until it moves to that host: from then on, what still comes for it is sent on
    /// there.
    To(IpAddr),
    /// It will live here: its interface is there already and may send, and nothing is delivered to
    /// it yet.
    Here,
}

impl PortMigration {
    /// The host that the endpoint moves to from here.
    pub const fn target(self) -> Option<IpAddr> {
        match self {
            Self::To(host) => Some(host),
            Self::Here => None,
        }
    }
}

impl PortRow {
    /// Checks that it can be attached as it says.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn check_attachment(&self) -> Result<(), AttachmentError> {
        self.attachment.check(self.v4.is_some(), self.v6.is_some())
    }

    /// Its addresses of both families.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        both(self.v4, self.v6)
    }

    /// Whether it lives here, and not only will.
    pub fn lives_here(&self) -> bool {
        self.migration != Some(PortMigration::Here)
    }

    /// The row of an endpoint on one of its hosts; `underlay` knows the hosts.
    fn of(
        endpoint: &EndpointRecord,
        host: &Name,
        underlay: impl FnOnce(&Name) -> Option<IpAddr>,
    ) -> Self {
        let (attachment, migration) = match &endpoint.migration {
            Some(target) if target.host == *host => (&target.attachment, Some(PortMigration::Here)),
            Some(target) => (&endpoint.attachment, underlay(&target.host).map(PortMigration::To)),
            None => (&endpoint.attachment, None),
        };
        Self {
            network: endpoint.network,
            mac: endpoint.mac,
            v4: endpoint.v4,
            v6: endpoint.v6,
            generation: endpoint.generation,
            attachment: attachment.clone(),
            migration,
        }
    }
}

/// An endpoint elsewhere that this host bounces for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Underlay address of its host.
    pub host: IpAddr,
    /// Orders truths about it.
    pub generation: Generation,
}

/// The indices of a VPC's dividers in the order in which `host` prefers them: itself, if it is one,
/// then the others in an order of its own, so that load spreads.
fn divider_order(vni: Vni, host: &Name, dividers: &[Name]) -> Vec<usize> {
    let key = mix(hash(host) ^ u64::from(vni.get()));
    let mut order = ranking(key, dividers);
    order.sort_by_key(|&index| dividers[index] != *host);
    order
}

fn both(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> impl Iterator<Item = IpAddr> {
    v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6))
}
