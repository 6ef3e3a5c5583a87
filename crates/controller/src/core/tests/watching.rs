//! Who watches sees everything once and in order, wherever it begins.

use super::*;
use crate::engine::{EventType, Subscription, Version};
use mizar_store::Transaction;

#[test]
fn watchers_see_what_happens_and_can_come_back() {
    let mut world = World::example(2);
    world.settle();
    let filter = Filter::all(Kind::Endpoint);
    let watch = Watch { filter: filter.clone(), from: None };
    let now = world.time();
    let mut watching = world.core.watch(&Identity::local(), &watch, now).unwrap();
    let start = world.core.watchers.latest();
    world.endpoint("a", "h1");
    world.settle();
    let a = Ref::in_vpc(Kind::Endpoint, name("blue"), name("a"));
    world.delete(a, false).unwrap();
    let mut seen = Vec::new();
    while let Ok(event) = watching.coming.try_recv() {
        seen.push(format!("{:?}", event.r#type));
    }
    seen.dedup();
    assert_eq!(seen, ["Added", "Modified", "Deleted"]);
    let again = Watch { filter: filter.clone(), from: Some(start) };
    let past = world.core.watch(&Identity::local(), &again, now).unwrap().past;
    assert!(past.len() >= 3);
    let early = Watch { filter, from: Some(Generation::new(0, 1).unwrap().into()) };
    let refusal = world.core.watch(&Identity::local(), &early, now).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Gone);
}

#[test]
fn who_watches_a_controller_that_has_restarted_sees_hosts_come_back_and_failures_end() {
    let mut world = World::example(3);
    world.hosts.get_mut(&name("h1")).unwrap().fails.insert(RowKey::Port(name("a")));
    world.endpoint("a", "h1");
    world.endpoint("b", "h2");
    world.settle();
    world.core = Core::load(Arc::clone(&world.store), Time::after(world.now)).unwrap();
    let watch = Watch { filter: Filter::all(Kind::Endpoint), from: None };
    let mut watching = world.core.watch(&Identity::local(), &watch, world.time()).unwrap();
    let mut last = |endpoint: &str| {
        let mut seen = std::iter::from_fn(|| watching.coming.try_recv().ok());
        let phase = |event: &Event| match &event.object {
            Manifest::Endpoint(it) if it.metadata.name.as_str() == endpoint => {
                it.status.as_ref().map(|status| status.phase)
            }
            _ => None,
        };
        seen.by_ref().filter_map(|event| phase(&event)).last()
    };
    for host in world.hosts.keys().cloned().collect::<Vec<_>>() {
        world.connect(&host).unwrap();
    }
    world.settle();
    assert_eq!(last("b"), Some(Phase::Ready), "nothing was sent, and it is told nevertheless");
    world.endpoint("c", "h1");
    world.settle();
    assert_eq!(last("a"), Some(Phase::Failed), "h1 says again what it cannot do");
    world.hosts.get_mut(&name("h1")).unwrap().fails.clear();
    world.endpoint("d", "h1");
    world.settle();
    assert_eq!(last("a"), Some(Phase::Ready));
}

#[test]
fn who_watches_sees_endpoints_become_ready_when_the_last_divider_has_come() {
    let mut world = World::example(6);
    let vni = Vni::try_from(7).unwrap();
    let map = world.core.view().map(vni, mizar_vpc::NetworkId::MIN);
    let bouncers: BTreeSet<_> = map.unwrap().hosts().cloned().collect();
    let dividers = world.core.dividers(vni).to_vec();
    let is_other = |host: &Name| !bouncers.contains(host) && !dividers.contains(host);
    let last = dividers.iter().find(|it| !bouncers.contains(*it)).cloned().unwrap();
    let host = world.hosts.keys().find(|host| is_other(host)).cloned().unwrap();
    // More than are told at a time.
    let endpoints: Vec<_> = (0..150).map(|number| format!("e{number}")).collect();
    endpoints.iter().for_each(|it| drop(world.endpoint(it, host.as_str())));
    world.settle();
    world.restart();
    let mut watching = world.watch(None).unwrap();
    for host in world.hosts.keys().filter(|host| **host != last).cloned().collect::<Vec<_>>() {
        world.connect(&host).unwrap();
    }
    world.settle();
    assert_eq!(phases(&mut watching)["e7"], Phase::Degraded);
    let routed = world.status("e7").conditions.into_iter().find(|it| it.r#type == "Routed");
    assert_eq!(routed.unwrap().message, format!("divider {last} was not heard of yet"));
    world.connect(&last).unwrap();
    world.settle();
    let seen = phases(&mut watching);
    for endpoint in &endpoints {
        assert_eq!(seen.get(endpoint), Some(&Phase::Ready), "{endpoint}");
    }
    assert!(world.core.young.is_empty());
}

#[test]
fn an_endpoint_on_a_silent_host_is_degraded_until_that_is_heard_again() {
    let mut world = World::example(6);
    let vni = Vni::try_from(7).unwrap();
    let map = world.core.view().map(vni, mizar_vpc::NetworkId::MIN);
    let mut counts: BTreeSet<_> = map.unwrap().hosts().cloned().collect();
    counts.extend(world.core.dividers(vni).iter().cloned());
    let host = world.hosts.keys().find(|host| !counts.contains(*host)).cloned().unwrap();
    world.endpoint("a", host.as_str());
    world.settle();
    let mut watching = world.watch(None).unwrap();
    // It has a stream, and says nothing.
    let silence = |world: &mut World, seconds: u64| {
        for _ in 0..seconds {
            world.now += Duration::from_secs(1);
            for other in world.hosts.keys().filter(|it| **it != host).cloned().collect::<Vec<_>>() {
                world.beat(&other);
            }
            world.core.tick(world.time());
            world.turn();
        }
    };
    silence(&mut world, 14);
    assert_eq!(world.phase("a"), Phase::Ready);
    silence(&mut world, 2);
    assert_eq!(phases(&mut watching)["a"], Phase::Degraded);
    let attached = world.status("a").conditions.remove(0);
    assert_eq!((attached.r#type.as_str(), attached.reason.as_str()), ("Attached", "Silent"));
    assert_eq!(attached.message, format!("host {host} is silent: see to its agent"));
    world.beat(&host);
    world.turn();
    assert_eq!(phases(&mut watching)["a"], Phase::Ready);
}

/// The last phase of each endpoint that a watch has told of since it was asked last.
fn phases(watching: &mut Subscription) -> BTreeMap<String, Phase> {
    let past = std::mem::take(&mut watching.past).into_iter();
    let events = past.chain(std::iter::from_fn(|| watching.coming.try_recv().ok()));
    let phases = events.filter_map(|event| match &event.object {
        Manifest::Endpoint(it) => Some((it.metadata.name.to_string(), it.status.as_ref()?.phase)),
        _ => None,
    });
    phases.collect()
}

#[test]
fn who_watches_sees_endpoints_become_ready_again_whose_host_or_bouncer_has_lost_everything() {
    let mut world = World::example(4);
    let names: Vec<_> = world.hosts.keys().cloned().collect();
    for host in &names {
        world.endpoint(&format!("on-{host}"), host.as_str());
    }
    world.settle();
    let mut watching = world.watch(None).unwrap();
    for host in &names {
        world.disconnect(host);
        world.hosts.get_mut(host).unwrap().rows.clear();
        world.connect(host).unwrap();
        while watching.coming.try_recv().is_ok() {}
        let lost = names.iter().map(|it| format!("on-{it}"));
        let lost: Vec<_> = lost.filter(|it| world.phase(it) != Phase::Ready).collect();
        assert!(lost.contains(&format!("on-{host}")));
        world.settle();
        let last = phases(&mut watching);
        for endpoint in lost {
            assert_eq!(last.get(&endpoint), Some(&Phase::Ready), "{endpoint}, after {host}");
        }
    }
}

fn endpoints() -> Filter {
    Filter::all(Kind::Endpoint)
}

impl World {
    fn watch(&mut self, from: Option<Version>) -> Result<Subscription, Refusal> {
        let (filter, now) = (endpoints(), self.time());
        self.core.watch(&Identity::local(), &Watch { filter, from }, now)
    }
}

fn taken(watching: &mut Subscription) -> Vec<(Version, EventType, String)> {
    let past = std::mem::take(&mut watching.past).into_iter();
    let events = past.chain(std::iter::from_fn(|| watching.coming.try_recv().ok()));
    let told = |event: Arc<Event>| {
        let text = serde_json::to_string(&event.object).unwrap();
        (event.resource_version, event.r#type, text)
    };
    events.map(told).collect()
}

#[test]
fn a_status_that_changes_after_a_list_is_seen_by_who_watches_from_there() {
    let mut world = World::example(3);
    world.settle();
    world.endpoint("a", "h1");
    let list = List { filter: endpoints(), limit: 10, after: None };
    let page = world.core.list(&Identity::local(), &list, world.time()).unwrap();
    let phase = |object: &Manifest| match object {
        Manifest::Endpoint(it) => it.status.as_ref().unwrap().phase,
        other => panic!("{other:?}"),
    };
    assert_eq!(phase(&page.items[0]), Phase::Pending);
    world.settle();
    let past = world.watch(Some(page.resource_version)).unwrap().past;
    assert_eq!(past.back().map(|event| phase(&event.object)), Some(Phase::Ready));
    assert!(past.iter().all(|event| event.resource_version > page.resource_version));
}

#[test]
fn from_every_event_a_watch_goes_on_with_the_next_one() {
    let mut world = World::example(3);
    world.settle();
    let mut watching = world.watch(None).unwrap();
    let begin = world.core.watchers.latest();
    // Several resources in one write, and several changes of status after each.
    let changes = ["a", "b", "c"].map(|name| Change::Apply(manifest(&endpoint_yaml(name, "h1"))));
    world.try_write(changes.into()).unwrap();
    world.settle();
    world.endpoint("a", "h2");
    world.settle();
    let vpc = Ref::global(Kind::Vpc, name("blue"));
    world.delete(vpc, true).unwrap();
    let all = taken(&mut watching);
    assert!(all.len() > 12, "{all:?}");
    assert!(all.is_sorted_by(|one, next| one.0 < next.0), "each has a version of its own");
    let starts = std::iter::once(begin).chain(all.iter().map(|event| event.0));
    for (seen, from) in starts.enumerate() {
        assert_eq!(taken(&mut world.watch(Some(from)).unwrap()), all[seen..], "from {from}");
    }
}

#[test]
fn what_a_filter_selects_no_more_is_gone_for_who_watches_through_it() {
    let mut world = World::example(3);
    world.settle();
    let filter = |host: &str| Filter { host: Some(name(host)), ..endpoints() };
    let now = world.time();
    let from = Some(world.core.watchers.latest());
    let watch = |core: &mut Core, host: &str| {
        let watch = Watch { filter: filter(host), from };
        core.watch(&Identity::local(), &watch, now).unwrap()
    };
    let mut watching = ["h1", "h2"].map(|host| watch(&mut world.core, host));
    world.endpoint("a", "h1");
    world.settle();
    world.endpoint("a", "h2");
    world.settle();
    let mut ends = |watching: &mut Subscription| -> Vec<EventType> {
        let mut types: Vec<_> = taken(watching).into_iter().map(|event| event.1).collect();
        types.dedup();
        types
    };
    let [left, joined] = watching.each_mut().map(&mut ends);
    assert_eq!(left, [EventType::Added, EventType::Modified, EventType::Deleted]);
    assert_eq!(joined, [EventType::Added, EventType::Modified]);
    let mut again = ["h1", "h2"].map(|host| watch(&mut world.core, host));
    assert_eq!(again.each_mut().map(ends), [left, joined], "and from an earlier version, too");
}

#[test]
fn what_happens_when_nobody_is_there_is_not_missed_but_gone() {
    let mut world = World::example(3);
    world.settle();
    let list = List { filter: endpoints(), limit: 10, after: None };
    let page = world.core.list(&Identity::local(), &list, world.time()).unwrap();
    world.hosts.get_mut(&name("h1")).unwrap().fails.insert(RowKey::Port(name("a")));
    world.endpoint("a", "h1");
    world.settle();
    let last = world.watch(Some(page.resource_version)).unwrap().past.pop_back().unwrap();
    assert!(serde_json::to_string(&last.object).unwrap().contains("\"Failed\""));
    // Long after a list nobody is expected to watch from there.
    world.wait(100);
    world.hosts.get_mut(&name("h1")).unwrap().fails.insert(RowKey::Port(name("b")));
    world.endpoint("b", "h1");
    world.settle();
    let refusal = world.watch(Some(page.resource_version)).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Gone);
}

#[test]
fn hosts_that_come_go_and_fall_silent_are_told_and_networks_that_get_other_bouncers() {
    let mut world = World::example(3);
    world.settle();
    let now = world.time();
    let watch = |kind| Watch { filter: Filter::all(kind), from: None };
    let mut hosts = world.core.watch(&Identity::local(), &watch(Kind::Host), now).unwrap();
    let mut networks = world.core.watch(&Identity::local(), &watch(Kind::Network), now).unwrap();
    taken(&mut networks);
    hosts.past.clear();
    let mut told = |host: &str| {
        let events = std::iter::from_fn(|| hosts.coming.try_recv().ok());
        let status = |event: &Event| match &event.object {
            Manifest::Host(it) if it.metadata.name.as_str() == host => {
                it.status.as_ref().map(|status| (status.connected, status.alive))
            }
            _ => None,
        };
        events.filter_map(|event| status(&event)).last()
    };
    world.disconnect(&name("h1"));
    assert_eq!(told("h1"), Some((false, true)));
    world.wait(20);
    assert_eq!(told("h1"), Some((false, false)));
    world.connect(&name("h1")).unwrap();
    assert_eq!(told("h1"), Some((true, true)));
    world.settle();
    taken(&mut networks);
    world.write(
        "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/16, v6: \
         'fd00::/64', bouncers: {hosts: [h3]}}}",
    );
    world.settle();
    let last = taken(&mut networks).pop().unwrap().2;
    assert!(last.contains("\"settled\":true") && last.contains("[\"h3\"]"), "{last}");
}

#[test]
fn a_version_that_is_forgotten_or_of_another_controller_is_gone() {
    let mut world = World::example(2);
    world.endpoint("a", "h1");
    world.settle();
    let before = world.core.watchers.latest();
    world.watch(Some(before)).unwrap();
    assert_eq!(world.watch(Some(before.next())).unwrap_err().kind, RefusalKind::Gone);
    // What hosts said is forgotten, and will be said again.
    world.restart();
    assert_eq!(world.watch(Some(before)).unwrap_err().kind, RefusalKind::Gone);
    let list = List { filter: endpoints(), limit: 10, after: None };
    let page = world.core.list(&Identity::local(), &list, world.time()).unwrap();
    world.watch(Some(page.resource_version)).unwrap();
    let first = world.core.watchers.latest();
    for number in 0..17_000 {
        world.endpoint("a", ["h1", "h2"][number % 2]);
    }
    let refusal = world.watch(Some(first)).unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Gone);
    assert!(refusal.detail.contains("list again"), "{}", refusal.detail);
}

#[test]
fn a_watch_begins_with_what_is_looked_through_at_once_whatever_it_selects() {
    use crate::core::read::LOOKED_AT;
    let mut world = World::example(2);
    let changes = |names: Vec<String>| -> Vec<Change> {
        names.iter().map(|it| Change::Apply(manifest(&endpoint_yaml(it, "h1")))).collect()
    };
    let all: Vec<_> = (0..LOOKED_AT).map(|number| format!("e{number}")).collect();
    for some in all.chunks(1000) {
        world.try_write(changes(some.to_vec())).unwrap();
    }
    let none = Filter { selector: "none=here".parse().unwrap(), ..endpoints() };
    let now = world.time();
    let watch = |filter: &Filter, from| Watch { filter: filter.clone(), from };
    let who = Identity::local();
    for (filter, first) in [(&endpoints(), LOOKED_AT), (&none, 0)] {
        let watching = world.core.watch(&who, &watch(filter, None), now).unwrap();
        assert_eq!(watching.past.len(), first);
    }
    world.endpoint("one-more", "h1");
    for filter in [&endpoints(), &none] {
        let refusal = world.core.watch(&who, &watch(filter, None), now).map(drop).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Gone);
        assert!(refusal.detail.contains("list them in pages"), "{}", refusal.detail);
        // As it says: from a list it can be watched, however many there are.
        let list = List { filter: filter.clone(), limit: 10, after: None };
        let page = world.core.list(&who, &list, now).unwrap();
        world.core.watch(&who, &watch(filter, Some(page.resource_version)), now).unwrap();
    }
}

#[test]
fn a_quiet_watch_is_told_how_far_it_has_come() {
    let mut world = World::example(2);
    let filter = Filter { vpc: Some(name("blue")), ..Filter::all(Kind::Network) };
    let watch = Watch { filter, from: None };
    let now = world.time();
    let mut watching = world.core.watch(&Identity::local(), &watch, now).unwrap();
    assert_eq!(watching.bookmark(), None, "what was there is not taken yet");
    taken(&mut watching);
    world.endpoint("a", "h1");
    world.settle();
    assert!(taken(&mut watching).is_empty());
    assert_eq!(watching.bookmark(), Some(world.core.watchers.latest()));
}

#[test]
fn generations_grow_though_others_write_to_the_store_and_controllers_restart() {
    let mut world = World::example(2);
    let (mut last, mut number) = (world.core.generation, 0);
    let mut tokens = Vec::new();
    for round in 0..40 {
        for _ in 0..round % 4 {
            number += 1;
            let key = format!("j{number}").into_bytes();
            let token = Transaction::new().put(key, *b"token");
            tokens.push(world.store.commit(&[token]).unwrap().remove(0).unwrap().get());
        }
        if round % 5 == 4 {
            world.restart();
        }
        let written = world.endpoint(&format!("e{round}"), "h1").resource_version;
        assert!(written > last, "{written} comes after {last}");
        assert!(tokens.iter().all(|token| *token < written.revision()), "{written}: {tokens:?}");
        last = written;
        let mut revision = None;
        let mut visit = |_: &[u8], _: &[u8], at: mizar_store::Revision| revision = Some(at.get());
        let key = [&b"e\0\0\x07"[..], format!("e{round}").as_bytes()].concat();
        world.store.scan(&key, &mut visit).unwrap();
        assert_eq!(revision, Some(written.revision()), "it is the store's own revision");
    }
}
