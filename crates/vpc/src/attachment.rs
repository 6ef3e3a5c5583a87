//! How endpoints are attached to their hosts.

use crate::Problem;
use crate::prefix::check_route;
#[cfg(feature = "schema")]
use crate::schema::prefix;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How an endpoint is attached to its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Attachment {
    /// A veth whose guest end is created directly in a network namespace.
    Veth {
        /// Path of the guest's network namespace.
        netns: PathBuf,
        /// Name of the interface there.
        interface: String,
    },
    /// An interface in the host's own network namespace: the endpoint is the host itself.
    Host {
        /// Name of the interface; no other interface of the host may have it.
        interface: String,
        /// What the host reaches by way of the network's gateway, besides the network itself: at
        /// most 64 prefixes, and no default route.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[cfg_attr(feature = "schema", schemars(with = "Vec<prefix::Any>"))]
        routes: Vec<IpNet>,
    },
}

/// Why an endpoint cannot be attached like that.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttachmentError {
    /// The namespace's path is relative, or holds a zero byte.
    #[error("netns {0:?} is no absolute path: it must be one, as in /run/netns/guest")]
    Netns(PathBuf),
    /// Linux refuses such a name.
    #[error(
        "interface {0:?} is no interface name: it must have 1 to 15 visible ASCII characters \
         without '/', ':' and '%', as in eth0"
    )]
    Interface(String),
    /// The agent names its own interfaces like that.
    #[error(
        "interface {0:?} is a name as agents choose them for their own ends of links, mz and 13 \
         hexadecimal digits: choose another, as in vpc0"
    )]
    ReservedInterface(String),
    /// Too many routes.
    #[error("routes: {0}")]
    Routes(Box<Problem>),
    /// A route that a host must not have.
    #[error("routes[{index}]: {problem}")]
    Route {
        /// Its place in the list.
        index: usize,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
}

impl Attachment {
    /// Most routes of one interface.
    pub const MOST_ROUTES: usize = 64;

    /// Whether the endpoint is the host itself.
    pub const fn is_host(&self) -> bool {
        matches!(self, Self::Host { .. })
    }

    /// What a host reaches by way of the network's gateway, besides the network itself.
    pub fn routes(&self) -> &[IpNet] {
        match self {
            Self::Veth { .. } => &[],
            Self::Host { routes, .. } => routes,
        }
    }

    /// Checks that an endpoint with an address of these families can be attached like that.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn check(&self, has_v4: bool, has_v6: bool) -> Result<(), AttachmentError> {
        match self {
            Self::Veth { netns, interface } => {
                check_netns(netns)?;
                check_interface(interface)
            }
            Self::Host { interface, routes } => {
                check_interface(interface)?;
                if is_agents_own(interface) {
                    return Err(AttachmentError::ReservedInterface(interface.clone()));
                }
                check_routes(routes, has_v4, has_v6)
            }
        }
    }
}

fn check_netns(netns: &Path) -> Result<(), AttachmentError> {
    let is_path = netns.is_absolute() && !netns.as_os_str().as_encoded_bytes().contains(&0);
    if is_path { Ok(()) } else { Err(AttachmentError::Netns(netns.to_owned())) }
}

fn check_interface(name: &str) -> Result<(), AttachmentError> {
    let visible = |b: u8| b.is_ascii_graphic() && !b"/:%".contains(&b);
    let legal = (1..=15).contains(&name.len())
        && name.bytes().all(visible)
        && !matches!(name, "." | ".." | "all" | "default");
    if legal { Ok(()) } else { Err(AttachmentError::Interface(name.to_owned())) }
}

/// Whether an agent may name its own end of an endpoint's link so.
fn is_agents_own(name: &str) -> bool {
    let hash = name.strip_prefix("mz").unwrap_or_default();
    hash.len() == 13 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_routes(routes: &[IpNet], has_v4: bool, has_v6: bool) -> Result<(), AttachmentError> {
    let count = Problem::check_count(routes.len(), 0, Attachment::MOST_ROUTES);
    count.map_err(|problem| AttachmentError::Routes(Box::new(problem)))?;
    for (index, &route) in routes.iter().enumerate() {
        let at = |problem| AttachmentError::Route { index, problem: Box::new(problem) };
        check_route(route).map_err(at)?;
        let (has_family, family) =
            if route.addr().is_ipv4() { (has_v4, "IPv4") } else { (has_v6, "IPv6") };
        if !has_family {
            return Err(at(Problem::NoFamily { value: route.to_string(), family }));
        }
        if let Some(other) = routes[..index].iter().position(|other| *other == route) {
            let (value, by) = (route.to_string(), format!("routes[{other}]"));
            return Err(at(Problem::Taken { value, by }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veth(netns: &str, interface: &str) -> Attachment {
        Attachment::Veth { netns: netns.into(), interface: interface.to_owned() }
    }

    fn host(interface: &str, routes: &[&str]) -> Attachment {
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        Attachment::Host { interface: interface.to_owned(), routes }
    }

    #[test]
    fn attachments_that_linux_would_refuse_are_refused() {
        assert_eq!(veth("/run/netns/a", "eth0").check(true, true), Ok(()));
        let relative = AttachmentError::Netns("run/a".into());
        assert_eq!(veth("run/a", "eth0").check(true, true), Err(relative));
        for name in ["", ".", "all", "eth 0", "a/b", "eth%d", "sixteen-letters-"] {
            let refused = Err(AttachmentError::Interface(name.to_owned()));
            assert_eq!(veth("/run/a", name).check(true, true), refused);
            assert_eq!(host(name, &[]).check(true, true), refused);
        }
    }

    #[test]
    fn a_host_has_no_interface_that_an_agent_may_make_for_itself() {
        for name in ["vpc0", "mz", "mz0", "mz0123456789abc", "mz0123456789abcg"] {
            let legal = name.len() < 15;
            assert_eq!(host(name, &[]).check(true, true).is_ok(), legal, "{name}");
        }
        assert_eq!(
            host("mz0123456789abc", &[]).check(true, true).unwrap_err().to_string(),
            "interface \"mz0123456789abc\" is a name as agents choose them for their own ends of \
             links, mz and 13 hexadecimal digits: choose another, as in vpc0"
        );
        assert_eq!(veth("/run/a", "mz0123456789abc").check(true, true), Ok(()));
    }

    #[test]
    fn routes_that_a_host_must_not_have_are_refused_with_their_place() {
        let routes = ["10.0.2.0/24", "172.16.0.0/12", "10.0.3.7/32", "fd00:2::/64", "fd00::9/128"];
        assert_eq!(host("vpc0", &routes).check(true, true), Ok(()));
        let refused =
            |routes: &[&str], v4, v6| host("vpc0", routes).check(v4, v6).unwrap_err().to_string();
        for route in ["0.0.0.0/0", "::/0"] {
            let words = format!(
                "routes[1]: {route} is a default route, and a host keeps its own: name prefixes \
                 of the VPC"
            );
            assert_eq!(refused(&["10.0.2.0/24", route], true, true), words);
        }
        for (route, problem) in [
            ("10.0.2.1/24", "10.0.2.1/24 has bits set behind its length: write 10.0.2.0/24"),
            ("128.0.0.0/1", "128.0.0.0/1 has a length out of range: it must be from /8 to /32"),
            ("2000::/3", "2000::/3 has a length out of range: it must be from /16 to /128"),
            (
                "169.254.0.0/24",
                "169.254.0.0/24 overlaps 169.254.0.0/16, which is not for guests: choose another",
            ),
        ] {
            assert_eq!(refused(&[route], true, true), format!("routes[0]: {problem}"));
        }
        assert_eq!(
            refused(&["10.0.2.0/24", "10.0.3.0/24", "10.0.2.0/24"], true, true),
            "routes[2]: 10.0.2.0/24 is already used by routes[0]: choose another"
        );
        assert_eq!(
            refused(&["fd00:2::/64"], true, false),
            "routes[0]: fd00:2::/64 is IPv6, and the network has no IPv6 prefix: leave it out"
        );
        assert!(refused(&["10.0.2.0/24"], false, true).contains("no IPv4 prefix"));
        let many: Vec<_> = (0..65).map(|n| format!("10.{n}.0.0/16")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(host("vpc0", &many[..64]).check(true, true), Ok(()));
        assert_eq!(
            refused(&many, true, true),
            "routes: the list has 65 entries: it must have from 0 to 64"
        );
    }
}
