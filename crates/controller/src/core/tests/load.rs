//! What bouncers forward decides how many there are; what the dead forwarded does not.

use super::*;
use mizar_proto::Load;
use mizar_vpc::NetworkId;

/// Packets a second that one bouncer bears here.
const SHARE: u64 = 1_000;

impl World {
    fn bouncers(&self) -> Vec<Name> {
        let map = self.core.view().map(Vni::try_from(7).unwrap(), NetworkId::MIN).unwrap();
        map.hosts().cloned().collect()
    }

    /// Seconds pass in beats; at their end each host has forwarded so many packets more a second.
    fn forward(&mut self, seconds: u64, rates: &[(&Name, u64)], counts: &mut BTreeMap<Name, u64>) {
        for _ in 0..seconds / 5 {
            self.now += Duration::from_secs(5);
            for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
                let Some(opened) = &self.hosts[&host].stream else { continue };
                let session = opened.session;
                let rate = rates.iter().find(|(name, _)| **name == host).map_or(0, |it| it.1);
                let bounced = counts.entry(host.clone()).or_default();
                *bounced += rate * 5;
                let load = Load { bounced: *bounced, divided: 0 };
                let vpcs = BTreeMap::from([(Vni::try_from(7).unwrap(), load)]);
                let beat = AgentMessage::Beat(Beat { vpcs, ..Beat::default() });
                self.core.hear(&host, session, beat, self.time()).unwrap();
            }
            self.core.tick(self.time());
            self.turn();
            self.settle();
        }
    }
}

#[test]
fn a_silent_bouncer_s_load_is_not_counted_beside_those_who_have_it_now() {
    let mut world = World::example(12);
    world.core.planner.limits.packets_per_holder = SHARE;
    world.endpoint("a", "h1");
    world.settle();
    let mut counts = BTreeMap::new();
    let quiet = world.bouncers();
    assert_eq!(quiet.len(), 2);
    // The rate is known from the second beat on.
    world.forward(30, &[(&quiet[0], 9 * SHARE / 2)], &mut counts);
    assert_eq!(world.bouncers().len(), 5);
    // It dies; its packets are at another, which says so only once it is known to be dead.
    world.disconnect(&quiet[0]);
    world.forward(20, &[], &mut counts);
    assert_eq!(world.core.loads.rate(Vni::try_from(7).unwrap()), 0);
    let left = world.bouncers();
    assert!(!left.contains(&quiet[0]) && left.len() == 2, "there is no load: {left:?}");
    world.forward(30, &[(&left[0], 9 * SHARE / 2)], &mut counts);
    assert_eq!(world.bouncers().len(), 5, "the load is what it was");
    // It comes back and counts on from where it was: nothing of the time between is its load.
    world.connect(&quiet[0]).unwrap();
    world.forward(10, &[(&left[0], 9 * SHARE / 2), (&quiet[0], SHARE / 10)], &mut counts);
    assert_eq!(world.core.loads.rate(Vni::try_from(7).unwrap()), 9 * SHARE / 2 + SHARE / 10);
    assert_eq!(world.bouncers().len(), 5);
}
