//! Random lives: whatever happens, in whatever order, hosts end with what they should have.

use super::*;
use mizar_vpc::catalog::Record;
use mizar_vpc::manifest::{EndpointSpec, Migration};
use proptest::prelude::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Put(u8, u8),
    Delete(u8),
    /// An endpoint is about to move, or stays after all.
    Migrate(u8, Option<u8>),
    Switch(u8),
    Network(u8, bool),
    Roles(u8),
    Cordon(u8, bool),
    NewHost,
    Step(u8, bool),
    Disconnect(u8),
    Connect(u8),
    Restart,
    Time(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..10u8, 0..6u8).prop_map(|(endpoint, host)| Event::Put(endpoint, host)),
        4 => (0..10u8).prop_map(Event::Delete),
        5 => (0..10u8, proptest::option::weighted(0.8, 0..6u8))
            .prop_map(|(endpoint, host)| Event::Migrate(endpoint, host)),
        3 => (0..10u8).prop_map(Event::Switch),
        2 => (0..2u8, any::<bool>()).prop_map(|(network, there)| Event::Network(network, there)),
        2 => (0..6u8).prop_map(Event::Roles),
        1 => (0..6u8, any::<bool>()).prop_map(|(host, is)| Event::Cordon(host, is)),
        1 => Just(Event::NewHost),
        24 => (0..6u8, proptest::bool::weighted(0.9))
            .prop_map(|(host, ack)| Event::Step(host, ack)),
        3 => (0..6u8).prop_map(Event::Disconnect),
        4 => (0..6u8).prop_map(Event::Connect),
        1 => Just(Event::Restart),
        2 => (0..40u8).prop_map(Event::Time),
    ]
}

impl World {
    fn number(&self, number: u8) -> Name {
        let count = self.core.catalog.hosts().count();
        name(&format!("h{}", usize::from(number) % count + 1))
    }

    /// Lets something happen. What is refused is refused as a whole.
    fn happen(&mut self, event: &Event) {
        match event {
            Event::Put(endpoint, host) => {
                let host = self.number(*host);
                let yaml = endpoint_yaml(&format!("e{endpoint}"), host.as_str());
                let _ = self.try_write(vec![Change::Apply(manifest(&yaml))]);
            }
            Event::Migrate(endpoint, host) => {
                let host = host.map(|host| self.number(host));
                self.change_endpoint(*endpoint, |spec| {
                    let attachment = spec.attachment.clone();
                    spec.migration = host.map(|host| Box::new(Migration { host, attachment }));
                });
            }
            Event::Switch(endpoint) => self.change_endpoint(*endpoint, |spec| {
                if let Some(migration) = spec.migration.take() {
                    (spec.host, spec.attachment) = (migration.host, migration.attachment);
                }
            }),
            Event::Delete(endpoint) => {
                let name_ = name(&format!("e{endpoint}"));
                let _ = self.delete(Ref::in_vpc(Kind::Endpoint, name("blue"), name_), false);
            }
            Event::Network(network, true) => {
                let (network, prefix) = match network {
                    0 => ("web", "10.0.0.0/16"),
                    _ => ("db", "10.1.0.0/16"),
                };
                let yaml = format!(
                    "{{kind: Network, metadata: {{vpc: blue, name: {network}}}, spec: {{v4: \
                     {prefix}}}}}"
                );
                let _ = self.try_write(vec![Change::Apply(manifest(&yaml))]);
            }
            Event::Network(network, false) => {
                let network = if *network == 0 { "web" } else { "db" };
                let _ = self.delete(Ref::in_vpc(Kind::Network, name("blue"), name(network)), true);
            }
            Event::Roles(host) => self.change_roles(*host),
            Event::Cordon(host, cordoned) => {
                let host = self.number(*host);
                let record = self.core.catalog.record(&Ref::global(Kind::Host, host)).unwrap();
                let Some(Manifest::Host(mut it)) = self.core.catalog.manifest(&record) else {
                    return;
                };
                it.spec.cordoned = *cordoned;
                it.metadata.resource_version = None;
                let _ = self.try_write(vec![Change::Apply(Manifest::Host(it))]);
            }
            Event::NewHost => {
                let count = self.core.catalog.hosts().count();
                if count < 6 {
                    self.host(count + 1);
                }
            }
            Event::Step(host, acknowledges) => drop(self.step(&self.number(*host), *acknowledges)),
            Event::Disconnect(host) => self.disconnect(&self.number(*host)),
            Event::Connect(host) => {
                let host = self.number(*host);
                self.disconnect(&host);
                self.connect(&host).unwrap();
            }
            Event::Restart => self.restart(),
            Event::Time(seconds) => {
                self.now += Duration::from_secs((*seconds).into());
                self.core.tick(Time::after(self.now));
                self.turn();
            }
        }
    }

    fn change_endpoint(&mut self, endpoint: u8, change: impl FnOnce(&mut EndpointSpec)) {
        let reference = Ref::in_vpc(Kind::Endpoint, name("blue"), name(&format!("e{endpoint}")));
        let Some(record) = self.core.catalog.record(&reference) else { return };
        let Some(Manifest::Endpoint(mut it)) = self.core.catalog.manifest(&record) else { return };
        it.metadata.resource_version = None;
        change(&mut it.spec);
        let _ = self.try_write(vec![Change::Apply(Manifest::Endpoint(it))]);
    }

    fn change_roles(&mut self, host: u8) {
        let web = Ref::in_vpc(Kind::Network, name("blue"), name("web"));
        let Some(Record::Network(record)) = self.core.catalog.record(&web) else { return };
        let Some(Manifest::Network(mut it)) = self.core.catalog.manifest(&record.into()) else {
            return;
        };
        it.spec.bouncers = mizar_vpc::manifest::RoleSpec::Hosts(vec![self.number(host)]);
        it.metadata.resource_version = None;
        let _ = self.try_write(vec![Change::Apply(Manifest::Network(it))]);
    }

    pub(super) fn restart(&mut self) {
        self.core = Core::load(Arc::clone(&self.store), Time::after(self.now)).unwrap();
        self.core.batch_rows = self.batch_rows;
        for host in self.hosts.values_mut() {
            host.stream = None;
        }
    }

    /// What the store has is what the core has.
    fn check_store(&self) {
        assert_eq!(self.core.digests, Digests::of(&self.core.catalog));
        let again = Core::load(Arc::clone(&self.store), Time::after(self.now)).unwrap();
        let records = |core: &Core| -> Vec<String> {
            let vpcs = core.catalog.vpcs();
            let endpoints = vpcs.flat_map(|vpc| vpc.endpoints_after(None));
            endpoints.map(|endpoint| format!("{endpoint:?}")).collect()
        };
        assert_eq!(records(&again), records(&self.core));
        let maps = |core: &Core| {
            let mut maps = core.maps.clone();
            maps.retain(|_, it| *it != mizar_vpc::VpcSlotMaps::default());
            maps
        };
        assert_eq!(maps(&again), maps(&self.core));
        let choices = |core: &Core| {
            let networks = core.catalog.vpcs().flat_map(|vpc| vpc.networks());
            let chosen: Vec<_> = networks.map(|network| network.chosen()).collect();
            (core.catalog.last_vni(), chosen)
        };
        assert_eq!(choices(&again), choices(&self.core));
    }
}

proptest! {
    #[test]
    fn hosts_end_with_what_they_should_have(
        events in proptest::collection::vec(event(), 0..120),
        pieces in 1..6_usize,
    ) {
        let mut world = World::example(3).in_pieces(pieces);
        for event in &events {
            world.happen(event);
            world.check_store();
        }
        // Everybody comes back and may take slots, and there is time enough.
        for host in 0..6 {
            world.happen(&Event::Cordon(host, false));
        }
        for host in world.hosts.keys().cloned().collect::<Vec<_>>() {
            world.disconnect(&host);
            world.connect(&host).unwrap();
        }
        for _ in 0..8 {
            world.settle();
            world.happen(&Event::Time(5));
            for host in world.hosts.keys().cloned().collect::<Vec<_>>() {
                let session = world.hosts[&host].stream.as_ref().unwrap().session;
                let beat = AgentMessage::Beat(mizar_proto::Beat::default());
                world.core.hear(&host, session, beat, world.time()).unwrap();
            }
        }
        world.settle();
        world.check_rows();
        let endpoints: Vec<_> = world.core.catalog.vpcs().flat_map(|vpc| vpc.endpoints_after(None))
            .map(|it| it.name.to_string()).collect();
        for endpoint in endpoints {
            let status = world.status(&endpoint);
            prop_assert_eq!(status.phase, Phase::Ready, "{:?}", status);
        }
    }
}
