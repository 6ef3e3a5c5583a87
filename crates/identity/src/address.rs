//! Where a controller is.

use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// `https://HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// TLS over TCP.
    Https(HostPort),
    /// A local socket, whose permissions say who may connect.
    Unix(PathBuf),
}

/// A DNS name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: ServerName<'static>,
    port: u16,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Neither form.
    #[error("address {0:?} is malformed: it must be https://HOST:PORT or unix:PATH")]
    Form(String),
    /// Without TLS.
    #[error("address {0:?} is not encrypted: it must be https://HOST:PORT or unix:PATH")]
    Plain(String),
    /// No port, or one that is none.
    #[error(
        "address {0:?} has no port: it must end with one from 1 to 65535, as in https://a:6443"
    )]
    Port(String),
    /// No DNS name and no IP address.
    #[error(
        "address {0:?} has a malformed host: it must be a DNS name, an IPv4 address or an IPv6 \
         address in brackets"
    )]
    Host(String),
    /// More than host and port.
    #[error("address {0:?} goes on behind the port: it must be https://HOST:PORT and nothing else")]
    Rest(String),
    /// No absolute path.
    #[error("address {0:?} has no absolute path: it must be as in unix:/run/mizar/controller.sock")]
    Path(String),
}

impl HostPort {
    /// What the other side's certificate must be for.
    pub const fn host(&self) -> &ServerName<'static> {
        &self.host
    }

    /// The TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Address {
    /// What requests name as their scheme and authority. The scheme is `http`, whatever the
    /// connection: HTTP libraries take `https` as an order to add TLS of their own.
    pub fn origin(&self) -> http::Uri {
        let authority = match self {
            Self::Https(at) => at.to_string(),
            Self::Unix(_) => "controller.invalid".to_owned(),
        };
        let uri = http::Uri::builder().scheme("http").authority(authority).path_and_query("/");
        uri.build().unwrap_or_else(|_| http::Uri::from_static("http://controller.invalid/"))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let owned = || text.to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
            return if is_path {
                Ok(Self::Unix(path.into()))
            } else {
                Err(AddressError::Path(owned()))
            };
        }
        let Some(rest) = text.strip_prefix("https://") else {
            let plain = text.starts_with("http://");
            return Err(if plain {
                AddressError::Plain(owned())
            } else {
                AddressError::Form(owned())
            });
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(AddressError::Rest(owned()));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) =
                    rest.split_once(']').ok_or_else(|| AddressError::Host(owned()))?;
                let is_six = host.parse::<std::net::Ipv6Addr>().is_ok();
                let host = is_six.then_some(host).ok_or_else(|| AddressError::Host(owned()))?;
                (host, port.strip_prefix(':'))
            }
            None => match rest.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => return Err(AddressError::Host(owned())),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).filter(|port| *port != 0);
        let port = port.ok_or_else(|| AddressError::Port(owned()))?;
        let host =
            ServerName::try_from(host.to_owned()).map_err(|_| AddressError::Host(owned()))?;
        Ok(Self::Https(HostPort { host, port }))
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.to_str();
        if host.contains(':') {
            write!(f, "[{host}]:{}", self.port)
        } else {
            write!(f, "{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(at) => write!(f, "https://{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_lead_back_to_the_text() {
        for text in [
            "https://controller.example:6443",
            "https://10.0.0.1:1",
            "https://[2001:db8::1]:65535",
            "https://localhost:6443",
            "unix:/run/mizar/controller.sock",
            "unix:/a b",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.origin().scheme_str(), Some("http"));
        }
        assert_eq!("https://a:1/".parse::<Address>().unwrap().to_string(), "https://a:1");
        let origin = "https://[2001:db8::1]:6443".parse::<Address>().unwrap().origin();
        assert_eq!(origin, "http://[2001:db8::1]:6443/");
    }

    #[test]
    fn what_is_no_address_is_refused_by_value_and_reason() {
        let check = |text: &str, expected: fn(String) -> AddressError| {
            assert_eq!(text.parse::<Address>(), Err(expected(text.to_owned())));
        };
        for text in ["", "a:1", "HTTPS://a:1", "ssh://a:1", "UNIX:/a"] {
            check(text, AddressError::Form);
        }
        check("http://a:1", AddressError::Plain);
        for text in ["https://a", "https://a:", "https://a:0", "https://a:65536", "https://a:+1"] {
            check(text, AddressError::Port);
        }
        for text in [
            "https://:1",
            "https://a b:1",
            "https://me@a:1",
            "https://2001:db8::1:1",
            "https://[::1:1",
            "https://[10.0.0.1]:1",
        ] {
            check(text, AddressError::Host);
        }
        for text in ["https://a:1/b", "https://a:1?b", "https://a:1//"] {
            check(text, AddressError::Rest);
        }
        for text in ["unix:", "unix:a", "unix:/a/", "unix:/", "unix:/a\0"] {
            check(text, AddressError::Path);
        }
    }
}
