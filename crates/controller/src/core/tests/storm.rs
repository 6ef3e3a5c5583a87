//! Many come back at once, or one that has to have very much: nobody else waits for them.

use super::*;
use crate::gate::PLACES;

/// Guests live on h4 and later; h1 and h2 bounce.
fn world(hosts: usize) -> World {
    let mut world = World::example(hosts);
    world.write(
        "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/16, v6: \
         'fd00::/64', bouncers: {hosts: [h1, h2]}}}",
    );
    world.settle();
    world
}

fn updates(world: &World, hosts: &[Name]) -> usize {
    hosts.iter().map(|host| world.hosts[host].updates).sum()
}

#[test]
fn a_bouncer_that_has_lost_everything_gets_it_in_pieces_between_other_work() {
    let mut world = world(5).in_pieces(10);
    for number in 0..400 {
        world.endpoint(&format!("e{number}"), "h4");
    }
    world.settle();
    let h1 = name("h1");
    let vni = Vni::try_from(7).unwrap();
    world.disconnect(&h1);
    world.hosts.get_mut(&h1).unwrap().rows.clear();
    world.connect(&h1).unwrap();
    // The stream takes nothing yet: no more is built than it has room for.
    let sent = |world: &World| world.core.sendings.contains_key(&(h1.clone(), vni));
    assert!(sent(&world), "there is more to send");
    assert_eq!(world.core.pause(world.time()), None, "and nothing is done until there is room");
    // Much happens meanwhile, to rows that were sent already and to others.
    for number in 0..40 {
        let other = Ref::in_vpc(Kind::Endpoint, name("blue"), name(&format!("e{}", number * 9)));
        world.delete(other, false).unwrap();
        world.endpoint(&format!("new{number}"), "h5");
        world.endpoint(&format!("e{}", number * 9 + 1), "h1");
        world.endpoint(&format!("e{}", number * 9 + 2), "h5");
        world.step(&h1, true);
        let batches = world.hosts[&h1].messages;
        world.step(&name("h4"), true);
        assert!(world.hosts[&h1].messages == batches);
    }
    assert!(sent(&world));
    world.settle();
    world.check_rows();
    assert_eq!(world.phase("new0"), Phase::Ready);
    assert_eq!(world.phase("e1"), Phase::Ready);
    assert_eq!(world.core.gate.len(), (0, 0));
    assert!(world.core.sendings.is_empty());
}

#[test]
fn of_very_much_only_a_little_is_built_at_a_time() {
    let mut world = world(4).in_pieces(10);
    for number in 0..400 {
        world.endpoint(&format!("e{number}"), "h4");
    }
    world.settle();
    let h1 = name("h1");
    world.hosts.get_mut(&h1).unwrap().rows.clear();
    world.disconnect(&h1);
    let hello = Hello {
        host: h1.clone(),
        protocol: PROTOCOL,
        version: "test".to_owned(),
        underlay: None,
        tags: TAGS,
        positions: BTreeMap::new(),
    };
    let mut opened = world.core.open(&hello, world.time()).unwrap();
    world.core.flush();
    let (mut rows, mut last, mut complete) = (Vec::new(), false, false);
    while !complete {
        world.core.work(world.time());
        let mut taken = 0;
        while let Some(message) = opened.messages.try_next() {
            match message {
                ControllerMessage::Config(_) | ControllerMessage::Question(_) => {}
                ControllerMessage::Update(batch) => {
                    taken += batch.update.len();
                    last = batch.last;
                }
                ControllerMessage::Complete => complete = true,
            }
        }
        rows.push(taken);
    }
    assert!(last, "it is complete once all batches have come");
    assert!(rows.iter().all(|taken| *taken <= 40), "four batches of ten: {rows:?}");
    assert!(rows.iter().sum::<usize>() >= 400, "{rows:?}");
}

#[test]
fn who_has_applied_everything_but_could_not_say_so_gets_nothing_again() {
    let mut world = world(4);
    for number in 0..50 {
        world.endpoint(&format!("e{number}"), "h4");
    }
    world.settle();
    let h1 = name("h1");
    world.disconnect(&h1);
    world.hosts.get_mut(&h1).unwrap().rows.clear();
    world.connect(&h1).unwrap();
    while world.step(&h1, false) {}
    world.disconnect(&h1);
    world.endpoint("late", "h4");
    let before = world.hosts[&h1].bytes;
    world.connect(&h1).unwrap();
    world.settle();
    world.check_rows();
    assert_eq!(world.phase("late"), Phase::Ready);
    assert!(world.hosts[&h1].bytes - before < 200, "one row was missing");
}

#[test]
fn a_restarted_controller_knows_a_large_bouncer_by_its_digest_while_endpoints_come() {
    let mut world = world(4);
    for number in 0..50 {
        world.endpoint(&format!("e{number}"), "h4");
    }
    world.endpoint("own", "h1");
    world.settle();
    world.core = Core::load(Arc::clone(&world.store), Time::after(world.now)).unwrap();
    let hosts: Vec<_> = world.hosts.keys().cloned().collect();
    let before = updates(&world, &hosts);
    for host in &hosts {
        world.connect(host).unwrap();
    }
    world.settle();
    assert_eq!(updates(&world, &hosts), before);
    world.check_rows();
}

/// How many hosts come back at once.
fn crowd() -> usize {
    if std::env::var_os("MIZAR_TEST_FULL").is_some() { 10_000 } else { 600 }
}

#[test]
fn thousands_come_back_at_once() {
    let count = crowd();
    let mut world = World::new();
    world.write("{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [100.64.0.0/16]}}");
    let hosts: Vec<_> = (1..=count).map(|number| name(&format!("h{number}"))).collect();
    for (number, host) in hosts.iter().enumerate() {
        let [high, low] = (number as u16 + 1).to_be_bytes();
        world.write(&format!(
            "{{kind: Host, metadata: {{name: {host}}}, spec: {{underlay: 100.64.{high}.{low}}}}}"
        ));
        world.connect(host).unwrap();
    }
    world.write("{kind: Vpc, metadata: {name: blue}, spec: {vni: 7, dividers: {hosts: [h1]}}}");
    world.write(
        "{kind: Network, metadata: {vpc: blue, name: web}, spec: {v4: 10.0.0.0/16, bouncers: \
         {hosts: [h1, h2]}}}",
    );
    for host in &hosts {
        world.endpoint(&format!("on-{host}"), host.as_str());
        world.settle_some(&[&hosts[0], &hosts[1], host]);
    }
    world.settle();
    // All are cut off at once; every other one forgets what it was told, and so does a bouncer.
    for (number, host) in hosts.iter().enumerate() {
        world.disconnect(host);
        if number % 2 == 1 {
            world.hosts.get_mut(host).unwrap().rows.clear();
        }
    }
    world.now += Duration::from_secs(1);
    let (remember, forget): (Vec<_>, Vec<_>) =
        hosts.iter().cloned().enumerate().partition(|(number, _)| number % 2 == 0);
    let [remember, forget] = [remember, forget].map(|hosts: Vec<(usize, Name)>| -> Vec<Name> {
        hosts.into_iter().map(|(_, host)| host).collect()
    });
    let before = (updates(&world, &remember[1..]), updates(&world, &forget));
    for host in &hosts {
        world.connect(host).unwrap();
    }
    let (inside, waiting) = world.core.gate.len();
    assert_eq!((inside, waiting), (PLACES, forget.len() - PLACES), "the others wait");
    // An endpoint that is created now does not.
    world.endpoint("mid", remember[5].as_str());
    world.settle_some(&[&remember[0], &forget[0], &remember[5]]);
    assert_eq!(world.phase("mid"), Phase::Ready);
    assert!(world.core.gate.len().1 > 0, "and others still wait");
    world.settle();
    world.check_rows();
    let after = (updates(&world, &remember[1..]), updates(&world, &forget));
    assert_eq!(after.0 - before.0, 1, "who had a position was told of the new endpoint alone");
    let told = after.1 - before.1;
    // The bouncer among them gets the new endpoint with everything, or after it.
    let wanted = forget.len()..=forget.len() + 1;
    assert!(wanted.contains(&told), "each of the others everything once: {told} of {wanted:?}");
    assert_eq!(world.phase(&format!("on-{}", hosts[count - 1])), Phase::Ready);
}

impl World {
    /// Lets some hosts do what there is to do.
    fn settle_some(&mut self, hosts: &[&Name]) {
        while hosts.iter().any(|host| self.step(host, true)) {}
    }
}
