//! Who may do what to which resource.

use crate::engine::{Change, Refusal, RefusalKind};
use mizar_identity::Identity;
use mizar_identity::role::{Action, Forbidden, Kind as RoleKind, Verb, allows};
use mizar_identity::token::HostPattern;
use mizar_vpc::{Catalog, Kind, Manifest, Name, Ref};

/// Refuses a change that somebody may not make. A tenant's grant of hosts is checked with the other
/// fields, by the catalog.
///
/// # Errors
/// Says who might.
pub(crate) fn check_change(
    catalog: &Catalog,
    who: &Identity,
    change: &Change,
) -> Result<(), Refusal> {
    let (verb, reference) = match change {
        Change::Create(manifest) => (Verb::Create, manifest.reference()),
        Change::Replace(manifest) | Change::Apply(manifest) => (Verb::Update, manifest.reference()),
        Change::Delete { reference, .. } => (Verb::Delete, reference.clone()),
    };
    check(catalog, who, verb, &reference)?;
    // A VPC that does not exist belongs to whom its manifest says.
    if let Change::Create(Manifest::Vpc(vpc)) | Change::Apply(Manifest::Vpc(vpc)) = change
        && catalog.vpc_named(&reference.name).is_none()
    {
        return decide(who, verb, reference.kind, vpc.spec.tenant.as_ref());
    }
    Ok(())
}

/// Refuses what somebody may not do to a resource.
///
/// # Errors
/// Says who might.
pub(crate) fn check(
    catalog: &Catalog,
    who: &Identity,
    verb: Verb,
    reference: &Ref,
) -> Result<(), Refusal> {
    let vpc = match reference.kind {
        Kind::Vpc => Some(&reference.name),
        _ => reference.vpc.as_ref(),
    };
    let known = vpc.and_then(|vpc| catalog.vpc_named(vpc));
    if reference.kind == Kind::Vpc && known.is_none() && verb != Verb::Read {
        return Ok(());
    }
    let owner = match reference.kind {
        Kind::Tenant => Some(&reference.name),
        _ => known.and_then(|vpc| vpc.record().spec.tenant.as_ref()),
    };
    decide(who, verb, reference.kind, owner)
}

/// Refuses the numbers of the fleet to those who may not see its hosts.
///
/// # Errors
/// Says who might.
pub(crate) fn check_monitoring(who: &Identity) -> Result<(), Refusal> {
    decide(who, Verb::Read, Kind::Host, None)
}

/// Whether somebody may see a resource.
pub(crate) fn may_read(catalog: &Catalog, who: &Identity, reference: &Ref) -> bool {
    check(catalog, who, Verb::Read, reference).is_ok()
}

fn decide(who: &Identity, verb: Verb, kind: Kind, owner: Option<&Name>) -> Result<(), Refusal> {
    let any: Option<HostPattern> = "*".parse().ok();
    let host: Option<Name> = "any".parse().ok();
    let mut action = Action::new(verb, role_kind(kind)).granted(any.as_slice());
    if let Some(owner) = owner {
        action = action.of(owner);
    }
    if let Some(host) = &host {
        action = action.on(host);
    }
    allows(who, &action)
        .map_err(|forbidden: Forbidden| Refusal::new(RefusalKind::Forbidden, forbidden.to_string()))
}

fn role_kind(kind: Kind) -> RoleKind {
    match kind {
        // Who may see and change hosts may see and change what they have in common.
        Kind::Fleet | Kind::Host => RoleKind::Host,
        Kind::Tenant => RoleKind::Tenant,
        Kind::Vpc => RoleKind::Vpc,
        Kind::Network => RoleKind::Network,
        Kind::Endpoint => RoleKind::Endpoint,
        Kind::SlotMap => RoleKind::SlotMap,
    }
}
