use super::*;
use crate::engine::{Change, Event, Filter, List, Refusal, RefusalKind, Watch, Write, Written};
use mizar_identity::Identity;
use mizar_proto::{
    Ack, AgentMessage, Applied, Beat, ControllerMessage, Hello, Outcome, PROTOCOL, Position,
    Question, RowError, TAGS,
};
use mizar_store::Memory;
use mizar_vpc::manifest::{EndpointStatus, Phase};
use mizar_vpc::{Assembly, Kind, Manifest, Ref, RowKey, TagKeys, Vni, VpcRows};
use prost::Message;

mod choices;
mod cost;
mod faults;
mod golden;
mod keys;
mod load;
mod look;
mod random;
mod restored;
mod storm;
mod watching;

/// A controller's core, and hosts that do as they are told.
struct World {
    core: Core,
    store: Arc<dyn Store>,
    hosts: BTreeMap<Name, Host>,
    now: Duration,
    /// Most rows in a message, if they shall be few.
    batch_rows: usize,
}

/// A host whose kernel tables are maps.
#[derive(Default)]
struct Host {
    rows: BTreeMap<Vni, (Generation, VpcRows)>,
    assembly: Assembly,
    stream: Option<Opened>,
    /// It has heard that it was told all that there was when its stream began.
    is_complete: bool,
    /// Its agent knows nothing of tags.
    is_old: bool,
    /// Programs of another layout are at work, and it waits for this.
    waits_for: Option<String>,
    /// The fleet's keys, as it was told last.
    keys: Option<TagKeys>,
    questions: Vec<Question>,
    /// Rows that it cannot install.
    fails: BTreeSet<RowKey>,
    updates: usize,
    /// Messages with rows, and their bytes on the wire.
    messages: usize,
    bytes: usize,
}

impl World {
    fn new() -> Self {
        Self::with(Arc::new(Memory::new()))
    }

    fn with(store: Arc<dyn Store>) -> Self {
        let core = Core::load(Arc::clone(&store), Time::default()).unwrap();
        let (hosts, now) = Default::default();
        Self { core, store, hosts, now, batch_rows: BATCH_ROWS }
    }

    /// The same, but whatever is sent is sent in so small pieces.
    fn in_pieces(mut self, rows: usize) -> Self {
        (self.batch_rows, self.core.batch_rows) = (rows, rows);
        self
    }

    fn time(&self) -> Time {
        Time::after(self.now)
    }

    fn try_write(&mut self, changes: Vec<Change>) -> Result<Written, Refusal> {
        let write = Write { changes, dry_run: false };
        let now = self.time();
        let answer = self.core.write(vec![(Identity::local(), write)], now).remove(0);
        self.turn();
        answer
    }

    /// The engine's turns, until there is nothing more to do.
    fn turn(&mut self) {
        let now = self.time();
        while self.core.plan(now) {}
        loop {
            self.core.flush();
            self.core.work(now);
            if self.core.pause(now) != Some(Duration::ZERO) {
                return;
            }
        }
    }

    fn write(&mut self, yaml: &str) -> Written {
        self.try_write(vec![Change::Apply(manifest(yaml))]).unwrap()
    }

    fn delete(&mut self, reference: Ref, cascade: bool) -> Result<Written, Refusal> {
        self.try_write(vec![Change::Delete { reference, cascade, resource_version: None }])
    }

    /// A fleet of some hosts, a VPC `blue` with a network `web`.
    fn example(hosts: usize) -> Self {
        let mut world = Self::new();
        world.write("{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [192.0.2.0/24]}}");
        for number in 1..=hosts {
            world.host(number);
        }
        world.write("{kind: Vpc, metadata: {name: blue}, spec: {vni: 7}}");
        world.write(
            "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/16, v6: \
             'fd00::/64'}}",
        );
        world
    }

    fn host(&mut self, number: usize) {
        self.write(&format!(
            "{{kind: Host, metadata: {{name: h{number}}}, spec: {{underlay: 192.0.2.{number}}}}}"
        ));
        self.connect(&name(&format!("h{number}"))).unwrap();
    }

    fn endpoint(&mut self, endpoint: &str, host: &str) -> Written {
        self.write(&endpoint_yaml(endpoint, host))
    }

    fn connect(&mut self, host: &Name) -> Result<(), String> {
        let state = self.hosts.entry(host.clone()).or_default();
        let positions = state.rows.iter().map(|(vni, (generation, rows))| {
            let position = Position { generation: *generation, digest: Some(rows.digest()) };
            (*vni, position)
        });
        let hello = Hello {
            host: host.clone(),
            protocol: PROTOCOL,
            version: "test".to_owned(),
            underlay: None,
            tags: if state.is_old { 0 } else { TAGS },
            positions: positions.collect(),
        };
        (state.assembly, state.is_complete) = (Assembly::default(), false);
        let opened = self.core.open(&hello, Time::after(self.now))?;
        state.stream = Some(opened);
        self.turn();
        Ok(())
    }

    fn disconnect(&mut self, host: &Name) {
        let opened = self.hosts.get_mut(host).and_then(|it| it.stream.take());
        let Some(opened) = opened else { return };
        let now = self.time();
        self.core.close(host, opened.session, now);
        self.turn();
    }

    /// A host takes the next message, and acknowledges it unless that is lost; whether there was
    /// one.
    fn step(&mut self, host: &Name, acknowledges: bool) -> bool {
        let now = Time::after(self.now);
        let Some(state) = self.hosts.get_mut(host) else { return false };
        let Some(opened) = &mut state.stream else { return false };
        let session = opened.session;
        let Some(message) = opened.messages.try_next() else { return false };
        if opened.messages.has_to_ask() {
            self.core.drained(host);
        }
        let batch = match message {
            ControllerMessage::Update(batch) => batch,
            ControllerMessage::Config(config) => {
                state.keys = config.keys;
                return true;
            }
            ControllerMessage::Complete => {
                assert!(!std::mem::replace(&mut state.is_complete, true), "it is said once");
                return true;
            }
            ControllerMessage::Question(question) => {
                state.questions.push(question);
                return true;
            }
        };
        state.messages += 1;
        state.bytes += wire_size(ControllerMessage::Update(batch.clone()));
        let Some(update) = state.assembly.push(batch).unwrap() else { return true };
        state.updates += 1;
        let (vni, generation) = (update.vni, update.generation);
        let entry = state.rows.get(&vni).map(|(at, _)| *at);
        update.check_position(entry).unwrap();
        assert!(entry.is_none_or(|at| at < generation), "{host}: two states at {generation}");
        let removed = update.removed;
        let (at, rows) = state.rows.entry(vni).or_insert((generation, VpcRows::default()));
        rows.apply(update).unwrap();
        *at = generation;
        if removed {
            state.rows.remove(&vni);
        }
        let errors =
            state.fails.iter().map(|row| RowError { row: row.clone(), reason: "no".into() });
        let applied = Applied { errors: errors.collect(), ..Applied::default() };
        if acknowledges {
            let ack = Ack { vni, generation, outcome: Outcome::Applied(applied) };
            self.core.hear(host, session, AgentMessage::Ack(ack), now).unwrap();
        }
        self.turn();
        true
    }

    /// Lets everybody do what there is to do.
    fn settle(&mut self) {
        let names: Vec<_> = self.hosts.keys().cloned().collect();
        for _ in 0..100_000 {
            let mut busy = false;
            for host in &names {
                busy |= self.step(host, true);
            }
            match self.core.pause(self.time()) {
                None if !busy => return,
                Some(pause) if !busy => self.now += pause,
                _ => {}
            }
            self.turn();
        }
        panic!("it never comes to rest");
    }

    /// Seconds pass, in which whoever has a stream is heard.
    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
            self.beat(&host);
        }
        self.core.tick(self.time());
        self.turn();
    }

    /// A host gives a sign of life, if it has a stream.
    fn beat(&mut self, host: &Name) {
        let state = &self.hosts[host];
        let Some(session) = state.stream.as_ref().map(|opened| opened.session) else { return };
        let beat = Beat { waits_for: state.waits_for.clone(), ..Beat::default() };
        self.core.hear(host, session, AgentMessage::Beat(beat), self.time()).unwrap();
    }

    /// Every host that has a stream has just what it should.
    fn check_rows(&self) {
        let mut all = mizar_vpc::rows(&self.core.catalog, &self.core.maps).unwrap();
        for (vni, rows) in all.values_mut().flatten() {
            rows.keys = self.core.keys.of_vpc(*vni);
        }
        for (host, state) in self.hosts.iter().filter(|(_, state)| state.stream.is_some()) {
            assert!(state.is_complete, "{host} does not know that this is all");
            let has = state.rows.iter().map(|(vni, (_, rows))| (*vni, rows.clone()));
            let should = all.get(host).cloned().unwrap_or_default();
            let has: BTreeMap<_, _> = has.collect();
            assert_eq!(state.keys, self.core.keys.of_fleet(), "the fleet's keys at {host}");
            for (vni, rows) in &should {
                let none = VpcRows::default();
                let other = has.get(vni).unwrap_or(&none);
                assert_eq!(other.ports, rows.ports, "ports of {host}");
                assert_eq!(other.held, rows.held, "held by {host}");
                assert_eq!(other, rows, "{host}");
            }
            assert_eq!(has.keys().collect::<Vec<_>>(), should.keys().collect::<Vec<_>>(), "{host}");
        }
    }

    fn status(&self, endpoint: &str) -> EndpointStatus {
        let reference = Ref::in_vpc(Kind::Endpoint, name("blue"), name(endpoint));
        match self.core.get(&Identity::local(), &reference, self.time()) {
            Ok(Manifest::Endpoint(it)) => it.status.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn phase(&self, endpoint: &str) -> Phase {
        self.status(endpoint).phase
    }
}

fn wire_size(message: ControllerMessage) -> usize {
    mizar_proto::pb::ControllerMessage::from(message).encoded_len()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn manifest(yaml: &str) -> Manifest {
    serde_saphyr::from_str(yaml).unwrap()
}

fn endpoint_yaml(endpoint: &str, host: &str) -> String {
    format!(
        "{{kind: Endpoint, metadata: {{vpc: blue, name: {endpoint}}}, spec: {{network: web, host: \
         {host}, attachment: {{veth: {{netns: /run/netns/{endpoint}, interface: eth0}}}}}}}}"
    )
}

#[test]
fn an_endpoint_is_ready_once_its_host_and_its_bouncers_have_it() {
    let mut world = World::example(3);
    world.settle();
    world.endpoint("a", "h1");
    assert_eq!(world.phase("a"), Phase::Pending);
    let hosts: Vec<_> = world.hosts.keys().cloned().collect();
    let told: Vec<_> = hosts.into_iter().filter(|host| world.step(host, true)).collect();
    assert!(told.len() <= 3, "its host and two bouncers at most: {told:?}");
    assert_eq!(world.phase("a"), Phase::Ready);
    let timings = world.status("a").timings;
    assert!(timings.iter().any(|timing| timing.step == "ready"), "{timings:?}");
    world.check_rows();
}

#[test]
fn a_host_that_comes_back_gets_the_difference_or_nothing() {
    let mut world = World::example(3);
    for number in 0..20 {
        world.endpoint(&format!("e{number}"), "h1");
    }
    world.settle();
    let hosts: Vec<_> = world.hosts.keys().cloned().collect();
    let updates = |world: &World| world.hosts.values().map(|host| host.updates).sum::<usize>();
    let before = updates(&world);
    for host in &hosts {
        world.disconnect(host);
        world.connect(host).unwrap();
    }
    world.settle();
    assert_eq!(updates(&world), before, "nothing was missing");
    world.disconnect(&hosts[0]);
    world.endpoint("late", "h1");
    world.connect(&hosts[0]).unwrap();
    world.settle();
    world.check_rows();
    assert_eq!(world.phase("late"), Phase::Ready);
}

#[test]
fn a_controller_that_restarts_finds_hosts_as_they_are() {
    let mut world = World::example(3);
    for number in 0..20 {
        world.endpoint(&format!("e{number}"), "h1");
    }
    world.settle();
    let updates = |world: &World| world.hosts.values().map(|host| host.updates).sum::<usize>();
    let before = updates(&world);
    world.core = Core::load(Arc::clone(&world.store), Time::after(world.now)).unwrap();
    assert_eq!(world.phase("e1"), Phase::Pending, "nobody has said anything yet");
    for host in world.hosts.keys().cloned().collect::<Vec<_>>() {
        world.connect(&host).unwrap();
    }
    world.settle();
    assert_eq!(updates(&world), before, "digests are equal: nothing was sent");
    assert_eq!(world.phase("e1"), Phase::Ready);
}

#[test]
fn a_bouncer_that_is_cut_off_makes_endpoints_degraded_and_says_so() {
    let mut world = World::example(3);
    world.settle();
    let map = world.core.view().map(Vni::try_from(7).unwrap(), mizar_vpc::NetworkId::MIN);
    let bouncers: Vec<_> = map.unwrap().hosts().cloned().collect();
    let host = world.hosts.keys().find(|host| !bouncers.contains(host)).cloned().unwrap();
    world.disconnect(&bouncers[0]);
    world.endpoint("a", host.as_str());
    world.settle();
    let status = world.status("a");
    assert_eq!(status.phase, Phase::Degraded);
    let bounced = status.conditions.iter().find(|it| it.r#type == "Bounced").unwrap();
    assert_eq!(bounced.message, format!("{} has no stream", bouncers[0]));
    world.connect(&bouncers[0]).unwrap();
    world.settle();
    assert_eq!(world.phase("a"), Phase::Ready);
}

#[test]
fn hosts_and_slot_maps_say_whether_they_have_settled() {
    let mut world = World::example(3);
    let behind = |world: &World, host: &str| {
        let reference = Ref::global(Kind::Host, name(host));
        match world.core.get(&Identity::local(), &reference, world.time()) {
            Ok(Manifest::Host(it)) => it.status.unwrap().behind,
            other => panic!("{other:?}"),
        }
    };
    let bouncers = |world: &World| {
        let reference = Ref::in_vpc(Kind::Network, name("blue"), name("web"));
        match world.core.get(&Identity::local(), &reference, world.time()) {
            Ok(Manifest::Network(it)) => it.status.map(|it| (it.bouncers, it.settled)).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let network = |host: &str| {
        format!(
            "{{kind: Network, metadata: {{vpc: blue, name: web}}, spec: {{v4: 10.0.0.0/16, v6: \
             'fd00::/64', bouncers: {{hosts: [{host}]}}}}}}"
        )
    };
    world.write(&network("h1"));
    world.settle();
    assert_eq!(bouncers(&world), (vec![name("h1")], true));
    world.endpoint("a", "h2");
    assert_eq!([behind(&world, "h1"), behind(&world, "h2")], [["blue"], ["blue"]]);
    world.settle();
    assert!(behind(&world, "h1").is_empty() && behind(&world, "h2").is_empty());
    world.write(&network("h3"));
    assert!(!bouncers(&world).1, "h3 has no rows yet");
    world.settle();
    assert_eq!(bouncers(&world), (vec![name("h3")], true));
}

#[test]
fn a_row_that_cannot_be_installed_is_told() {
    let mut world = World::example(2);
    world.settle();
    let key = RowKey::Port(name("a"));
    world.hosts.get_mut(&name("h1")).unwrap().fails.insert(key);
    world.endpoint("a", "h1");
    world.settle();
    assert_eq!(world.phase("a"), Phase::Failed);
    let condition = world.status("a").conditions.remove(0);
    assert_eq!(condition.message, "host h1: no");
}

#[test]
fn the_host_that_an_endpoint_moves_to_waits_for_the_one_it_leaves() {
    let mut world = World::example(3);
    world.endpoint("a", "h1");
    world.settle();
    world.endpoint("a", "h2");
    let port = |world: &World, host: &str| {
        let rows = world.hosts[&name(host)].rows.get(&Vni::try_from(7).unwrap());
        rows.is_some_and(|(_, rows)| rows.ports.contains_key(&name("a")))
    };
    while world.step(&name("h2"), true) || world.step(&name("h3"), true) {}
    assert!(port(&world, "h1") && !port(&world, "h2"));
    world.settle();
    assert!(!port(&world, "h1") && port(&world, "h2"));
    world.check_rows();
    assert_eq!(world.phase("a"), Phase::Ready);
}

#[test]
fn pages_show_everything_once() {
    let mut world = World::example(2);
    for number in 0..25 {
        world.endpoint(&format!("e{number}"), "h1");
    }
    let (mut after, mut names) = (None, Vec::new());
    loop {
        let list = List { filter: Filter::all(Kind::Endpoint), limit: 10, after };
        let page = world.core.list(&Identity::local(), &list, world.time()).unwrap();
        names.extend(page.items.iter().map(|it| it.metadata().name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut sorted: Vec<_> = (0..25).map(|number| format!("e{number}")).collect();
    sorted.sort();
    assert_eq!(names, sorted);
}

#[test]
fn tenants_see_and_change_their_own_only() {
    let mut world = World::example(2);
    world.write("{kind: Tenant, metadata: {name: acme}, spec: {}}");
    let bob = Identity::Tenant { tenant: name("acme"), user: name("bob") };
    let vpc = manifest("{kind: Vpc, metadata: {name: red}, spec: {tenant: acme}}");
    let other = manifest("{kind: Vpc, metadata: {name: green}, spec: {}}");
    let mut write = |manifest: &Manifest| {
        let changes = vec![Change::Create(manifest.clone())];
        let write = Write { changes, dry_run: false };
        world.core.write(vec![(bob.clone(), write)], Time::default()).remove(0)
    };
    write(&vpc).unwrap();
    assert_eq!(write(&other).unwrap_err().kind, RefusalKind::Forbidden);
    let endpoint = manifest(&endpoint_yaml("a", "h1"));
    assert_eq!(write(&endpoint).unwrap_err().kind, RefusalKind::NotFound);
    let list = List { filter: Filter::all(Kind::Vpc), limit: 10, after: None };
    let page = world.core.list(&bob, &list, Time::default()).unwrap();
    let names: Vec<_> = page.items.iter().map(|it| it.metadata().name.as_str()).collect();
    assert_eq!(names, ["red"]);
}
