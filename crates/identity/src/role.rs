//! Who may do what. Pure: whoever asks tells everything that matters.

use crate::identity::Identity;
use crate::token::HostPattern;
use mizar_vpc::Name;
use std::fmt;
use thiserror::Error;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Getting, listing and watching.
    Read,
    /// Making something new.
    Create,
    /// Changing something.
    Update,
    /// Taking it away.
    Delete,
    /// Opening an agent's stream.
    Connect,
    /// Getting a certificate in place of the one that is shown.
    Renew,
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A tenant's record.
    Tenant,
    /// A host's record.
    Host,
    /// A VPC.
    Vpc,
    /// A network of a VPC.
    Network,
    /// An endpoint of a network.
    Endpoint,
    /// The slot maps of a VPC.
    SlotMap,
    /// A join token.
    Token,
    /// A certificate.
    Certificate,
    /// The stream of a host's agent.
    Stream,
    /// The audit log.
    Audit,
    /// What a monitoring system collects, of a controller or a host.
    Metrics,
    /// The controller's store as a whole.
    Store,
    /// Rows of a host's tables.
    Table,
}

/// What somebody wants to do, with what decides whether he may.
///
/// A change of what decides (of a VPC's owner, of an endpoint's host) is two actions, one as it is
/// and one as it will be; a list is one action for each object in it.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// What is done.
    pub verb: Verb,
    /// What it is done to.
    pub kind: Kind,
    /// The tenant that it belongs to: a VPC's owner, also for what is in the VPC; of a tenant's
    /// record, the tenant.
    pub owner: Option<&'a Name>,
    /// The host that it is about: an endpoint's, a stream's, a certificate's, the host itself.
    pub host: Option<&'a Name>,
    /// The hosts on which that tenant may have endpoints.
    pub granted: &'a [HostPattern],
}

/// Somebody may not do something.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{who} may not {verb} {what}: {needed}")]
pub struct Forbidden {
    /// Who.
    pub who: Identity,
    /// What.
    pub verb: Verb,
    /// To what, in words.
    pub what: String,
    /// Who might, in words.
    pub needed: String,
}

impl<'a> Action<'a> {
    /// Something that belongs to nobody and is about no host.
    pub const fn new(verb: Verb, kind: Kind) -> Self {
        Self { verb, kind, owner: None, host: None, granted: &[] }
    }

    /// To what belongs to a tenant.
    #[must_use]
    pub const fn of(self, owner: &'a Name) -> Self {
        Self { owner: Some(owner), ..self }
    }

    /// To what is about a host.
    #[must_use]
    pub const fn on(self, host: &'a Name) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Where the tenant may have endpoints.
    #[must_use]
    pub const fn granted(self, granted: &'a [HostPattern]) -> Self {
        Self { granted, ..self }
    }
}

/// Whether somebody may do something.
///
/// # Errors
/// He may not; says who might.
pub fn allows(who: &Identity, action: &Action<'_>) -> Result<(), Forbidden> {
    let refusal = match who {
        Identity::Operator(_) => None,
        Identity::Tenant { tenant, .. } => tenant_refusal(tenant, action),
        Identity::Monitor(_) => monitor_refusal(action),
        Identity::Host(host) => agent_refusal(host, action),
        Identity::Controller => Some("it takes an operator".to_owned()),
    };
    refusal.map_or(Ok(()), |needed| {
        let shown = match who {
            // Whether something is another's or nobody's is not for a tenant to know.
            Identity::Tenant { tenant, .. } if action.owner != Some(tenant) => {
                Action { owner: None, ..*action }
            }
            _ => *action,
        };
        Err(Forbidden { who: who.clone(), verb: action.verb, what: shown.to_string(), needed })
    })
}

/// Who would have to ask, if the tenant may not.
fn tenant_refusal(tenant: &Name, action: &Action<'_>) -> Option<String> {
    let operator = || Some("it takes an operator".to_owned());
    let owner_or_operator = || Some("it takes an operator or the tenant that has it".to_owned());
    let Action { verb, kind, owner, host, granted } = *action;
    let owns = owner == Some(tenant);
    let read = verb == Verb::Read;
    let write = matches!(verb, Verb::Create | Verb::Update | Verb::Delete);
    match kind {
        Kind::Vpc | Kind::Network | Kind::Endpoint if read || write => match (kind, verb) {
            _ if !owns => owner_or_operator(),
            // Who has lost a grant may still take away what he has there.
            (Kind::Endpoint, Verb::Create | Verb::Update) => endpoint_refusal(host, granted),
            _ => None,
        },
        Kind::Tenant if read => {
            if owns {
                None
            } else {
                owner_or_operator()
            }
        }
        Kind::Vpc
        | Kind::Network
        | Kind::Endpoint
        | Kind::Tenant
        | Kind::Host
        | Kind::SlotMap
        | Kind::Token
        | Kind::Certificate
        | Kind::Stream
        | Kind::Audit
        | Kind::Store
        | Kind::Table => operator(),
        Kind::Metrics => reader_of_metrics(),
    }
}

fn endpoint_refusal(host: Option<&Name>, granted: &[HostPattern]) -> Option<String> {
    let Some(host) = host else {
        return Some("it must name a host, one that is granted to the tenant".to_owned());
    };
    if granted.iter().any(|pattern| pattern.matches(host)) {
        return None;
    }
    if granted.is_empty() {
        return Some("no host is granted to the tenant; an operator can grant some".to_owned());
    }
    let granted: Vec<_> = granted.iter().map(ToString::to_string).collect();
    Some(format!("it takes an operator, or a host granted to the tenant: {}", granted.join(", ")))
}

fn monitor_refusal(action: &Action<'_>) -> Option<String> {
    match (action.verb, action.kind) {
        (Verb::Read, Kind::Metrics) => None,
        _ => Some("it takes an operator; a monitor reads metrics".to_owned()),
    }
}

fn agent_refusal(own: &Name, action: &Action<'_>) -> Option<String> {
    let is_its_own = action.host == Some(own);
    match (action.verb, action.kind) {
        (Verb::Connect, Kind::Stream) | (Verb::Renew, Kind::Certificate) => match action.host {
            Some(_) if is_its_own => None,
            Some(host) => Some(format!("it takes host {host} itself, or an operator")),
            None => Some("it takes an operator".to_owned()),
        },
        (_, Kind::Metrics) => reader_of_metrics(),
        _ => Some("it takes an operator; an agent has its own stream and certificate".to_owned()),
    }
}

fn reader_of_metrics() -> Option<String> {
    Some("it takes an operator or a monitor".to_owned())
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Create, Self::Update, Self::Delete, Self::Connect, Self::Renew];
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Tenant,
        Self::Host,
        Self::Vpc,
        Self::Network,
        Self::Endpoint,
        Self::SlotMap,
        Self::Token,
        Self::Certificate,
        Self::Stream,
        Self::Audit,
        Self::Metrics,
        Self::Store,
        Self::Table,
    ];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Connect => "connect",
            Self::Renew => "renew",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tenant => "tenant",
            Self::Host => "host",
            Self::Vpc => "vpc",
            Self::Network => "network",
            Self::Endpoint => "endpoint",
            Self::SlotMap => "slot map",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Stream => "stream",
            Self::Audit => "audit log",
            Self::Metrics => "metrics",
            Self::Store => "store",
            Self::Table => "table",
        })
    }
}

/// To what, without the verb.
impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(owner) = self.owner {
            write!(f, " of tenant {owner}")?;
        }
        self.host.map_or(Ok(()), |host| write!(f, " on host {host}"))
    }
}

#[cfg(test)]
mod tests;
