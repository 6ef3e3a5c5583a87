//! Reading: one resource, pages of them, and their changes as they come.

use super::Core;
use crate::access;
use crate::engine::{
    Event, EventType, Filter, List, Outcome, Page, Refusal, RefusalKind, Subscription, Watch,
};
use crate::time::Time;
use mizar_identity::Identity;
use mizar_identity::role::Verb;
use mizar_vpc::catalog::{EndpointRecord, NetworkEntry, Record, VpcEntry};
use mizar_vpc::manifest::Kind;
use mizar_vpc::{Catalog, Changed, Manifest, Name, Ref, Vni};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most resources in one page.
pub(crate) const MOST_ITEMS: usize = 500;
/// Resources that are looked at for one page, or for the beginning of a watch: whoever asked for
/// more would keep all others waiting. A selector that few have gets them in more pages.
pub(super) const LOOKED_AT: usize = 5_000;

impl Core {
    /// One resource with its status.
    ///
    /// # Errors
    /// There is none, or it is not for those who ask.
    pub fn get(&self, who: &Identity, reference: &Ref, now: Time) -> Result<Manifest, Refusal> {
        access::check(&self.catalog, who, Verb::Read, reference)?;
        let found = match reference.kind {
            Kind::SlotMap => self.slot_map_manifest(reference),
            _ => self.catalog.record(reference).and_then(|it| self.manifest_with_status(&it, now)),
        };
        found.ok_or_else(|| Refusal::new(RefusalKind::NotFound, format!("there is no {reference}")))
    }

    /// A page of resources with their status, by VPC and name.
    ///
    /// # Errors
    /// The VPC does not exist, or nothing of that kind is for those who ask.
    pub(crate) fn list(&self, who: &Identity, list: &List, now: Time) -> Result<Page, Refusal> {
        let vpc = self.check_filter(who, &list.filter)?;
        self.watchers.listed(now);
        let limit = list.limit.clamp(1, MOST_ITEMS);
        let after = list.after.as_deref().map(parse_after).transpose()?;
        let (mut items, mut next, mut looked_at) = (Vec::new(), None, 0);
        for reference in self.references(&list.filter, vpc, after.as_ref()) {
            if items.len() == limit || looked_at == LOOKED_AT {
                next = items.last().map(after_of).or(next);
                break;
            }
            looked_at += 1;
            next = Some(after_text(&reference));
            if !access::may_read(&self.catalog, who, &reference) {
                continue;
            }
            let manifest = self.get(who, &reference, now)?;
            if selects(&list.filter, &manifest) {
                items.push(manifest);
            }
        }
        let is_last = items.len() < limit && looked_at < LOOKED_AT;
        let next = next.filter(|_| !is_last);
        Ok(Page { items, resource_version: self.watchers.latest(), next })
    }

    /// Changes as they come.
    ///
    /// # Errors
    /// They are forgotten, or not for those who ask.
    pub(crate) fn watch(
        &mut self,
        who: &Identity,
        watch: &Watch,
        now: Time,
    ) -> Result<Subscription, Refusal> {
        self.check_filter(who, &watch.filter)?;
        let past = match watch.from {
            Some(from) => {
                self.watchers.since(from, |event| seen(&self.catalog, who, &watch.filter, event))?
            }
            None => self.present(who, &watch.filter, now)?.into(),
        };
        Ok(self.watchers.subscribe(who.clone(), watch.filter.clone(), past))
    }

    /// Tells watchers what a write has changed.
    pub(super) fn tell_watchers(&mut self, changes: &[Changed], outcomes: &[Outcome]) {
        let created = |it: &Changed| it.before.is_none();
        let mut by_reference = BTreeMap::new();
        for change in changes {
            by_reference.entry(&change.reference).or_insert(change);
        }
        let changed = outcomes.iter().filter_map(|outcome| {
            let change = *by_reference.get(&outcome.reference)?;
            let (r#type, object) = match (&outcome.after, &outcome.before) {
                (Some(after), _) if created(change) => (EventType::Added, after),
                (Some(after), _) => (EventType::Modified, after),
                (None, Some(before)) => (EventType::Deleted, before),
                (None, None) => return None,
            };
            let before = outcome.before.as_ref().filter(|before| moves(before, object));
            Some((r#type, object.clone(), before.cloned().map(Box::new)))
        });
        let changed: Vec<_> = changed.collect();
        let count = changed.len();
        for (index, (r#type, object, before)) in changed.into_iter().enumerate() {
            let is_last = index + 1 == count;
            let next = self.watchers.latest().next();
            let resource_version = if is_last { self.generation.into() } else { next };
            self.tell(Event { r#type, object, resource_version, before });
        }
        self.watchers.written(self.generation);
    }

    /// Tells watchers that a resource's status is another one.
    pub(super) fn announce(&mut self, object: Manifest) {
        let resource_version = self.watchers.latest().next();
        let r#type = EventType::Modified;
        self.tell(Event { r#type, object, resource_version, before: None });
    }

    fn tell(&mut self, event: Event) {
        let catalog = &self.catalog;
        self.watchers.tell(event, |who, filter, event| seen(catalog, who, filter, event));
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// They are not for those who ask.
    pub(crate) fn metrics(&self, who: &Identity, now: Time) -> Result<String, Refusal> {
        access::check_monitoring(who)?;
        let text = self.metrics.text(&self.snapshot(now));
        text.map_err(|error| Refusal::new(RefusalKind::Unavailable, error.to_string()))
    }

    /// What there is, for a watch that begins with it.
    ///
    /// # Errors
    /// There is so much to look through that it takes pages.
    fn present(
        &self,
        who: &Identity,
        filter: &Filter,
        now: Time,
    ) -> Result<Vec<Arc<Event>>, Refusal> {
        let vpc = self.check_filter(who, filter)?;
        let mut events = Vec::new();
        for (looked_at, reference) in self.references(filter, vpc, None).enumerate() {
            if looked_at == LOOKED_AT {
                let detail = format!(
                    "there are more than {LOOKED_AT} {} to look through: list them in pages, then \
                     watch from the version that the first page says",
                    filter.kind.plural()
                );
                return Err(Refusal::new(RefusalKind::Gone, detail));
            }
            if !access::may_read(&self.catalog, who, &reference) {
                continue;
            }
            let object = self.get(who, &reference, now)?;
            if selects(filter, &object) {
                let (r#type, resource_version) = (EventType::Added, self.watchers.latest());
                events.push(Arc::new(Event { r#type, object, resource_version, before: None }));
            }
        }
        Ok(events)
    }

    /// Refuses a filter that nobody of this role may use, or whose VPC does not exist.
    fn check_filter(&self, who: &Identity, filter: &Filter) -> Result<Option<&VpcEntry>, Refusal> {
        let is_tenant = matches!(who, Identity::Tenant { .. });
        if !matches!(who, Identity::Operator(_)) && !is_tenant {
            let detail = format!("{who} may not list resources: it takes an operator or a tenant");
            return Err(Refusal::new(RefusalKind::Forbidden, detail));
        }
        let Some(name) = &filter.vpc else { return Ok(None) };
        let reference = Ref::global(Kind::Vpc, name.clone());
        access::check(&self.catalog, who, Verb::Read, &reference)?;
        let unknown = || Refusal::new(RefusalKind::NotFound, format!("there is no {reference}"));
        self.catalog.vpc_named(name).map(Some).ok_or_else(unknown)
    }

    /// What names the resources that a filter may select, in order, after that one.
    fn references<'a>(
        &'a self,
        filter: &Filter,
        vpc: Option<&'a VpcEntry>,
        after: Option<&'a (Option<Name>, Name)>,
    ) -> Box<dyn Iterator<Item = Ref> + 'a> {
        let kind = filter.kind;
        let global = move |name: Name| Ref::global(kind, name);
        let after_name = after.map(|(_, name)| name);
        match kind {
            Kind::Fleet => {
                let fleet = self.catalog.fleet().filter(|_| after.is_none());
                Box::new(fleet.into_iter().map(move |it| global(it.name.clone())))
            }
            Kind::Host => Box::new(
                self.catalog
                    .hosts_after(after_name)
                    .map(move |it| global(it.record().name.clone())),
            ),
            Kind::Tenant => Box::new(
                self.catalog.tenants_after(after_name).map(move |it| global(it.name.clone())),
            ),
            Kind::Vpc => Box::new(
                self.catalog.vpcs_after(after_name).map(move |it| global(it.record().name.clone())),
            ),
            Kind::Network | Kind::Endpoint | Kind::SlotMap => {
                let within = after.and_then(|(vpc, name)| Some((vpc.as_ref()?, name)));
                let begun = within.and_then(|(vpc, _)| self.catalog.vpc_named(vpc));
                let first = vpc.or(begun).into_iter();
                let rest = match vpc {
                    Some(_) => None,
                    None => Some(self.catalog.vpcs_after(within.map(|(vpc, _)| vpc))),
                };
                let all = first.map(move |it| (it, within.map(|(_, name)| name)));
                let all = all.chain(rest.into_iter().flatten().map(|it| (it, None)));
                Box::new(all.flat_map(move |(vpc, after)| in_vpc(kind, vpc, after)))
            }
        }
    }
}

/// What names the resources of a kind in a VPC, after that one.
fn in_vpc<'a>(
    kind: Kind,
    vpc: &'a VpcEntry,
    after: Option<&'a Name>,
) -> Box<dyn Iterator<Item = Ref> + 'a> {
    let reference = move |name: &Name| Ref::in_vpc(kind, vpc.record().name.clone(), name.clone());
    match kind {
        Kind::Endpoint => {
            let endpoints = vpc.endpoints_after(after);
            Box::new(endpoints.map(move |it: &EndpointRecord| reference(&it.name)))
        }
        _ => {
            let networks = vpc.networks_after(after);
            Box::new(networks.map(move |it: &NetworkEntry| reference(&it.record().name)))
        }
    }
}

/// Whether a filter selects a resource, whose VPC it knows to be right where one is named.
fn selects(filter: &Filter, manifest: &Manifest) -> bool {
    let metadata = manifest.metadata();
    let general = manifest.kind() == filter.kind
        && filter.vpc.as_ref().is_none_or(|vpc| metadata.vpc.as_ref() == Some(vpc))
        && filter.selector.selects(&metadata.labels);
    let Manifest::Endpoint(endpoint) = manifest else {
        return general;
    };
    let phase = endpoint.status.as_ref().map(|status| status.phase);
    general
        && filter.host.as_ref().is_none_or(|host| *host == endpoint.spec.host)
        && filter.network.as_ref().is_none_or(|network| *network == endpoint.spec.network)
        && filter.phase.is_none_or(|wanted| phase == Some(wanted))
}

/// What an event is to a watcher; None: nothing. A resource that a filter selects no more is gone
/// for him, and one that it did not select before is new.
fn seen(catalog: &Catalog, who: &Identity, filter: &Filter, event: &Event) -> Option<EventType> {
    let is = selects(filter, &event.object);
    let was = event.before.as_ref().map_or(is, |before| selects(filter, before));
    let r#type = match (was, is) {
        (false, false) => return None,
        (true, false) => EventType::Deleted,
        (false, true) if event.r#type == EventType::Modified => EventType::Added,
        _ => event.r#type,
    };
    access::may_read(catalog, who, &event.object.reference()).then_some(r#type)
}

/// Whether a filter may select a resource that it did not select before, or the other way round.
/// How far it has come is another matter: that changes all the time.
fn moves(before: &Manifest, after: &Manifest) -> bool {
    let place = |manifest: &Manifest| match manifest {
        Manifest::Endpoint(it) => Some((it.spec.host.clone(), it.spec.network.clone())),
        _ => None,
    };
    before.metadata().labels != after.metadata().labels || place(before) != place(after)
}

fn after_of(manifest: &Manifest) -> String {
    after_text(&manifest.reference())
}

fn after_text(reference: &Ref) -> String {
    match &reference.vpc {
        Some(vpc) => format!("{vpc}/{}", reference.name),
        None => reference.name.to_string(),
    }
}

fn parse_after(text: &str) -> Result<(Option<Name>, Name), Refusal> {
    let (vpc, name) = match text.split_once('/') {
        Some((vpc, name)) => (Some(vpc), name),
        None => (None, text),
    };
    let malformed = |_| {
        let detail = format!("after {text:?} is malformed: it must be what a page called next");
        Refusal::new(RefusalKind::Invalid, detail)
    };
    let vpc = vpc.map(str::parse).transpose().map_err(malformed)?;
    Ok((vpc, name.parse().map_err(malformed)?))
}

impl Core {
    /// The endpoint's record, for what is told of it.
    pub(super) fn endpoint(&self, vni: Vni, name: &Name) -> Option<&EndpointRecord> {
        Some(self.catalog.vpc(vni)?.endpoint_named(name)?.1)
    }

    /// A record's manifest with its status.
    pub(super) fn manifest_with_status(&self, record: &Record, now: Time) -> Option<Manifest> {
        let mut manifest = self.catalog.manifest(record)?;
        self.add_status(&mut manifest, record, now);
        Some(manifest)
    }
}
