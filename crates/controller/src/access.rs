//! Who may do what to which resource.

use crate::engine::{Change, FieldError, Refusal, RefusalKind};
use mizar_identity::Identity;
use mizar_identity::role::{Action, Forbidden, Kind as RoleKind, Verb, allows};
use mizar_identity::token::HostPattern;
use mizar_vpc::manifest::RoleSpec;
use mizar_vpc::{Catalog, Kind, Manifest, Name, Ref};

/// Refuses a change that somebody may not make. A tenant's grant of hosts is checked with the other
/// fields of endpoints, by the catalog.
///
/// # Errors
/// Says who might. A tenant is not told whether what is not his exists, but for the name of a VPC
/// that he would make: names of VPCs are the fleet's.
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
    if let Change::Create(Manifest::Vpc(vpc)) | Change::Apply(Manifest::Vpc(vpc)) = change
        && !is_owner(catalog, who, &reference)
    {
        // A VPC that does not exist belongs to whom its manifest says.
        decide(who, verb, reference.kind, vpc.spec.tenant.as_ref())?;
        if matches!(who, Identity::Tenant { .. }) && catalog.vpc_named(&reference.name).is_some() {
            let detail = format!(
                "{reference} exists, of somebody else: names of VPCs are the same for all tenants; \
                 choose another"
            );
            return Err(Refusal::new(RefusalKind::Exists, detail));
        }
    } else {
        check(catalog, who, verb, &reference)?;
    }
    match change {
        Change::Create(manifest) | Change::Replace(manifest) | Change::Apply(manifest) => {
            check_fields(catalog, who, manifest)
        }
        Change::Delete { .. } => Ok(()),
    }
}

/// Refuses what somebody may not do to a resource.
///
/// # Errors
/// Says who might; to a tenant, of what is in another's VPC and of what does not exist the same.
pub(crate) fn check(
    catalog: &Catalog,
    who: &Identity,
    verb: Verb,
    reference: &Ref,
) -> Result<(), Refusal> {
    let Some(vpc) = vpc_of(reference) else {
        let owner = (reference.kind == Kind::Tenant).then_some(&reference.name);
        return decide(who, verb, reference.kind, owner);
    };
    if matches!(who, Identity::Tenant { .. }) && !is_owner(catalog, who, reference) {
        let vpc = Ref::global(Kind::Vpc, vpc.clone());
        return Err(Refusal::new(RefusalKind::NotFound, format!("there is no {vpc}")));
    }
    let known = catalog.vpc_named(vpc);
    decide(who, verb, reference.kind, known.and_then(|vpc| vpc.record().spec.tenant.as_ref()))
}

/// The VPC that a resource is, or is in.
fn vpc_of(reference: &Ref) -> Option<&Name> {
    match reference.kind {
        Kind::Vpc => Some(&reference.name),
        _ => reference.vpc.as_ref(),
    }
}

/// Whether somebody is of the tenant that has the VPC of a resource.
fn is_owner(catalog: &Catalog, who: &Identity, reference: &Ref) -> bool {
    let Identity::Tenant { tenant, .. } = who else { return false };
    let known = vpc_of(reference).and_then(|vpc| catalog.vpc_named(vpc));
    known.is_some_and(|vpc| vpc.record().spec.tenant.as_ref() == Some(tenant))
}

/// Refuses fields by which a tenant would learn of others, or burden hosts that are not for him.
fn check_fields(catalog: &Catalog, who: &Identity, manifest: &Manifest) -> Result<(), Refusal> {
    let Identity::Tenant { tenant, .. } = who else { return Ok(()) };
    let refused = |field: String, problem: String| {
        let reference = manifest.reference();
        let detail = format!("{reference}: {field}: {problem}");
        let fields = vec![FieldError { change: 0, reference, field, problem }];
        Err(Refusal { kind: RefusalKind::Invalid, detail, fields })
    };
    let (field, role) = match manifest {
        Manifest::Vpc(vpc) => {
            // One that was somebody's until just now may still be so for a host.
            let own = catalog.vpc_named(&vpc.metadata.name).map(|it| it.record().vni);
            if let Some(vni) = vpc.spec.vni.filter(|vni| Some(*vni) != own) {
                let problem = format!("VNI {vni}: only operators ask for a number: leave it out");
                return refused("spec.vni".to_owned(), problem);
            }
            ("spec.dividers", &vpc.spec.dividers)
        }
        Manifest::Network(network) => ("spec.bouncers", &network.spec.bouncers),
        _ => return Ok(()),
    };
    let RoleSpec::Hosts(hosts) = role else { return Ok(()) };
    let granted = catalog.tenant(tenant).map(|it| &it.spec.hosts);
    let is_granted = |host: &Name| {
        let host = catalog.host(host).map(|host| &host.record().labels);
        granted.zip(host).is_some_and(|(granted, labels)| granted.selects(labels))
    };
    match hosts.iter().position(|host| !is_granted(host)) {
        None => Ok(()),
        Some(index) => refused(
            format!("{field}.hosts[{index}]"),
            format!(
                "host {} is not granted to tenant {tenant}: name one that is, or how many there \
                 shall be",
                hosts[index]
            ),
        ),
    }
}

/// Refuses the numbers of the fleet to those whom they are not for.
///
/// # Errors
/// Says who might.
pub(crate) fn check_monitoring(who: &Identity) -> Result<(), Refusal> {
    check_action(who, &Action::new(Verb::Read, RoleKind::Metrics))
}

/// Refuses what is in hosts' tables to those whom it is not for: others' endpoints are there, too.
///
/// # Errors
/// Says who might.
pub(crate) fn check_looking(who: &Identity) -> Result<(), Refusal> {
    check_action(who, &Action::new(Verb::Read, RoleKind::Table))
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
    check_action(who, &action)
}

fn check_action(who: &Identity, action: &Action<'_>) -> Result<(), Refusal> {
    allows(who, action)
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
