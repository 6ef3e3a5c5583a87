//! Endpoints as specified, as attached and as found.

use super::error::{Error, Result};
use super::guest::GuestAddress;
use super::link::Link;
use super::route::Route;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes of `IFALIASZ` without the terminating zero.
const ALIAS_MAX: usize = 255;
/// Bytes of `IFNAMSIZ` without the terminating zero.
const INTERFACE_MAX: usize = 15;
/// The smallest MTU that IPv4 allows (RFC 791), and IPv6 (RFC 8200).
const MTU_MIN: u32 = 68;
const V6_MTU_MIN: u32 = 1280;
const MTU_MAX: u32 = 65_535;

/// What an endpoint's interface must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// VNI of its VPC.
    pub vni: u32,
    /// Its name, unique in the VPC.
    pub name: String,
    /// Interface index that the host's end must have; 0 if any will do.
    pub index: u32,
    /// Where the guest's end is.
    pub end: GuestEnd,
    /// Name of the interface there.
    pub interface: String,
    /// The guest's MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet that the guest may send, in bytes.
    pub mtu: u32,
    /// The guest's addresses and gateways, at most one gateway for IPv4 and one for IPv6.
    pub addresses: Vec<GuestAddress>,
}

/// Where the guest's end of an endpoint's link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestEnd {
    /// In the network namespace with this path. The guest's default routes are by way of the
    /// gateways.
    Namespace(PathBuf),
    /// In the host's own namespace, beside the host's own interfaces and routes, which stay as they
    /// are.
    Host {
        /// What the host reaches by way of the gateway of the same family.
        routes: Vec<IpNet>,
    },
}

/// A step of attaching or detaching an endpoint, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Check what is asked for.
    Check,
    /// Open the namespace of the guest's end and a socket in it.
    Namespace,
    /// See what is there already.
    LookUp,
    /// Remove a link that is ours and wrong, or no longer wanted.
    Remove,
    /// Create the link, its guest's end in the guest's namespace.
    Create,
    /// Set what identifies the host's end and keeps the host's stack away from it.
    HostEnd,
    /// Attach the program to the host's end, before any frame can come in.
    Filter,
    /// Set the guest's end: MAC address, MTU, offloads.
    GuestEnd,
    /// Set both ends up.
    Up,
    /// Set the guest's addresses.
    Addresses,
    /// Set the guest's routes.
    Routes,
}

/// How an endpoint came to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its link was made.
    Created,
    /// Its link was there.
    Kept,
    /// A link of its name was there, was wrong, and was made anew.
    Remade,
}

/// An endpoint that is attached.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Interface index of the host's end.
    pub interface: u32,
    /// How it came about.
    pub outcome: Outcome,
    /// How long each step took.
    pub steps: Vec<(Step, Duration)>,
}

/// An endpoint that was found on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEndpoint {
    /// VNI of its VPC.
    pub vni: u32,
    /// Its name.
    pub name: String,
    /// Interface index of the host's end.
    pub interface: u32,
    /// Whether the host's end is up.
    pub up: bool,
}

impl EndpointSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field, its value and what would be right.
    pub(super) fn check(&self, instance: &str) -> Result<()> {
        let name_fits = !self.name.is_empty()
            && !self.name.contains('\0')
            && alias(instance, self.vni, &self.name).len() <= ALIAS_MAX;
        require(name_fits, "name", &self.name, "1 to about 200 bytes long")?;
        require(is_interface(&self.interface), "interface", &self.interface, INTERFACE_NAME)?;
        let mac = self.mac.map(|byte| format!("{byte:02x}")).join(":");
        let unicast = self.mac[0] & 1 == 0 && self.mac != [0; 6];
        require(unicast, "mac", &mac, "a unicast address")?;
        let v6 = self.addresses.iter().any(|guest| guest.address.addr().is_ipv6());
        let (mtu_min, expected) =
            if v6 { (V6_MTU_MIN, "1280 to 65535 for IPv6") } else { (MTU_MIN, "68 to 65535") };
        require((mtu_min..=MTU_MAX).contains(&self.mtu), "mtu", &self.mtu, expected)?;
        for is_v6 in [false, true] {
            let gateways = self.addresses.iter().filter_map(|guest| guest.gateway);
            let more = gateways.filter(|gateway| gateway.is_ipv6() == is_v6).nth(1);
            let more = more.map(|gateway| gateway.to_string()).unwrap_or_default();
            require(more.is_empty(), "gateway", &more, "the only one of its family")?;
        }
        self.addresses.iter().try_for_each(check_address)?;
        let GuestEnd::Host { routes } = &self.end else { return Ok(()) };
        routes.iter().try_for_each(|route| {
            let routed = route.prefix_len() != 0 && self.gateway(route.addr()).is_some();
            require(
                routed,
                "routes",
                route,
                "a prefix of a family with a gateway, and not all of it",
            )
        })
    }

    /// The gateway of an address's family.
    fn gateway(&self, address: IpAddr) -> Option<IpAddr> {
        let mut gateways = self.addresses.iter().filter_map(|guest| guest.gateway);
        gateways.find(|gateway| gateway.is_ipv4() == address.is_ipv4())
    }

    /// What the guest reaches by way of gateways.
    pub(super) fn routes(&self) -> Vec<Route> {
        match &self.end {
            GuestEnd::Namespace(_) => {
                let gateways = self.addresses.iter().filter_map(|guest| guest.gateway);
                gateways.map(Route::default_by).collect()
            }
            GuestEnd::Host { routes } => {
                let to = |&destination: &IpNet| {
                    Some(Route { destination, gateway: self.gateway(destination.addr())? })
                };
                routes.iter().filter_map(to).collect()
            }
        }
    }

    /// `<VNI>/<name>`, as errors call it.
    pub(super) fn label(&self) -> String {
        label(self.vni, &self.name)
    }
}

/// Name of the host's end: the same for the same endpoint, whoever computes it.
///
/// `mz` and 52 bits of a hash in hexadecimal: 15 bytes, the most that a name may have.
pub fn host_interface(vni: u32, name: &str) -> String {
    let hash = fnv(vni.to_be_bytes().into_iter().chain(name.bytes()));
    format!("mz{:013x}", (hash ^ (hash >> 52)) & ((1 << 52) - 1))
}

/// FNV-1a of 64 bits.
pub(super) fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The alias that says which endpoint of which agent an interface belongs to.
pub(super) fn alias(instance: &str, vni: u32, name: &str) -> String {
    format!("mizar:{instance}:{vni}:{name}")
}

/// The endpoint that an interface belongs to, if it is one of this instance.
pub(super) fn found(instance: &str, link: &Link) -> Option<FoundEndpoint> {
    let mut fields = link.alias.as_ref()?.splitn(4, ':');
    if fields.next()? != "mizar" || fields.next()? != instance {
        return None;
    }
    let vni = fields.next()?.parse().ok()?;
    let name = fields.next()?.to_owned();
    Some(FoundEndpoint { vni, name, interface: link.index, up: link.up })
}

/// Checks the name that tells several agents' interfaces apart.
///
/// # Errors
/// [`Error::Invalid`].
pub(super) fn check_instance(instance: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = (1..=32).contains(&instance.len()) && instance.chars().all(plain);
    require(fits, "instance", &instance, "1 to 32 letters, digits and hyphens")
}

/// `<VNI>/<name>`, as errors call an endpoint.
pub(super) fn label(vni: u32, name: &str) -> String {
    format!("{vni}/{name}")
}

/// The steps taken so far for one endpoint.
pub(super) struct Steps {
    endpoint: String,
    taken: Vec<(Step, Duration)>,
}

impl Steps {
    pub(super) fn of(endpoint: String) -> Self {
        Self { endpoint, taken: Vec::new() }
    }

    /// Takes a step and notes its time; an error names the endpoint and the step.
    pub(super) fn take<T>(&mut self, step: Step, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let result = act();
        self.taken.push((step, start.elapsed()));
        result.map_err(|source| Error::Endpoint {
            endpoint: self.endpoint.clone(),
            step,
            source: Box::new(source),
        })
    }

    pub(super) fn into_times(self) -> Vec<(Step, Duration)> {
        self.taken
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "checking what is asked for",
            Self::Namespace => "opening the guest's namespace",
            Self::LookUp => "looking up what is there",
            Self::Remove => "removing the link",
            Self::Create => "creating the link",
            Self::HostEnd => "setting the host's end",
            Self::Filter => "attaching the program",
            Self::GuestEnd => "setting the guest's end",
            Self::Up => "setting both ends up",
            Self::Addresses => "setting the guest's addresses",
            Self::Routes => "setting the guest's routes",
        })
    }
}

const INTERFACE_NAME: &str = "1 to 15 bytes without spaces, '/' and ':'";

fn is_interface(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '/' | ':' | '\0');
    (1..=INTERFACE_MAX).contains(&name.len())
        && name.chars().all(plain)
        && !matches!(name, "." | "..")
}

fn check_address(guest: &GuestAddress) -> Result<()> {
    let address = guest.address.addr();
    let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    require(usable, "address", &guest.address, "a unicast address")?;
    let Some(gateway) = guest.gateway else { return Ok(()) };
    let on_link = gateway != address && guest.address.contains(&gateway);
    let expected = match address {
        IpAddr::V4(_) => "another address of the IPv4 network",
        IpAddr::V6(_) => "another address of the IPv6 network",
    };
    require(on_link, "gateway", &gateway, expected)
}

fn require(
    holds: bool,
    field: &'static str,
    value: &impl ToString,
    expected: &'static str,
) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Invalid { field, value: value.to_string(), expected }) }
}
