//! A role and a name.

use mizar_vpc::{Name, NameError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Who somebody is. As text: `operator/alice`, `tenant/acme/bob`, `monitor/prometheus`, `host/h1`,
/// `controller`; in a certificate, the same behind `mizar://`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identity {
    /// Who runs the cloud.
    Operator(Name),
    /// Somebody who acts for a tenant.
    Tenant {
        /// The tenant.
        tenant: Name,
        /// The person or program.
        user: Name,
    },
    /// What collects metrics.
    Monitor(Name),
    /// The agent of a host.
    Host(Name),
    /// A controller.
    Controller,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// No role that exists, or not as many names as it has.
    #[error(
        "identity {0:?} is malformed: it must be operator/NAME, tenant/TENANT/USER, monitor/NAME, \
         host/NAME or controller"
    )]
    Form(String),
    /// Not behind the scheme.
    #[error("URI {0:?} names no identity: it must begin with {scheme}", scheme = Identity::SCHEME)]
    Scheme(String),
    /// One of its names is none.
    #[error("identity {text:?} has a malformed {part}")]
    Name {
        /// The whole.
        text: String,
        /// Which name.
        part: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
}

impl Identity {
    /// What a certificate's URI begins with.
    pub const SCHEME: &'static str = "mizar://";
    /// The name of whoever connects to the controller's local socket.
    pub const LOCAL: &'static str = "local";

    /// The operator who is known by having access to a local socket.
    pub fn local() -> Self {
        Self::Operator(Self::LOCAL.parse().expect("a literal DNS label"))
    }

    /// As certificates carry it.
    pub fn uri(&self) -> String {
        format!("{}{self}", Self::SCHEME)
    }

    /// From a certificate's URI, byte for byte: no other spelling names anybody.
    ///
    /// # Errors
    /// Another scheme, or no identity behind it.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let text = uri.strip_prefix(Self::SCHEME);
        text.ok_or_else(|| IdentityError::Scheme(uri.to_owned()))?.parse()
    }

    /// The role's name.
    pub const fn role(&self) -> &'static str {
        match self {
            Self::Operator(_) => "operator",
            Self::Tenant { .. } => "tenant",
            Self::Monitor(_) => "monitor",
            Self::Host(_) => "host",
            Self::Controller => "controller",
        }
    }

    /// A name for files: `operator-alice`, `tenant-acme.bob`, `monitor-prometheus`, `host-h1`,
    /// `controller`.
    pub fn file_stem(&self) -> String {
        // A dot cannot occur in a name, so two identities never share a file.
        match self {
            Self::Tenant { tenant, user } => format!("tenant-{tenant}.{user}"),
            Self::Operator(name) | Self::Monitor(name) | Self::Host(name) => {
                format!("{}-{name}", self.role())
            }
            Self::Controller => self.role().to_owned(),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let name = |part: &'static str, name: &str| {
            let text = text.to_owned();
            name.parse().map_err(|source| IdentityError::Name { text, part, source })
        };
        let mut parts = text.split('/');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        match parts {
            (Some("operator"), Some(who), None, None) => Ok(Self::Operator(name("name", who)?)),
            (Some("tenant"), Some(tenant), Some(user), None) => {
                Ok(Self::Tenant { tenant: name("tenant", tenant)?, user: name("user", user)? })
            }
            (Some("monitor"), Some(what), None, None) => Ok(Self::Monitor(name("name", what)?)),
            (Some("host"), Some(host), None, None) => Ok(Self::Host(name("host", host)?)),
            (Some("controller"), None, None, None) => Ok(Self::Controller),
            _ => Err(IdentityError::Form(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Identity {
    type Error = String;

    /// The error is the whole chain as one line: serde shows no sources.
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: IdentityError| match &error {
            IdentityError::Name { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        })
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(name) => f.pad(&format!("operator/{name}")),
            Self::Tenant { tenant, user } => f.pad(&format!("tenant/{tenant}/{user}")),
            Self::Monitor(name) => f.pad(&format!("monitor/{name}")),
            Self::Host(name) => f.pad(&format!("host/{name}")),
            Self::Controller => f.pad("controller"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 6] = [
        "operator/alice",
        "tenant/acme/bob",
        "tenant/a/operator",
        "monitor/prometheus",
        "host/h1",
        "controller",
    ];

    #[test]
    fn text_and_uri_lead_back_to_the_identity() {
        for text in ALL {
            let identity: Identity = text.parse().unwrap();
            assert_eq!(identity.to_string(), text);
            assert_eq!(identity.uri(), format!("mizar://{text}"));
            assert_eq!(Identity::from_uri(&identity.uri()).unwrap(), identity);
            let json = serde_json::to_string(&identity).unwrap();
            assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        }
        assert_eq!(Identity::local().to_string(), "operator/local");
    }

    #[test]
    fn what_is_no_identity_is_refused_by_value() {
        for text in [
            "",
            "/",
            "operator",
            "operator/",
            "operator/a/b",
            "operator/A",
            "Operator/a",
            "tenant/a",
            "tenant/a/",
            "tenant//b",
            "tenant/a/b/c",
            "monitor",
            "monitor/a/b",
            "host/a.b",
            "host/a%2fb",
            "host/h1/",
            "controller/",
            "controller/c",
            "root/a",
            " host/h1",
            "host/h1\n",
            "host/h1?x",
            "host/é",
        ] {
            let error = text.parse::<Identity>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_uri_has_one_spelling() {
        for uri in [
            "host/h1",
            "MIZAR://host/h1",
            "mizar:///host/h1",
            "mizar:host/h1",
            "https://host/h1",
            "mizar://host/h1#a",
            "mizar://host@host/h1",
            "spiffe://host/h1",
            "mizar://HOST/h1",
        ] {
            assert!(Identity::from_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn no_two_identities_share_a_file() {
        let tenants =
            ["tenant/a-b/c", "tenant/a/b-c"].map(|text| text.parse::<Identity>().unwrap());
        assert_ne!(tenants[0].file_stem(), tenants[1].file_stem());
        assert_eq!("host/h1".parse::<Identity>().unwrap().file_stem(), "host-h1");
    }
}
