//! Resources as people and tools write and read them: manifests.
//!
//! ```yaml
//! kind: Endpoint
//! metadata: {name: web-1, vpc: blue, labels: {app: web}}
//! spec: {network: front, host: h1}
//! ```
//!
//! `spec` is what is asked for; what is left open there is chosen, and shown in `status` with how
//! things stand. A manifest as it was read may be written again: its status is not looked at.

use crate::{Generation, Labels, Name};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

mod read;
mod spec;
mod status;

pub use read::Head;
pub use spec::{
    EndpointSpec, FleetSpec, HostSpec, Migration, NetworkSpec, RoleSpec, SlotMapSpec, TagsSpec,
    TenantSpec, VpcSpec,
};
pub use status::{
    Condition, ConditionStatus, EndpointStatus, FleetStatus, HostStatus, NetworkStatus, Phase,
    SlotMapStatus, TagsStage, TagsStatus, TenantStatus, Timing, VpcStatus,
};

/// The version of the manifests.
pub const API_VERSION: &str = "mizar/v1";

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind")]
pub enum Manifest {
    /// What all hosts have in common; there is one, named `fleet`.
    Fleet(Object<FleetSpec, FleetStatus>),
    /// A machine of the underlay.
    Host(Object<HostSpec, HostStatus>),
    /// Somebody who owns VPCs.
    Tenant(Object<TenantSpec, TenantStatus>),
    /// An isolated address space.
    Vpc(Object<VpcSpec, VpcStatus>),
    /// A subnet of a VPC.
    Network(Object<NetworkSpec, NetworkStatus>),
    /// One interface in one network.
    Endpoint(Object<EndpointSpec, EndpointStatus>),
    /// Who holds the slots of a network: decided by the planner, read-only.
    SlotMap(Object<SlotMapSpec, SlotMapStatus>),
}

/// What every resource has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Object<S, T> {
    /// The version of the manifest: `mizar/v1`, which may be left out.
    #[serde(default)]
    pub api_version: ApiVersion,
    /// What it is called.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: S,
    /// How it stands.
    #[serde(default = "Option::default", skip_serializing_if = "Option::<T>::is_none")]
    pub status: Option<T>,
}

/// What a resource is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Its name, unique among those of its kind in its VPC or, without one, in the fleet.
    pub name: Name,
    /// The VPC that it is in: for networks, endpoints and slot maps only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<Name>,
    /// What tells it apart from others.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// When it was last written. A write that says this is refused if it was written since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<Generation>,
}

/// A kind of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Kind {
    /// See [`Manifest::Fleet`].
    Fleet,
    /// See [`Manifest::Host`].
    Host,
    /// See [`Manifest::Tenant`].
    Tenant,
    /// See [`Manifest::Vpc`].
    Vpc,
    /// See [`Manifest::Network`].
    Network,
    /// See [`Manifest::Endpoint`].
    Endpoint,
    /// See [`Manifest::SlotMap`].
    SlotMap,
}

/// Names one resource. As text: `endpoint blue/web-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ref {
    /// Its kind.
    pub kind: Kind,
    /// The VPC that it is in, if resources of this kind are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<Name>,
    /// Its name.
    pub name: Name,
}

/// A text that is no kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "kind {0:?} is unknown: it must be one of Fleet, Host, Tenant, Vpc, Network, Endpoint, SlotMap"
)]
pub struct KindError(pub String);

/// A version of manifests that this build does not know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("apiVersion {0:?} is unknown: it must be {API_VERSION}")]
pub struct ApiVersionError(pub String);

/// [`API_VERSION`], checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion;

impl Kind {
    /// All kinds, in an order in which nothing refers to what comes later.
    pub const ALL: [Self; 7] = [
        Self::Fleet,
        Self::Host,
        Self::Tenant,
        Self::Vpc,
        Self::Network,
        Self::Endpoint,
        Self::SlotMap,
    ];

    /// Its name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Host => "Host",
            Self::Tenant => "Tenant",
            Self::Vpc => "Vpc",
            Self::Network => "Network",
            Self::Endpoint => "Endpoint",
            Self::SlotMap => "SlotMap",
        }
    }

    /// Its name for one in a sentence and on the command line.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Host => "host",
            Self::Tenant => "tenant",
            Self::Vpc => "vpc",
            Self::Network => "network",
            Self::Endpoint => "endpoint",
            Self::SlotMap => "slotmap",
        }
    }

    /// Its name for many in paths of the API and on the command line.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Host => "hosts",
            Self::Tenant => "tenants",
            Self::Vpc => "vpcs",
            Self::Network => "networks",
            Self::Endpoint => "endpoints",
            Self::SlotMap => "slotmaps",
        }
    }

    /// Whether resources of this kind are in a VPC.
    pub const fn is_in_vpc(self) -> bool {
        matches!(self, Self::Network | Self::Endpoint | Self::SlotMap)
    }
}

impl Manifest {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Fleet(_) => Kind::Fleet,
            Self::Host(_) => Kind::Host,
            Self::Tenant(_) => Kind::Tenant,
            Self::Vpc(_) => Kind::Vpc,
            Self::Network(_) => Kind::Network,
            Self::Endpoint(_) => Kind::Endpoint,
            Self::SlotMap(_) => Kind::SlotMap,
        }
    }

    /// What it is called.
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::Fleet(it) => &it.metadata,
            Self::Host(it) => &it.metadata,
            Self::Tenant(it) => &it.metadata,
            Self::Vpc(it) => &it.metadata,
            Self::Network(it) => &it.metadata,
            Self::Endpoint(it) => &it.metadata,
            Self::SlotMap(it) => &it.metadata,
        }
    }

    /// The same, to be changed.
    pub const fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Fleet(it) => &mut it.metadata,
            Self::Host(it) => &mut it.metadata,
            Self::Tenant(it) => &mut it.metadata,
            Self::Vpc(it) => &mut it.metadata,
            Self::Network(it) => &mut it.metadata,
            Self::Endpoint(it) => &mut it.metadata,
            Self::SlotMap(it) => &mut it.metadata,
        }
    }

    /// The same without how it stands.
    #[must_use]
    pub fn without_status(mut self) -> Self {
        match &mut self {
            Self::Fleet(it) => it.status = None,
            Self::Host(it) => it.status = None,
            Self::Tenant(it) => it.status = None,
            Self::Vpc(it) => it.status = None,
            Self::Network(it) => it.status = None,
            Self::Endpoint(it) => it.status = None,
            Self::SlotMap(it) => it.status = None,
        }
        self
    }

    /// What names it.
    pub fn reference(&self) -> Ref {
        let Metadata { name, vpc, .. } = self.metadata();
        Ref { kind: self.kind(), vpc: vpc.clone(), name: name.clone() }
    }
}

impl<S, T> Object<S, T> {
    /// A resource of which nothing is known but what is asked for.
    pub fn new(metadata: Metadata, spec: S) -> Self {
        Self { api_version: ApiVersion, metadata, spec, status: None }
    }
}

impl Metadata {
    /// That of a resource without labels.
    pub fn new(vpc: Option<Name>, name: Name) -> Self {
        Self { name, vpc, labels: Labels::default(), resource_version: None }
    }
}

impl Ref {
    /// Names a resource that is in no VPC.
    pub fn global(kind: Kind, name: Name) -> Self {
        Self { kind, vpc: None, name }
    }

    /// Names a resource of a VPC.
    pub fn in_vpc(kind: Kind, vpc: Name, name: Name) -> Self {
        Self { kind, vpc: Some(vpc), name }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.singular())?;
        if let Some(vpc) = &self.vpc {
            write!(f, "{vpc}/")?;
        }
        write!(f, "{}", self.name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = KindError;

    /// Reads any of its names, in any case: `Vpc`, `vpcs`.
    fn from_str(text: &str) -> Result<Self, KindError> {
        let lower = text.to_ascii_lowercase();
        let found =
            Self::ALL.into_iter().find(|it| [it.singular(), it.plural()].contains(&&*lower));
        found.ok_or_else(|| KindError(text.to_owned()))
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = ApiVersionError;

    fn try_from(text: String) -> Result<Self, ApiVersionError> {
        if text == API_VERSION { Ok(Self) } else { Err(ApiVersionError(text)) }
    }
}

impl From<ApiVersion> for String {
    fn from(_: ApiVersion) -> Self {
        API_VERSION.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = r#"{
        "kind": "Endpoint",
        "metadata": {"name": "web-1", "vpc": "blue", "labels": {"app": "web"}},
        "spec": {"network": "front", "host": "h1",
            "attachment": {"veth": {"netns": "/run/n", "interface": "eth0"}}}}"#;

    #[test]
    fn a_manifest_is_read_and_written_again() {
        let manifest: Manifest = serde_json::from_str(ENDPOINT).unwrap();
        assert_eq!(manifest.reference().to_string(), "endpoint blue/web-1");
        let text = serde_json::to_string(&manifest).unwrap();
        assert!(text.contains("\"apiVersion\":\"mizar/v1\""), "{text}");
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    }

    #[test]
    fn unknown_fields_versions_and_kinds_are_refused() {
        let refusal = |from: &str, to: &str| {
            let text = ENDPOINT.replace(from, to);
            assert_ne!(text, ENDPOINT);
            serde_json::from_str::<Manifest>(&text).unwrap_err().to_string()
        };
        assert!(refusal("host", "hosst").contains("hosst"));
        let old = r#"Endpoint", "apiVersion": "v2""#;
        assert!(refusal(r#"Endpoint""#, old).contains("mizar/v1"));
        assert!(refusal("Endpoint", "Pod").contains("Pod"));
        assert!(refusal("web-1", "Web").contains("is no DNS label"));
    }

    #[test]
    fn kinds_are_read_by_all_their_names() {
        for kind in Kind::ALL {
            for name in [kind.as_str(), kind.singular(), kind.plural()] {
                assert_eq!(name.parse(), Ok(kind));
            }
        }
        assert_eq!("pods".parse::<Kind>(), Err(KindError("pods".to_owned())));
    }
}
