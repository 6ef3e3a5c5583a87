//! Agents are replaced by ones whose tables have another layout, and back, and no packet notices.

use crate::topology::{cloud, network, vpc};
use crate::traffic::{Numbered, Stream};
use crate::watched::{Change, Watched, become_agent};
use crate::world::{World, is_full, until};
use mizar_packet::tables::LAYOUT;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
/// As if the next build had it.
const NEXT: u32 = LAYOUT + 1;

fn spread() -> String {
    let front = [("a", "h1", 2), ("b", "h4", 3), ("far", "h4", 4)];
    let networks =
        [network("front", 1, &["h2"], &front), network("back", 2, &["h3"], &[("e", "h4", 2)])];
    cloud(4, &[vpc("blue", 7, &["h3"], &networks)])
}

/// What must not notice.
struct Traffic {
    stream: Stream,
    there: Numbered,
    back: Numbered,
}

impl Traffic {
    fn start(world: &World) -> Self {
        let [a, b, e] = ["blue/a", "blue/b", "blue/e"].map(|name| world.guest(name));
        let stream = Stream::start(a, e, e.v6.into());
        let there = Numbered::start(a, b, b.v4.into(), MILLISECOND);
        let back = Numbered::start(e, a, a.v4.into(), MILLISECOND);
        Self { stream, there, back }
    }

    fn goes_on(&self) {
        self.there.goes_on(200);
        self.stream.goes_on(100_000);
    }

    fn finish(self) {
        self.stream.finish();
        for (way, datagrams) in [("there", self.there), ("back", self.back)] {
            let (sent, lost) = datagrams.finish();
            assert!(lost.is_empty(), "{way}: of {sent} are lost {lost:?}");
        }
    }
}

impl World {
    /// Kills the agent of a host and starts one whose tables have that layout.
    fn replace_agent(&mut self, host: &str, layout: u32) {
        self.kill_agent(host);
        self.start_agent_with(host, &format!("--layout {layout}"));
        self.look();
    }

    /// Whether the controller says that programs of another layout are at work there.
    fn is_upgrading(&self, host: &str) -> bool {
        let host = self.asks(&["describe", "host", host]);
        assert!(host.status.success(), "{host:?}");
        String::from_utf8(host.stdout).unwrap().contains("\n  Upgrading  True")
    }

    fn has_layout(&self, host: &str, layout: u32) -> bool {
        self.host(host).pins.join(format!("v{layout}")).exists()
    }

    /// Waits until a host has this layout, and nothing of the other is left.
    fn comes_to_layout(&mut self, host: &str, layout: u32) {
        let other = if layout == LAYOUT { NEXT } else { LAYOUT };
        until("the other layout is gone", || !self.has_layout(host, other));
        assert!(self.has_layout(host, layout));
        self.becomes_ready();
    }
}

#[test]
fn every_host_goes_to_another_layout_and_back_and_nothing_is_lost() {
    let Some(mut world) = World::new("layout", &spread()) else { return };
    let traffic = Traffic::start(&world);
    // The sender's, the receivers', their bouncer's and divider's; and back, some.
    let there = ["h1", "h4", "h2", "h3"].map(|host| (host, NEXT));
    for (host, layout) in there.into_iter().chain([("h1", LAYOUT), ("h2", LAYOUT)]) {
        world.replace_agent(host, layout);
        world.comes_to_layout(host, layout);
        traffic.goes_on();
    }
    until("what was learned is learned again", || {
        let before = world.counted();
        traffic.there.goes_on(200);
        let risen = world.counted().since(&before);
        risen.at("blue", "h1", "sent_direct") >= 200
            && risen.at("blue", "h1", "sent_to_bouncer") == 0
    });
    traffic.finish();
}

#[test]
fn a_change_of_layout_that_is_killed_at_each_of_its_steps_loses_nothing() {
    let test = "upgrades::a_change_of_layout_that_is_killed_at_each_of_its_steps_loses_nothing";
    become_agent();
    let Some(mut world) = World::new("steps", &spread()) else { return };
    let traffic = Traffic::start(&world);
    // Of the receivers, one of which sends, too, and of their bouncer.
    let mut takeovers = ["h4", "h2"].map(Takeover::new);
    takeovers.iter().for_each(|it| world.kill_agent(it.host));
    while takeovers.iter().any(|it| !it.is_over) {
        let going = takeovers.iter_mut().filter(|it| !it.is_over);
        let world = &world;
        let going: Vec<_> = going.map(|it| it.start(world, test)).collect();
        thread::scope(|scope| {
            going.into_iter().for_each(|run| drop(scope.spawn(|| run.kill_at_next_step(world))));
        });
    }
    for takeover in &takeovers {
        println!("{}: killed at {:?}", takeover.host, takeover.killed_at);
        let count = |change| takeover.killed_at.iter().filter(|it| it.change == change).count();
        assert!(count(Change::REPLACE) > 0, "what hangs on the NIC");
        let guests = world.guests().iter().filter(|guest| guest.host == takeover.host).count();
        assert!(count(Change::FILTER) >= guests, "each guest's program");
        assert!(count(Change::REMOVE_FOLDER) > 0, "the other layout's");
        world.start_agent_with(takeover.host, &format!("--layout {NEXT}"));
    }
    for takeover in &takeovers {
        world.comes_to_layout(takeover.host, NEXT);
        until("it is said to be at work", || !world.is_upgrading(takeover.host));
    }
    traffic.goes_on();
    traffic.finish();
}

/// What it is always killed at before a program is replaced: nothing that is at work is touched
/// until then. The folder and its tables, what is in them, the first program.
const EARLY: [Change; 3] =
    [Change::Call("BPF_OBJ_PIN"), Change::Call("BPF_MAP_UPDATE_BATCH"), Change::REPLACE];

/// A change of layout that is killed and begun anew until there is no step left.
struct Takeover {
    host: &'static str,
    killed_at: Vec<Step>,
    is_over: bool,
}

/// A change of what outlives the agent, before which it is killed once.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// How many programs were replaced before it on the NIC.
    replaced: usize,
    change: Change,
    /// How many like it there were since.
    repeated: usize,
}

/// One try at it.
struct Run<'a> {
    takeover: &'a mut Takeover,
    agent: Watched,
    pins: PathBuf,
}

impl Takeover {
    const fn new(host: &'static str) -> Self {
        Self { host, killed_at: Vec::new(), is_over: false }
    }

    fn start(&mut self, world: &World, test: &str) -> Run<'_> {
        let agent = world.start_watched_agent(self.host, &format!("--layout {NEXT}"), test);
        let pins = world.host(self.host).pins.clone();
        Run { takeover: self, agent, pins }
    }

    /// The step that a change is, if the agent shall be killed at it some time: at each if time
    /// does not matter, and otherwise at each replacement and at the first of the calls that come
    /// with them.
    fn step(seen: &[Change], change: Change) -> Option<Step> {
        let replaced = seen.iter().filter(|it| **it == Change::REPLACE).count();
        let since = seen.iter().rev().take_while(|it| **it != Change::REPLACE);
        let repeated = since.filter(|it| **it == change).count();
        let is_first = repeated == 0 && (replaced > 0 || EARLY.contains(&change));
        let is_step = match change {
            _ if is_full() => true,
            Change::FILTER => replaced > 0,
            Change::Call(_) => is_first,
            Change::Netlink(_) => false,
        };
        is_step.then_some(Step { replaced, change, repeated })
    }
}

impl Run<'_> {
    fn kill_at_next_step(self, world: &World) {
        let Self { takeover, agent, pins } = self;
        let [old, new] = [LAYOUT, NEXT].map(|layout| pins.join(format!("v{layout}")));
        let mut seen = Vec::new();
        agent.kill_at(|change| {
            let Some(change) = change else {
                takeover.is_over = !old.exists();
                return takeover.is_over;
            };
            let step = Takeover::step(&seen, change);
            let step = step.filter(|step| !takeover.killed_at.contains(step));
            if step.as_ref().is_some_and(|it| it.replaced == 0 && it.change == Change::REPLACE) {
                assert!(world.is_upgrading(takeover.host), "{} says nothing", takeover.host);
            }
            seen.push(change);
            let is_next = step.is_some();
            takeover.killed_at.extend(step);
            is_next
        });
        if takeover.killed_at.iter().all(|step| step.replaced == 0) {
            // Nothing there is at work: the next run makes all of it, too.
            let _ = fs::remove_dir_all(new);
        }
    }
}

#[test]
fn without_a_controller_the_programs_of_the_old_layout_go_on_until_there_is_one() {
    let Some(mut world) = World::new("nobody", &spread()) else { return };
    let traffic = Traffic::start(&world);
    world.kill_controller();
    for host in ["h1", "h4"] {
        world.kill_agent(host);
        world.start_agent_with(host, &format!("--layout {NEXT}"));
    }
    traffic.there.goes_on(2000);
    traffic.stream.goes_on(200_000);
    // Nobody here has talked to this one before.
    world.guest("blue/a").place().pings(world.guest("blue/far").v4.into());
    for host in ["h1", "h4"] {
        assert!(world.has_layout(host, LAYOUT), "it is at work still");
        until("it says what it waits for", || {
            world.agent_status(host).contains("Waits       for the controller; until then")
        });
    }
    world.start_controller();
    for host in ["h1", "h4"] {
        world.comes_to_layout(host, NEXT);
    }
    traffic.goes_on();
    traffic.finish();
}
