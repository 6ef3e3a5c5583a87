//! What is asked for.

#[cfg(feature = "schema")]
use crate::schema::prefix;
use crate::{Attachment, Mac, Name, Replicas, Selector, Vni};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// Derives what every spec has.
macro_rules! specs {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub struct $name { $($body)* }
    )* };
}

specs! {
    /// What all hosts have in common.
    #[derive(Default)]
    pub struct FleetSpec {
        /// The underlay prefixes that hold all hosts, 1 to 8. Packets from elsewhere are dropped.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<prefix::Any>"))]
        pub prefixes: Vec<IpNet>,
        /// How what hosts say of locations is proven to come from hosts.
        #[serde(default, skip_serializing_if = "TagsSpec::is_usual")]
        pub tags: TagsSpec,
    }

    /// Keyed tags: by them, hosts believe of locations only what other hosts say.
    pub struct TagsSpec {
        /// Whether hosts sign what they say, and believe nothing else once all do; by default yes.
        #[serde(default = "TagsSpec::usually_enabled")]
        pub enabled: bool,
        /// How long a key is signed with, in hours; by default 24. It is believed for twice as long
        /// more.
        #[serde(default = "TagsSpec::usual_hours")]
        pub hours: NonZeroU16,
        /// Another number than before has the next key used at once; 0, or none: as before.
        #[serde(default)]
        pub turn: u32,
    }

    /// A machine of the underlay.
    pub struct HostSpec {
        /// Its underlay address, unique in the fleet.
        pub underlay: IpAddr,
        /// What fails together: the holders of a slot are spread over zones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub zone: Option<Name>,
        /// Its share of slots, relative to others; by default 100. 0: it holds none.
        #[serde(default = "HostSpec::default_weight")]
        pub weight: u32,
        /// It takes on no slots and gives up those it has, and no new endpoints are placed on it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub cordoned: bool,
    }

    /// Somebody who owns VPCs.
    #[derive(Default)]
    pub struct TenantSpec {
        /// The hosts on which its endpoints may be created, by their labels; by default all.
        #[serde(default)]
        pub hosts: Selector,
        /// Most endpoints in all its VPCs; by default any number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_endpoints: Option<u64>,
        /// Whether its endpoints may be hosts themselves: interfaces in the hosts' own network
        /// namespaces, with routes there.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub host_endpoints: bool,
    }

    /// An isolated address space.
    #[derive(Default)]
    pub struct VpcSpec {
        /// Who owns it; by default the operators.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tenant: Option<Name>,
        /// Its number on the wire, unique in the fleet; by default the next one that is free, where
        /// those that were released lately come last. Only operators ask for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub vni: Option<Vni>,
        /// Most locations that one host may learn in it; by default 4,096, a
        /// quarter of what hosts have room for unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub quota: Option<u32>,
        /// The hosts that divide its traffic between its networks; by default two.
        #[serde(default, skip_serializing_if = "RoleSpec::is_automatic")]
        pub dividers: RoleSpec,
    }

    /// A subnet of a VPC. It has at least one of both prefixes.
    #[derive(Default)]
    pub struct NetworkSpec {
        /// IPv4 prefix, /8 to /30.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<prefix::V4>"))]
        pub v4: Option<Ipv4Net>,
        /// IPv6 prefix, /16 to /126.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<prefix::V6>"))]
        pub v6: Option<Ipv6Net>,
        /// IPv4 gateway; by default the first address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub v4_gateway: Option<Ipv4Addr>,
        /// IPv6 gateway; by default the first address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub v6_gateway: Option<Ipv6Addr>,
        /// How many bouncers hold each slot, 1 to 4; by default 2.
        #[serde(default)]
        pub replicas: Replicas,
        /// The hosts that hold its slots; by default as many as its endpoints and load ask for.
        #[serde(default, skip_serializing_if = "RoleSpec::is_automatic")]
        pub bouncers: RoleSpec,
    }

    /// One interface in one network. It has an address of each family that its network has.
    pub struct EndpointSpec {
        /// Its network, of the same VPC.
        pub network: Name,
        /// The host that it lives on.
        pub host: Name,
        /// IPv4 address; by default a free one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub v4: Option<Ipv4Addr>,
        /// IPv6 address; by default a free one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub v6: Option<Ipv6Addr>,
        /// MAC address, unique in the VPC; by default derived from VNI and address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub mac: Option<Mac>,
        /// How it is attached.
        pub attachment: Attachment,
        /// The host that it is about to move to, and how it is attached there: that is done
        /// already, while it lives where it lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub migration: Option<Box<Migration>>,
    }

    /// Who holds the slots of a network.
    #[derive(Default)]
    pub struct SlotMapSpec {
        /// Counts its changes.
        pub epoch: u64,
    }
}

/// Where an endpoint is about to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migration {
    /// The host that it is going to live on.
    pub host: Name,
    /// How it is attached there.
    pub attachment: Attachment,
}

/// Which hosts have a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RoleSpec {
    /// As many as are needed, chosen by the planner.
    #[default]
    Auto,
    /// That many, chosen by the planner.
    Count(u16),
    /// These.
    Hosts(Vec<Name>),
}

impl TagsSpec {
    const HOURS: NonZeroU16 = NonZeroU16::new(24).expect("a day has hours");

    fn usual_hours() -> NonZeroU16 {
        Self::HOURS
    }

    fn usually_enabled() -> bool {
        true
    }

    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TagsSpec {
    fn default() -> Self {
        Self { enabled: true, hours: Self::HOURS, turn: 0 }
    }
}

impl HostSpec {
    /// The weight of a host that does not say.
    pub const DEFAULT_WEIGHT: u32 = 100;

    fn default_weight() -> u32 {
        Self::DEFAULT_WEIGHT
    }
}

impl VpcSpec {
    /// Locations that one host may learn in a VPC that does not say.
    pub const DEFAULT_QUOTA: u32 = 4096;

    /// Most locations that one host may learn in it.
    pub fn quota(&self) -> u32 {
        self.quota.unwrap_or(Self::DEFAULT_QUOTA)
    }
}

impl RoleSpec {
    /// Whether all is left to the planner.
    pub fn is_automatic(&self) -> bool {
        *self == Self::Auto
    }
}
