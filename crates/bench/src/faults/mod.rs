//! What packets notice when something fails, is replaced, or moves: numbered datagrams, a thousand
//! a second, through a lab of five hosts with its controller.

mod lab;
mod traffic;

use crate::Effort;
use crate::report::{Bar, Baseline, Measurement};
use crate::statistics::middle;
use anyhow::{Context, Result, ensure};
use lab::Lab;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use traffic::{Fate, Flow};

/// What happens, and the figures of what the packets noticed.
struct Event {
    /// Lost, the longest gap in ms, duplicated, reordered.
    ids: [&'static str; 4],
    /// Most datagrams that may be lost, and most ms between two.
    bars: [Option<f64>; 2],
    run: fn(&mut World) -> Result<Fate>,
}

/// The ids of an event's figures.
macro_rules! ids {
    ($event:literal) => {
        [
            concat!("faults.", $event, ".lost"),
            concat!("faults.", $event, ".gap_ms"),
            concat!("faults.", $event, ".duplicated"),
            concat!("faults.", $event, ".reordered"),
        ]
    };
}

const DIRECT_LOST: &str = "faults.bouncer_death.direct_lost";
const NEW_FLOW_MS: &str = "faults.bouncer_death.new_flow_ms";

const EVENTS: [Event; 9] = [
    Event { ids: ids!("agent_kill"), bars: [Some(0.0), None], run: World::agent_kill },
    Event { ids: ids!("agent_upgrade"), bars: [Some(0.0), None], run: World::agent_upgrade },
    Event { ids: ids!("agent_layout"), bars: [Some(0.0), None], run: World::agent_layout },
    Event { ids: ids!("controller_down"), bars: [Some(0.0), None], run: World::controller_down },
    Event { ids: ids!("bouncer_death"), bars: [None, Some(300.0)], run: World::bouncer_death },
    Event { ids: ids!("host_death"), bars: [Some(0.0), None], run: World::host_death },
    Event { ids: ids!("migrate"), bars: [Some(5.0), None], run: World::migrate },
    Event { ids: ids!("recreate"), bars: [Some(5.0), None], run: World::recreate },
    Event { ids: ids!("rescale"), bars: [Some(0.0), None], run: World::rescale },
];

/// All figures.
pub(crate) const IDS: &[&str] = &{
    let mut ids = [DIRECT_LOST; 4 * EVENTS.len() + 2];
    ids[1] = NEW_FLOW_MS;
    let mut at = 0;
    while at < 4 * EVENTS.len() {
        ids[at + 2] = EVENTS[at / 4].ids[at % 4];
        at += 1;
    }
    ids
};

/// Longer than a host is believed to be alive without proof, so that what is cut off is noticed.
const LONG: Duration = Duration::from_millis(1500);
/// Before something happens, and after everything is as it should be again.
const QUIET: Duration = Duration::from_millis(400);
/// How long datagrams may take until they go direct.
const PATIENCE: Duration = Duration::from_secs(10);
/// Least datagrams that go direct before something happens, in hundredths.
const DIRECT: u64 = 98;

/// Measures the figures that are wanted: each event so often, in turn.
pub(crate) fn run(ids: &[&'static str], effort: Effort) -> Result<Vec<Measurement>> {
    let rounds = if effort.quick { 3 } else { 10 };
    let of_deaths = [DIRECT_LOST, NEW_FLOW_MS].iter().any(|id| ids.contains(id));
    let is_wanted = |event: &Event| {
        let is_death = event.ids == ids!("bouncer_death");
        event.ids.iter().any(|id| ids.contains(id)) || (of_deaths && is_death)
    };
    let mut world = World::new(rounds)?;
    let mut fates = vec![Vec::new(); EVENTS.len()];
    for _ in 0..rounds {
        for (event, fates) in EVENTS.iter().zip(&mut fates).filter(|(it, _)| is_wanted(it)) {
            let fate = (event.run)(&mut world);
            fates.push(fate.with_context(|| event.ids[0].replace(".lost", ""))?);
        }
    }
    let mut results = Vec::new();
    for (event, fates) in EVENTS.iter().zip(&fates).filter(|(_, fates)| !fates.is_empty()) {
        results.extend(figures(event, fates));
    }
    let (direct, new): (Vec<_>, Vec<_>) = world.bouncer_deaths.iter().copied().unzip();
    if !direct.is_empty() {
        results.push(figure(DIRECT_LOST, "", &direct, Some(0.0), None));
        results.push(figure(NEW_FLOW_MS, "ms", &new, Some(300.0), None));
    }
    results.retain(|result| ids.contains(&result.id));
    Ok(results)
}

fn figures(event: &Event, fates: &[Fate]) -> [Measurement; 4] {
    let of = |what: fn(&Fate) -> f64| fates.iter().map(what).collect::<Vec<_>>();
    let sent = middle(&of(|fate| fate.sent as f64)).median;
    let [lost, gap, duplicated, reordered] = event.ids;
    let [most_lost, longest] = event.bars;
    [
        figure(lost, "", &of(|fate| fate.lost as f64), most_lost, Some(sent)),
        figure(gap, "ms", &of(|fate| fate.gap_ms), longest, None),
        figure(duplicated, "", &of(|fate| fate.duplicated as f64), None, None),
        figure(reordered, "", &of(|fate| fate.reordered as f64), None, None),
    ]
}

fn figure(
    id: &'static str,
    unit: &'static str,
    rounds: &[f64],
    most: Option<f64>,
    sent: Option<f64>,
) -> Measurement {
    let middle = middle(rounds);
    Measurement {
        id,
        value: middle.median,
        unit,
        bar: most.map(Bar::AtMost),
        baseline: sent.map(|value| Baseline { name: "datagrams sent", value, unit: "" }),
        spread: middle.spread,
    }
}

/// The lab, and where what moves is.
struct World {
    lab: Lab,
    /// Namespaces of the guests `b` and `r` on other hosts than h4.
    elsewhere: [PathBuf; 2],
    /// Whether `b`, and `r`, are there.
    is_elsewhere: [bool; 2],
    /// Guests that nobody has talked to yet, by number.
    fresh: usize,
    is_rescaled: bool,
    /// What was lost of direct ways, and how long it took until a new one worked, in ms.
    bouncer_deaths: Vec<(f64, f64)>,
}

impl World {
    fn new(rounds: usize) -> Result<Self> {
        let lab = Lab::new(rounds)?;
        let elsewhere = [lab.namespace("b-elsewhere")?, lab.namespace("r-elsewhere")?];
        let (is_elsewhere, fresh, bouncer_deaths) = ([false; 2], 0, Vec::new());
        Ok(Self { lab, elsewhere, is_elsewhere, fresh, is_rescaled: false, bouncer_deaths })
    }

    /// Datagrams from `a` to `b`, wherever that is, while something happens.
    fn while_talking(&mut self, what: impl FnOnce(&mut Self) -> Result<()>) -> Result<Fate> {
        let flow = self.talk_to(0, "b")?;
        sleep(QUIET);
        self.goes_direct()?;
        what(self)?;
        sleep(QUIET);
        Ok(flow.finish()?.fate())
    }

    /// Waits until what `a` sends goes direct: whatever is measured would be something else. On a
    /// busy machine an agent may be late with its echoes, and packets go by bouncers meanwhile.
    fn goes_direct(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.lab.ways("h1")?;
            sleep(QUIET / 2);
            let after = self.lab.ways("h1")?;
            let [direct, bounced] = [0, 1].map(|way| after[way] - before[way]);
            if direct > 0 && 100 * direct >= DIRECT * (direct + bounced) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{direct} datagrams went direct and {bounced} to bouncers: {DIRECT} % should go \
                 direct"
            );
        }
    }

    fn talk_to(&self, which: usize, name: &str) -> Result<Flow> {
        let ((a, _), (here, v4)) = (self.lab.guest("a")?, self.lab.guest(name)?);
        let there = crate::namespace::Namespace::open(&self.elsewhere[which])?;
        Flow::start(&a, &[&here, &there], v4)
    }

    fn agent_kill(&mut self) -> Result<Fate> {
        self.while_talking(|world| {
            world.lab.kill_agent("h1")?;
            sleep(LONG);
            world.lab.start_agent("h1")?;
            world.lab.becomes_ready()
        })
    }

    /// The sender's host gets another file of the program, and the receiver's after it.
    fn agent_upgrade(&mut self) -> Result<Fate> {
        let receiver = if self.is_elsewhere[0] { "h5" } else { "h4" };
        self.while_talking(|world| {
            for host in ["h1", receiver] {
                world.lab.stop_agent(host)?;
                world.lab.start_other_agent(host)?;
                world.lab.becomes_ready()?;
            }
            Ok(())
        })
    }

    /// The same, and the others' tables have another layout; and back.
    fn agent_layout(&mut self) -> Result<Fate> {
        let receiver = if self.is_elsewhere[0] { "h5" } else { "h4" };
        self.while_talking(|world| {
            for host in ["h1", receiver, "h1", receiver] {
                world.lab.stop_agent(host)?;
                world.lab.start_agent_of_another_layout(host)?;
                world.lab.becomes_ready()?;
            }
            Ok(())
        })
    }

    fn controller_down(&mut self) -> Result<Fate> {
        self.while_talking(|world| {
            world.lab.kill_controller()?;
            sleep(2 * LONG);
            world.lab.start_controller()?;
            world.lab.becomes_ready()
        })
    }

    /// One of two bouncers is cut off: `a` goes on talking to `b`, and begins to talk to somebody.
    fn bouncer_death(&mut self) -> Result<Fate> {
        let direct = self.talk_to(0, "b")?;
        let fresh = self.next_fresh();
        let ((a, _), (new, v4)) = (self.lab.guest("a")?, self.lab.guest(&fresh)?);
        sleep(QUIET);
        self.goes_direct()?;
        self.lab.cut(2, true)?;
        let cut = Instant::now();
        let flow = Flow::start(&a, &[&new], v4)?;
        sleep(LONG);
        let (new, direct) = (flow.finish()?, direct.finish()?);
        self.lab.cut(2, false)?;
        self.lab.becomes_ready()?;
        let (new, direct) = (new.fate_since(cut), direct.fate());
        self.bouncer_deaths.push((direct.lost as f64, new.gap_ms));
        Ok(new)
    }

    fn next_fresh(&mut self) -> String {
        self.fresh += 1;
        format!("n{}", self.fresh - 1)
    }

    /// A host with a guest is cut off. Others talk on.
    fn host_death(&mut self) -> Result<Fate> {
        // The one of which `b` is not.
        let host = if self.is_elsewhere[0] { 4 } else { 5 };
        self.while_talking(|world| {
            world.lab.cut(host, true)?;
            sleep(2 * LONG);
            world.lab.cut(host, false)?;
            world.lab.becomes_ready()
        })
    }

    fn migrate(&mut self) -> Result<Fate> {
        let is_elsewhere = !self.is_elsewhere[0];
        let (host, netns) = self.place(0, "b", is_elsewhere)?;
        let fate = self.while_talking(|world| {
            let words = ["endpoint", "migrate", "blue/b", "--to", host, "--netns", &netns];
            world.lab.asks(&words, None).map(drop)
        })?;
        self.is_elsewhere[0] = is_elsewhere;
        Ok(fate)
    }

    /// An endpoint goes, and is made again on another host with the same address. What was sent
    /// from then on counts when it is ready.
    fn recreate(&mut self) -> Result<Fate> {
        let is_elsewhere = !self.is_elsewhere[1];
        let (host, netns) = self.place(1, "r", is_elsewhere)?;
        let flow = self.talk_to(1, "r")?;
        sleep(QUIET);
        self.lab.asks(&["delete", "endpoint", "blue/r", "--wait"], None)?;
        let manifest = format!(
            "{{kind: Endpoint, metadata: {{vpc: blue, name: r}}, spec: {{network: front, host: \
             {host}, v4: 10.0.1.5, attachment: {{veth: {{netns: {netns}, interface: eth0}}}}}}}}"
        );
        self.lab.asks(&["apply", "--wait"], Some(&manifest))?;
        let ready = Instant::now();
        self.is_elsewhere[1] = is_elsewhere;
        sleep(LONG);
        Ok(flow.finish()?.fate_since(ready))
    }

    /// The network's slots move to other hosts.
    fn rescale(&mut self) -> Result<Fate> {
        self.is_rescaled = !self.is_rescaled;
        let bouncers = if self.is_rescaled { "h3, h5" } else { "h2, h3" };
        let manifest = format!(
            "{{kind: Network, metadata: {{vpc: blue, name: front}}, spec: {{v4: 10.0.1.0/24, \
             bouncers: {{hosts: [{bouncers}]}}}}}}"
        );
        let fate = self.while_talking(|world| {
            world.lab.asks(&["apply"], Some(&manifest))?;
            world.lab.settles("blue/front")
        })?;
        if self.is_rescaled {
            self.rescale()?;
        }
        Ok(fate)
    }

    /// The host of a guest, and its namespace there.
    fn place(
        &self,
        which: usize,
        name: &str,
        is_elsewhere: bool,
    ) -> Result<(&'static str, String)> {
        let (host, netns) = if is_elsewhere {
            ("h5", self.elsewhere[which].clone())
        } else {
            ("h4", self.lab.netns(name)?)
        };
        Ok((host, netns.display().to_string()))
    }
}
