//! What stands in the certificates that a CA makes.

use super::PkiError;
use crate::clock;
use crate::identity::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
    SerialNumber,
};
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use x509_parser::prelude::{GeneralName, X509Certificate};

/// Certificates begin a little early, for clocks that are slow.
pub(crate) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// The domain of the names by which hosts are dialled. Every CA may vouch for it.
const HOSTS_DOMAIN: &str = "mizar.internal";
/// The name that all hosts' certificates carry, for whoever dials a host and has to find out that
/// it is one. It is no name of a controller, so no host can pass for one by it.
pub const HOST_NAME: &str = "host.mizar.internal";

/// How long certificates are valid unless somebody says otherwise. What limits a stolen key that
/// nobody knows to be stolen is its certificate's life.
pub mod lifetime {
    use crate::identity::Identity;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A development CA: as long as anybody keeps such a cloud.
    pub const AUTHORITY: Duration = DAY.saturating_mul(3653);
    /// A controller, which renews at the CA beside it.
    pub const CONTROLLER: Duration = DAY;
    /// A host: it renews after two thirds, and outlasts a long weekend without a controller.
    pub const HOST: Duration = DAY.saturating_mul(7);
    /// A person, who renews by hand, or a monitor, whose person does.
    pub const PERSON: Duration = DAY.saturating_mul(90);

    /// That of an identity's role.
    pub const fn of(identity: &Identity) -> Duration {
        match identity {
            Identity::Controller => CONTROLLER,
            Identity::Host(_) => HOST,
            Identity::Operator(_) | Identity::Tenant { .. } | Identity::Monitor(_) => PERSON,
        }
    }
}

/// How long the certificates are valid that a controller gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Its own.
    pub controller: Duration,
    /// Those of hosts.
    pub host: Duration,
    /// Those of operators.
    pub operator: Duration,
}

impl Lifetimes {
    /// The shortest: there has to be time to renew.
    pub const SHORTEST: Duration = Duration::from_secs(20);

    /// That of an identity.
    pub const fn of(&self, identity: &Identity) -> Duration {
        match identity {
            Identity::Controller => self.controller,
            Identity::Host(_) => self.host,
            Identity::Operator(_) | Identity::Tenant { .. } | Identity::Monitor(_) => self.operator,
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        let (controller, host) = (lifetime::CONTROLLER, lifetime::HOST);
        Self { controller, host, operator: lifetime::PERSON }
    }
}

/// Whom a certificate is for, and at which addresses the controller is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    identity: Identity,
    addresses: Vec<ServerName<'static>>,
}

/// At which addresses the controllers of a CA may be: whatever is not named is refused by those
/// who check the controller's certificate. Empty: anywhere. Hosts' [`HOST_NAME`] is always one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Domains, each with everything below it.
    pub domains: Vec<String>,
    /// Networks: an address and the length of its prefix.
    pub networks: Vec<(IpAddr, u8)>,
}

impl Subject {
    /// Somebody who dials. A controller is dialled: see [`Self::controller`].
    pub fn new(identity: Identity) -> Self {
        Self { identity, addresses: Vec::new() }
    }

    /// A controller at these DNS names and IP addresses.
    ///
    /// # Errors
    /// There are none, or one is malformed.
    pub fn controller<S: AsRef<str>>(addresses: &[S]) -> Result<Self, PkiError> {
        let read = |address: &S| {
            let owned = address.as_ref().to_owned();
            ServerName::try_from(owned.clone()).map_err(|_| PkiError::Address(owned))
        };
        let addresses = addresses.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let subject = Self { identity: Identity::Controller, addresses };
        subject.check()?;
        Ok(subject)
    }

    /// Who.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    fn check(&self) -> Result<(), PkiError> {
        let is_lost = self.identity == Identity::Controller && self.addresses.is_empty();
        if is_lost { Err(PkiError::NoAddress) } else { Ok(()) }
    }
}

pub(super) fn authority(
    constraints: &Constraints,
    lifetime: Duration,
    now: SystemTime,
) -> Result<CertificateParams, PkiError> {
    let mut params = common(later(now, lifetime)?, now)?;
    // CAs have different names, so that whoever trusts two finds the right one.
    let number = params.serial_number.as_ref().map(ToString::to_string).unwrap_or_default();
    let short: String = number.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    params.distinguished_name.push(DnType::CommonName, format!("Mizar CA {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = name_constraints(constraints)?;
    Ok(params)
}

/// Whether a CA may vouch for [`HOST_NAME`]. One that is limited, and was made before hosts were
/// dialled, may not: a certificate with that name would be believed by nobody.
pub(super) fn names_hosts(authority: &X509Certificate<'_>) -> bool {
    let Ok(constraints) = authority.name_constraints() else { return false };
    let Some(constraints) = constraints else { return true };
    let permitted = constraints.value.permitted_subtrees.iter().flatten();
    permitted.into_iter().any(|it| matches!(it.base, GeneralName::DNSName(HOSTS_DOMAIN)))
}

/// `names_hosts`: whether hosts get their name.
pub(super) fn certificate(
    subject: &Subject,
    names_hosts: bool,
    not_after: SystemTime,
    now: SystemTime,
) -> Result<CertificateParams, PkiError> {
    subject.check()?;
    let mut addresses = subject.addresses.clone();
    if names_hosts && matches!(subject.identity, Identity::Host(_)) {
        let name = ServerName::try_from(HOST_NAME);
        addresses.push(name.map_err(|_| PkiError::Address(HOST_NAME.to_owned()))?);
    }
    let mut params = common(not_after, now)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if !addresses.is_empty() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.subject_alt_names = vec![SanType::URI(subject.identity.uri().try_into()?)];
    for address in &addresses {
        params.subject_alt_names.push(match address {
            ServerName::IpAddress(address) => SanType::IpAddress(IpAddr::from(*address)),
            name => SanType::DnsName(name.to_str().into_owned().try_into()?),
        });
    }
    Ok(params)
}

/// When something ends that is to last this long.
pub(super) fn later(now: SystemTime, lifetime: Duration) -> Result<SystemTime, PkiError> {
    let end = now.checked_add(lifetime).filter(|end| clock::offset(*end).is_some());
    end.filter(|_| lifetime >= Duration::from_secs(1)).ok_or(PkiError::Lifetime(lifetime))
}

fn common(not_after: SystemTime, now: SystemTime) -> Result<CertificateParams, PkiError> {
    let time = |at: SystemTime| -> Result<OffsetDateTime, PkiError> {
        clock::offset(at).ok_or(PkiError::Lifetime(clock::unix(at)))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Mizar");
    params.serial_number = Some(serial()?);
    params.not_before = time(now.checked_sub(BACKDATED).unwrap_or(now))?;
    params.not_after = time(not_after)?;
    Ok(params)
}

/// Random, so that nobody needs to count; positive and of one length, as RFC 5280 has them.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn name_constraints(constraints: &Constraints) -> Result<Option<NameConstraints>, PkiError> {
    let Constraints { domains, networks } = constraints;
    if domains.is_empty() && networks.is_empty() {
        return Ok(None);
    }
    let mut permitted_subtrees = vec![GeneralSubtree::DnsName(HOSTS_DOMAIN.to_owned())];
    for domain in domains {
        let named = ServerName::try_from(domain.as_str());
        if !matches!(named, Ok(ServerName::DnsName(_))) {
            return Err(PkiError::Address(domain.clone()));
        }
        permitted_subtrees.push(GeneralSubtree::DnsName(domain.clone()));
    }
    let subnet = |(address, length): &(IpAddr, u8)| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, *length))
    };
    permitted_subtrees.extend(networks.iter().map(subnet));
    // A kind of name that is not mentioned is not constrained: what is not permitted has to be
    // excluded.
    let mut excluded_subtrees = Vec::new();
    for everything in
        [CidrSubnet::from_v4_prefix([0; 4], 0), CidrSubnet::from_v6_prefix([0; 16], 0)]
    {
        let four = matches!(everything, CidrSubnet::V4(..));
        if !networks.iter().any(|(address, _)| address.is_ipv4() == four) {
            excluded_subtrees.push(GeneralSubtree::IpAddress(everything));
        }
    }
    Ok(Some(NameConstraints { permitted_subtrees, excluded_subtrees }))
}
