//! Agents are replaced by ones whose tables have another layout, and back, and no packet notices.

use crate::topology::{cloud, network, vpc};
use crate::traffic::{Numbered, Stream};
use crate::world::{World, until};
use mizar_packet::tables::LAYOUT;
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
fn a_change_of_layout_that_is_cut_short_anywhere_loses_nothing() {
    let Some(mut world) = World::new("cut", &spread()) else { return };
    let traffic = Traffic::start(&world);
    // Of the sender and of its bouncer; the layout at work is another each time that one is done.
    for (round, delay) in [100, 250, 350, 400, 450, 500, 550, 600, 700].into_iter().enumerate() {
        let layout = if round % 3 == 2 { LAYOUT } else { NEXT };
        ["h1", "h2"].iter().for_each(|host| world.replace_agent(host, layout));
        std::thread::sleep(Duration::from_millis(delay));
    }
    for host in ["h1", "h2"] {
        world.replace_agent(host, NEXT);
        world.comes_to_layout(host, NEXT);
        traffic.goes_on();
    }
    traffic.finish();
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
