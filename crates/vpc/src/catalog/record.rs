//! Resources as they stand: what was asked for, and what was chosen.

use crate::manifest::{FleetSpec, HostSpec, Migration, NetworkSpec, TenantSpec, VpcSpec};
use crate::{Attachment, Generation, Kind, Labels, Mac, Name, NetworkId, Vni};
use serde::{Deserialize, Serialize};
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Derives what every record has.
macro_rules! records {
    ($($(#[$meta:meta])* pub struct $name:ident: $kind:ident { $($body:tt)* })*) => {
        /// One resource as it stands.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is named as its kind")]
        pub enum Record { $($kind($name)),* }

        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name {
                /// Its name.
                pub name: Name,
                /// Its labels.
                pub labels: Labels,
                /// When it was last written.
                pub revision: Generation,
                $($body)*
            }

            impl From<$name> for Record {
                fn from(record: $name) -> Self {
                    Self::$kind(record)
                }
            }
        )*

        impl Record {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }

            /// Its name.
            pub const fn name(&self) -> &Name {
                match self { $(Self::$kind(it) => &it.name),* }
            }

            /// When it was last written.
            pub const fn revision(&self) -> Generation {
                match self { $(Self::$kind(it) => it.revision),* }
            }

            /// Its labels.
            pub const fn labels(&self) -> &Labels {
                match self { $(Self::$kind(it) => &it.labels),* }
            }
        }
    };
}

records! {
    /// What all hosts have in common.
    pub struct FleetRecord: Fleet {
        /// What was asked for.
        pub spec: FleetSpec,
    }

    /// A host.
    pub struct HostRecord: Host {
        /// What was asked for.
        pub spec: HostSpec,
    }

    /// A tenant.
    pub struct TenantRecord: Tenant {
        /// What was asked for.
        pub spec: TenantSpec,
    }

    /// A VPC.
    pub struct VpcRecord: Vpc {
        /// What was asked for.
        pub spec: VpcSpec,
        /// Its number on the wire.
        pub vni: Vni,
    }

    /// A network.
    pub struct NetworkRecord: Network {
        /// What was asked for.
        pub spec: NetworkSpec,
        /// VNI of its VPC.
        pub vni: Vni,
        /// Its id, unique in the VPC.
        pub id: NetworkId,
        /// Its IPv4 gateway.
        pub v4_gateway: Option<Ipv4Addr>,
        /// Its IPv6 gateway.
        pub v6_gateway: Option<Ipv6Addr>,
    }

    /// An endpoint.
    pub struct EndpointRecord: Endpoint {
        /// VNI of its VPC.
        pub vni: Vni,
        /// Id of its network.
        pub network: NetworkId,
        /// Its host.
        pub host: Name,
        /// Its IPv4 address.
        pub v4: Option<Ipv4Addr>,
        /// Its IPv6 address.
        pub v6: Option<Ipv6Addr>,
        /// Its MAC address.
        pub mac: Mac,
        /// Which of these were asked for: bits [`ASKED_V4`](EndpointRecord::ASKED_V4) and so on.
        pub asked: u8,
        /// Orders truths about where it is.
        pub generation: Generation,
        /// How it is attached.
        pub attachment: Attachment,
        /// Where it is about to move.
        pub migration: Option<Box<Migration>>,
    }
}

impl Record {
    /// The endpoint that this is.
    pub const fn as_endpoint(&self) -> Option<&EndpointRecord> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        }
    }
}

impl EndpointRecord {
    /// The IPv4 address was asked for.
    pub const ASKED_V4: u8 = 1;
    /// The IPv6 address was asked for.
    pub const ASKED_V6: u8 = 2;
    /// The MAC address was asked for.
    pub const ASKED_MAC: u8 = 4;

    /// The hosts that have its interface: the one that it lives on, and the one that it is about to
    /// move to.
    pub fn hosts(&self) -> impl Iterator<Item = &Name> {
        iter::once(&self.host).chain(self.migration.iter().map(|migration| &migration.host))
    }

    /// Whether it is about to move to a host.
    pub fn migrates_to(&self, host: &Name) -> bool {
        self.migration.as_ref().is_some_and(|migration| migration.host == *host)
    }

    /// Whether this was asked for.
    pub const fn asked_for(&self, what: u8) -> bool {
        self.asked & what != 0
    }
}
