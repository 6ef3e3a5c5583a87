//! The file that describes a lab.
//!
//! Parsing it checks its shape; [`crate::plan`] checks what it says.

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a topology could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is no topology: the message says where and why.
    #[error("{origin}: {message}")]
    Parse {
        /// The file's name, or `topology`.
        origin: String,
        /// Line, column and what is wrong there.
        message: String,
    },
}

/// A lab: hosts, and the VPCs that live on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Name of the lab: a DNS label of at most 32 characters.
    pub lab: String,
    /// How the hosts are joined.
    #[serde(default)]
    pub underlay: Underlay,
    /// The hosts.
    pub hosts: Hosts,
    /// The VPCs.
    #[serde(default)]
    pub vpcs: Vec<Vpc>,
}

/// How the hosts are joined, and how the agents attach to the NICs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Underlay {
    /// MTU of every link, in bytes.
    pub mtu: u64,
    /// What the NICs take off the stack's hands.
    pub offloads: Offloads,
    /// How the programs attach to the NICs.
    pub mode: Mode,
}

impl Default for Underlay {
    fn default() -> Self {
        Self { mtu: 1500, offloads: Offloads::Wire, mode: Mode::Auto }
    }
}

/// What the NICs of the hosts take off the stack's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offloads {
    /// Frames as on a real wire: finished checksums, no longer than the MTU; merged on receipt.
    Wire,
    /// As a veth does by default: buffers of up to 64 KB with unfinished checksums.
    Default,
}

/// How the agents attach their programs to the NICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The agent chooses.
    Auto,
    /// XDP in the driver.
    Native,
    /// XDP in the stack.
    Generic,
    /// No XDP, tc only.
    Tc,
}

impl Mode {
    /// As the agent's command line spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }
}

/// The hosts: their names, or how many there are, then named `h1`, `h2`, ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// So many.
    Count(u64),
    /// These.
    Names(Vec<String>),
}

/// An isolated address space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vpc {
    /// Its name: a DNS label.
    pub name: String,
    /// Its number on the wire, 1 to 16777215.
    pub vni: u64,
    /// The hosts that divide traffic between its networks, 1 to 8; chosen if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dividers: Option<Vec<String>>,
    /// Its networks.
    #[serde(default)]
    pub networks: Vec<Network>,
}

/// A subnet of a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name: a DNS label, unique in the VPC.
    pub name: String,
    /// Its IPv4 prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<String>,
    /// Its IPv6 prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<String>,
    /// The hosts that hold its endpoint table; chosen if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bouncers: Option<Vec<String>>,
    /// How many of the bouncers hold each slot of the table; two, or one if there is one bouncer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// Its endpoints.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// An interface of a guest, or of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Its name: a DNS label, unique in the VPC.
    pub name: String,
    /// The host it lives on.
    pub host: String,
    /// Its IPv4 address; chosen if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<String>,
    /// Its IPv6 address; chosen if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<String>,
    /// Its MAC address; chosen if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// What it is an interface of.
    #[serde(default, skip_serializing_if = "Attach::is_veth")]
    pub attach: Attach,
    /// What the host reaches by way of the network's gateway, besides the network itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

/// What an endpoint is an interface of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// A guest with a namespace of its own.
    #[default]
    Veth,
    /// The host itself; the interface has the endpoint's name.
    Host,
}

impl Attach {
    fn is_veth(&self) -> bool {
        *self == Self::Veth
    }
}

impl Topology {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no topology.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        serde_saphyr::from_str(text)
            .map_err(|error| Error::Parse { origin: origin.to_owned(), message: error.to_string() })
    }
}

impl FromStr for Topology {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, "topology")
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => count.serialize(serializer),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostsVisitor;

        impl<'de> Visitor<'de> for HostsVisitor {
            type Value = Hosts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of host names, or how many hosts there are")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Hosts, E> {
                Ok(Hosts::Count(count))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Hosts, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(Hosts::Names(names))
            }
        }

        deserializer.deserialize_any(HostsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
lab: small
hosts: 2
vpcs:
  - name: blue
    vni: 7
    dividers: [h1]
    networks:
      - name: web
        v4: 10.0.0.0/24
        bouncers: [h1]
        endpoints:
          - {name: a, host: h1}
          - {name: b, host: h2, v4: 10.0.0.9}
";

    #[test]
    fn what_is_left_out_has_its_default() {
        let topology: Topology = SMALL.parse().unwrap();
        assert_eq!(topology.underlay, Underlay::default());
        assert_eq!(topology.hosts, Hosts::Count(2));
        assert_eq!(topology.vpcs[0].networks[0].replicas, None);
        assert_eq!(topology.vpcs[0].networks[0].endpoints[0].attach, Attach::Veth);
    }

    #[test]
    fn what_is_stored_reads_back_as_the_same() {
        let topology: Topology = SMALL.parse().unwrap();
        let stored = serde_json::to_string(&topology).unwrap();
        assert_eq!(serde_json::from_str::<Topology>(&stored).unwrap(), topology);
    }

    #[test]
    fn misshapen_files_are_refused_with_the_place() {
        let cases = [
            ("lab: x\nhosts: 2\nhost: 3\n", "unknown field", "host"),
            ("lab: x\n", "missing field", "hosts"),
            ("lab: x\nlab: y\nhosts: 1\n", "duplicate", "lab"),
            ("lab: x\nhosts: many\n", "list of host names", "many"),
            ("lab: x\nhosts: 2\nunderlay: {offloads: some}\n", "wire", "some"),
            ("lab: x\nhosts: 2\nunderlay: {mtu: small}\n", "mtu", "small"),
            (
                "lab: x\nhosts: 1\nvpcs: [{name: b, vni: 1, networks: [{name: w, endpoints: \
                 [{name: a, host: h1, attach: tap}]}]}]\n",
                "veth",
                "tap",
            ),
            ("lab: x\nhosts: -1\n", "list of host names", "-1"),
            ("lab: [\n", "line", ""),
        ];
        for (text, expected, value) in cases {
            let message = text.parse::<Topology>().unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(value), "{text}: {message}");
        }
    }
}
